"""Draw ``calibration.csv``: ``python benchmarks/calibration_plot.py [PICTURE]``, by default that of the guide."""

import csv
import sys
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).parent
PICTURE = HERE.parent / "docs" / "images" / "calibration.png"
TOOLKITS = ("TensorFlow's converter", "ai-edge-quantizer", "model-compression-toolkit")
OWN, PLAIN, OTHER = "tab:blue", "tab:red", "tab:gray"
"""Colours of parts of `calibrate`, of plain calibration, and of toolkits."""

GOAL = 0.2


def draw(rows: list[dict[str, str]]) -> Figure:
    """Return a panel for each network, in which each way's loss of accuracy is a bar.

    Args:
        rows: rows of the table.
    """
    networks = list(dict.fromkeys(row["network"] for row in rows))
    ways = list(dict.fromkeys(row["way"] for row in rows if row["way"] != "float32"))
    # Parts alone come first, then those with all, then what is no part of it.
    ways.sort(key=lambda way: (way in TOOLKITS, "fine-tuning" in way, way.startswith("calibrate")))
    figure = Figure(figsize=(3.2 + 2.6 * len(networks), 1.2 + 0.3 * len(ways)), layout="constrained")
    for axes, network in zip(figure.subplots(1, len(networks), sharey=True, squeeze=False)[0], networks, strict=True):
        own = {row["way"]: row for row in rows if row["network"] == network and row["accuracy"]}
        _draw_network(axes, {way: float(own[way]["points"]) for way in ways if way in own}, ways)
        axes.set_title(f"{network}: float {100 * float(own['float32']['accuracy']):.2f} %", fontsize=10)
    axes.set_yticks(range(len(ways)), ways)
    axes.invert_yaxis()
    figure.supxlabel("points of accuracy lost on 10,000 images; dotted: 0.2", fontsize=10)
    return figure


def _draw_network(axes: Axes, points: dict[str, float], ways: list[str]) -> None:
    for place, way in enumerate(ways):
        if way in points:
            color = OTHER if way in TOOLKITS else PLAIN if way == "export" else OWN
            bar = axes.barh(place, points[way], color=color)
            axes.bar_label(bar, [f"{points[way]:.2f}"], padding=3, fontsize=8)
    axes.axvline(GOAL, color="black", linestyle=":", linewidth=1, zorder=0)
    axes.set_xscale("symlog", linthresh=1, linscale=2)
    axes.set_xlim(-0.5, 1500)
    axes.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])


def main() -> None:
    """Write the picture."""
    with (HERE / "calibration.csv").open() as file:
        figure = draw(list(csv.DictReader(file)))
    figure.savefig(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE, dpi=100)


if __name__ == "__main__":
    main()
