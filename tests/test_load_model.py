"""Models of Keras 2, SavedModels and models with classes of one's own, loaded and exported."""

import inspect
import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_refused, assert_sentence
from keras import layers as L
from typer.testing import CliRunner

from tfsep import classify, models, saved, tflite
from tfsep.cli import app
from tfsep.data import preprocess
from tfsep.importing import import_model

RNG = np.random.default_rng(0)


def keras2_file(path, config, weights, version="2.15.0"):
    """An ``.h5`` file as Keras 2 writes it; `weights` has for each layer its arrays by name."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"keras_version": version, "backend": "tensorflow", "model_config": json.dumps(config)})
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for layer, arrays in weights.items():
            own = group.create_group(layer)
            own.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in arrays]
            for name, array in arrays.items():
                own[f"{layer}/{name}:0"] = array
    return path


def layer(kind, name, **config):
    return {"class_name": kind, "config": {"name": name, "trainable": True, "dtype": "float32", **config}}


def inputs(name, *shape):
    return layer("InputLayer", name, batch_input_shape=[None, *shape], sparse=False, ragged=False)


def sequential(*stack):
    return {"class_name": "Sequential", "config": {"name": "old", "layers": list(stack)}}


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


KERNEL, BIAS = normal(3, 3, 3, 2), normal(6)
GAMMA, BETA, MEAN, VARIANCE = (RNG.uniform(0.5, 2.0, 6).astype("float32") for _ in range(4))
CONVOLUTION = {"kernel_size": [3, 3], "strides": [1, 1], "padding": "same", "use_bias": True, "groups": 1}
NORMALIZATION = layer("BatchNormalization", "block/bn", axis=[3], momentum=0.99, epsilon=0.01)


@pytest.fixture(scope="module")
def functional(tmp_path_factory):
    """A depthwise convolution with ``groups``, a normalization of a name with a slash, a sum: all in Keras 2's form."""
    stack = [
        {**inputs("image", 8, 8, 3), "name": "image", "inbound_nodes": []},
        {
            **layer("DepthwiseConv2D", "depthwise", **CONVOLUTION, depth_multiplier=2, activation="linear"),
            "name": "depthwise",
            "inbound_nodes": [[["image", 0, 0, {}]]],
        },
        {**NORMALIZATION, "name": "block/bn", "inbound_nodes": [[["depthwise", 0, 0, {}]]]},
        {
            **layer("Add", "sum"),
            "name": "sum",
            "inbound_nodes": [[["depthwise", 0, 0, {}], ["block/bn", 0, 0, {}]]],
        },
    ]
    ends = {"input_layers": [["image", 0, 0]], "output_layers": [["sum", 0, 0]]}
    config = {"class_name": "Functional", "config": {"name": "old", "layers": stack, **ends}}
    stored = {"gamma": GAMMA, "beta": BETA, "moving_mean": MEAN, "moving_variance": VARIANCE}
    return keras2_file(
        tmp_path_factory.mktemp("old") / "m.h5",
        config,
        {"image": {}, "depthwise": {"depthwise_kernel": KERNEL, "bias": BIAS}, "block/bn": stored, "sum": {}},
    )


def test_functional_model_of_keras2(functional, tmp_path):
    """Against NumPy, and as the file of an export."""
    x = normal(4, 8, 8, 3)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    depthwise = np.zeros((4, 8, 8, 6)) + BIAS
    for row, column, channel, place in np.ndindex(KERNEL.shape):
        window = padded[:, row : row + 8, column : column + 8, channel]
        depthwise[..., 2 * channel + place] += window * KERNEL[row, column, channel, place]
    expected = depthwise + GAMMA * (depthwise - MEAN) / np.sqrt(VARIANCE + 0.01) + BETA
    model = models.load_model(functional)
    assert_close(model.predict(x, verbose=0), expected)
    assert_close(
        tflite.predict(tflite.export(functional_again(model, tmp_path), tmp_path / "m.tflite").path, x), expected
    )
    assert tflite.verify(functional, tmp_path / "m.tflite", x).passed


def functional_again(model, folder):
    """The same model, saved and loaded by Keras 3."""
    model.save(folder / "again.keras")
    return models.load_model(folder / "again.keras")


