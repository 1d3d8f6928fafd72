"""What `prepare` and its helpers refuse, in one sentence each."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_refused, assert_sentence
from quantize_networks import IMAGES, plain, prepared_network

from tfsep import layers, quantize, tflite
from tfsep.quantize import QuantizedMatmul

L = keras.layers


BAD = {
    "runtime": ({"runtime": "tpu"}, "runtime"),
    "ranges": ({"ranges": "fixed"}, "ranges"),
    "momentum": ({"momentum": 1.0}, "momentum"),
    "observations": ({"observations": 0}, "observations"),
    "one name": ({"float_layers": "dense"}, "float_layers"),
    "no names": ({"float_layers": None}, "float_layers"),
    "a number of names": ({"float_layers": 3}, "float_layers"),
    "a name of no layer": ({"float_layers": ("nothing",)}, "float_layers"),
    "unsupported": ({"unsupported": "skip"}, "unsupported: expected one of float, error, got 'skip'"),
    "nearly a name": ({"float_layers": ("depthwize",)}, "got 'depthwize'; the nearest is 'depthwise'"),
}


@pytest.mark.parametrize("case", BAD)
def test_an_invalid_config_is_refused(case):
    options, argument = BAD[case]
    with pytest.raises(ValueError, match=argument) as error:
        quantize.prepare(plain(), **options)
    assert_sentence(error.value, next(iter(options)))


def test_nan_weights_are_refused():
    model = plain()
    model.layers[0].kernel.assign(np.full(model.layers[0].kernel.shape, np.nan))
    with pytest.raises(ValueError, match=r"got NaN or infinity in '.*kernel'") as error:
        quantize.prepare(model)
    assert_sentence(error.value, "model")


def test_keras_dtype_policy_has_no_effect():
    """What is made of a float32 model computes in float32, and Keras's setting is what it was."""
    model = keras.Sequential([keras.Input((8, 8, 3)), L.SeparableConv2D(4, 3), L.ReLU()])
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        prepared = quantize.prepare(model)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy(usual)
    assert {layer.compute_dtype for layer in prepared.layers} == {"float32"}


def test_an_operator_that_the_runtime_lacks_is_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, L.Dense(2)(keras.ops.tile(L.Dense(2)(inputs), (1, 2))))
    assert not quantize.coverage(quantize.prepare(model, unsupported="error")).islands
    with pytest.raises(ValueError, match=r"got 'tile[_0-9]*' \(Tile in the runtime 'reference'\)") as error:
        quantize.prepare(model, runtime="reference", unsupported="error")
    assert_sentence(error.value, "model")


def padded_by_ones():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.ops.pad(L.Dense(2)(inputs), ((0, 0), (1, 1)), constant_values=1.0))


def mean_over_the_batch():
    inputs = keras.Input((4,))
    return keras.Model(inputs, L.Dense(2)(keras.ops.mean(L.Dense(2)(inputs), 0, keepdims=True)))


