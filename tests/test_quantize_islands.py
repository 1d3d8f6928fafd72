"""Float32 islands: what has no integer kernel is one, the file computes what the model does, `coverage` lists all."""

import json
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_sentence, in_part

from tfsep import layers, quantize, tflite
from tfsep.quantize import Coverage

L, K = keras.layers, keras.ops
X = np.random.default_rng(0).normal(size=(32, 6, 6, 3)).astype("float32")


class Halves(L.Layer):
    def call(self, x):
        return x[..., :4] * 2.0, x[..., 4:]


class Scaled(L.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=shape[-1:], initializer="random_normal", name="scale")

    def call(self, x):
        return x * self.scale


class Moved(L.Layer):
    """Functions whose range runtimes fix, and what only moves their results."""

    def build(self, shape):
        self.scale = self.add_weight(shape=shape[-1:], initializer="ones", name="scale")

    def call(self, x):
        x = x * self.scale
        parts = [tf.tanh(x)[:, 1:], tf.sigmoid(x)[:, 1:], tf.nn.softmax(x)[:, 1:], tf.math.l2_normalize(x, -1)[:, 1:]]
        return tf.concat([2.0 * part for part in parts], -1)


def rows(x):
    return L.Reshape((36, 8))(x)


def islands():
    """What stays in float32, by what it is; the layers are new ones."""
    return {
        "elu": L.ELU(),
        "the second part": lambda x: Halves()(x)[1],
        "a weight of its own": Scaled(),
        "layers": L.LayerNormalization(),
        "groups": L.GroupNormalization(2),
        "units": L.UnitNormalization(),
        "means of windows": L.AdaptiveAveragePooling2D(2),
        "a condition": lambda x: K.where(x > 0, x, x * 0.1),
        "a lambda": L.Lambda(tf.sin),
        "a threshold": L.ReLU(threshold=0.5),
        "a gate behind": layers.Conv2DTranspose(4, 3, 2, activation="gelu"),
        "fixed ranges": Moved(),
        "steps": lambda x: L.GRU(4)(rows(x)),
        "steps of tanh": lambda x: L.SimpleRNN(4)(rows(x)),
        "steps one by one": lambda x: L.LSTM(4, return_sequences=True, unroll=True)(x[:, :3, 0]),
        "steps both ways": lambda x: L.Bidirectional(L.GRU(4, return_sequences=True, unroll=True))(x[:, :3, 0]),
        "attention": lambda x: L.MultiHeadAttention(2, 4)(rows(x), rows(x)),
        "a keyword": lambda x: L.Attention()([rows(x), rows(x)], mask=None),
    }


def network(*names):
    """A model with an output for each of these islands, or of all, quantized behind it."""
    keras.utils.set_random_seed(1)
    inputs = L.Input(X.shape[1:])
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="first")(inputs)
    found = islands()
    middle = [found[name](x) for name in names or found]
    return keras.Model(inputs, [L.Dense(3, name=f"last_{place}")(y) for place, y in enumerate(middle)])


def prepared_of(model, given=X, **options):
    return quantize.observe(quantize.prepare(model, **options), given)


FEW = (
    "steps of tanh",
    "fixed ranges",
    "steps one by one",
    "means of windows",
    "a condition",
    "a weight of its own",
    "groups",
)


@pytest.mark.parametrize("names", [FEW, pytest.param((), marks=pytest.mark.slow)], ids=["few", "all"])
def test_islands_are_exact(names, tmp_path):
    model = network(*names)
    prepared = prepared_of(model)
    for actual, expected in zip(prepared(X), model(X), strict=True):
        assert np.sqrt(np.mean(np.square(actual - expected))) < 0.1 * np.std(expected)
    found = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X).verification
    assert found.elements > (5_000 if names else 15_000)
    assert found.differing == 0


def test_arguments_by_name_keep_their_places():
    """Keras has them by the letters of their names, and the layer by its signature."""
    inputs = L.Input((6, 4))
    a, b, c = (L.Dense(4, name=name)(inputs) for name in "abc")
    mask = K.expand_dims(inputs[..., 0] > 0, 1)
    attended = L.MultiHeadAttention(2, 4)(value=a, query=b, key=c, attention_mask=mask)
    model = keras.Model(inputs, L.Dense(3)(attended))
    for kernel in (each for each in model.weights if each.ndim > 1):
        kernel.assign(2 * kernel)
    given = np.random.default_rng(0).normal(size=(64, 6, 4)).astype("float32")
    actual, expected = prepared_of(model, given)(given), model(given)
    assert np.sqrt(np.mean(np.square(actual - expected))) < 0.05 * np.std(expected)