def test_recurrent_model_of_keras2(tmp_path):
    """Keras 2's hard sigmoid is 0.2·x + 0.5, Keras 3's is x/6 + 0.5."""
    options = {"units": 2, "activation": "linear", "recurrent_activation": "hard_sigmoid", "time_major": False}
    config = sequential(inputs("x", 1, 3), layer("LSTM", "lstm", **options, use_bias=False))
    kernel, recurrent = normal(3, 8), normal(2, 8)
    path = keras2_file(tmp_path / "m.h5", config, {"lstm": {"kernel": kernel, "recurrent_kernel": recurrent}})
    x = normal(5, 1, 3)
    gates = x[:, 0] @ kernel
    i, c, o = gates[:, :2], gates[:, 4:6], gates[:, 6:]
    expected = np.clip(0.2 * o + 0.5, 0, 1) * np.clip(0.2 * i + 0.5, 0, 1) * c
    assert_close(models.load_model(path).predict(x, verbose=0), expected)
    new = keras2_file(tmp_path / "new.h5", config, {"lstm": {"kernel": kernel, "recurrent_kernel": recurrent}}, "3.1.0")
    assert_refused(lambda: models.load_model(new), "model")


def functional_config(*layers, output):
    return {
        "class_name": "Functional",
        "config": {"name": "old", "layers": list(layers), "input_layers": [["x", 0, 0]], "output_layers": [output]},
    }


def called(config, *calls):
    """A layer's config in a Functional one, with a list of its arguments for each call."""
    return {**config, "name": config["config"]["name"], "inbound_nodes": [list(call) for call in calls]}


def dense(name, units, **options):
    return layer("Dense", name, units=units, activation="linear", use_bias=False, **options)


NESTED = {
    "Sequential": sequential(inputs("inner", 3), dense("first", 3)),
    "Functional": {
        "class_name": "Functional",
        "config": {
            "layers": [called(inputs("inner", 3)), called(dense("first", 3), [["inner", 0, 0, {}]])],
            "input_layers": [["inner", 0, 0]],
            "output_layers": [["first", 0, 0]],
        },
    },
    "without an input": sequential(dense("first", 3)),
}


@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize("is_last", [False, True])
def test_nested_models_of_keras2(kind, is_last, tmp_path):
    """Keras 2 counts the call that made a nested model before the others, unless it was made without an input."""
    inner = {**NESTED[kind], "config": {**NESTED[kind]["config"], "name": "nested"}}
    first, second = (0, 1) if kind == "without an input" else (1, 2)
    stack = [
        called(inputs("x", 3)),
        called(dense("before", 3), [["x", 0, 0, {}]]),
        called(inner, [["x", 0, 0, {}]], [["before", 0, 0, {}]]),
        called(layer("Add", "sum"), [["nested", first, 0, {}], ["nested", second, 0, {}]]),
    ]
    output = ["nested", second, 0] if is_last else ["sum", 0, 0]
    weights = {"x": {}, "before": {"kernel": normal(3, 3)}, "nested": {"first/kernel": normal(3, 3)}, "sum": {}}
    path = keras2_file(tmp_path / "m.h5", functional_config(*stack, output=output), weights)
    x, kernel, before = normal(5, 3), weights["nested"]["first/kernel"], weights["before"]["kernel"]
    expected = x @ before @ kernel + (0 if is_last else x @ kernel)
    model = models.load_model(path)
    assert_close(model.predict(x, verbose=0), expected)
    assert tflite.verify(model, tflite.export(model, tmp_path / "m.tflite").path, x).passed


