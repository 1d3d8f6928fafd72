"""A float model that is calibrated before it is exported."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from tfsep._keras.types import Data, Model
from tfsep._utils.arguments import short_repr
from tfsep.quantize._calibrate import calibrated
from tfsep.quantize._calibration_settings import settings_of
from tfsep.tflite._recipes import Recipe


class CalibratedSource(NamedTuple):
    """A model that `quantize.calibrate` made for an export.

    Attributes:
        model: the prepared model.
        samples: what it was calibrated on.
        summary: the report of the calibration, and the runtime whose rounding it is for, for JSON.
        note: what it came to, in words.
    """

    model: Model
    samples: Data
    summary: dict[str, Any]
    note: str


def calibrated_source(
    model: Model, recipe: Recipe, calibration: Data | None, how: str | Mapping[str, Any], samples: int | None
) -> CalibratedSource:
    """Return a model calibrated for an export.

    Args:
        model: a float model.
        recipe: the recipe of the export, int8.
        calibration: what `quantize.calibrate` takes as its data.
        how: its method, or its arguments by name.
        samples: most samples; None for the number among these arguments, or its default.

    Raises:
        TypeError, ValueError: for another recipe, no calibration data, and what `quantize.calibrate` refuses.
    """
    if (recipe.weights, recipe.activations) != ("int8", "int8"):
        raise ValueError(f"recipe: expected 'int8' with calibrate, got {recipe.name!r}")
    if calibration is None:
        raise ValueError("calibration: expected samples to calibrate on, got None")
    if not isinstance(how, str | Mapping):
        raise TypeError(f"calibrate: expected a method or arguments of quantize.calibrate, got {short_repr(how)}")
    options: dict[str, Any] = {"method": how} if isinstance(how, str) else dict(how)
    if samples is not None:
        options["samples"] = samples
    settings, config = settings_of(options)
    with _named("data", "calibration"):
        made = calibrated(model, calibration, settings, config)
    report = made.report
    return CalibratedSource(
        made.model,
        made.samples.arrays(),
        report.to_dict() | {"runtime": config.runtime},
        f"calibrated on {report.samples} samples, on which the agreement with the float model is "
        f"{made.agreement:.4f} ({report.agreement_unit})",
    )


@contextmanager
def _named(inner: str, outer: str) -> Iterator[None]:
    """Let errors of an argument have the name under which the caller gave it."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if not str(error).startswith(f"{inner}: "):
            raise
        raise type(error)(f"{outer}{str(error).removeprefix(inner)}") from error
