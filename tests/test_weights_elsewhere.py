"""Weights of keras.applications and PyTorch: the same logits as theirs, by their padding and their normalization."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_sentence, assert_unchanged, in_part, state_of

from tfsep import Conv, DepthSepConv, models, weights

DEFS = (Conv(3, 2, 5), DepthSepConv(3, 1, 6), DepthSepConv(3, 2, 7))


def randomized(model, seed=0):
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        low, high = (0.5, 1.5) if variable.name in ("gamma", "moving_variance") else (-0.3, 0.3)
        variable.assign(rng.uniform(low, high, variable.shape))
    return model


def applications(size=(64, 64), alpha=0.25, classes=10, **options):
    return randomized(
        keras.applications.MobileNet(
            (*size, 3), alpha=alpha, weights=None, classes=classes, classifier_activation=None, **options
        )
    )


def ours(size=(64, 64), alpha=0.25, classes=10, padding="keras", **options):
    return models.MobileNetV1((*size, 3), classes, alpha, padding=padding, classifier_activation=None, **options)


def images(size, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, (2, *size, 3)).astype("float32")


@pytest.mark.parametrize("size", [(64, 64), (75, 61)])
def test_logits_of_keras_applications(size):
    theirs, model, x = applications(size), ours(size), images(size)
    before = state_of(theirs)
    weights.load_keras_applications(model, theirs)
    assert_unchanged(theirs, before)
    np.testing.assert_allclose(model(x), theirs(x), atol=1e-4)
    assert np.std(theirs(x)) > 1e-2


def test_other_epsilon_is_converted():
    theirs, x = applications(), images((64, 64))
    model = ours(arg_scope=models.mobilenet_v1_arg_scope(batch_norm_epsilon=0.3))
    weights.load_keras_applications(model, theirs)
    np.testing.assert_allclose(model(x), theirs(x), atol=1e-4)


@pytest.mark.parametrize("alpha", in_part([0.25, 0.1, 0.35], 3))
def test_files_of_keras_applications_load(alpha, tmp_path):
    """Keras rounds the filters of a width down, layer by layer."""
    theirs, x = applications(alpha=alpha), images((64, 64))
    theirs.save(tmp_path / "m.keras")
    theirs.save_weights(tmp_path / "m.weights.h5")
    for name in ("m.keras", "m.weights.h5"):
        model = ours(alpha=alpha, min_depth=1)
        weights.load_keras_applications(model, tmp_path / name)
        np.testing.assert_allclose(model(x), theirs(x), atol=1e-4)


def test_other_padding_changes_the_logits():
    theirs = applications((75, 61))
    for padding in ("same", "explicit"):
        with pytest.raises(ValueError, match=r"MobileNetV1\(padding='keras'\)") as error:
            weights.load_keras_applications(ours((75, 61), padding=padding), theirs)
        assert_sentence(error.value, "model")
    weights.load_keras_applications(ours((64, 64), padding="same"), applications((64, 64)))
    with pytest.raises(ValueError, match="padding"):
        weights.load_keras_applications(ours((None, None), padding="same"), applications((64, 64)))


def test_imagenet_weights_offline_are_refused(monkeypatch):
    def offline(*args, **kwargs):
        raise Exception("URL fetch failure on https://somewhere: None -- [Errno -2]")

    monkeypatch.setattr(keras.applications, "MobileNet", offline)
    with pytest.raises(ConnectionError) as error:
        weights.load_keras_applications(ours(classes=1000), "imagenet")
    assert_sentence(error.value, "source")


def test_imagenet_weights_with_other_classes():
    with pytest.raises(ValueError, match="such weights") as error:
        weights.load_keras_applications(ours(), "imagenet")
    assert_sentence(error.value, "source")


def refused(load, model, source, kind=ValueError):
    before = model.get_weights()
    with pytest.raises(kind) as error:
        load(model, source)
    assert_sentence(error.value, "source")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_helper_refused_fails_for_an_accepted_source():
    with pytest.raises(pytest.fail.Exception):
        refused(weights.load_keras_applications, ours(), applications())


def test_other_models_than_keras_applications_are_refused(tmp_path):
    load = weights.load_keras_applications
    refused(load, ours(), applications(classes=11))
    refused(load, ours(), applications(alpha=0.5))
    refused(load, ours(), dense())
    refused(load, ours(), None, TypeError)
    refused(load, ours(), tmp_path / "none.keras", FileNotFoundError)
    for name in ("m.keras", "m.weights.h5", "m.txt"):
        (tmp_path / name).write_bytes(b"none of it")
        refused(load, ours(), tmp_path / name)


def dense():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])


EPSILON = 1e-5


def state_dict(names, seed=0):
    """Random parameters of DEFS with 4 classes, as PyTorch lays them out, under the names of modules."""
    rng = np.random.default_rng(seed)
    shapes = [(5, 3, 3, 3), (5, 1, 3, 3), (6, 5, 1, 1), (6, 1, 3, 3), (7, 6, 1, 1)]
    state = {}
    for shape, (convolution, normalization) in zip(shapes, names[:-1], strict=True):
        state[f"{convolution}.weight"] = rng.uniform(-0.5, 0.5, shape)
        for name in ("weight", "bias", "running_mean", "running_var"):
            low = 0.3 if name == "running_var" else -0.5
            state[f"{normalization}.{name}"] = rng.uniform(low, 1, shape[0])
        state[f"{normalization}.num_batches_tracked"] = np.int64(3)
    state[f"{names[-1]}.weight"] = rng.uniform(-0.5, 0.5, (4, 7))
    state[f"{names[-1]}.bias"] = rng.uniform(-0.5, 0.5, 4)
    return {name: np.asarray(value, "float32" if np.ndim(value) else "int64") for name, value in state.items()}


SEQUENTIAL = [*((f"model.{i}.0", f"model.{i}.1") for i in range(5)), "fc"]
TIMM = [
    ("conv_stem", "bn1"),
    *(
        (f"blocks.{i}.0.conv_{kind}", f"blocks.{i}.0.bn{number}")
        for i in (0, 10)
        for kind, number in (("dw", 1), ("pw", 2))
    ),
    "classifier",
]


def by_loops(state, names, x):
    """The network in float64, from OIHW, one output element at a time."""
    y = np.moveaxis(x.astype("float64"), -1, 1)
    for (convolution, normalization), stride in zip(names[:-1], (2, 1, 1, 2, 1), strict=True):
        kernel = state[f"{convolution}.weight"].astype("float64")
        side = kernel.shape[2] // 2
        padded = np.pad(y, [(0, 0), (0, 0), (side, side), (side, side)])
        rows, columns = ((n - 1) // stride + 1 for n in y.shape[2:])
        z = np.zeros((len(y), len(kernel), rows, columns))
        for f in range(len(kernel)):
            channels = slice(f, f + 1) if "dw" in convolution or (kernel.shape[1] == 1) else slice(None)
            for i in range(rows):
                for j in range(columns):
                    window = padded[:, channels, i * stride :, j * stride :][..., : kernel.shape[2], : kernel.shape[3]]
                    z[:, f, i, j] = (window * kernel[f]).sum((1, 2, 3))
        own = [
            state[f"{normalization}.{n}"].astype("float64") for n in ("weight", "bias", "running_mean", "running_var")
        ]
        gamma, beta, mean, variance = (v[:, None, None] for v in own)
        y = np.clip(gamma * (z - mean) / np.sqrt(variance + EPSILON) + beta, 0, 6)
    return y.mean((2, 3)) @ state[f"{names[-1]}.weight"].T.astype("float64") + state[f"{names[-1]}.bias"]


def torchlike(size=(9, 8), classes=4, padding="explicit", **options):
    return models.MobileNetV1(
        (*size, 3), classes, conv_defs=DEFS, min_depth=1, padding=padding, classifier_activation=None, **options
    )


@pytest.mark.parametrize("names", [SEQUENTIAL, TIMM], ids=["sequential", "timm"])
@pytest.mark.parametrize("form", ["dict", "sorted", "wrapped", "safetensors"])
def test_logits_of_torch(names, form, tmp_path):
    state = state_dict(names)
    source = {
        "dict": state,
        "sorted": dict(sorted(state.items())),
        "wrapped": {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}},
        "safetensors": tmp_path / "m.safetensors",
    }[form]
    if form == "safetensors":
        from safetensors.numpy import save_file

        save_file(state, source)
    model, x = torchlike(), images((9, 8))
    weights.load_torch(model, source)
    np.testing.assert_allclose(model(x), by_loops(state, names, x), atol=1e-5)


def test_other_epsilon_and_padding_change_the_result():
    state, x = state_dict(TIMM), images((9, 8))
    model = torchlike()
    weights.load_torch(model, state, epsilon=0.1)
    assert np.abs(model(x) - by_loops(state, TIMM, x)).max() > 1e-3
    with pytest.raises(ValueError, match="padding='explicit'") as error:
        weights.load_torch(torchlike(padding="same"), state)
    assert_sentence(error.value, "model")


def test_files_written_by_torch(tmp_path):
    torch = pytest.importorskip("torch")
    state, x = state_dict(TIMM), images((9, 8))
    torch.save({name: torch.from_numpy(value) for name, value in state.items() if value.ndim}, tmp_path / "m.pt")
    model = torchlike()
    weights.load_torch(model, tmp_path / "m.pt")
    np.testing.assert_allclose(model(x), by_loops(state, TIMM, x), atol=1e-5)


def changed(**changes):
    return {name: value for name, value in {**state_dict(TIMM), **changes}.items() if value is not None}


STATES = {
    "missing": changed(**{"classifier.weight": None, "classifier.bias": None}),
    "unused": changed(**{"head.weight": np.zeros((4, 4), "float32")}),
    "wrongly shaped": changed(**{"conv_stem.weight": np.zeros((5, 3, 5, 5), "float32")}),
    "no depthwise kernel": changed(**{"blocks.0.0.conv_dw.weight": np.zeros((5, 5, 3, 3), "float32")}),
    "no normalization": changed(**{f"bn1.{name}": None for name in ("weight", "bias", "running_mean", "running_var")}),
    "half a normalization": changed(**{"bn1.running_var": None}),
    "a negative variance": changed(**{"bn1.running_var": np.full(5, -1, "float32")}),
    "NaN": changed(**{"bn1.bias": np.full(5, np.nan, "float32")}),
    "whole numbers": changed(**{"bn1.bias": np.zeros(5, "int32")}),
    "another parameter": changed(**{"bn1.alpha": np.zeros(5, "float32")}),
    "a name without an order": changed(**{"stem.weight": np.zeros((5, 3, 3, 3), "float32")}),
    "no tensors": changed(**{"bn1.bias": "text"}),
    "empty": {},
}


@pytest.mark.parametrize("case", STATES)
def test_mismatched_state_dicts_are_refused(case):
    refused(weights.load_torch, torchlike(), STATES[case])


class Sparse:
    """A tensor that is no array of numbers, as PyTorch's sparse ones are."""

    shape, dtype = (5,), np.dtype("float32")

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert Sparse layout tensor to numpy")