def test_tensors_among_the_options_of_a_call(tmp_path):
    """An attention's values, and a recurrent layer's state, which Keras 2 lists behind its input."""
    attention = L.MultiHeadAttention(2, 2, name="attention")
    ends = [keras.Input((4, 3)), keras.Input((4, 3))]
    expected = keras.Model(ends, attention(ends[0], ends[1]))
    config = {key: value for key, value in attention.get_config().items() if key in ("num_heads", "key_dim")}
    shapes = {"query_shape": [None, 4, 3], "key_shape": [None, 4, 3], "value_shape": [None, 4, 3]}
    stack = [
        called(inputs("x", 4, 3)),
        called(sequential(inputs("inner", 4, 3), dense("first", 3)), [["x", 0, 0, {}]]),
        called(layer("MultiHeadAttention", "attention", **config, **shapes), [["x", 0, 0, {"value": ["old", 1, 0]}]]),
    ]
    kernel = normal(3, 3)
    arrays = {str(place): weight.numpy() for place, weight in enumerate(attention.weights)}
    weights = {"x": {}, "old": {"first/kernel": kernel}, "attention": arrays}
    path = keras2_file(tmp_path / "m.h5", functional_config(*stack, output=["attention", 0, 0]), weights)
    x = normal(5, 4, 3)
    assert_close(models.load_model(path).predict(x, verbose=0), expected.predict([x, x @ kernel], verbose=0))

    stack = [
        called(inputs("x", 1, 3)),
        called(layer("Flatten", "state"), [["x", 0, 0, {}]]),
        called(
            layer("SimpleRNN", "rnn", units=3, activation="linear", use_bias=False),
            [["x", 0, 0, {}], ["state", 0, 0, {}]],
        ),
    ]
    recurrent = normal(3, 3)
    weights = {"x": {}, "state": {}, "rnn": {"kernel": kernel, "recurrent_kernel": recurrent}}
    path = keras2_file(tmp_path / "m.h5", functional_config(*stack, output=["rnn", 0, 0]), weights)
    x = normal(5, 1, 3)
    assert_close(models.load_model(path).predict(x, verbose=0), x[:, 0] @ (kernel + recurrent))


def test_options_that_keras3_reads_otherwise(tmp_path):
    """Several axes, a crop, bins in integers, a score's name that is a function's too."""

    def loaded(*stack):
        return models.load_model(keras2_file(tmp_path / "m.h5", sequential(*stack), {}))

    x = normal(5, 4, 6, 3)
    unit = loaded(inputs("x", 4, 6, 3), layer("UnitNormalization", "unit", axis=[1, 2, 3]))
    assert_close(unit.predict(x, verbose=0), x / np.sqrt((x**2).sum((1, 2, 3), keepdims=True)))
    crop = loaded(inputs("x", 4, 6, 3), layer("RandomCrop", "crop", height=2, width=2, seed=None, rng_type="stateful"))
    middle = x[:, :, 1:5].reshape(5, 2, 2, 2, 2, 3).mean((2, 4))
    assert_close(crop.predict(x, verbose=0), middle)
    bins = {"bin_boundaries": [0.0, 1.0], "num_bins": None, "epsilon": 0.01, "output_mode": "int", "sparse": False}
    disc = loaded(inputs("x", 4), layer("Discretization", "bins", **bins))
    np.testing.assert_array_equal(disc.predict(x[:, :, 0, 0], verbose=0), np.digitize(x[:, :, 0, 0], [0.0, 1.0]))
    norm = layer("SyncBatchNormalization", "bn", axis=[3], epsilon=0.01)
    stored = {"gamma": GAMMA[:3], "beta": BETA[:3], "moving_mean": MEAN[:3], "moving_variance": VARIANCE[:3]}
    path = keras2_file(tmp_path / "m.h5", sequential(inputs("x", 4, 6, 3), norm), {"bn": stored})
    expected = (x - MEAN[:3]) * GAMMA[:3] / np.sqrt(VARIANCE[:3] + 0.01) + BETA[:3]
    assert_close(models.load_model(path).predict(x, verbose=0), expected)
    attention = called(layer("Attention", "attention", score_mode="dot"), [["x", 0, 0, {}], ["x", 0, 0, {}]])
    config = functional_config(called(inputs("x", 4, 3)), attention, output=["attention", 0, 0])
    path = keras2_file(tmp_path / "m.h5", config, {})
    scores = np.exp(x[:, :, 0] @ x[:, :, 0].transpose(0, 2, 1))
    expected = scores / scores.sum(-1, keepdims=True) @ x[:, :, 0]
    assert_close(models.load_model(path).predict(x[:, :, 0], verbose=0), expected)


READABLE = {
    "separable": (L.SeparableConv2D(4, 3), {"groups": 1, "kernel_initializer": None, "kernel_regularizer": None}),
    "transposed": (L.Conv2DTranspose(4, 3, strides=2), {"groups": 1}),
    "dropout": (L.SpatialDropout2D(0.5), {"noise_shape": None, "trainable": True}),
    "random": (L.RandomFlip(), {"rng_type": "stateful"}),
    "policy": (L.Conv2D(2, 3), {"dtype": {"class_name": "Policy", "config": {"name": "float32"}}}),
}