MODELS = {
    "no model": (lambda: 3, TypeError),
    "not built": (lambda: keras.Sequential([L.Dense(2)]), ValueError),
    "other numbers around": (padded_by_ones, ValueError),
    "a mean over the batch": (mean_over_the_batch, ValueError),
    "another layer": (lambda: keras.Sequential([keras.Input((4, 4)), L.LSTM(2)]), ValueError),
    "another activation": (
        lambda: keras.Sequential([keras.Input((4,)), L.Dense(2, activation="log_softmax")]),
        ValueError,
    ),
    "prepared": (lambda: quantize.prepare(keras.Sequential([keras.Input((4,)), L.Dense(2)])), ValueError),
    "channels first": (
        lambda: keras.Sequential([keras.Input((1, 8, 8)), layers.Conv2D(2, 3, data_format="channels_first")]),
        ValueError,
    ),
    "normalization of open sizes": (
        lambda: keras.Sequential([keras.Input((None, 4, 4, 2)), L.BatchNormalization()]),
        ValueError,
    ),
    "constrained transposed": (
        lambda: keras.Sequential(
            [keras.Input((8, 8, 4)), layers.Conv2DTranspose(4, 3, 2, 1, 1, kernel_constraint="non_neg")]
        ),
        ValueError,
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_unsupported_models_are_refused(case):
    make, kind = MODELS[case]
    with pytest.raises(kind) as error:
        quantize.prepare(make(), unsupported="error")
    assert_sentence(error.value, "model")


def test_inference_and_export_without_ranges_are_refused(tmp_path):
    model, images = quantize.prepare(plain()), np.zeros((1, 28, 28, 1), "float32")
    with pytest.raises(ValueError, match="expected ranges that training") as error:
        tflite.export(model, tmp_path / "m.tflite", "int8")
    assert_sentence(error.value, "model")
    with pytest.raises(ValueError, match="expected ranges that training") as error:
        model(images)
    assert_sentence(error.value, "model")
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected ranges that training"):
        model.predict(images, verbose=0)


@pytest.mark.parametrize("reach", [0.9e-6, 1.1e-6])
def test_ranges_too_small_for_the_converter_are_refused(reach, tmp_path):
    """As those of a deep network that was never trained; where the converter draws the line."""
    kernel = keras.initializers.Constant(reach)
    model = keras.Sequential([keras.Input((1,)), L.Dense(1, kernel_initializer=kernel, name="tiny")])
    given = np.linspace(-1, 1, 16, dtype="float32")[:, None]
    prepared = quantize.observe(quantize.prepare(model), given)
    if reach > 1e-6:
        assert tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given).verification.differing == 0
        return
    with pytest.raises(ValueError, match="of 'tiny': train the model") as error:
        tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given)
    assert_sentence(error.value, "model")


ROWS = np.ones((8, 4), "float32")
DATA = {
    "another shape": (ROWS[:, :3], ValueError),
    "samples in place of batches": (tf.data.Dataset.from_tensor_slices(ROWS), ValueError),
    "several inputs": ((ROWS, ROWS, ROWS), ValueError),
    "NaN": (ROWS * np.nan, ValueError),
    "none": (ROWS[:0], ValueError),
    "zeros": (ROWS * 0, ValueError),
    "no arrays": (None, TypeError),
}


@pytest.mark.parametrize("case", DATA)
def test_data_without_ranges_are_refused(case):
    data, kind = DATA[case]
    model = quantize.prepare(keras.Sequential([keras.Input((4,)), L.Dense(2)]))
    with pytest.raises(kind) as error:
        quantize.observe(model, data)
    assert_sentence(error.value, "data")


def test_double_precision_and_labelled_data_give_the_same_ranges():
    model = keras.Sequential([keras.Input((4,)), L.Dense(2)])
    data = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    labelled = tf.data.Dataset.from_tensor_slices((data, np.zeros(8))).batch(4)
    ranges = [
        quantize.observe(quantize.prepare(model), each).layers[1].range()
        for each in (data, data.astype("float64"), labelled)
    ]
    assert ranges[0] == ranges[1] == ranges[2] == (float(min(data.min(), 0)), float(data.max()))


@pytest.mark.parametrize(("arguments", "name"), [({"foo": 1}, "foo"), ({"config": {"runtime": "xnnpack"}}, "config")])
def test_unknown_arguments_are_refused(arguments, name):
    with pytest.raises(TypeError) as error:
        quantize.prepare(plain(), **arguments)
    assert_sentence(error.value, name)


