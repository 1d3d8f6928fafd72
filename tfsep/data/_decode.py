"""Decoding of images: from the bytes of a file to uint8 pixels."""

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor, TensorLike
from tfsep.data._pictures import decode_picture
from tfsep.data._preprocessing import DEFAULT, Preprocessing

_BY_TENSORFLOW = b"\xff\xd8", b"\x89P", b"GI"
"""First bytes of JPEG, PNG and GIF."""


def preprocess(images: Tensor | np.ndarray) -> Tensor:
    """Return pixels in [0, 255] as float32 in [-1, 1]: ``pixel / 127.5 - 1``, the default of `Preprocessing`.

    Args:
        images: pixels, (..., C).

    Returns:
        A float32 tensor of the same shape.

    Examples:
        >>> preprocess(np.array([0, 255], "uint8")).numpy().tolist()
        [-1.0, 1.0]
    """
    return DEFAULT(images)


def decode_image(content: TensorLike, channels: int) -> Tensor:
    """Decode the bytes of one image file, upright by the EXIF orientation of a JPEG; works inside ``tf.data``.

    TensorFlow decodes JPEG, PNG and GIF, and Pillow all else: TensorFlow takes the palette indices of a BMP for grey
    levels. It ignores the orientation of a JPEG.

    Args:
        content: bytes of an image file that Pillow reads, a string tensor.
        channels: 1 for grey, 3 for colour.

    Returns:
        A uint8 tensor (H, W, C).

    Examples:
        >>> decode_image(tf.io.encode_png(np.zeros((2, 3, 1), "uint8")), 1).shape
        TensorShape([2, 3, 1])
    """
    signature = tf.strings.substr(content, 0, 2)
    image = tf.cond(
        tf.reduce_any(signature == tf.constant(_BY_TENSORFLOW)),
        lambda: _decode_with_tensorflow(content, channels),
        lambda: tf.numpy_function(_decode_with_pillow, [_byte_values(content), channels], tf.uint8, stateful=False),
    )
    image.set_shape((None, None, channels))
    return tf.cond(signature == b"\xff\xd8", lambda: _upright_jpeg(image, content), lambda: image)


@tf.function(autograph=False)
def decoded_size(content: TensorLike, channels: int) -> Tensor:
    """Return how many numbers an image file has; an error of TensorFlow for one that cannot be decoded.

    Traced once, for all data sets: a trace takes longer than to decode a hundred small images.
    """
    return tf.size(decode_image(content, channels))


def _decode_with_tensorflow(content: Tensor, channels: int) -> Tensor:
    if channels == 3:
        return tf.io.decode_image(content, channels=3, expand_animations=False)
    return tf.cond(
        tf.strings.substr(content, 0, 3) == b"GIF",  # TensorFlow decodes it in colour only
        lambda: tf.image.rgb_to_grayscale(tf.io.decode_image(content, expand_animations=False)[..., :3]),
        lambda: tf.io.decode_image(content, channels=channels, expand_animations=False),
    )


def _decode_with_pillow(values: np.ndarray, channels: int) -> np.ndarray:
    try:
        return decode_picture(values.tobytes(), int(channels))
    except ValueError as error:
        raise tf.errors.InvalidArgumentError(None, None, str(error)) from error


def _upright_jpeg(image: Tensor, content: Tensor) -> Tensor:
    """The image of a JPEG file, turned upright by its EXIF orientation."""
    orientation = tf.numpy_function(_exif_orientation, [_byte_values(content)], tf.int64, stateful=False)
    return tf.cond(orientation > 1, lambda: _upright(image, orientation), lambda: image)


def _upright(image: Tensor, orientation: Tensor) -> Tensor:
    """An image turned upright: EXIF orientations 2 to 4 are mirrored along one axis or both, 5 to 8 transposed, too."""
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    for axis, mirrored in enumerate(((3, 4, 7, 8), (2, 3, 6, 7))):
        image = tf.where(tf.reduce_any(orientation == mirrored), tf.reverse(image, [axis]), image)
    return image


def _exif_orientation(values: np.ndarray) -> np.int64:
    """The EXIF orientation of a JPEG file, 1 to 8; 1, upright, where there is none."""
    content = values[: 2**17].tobytes()
    place = content.find(b"Exif\0\0", 0, 2**16)
    if place < 0:
        return np.int64(1)
    exif = Image.Exif()
    try:
        exif.load(content[place : place + 2**16])
        orientation = exif.get(Base.Orientation, 1)
    except Exception:  # Pillow raises many kinds for damaged data, which then count as none
        return np.int64(1)
    return np.int64(orientation if orientation in range(1, 9) else 1)


def _byte_values(content: Tensor) -> Tensor:
    """The bytes of a string as uint8, for a NumPy function: NumPy's strings lose zeros at their end."""
    return tf.io.decode_raw(content, tf.uint8)


def decode_file(content: Tensor, image_shape: tuple[int, int, int], preprocessing: Preprocessing) -> Tensor:
    """Return the bytes of an image file as uint8 (H, W, C), cropped and resized."""
    rows, columns, channels = image_shape
    return preprocessing.crop_and_resize(decode_image(content, channels), (rows, columns))


def decode_pixels(content: Tensor, image_shape: tuple[int, int, int], preprocessing: Preprocessing) -> Tensor:  # noqa: ARG001
    """Return the bytes of pixels, which already have their size, as uint8 (H, W, C)."""
    return tf.reshape(tf.io.decode_raw(content, tf.uint8), image_shape)


DECODERS = {"pixels": decode_pixels, "file": decode_file}
"""By encoding: uint8 pixels in the order (H, W, C), or the bytes of an image file of any size."""
