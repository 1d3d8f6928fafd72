"""Transposed convolutions of every kind: what was prepared is what the file computes, and near the float model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import in_part

from tfsep import layers, quantize, tflite
from tfsep.ops._pixel_layout import insert_zeros

L = keras.layers
IMAGES = np.random.default_rng(0).normal(size=(64, 7, 5, 4)).astype("float32")
SEQUENCES = np.random.default_rng(1).normal(size=(64, 9, 4)).astype("float32")

ONE_OPERATOR = {
    "same": lambda: L.Conv2DTranspose(8, 3, strides=2, padding="same"),
    "valid": lambda: layers.Conv2DTranspose(8, 3, strides=3),
    "more at the end": lambda: L.Conv2DTranspose(8, 3, strides=2, padding="same", output_padding=1),
    "pixels that are same": lambda: layers.Conv2DTranspose(8, 3, strides=2, padding=1),
}
DECOMPOSED = {
    "pixels as in PyTorch": lambda: layers.Conv2DTranspose(8, 3, strides=2, padding=1, output_padding=1),
    "more is cut off than there is": lambda: layers.Conv2DTranspose(8, 2, padding=2),
    "unequal": lambda: layers.Conv2DTranspose(8, (3, 2), strides=(2, 1), padding=((1, 0), (0, 1))),
    "a rate": lambda: L.Conv2DTranspose(4, 3, dilation_rate=2),
    "stride and rate": lambda: layers.Conv2DTranspose(4, 3, 2, rate=(2, 3)),
    "strides over the kernel": lambda: L.Conv2DTranspose(4, 2, strides=3),
    "groups": lambda: layers.Conv2DTranspose(8, 3, strides=2, groups=2),
    "as many groups as channels": lambda: layers.Conv2DTranspose(8, 3, strides=2, groups=4, use_bias=False),
    "depthwise": lambda: layers.DepthwiseConv2DTranspose((3, 5), 2, "same", depth_multiplier=2, rate=(2, 1)),
    "separable": lambda: layers.SeparableConv2DTranspose(4, 3, strides=2, activation="relu"),
    "sequences": lambda: L.Conv1DTranspose(5, 3, strides=3, output_padding=2),
}


def up_sampling(name):
    """A network around a layer, with weights of its own, and what it takes."""
    given = SEQUENCES if name == "sequences" else IMAGES
    up = {**ONE_OPERATOR, **DECOMPOSED}[name]()
    model = keras.Sequential([keras.Input(given.shape[1:]), up, L.BatchNormalization(), L.ReLU()])
    rng = np.random.default_rng(2)
    for weight in model.weights:
        drawn = rng.uniform(0.5, 1.5, weight.shape) if "variance" in weight.path else rng.normal(0, 0.3, weight.shape)
        weight.assign(drawn)
    return model, given


@pytest.mark.parametrize("name", in_part([*ONE_OPERATOR, *DECOMPOSED], 2))
def test_the_file_computes_what_the_prepared_model_does(name, tmp_path):
    model, given = up_sampling(name)
    for runtime in ("xnnpack", "reference") if name in ("same", "depthwise", "groups") else ("xnnpack",):
        prepared = quantize.observe(quantize.prepare(model, runtime=runtime), given)
        report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given)
        expected, actual = np.asarray(model(given)), np.asarray(prepared(given))
        assert (report.verification.differing, report.verification.elements) == (0, expected.size)
        assert np.sqrt(np.mean(np.square(actual - expected))) < 0.02 * np.std(expected)
        assert ("TRANSPOSE_CONV" in report.ops) == (name in ONE_OPERATOR)
        assert not {"SHAPE", "PACK", "STRIDED_SLICE"} & set(report.ops)


@pytest.mark.parametrize(
    "up",
    [
        L.Conv2DTranspose(4, 3, 2, data_format="channels_first"),
        layers.SeparableConv2DTranspose(3, 3, 2, "same", data_format="channels_first", activation="tanh"),
        L.Conv1DTranspose(3, 3, 2, data_format="channels_first"),
    ],
)
def test_channels_first_stay_in_float32(up, tmp_path):
    given = np.swapaxes(SEQUENCES, 1, 2) if len(up.kernel_size) == 1 else np.moveaxis(IMAGES, 3, 1)
    model = keras.Sequential([keras.Input(given.shape[1:]), up, L.Flatten(), L.Dense(3)])
    prepared = quantize.observe(quantize.prepare(model), given)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given)
    expected, actual = (each.predict(given, verbose=0) for each in (model, prepared))
    assert (report.verification.differing, report.verification.elements) == (0, expected.size)
    np.testing.assert_allclose(actual, expected, 0, 0.03 * np.abs(expected).max())
    assert up.name in [row.name for row in quantize.coverage(prepared).islands]


@pytest.mark.parametrize("name", ["pixels as in PyTorch", "sequences", "separable"])
def test_a_decomposed_convolution_trains_and_is_saved(name, tmp_path):
    model, given = up_sampling(name)
    prepared = quantize.observe(quantize.prepare(model), given)
    prepared.compile(keras.optimizers.SGD(0.01), "mse")
    before = prepared.evaluate(given, np.zeros(prepared(given).shape), verbose=0)
    prepared.fit(given, np.zeros(prepared(given).shape), epochs=2, verbose=0)
    assert prepared.evaluate(given, np.zeros(prepared(given).shape), verbose=0) < before
    prepared.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded(given), prepared(given))


def test_open_sizes(tmp_path):
    model = keras.Sequential([keras.Input((None, None, 4)), layers.Conv2DTranspose(3, 3, 2, 1, 1)])
    prepared = quantize.observe(quantize.prepare(model), IMAGES)
    np.testing.assert_allclose(prepared(IMAGES), model(IMAGES), atol=0.2)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", input_shape=(7, 5, 4), data=IMAGES)
    assert (report.verification.differing, report.verification.elements) == (0, 64 * 14 * 10 * 3)


def zeros_inserted_by_loops(x, strides, padding):
    (top, bottom), (left, right) = padding
    rows, columns = ((side - 1) * step + 1 for side, step in zip(x.shape[1:3], strides, strict=True))
    y = np.zeros((x.shape[0], rows + top + bottom, columns + left + right, x.shape[3]), x.dtype)
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            row, column = i * strides[0] + top, j * strides[1] + left
            if 0 <= row < y.shape[1] and 0 <= column < y.shape[2]:
                y[:, row, column] = x[:, i, j]
    return y


@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 2), (0, 3)), ((-1, 1), (2, -2)), ((-1, -1), (-1, 0))])
def test_zero_insertion(strides, padding):
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 2)).astype("float32")
    expected = zeros_inserted_by_loops(x, strides, padding)
    np.testing.assert_array_equal(insert_zeros(x, strides, padding), expected)
    unknown = tf.function(
        lambda x: insert_zeros(x, strides, padding), input_signature=[tf.TensorSpec([None] * 3 + [2])]
    )
    np.testing.assert_array_equal(unknown(x), expected)


def test_zero_insertion_refuses_strides_under_1():
    with pytest.raises(ValueError, match="strides: expected"):
        insert_zeros(tf.zeros((1, 2, 2, 1)), 0)


@pytest.mark.parametrize("activation", [L.ReLU(), L.ReLU(6)])
@pytest.mark.parametrize("name", in_part(["same", "valid", "pixels that are same", "groups"], 2))
def test_a_bias_of_zeros_in_front_of_a_rectifier(name, activation, tmp_path):
    up = ONE_OPERATOR[name]() if name in ONE_OPERATOR else DECOMPOSED[name]()
    model = keras.Sequential([keras.Input(IMAGES.shape[1:]), up, activation, L.Conv2D(3, 1)])
    prepared = quantize.observe(quantize.prepare(model), IMAGES)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=IMAGES)
    assert report.verification.differing == 0
    assert "DEQUANTIZE" not in report.ops


def test_the_shape_of_a_result_is_not_taken_for_a_bias(tmp_path):
    """It has four numbers, as the bias of four filters has; and a bias of zeros is not in the file."""
    model = keras.Sequential([keras.Input(IMAGES.shape[1:]), L.Conv2DTranspose(4, 3, 2, "same", use_bias=False)])
    prepared = quantize.observe(quantize.prepare(model), IMAGES)
    assert tflite.export(prepared, tmp_path / "m.tflite", "int8", data=IMAGES).verification.differing == 0
