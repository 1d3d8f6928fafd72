"""Files of images: pixels are those that a viewer shows, by Pillow, whose decoders are others than TensorFlow's."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tfsep.data._decode import decode_image

COARSE = np.random.default_rng(0).integers(0, 255, (4, 6, 3))
PICTURE = Image.fromarray(np.kron(COARSE, np.ones((8, 8, 1))).astype("uint8"))


def stored(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def in_graph(content, channels):
    return tf.function(decode_image)(tf.constant(content), channels)


@pytest.mark.parametrize("decode", [decode_image, in_graph])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, decode):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = stored(PICTURE, "JPEG", exif=exif, quality=98)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))), int)
    actual = np.asarray(decode(content, 3), int)
    assert actual.shape == expected.shape
    assert np.mean(np.abs(actual - expected)) < 4, "two decoders of JPEG differ by a few steps"
    assert np.mean(np.abs(actual - expected[::-1, ::-1])) > 20


@pytest.mark.parametrize("content", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0"])
def test_damaged_exif_is_ignored(content):
    picture = stored(PICTURE, "JPEG")
    segment = b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content
    np.testing.assert_array_equal(decode_image(picture[:2] + segment + picture[2:], 3), decode_image(picture, 3))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
@pytest.mark.parametrize("mode", ["P", "L", "RGB", "RGBA", "1"])
def test_pixels_equal_pillow(kind, mode):
    image = PICTURE.quantize(16) if mode == "P" else PICTURE.convert(mode)
    if (kind, mode) in {("GIF", "RGB"), ("GIF", "RGBA")}:
        image = image.quantize(16)
    content = stored(image, kind)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    np.testing.assert_array_equal(decode_image(content, 3), expected)
    np.testing.assert_array_equal(in_graph(content, 3), expected)


@pytest.mark.parametrize("decode", [decode_image, in_graph])
def test_bitmap_may_end_in_black(decode):
    """The last bytes are zeros then, which a string of NumPy's loses."""
    black = Image.fromarray(np.zeros((5, 8, 3), np.uint8))
    np.testing.assert_array_equal(decode(stored(black, "BMP"), 3), black)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG"])
def test_images_become_grey_for_one_channel(kind):
    image = PICTURE.quantize(16) if kind == "GIF" else PICTURE
    content = stored(image, kind)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB").convert("L"), int)
    actual = np.asarray(decode_image(content, 1), int)[..., 0]
    # The grey of a JPEG is stored as it is; through its colours, which are clipped, it comes out a little otherwise.
    assert np.mean(np.abs(actual - expected)) < (4 if kind == "JPEG" else 0.6)
    assert np.mean(np.abs(actual - expected[::-1])) > 20


@pytest.mark.parametrize("content", [b"", b"B", b"BM", b"\xff\xd8", b"text", stored(PICTURE, "BMP")[:300]])
@pytest.mark.parametrize("decode", [decode_image, in_graph])
def test_non_images_are_refused(content, decode):
    with pytest.raises(tf.errors.OpError):
        decode(content, 3)
