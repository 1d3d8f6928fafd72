"""Channels that vary are told from channels of float32's noise, whatever their size beside others."""

import keras
import numpy as np
import pytest
from checks import assert_sentence
from keras import layers, ops
from verification_networks import samples

from tfsep import tflite
from tfsep.tflite._channel_errors import ChannelLimit, OutputErrors
from tfsep.tflite._model_run import model_run
from tfsep.tflite._model_signature import signature_of
from tfsep.tflite._roughness import ModelSamples
from tfsep.tflite._tensor_info import TensorInfo

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(48, 8)).astype("float32")


def columns(*scales):
    """A dense layer whose columns have these scales."""
    model = keras.Sequential([keras.Input((8,)), layers.Dense(len(scales))])
    model.layers[0].kernel.assign(np.random.default_rng(1).normal(size=(8, len(scales))) * scales)
    return model


def planes(scale):
    """Maps with their channels first, of which the second is this much smaller."""
    image = keras.Input((6, 6, 2))
    model = keras.Model(image, layers.Permute((3, 1, 2))(layers.Conv2D(2, 1)(image)))
    model.layers[1].kernel.assign(RNG.normal(size=(1, 1, 2, 2)) * [1, scale])
    return model


def exported(model, folder, recipe, data):
    calibration = data if tflite.RECIPES[recipe].needs_calibration else None
    return tflite.export(model, folder / "m.tflite", recipe, calibration, data=data).verification


@pytest.mark.parametrize("scale", [1e-4, 1e-7, 1e-8, 1e-12])
def test_small_columns(tmp_path, scale):
    """Dead in int8 whatever the size of both; in float16 where its weights are under the smallest number."""
    for whole in (1.0, 1 / scale):
        with pytest.raises(tflite.VerificationError, match=r"got a constant.*an output of its own") as error:
            exported(columns(whole, whole * scale), tmp_path, "int8", FEATURES)
        assert_sentence(str(error.value), "m.tflite")
        assert [channel.dead for channel in error.value.report.channels.worst] == [True, False]
    model = columns(1, scale)
    for recipe in ("float32", "dynamic_int8"):
        found = exported(model, tmp_path, recipe, FEATURES)
        assert (found.channels.dead, found.lossy) == (0, False)
    if scale < 1e-7:
        with pytest.raises(tflite.VerificationError, match=r"got a constant.*under or past what the file"):
            exported(model, tmp_path, "float16", FEATURES)
    else:
        assert exported(model, tmp_path, "float16", FEATURES).lossy == (scale == 1e-7)


@pytest.mark.parametrize("recipe", ["int8", "float16"])
def test_small_planes(tmp_path, recipe):
    model = planes(1e-9)
    data = samples(model, 24, 0)
    with pytest.raises(
        tflite.VerificationError, match=r"got a constant: conv2d\w*\[:, 1, |got a constant: \w+\[:, 1, "
    ):
        exported(model, tmp_path, recipe, data)
    assert exported(model, tmp_path, "float32", data).channels.dead == 0


def test_an_output_that_is_small_as_a_whole(tmp_path):
    with pytest.raises(tflite.VerificationError, match=r"got a constant.*its numbers are under 1e-06") as error:
        exported(columns(1e-11, 1e-11), tmp_path, "int8", FEATURES)
    assert error.value.report.channels.dead == 2
    assert exported(columns(1e-11, 1e-11), tmp_path, "dynamic_int8", FEATURES).channels.dead == 0


@pytest.mark.slow
def test_a_network_whose_outputs_vanish(tmp_path):
    """With the statistics that Keras starts from, outputs are of 1e-11: dead in int8, and right in other recipes."""
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV3Small((64, 64, 3), weights=None, classes=10, classifier_activation=None)
    data = samples(model, 8, 0, 0.0)
    with pytest.raises(tflite.VerificationError, match=r"got a constant.*its numbers are under 1e-06"):
        exported(model, tmp_path, "int8", data)
    for recipe in ("float32", "dynamic_int8"):
        assert exported(model, tmp_path, recipe, data).channels.dead == 0


def beside(noise):
    """A network that has classes, and beside them a column of noise."""
    inputs = keras.Input((8,))
    classes = layers.Dense(4, activation="softmax")(inputs)
    return keras.Model(inputs, layers.Concatenate()([classes, noise(inputs, classes)]))


