"""Context flags that change how a prepared model infers: calibration, real numbers, export, and a file's rounding."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from tfsep._keras.types import Tensor
from tfsep._utils.context_flag import ContextFlag
from tfsep.ops import is_exporting

EdgeRounding: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(real numbers, quantization parameters, their integers from the zero point) → the integers, some of them others."""

_OBSERVING, _REAL_NUMBERS, _LITERT_ROUNDING = map(ContextFlag, ("observing", "real_numbers", "litert_rounding"))
_EDGE_ROUNDING: ContextVar[EdgeRounding | None] = ContextVar("edge_rounding", default=None)


observing = _OBSERVING.set
"""Let inference extend the ranges to the data that it gets."""

is_observing = _OBSERVING.is_set
"""Return whether `observing` is active."""

real_numbers = _REAL_NUMBERS.set
"""Let inference compute what the float model does: nothing is rounded, and no range changes."""

is_in_real_numbers = _REAL_NUMBERS.is_set
"""Return whether `real_numbers` is active."""

litert_rounding = _LITERT_ROUNDING.set
"""Let inference round as LiteRT does where that differs from the runtime that a model was prepared for.

There are two differences of the reference kernels. ``runtime="reference"`` stands for TensorFlow Lite for
Microcontrollers, which rounds the sums of dense layers twice, LiteRT once, and which divides the scales of leaky
rectifiers and PReLU in float64, LiteRT in float32: results halfway between two steps go the other way. Files are
compared with their model in this mode.
"""

is_litert_rounding = _LITERT_ROUNDING.is_set
"""Return whether `litert_rounding` is active."""


def rounds_nothing() -> bool:
    """Return whether weights and biases stay as they are, as for the converter they do not.

    Examples:
        >>> with real_numbers():
        ...     rounds_nothing()
        True
    """
    return is_observing() or is_in_real_numbers()


@contextmanager
def rounding_edges_by(function: EdgeRounding) -> Iterator[None]:
    """Let eager inference round the numbers that a float32 island makes as a function says.

    Args:
        function: it is called for each quantization, in the order of the model's calls.

    Examples:
        >>> with rounding_edges_by(lambda real, qparams, integers: integers + 1.0):
        ...     edge_rounding()(0.5, None, 1.0)
        2.0
    """
    token = _EDGE_ROUNDING.set(function)
    try:
        yield
    finally:
        _EDGE_ROUNDING.reset(token)


def edge_rounding() -> EdgeRounding | None:
    """Return the function of `rounding_edges_by`; None where it is not active."""
    return _EDGE_ROUNDING.get()


def computes_in_float() -> bool:
    """Return whether inference computes real numbers, for the converter or for the ranges, in place of integers."""
    return is_exporting() or rounds_nothing()
