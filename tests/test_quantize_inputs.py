"""Prepared models with inputs that are not float32, and with normalized embeddings: bit by bit, or one sentence."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_sentence, in_part
from quantize_networks import with_every_layer

from tfsep import quantize, tflite

L = keras.layers
RNG = np.random.default_rng(0)


def data(dtype, count=32):
    shape = (count, 8, 8, 3)
    if dtype.startswith("float"):
        return RNG.normal(size=shape).astype(dtype)
    low, high = {"uint8": (0, 256), "int8": (-128, 128), "bool": (0, 2)}.get(dtype, (-700, 301))
    return RNG.integers(low, high, shape).astype(dtype)


def network(dtype, entry):
    inputs = L.Input((8, 8, 3), dtype=dtype, name="images")
    x = L.Conv2D(4, 3, activation="relu")(entry(inputs))
    return keras.Model(inputs, L.Dense(3)(L.Flatten()(x)))


# Layers have names: automatic ones start anew where another test clears the session.
CASTS = {
    "uint8": L.Rescaling(1 / 127.5, -1, name="byte"),
    "int8": L.Rescaling(0.01, name="signed"),
    "bool": lambda x: keras.ops.cast(x, "float32"),
    "int32": lambda x: L.Rescaling(0.01, 0.1)(keras.ops.cast(x, "float32")),
    "int16": L.Rescaling(0.01, 0.1, name="short"),
    "float16": lambda x: x,
    "float64": L.Rescaling(2.0, name="double"),
}
ENTRIES = {
    "moved and cast": lambda x: keras.ops.cast(L.MaxPooling2D()(L.Permute((2, 1, 3))(x)), "float32"),
    "joined": lambda x: L.Rescaling(0.01)(L.Concatenate()([x, L.Permute((2, 1, 3))(x)])),
    "nested": keras.Sequential([L.Input((8, 8, 3), dtype="uint8"), L.Rescaling(0.01)]),
    "cropped and normalized": lambda x: L.Normalization(mean=[99, 120, 130], variance=[99] * 3)(L.CenterCrop(6, 6)(x)),
}


def several(dtypes, entries):
    """A network of several inputs, with results of each."""
    inputs = [L.Input((8, 8, 3), dtype=dtype, name=f"{dtype}_{place}") for place, dtype in enumerate(dtypes)]
    heads = [L.Conv2D(4, 3, activation="relu")(entry(x)) for entry, x in zip(entries, inputs, strict=True)]
    return keras.Model(inputs, [L.Dense(3)(L.Flatten()(x)) for x in heads])


@pytest.mark.parametrize(("dtypes", "entries"), [([*CASTS], CASTS.values()), (["uint8"] * 4, ENTRIES.values())])
def test_inputs_of_other_types(dtypes, entries, tmp_path):
    """Exact to the bit, in every layer; the file's inputs are those of the model."""
    model, given = several(dtypes, entries), tuple(map(data, dtypes))
    prepared = quantize.observe(quantize.prepare(model), given)
    names = [x.name for x in model.inputs]
    assert [(x.name, x.dtype) for x in prepared.inputs] == list(zip(names, dtypes, strict=True))
    for actual, expected in zip(prepared(list(given)), model(list(given)), strict=True):
        assert_close(actual, expected, 0.05)
    report = tflite.export(with_every_layer(prepared), tmp_path / "m.tflite", "int8", data=given)
    assert report.verification.differing == 0
    assert {x.name: x.dtype for x in report.inputs} == dict(zip(names, dtypes, strict=True))
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_mean(tf.square(each)) for each in prepared(list(given), training=True)])
    assert all(np.any(each) for each in tape.gradient(loss, prepared.trainable_weights))