@pytest.mark.parametrize("name", READABLE)
def test_keys_that_keras3_does_not_know(name, tmp_path):
    own, former = READABLE[name]
    new = keras.Sequential([keras.Input((6, 6, 3)), own])
    kept = {key: value for key, value in own.get_config().items() if key not in ("dtype", "name")}
    arrays = {str(i): weight.numpy() for i, weight in enumerate(own.weights) if "seed" not in weight.name}
    config = sequential(inputs("x", 6, 6, 3), layer(type(own).__name__, own.name, **{**kept, **former}))
    path = keras2_file(tmp_path / "m.h5", config, {own.name: arrays})
    x = normal(2, 6, 6, 3)
    assert_close(models.load_model(path).predict(x, verbose=0), new.predict(x, verbose=0))


def operator(name, function, kind="TFOpLambda"):
    return {"class_name": kind, "config": {"name": name, "trainable": True, "dtype": "float32", "function": function}}


def between(function, node, **options):
    """A model of two inputs of which one function takes some."""
    return functional_config(
        called(inputs("x", 4, 3)),
        called(inputs("y", 4, 3)),
        {**called(operator("o", function)), "inbound_nodes": [node], "name": "o", **options},
        output=["o", 0, 0],
    )


CUT = {"start": 1, "stop": None, "step": 2}
BETWEEN = {
    "rectifier": ("nn.relu6", ["x", 0, 0, {"name": None}], lambda x, y: np.clip(x, 0, 6)),
    "sum": ("__operators__.add", ["x", 0, 0, {"y": ["y", 0, 0], "name": None}], lambda x, y: x + y),
    "constant": ("math.multiply", ["x", 0, 0, {"y": 2.5}], lambda x, y: 2.5 * x),
    "constant in front": ("math.subtract", ["_CONSTANT_VALUE", -1, 2.0, {"y": ["x", 0, 0]}], lambda x, y: 2 - x),
    "twice": ("math.multiply", ["x", 0, 0, {"y": ["x", 0, 0]}], lambda x, y: x * x),
    "list": (
        "concat",
        [["y", 0, 0, {"axis": -1}], ["_CONSTANT_VALUE", -1, np.ones((5, 4, 1)).tolist(), {"axis": -1}]],
        lambda x, y: np.concatenate([y, np.ones((5, 4, 1))], -1),
    ),
    "matrix": (
        "linalg.matmul",
        ["x", 0, 0, {"b": ["y", 0, 0], "transpose_b": True}],
        lambda x, y: x @ y.swapaxes(1, 2),
    ),
    "slices": (
        "__operators__.getitem",
        ["x", 0, 0, {"slice_spec": [{"class_name": "__ellipsis__"}, CUT, None]}],
        lambda x, y: x[..., 1::2, None],
    ),
    "reshape": ("reshape", ["x", 0, 0, {"shape": [-1, 12]}], lambda x, y: x.reshape(5, 12)),
    "means": ("math.reduce_mean", ["x", 0, 0, {"axis": [1], "keepdims": True}], lambda x, y: x.mean(1, keepdims=True)),
}


@pytest.mark.parametrize("case", BETWEEN)
def test_functions_of_tensorflow_between_layers(case, tmp_path):
    """Keras 2 makes layers of them, which Keras 3 has not; saved again by Keras 3."""
    function, node, expected = BETWEEN[case]
    # Keras 3.12 has no model of an input that is not used.
    used = [name for name in ("x", "y") if f'["{name}", 0' in json.dumps(node)]
    ends = {"input_layers": [[name, 0, 0] for name in used]}
    config = between(function, node, class_name="SlicingOpLambda" if "getitem" in function else "TFOpLambda")
    config["config"] |= ends
    x, y = normal(5, 4, 3), normal(5, 4, 3)
    given = {"x": x, "y": y}[used[0]] if len(used) == 1 else [x, y]
    model = models.load_model(keras2_file(tmp_path / "m.h5", config, {}))
    assert_close(model.predict(given, verbose=0), expected(x, y))
    model.save(tmp_path / "m.keras")
    assert_close(models.load_model(tmp_path / "m.keras").predict(given, verbose=0), expected(x, y))


