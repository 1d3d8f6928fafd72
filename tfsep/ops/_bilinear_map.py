"""Bilinear maps of an image and a filter, with their derivatives of any order."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.ops._pixel_layout import Length


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

        @tf.custom_gradient
        def forward(x: Tensor, filter: Tensor, *constants: Tensor) -> Tensor:
            return self.forward(x, filter, *constants), lambda u: (
                self.transpose(u, filter, tf.shape(x), *constants),
                self._correlation(x, u, *constants),
                *_no_gradients(constants),
            )

        # Only what is called is made, since decoration takes as long as a small convolution.
        return forward(x, filter, *constants)

    def transpose(self, upstream: Tensor, filter: Tensor, shape: Tensor, *constants: Tensor) -> Tensor:
        """Return ``input_gradient(upstream, filter, shape, *constants)``, differentiable any number of times."""

        @tf.custom_gradient
        def input_gradient(u: Tensor, filter: Tensor, shape: Tensor, *constants: Tensor) -> Tensor:
            return self.input_gradient(u, filter, shape, *constants), lambda v: (
                self(v, filter, *constants),
                self._correlation(v, u, *constants),
                None,
                *_no_gradients(constants),
            )

        return input_gradient(upstream, filter, shape, *constants)

    def _correlation(self, x: Tensor, upstream: Tensor, *constants: Tensor) -> Tensor:
        """``filter_gradient(x, upstream, *constants)``, differentiable any number of times."""

        @tf.custom_gradient
        def filter_gradient(x: Tensor, u: Tensor, *constants: Tensor) -> Tensor:
            return self.filter_gradient(x, u, *constants), lambda v: (
                self.transpose(u, v, tf.shape(x), *constants),
                self(x, v, *constants),
                *_no_gradients(constants),
            )

        return filter_gradient(x, upstream, *constants)


def _no_gradients(constants: tuple[Tensor, ...]) -> tuple[None, ...]:
    return (None,) * len(constants)


def zero_map(
    result_shape: Callable[[Tensor], Sequence[Length]], filter_shape: tf.TensorShape, dtype: tf.DType
) -> BilinearMap:
    """A convolution of no images: zeros that still depend on x and on the filter.

    Args:
        result_shape: x -> the shape of y, which has no images.
        filter_shape: the shape of the filter.
        dtype: dtype of all results.
    """
    return BilinearMap(
        lambda x, _: tf.zeros(result_shape(x), dtype),
        lambda _, __, shape: tf.zeros(shape, dtype),
        lambda _, __: tf.zeros(filter_shape, dtype),
    )