def test_islands_at_the_end_are_no_integers(tmp_path):
    """Operators that keep their input's scale, which the converter would compute in integers, are named.

    One takes the model's input, which others take in integers.
    """
    inputs = L.Input(X.shape[1:])
    x = L.Conv2D(4, 3, name="first")(inputs)
    y = L.Conv2D(4, 3, name="second")(inputs)
    outputs = [L.UpSampling2D(2, interpolation="bilinear")(x), L.Maximum()([x, y]), *K.split(x, 2, -1), x[:, 1:]]
    outputs += [L.MaxPooling2D()(x), L.Concatenate()([x, y]), L.ELU()(x), K.exp(inputs)]
    model = keras.Model(inputs, outputs)
    names = [row.name for row in quantize.coverage(quantize.prepare(model)).rows if row.name not in ("first", "second")]
    prepared = prepared_of(model, float_layers=names)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X)
    assert {each.dtype for each in report.outputs} == {"float32"}
    assert report.inputs[0].dtype == "int8"
    expected, actual = prepared(X), tflite.predict(report.path, X)
    for ours, theirs in zip(expected, actual.values(), strict=True):
        np.testing.assert_allclose(theirs, ours, 1e-6, 1e-6)


INTEGERS = {
    "silu": L.Activation("silu"),
    "silu as a function": keras.activations.silu,
    "gelu": L.Activation("gelu"),
    "exponential": L.Activation("exponential"),
    "hard swish by operations": lambda x: x * (L.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)),
    "hard swish by a quotient": lambda x: x * K.relu6(x + 3) / 6,
    "from a number": lambda x: 1.0 - x,
}


@pytest.mark.parametrize("runtime", in_part(["xnnpack", "reference"], 2))
def test_functions_and_numbers_are_exact_in_integers(runtime, tmp_path):
    """Silu as its two operators; a sum or product with a number as a convolution of one tap."""
    inputs = L.Input(X.shape[1:])
    x = L.Conv2D(8, 3, padding="same", activation="gelu")(inputs)
    model = keras.Model(inputs, [make(L.Conv2D(8, 1)(x)) for make in INTEGERS.values()])
    prepared = prepared_of(model, runtime=runtime)
    assert not quantize.coverage(prepared).islands
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X)
    assert (report.verification.elements, report.verification.differing) == (8 * 36 * len(X) * len(INTEGERS), 0)
    assert not {"QUANTIZE", "DEQUANTIZE"} & report.ops.keys()
    for actual, expected in zip(prepared(X), model(X), strict=True):
        assert np.sqrt(np.mean(np.square(actual - expected))) < 0.06 * np.std(expected)


def test_silu_is_one_row_of_the_coverage():
    inputs = L.Input(X.shape[1:])
    x = L.Activation("silu", name="alone")(L.Conv2D(4, 3, activation="silu", name="conv")(inputs))
    found = quantize.coverage(quantize.prepare(keras.Model(inputs, x)))
    assert [row[:3] for row in found.rows] == [
        ("conv", "Conv2D", "int8"),
        ("conv_activation", "silu", "int8"),
        ("alone", "silu", "int8"),
    ]


@pytest.mark.slow
def test_masks_reach_the_islands_that_take_them(tmp_path):
    """Also through layers in integers, which have none."""
    inputs = L.Input((12,), dtype="int32")
    x = L.LSTM(8, return_sequences=True)(L.Embedding(20, 8, mask_zero=True)(inputs))
    model = keras.Model(inputs, L.Dense(3)(L.GRU(4)(L.Dense(6, activation="relu")(x))))
    given = np.random.default_rng(0).integers(0, 20, (32, 12)).astype("int32")
    given[:, 6:] = 0
    prepared = prepared_of(model, given)
    assert np.sqrt(np.mean(np.square(prepared(given) - model(given)))) < 0.06 * np.std(model(given))
    assert tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given).verification.differing == 0


def in_front(layer):
    inputs = L.Input(X.shape[1:])
    return keras.Model(inputs, L.Conv2D(4, 3, name="last")(layer(inputs)))


@pytest.mark.parametrize("name", ["normalized", "named"])
def test_first_layers_in_float32_have_the_allowance(name, tmp_path):
    model = in_front(
        L.LayerNormalization(name="l") if name == "normalized" else L.Conv2D(4, 3, activation="gelu", name="l")
    )
    prepared = prepared_of(model, float_layers=["l"] if name == "named" else ())
    found = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X).verification
    assert found.float_layers == ("l",)
    assert found.differing <= 1


