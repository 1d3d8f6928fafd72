"""The settings of `prepare`."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from tfsep._utils.arguments import number_in_range, one_of, short_repr

RANGES = ("moving", "learned")
RUNTIMES = ("xnnpack", "reference")
UNSUPPORTED = ("float", "error")


@dataclass(frozen=True)
class Config:
    """The settings of `prepare`.

    Attributes:
        runtime: kernels whose rounding inference emulates: ``"xnnpack"``, LiteRT's default on CPUs, or
            ``"reference"``, the fixed-point kernels of TensorFlow Lite for Microcontrollers. LiteRT's own reference
            kernels differ from those only in dense layers, which they round once instead of twice, and in the last
            place of the scales of leaky rectifiers and PReLU.
        ranges: ranges of activations: ``"moving"`` averages of each batch's minimum and maximum, or ``"learned"``: the
            same for the first `observations` steps, and trained with the weights from then on.
        momentum: how much of a moving range stays at each step, 0 to 0.9999.
        observations: steps after which the optimizer trains learned ranges, at least 1.
        float_layers: names of layers, operations of `keras.ops`, composite layers or nested models that stay in
            float32, as `coverage` and `tflite.compare_layers` report them. A convolution, the normalization and the
            rectifier behind it, which one operator computes, stay together, whichever is named.
        unsupported: what becomes of a layer without an integer kernel: ``"float"``, it stays in float32, as if it were
            among `float_layers`; or ``"error"``, which lists all of them. Functions of each number, such as selu, that
            have no operator in integers are tables of 256 numbers for ``"error"``, and in the reference runtime;
            XNNPACK computes them in a fraction of a table's time in float32.

    Raises:
        ValueError: for any other value; the message starts with the name.

    Examples:
        >>> Config(ranges="fixed")
        Traceback (most recent call last):
        ValueError: ranges: expected one of moving, learned, got 'fixed'
    """

    runtime: str = "xnnpack"
    ranges: str = "moving"
    momentum: float = 0.99
    observations: int = 100
    float_layers: tuple[str, ...] = ()
    unsupported: str = "float"

    def __post_init__(self) -> None:
        """Check the values."""
        for name, allowed in (("runtime", RUNTIMES), ("ranges", RANGES), ("unsupported", UNSUPPORTED)):
            one_of(getattr(self, name), name, allowed)
        number_in_range(self.momentum, "momentum", float, 0, 0.9999)
        number_in_range(self.observations, "observations", int, 1)
        object.__setattr__(self, "float_layers", layer_names(self.float_layers, "float_layers"))


def layer_names(named: Any, argument: str) -> tuple[str, ...]:
    """Return names of layers, checked; those of a set in the order of the alphabet.

    Examples:
        >>> layer_names({"b", "a"}, "keep_float")
        ('a', 'b')
    """
    if not isinstance(named, list | tuple | set | frozenset) or not all(isinstance(name, str) for name in named):
        raise ValueError(f"{argument}: expected names of layers, got {short_repr(named)}")
    return tuple(sorted(named) if isinstance(named, set | frozenset) else named)


def config_of(config: Config | None, options: dict[str, Any], others: Sequence[str] = ()) -> Config:
    """Return the settings of a config, or the default ones, with fields of their own.

    Args:
        config: the settings; None for the default ones.
        options: fields in place of those of the settings.
        others: other arguments of the function that takes these, which the error of an unknown one names, too.

    Raises:
        TypeError: for another config, or an option that is no field.

    Examples:
        >>> config_of(None, {"momentum": 0.5}).momentum
        0.5
    """
    if not isinstance(config, Config | None):
        raise TypeError(f"config: expected a Config or None, got {short_repr(config)}")
    known = [field.name for field in fields(Config)]
    if unknown := [name for name in options if name not in known]:
        nearest = get_close_matches(unknown[0], [*others, *known], 1)
        hint = f"; the nearest is {nearest[0]!r}" if nearest else ""
        names = ", ".join([*others, *known])
        raise TypeError(f"{unknown[0]}: expected an argument that is one of {names}, got {unknown[0]!r}{hint}")
    return replace(config or Config(), **options)
