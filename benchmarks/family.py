"""All that is done with the networks of the family and their heads: ``python benchmarks/family.py [--only REGEX]``.

Each network of ``zoo.FAMILY`` is folded, stored and loaded, trained for a step on one replica and on two, and goes
through `tfsep.quantize.prepare` to int8 files, which are compared with their models, run on microcontrollers' kernels
and checked for targets, in a process of its own. Writes a row of ``family.csv`` and ``family.md`` for each, and goes on
where it was stopped, as ``networks.py`` does.
"""

from rows import Sweep

ABOUT = """# The family

Narrow networks on small images, untrained, with statistics of data; `python benchmarks/family.py` writes this. Folded
are batch normalizations. Differing are elements of the int8 file's outputs, of 32 samples, that are not the prepared
model's, in the kernels of XNNPACK; reference, the same in those of microcontrollers, and TFLM, how many differ in its
interpreter. A target takes the whole file, but for documented operators at an end, or some of its nodes.
"""
COLUMNS = ("network", "folded", ".keras", "fit", "distributed", "MACs in int8", "elements", "differing", "reference")
SWEEP = Sweep("family", ABOUT, "family_worker.py", (*COLUMNS, "TFLM", "xnnpack", "edgetpu", "gpu", "faults", "s"))

if __name__ == "__main__":
    from zoo import FAMILY

    SWEEP.main(FAMILY, __doc__)
