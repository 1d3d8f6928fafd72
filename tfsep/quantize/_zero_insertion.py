"""Zeros between and around pixels, as a layer: the first part of a transposed convolution."""

from collections.abc import Sequence
from typing import Any

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Tensor
from tfsep.ops._pixel_layout import insert_zeros


@keras.saving.register_keras_serializable(package="tfsep")
class ZeroInsertion(keras.layers.Layer):
    """Insert zeros between the pixels of an image, and around it.

    A transposed convolution is a plain convolution of the result by the flipped filter.

    Args:
        strides: distance from one pixel to the next, in rows and columns, or in steps of a sequence.
        padding: zeros before and behind, one pair per axis; a negative number crops.
        **kwargs: arguments of `keras.layers.Layer`.

    Input: (N, H, W, C), or (N, L, C).

    Output: (N, H', W', C), or (N, L', C).

    Examples:
        >>> ZeroInsertion([2], [[1, 0]])(np.array([[[5.0], [7.0]]])).numpy().ravel().tolist()
        [0.0, 5.0, 0.0, 7.0]
    """

    def __init__(self, strides: Sequence[int], padding: Sequence[Sequence[int]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.strides = tuple(strides)
        self.padding = tuple((before, behind) for before, behind in padding)

    def call(self, inputs: Tensor) -> Tensor:
        """Return the pixels with zeros between and around them.

        Args:
            inputs: an image (N, H, W, C), or a sequence (N, L, C).
        """
        if len(self.strides) == 2:
            rows, columns = self.padding
            return insert_zeros(inputs, self.strides, (rows, columns))
        row, (steps,) = tf.expand_dims(inputs, 1), self.padding
        return tf.squeeze(insert_zeros(row, (1, *self.strides), ((0, 0), steps)), 1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "strides": self.strides, "padding": self.padding}