UNREADABLE = {
    **{
        f"the function {name}": (between(name, ["x", 0, 0, {}]), f"it has the function tf.{name} between its layers")
        for name in (
            "io.write_file",
            "py_function",
            "math.__loader__",
            "nn.no_such",
            "compat.v1.py_func",
            "load_library",
        )
    },
    "no tensors": (between("einsum", ["_CONSTANT_VALUE", -1, "ab,ac->bc", {}]), "'o' lacks its tensors"),
    "two calls": (
        functional_config(
            called(inputs("x", 3)),
            called(operator("o", "nn.relu"), ["x", 0, 0, {}], ["x", 0, 0, {}]),
            output=["o", 1, 0],
        ),
        "its TFOpLambda 'o' is called 2 times",
    ),
    "a layer": (sequential(layer("ThresholdedReLU", "r", theta=1.0)), "a ThresholdedReLU layer"),
    "a layer of kernels": (sequential(layer("LocallyConnected2D", "l", filters=2)), "a LocallyConnected2D layer"),
    "two axes": (
        sequential(layer("BatchNormalization", "b", axis=[1, 3])),
        "its BatchNormalization 'b' has axis=[1, 3]",
    ),
    "statistics": (sequential(layer("BatchNormalization", "b", renorm=True)), "has renorm=True, which Keras 3 has not"),
    "an unknown key": (
        sequential(inputs("x", 3), dense("d", 2, odd=1)),
        "its Dense 'd' has odd, which Keras 3 has not",
    ),
    "defaults": (
        sequential(inputs("x", 3), layer("Lambda", "l", function=["code", [None], None], function_type="lambda")),
        "its Lambda 'l' has arguments with defaults, which Keras 3 does not load",
    ),
    "code": (
        sequential(inputs("x", 3), layer("Lambda", "l", function=["code", None, None], function_type="lambda")),
        "pass safe_mode=False, or --unsafe",
    ),
    "an option": (sequential(layer("GRU", "g", units=2, time_major=True)), "its GRU 'g' has time_major=True"),
    "a class": (sequential(inputs("x", 3), layer("Unheard", "u")), "'Unheard': give it in custom_objects"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_named(case, tmp_path):
    config, said = UNREADABLE[case]
    path = keras2_file(tmp_path / "m.h5", config, {})
    assert said in assert_refused(lambda: models.load_model(path), "model")


def test_damaged_files_and_weights_alone(functional, tmp_path):
    (tmp_path / "cut.h5").write_bytes(functional.read_bytes()[:1000])
    (tmp_path / "folder").mkdir()
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["kernel"] = KERNEL
    for name, said in (("cut.h5", "whole .h5"), ("w.h5", "weights and no model"), ("folder", "SavedModel")):
        assert said in assert_refused(lambda name=name: models.load_model(tmp_path / name), "model")


def test_saved_models(tmp_path):
    """By their signature: one and several inputs and outputs, without Keras."""
    kernel = tf.Variable(normal(4, 3))
    spec = tf.TensorSpec((None, 4), tf.float32, name="x")
    module = tf.Module()
    module.kernel = kernel
    one = tf.function(lambda x: {"y": x @ kernel}, autograph=False).get_concrete_function(spec)
    two = tf.function(lambda a, b: {"p": a @ kernel, "q": a + b}, autograph=False).get_concrete_function(
        a=tf.TensorSpec((None, 4), tf.float32, name="a"), b=tf.TensorSpec((None, 4), tf.float32, name="b")
    )
    x, shift = normal(6, 4), normal(6, 4)
    tf.saved_model.save(module, str(tmp_path / "one"), signatures={"serving_default": one})
    model = models.load_model(tmp_path / "one")
    assert_close(model.predict(x, verbose=0), x @ kernel.numpy())
    report = tflite.export(model, tmp_path / "m.tflite", "int8", np.repeat(x, 6, axis=0) + normal(36, 4), data=x)
    assert report.ops == {"FULLY_CONNECTED": 1}
    tf.saved_model.save(module, str(tmp_path / "two"), signatures={"other": two})
    report = tflite.export(models.load_model(tmp_path / "two"), tmp_path / "m.tflite", data={"a": x, "b": shift})
    outputs = tflite.predict(report.path, {"a": x, "b": shift})
    assert_close(outputs["p"], x @ kernel.numpy())
    assert_close(outputs["q"], x + shift)
    names = [f"input_{number}" for number in range(8)]
    many = tf.function(lambda **x: {"sum": sum(x.values()), **x}, autograph=False).get_concrete_function(
        **{name: tf.TensorSpec((None, 4), tf.float32, name=name) for name in reversed(names)}
    )
    tf.saved_model.save(module, str(tmp_path / "many"), signatures={"serving_default": many})
    model = models.load_model(tmp_path / "many")
    assert [each.name for each in model.inputs] == names  # a signature is a map, read in a new order each time
    assert list(model.output) == [*names, "sum"]
    samples = {name: np.full((2, 4), number, "float32") for number, name in enumerate(names)}
    assert_close(model.predict(samples, verbose=0)["input_5"], samples["input_5"])
    tf.saved_model.save(module, str(tmp_path / "none"))
    assert "no signature" in assert_refused(lambda: models.load_model(tmp_path / "none"), "model")
    tf.saved_model.save(module, str(tmp_path / "choice"), signatures={"p": one, "q": two})
    said = assert_refused(lambda: models.load_model(tmp_path / "choice"), "model")
    assert "it has signatures p, q, and none named serving_default" in said
    tf.saved_model.save(module, str(tmp_path / "given"), signatures={"a": two, "serving_default": one})
    assert_close(models.load_model(tmp_path / "given").predict(x, verbose=0), x @ kernel.numpy())


def test_a_saved_loop_over_an_open_batch(tmp_path):
    """TensorFlow Lite lowers no list whose shape is computed; the graph was saved so, whatever batch is exported."""

    @tf.function(input_signature=[tf.TensorSpec((None, 5, 3), tf.float32, name="x")], autograph=False)
    def run(x):
        steps = tf.transpose(x, [1, 0, 2])
        return {"y": tf.scan(lambda state, step: tf.tanh(state + step), steps, tf.zeros_like(steps[0]))}

    tf.saved_model.save(tf.Module(), str(tmp_path / "loop"), signatures=run)
    model = models.load_model(tmp_path / "loop")
    said = assert_refused(lambda: tflite.export(model, tmp_path / "m.tflite"), "model")
    assert "which TensorListReserve of 'loop' has: save the model with a fixed batch" in said
    assert "allow_flex=True" in said
    x = normal(4, 5, 3)
    report = tflite.export(model, tmp_path / "m.tflite", data=x, allow_flex=True)
    assert "FlexTensorListReserve" in report.ops
    said = assert_refused(lambda: tflite.export(model, tmp_path / "m.tflite", "int8", normal(40, 5, 3)), "model")
    assert said.endswith(
        "got 'loop' with one: save it with unroll=True in its recurrent layers, or take another recipe"
    )


def first_version(path, *graphs):
    """A SavedModel of TensorFlow 1, with a graph for each list of tags: twice the input."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x = v1.placeholder("float32", (None, 4), name="x")
        scale = v1.get_variable("scale", initializer=2.0)
        signature = v1.saved_model.signature_def_utils.predict_signature_def({"x": x}, {"y": x * scale})
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, graphs[0], {"serving_default": signature})
        for tags in graphs[1:]:
            builder.add_meta_graph(tags, {"serving_default": signature})
        builder.save()


@pytest.mark.filterwarnings("ignore")
def test_saved_models_of_tensorflow_1(tmp_path):
    x = normal(5, 4)
    first_version(tmp_path / "one", ["train"])
    model = models.load_model(tmp_path / "one")
    assert_close(model.predict(x, verbose=0), 2 * x)
    assert_close(tflite.predict(tflite.export(model, tmp_path / "m.tflite").path, x), 2 * x)
    first_version(tmp_path / "two", ["serve"], ["serve", "tpu"])
    said = assert_refused(lambda: models.load_model(tmp_path / "two"), "model")
    assert "it has to have one graph, and has 2 graphs, tagged ['serve'], ['serve', 'tpu']" in said


def test_saved_models_of_a_batch_a_table_and_nothing(tmp_path):
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant([0, 1], "int64"), tf.constant([1.0, 2.0])), 0.0
    )
    module = tf.Module()
    module.table = table
    cases = {
        "batch": (lambda x: {"y": 2 * x}, tf.TensorSpec((3, 4), name="x")),
        "table": (lambda x: {"y": table.lookup(x)}, tf.TensorSpec((None, 3), "int64", name="x")),
        "scalar": (lambda x: {"y": 2 * x}, tf.TensorSpec((), name="x")),
        "text": (lambda x: {"y": tf.strings.length(x)}, tf.TensorSpec((None,), "string", name="x")),
        "nothing": (lambda x: {}, tf.TensorSpec((None, 4), name="x")),
    }
    for name, (function, spec) in cases.items():
        traced = tf.function(function, autograph=False).get_concrete_function(spec)
        tf.saved_model.save(module, str(tmp_path / name), signatures=traced)
    model, x = models.load_model(tmp_path / "batch"), normal(6, 4)
    report = tflite.export(model, tmp_path / "m.tflite", data=x)
    assert [info.shape for info in report.inputs] == [(3, 4)]
    assert_close(tflite.predict(report.path, x), 2 * x)
    for name, said in (
        ("scalar", "expected a tensor of numbers with a batch"),
        ("text", "expected a tensor of numbers with a batch"),
        ("nothing", "its signature 'serving_default' has no outputs"),
    ):
        assert said in assert_refused(lambda name=name: models.load_model(tmp_path / name), "model")
    model = models.load_model(tmp_path / "table")
    said = assert_refused(lambda: tflite.export(model, tmp_path / "t.tflite"), "model")
    assert "LookupTableFindV2 of 'table': give allow_flex=True" in said


OWN = """
import keras
class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x
class Net(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.doubled, self.pool = Doubled(), keras.layers.GlobalAveragePooling2D()
    def call(self, x):
        return self.pool(self.doubled(x))
    def get_config(self):
        return {}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with a module of one's own, a model with a layer of it, and one with a Lambda."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_layers.py").write_text(OWN)
    scope = {}
    exec(OWN, scope)
    stack = [keras.Input((8, 8, 3)), scope["Doubled"](), L.GlobalAveragePooling2D()]
    keras.Sequential(stack).save(tmp_path / "own.keras")
    net = scope["Net"]()
    net(np.zeros((1, 8, 8, 3)))
    net.save(tmp_path / "net.keras")
    keras.Sequential([keras.Input((4,)), L.Lambda(lambda x: 2 * x)]).save(tmp_path / "lambda.keras")
    (tmp_path / "broken.py").write_text("raise SystemExit(7)")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_classes_of_ones_own_on_the_command_line(own):
    for module in ("own_layers", "own_layers.py", "own_layers:Doubled", own / "own_layers.py"):
        assert run("export", "own.keras", "--out", "m.tflite", "--custom", module).exit_code == 0, module
    np.save("x.npy", RNG.integers(0, 256, (12, 8, 8, 3)).astype("uint8"))
    done = run("verify", "own.keras", "m.tflite", "--data", "x.npy", "--custom", "own_layers")
    assert done.exit_code == 0, done.output
    done = run("export", "net.keras", "--custom", "own_layers", "--recipe", "int8", "--calibration", "x.npy")
    assert done.exit_code == 0, done.output
    assert run("cost", "own.keras", "--custom", "own_layers").exit_code == 0
    assert run("export", "lambda.keras", "--unsafe").exit_code == 0
    tf.io.write_file("a.png", tf.io.encode_png(np.zeros((8, 8, 3), "uint8")))
    assert "model" in run("predict", "own.keras", "a.png", "--custom", "own_layers", "--json").stdout
    with pytest.raises(ValueError, match="classes that are known"):
        classify.classify("own.keras", ["a.png"])


@pytest.mark.usefixtures("timed_once")
@pytest.mark.parametrize("kind", ["h5", "saved", "own"])
def test_models_of_all_kinds_become_folders_for_devices(kind, own, functional):
    """By the command, from a file of Keras 2, a SavedModel and a file that needs a module."""
    x = normal(3, 8, 8, 3)
    if kind == "saved":
        signature = tf.TensorSpec((None, 8, 8, 3), name="x")
        twice = tf.function(lambda x: {"y": 2 * x}, autograph=False).get_concrete_function(signature)
        tf.saved_model.save(tf.Module(), "saved", signatures=twice)
    source, options, expected = {
        "h5": (functional, (), lambda: models.load_model(functional).predict(x, verbose=0)),
        "saved": ("saved", (), lambda: 2 * x),
        "own": ("own.keras", ("--custom", "own_layers"), lambda: 2 * x.mean((1, 2))),
    }[kind]
    done = run("convert", source, "--recipe", "float32", "--out", "out", *options)
    assert done.exit_code == 0, done.output
    assert {"model.tflite", "model.json", "README.md"} <= {path.name for path in (own / "out").iterdir()}
    assert_close(tflite.predict("out/model.tflite", x), expected())


@pytest.mark.parametrize("kind", ["h5", pytest.param("keras", marks=pytest.mark.slow)])
def test_import_says_what_whole_models_of_other_networks_are_for(kind, functional, tmp_path):
    path = functional
    if kind == "keras":
        path = tmp_path / "other.keras"
        keras.Sequential([keras.Input((32, 32, 3)), L.Conv2D(4, 3)]).save(path)
    options = {"size": (32, 32), "alpha": 0.25, "classes": 3}
    said = assert_refused(lambda: import_model(path, tmp_path / "m.keras", **options), "source")
    assert said.endswith("whole models of other networks are for tfsep convert and export")
    assert not (tmp_path / "m.keras").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["own.keras"], "classes that are known, got own.keras, which has 'Doubled'"),
        (["lambda.keras"], "pass safe_mode=False, or --unsafe"),
        (["own.keras", "--custom", "no_such_module"], "got 'no_such_module' (ModuleNotFoundError"),
        (["own.keras", "--custom", "missing.py"], "imports, got missing.py, which does not exist"),
        (["own.keras", "--custom", "broken.py"], "got 'broken.py' (SystemExit: 7)"),
        (["own.keras", "--custom", "own_layers:Other"], "a class or function that own_layers has, got 'Other'"),
    ],
)
def test_models_that_the_command_refuses(arguments, said, own):
    done = run("export", *arguments, "--out", "m.tflite")
    assert done.exit_code == 2
    text = done.stderr.removeprefix("tfsep: ").strip()
    assert_sentence(text, "custom" if "--custom" in arguments else "model")
    assert said in text
    assert not (own / "m.tflite").exists()


