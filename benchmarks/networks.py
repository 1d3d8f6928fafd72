"""Take many networks the whole way and write what comes of it: ``python benchmarks/networks.py [--only REGEX]``.

Each network of ``zoo`` is counted, folded, exported as float32, int8 and int16x8, and converted for devices, in a
process of its own, and held to a second opinion: parameters to Keras's count, MACs of the model to those of its file, a
folded model's results to the model's, files to the model and to what TensorFlow's converter alone makes of it. A file
that is refused here is a fault where the converter's own is good. Writes a row of ``networks.csv`` and ``networks.md``
for each, beside this file or where ``--out`` says. A network whose row is in the folder of ``--runs`` is not run again,
so a run that was stopped goes on; ``--again`` runs those with faults.
"""

from rows import Sweep

RECIPES = ("float32", "int8", "int16x8")
ABOUT = """# Networks

Untrained, with statistics of data; `python benchmarks/networks.py` writes this. MACs are of one image. Normalizations
are folded or left. RMS is that of the worst output, over that output's deviation; channel, that of the worst channel
over its own. A file is exact, faithful, lossy (rounding alone, past the recipe's tolerance: kept with a note) or
refused.
"""
SWEEP = Sweep(
    stem="networks",
    about=ABOUT,
    worker="network_worker.py",
    columns=(
        *("network", "params", "MACs", "not counted", "folded", "left"),
        *(f"{recipe}{what}" for recipe in RECIPES for what in (" kB", " RMS", " channel", "")),
        *("converter's RMS", "convert", "faults", "s"),
    ),
)

if __name__ == "__main__":
    from zoo import ZOO

    SWEEP.main(ZOO, __doc__)