def test_export_options_refused_for_a_prepared_model(tmp_path):
    _, model, given = prepared_network("plain")
    for options, argument in (
        ({"recipe": "float32"}, "recipe"),
        ({"recipe": "int8", "calibration": IMAGES}, "calibration"),
    ):
        with pytest.raises(ValueError, match=argument) as error:
            tflite.export(model, tmp_path / "m.tflite", **options)
        assert_sentence(error.value, argument)
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    next(w for w in copy.weights if w.path.endswith("/high")).assign(np.nan)
    with pytest.raises(ValueError, match="expected ranges that are numbers"):
        tflite.export(copy, tmp_path / "m.tflite", "int8", data=given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("function", [quantize.observe, quantize.freeze_batch_norm])
def test_models_that_are_not_prepared_are_refused(function):
    given = (np.zeros((1, 4), "float32"),) if function is quantize.observe else ()
    with pytest.raises(ValueError, match=r"expected one that quantize\.prepare made"):
        function(keras.Sequential([keras.Input((4,)), L.Dense(2)]), *given)
    with pytest.raises(TypeError, match="expected a Keras model"):
        function(None, *given)


def test_unknown_sizes_in_front_of_a_mean_are_refused():
    model = keras.Sequential([keras.Input((None, None, 2)), L.GlobalAveragePooling2D()])
    with pytest.raises(ValueError, match="of sizes that are not known") as error:
        quantize.prepare(model, unsupported="error")
    assert_sentence(error.value, "model")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            lambda: L.Dense(2, activation="log_softmax", name="culprit"),
            r"got 'culprit' \(Dense with the activation 'log_softmax'\): float_l",
        ),
        (lambda: L.UnitNormalization(name="culprit"), r"got 'culprit' \(UnitNormalization\): float_layers leaves it"),
    ],
)
def test_an_error_recommends_float_layers_where_that_works(layer, message):
    model = keras.Sequential([keras.Input((8, 8, 4)), L.ReLU(), layer()])
    with pytest.raises(ValueError, match=message):
        quantize.prepare(model, unsupported="error")
    if "float_l" in message:
        prepared = quantize.prepare(model, float_layers=["culprit"])
        assert not any(isinstance(layer, QuantizedMatmul) for layer in prepared.layers)


def test_a_model_with_nothing_in_integers_is_refused_at_once():
    """There is no int8 file of it."""
    volumes = keras.Sequential([keras.Input((4, 4, 4, 1)), L.Conv3D(2, 3, name="volumes")])
    named = keras.Sequential([keras.Input((4,)), L.Dense(3, name="a"), L.Dense(2, name="b")])
    data = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    for function, why in (
        (lambda: quantize.prepare(volumes), "'volumes' (no integer kernel of Conv3D)"),
        (lambda: quantize.prepare(named, float_layers=["a", "b"]), "'a' (named in float_layers), 'b' (named"),
        (lambda: quantize.calibrate(named, data, keep_float=["a", "b"]), "'a' (named in float_layers), 'b' (named"),
        (lambda: quantize.sensitivity(named, data, keep_float=["a", "b"]), "'a' (named in float_layers), 'b' (named"),
    ):
        message = assert_refused(function, "model")
        assert "of which all stays in float32, as " + why in message
        assert "in recipe 'float32'" in message


class Ones:
    """An initializer without a config."""

    def __call__(self, shape, dtype=None):
        return keras.ops.ones(shape, dtype)


@pytest.mark.parametrize("initializer", [lambda shape, dtype=None: keras.ops.ones(shape, dtype), Ones()])
def test_initializers_without_a_config_are_no_obstacle(initializer):
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            L.Conv2D(2, 3, kernel_initializer=initializer),
            L.BatchNormalization(beta_initializer=initializer),
            L.SeparableConv2D(2, 1, depthwise_initializer=initializer),
            L.Conv2DTranspose(2, 1, bias_initializer=initializer),
            L.PReLU(alpha_initializer=initializer),
            L.Flatten(),
            L.Dense(2, kernel_initializer=initializer),
        ]
    )
    data = np.random.default_rng(0).normal(size=(4, 4, 4, 2)).astype("float32")
    prepared = quantize.observe(quantize.prepare(model), data)
    np.testing.assert_allclose(prepared(data), model(data), atol=0.5)
