"""Interpolation that keeps the corners of an image where they are, as a layer."""

from collections.abc import Sequence
from typing import Any

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Shape, Tensor


def resized(images: Tensor, size: Sequence[int]) -> Tensor:
    """Return images (N, H, W, C) at another size, whose outermost pixels have their centres where they were."""
    return tf.raw_ops.ResizeBilinear(images=images, size=size, align_corners=True)


@keras.saving.register_keras_serializable(package="tfsep")
class AlignedResizing(keras.layers.Layer):
    """Interpolate images between the centres of pixels, of which the outermost stay.

    `keras.layers.Resizing` keeps the edges of the outermost pixels. DeepLab was trained with this one.

    Args:
        height: rows of the result.
        width: columns of the result.
        **kwargs: arguments of `keras.layers.Layer`.

    Input: (N, H, W, C).

    Output: (N, height, width, C).

    Examples:
        >>> AlignedResizing(1, 5)(np.array([[[[0.0], [1.0], [4.0]]]], "float32")).numpy().ravel().tolist()
        [0.0, 0.5, 1.0, 2.5, 4.0]
    """

    interpolation = "bilinear"
    data_format = "channels_last"

    def __init__(self, height: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.height, self.width = height, width

    def call(self, inputs: Tensor) -> Tensor:
        """Return the images at the size.

        Args:
            inputs: images (N, H, W, C).
        """
        return resized(inputs, (self.height, self.width))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the result.

        Args:
            input_shape: (N, H, W, C).
        """
        return (input_shape[0], self.height, self.width, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "height": self.height, "width": self.width}
