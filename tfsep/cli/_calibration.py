"""The options of a calibration that several commands share."""

from enum import StrEnum
from typing import Annotated, Any

import typer

CalibrateOption = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD",
        help="Calibrate a float model for int8 by tfsep.quantize.calibrate, with ranges by this method: best, minmax, "
        "mse, percentile or entropy; or converter, for the converter's own.",
    ),
]
KeepFloatOption = Annotated[
    str | None, typer.Option(metavar="NAMES", help="Operations that calibration leaves in float32, with commas.")
]
BudgetOption = Annotated[
    float | None,
    typer.Option(
        help="Least agreement with the float model, 0 to 1: calibration leaves as much in float32 as it takes. For "
        "classifiers the share of samples with the same class, for others 1 - the relative error."
    ),
]


class RangeMethod(StrEnum):
    """How the range of an activation is chosen; `tfsep.quantize.calibrate` has their meaning."""

    BEST = "best"
    MINMAX = "minmax"
    MSE = "mse"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"


class BiasCorrection(StrEnum):
    """The corrections of biases; `tfsep.quantize.calibrate` has their meaning."""

    EMPIRICAL = "empirical"
    ANALYTIC = "analytic"
    NONE = "none"


class WeightScales(StrEnum):
    """The scales of weights; `tfsep.quantize.calibrate` has their meaning."""

    MAX = "max"
    MSE = "mse"
    MOMENTS = "moments"


class Rounding(StrEnum):
    """The roundings of weights; `tfsep.quantize.calibrate` has their meaning."""

    NEAREST = "nearest"
    ADAPTIVE = "adaptive"


MethodOption = Annotated[
    RangeMethod | None, typer.Option("--method", help="How --calibrate-only chooses ranges; best if not given.")
]
EqualizeOption = Annotated[
    bool | None, typer.Option("--equalize/--no-equalize", help="Whether --calibrate-only equalizes channels.")
]
CorrectBiasOption = Annotated[
    BiasCorrection | None, typer.Option("--correct-bias", help="How --calibrate-only corrects biases.")
]
WeightScalesOption = Annotated[
    WeightScales | None, typer.Option(help="How --calibrate-only chooses the scales of weights: max if not given.")
]
RoundingOption = Annotated[
    Rounding | None, typer.Option(help="How --calibrate-only rounds weights; adaptive takes minutes.")
]


def part_arguments(
    equalize: bool | None,
    correct_bias: BiasCorrection | None,
    weight_scales: WeightScales | None,
    rounding: Rounding | None,
) -> dict[str, Any]:
    """The arguments of `quantize.calibrate` that switch its parts, as far as the options name them."""
    bias = False if correct_bias is BiasCorrection.NONE else correct_bias and correct_bias.value
    names = {"weight_scales": weight_scales, "rounding": rounding}
    given = {"equalize": equalize, "correct_bias": bias, **{name: each and each.value for name, each in names.items()}}
    return {name: value for name, value in given.items() if value is not None}


BY_CONVERTER = "converter"
"""The method that leaves calibration to the converter."""


def calibrate_arguments(method: str | None, keep_float: str | None, budget: float | None) -> dict[str, Any] | None:
    """The arguments of `quantize.calibrate` that the options name; None where none is given, or the converter is."""
    names = () if keep_float is None else tuple(name.strip() for name in keep_float.split(","))
    given = {"method": method, "keep_float": names or None, "budget": budget}
    found = {name: value for name, value in given.items() if value is not None}
    return None if found in ({}, {"method": BY_CONVERTER}) else found
