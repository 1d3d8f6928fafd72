"""Every public function that takes a model leaves its weights and states as they were, unless that is its purpose.

The functions are found in the public API: a new one without a row here is a failure.
"""

import pkgutil
import re

import keras
import numpy as np
import pytest
from checks import assert_unchanged, state_of
from conftest import ROOT
from keras import layers as L
from test_api import callables
from test_inference import X, made

import tfsep
from tfsep import Conv, data, models, quantize, saved, tflite, weights

LABELS = np.arange(len(X)) % 3
CALLS = {
    "data.known_preprocessing(model)": lambda model, path: data.known_preprocessing(path, model),
    "data.leading_preprocessing(model)": lambda model, _: data.leading_preprocessing(model),
    "data.save_with_preprocessing(model)": lambda model, path: data.save_with_preprocessing(
        model, data.Preprocessing(), path.with_suffix(".keras")
    ),
    "quantize.calibrate(model)": lambda model, _: quantize.calibrate(model, X, "minmax", samples=8),
    "quantize.sensitivity(model)": lambda model, _: quantize.sensitivity(model, X, method="minmax", samples=8),
    "tflite.float_latency(model)": lambda model, _: tflite.float_latency(model, [], runs=1, warmup=0),
    "saved.export_all(model)": lambda model, path: saved.export_all(
        model, path.parent, None, lambda: (X, LABELS), ["dynamic_int8"]
    ),
}
"""On a model whose statistics and random numbers move where it is called as it is in training."""

PREPARED = {
    "quantize.coverage(model)": lambda model, _: quantize.coverage(model),
    "quantize.logits_of(model)": lambda model, _: quantize.logits_of(model)(X[:4], training=False),
    "tflite.export(model)": lambda model, path: tflite.export(model, path, "int8", data=X),
    "tflite.verify(model)": lambda model, path: tflite.verify(model, path, X),
    "tflite.compare_layers(model)": lambda model, path: tflite.compare_layers(model, path, X[:8]),
}
"""On a prepared model."""

PURPOSES = {
    "quantize.observe(model)": "ranges",
    "quantize.freeze_batch_norm(model)": "whether statistics move",
    "quantize.FunctionTable(function)": "a model that is a part of the layer",
    "weights.load_keras_applications(model)": "weights",
    "weights.load_slim_checkpoint(model)": "weights",
    "weights.load_tflite(model)": "weights",
    "weights.load_torch(model)": "weights",
}
"""What a function is there to change."""

ELSEWHERE = {
    "cost.cost(network)": "test_inference.py",
    "models.deeplab_v3(backbone)": "test_heads.py",
    "models.lraspp(backbone)": "test_heads.py",
    "models.ssdlite(backbone)": "test_heads.py",
    "quantize.prepare(model)": "test_inference.py",
    "surgery.fold_batch_norm(model)": "test_inference.py",
    "tflite.export(model)": "test_inference.py",
    "tflite.verify(model)": "test_inference.py",
    "tflite.compare_layers(model)": "test_inference.py",
    "tflite.convert(model)": "test_inference.py",
    "saved.export_scene_files(model)": "test_tasks.py",
    "train.accuracy(model)": "test_inference.py",
    "train.detection_score(model)": "test_scene_scores.py",
    "train.finetune(model)": "test_finetune.py",
    "train.segmentation_score(model)": "test_scene_scores.py",
    "train.train(start)": "test_start.py",
    "weights.load_keras_applications(source)": "test_weights_elsewhere.py",
    "weights.slim_variables(model)": "test_models_unchanged.py",
}
"""Where else the same is tested, by a function `assert_unchanged`."""


def parameters_of_models(functions):
    """Parameters that may be a Keras model, by their annotations."""
    return {
        f"{function.name}({parameter.name})"
        for function in functions
        for parameter in function.parameters
        if re.search(r"\bModel\b", str(parameter.annotation))
    }


def test_every_public_function_has_a_row():
    modules = [info.name for info in pkgutil.iter_modules(tfsep.__path__) if info.name[0] != "_"]
    found = parameters_of_models(function for name in modules for function in callables(name))
    assert found == CALLS.keys() | PREPARED.keys() | PURPOSES.keys() | ELSEWHERE.keys()
    for name, file in ELSEWHERE.items():
        text = (ROOT / "tests" / file).read_text()
        assert re.search(rf"\b{name.partition('(')[0].rpartition('.')[-1]}\(", text), name
        assert "assert_unchanged(" in text


def network():
    """A normalization behind what draws numbers, and probabilities."""
    model = made("flipped at random")
    return keras.Sequential([model, L.Softmax()])


@pytest.mark.filterwarnings("ignore:model. left 1 batch normalization")
def test_models_stay_as_they_are(tmp_path):
    model = network()
    model(X)
    before = state_of(model)
    for name, call in CALLS.items():
        call(model, tmp_path / "m.tflite")
        assert_unchanged(model, before), name


def test_prepared_models_stay_as_they_are(tmp_path):
    model = quantize.observe(quantize.prepare(network()), X)
    before = state_of(model)
    for name, call in PREPARED.items():
        call(model, tmp_path / "m.tflite")
        assert_unchanged(model, before), name


def test_functions_change_what_they_are_for_and_nothing_else():
    model = quantize.prepare(network())
    changes = {"low|high|seen": lambda: quantize.observe(model, X), "frozen": lambda: quantize.freeze_batch_norm(model)}
    for said, change in changes.items():
        before = state_of(model)
        change()
        moved = [path for path, value in state_of(model).items() if value.tolist() != before[path].tolist()]
        assert moved
        assert all(re.search(said, path.rsplit("/", 1)[-1]) for path in moved)


def test_slim_variables():
    model = models.MobileNetV1((16, 16, 3), 4, conv_defs=[Conv(3, 2, 8)])
    before = state_of(model)
    assert len(weights.slim_variables(model)) == len(model.weights)
    assert_unchanged(model, before)