@pytest.mark.parametrize("runtime", ["xnnpack", "reference"])
def test_halves_are_rounded_as_the_operator_does(runtime, tmp_path):
    """Whole numbers are often halfway between two steps; the others are next to a half."""
    whole = np.arange(-1000, 1001)
    step = np.float32(2000 / 255)
    halves = (RNG.integers(-100, 100, 2001) + np.float32(0.5)) * step
    for dtype, numbers in (
        ("int32", whole),
        ("float64", np.nextafter(halves, RNG.choice([-9e9, 9e9], 2001).astype("f"))),
    ):
        inputs = L.Input((2001,), dtype=dtype)
        model = keras.Model(inputs, L.Reshape((3, 667))(keras.ops.cast(inputs, "float32")))
        prepared = quantize.observe(quantize.prepare(model, runtime=runtime), whole[None].astype(dtype))
        assert np.float32(prepared.layers[1].qparams()[0]) == step
        found = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=numbers[None].astype(dtype)).verification
        assert (found.elements, found.differing) == (2001, 0)


def test_eight_bits_lose_nothing():
    model = network("uint8", lambda x: keras.ops.cast(x, "float32"))
    prepared = quantize.observe(quantize.prepare(model), data("uint8") // 2)
    numbers = next(layer for layer in prepared.layers if isinstance(layer, quantize.ActivationQuantizer))
    assert numbers.qparams() == (1.0, -128)
    everything = np.arange(256, dtype="uint8")
    np.testing.assert_array_equal(numbers(everything, operation="quantize_uint8")[0], everything.astype("float32"))


REFUSED = {
    "a sum": ("uint8", lambda x: L.Rescaling(0.1)(L.Add(name="culprit")([x, x])), "Add of integers"),
    "a convolution": ("uint8", lambda x: x, "Conv2D of integers"),
    "a cast to integers": (
        "float32",
        lambda x: keras.ops.cast(keras.ops.cast(x, "int32"), "float32"),
        r"Cast to int32|Cast of integers",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_arithmetic_of_integers_is_refused(case):
    dtype, entry, words = REFUSED[case]
    with pytest.raises(ValueError, match=words) as error:
        quantize.prepare(network(dtype, entry), unsupported="error")
    assert_sentence(error.value, "model")


def test_outputs_of_integers_are_refused():
    inputs = L.Input((8,), dtype="uint8")
    with pytest.raises(ValueError, match="Reshape of integers"):
        quantize.prepare(keras.Model(inputs, L.Reshape((2, 4))(inputs)), unsupported="error")


def test_float_layers_take_integers_as_they_are(tmp_path):
    model = network("uint8", L.Normalization(mean=[1, 2, 3], variance=[4, 5, 6], name="n"))
    given = data("uint8")
    prepared = quantize.observe(quantize.prepare(model, float_layers=["n"]), given)
    assert_close(prepared(given), model(given), 0.05)
    assert tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given).verification.equal is not False
    inputs = L.Input((8,), dtype="uint8")
    embedded = L.Embedding(256, 4, name="e")(L.Reshape((2, 4), name="r")(inputs))
    halves = keras.Model(inputs, L.Dense(3)(L.Flatten()(L.Rescaling(2.0)(keras.ops.cast(embedded, "float32")))))
    given = np.arange(256, dtype="uint8").reshape(32, 8)
    prepared = quantize.observe(quantize.prepare(halves, float_layers=["r", "e"]), given)
    assert_close(prepared(given), halves(given), 0.05)


class Halves(L.Layer):
    def call(self, x):
        return x[:, :4] * 2.0, x[:, 4:]


FLOAT = {
    "a slice": lambda x: x[:, 1:5],
    "a difference from a number": lambda x: 1.0 - x,
    "a product with a number, joined": lambda x: L.Concatenate()([x, x * 2.0]),
    "one of two results": lambda x: keras.ops.split(x, 2, axis=-1)[0],
    "one of two results of a layer": lambda x: Halves()(x)[0],
    "means": L.AveragePooling2D(2),
    "interpolated": L.UpSampling2D(2, interpolation="bilinear"),
    "means by a lambda": L.Lambda(lambda x: tf.nn.avg_pool2d(x, 2, 2, "VALID")),
    "the mean of two": lambda x: L.Average()([x, L.Permute((2, 1, 3))(x)]),
}


@pytest.mark.parametrize("seed", in_part([9, 13], 2))
def test_float_layers_between_quantized_ones_are_exact(seed, tmp_path):
    """With numbers among their arguments, of several results, and of averages, which the converter would quantize.

    Averages are often in the middle between two steps: at the last seeds the orders of sums round some to either side.
    """
    keras.utils.set_random_seed(seed)
    inputs = L.Input((8, 8, 3))
    x = L.Conv2D(4, 3, padding="same", name="first")(inputs)
    middle = [make(x) for make in FLOAT.values()]
    model = keras.Model(inputs, [L.Dense(3, name=f"last_{place}")(y) for place, y in enumerate(middle)])
    names = [each.name for each in model.operations if not isinstance(each, L.InputLayer)]
    names = [name for name in names if name != "first" and not name.startswith("last_")]
    given = np.random.default_rng(seed).normal(size=(32, 8, 8, 3)).astype("float32")
    prepared = quantize.observe(quantize.prepare(model, float_layers=names), given)
    for actual, expected in zip(prepared(given), model(given), strict=True):
        assert_close(actual, expected, 0.08)
    assert tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given).verification.differing == 0


NORMALIZED = {
    "layer": L.UnitNormalization(name="culprit"),
    "operation": lambda x: keras.ops.normalize(x, axis=-1),
}


@pytest.mark.parametrize("case", NORMALIZED)
def test_normalized_embeddings_stay_in_float32(case, tmp_path):
    inputs = L.Input((8, 8, 3))
    model = keras.Model(inputs, NORMALIZED[case](L.Dense(16, name="embedding")(L.Flatten()(inputs))))
    name = model.outputs[0]._keras_history.operation.name
    with pytest.raises(ValueError, match=f"got '{name}' .*: float_layers leaves it in float32") as error:
        quantize.prepare(model, unsupported="error")
    assert_sentence(error.value, "model")
    given = data("float32")
    prepared = quantize.observe(quantize.prepare(model, float_layers=[name]), given)
    assert_close(np.linalg.norm(prepared(given), axis=-1), np.ones(len(given)), 1e-5)
    assert_close(prepared(given), model(given), 0.05)
    tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given)