NOISE = {
    "a sum of probabilities": lambda x, p: ops.sum(p, axis=1, keepdims=True),
    "what is left of it": lambda x, p: ops.sum(p, axis=1, keepdims=True) - 1,
    "a mean without its mean": lambda x, p: ops.mean(p - ops.mean(p, axis=1, keepdims=True), axis=1, keepdims=True),
    "two orders of one sum": lambda x, p: ops.sum(x, axis=1, keepdims=True) - ops.sum(x[:, ::-1] + 0.0, 1, True),
    "a difference of logarithms": lambda x, p: ops.log(2 * p[:, :1]) - ops.log(p[:, :1]) - float(np.log(2)),
    "nothing and a little": lambda x, p: x[:, :1] - x[:, :1] + 1e-9,
    "a bias": lambda x, p: layers.Dense(1, kernel_initializer="zeros", bias_initializer="ones")(x),
}


@pytest.mark.parametrize("recipe", ["int8", "float32"])
@pytest.mark.parametrize("case", NOISE)
def test_columns_of_noise(tmp_path, case, recipe):
    """Off by all that they vary by, and constant in int8, as they may be."""
    keras.utils.set_random_seed(0)
    found = exported(beside(NOISE[case]), tmp_path, recipe, FEATURES)
    assert found.channels.dead == 0
    assert not found.lossy
    assert found.channels.error <= found.channels.tolerance


@pytest.mark.parametrize("recipe", ["float32", "int8"])
def test_noise_excuses_no_other_number(tmp_path, recipe):
    """A column of noise that is another number in the file is an error, in the measure of the whole output."""
    keras.utils.set_random_seed(0)
    right, other = (beside(lambda x, p, n=n: ops.sum(p, axis=1, keepdims=True) - n) for n in (1, 1.5))
    other.set_weights(right.get_weights())
    exported(other, tmp_path, recipe, FEATURES)
    with pytest.raises(tflite.VerificationError):
        tflite.verify(right, tmp_path / "m.tflite", FEATURES)


def roughness(model, inputs):
    """The noise that is measured of a model's first output, by element."""
    shape = (1, *model.outputs[0].shape[1:])
    with model_run(signature_of(model, None)) as run:
        run(inputs)
        (errors,) = ModelSamples(run, inputs, [TensorInfo("y", shape, "float32", 0.0, 0)]).roughness
    return errors.noise((1,))


def test_noise_of_columns():
    """Of a product, against float64: each column has a noise of its own size, a small share of what it varies by."""
    model = columns(1, 1e-8, 1e6)
    exact = FEATURES.astype(float) @ model.layers[0].kernel.numpy().astype(float)
    noise = np.sqrt(np.mean((model.predict(FEATURES, verbose=0) - exact) ** 2, axis=0))
    found = roughness(model, [FEATURES])
    assert np.all((noise / 4 < found) & (found < 1e-5 * exact.std(axis=0)))


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_noise_of_what_cancels(size):
    inputs = keras.Input((8,))
    model = keras.Model(inputs, (inputs + size) - size - inputs)
    # A graph of predict's would cancel it.
    deviation = np.asarray(model(FEATURES)).std(axis=0)
    found = roughness(model, [FEATURES])
    assert np.all((deviation / 3 < found) & (found < 3 * deviation))


def test_whole_numbers_do_not_move():
    """An index, as an int or a float, stays the same; the embedding's numbers move, and are smooth."""
    for dtype in ("int32", "float32"):
        tokens = keras.Input((4,), dtype=dtype)
        model = keras.Model(tokens, layers.Dense(3)(layers.Flatten()(layers.Embedding(9, 4)(tokens))))
        data = RNG.integers(0, 9, (32, 4)).astype(dtype)
        deviation = model.predict(data, verbose=0).std(axis=0)
        assert np.all(roughness(model, [data]) < 1e-5 * deviation)


def test_curved_and_stepped_functions_are_no_noise():
    inputs = keras.Input((8,))
    x = layers.Dense(8, activation="tanh")(3 * inputs)
    for tensor in (ops.exp(x) * ops.relu(x), ops.sign(x), ops.round(10 * x)):
        model = keras.Model(inputs, tensor)
        deviation = model.predict(FEATURES, verbose=0).std(axis=0)
        assert np.all(roughness(model, [FEATURES]) < deviation / 8)


def test_no_weight_changes():
    model = keras.Sequential([keras.Input((3, 4)), layers.LSTM(5), layers.Dense(2)])
    before = model.get_weights()
    roughness(model, [RNG.normal(size=(8, 3, 4)).astype("float32")])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(("noise", "dead"), [(0.1, 1), (1.0, 0), (np.nan, 1)])
def test_dead_beside_noise(noise, dead):
    info = TensorInfo("y", (1, 2), "float32", 0.0, 0)
    model = RNG.normal(size=(64, 2))
    file = model * [1, 0]
    errors, rough = OutputErrors(info, 0.0), OutputErrors(info, 0.0)
    errors.add(model, file)
    rough.add(model, model + noise)
    assert errors.summary(ChannelLimit(2.0, adds_rounding=False), roughness=rough).dead == dead
