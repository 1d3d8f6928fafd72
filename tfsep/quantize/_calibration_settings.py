"""The settings of a calibration, whichever function calibrates."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from numbers import Real
from typing import Any, TypeAlias

from tfsep._utils.arguments import number_in_range, one_of, short_repr
from tfsep.quantize._config import Config, config_of, layer_names
from tfsep.quantize._range_choice import require_method
from tfsep.quantize._weight_scales import MAX, WEIGHT_SCALES

NEAREST, ADAPTIVE = "nearest", "adaptive"
ROUNDINGS = (NEAREST, ADAPTIVE)
EMPIRICAL, ANALYTIC = "empirical", "analytic"
BIAS_CORRECTIONS = (EMPIRICAL, ANALYTIC)

Option: TypeAlias = bool | str | float | Collection[str] | None
"""The value of a setting of `calibrate`, or of a field of `Config`."""

Latency: TypeAlias = Mapping[str, float] | Callable[[Sequence[str]], Mapping[str, float]]
"""By the name of an operation, how much longer it takes in float32; or a function of names that returns it."""


@dataclass(frozen=True)
class CalibrationSettings:
    """The settings of `calibrate` that say how, see there.

    Examples:
        >>> CalibrationSettings(samples=0)
        Traceback (most recent call last):
        ValueError: samples: expected an int of at least 1, got 0
    """

    method: str = "best"
    equalize: bool = True
    correct_bias: bool | str = True
    weight_scales: str = MAX
    rounding: str = NEAREST
    steps: int = 500
    samples: int = 256
    batch_size: int = 32
    seed: int = 0
    keep_float: Collection[str] = ()
    budget: float | None = None
    latency: Latency | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        require_method(self.method)
        if not isinstance(self.equalize, bool):
            raise ValueError(f"equalize: expected True or False, got {short_repr(self.equalize)}")
        # False stays what it is, as `dataclasses.replace` gives it here again.
        if self.correct_bias is True:
            object.__setattr__(self, "correct_bias", EMPIRICAL)
        elif self.correct_bias is not False:
            one_of(self.correct_bias, "correct_bias", BIAS_CORRECTIONS)
        one_of(self.weight_scales, "weight_scales", WEIGHT_SCALES)
        one_of(self.rounding, "rounding", ROUNDINGS)
        for name, low in (("steps", 1), ("samples", 1), ("batch_size", 1), ("seed", 0)):
            object.__setattr__(self, name, number_in_range(getattr(self, name), name, int, low))
        object.__setattr__(self, "keep_float", layer_names(self.keep_float, "keep_float"))
        if self.budget is not None and not number_in_range(self.budget, "budget", float, 0, 1):
            raise ValueError(f"budget: expected a number in (0, 1], got {self.budget!r}")
        if self.latency is not None:
            if not callable(self.latency):
                require_numbers(self.latency)
            if self.budget is None:
                raise ValueError(f"latency: expected None without a budget, got {short_repr(self.latency)}")


def require_numbers(latency: Any) -> None:
    """Raise unless latencies are numbers by name.

    Raises:
        TypeError: for anything else.
    """
    numbers = latency.values() if isinstance(latency, Mapping) else [None]
    if not all(isinstance(number, Real) and isfinite(number) for number in numbers):
        raise TypeError(f"latency: expected numbers by name of an operation, got {short_repr(latency)}")


CALIBRATION_ARGUMENTS = tuple(field.name for field in fields(CalibrationSettings))
"""The arguments of `calibrate` that are no fields of `Config`."""


def settings_of(options: dict[str, Any]) -> tuple[CalibrationSettings, Config]:
    """Return the settings, and those of `prepare`, that some arguments of `calibrate` say.

    Raises:
        TypeError: for another argument, with the nearest one.

    Examples:
        >>> settings_of({"method": "mse", "runtime": "reference"})[1].runtime
        'reference'
    """
    own = {name: value for name, value in options.items() if name in CALIBRATION_ARGUMENTS}
    others = {name: value for name, value in options.items() if name not in own}
    config = config_of(others.pop("config", None), others, CALIBRATION_ARGUMENTS)
    return CalibrationSettings(**own), config
