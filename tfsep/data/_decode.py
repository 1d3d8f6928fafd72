"""Images as bytes of a file, as pixels, and as what a network is given."""

import io
from typing import Any

import numpy as np
from PIL.ExifTags import Base
from PIL.Image import Exif
from PIL.Image import open as open_image

from tfsep._keras.backend import tf
from tfsep.data._preprocessing import DEFAULT, Preprocessing


def preprocess(images: Any) -> Any:
    """Return pixels in [0, 255] as float32 in [-1, 1]: ``pixel / 127.5 - 1``, what `Preprocessing`'s defaults do.

    Examples:
        >>> preprocess(np.array([0, 255], "uint8")).numpy().tolist()
        [-1.0, 1.0]
    """
    return DEFAULT(images)


def decoded(content: Any, channels: int) -> Any:
    """Return the bytes of one image file, JPEG, PNG, BMP or GIF, as uint8 (H, W, C), upright as a JPEG's EXIF data say.

    TensorFlow decodes, but for what it gets wrong: it takes the palette's numbers of a BMP for its greys, and has no
    word on how a camera was held.

    Examples:
        >>> decoded(tf.io.encode_png(np.zeros((2, 3, 1), "uint8")), 1).shape
        TensorShape([2, 3, 1])
    """
    kind = tf.strings.substr(content, 0, 2)
    image = tf.cond(
        kind == b"BM",
        lambda: tf.numpy_function(_bitmap, [_numbers_of(content), channels], tf.uint8, stateful=False),
        lambda: _by_tensorflow(content, channels),
    )
    image.set_shape((None, None, channels))
    return tf.cond(kind == b"\xff\xd8", lambda: _upright(image, content), lambda: image)


def _by_tensorflow(content: Any, channels: int) -> Any:
    if channels == 3:
        return tf.io.decode_image(content, channels=3, expand_animations=False)
    return tf.cond(
        tf.strings.substr(content, 0, 3) == b"GIF",  # which TensorFlow decodes in colour only
        lambda: tf.image.rgb_to_grayscale(tf.io.decode_image(content, expand_animations=False)[..., :3]),
        lambda: tf.io.decode_image(content, channels=channels, expand_animations=False),
    )


def _bitmap(numbers: np.ndarray, channels: int) -> np.ndarray:
    try:
        with open_image(io.BytesIO(numbers.tobytes()), formats=["BMP"]) as image:
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    except Exception as error:  # whatever a damaged file makes Pillow raise
        raise tf.errors.InvalidArgumentError(None, None, f"no whole BMP file: {error}") from error
    return pixels.reshape(*pixels.shape[:2], int(channels))


def _upright(image: Any, content: Any) -> Any:
    """A JPEG file's image, turned as it says."""
    orientation = tf.numpy_function(_orientation, [_numbers_of(content)], tf.int64, stateful=False)
    return tf.cond(orientation > 1, lambda: _turned(image, orientation), lambda: image)


def _turned(image: Any, orientation: Any) -> Any:
    """An image by its EXIF orientation: 2 to 4 are mirrored at one side or both, 5 to 8 at the diagonal as well."""
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    for axis, mirrored in enumerate(((3, 4, 7, 8), (2, 3, 6, 7))):
        image = tf.where(tf.reduce_any(orientation == mirrored), tf.reverse(image, [axis]), image)
    return image


def _orientation(numbers: np.ndarray) -> np.int64:
    """How a camera was held, by the EXIF data of a JPEG file; 1, upright, where there are none."""
    content = numbers[: 2**17].tobytes()
    place = content.find(b"Exif\0\0", 0, 2**16)
    if place < 0:
        return np.int64(1)
    exif = Exif()
    try:
        exif.load(content[place : place + 2**16])
        orientation = exif.get(Base.Orientation, 1)
    except Exception:  # whatever damaged data make it raise: they say nothing then
        return np.int64(1)
    return np.int64(orientation if orientation in range(1, 9) else 1)


def _numbers_of(content: Any) -> Any:
    """Bytes for a function of NumPy, which would lose those of zero at the end of a string."""
    return tf.io.decode_raw(content, tf.uint8)


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