def head():
    """Layers of every kind of refusal, and others."""
    inputs = L.Input(X.shape[1:], name="images")
    x = L.Conv2D(8, 3, activation="log_softmax", name="conv")(inputs)
    x = L.LayerNormalization(name="norm")(x)
    x = L.SeparableConv2D(4, 3, activation="relu", name="separable")(x)
    x = K.subtract(x, np.full((2, 2, 4), 1.0, "float32"))
    x = L.Flatten(name="flatten")(L.Dropout(0.1)(x))
    return keras.Model(inputs, L.Dense(3, activation="softmax", name="dense")(x), name="head")


def test_coverage_has_a_row_for_each_operation(caplog):
    model = head()
    operation = next(each.name for each in model.operations if each.name.startswith("subtract"))
    with caplog.at_level(logging.INFO, "tfsep"):
        prepared = quantize.prepare(model)
    found = quantize.coverage(prepared)
    assert [row[:4] for row in found.rows] == [
        ("conv", "Conv2D", "int8", ""),
        ("conv_activation", "log_softmax", "float32", "no integer kernel of log_softmax"),
        ("norm", "LayerNormalization", "float32", "no integer kernel of LayerNormalization"),
        ("separable_depthwise", "DepthwiseConv2D", "int8", ""),
        ("separable", "Conv2D", "int8", ""),
        (operation, "Subtract", "float32", "no integer kernel of Subtract"),
        ("flatten", "Flatten", "int8", ""),
        ("dense", "Dense", "int8", ""),
        ("dense_activation", "softmax", "int8", ""),
    ]
    assert {row.name: row.macs for row in found.rows if row.macs} == {
        "conv": 16 * 27 * 8,
        "separable_depthwise": 4 * 9 * 8,
        "separable": 4 * 8 * 4,
        "dense": 48,
    }
    [line] = [record.getMessage() for record in caplog.records if "float32" in record.getMessage()]
    assert "100.00% of the MACs, 6 of 9 operations" in line
    assert all(f"{row.name} ({row.reason})" in line for row in found.islands)
    stored = json.loads(found.to_json())["rows"]
    assert Coverage(tuple(quantize.CoverageRow(**row) for row in stored)) == found
    assert found.to_markdown().count("\n") == 11
    assert str(found).count("float32") == 3


def test_islands_are_known_after_saving(tmp_path):
    prepared = prepared_of(head())
    prepared.save(tmp_path / "m.keras")
    assert quantize.coverage(keras.models.load_model(tmp_path / "m.keras")) == quantize.coverage(prepared)


def test_float_layers_take_every_name_of_the_coverage():
    model = head()
    names = [row.name for row in quantize.coverage(quantize.prepare(model)).rows if row.name != "dense"]
    found = quantize.coverage(quantize.prepare(model, float_layers=names))
    assert {row.name: row.reason for row in found.islands} == dict.fromkeys(
        set(names) - {"conv_activation"}, "named in float_layers"
    )
    assert found.int8_macs == 48
    assert found.share == pytest.approx(48 / found.macs)
    apart = quantize.coverage(quantize.prepare(model, float_layers=["conv_activation", "dense_activation"]))
    assert [row.name for row in apart.islands if "named" in row.reason] == ["conv_activation", "dense_activation"]


def test_refusals_are_listed_in_one_sentence():
    with pytest.raises(ValueError, match=r"got 'conv' .*: float_layers leaves them in float32") as error:
        quantize.prepare(head(), unsupported="error")
    assert_sentence(error.value, "model")
    parts = "'conv' (Conv2D with the activation 'log_softmax')", "'norm' (LayerNormalization)", "(Subtract)"
    assert all(part in str(error.value) for part in parts)


def test_open_sizes_have_no_multiply_accumulates():
    inputs = L.Input((None, None, 3))
    prepared = quantize.prepare(keras.Model(inputs, L.ELU()(L.Conv2D(4, 3)(inputs))))
    found = quantize.coverage(prepared)
    assert found.share is None
    assert "None" not in str(found)
    assert quantize.coverage(prepared, (8, 8, 3)).macs == 36 * 27 * 4
    with pytest.raises(ValueError, match=r"quantize\.prepare made"):
        quantize.coverage(keras.Sequential([keras.Input((4,)), L.Dense(2)]))
