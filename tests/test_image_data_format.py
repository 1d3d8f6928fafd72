"""Keras's setting `image_data_format`: layers follow it, and everything that takes or makes whole networks does not.

Every public function is tried by its own example. Where that makes Keras's layers in Keras's format, the function has a
row here, with a model whose layers have a format of their own.
"""

import doctest
import importlib
import json
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_refused
from conftest import ROOT
from processes import NewInterpreter
from stripes import NETWORK, stripes_data
from test_package import SUBPACKAGES, public

from tfsep import layers, models, quantize, surgery, tflite, weights
from tfsep.cost import cost
from tfsep.train import TrainConfig, train

X = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
LAST = {"data_format": "channels_last"}
L = keras.layers

LAYERS = {
    "Conv1D": lambda **k: layers.Conv1D(4, 3, **k),
    "Conv2D": lambda **k: layers.Conv2D(4, 3, **k),
    "Conv1DTranspose": lambda **k: layers.Conv1DTranspose(4, 3, **k),
    "Conv2DTranspose": lambda **k: layers.Conv2DTranspose(4, 3, **k),
    "DeformableConv2D": lambda **k: layers.DeformableConv2D(4, 3, **k),
    "DepthwiseConv1D": lambda **k: layers.DepthwiseConv1D(3, **k),
    "DepthwiseConv2D": lambda **k: layers.DepthwiseConv2D(3, **k),
    "DepthwiseConv2DTranspose": lambda **k: layers.DepthwiseConv2DTranspose(3, **k),
    "DepthwiseSeparableConv": lambda **k: layers.DepthwiseSeparableConv(4, **k),
    "SeparableConv1D": lambda **k: layers.SeparableConv1D(4, 3, **k),
    "SeparableConv2D": lambda **k: layers.SeparableConv2D(4, 3, **k),
    "SeparableConv2DTranspose": lambda **k: layers.SeparableConv2DTranspose(4, 3, **k),
}

MAKE_KERAS_LAYERS = {
    *(f"layers.{name}" for name in LAYERS),
    *("quantize.QuantizedAveragePooling", "quantize.calibrate", "quantize.coverage", "quantize.prepare"),
    "quantize.sensitivity",
    *(
        "weights.load_keras_applications",
        "tflite.check_targets",
        "tflite.compare_layers",
        "tflite.export",
        "tflite.float_latency",
        "tflite.profile",
    ),
}
"""Functions whose examples make layers in Keras's format; tests of their own are below."""


@pytest.fixture
def channels_first():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(before)


def example_runs(name, thing):
    module = importlib.import_module(getattr(thing, "__module__", f"tfsep.{name.split('.')[0]}"))
    names = {**vars(module), "np": np, "tf": tf, "keras": keras, "tempfile": tempfile}
    found = doctest.DocTestFinder(exclude_empty=True).find(thing, name, module=module, globs=names)
    return all(doctest.DocTestRunner().run(test, out=lambda _: None).failed == 0 for test in found)


SLOW = ("models", "surgery", "tflite", "weights")


