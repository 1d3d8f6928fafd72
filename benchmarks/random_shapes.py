"""Shapes of convolutions drawn by chance, and what a sample of them says of a group of cases.

The shapes of a table are those that its code was made with. A sample shows what others get.
"""

import random
from math import exp, log

ELEMENTS = 200_000, 6_000_000
"""The least and the most numbers of a batch of images: a call takes longer than what is smaller."""
COUNT = 6


def drawn(seed: int, strides: tuple[int, ...], rates: tuple[int, ...]) -> list[dict[str, int]]:
    """Return fields of `contest.Shape`: sizes evenly on a scale of logarithms, and steps among the given ones."""
    source, shapes = random.Random(seed), []
    while len(shapes) < COUNT:
        side, channels, images = (_between(source, *ends) for ends in ((7, 112), (16, 1024), (1, 32)))
        steps = {"stride": source.choice(strides), "rate": source.choice(rates), "kernel": source.choice((3, 3, 5))}
        # At least as many pixels as the filter reaches over.
        reach = (steps["kernel"] - 1) * steps["rate"] + 1
        if side >= reach and ELEMENTS[0] <= side * side * channels * images <= ELEMENTS[1]:
            shapes.append({"side": side, "channels": channels, "images": images, **steps})
    return shapes


def _between(source: random.Random, low: int, high: int) -> int:
    return round(exp(source.uniform(log(low), log(high))))


def median_and_worst(rows: list[dict]) -> list[dict]:
    """Return two rows of a sample's: those of the median ratio, the lower of two, and of the worst."""
    ordered = sorted(rows, key=lambda row: float(row["ratio"]))
    found = {"median": ordered[(len(ordered) - 1) // 2], "worst": ordered[0]}
    return [{**row, "case": f"{name} of {len(ordered)} drawn by chance: {row['case']}"} for name, row in found.items()]
