"""The options of a calibration that several commands share."""

from typing import Annotated, Any

import typer

CalibrateOption = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD",
        help="Calibrate a float model for int8 by tfsep.quantize.calibrate, with ranges by this method: best, minmax, "
        "mse, percentile or entropy.",
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


def calibrate_arguments(method: str | None, keep_float: str | None, budget: float | None) -> dict[str, Any] | None:
    """The arguments of `quantize.calibrate` that the options name; None where none is given."""
    names = () if keep_float is None else tuple(name.strip() for name in keep_float.split(","))
    given = {"method": method, "keep_float": names or None, "budget": budget}
    return {name: value for name, value in given.items() if value is not None} or None