@pytest.mark.parametrize(
    "subpackage", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in SUBPACKAGES]
)
def test_every_public_example_runs(subpackage, channels_first, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed = {name for name, thing in public(subpackage) if not example_runs(name, thing)}
    assert failed == {name for name in MAKE_KERAS_LAYERS if name.startswith(f"{subpackage}.")}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_follow_the_setting_until_they_are_told(name, channels_first):
    following, told, last = LAYERS[name](), LAYERS[name](data_format="channels_first"), LAYERS[name](**LAST)
    x = X[:, 0] if "1D" in name else X
    moved = np.moveaxis(x, -1, 1)
    following.build(moved.shape)
    assert following.data_format == following.get_config()["data_format"] == "channels_first"
    for other, images in ((told, moved), (last, x)):
        other.build(images.shape)
        other.set_weights(following.get_weights())
    y = following(moved)
    np.testing.assert_array_equal(y, told(moved))
    assert_close(np.moveaxis(np.asarray(y), 1, -1), last(x))


def network():
    """A network of Keras's layers and ours, channels last."""
    inputs = x = keras.Input(X.shape[1:])
    for layer in (
        *(L.Conv2D(4, 3, padding="same", **LAST), L.BatchNormalization(), L.ReLU(), L.MaxPooling2D(**LAST)),
        *(layers.SeparableConv2D(6, 3, padding="same", **LAST), L.BatchNormalization(), L.Activation("hard_sigmoid")),
        *(
            layers.DepthwiseSeparableConv(4, activation="relu6", **LAST),
            L.AveragePooling2D(2, **LAST),
            L.Rescaling(2.0),
        ),
        layers.Conv2DTranspose(4, 3, 2, "same", groups=2, **LAST),
        *(L.ZeroPadding2D(1, **LAST), L.GlobalAveragePooling2D(**LAST), L.Dense(3)),
    ):
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def prepared(model):
    return quantize.observe(quantize.prepare(model), X)


def test_models_with_a_format_of_their_own_are_as_ever(model, prepared, channels_first, tmp_path):
    expected = model.predict(X, verbose=0)
    assert_close(surgery.fold_batch_norm(model)(X), expected)
    again = quantize.observe(quantize.prepare(model), X)
    np.testing.assert_array_equal(again(X), prepared(X))
    exported = tflite.export(model, tmp_path / "m.tflite", data=X)
    assert_close(tflite.predict(exported.path, X), expected)
    assert "TRANSPOSE" not in exported.ops
    assert tflite.check_targets(exported.path)
    assert tflite.compare_layers(model, exported.path, X).rows
    assert sum(row.macs for row in tflite.profile(exported.path).rows) == cost(exported.path).macs
    assert tflite.export(prepared, tmp_path / "p.tflite", "int8", data=X).verification.differing == 0


@pytest.mark.parametrize(
    "layer", [lambda: L.AveragePooling2D(2), L.GlobalAveragePooling2D, lambda: layers.Conv2D(4, 3)]
)
def test_prepare_refuses_layers_in_channels_first(layer, channels_first):
    model = keras.Sequential([keras.Input((4, 8, 8)), layer()])
    said = assert_refused(lambda: quantize.prepare(model, unsupported="error"), "model")
    assert "with channels first" in said


def test_weights_of_keras_applications(channels_first):
    keras.config.set_image_data_format("channels_last")
    theirs = keras.applications.MobileNet((32, 32, 3), alpha=0.25, weights=None)
    keras.config.set_image_data_format("channels_first")
    ours = models.MobileNetV1((32, 32, 3), alpha=0.25, padding="keras")
    weights.load_keras_applications(ours, theirs)
    x = tf.image.resize(X, (32, 32))
    assert_close(ours(x), theirs(x))


def test_networks_from_files(channels_first):
    path = ROOT / "saved_models" / "fashion_mnist" / "model_float32.tflite"
    images = np.random.default_rng(1).uniform(-1, 1, (2, 28, 28, 1)).astype("float32")
    assert_close(models.from_tflite(path)(images), tflite.predict(path, images), 1e-4)


@pytest.mark.slow
def test_training(channels_first, tmp_path):
    config = TrainConfig(network=NETWORK, epochs=2, batch_size=16, warmup_epochs=1, validation=16)
    assert train(config, stripes_data(), tmp_path / "run").model.input_shape == (None, 28, 28, 1)


BASE = """
import keras
assert keras.config.image_data_format() == "channels_first"
from tfsep import models
net, _ = models.mobilenet_v1_base(keras.Input((64, 64, 3)))
assert net.shape == (None, 2, 2, 1024), net.shape
"""
DEMO = """
from tfsep.demo import demo
assert demo("demo", images=8).report.is_file()
"""


@pytest.mark.slow
@pytest.mark.parametrize("program", [BASE, BASE + DEMO], ids=["base", "demo"])
def test_setting_in_the_settings_file(program, tmp_path, monkeypatch):
    """In a process of its own, as Keras reads ``keras.json`` when it is imported; its backend, a variable overrides."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keras.json").write_text(json.dumps({"image_data_format": "channels_first", "backend": "torch"}))
    variables = {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "tensorflow"}
    ended = NewInterpreter(program, environment=variables).wait()
    assert ended.returncode == 0, ended.stderr
