"""Layers and operators with integer kernels, in networks that hold many of them: all bit by bit, in both runtimes."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import in_part

from tfsep import quantize, tflite
from tfsep.layers._bilinear_resizing import BilinearResizing
from tfsep.quantize._activations import activation_of

L, K = keras.layers, keras.ops
RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 8, 8, 4)).astype("float32")


CHANNELS = np.float32([0.5, -2.0, 1.0, 3.0])


def convolved(x, activation=None):
    return L.Conv2D(4, 1, activation=activation, bias_initializer="random_normal")(x)


class Swish(L.Layer):
    def call(self, x):
        return x / (1.0 + tf.exp(-x))


def bounded(x):
    return convolved(x, "sigmoid"), convolved(x), convolved(x, "tanh")


ELEMENTWISE = {
    "difference": lambda x: L.Subtract()([convolved(x), x]),
    "rectified difference": lambda x: K.relu(convolved(x) - x),
    "difference from a mean": lambda x: x - L.GlobalAveragePooling2D(keepdims=True)(x),
    "slopes": lambda x: L.PReLU("uniform", shared_axes=(1, 2))(convolved(x)),
    "slopes above 1 and below 0": lambda x: L.PReLU(keras.initializers.RandomUniform(-1.5, 1.5))(convolved(x)),
    "slopes of a layer's own": lambda x: convolved(x, L.PReLU(keras.initializers.Constant(0.2), shared_axes=(1, 2))),
    "leaky up to a maximum": L.ReLU(max_value=0.8, negative_slope=0.1),
    "a rectifier's arguments": lambda x: keras.activations.relu(x, negative_slope=0.3, max_value=0.7),
    "softmax": keras.activations.softmax,
    "softmax of rows": L.Softmax(1),
    "softmax of columns": lambda x: K.softmax(convolved(x), 2),
    "a square": lambda x: K.square(convolved(x)),
    "clipped as a rectifier": lambda x: K.clip(convolved(x), 0, 0.7),
    "the larger of 0": lambda x: K.maximum(convolved(x), 0),
    "gelu by tanh": lambda x: K.gelu(convolved(x)),
    "tanh": K.tanh,
    "functions of tf.nn": lambda x: convolved(convolved(x, tf.nn.relu), tf.nn.swish),
    "functions of one's own": lambda x: L.Lambda(lambda y: K.relu6(y))(convolved(x, K.sigmoid)),  # noqa: PLW0108
    "a slope of one's own": L.Lambda(lambda x: tf.maximum(0.15 * x, x)),
    "hard swish": L.Lambda(lambda x: x * tf.nn.relu6(x + 3) / 6),
    "hard sigmoid": L.Lambda(lambda x: K.clip(x / 6 + 0.5, 0.0, 1.0)),
    "a layer of one's own": Swish(),
    "average": lambda x: L.Average()([convolved(x), x, L.GlobalAveragePooling2D()(convolved(x))]),
    "numbers of channels": lambda x: K.subtract(CHANNELS, x) * CHANNELS.reshape(1, 1, 1, 4) + tf.constant(CHANNELS),
    "a constant filter": lambda x: K.conv(convolved(x), RNG.normal(size=(3, 3, 4, 4)).astype("float32"), 2, "same"),
    "a blur": lambda x: K.depthwise_conv(convolved(x), np.full((3, 3, 4, 1), 1 / 9, "float32"), padding="same"),
    "a sum that begins with zero": lambda x: sum([convolved(x), convolved(x)]),
    "normalized vectors": lambda x: L.BatchNormalization()(L.GlobalMaxPooling2D()(convolved(x))),
    "normalized volumes": lambda x: L.BatchNormalization()(L.Reshape((2, 4, 8, 4))(x)),
    "a gate of vectors": lambda x: L.Activation("hard_sigmoid")(L.GlobalMaxPooling2D()(convolved(x)) * 0.5 + 0.1),
}
MOVES = {
    "larger": lambda x: L.Maximum()([x, convolved(x), L.GlobalAveragePooling2D()(convolved(x))]),
    "larger of unlike ranges": lambda x: L.Maximum()(bounded(x)),
    "unlike ranges": lambda x: L.Concatenate()(bounded(x)),
    "fixed ranges": lambda x: K.concatenate([convolved(x, "softmax"), convolved(x, "tanh")], 1),
    "a limited range": lambda x: L.Concatenate()([convolved(x, "hard_sigmoid"), x]),
    "stacked": lambda x: K.stack([x, convolved(x, "sigmoid")], 1),
    "means of channels": lambda x: K.mean(x, -1, keepdims=True),
    "means of rows and columns": lambda x: K.mean(x, (1, 2)),
    "sums of channels": lambda x: K.sum(x, -1, keepdims=True),
    "sums of rows and columns": lambda x: K.sum(x, (1, 2)),
    "largest": lambda x: K.max(x, (1, 2)),
    "smallest": lambda x: K.min(x, -1),
    "a dense layer on the smallest": lambda x: L.Dense(3, "relu")(K.min(x, -1, keepdims=True)),
    "a dense layer on one channel": lambda x: L.Dense(3)(K.reshape(x, (-1, 16, 16, 1))),
    "interpolated": L.UpSampling2D((3, 2), interpolation="bilinear"),
    "interpolated between corners": BilinearResizing(15, 12, True),
    "interpolated to one row": BilinearResizing(1, 5, True),
    "sliced": lambda x: x[:, 1:5, ::2],
    "parts": lambda x: L.Add()(K.split(x, 2, -1)),
    "one part": lambda x: K.split(x, [1, 3], -1)[1],
    "one of the rows": lambda x: K.unstack(x, axis=1)[2],
    "transposed": lambda x: K.transpose(x, (0, 3, 1, 2)),
    "reshaped": lambda x: K.reshape(K.swapaxes(x, 1, 3), (-1, 16, 16)),
    "joined by a function of one's own": lambda x: L.Lambda(lambda t: tf.concat(t, -1))([convolved(x), convolved(x)]),
    "squeezed": lambda x: K.squeeze(K.expand_dims(K.moveaxis(x, 1, 2), 1), 1),
    "gathered": lambda x: K.take(x, [3, 0], 1),
    "padded": lambda x: K.pad(x, ((0, 0), (1, 1), (0, 2), (0, 0))),
    "mirrored": lambda x: K.pad(x, ((0, 0), (1, 1), (0, 2), (0, 0)), "reflect"),
}


TABLES = {
    "elu": lambda x: keras.activations.elu(x, 0.5),
    "selu": lambda x: convolved(x, "selu"),
    "mish": L.Activation("mish"),
    "softplus": K.softplus,
    "a threshold": L.ReLU(threshold=0.05, negative_slope=0.1),
    "clipped": lambda x: K.clip(x, -0.5, 1.0),
    "the larger of a number": lambda x: K.maximum(x, 0.25),
    "ends in halves of a step": L.Activation("hard_tanh"),
    "a function of one's own": L.Lambda(lambda x: x * tf.sigmoid(1.7 * x)),
    "powers": lambda x: x**3,
    "moved by a function of one's own": L.Lambda(lambda x: tf.nn.space_to_depth(x, 2)),
}


KINDS = {"elementwise": ELEMENTWISE, "moves": MOVES, "tables": TABLES}


@pytest.mark.parametrize("runtime", in_part(["xnnpack", "reference"], 2))
@pytest.mark.parametrize(("name", "half"), in_part(itertools.product(KINDS, (0, 1)), 2))
def test_kernels_are_exact(name, half, runtime, tmp_path):
    kinds = dict(list(KINDS[name].items())[half::2])
    keras.utils.set_random_seed(1)
    inputs = L.Input(X.shape[1:])
    x = L.Conv2D(4, 3, padding="same")(inputs)
    model = keras.Model(inputs, [make(x) for make in kinds.values()])
    prepared = quantize.observe(quantize.prepare(model, runtime=runtime, unsupported="error"), X)
    assert not quantize.coverage(prepared).islands
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X)
    assert "QUANTIZE" not in report.ops
    assert "DEQUANTIZE" not in report.ops or name == "tables"
    found = report.verification
    # Halves of a step of leaky rectifiers go the other way in LiteRT than in microcontrollers.
    assert (found.differing if found.unexplained is None else found.unexplained) == 0
    assert found.otherwise == () or (runtime, name) == ("reference", "elementwise")
    assert report.verification.elements == sum(np.size(each) for each in prepared(X))
    for kind, actual, expected in zip(kinds, prepared(X), model(X), strict=True):
        assert np.sqrt(np.mean(np.square(actual - expected))) < 0.06 * np.std(expected), kind


def test_slopes_train_and_are_saved(tmp_path):
    keras.utils.set_random_seed(1)
    inputs = L.Input(X.shape[1:])
    x = L.PReLU("uniform", shared_axes=(1, 2), name="slopes")(L.Conv2D(4, 3, name="first")(inputs))
    prepared = quantize.observe(quantize.prepare(keras.Model(inputs, L.Conv2D(2, 1, name="last")(x))), X)
    [slopes] = [weight for weight in prepared.trainable_weights if "alpha" in weight.path]
    before = np.array(slopes)
    prepared.compile("sgd", "mse")
    prepared.fit(X, np.ones((32, 6, 6, 2)), verbose=0)
    assert np.all(before != np.array(slopes))
    prepared.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(X), prepared(X))
    assert [row[:3] for row in quantize.coverage(again).rows][1] == ("slopes", "prelu", "int8")


def test_tables_train_are_saved_and_are_floats_where_these_are_faster(tmp_path):
    inputs = L.Input(X.shape[1:])
    x = L.ELU(name="elu")(L.Conv2D(4, 3, activation="selu", name="first")(inputs))
    model = keras.Model(inputs, L.Conv2D(2, 1, name="last")(x))
    found = quantize.coverage(quantize.prepare(model)).islands
    assert [row.name for row in found] == ["first_activation", "elu"]
    assert all("XNNPACK" in row.reason for row in found)
    prepared = quantize.observe(quantize.prepare(model, runtime="reference"), X)
    prepared.compile("sgd", "mse")
    prepared.fit(X, np.ones((32, 6, 6, 2)), verbose=0)
    prepared.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(X), prepared(X))
    kinds = [(row.name, row.kind) for row in quantize.coverage(again).rows]
    assert kinds == [("first", "Conv2D"), ("first_activation", "selu"), ("elu", "ELU"), ("last", "Conv2D")]
    assert not quantize.coverage(again).islands


def test_float_layers_take_the_names_of_parts():
    inputs = L.Input(X.shape[1:])
    parts = K.split(L.Conv2D(6, 3)(inputs), 3, -1)
    model = keras.Model(inputs, L.Conv2D(2, 1)(L.Add()(parts[1:])))
    names = [row.name for row in quantize.coverage(quantize.prepare(model)).rows if row.name.startswith("split")]
    assert len(names) == 2
    for name in names:
        [row] = quantize.coverage(quantize.prepare(model, float_layers=[name])).islands
        assert (row.kind, row.reason) == ("Split", "named in float_layers")


def test_operators_that_the_converter_would_merge_are_apart(tmp_path):
    """Else there is one, or an island: an operator of a file has one range."""
    inputs = L.Input(X.shape[1:])
    x = L.Conv2D(4, 3, name="first")(inputs)
    y = L.Conv2D(4, 3)(inputs)
    outputs = [L.PReLU("uniform")(x), L.PReLU("uniform", name="again")(x), L.LeakyReLU(0.3)(x)]
    outputs += [
        L.ReLU(1.0, negative_slope=0.3, name="limited")(x),
        L.ReLU()(L.Add()([x, y])),
        L.ReLU(6.0)(L.Add()([x, y])),
    ]
    outputs += [L.GlobalAveragePooling2D()(x), K.mean(x, (1, 2))]
    prepared = quantize.observe(quantize.prepare(keras.Model(inputs, outputs)), X)
    names = [row.name for row in quantize.coverage(prepared).islands]
    assert names == ["again", "limited"]
    assert tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X).verification.differing == 0


def test_functions_are_known_by_their_results_alone():
    """Also one that comes near to another one, or reads a variable, is none."""
    slope = tf.Variable(0.2)
    known = [activation_of(f) for f in (tf.nn.relu6, lambda x: tf.maximum(x, 0.0), lambda x: x + 0.0)]
    assert [(row.fused, row.operation) for row in known] == [("relu6", None), ("relu", None), ("linear", None)]
    near = (
        lambda x: x * tf.nn.relu6(x + 3) * 0.16667,
        lambda x: x - tf.reduce_mean(x),
        lambda x: tf.maximum(slope * x, x),
    )
    assert [activation_of(f) for f in near] == [None] * 3


KERNELS = {
    "conv": L.Conv2D(6, 3, bias_initializer="random_normal"),
    "normalized": lambda x: L.ReLU()(L.BatchNormalization()(L.Conv2D(4, 1)(x))),
    "depthwise": L.DepthwiseConv2D(3, depth_multiplier=2, bias_initializer="random_normal"),
    "dense": lambda x: L.Dense(5, bias_initializer="random_normal")(L.GlobalAveragePooling2D()(x)),
    "transposed": L.Conv2DTranspose(3, 2, 2, bias_initializer="random_normal"),
}


@pytest.mark.parametrize("runtime", in_part(["reference", "xnnpack"], 2))
def test_kernels_have_scales_of_their_own(runtime, tmp_path):
    """As those of a file that were integers before: in it, in a file of Keras, and in training."""
    inputs = keras.Input(X.shape[1:])
    model = keras.Model(inputs, [make(inputs) for make in KERNELS.values()])
    prepared = quantize.observe(quantize.prepare(model, runtime=runtime), X)
    before = [np.asarray(each) for each in prepared(X)]
    for layer in prepared.layers:
        if isinstance(layer, quantize.QuantizedMatmul):
            layer.kernel_scales = np.asarray(layer.stored(1.0)[2]) * np.linspace(
                1.1, 1.9, layer.stored(1.0)[2].shape[0]
            )
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X)
    found = report.verification
    assert (found.differing if found.unexplained is None else found.unexplained) == 0
    after = [np.asarray(each) for each in prepared(X)]
    assert all(np.mean(ours != theirs) > 0.05 for ours, theirs in zip(before, after, strict=True))
    prepared.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    for ours, theirs in zip(again(X), after, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for name, ours, theirs in zip(KERNELS, again(X, training=True), after, strict=True):
        if name != "normalized":  # by the statistics of the batch there
            assert np.sqrt(np.mean(np.square(ours - theirs))) < 0.1 * np.std(theirs), name
