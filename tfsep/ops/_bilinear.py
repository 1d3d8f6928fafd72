"""Maps that are linear in an image and in a filter, and their derivatives of any order."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tfsep._backend import tf

Product = Callable[[Any, Any], Any]


class Bilinear(NamedTuple):
    """A bilinear map ``y = forward(x, filter)`` and its two adjoints.

    For every x, filter and u: ``<forward(x, filter), u> = <x, to_x(u, filter)> = <filter, to_filter(x, u)>``. So the
    derivatives of each of the three are the other two, and no one of them is ever differentiated by TensorFlow.
    """

    forward: Product
    to_x: Product
    to_filter: Product

    def __call__(self, x: Any, filter: Any) -> Any:
        """Return the product, differentiable any number of times."""

        @tf.custom_gradient
        def forward(x: Any, filter: Any) -> Any:
            return self.forward(x, filter), lambda u: (to_x(u, filter), to_filter(x, u))

        @tf.custom_gradient
        def to_x(u: Any, filter: Any) -> Any:
            return self.to_x(u, filter), lambda v: (forward(v, filter), to_filter(v, u))

        @tf.custom_gradient
        def to_filter(x: Any, u: Any) -> Any:
            return self.to_filter(x, u), lambda v: (to_x(u, v), forward(x, v))

        return forward(x, filter)