MIDDLE = {
    "cropped": L.CenterCrop(4, 5),
    "enlarged": L.UpSampling2D((2, 3)),
    "nearest": L.Resizing(9, 5, interpolation="nearest"),
    "rows": [L.Reshape((-1, 4)), L.UpSampling1D(3), L.Reshape((-1, 2, 4))],
    "normalized": L.Normalization(mean=[0.1, 0.2, 0.3, 0.4], variance=[1.0, 2.0, 0.5, 0.1]),
    "back": L.Normalization(mean=0.5, variance=4.0, invert=True, axis=None),
    "rescaled": L.Rescaling([[1.0, 2.0, 0.5, 3.0]], [0.1]),
}
IN_FRONT = {
    "bilinear": L.Resizing(5, 9),
    "cubic": L.UpSampling2D(2, interpolation="bicubic"),
    "cropped to more": L.CenterCrop(9, 9),
    "padded": L.Resizing(8, 4, interpolation="nearest", pad_to_aspect_ratio=True),
    "of pixels": L.Normalization(axis=(1, 2, 3), mean=np.ones((8, 8, 3)), variance=np.full((8, 8, 3), 2.0)),
}


def around(layer, in_front):
    keras.utils.set_random_seed(0)
    inputs = x = L.Input((8, 8, 3))
    x = x if in_front else L.Conv2D(4, 3, padding="same", activation="relu")(x)
    for each in layer if isinstance(layer, list) else [layer]:
        x = each(x)
    return keras.Model(inputs, L.Conv2D(3, 3, padding="same")(x))


@pytest.mark.parametrize("case", MIDDLE)
def test_layers_that_move_or_scale_are_exact(case, tmp_path):
    model, given = around(MIDDLE[case], False), data("float32")
    prepared = quantize.observe(quantize.prepare(model), given)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given)
    assert report.verification.differing == 0
    assert not {"QUANTIZE", "DEQUANTIZE"} & report.ops.keys()
    assert_close(prepared(given), model(given), 0.05)


