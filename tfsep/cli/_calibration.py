"""The options of a calibration that several commands share."""

import json
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tfsep._keras.types import Model

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
MEASURED = "measured"
"""The latencies that are measured here."""

LatencyOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIMES",
        help="What --budget weighs float32 by: measured, the times that each operation takes longer here; or a JSON "
        "file of such, by name. Multiply-accumulates if not given.",
    ),
]


class Runtime(StrEnum):
    """The kernels whose rounding a calibrated model has; `tfsep.quantize.Config` has their meaning."""

    XNNPACK = "xnnpack"
    REFERENCE = "reference"


RuntimeOption = Annotated[
    Runtime | None,
    typer.Option(help="Calibrated for the rounding of xnnpack, or of microcontrollers (reference); of --target's."),
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


def calibrate_arguments(
    method: str | None,
    keep_float: str | None,
    budget: float | None,
    latency: str | None = None,
    runtime: Runtime | None = None,
) -> dict[str, Any] | None:
    """The arguments of `quantize.calibrate` that the options name; None where none is given, or the converter is."""
    names = () if keep_float is None else tuple(name.strip() for name in keep_float.split(","))
    given = {"method": method, "keep_float": names or None, "budget": budget}
    given |= {"latency": latency, "runtime": runtime and runtime.value}
    found = {name: value for name, value in given.items() if value is not None}
    return None if found in ({}, {"method": BY_CONVERTER}) else found


def with_latency(arguments: dict[str, Any] | None, model: "Model", shape: Any = None) -> dict[str, Any] | None:
    """Arguments of `quantize.calibrate` with latencies in place of what the option says: a file's, or measured ones.

    Args:
        arguments: the arguments; None for none.
        model: the float model.
        shape: what `tflite.float_latency` takes as its input_shape.
    """
    if arguments is None or "latency" not in arguments:
        return arguments
    if arguments["latency"] != MEASURED:
        return {**arguments, "latency": _read_latency(Path(arguments["latency"]))}
    from tfsep.tflite import float_latency

    how = {"runtime": arguments.get("runtime"), "float_layers": arguments.get("keep_float")}
    options = {name: value for name, value in how.items() if value is not None}
    return {**arguments, "latency": partial(float_latency, model, input_shape=shape, **options)}


def _read_latency(path: Path) -> Any:
    from tfsep._utils.arguments import as_found

    if not path.is_file():
        raise FileNotFoundError(f"latency: expected {MEASURED!r} or a JSON file of times by name, got {as_found(path)}")
    try:
        return json.loads(path.read_text(errors="replace", encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"latency: expected a JSON file of times by name, got {path}: {error}") from None
