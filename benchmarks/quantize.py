"""Prepare many networks for int8 and write what comes of it: ``python benchmarks/quantize.py [--only REGEX]``.

Each network of ``zoo`` goes through `tfsep.quantize.prepare` as it is, with no settings, and is exported as int8, in a
process of its own: what is in integers, how many output elements of the file are not the model's, how long it takes;
and once more for microcontrollers, where TensorFlow Lite Micro runs the file. A fault is a network that is refused, an
element that differs and stands at no rounding edge of an island in float32, or a convolution in float32. Writes a row
of ``quantize.csv`` and ``quantize.md`` for each, and goes on where it was stopped, as ``networks.py`` does.
"""

from rows import Sweep

ABOUT = """# int8

Untrained, with statistics of data, through `prepare` with no settings; `python benchmarks/quantize.py` writes this.
Elements are those of the outputs of 32 samples that differ between the prepared model and its file, and results of
islands in float32 that stand at a rounding edge, if any. Reference is the same in the kernels of microcontrollers;
TFLM, how many elements differ there from the reference kernels of LiteRT where it runs the file.
"""
COLUMNS = ("network", "operations", "in float32", "kinds in float32", "MACs in int8", "elements", "differing", "edges")
SWEEP = Sweep("quantize", ABOUT, "quantize_worker.py", (*COLUMNS, "reference", "TFLM", "prepare s", "faults", "s"))

if __name__ == "__main__":
    from zoo import QUANTIZED

    SWEEP.main(QUANTIZED, __doc__)
