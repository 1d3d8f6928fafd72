"""Bilinear maps of an image and a filter, with their derivatives of any order."""

from collections.abc import Callable
from typing import NamedTuple

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor


class BilinearMap(NamedTuple):
    """A bilinear map ``y = forward(x, filter)`` and its two adjoints.

    For all x, w and u: ``<forward(x, w), u> = <x, input_gradient(u, w, shape of x)> = <w, filter_gradient(x, u)>``. So
    the derivatives of each of the three are the other two, and TensorFlow differentiates none of them.

    The three functions must not close over a tensor: a SavedModel could not be loaded again. Tensors that define the
    map and have no derivative are passed to all three as `constants`, their last arguments.

    Attributes:
        forward: (x, filter, *constants) -> y.
        input_gradient: (upstream, filter, shape of x, *constants) -> gradient to x.
        filter_gradient: (x, upstream, *constants) -> gradient to the filter.
    """

    forward: Callable[..., Tensor]
    input_gradient: Callable[..., Tensor]
    filter_gradient: Callable[..., Tensor]

    def __call__(self, x: Tensor, filter: Tensor, *constants: Tensor) -> Tensor:
        """Return ``forward(x, filter, *constants)``, differentiable any number of times."""
        forward, _ = self._differentiable(len(constants))
        return forward(x, filter, *constants)

    def transpose(self, upstream: Tensor, filter: Tensor, shape: Tensor) -> Tensor:
        """Return ``input_gradient(upstream, filter, shape)``, differentiable any number of times."""
        _, input_gradient = self._differentiable()
        return input_gradient(upstream, filter, shape)

    def _differentiable(self, constant_count: int = 0) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
        """`forward` and `input_gradient`, with the derivatives of all three products tied together."""
        no_gradients = (None,) * constant_count

        @tf.custom_gradient
        def forward(x: Tensor, filter: Tensor, *constants: Tensor) -> Tensor:
            return self.forward(x, filter, *constants), lambda u: (
                input_gradient(u, filter, tf.shape(x), *constants),
                filter_gradient(x, u, *constants),
                *no_gradients,
            )

        @tf.custom_gradient
        def input_gradient(u: Tensor, filter: Tensor, shape: Tensor, *constants: Tensor) -> Tensor:
            return self.input_gradient(u, filter, shape, *constants), lambda v: (
                forward(v, filter, *constants),
                filter_gradient(v, u, *constants),
                None,
                *no_gradients,
            )

        @tf.custom_gradient
        def filter_gradient(x: Tensor, u: Tensor, *constants: Tensor) -> Tensor:
            return self.filter_gradient(x, u, *constants), lambda v: (
                input_gradient(u, v, tf.shape(x), *constants),
                forward(x, v, *constants),
                *no_gradients,
            )

        return forward, input_gradient
