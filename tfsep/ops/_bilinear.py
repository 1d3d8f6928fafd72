"""Maps that are linear in an image and in a filter, and their derivatives of any order."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tfsep._backend import tf


class Bilinear(NamedTuple):
    """A bilinear map ``y = forward(x, filter)`` and its two adjoints.

    For every x, w and u: ``<forward(x, w), u> = <x, to_x(u, w, shape of x)> = <w, to_filter(x, u)>``. So the
    derivatives of each of the three are the other two, and no one of them is ever differentiated by TensorFlow.

    None of the three may hold a tensor but those that it is given: a SavedModel would not load again.
    """

    forward: Callable[[Any, Any], Any]
    to_x: Callable[[Any, Any, Any], Any]
    to_filter: Callable[[Any, Any], Any]

    def __call__(self, x: Any, filter: Any) -> Any:
        """Return ``forward(x, filter)``, differentiable any number of times."""
        forward, _ = self._differentiable()
        return forward(x, filter)

    def transpose(self, upstream: Any, filter: Any, shape: Any) -> Any:
        """Return ``to_x(upstream, filter, shape)``, differentiable any number of times."""
        _, to_x = self._differentiable()
        return to_x(upstream, filter, shape)

    def _differentiable(self) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any, Any], Any]]:
        """`forward` and `to_x`, with the derivatives of all three tied together."""

        @tf.custom_gradient
        def forward(x: Any, filter: Any) -> Any:
            return self.forward(x, filter), lambda u: (to_x(u, filter, tf.shape(x)), to_filter(x, u))

        @tf.custom_gradient
        def to_x(u: Any, filter: Any, shape: Any) -> Any:
            return self.to_x(u, filter, shape), lambda v: (forward(v, filter), to_filter(v, u), None)

        @tf.custom_gradient
        def to_filter(x: Any, u: Any) -> Any:
            return self.to_filter(x, u), lambda v: (to_x(u, v, tf.shape(x)), forward(x, v))

        return forward, to_x
