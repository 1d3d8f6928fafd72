"""Interpolation of maps inside a network, as a layer."""

from collections.abc import Sequence
from typing import Any

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Shape, Tensor


def resized(images: Tensor, size: Sequence[int], aligned: bool) -> Tensor:
    """Return images (N, H, W, C) at another size, with their corners or their edges where they were."""
    if aligned:
        return tf.raw_ops.ResizeBilinear(images=images, size=size, align_corners=True)
    return tf.image.resize(images, size, "bilinear")


@keras.saving.register_keras_serializable(package="tfsep")
class BilinearResizing(keras.layers.Layer):
    """Interpolate maps between the centres of pixels.

    `keras.layers.Resizing` is for the front of a model: in the middle of one that is called without ``training``, it
    lets the layers behind it train, as augmentations do by default.

    Args:
        height: rows of the result.
        width: columns of the result.
        align_corners: whether the centres of the outermost pixels stay, as in Google's DeepLab, in place of their
            edges.
        **kwargs: arguments of `keras.layers.Layer`.

    Input: (N, H, W, C).

    Output: (N, height, width, C).

    Examples:
        >>> BilinearResizing(1, 5, True)(np.array([[[[0.0], [1.0], [4.0]]]], "float32")).numpy().ravel().tolist()
        [0.0, 0.5, 1.0, 2.5, 4.0]
    """

    interpolation = "bilinear"
    data_format = "channels_last"

    def __init__(self, height: int, width: int, align_corners: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.height, self.width, self.align_corners = height, width, align_corners

    def call(self, inputs: Tensor) -> Tensor:
        """Return the maps at the size.

        Args:
            inputs: maps (N, H, W, C).
        """
        return resized(inputs, (self.height, self.width), self.align_corners)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the result.

        Args:
            input_shape: (N, H, W, C).
        """
        return (input_shape[0], self.height, self.width, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        size = {"height": self.height, "width": self.width}
        return {**super().get_config(), **size, "align_corners": self.align_corners}