@pytest.mark.slow
def test_rescaling_per_channel_is_exact_at_any_range(tmp_path):
    """At some of these ranges, and at all of the last factors, the rounded offset is one number in all channels."""
    keras.utils.set_random_seed(0)
    inputs = L.Input((4, 4, 3))
    sources = [L.Conv2D(4, 1, activation="relu")(inputs) for _ in range(12)]
    outputs = [L.Rescaling([1.0, 2.0, 0.5, 3.0], 0.1)(x) for x in sources]
    outputs += [
        L.Rescaling([4.0, 2.0, 1.0, 0.5], offset)(x) for x, offset in zip(sources, (0.0, -0.7, 5.0), strict=False)
    ]
    given = RNG.normal(size=(16, 4, 4, 3)).astype("float32")
    prepared = quantize.observe(quantize.prepare(keras.Model(inputs, outputs)), given)
    assert tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given).verification.differing == 0


@pytest.mark.parametrize("seed", range(2))
def test_halves_of_a_step_among_weights_and_equal_biases_are_exact(seed, tmp_path):
    """Weights in the middle between two steps, as those that came through float16; all are rounded outward."""
    rng, inputs = np.random.default_rng(seed), L.Input((6,))
    kernel = np.concatenate([np.full((1, 40), 127.0), rng.integers(-253, 254, (5, 40)) / 2])
    layers = [L.Dense(40), L.Dense(3), L.Dense(40)]
    model = keras.Model(inputs, [layer(inputs) for layer in layers])
    factors = np.array([1.0, 2.0, 0.25])
    model.set_weights(
        [kernel, rng.normal(size=40), np.ones((6, 3)) * factors, np.ones(3), rng.normal(size=(6, 40)), np.zeros(40)]
    )
    layers[2].kernel.assign(np.float16(layers[2].kernel))
    given = rng.normal(size=(32, 6)).astype("float32")
    prepared = quantize.observe(quantize.prepare(model), given)
    assert tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given).verification.differing == 0


@pytest.mark.parametrize("case", IN_FRONT)
def test_preparation_without_integers_stays_in_front_with_a_note(case, tmp_path, caplog):
    model, given = around(IN_FRONT[case], True), data("float32")
    with caplog.at_level("INFO", "tfsep"):
        prepared = quantize.observe(quantize.prepare(model), given)
    assert f"in float32 stay {model.layers[1].name} (prepares the input)" in caplog.text
    assert "QUANTIZE" in tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given).ops
    assert_close(prepared(given), model(given), 0.05)
    if case != "bilinear" and not case.startswith("of"):
        with pytest.raises(ValueError, match="float_layers leaves it in float32") as error:
            quantize.prepare(
                around(type(IN_FRONT[case]).from_config(IN_FRONT[case].get_config()), False), unsupported="error"
            )
        assert_sentence(error.value, "model")


def test_vectors_are_normalized_in_front(tmp_path):
    normalization, vectors = L.Normalization(), RNG.normal(3.0, 20.0, (500, 6)).astype("float32")
    normalization.adapt(vectors)
    model = keras.Sequential([keras.Input((6,)), normalization, L.Dense(8, activation="relu"), L.Dense(3)])
    prepared = quantize.observe(quantize.prepare(model), vectors)
    tflite.export(prepared, tmp_path / "m.tflite", "int8", data=vectors)
    assert_close(prepared(vectors), model(vectors), 0.05)


@pytest.mark.parametrize("unsupported", ["float", "error"])
def test_a_second_result(unsupported, tmp_path):
    inputs = L.Input((8, 6))
    model = keras.Model(inputs, L.Dense(2)(L.GRU(3, return_state=True, name="gru")(inputs)[1]))
    if unsupported == "error":
        with pytest.raises(ValueError, match=r"got 'gru' \(GRU of several results\)") as error:
            quantize.prepare(model, unsupported="error")
        assert_sentence(error.value, "model")
        return
    given = RNG.normal(size=(32, 8, 6)).astype("float32")
    prepared = quantize.observe(quantize.prepare(model), given)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given)
    assert (report.verification.differing, report.verification.elements) == (0, 64)
    assert_close(prepared(given), model(given), 0.05)
