"""Images as bytes of a file, as pixels, and as what a network is given."""

from typing import Any

import numpy as np

from tfsep._backend import tf
from tfsep.data._preprocessing import DEFAULT, Preprocessing


def preprocess(images: Any) -> Any:
    """Return pixels in [0, 255] as float32 in [-1, 1]: ``pixel / 127.5 - 1``, what `Preprocessing`'s defaults do.

    Example:
        >>> preprocess(np.array([0, 255], "uint8")).numpy().tolist()
        [-1.0, 1.0]
    """
    return DEFAULT(images)


def decoded(content: Any, channels: int) -> Any:
    """Return the bytes of one image file, JPEG, PNG, BMP or GIF, as uint8 (H, W, C).

    Example:
        >>> decoded(tf.io.encode_png(np.zeros((2, 3, 1), "uint8")), 1).shape
        TensorShape([2, 3, 1])
    """
    image = tf.io.decode_image(content, channels=channels, expand_animations=False)
    if image.shape.rank is None:
        image.set_shape((None, None, channels))
    return image


def scaled(content: Any, image_shape: tuple[int, int, int], how: Preprocessing) -> Any:
    """Decode the bytes of one image file as uint8 (H, W, C), cropped and brought to size."""
    rows, columns, channels = image_shape
    return how.pixels(decoded(content, channels), (rows, columns))


def unpacked(content: Any, image_shape: tuple[int, int, int], how: Preprocessing) -> Any:  # noqa: ARG001
    """Return the bytes of one image's pixels, which have their size already, as uint8 (H, W, C)."""
    return tf.reshape(tf.io.decode_raw(content, tf.uint8), image_shape)


# How an image is stored: uint8 in the order (H, W, C), or the bytes of a JPEG, PNG, BMP or GIF file of any size.
ENCODINGS = {"pixels": unpacked, "file": scaled}


def as_array(value: Any, name: str) -> np.ndarray:
    """Return a value as an array, or say that its parts are unequal."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise TypeError(f"{name}: expected an array, got a {type(value).__name__} of unequal parts") from error
