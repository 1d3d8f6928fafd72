"""What all kinds of definitions share: checks of their fields, and later MobileNets' rule for numbers of channels."""

from typing import Any, Protocol

from tfsep._utils.arguments import positive_int, positive_number
from tfsep.defs._layer_def import ACTIVATIONS, DEFAULT_ACTIVATION, check_activation
from tfsep.geometry import Pair, PairLike
from tfsep.geometry._sizes import pair

__all__ = ["make_divisible"]


class Windowed(Protocol):
    """A definition with a window."""

    @property
    def kernel(self) -> PairLike:
        """Rows and columns of the window."""

    @property
    def stride(self) -> PairLike:
        """Step of the window."""

    @property
    def rate(self) -> PairLike:
        """Dilation of the window."""


def checked_fields(definition: Any, where: str) -> dict[str, Any]:
    """Return the fields that most definitions have, checked, with windows and rates as pairs.

    Args:
        definition: a definition with an activation and a depth, and windows or none.
        where: what the errors start with.

    Raises:
        ValueError: for a size under 1, or an unknown activation.
    """
    check_activation(definition.activation, f"{where}.activation", (*ACTIVATIONS, DEFAULT_ACTIVATION, None))
    names = [name for name in ("kernel", "stride", "rate") if hasattr(definition, name)]
    pairs = {name: pair(getattr(definition, name), f"{where}.{name}") for name in names}
    return {**pairs, "depth": positive_int(definition.depth, f"{where}.depth")}


def checked_flag(value: bool, where: str) -> bool:
    """Return a flag.

    Raises:
        ValueError: for anything else than True and False.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{where}: expected True or False, got {value!r}")
    return value


def checked_share(value: float, where: str) -> float:
    """Return a number in (0, 1].

    Raises:
        ValueError: for any other.
    """
    share = positive_number(value, where)
    if share > 1:
        raise ValueError(f"{where}: expected a number in (0, 1], got {value!r}")
    return share


def window(definition: Windowed) -> tuple[Pair, Pair, Pair]:
    """Return kernel, stride and rate as pairs."""
    return pair(definition.kernel, "kernel"), pair(definition.stride, "stride"), pair(definition.rate, "rate")


def make_divisible(depth: float, minimum: int = 8, divisor: int = 8) -> int:
    """Return a number of channels rounded to a multiple of `divisor`, not below 90 % of itself: MobileNet v2's rule.

    Args:
        depth: channels before rounding.
        minimum: the least result.
        divisor: what the result is a multiple of, unless it is `minimum`.

    Examples:
        >>> [make_divisible(depth) for depth in (3, 11.2, 12, 18)]
        [8, 16, 16, 24]
    """
    rounded = max(minimum, int(depth + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * depth else rounded + divisor