def test_unsupported_tensors():
    refused(weights.load_torch, torchlike(), changed(**{"bn1.bias": Sparse()}))


def test_bfloat16_weights():
    state, x = state_dict(TIMM), images((9, 8))
    half = {name: value.astype(tf.bfloat16.as_numpy_dtype) if value.ndim else value for name, value in state.items()}
    model, expected = torchlike(), torchlike()
    weights.load_torch(model, half)
    weights.load_torch(expected, {name: value.astype("float32") for name, value in half.items()})
    np.testing.assert_array_equal(model(x), expected(x))


def test_file_with_other_objects_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "m.pt")
    refused(weights.load_torch, torchlike(), tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"save the model's state_dict\(\)$"):
        weights.load_torch(torchlike(), tmp_path / "m.pt")


def test_invalid_torch_files(tmp_path):
    refused(weights.load_torch, torchlike(), None, TypeError)
    refused(weights.load_torch, torchlike(), tmp_path / "none.safetensors", FileNotFoundError)
    for name in ("m.safetensors", "m.bin"):
        (tmp_path / name).write_bytes(b"\xff" * 100)
        refused(weights.load_torch, torchlike(), tmp_path / name)


@pytest.mark.parametrize(("name", "module"), [("m.safetensors", "safetensors.numpy"), ("m.pt", "torch")])
def test_missing_package(name, module, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(b"")
    refused(weights.load_torch, torchlike(), tmp_path / name, ImportError)


def test_model_of_another_type():
    for load in (weights.load_torch, weights.load_keras_applications, weights.load_tflite):
        with pytest.raises(TypeError) as error:
            load("a model", {})
        assert_sentence(error.value, "model")