def test_sizes_of_several_inputs_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ends = [keras.Input((None, None, 3), name="a"), keras.Input((None, None, 1), name="b"), keras.Input((2,), name="c")]
    pooled = [L.GlobalAveragePooling2D()(each) for each in ends[:2]]
    keras.Model(ends, L.Concatenate()([*pooled, ends[2]])).save("several.keras")
    done = run("export", "several.keras", "--out", "m.tflite", "--size", "8x6")
    assert done.exit_code == 0, done.output
    shapes = {row.shape for row in tflite.inspect("m.tflite").role("input")}
    assert shapes == {(1, 8, 6, 3), (1, 8, 6, 1), (1, 2)}


LATER = ("input_axes", "output_axes", "renorm", "renorm_clipping", "renorm_momentum")


def stored_config(path):
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return archive.read("config.json").decode()
    with h5py.File(path) as file:
        return file.attrs["model_config"]


@pytest.fixture
def loaded_configs(monkeypatch):
    """The configs of the files that Keras loads."""
    seen, load = [], keras.models.load_model

    def loading(file, **options):
        seen.append(stored_config(Path(file)))
        return load(file, **options)

    monkeypatch.setattr(keras.models, "load_model", loading)
    return seen


@pytest.mark.parametrize("renorm", [False, True])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_what_a_newer_keras_writes_is_left_out_where_it_changes_nothing(
    monkeypatch, tmp_path, loaded_configs, suffix, renorm
):
    """Keras 3.12 has no such arguments; this one, called an older one, gets a file without them."""
    options = {"renorm": True} if renorm else {}
    if renorm and "renorm" not in inspect.signature(L.BatchNormalization).parameters:
        pytest.skip("needs Keras's renorm")
    made = keras.Sequential([keras.Input((6, 6, 3)), L.Conv2D(4, 3), L.BatchNormalization(**options), L.Flatten()])
    path, x = tmp_path / f"m{suffix}", normal(2, 6, 6, 3)
    made.save(path)
    for version in ("3.1.0", keras.__version__, "9.1.0"):
        monkeypatch.setattr(keras, "__version__", version)
        assert_close(models.load_model(path).predict(x, verbose=0), made.predict(x, verbose=0), 0)
        if version == "3.1.0":
            kept = {name for name in LATER if f'"{name}"' in loaded_configs[-1]}
            assert kept == ({"renorm", "renorm_clipping"} if renorm else set())
        else:
            assert loaded_configs[-1] == stored_config(path)


@pytest.mark.parametrize("name", ["fashion_mnist", pytest.param("fashion_mnist_int8", marks=pytest.mark.slow)])
def test_shipped_models_load_in_an_older_keras(monkeypatch, loaded_configs, name):
    monkeypatch.setattr(keras, "__version__", "3.12.0")
    shipped = saved.load(name)
    assert not [name for name in LATER if f'"{name}"' in loaded_configs[-1]]
    named = np.argmax(shipped.model.predict(preprocess(shipped.images[:100]), verbose=0), axis=-1)
    assert np.mean(named == shipped.labels[:100]) > 0.9
