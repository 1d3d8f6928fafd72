"""Another option of an operator, or another axis, shape or pad, is found, or is no difference on the data."""

import damages
import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import in_part
from keras import layers as L
from keras import ops

from tfsep import tflite
from tfsep.tflite import _litert_model


def pixels():
    """Windows, resizes, activations, pads."""
    x = image = keras.Input((12, 12, 4))
    x = L.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = L.UpSampling2D(2, interpolation="bilinear")(x)
    x = L.DepthwiseConv2D(3, padding="same", activation="relu6")(x)
    x = L.Add()([x, L.UpSampling2D(2)(L.AveragePooling2D(2)(x))])
    x = L.Conv2D(8, 3, dilation_rate=2, padding="same")(L.LeakyReLU()(x))
    x = L.MaxPooling2D(3, strides=2, padding="same")(x)
    x = L.Conv2DTranspose(6, 3, strides=2, padding="same")(x)
    x = L.Cropping2D(((0, 1), (1, 2)))(L.ZeroPadding2D(((1, 0), (2, 1)))(x))
    return keras.Model(image, L.GlobalAveragePooling2D()(L.Permute((2, 1, 3))(x)))


def places():
    """Axes, parts, orders."""
    image = keras.Input((8, 8, 4))
    x = L.Conv2D(8, 1)(L.Lambda(lambda t: tf.nn.space_to_depth(t, 2))(image))
    first, second = ops.split(L.Lambda(lambda t: tf.nn.depth_to_space(t, 2))(x), 2, axis=1)
    x = ops.concatenate([second, first], axis=-1)[:, ::2, 1:7:2, ::-1]
    x = ops.stack(ops.unstack(x, axis=1), axis=2)
    x = L.Lambda(lambda t: tf.pad(t, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"))(x)
    x = ops.take(ops.flip(x * ops.max(x, axis=-1, keepdims=True), axis=1), [1, 0, 2], axis=3)
    x = ops.tile(x, (1, 1, 2, 1))
    return keras.Model(image, [L.Dense(3)(L.Flatten()(ops.mean(x, 1))), L.Dense(3)(L.Flatten()(ops.sum(x, 2)))])


def tokens():
    """Products, functions, a norm."""
    sequence = keras.Input((6, 8))
    x = L.Dense(8)(sequence)
    x = ops.matmul(ops.softmax(ops.matmul(L.Dense(8)(x), ops.transpose(L.Dense(8)(x), (0, 2, 1)))), x)
    x = ops.cumsum(ops.gelu(L.Dense(8)(x), approximate=True), axis=1)
    x = L.UnitNormalization()(L.Dense(8, activation="relu")(x))
    return keras.Model(sequence, L.Dense(3)(L.Flatten()(ops.swapaxes(x, 1, 2))))


CASES = [(make, recipe, 1) for make in (pixels, places, tokens) for recipe in ("int8", "float32", "int16x8")]


@pytest.mark.usefixtures("one_reference")
@pytest.mark.parametrize(("make", "recipe", "step"), in_part([(pixels, "int8", 5), *CASES], 99))
def test_other_options_are_found(make, recipe, step, tmp_path, monkeypatch):
    keras.utils.set_random_seed(1)
    model, path = make(), tmp_path / "m.tflite"
    data = np.random.default_rng(0).normal(size=(48, *model.input_shape[1:])).astype("float32")
    calibration = data[:32] if recipe != "float32" else None
    whole = tflite.export(model, path, recipe, calibration, data=data[32:]).verification
    if step > 1:  # of these few none makes LiteRT crash, and no process of its own is needed
        monkeypatch.setattr(_litert_model, "require_runnable", lambda *_: None)
    changes = list(damages.with_other_options(path.read_bytes()))[::step]
    refusals = []
    for name, content in changes:
        path.write_bytes(content)
        try:
            found = tflite.verify(model, path, data[32:])
        except ValueError as error:
            refusals.append(str(error))
        else:
            assert found.rms_error <= 1.1 * whole.rms_error + 1e-6, name
    assert len(refusals) > len(changes) / 3
    assert all("expected" in each for each in refusals)
