"""Maps that are linear in an image and in a filter, and their derivatives of any order."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tfsep._keras.backend import tf


class Bilinear(NamedTuple):
    """A bilinear map ``y = forward(x, filter)`` and its two adjoints.

    For every x, w and u: ``<forward(x, w), u> = <x, to_x(u, w, shape of x)> = <w, to_filter(x, u)>``. So the
    derivatives of each of the three are the other two, and no one of them is ever differentiated by TensorFlow.

    None of the three may hold a tensor but those that it is given: a SavedModel would not load again. So tensors that
    say what the map is, without a derivative of their own, are given to all three, as their last arguments.
    """

    forward: Callable[..., Any]
    to_x: Callable[..., Any]
    to_filter: Callable[..., Any]

    def __call__(self, x: Any, filter: Any, *given: Any) -> Any:
        """Return ``forward(x, filter)``, differentiable any number of times; `given` says what the map is."""
        forward, _ = self._differentiable(len(given))
        return forward(x, filter, *given)

    def transpose(self, upstream: Any, filter: Any, shape: Any) -> Any:
        """Return ``to_x(upstream, filter, shape)``, differentiable any number of times."""
        _, to_x = self._differentiable()
        return to_x(upstream, filter, shape)

    def _differentiable(self, given: int = 0) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """`forward` and `to_x`, with the derivatives of all three tied together."""
        none = (None,) * given

        @tf.custom_gradient
        def forward(x: Any, filter: Any, *given: Any) -> Any:
            return self.forward(x, filter, *given), lambda u: (
                to_x(u, filter, tf.shape(x), *given),
                to_filter(x, u, *given),
                *none,
            )

        @tf.custom_gradient
        def to_x(u: Any, filter: Any, shape: Any, *given: Any) -> Any:
            return self.to_x(u, filter, shape, *given), lambda v: (
                forward(v, filter, *given),
                to_filter(v, u, *given),
                None,
                *none,
            )

        @tf.custom_gradient
        def to_filter(x: Any, u: Any, *given: Any) -> Any:
            return self.to_filter(x, u, *given), lambda v: (
                to_x(u, v, tf.shape(x), *given),
                forward(x, v, *given),
                *none,
            )

        return forward, to_x
