"""What `prepare` and its helpers refuse, in one sentence each."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_sentence
from quantize_networks import IMAGES, plain, prepared_network

from tfsep import layers, quantize, tflite

L = keras.layers


BAD = {
    "runtime": ({"runtime": "tpu"}, "runtime"),
    "ranges": ({"ranges": "fixed"}, "ranges"),
    "momentum": ({"momentum": 1.0}, "momentum"),
    "observations": ({"observations": 0}, "observations"),
    "one name": ({"float_layers": "dense"}, "float_layers"),
    "a name of no layer": ({"float_layers": ("nothing",)}, "float_layers"),
}


@pytest.mark.parametrize("case", BAD)
def test_nonsense_is_refused(case):
    options, argument = BAD[case]
    with pytest.raises(ValueError, match=argument) as error:
        quantize.prepare(plain(), **options)
    assert_sentence(error.value, argument)


def test_an_activation_that_a_runtime_computes_otherwise():
    model = keras.Sequential([keras.Input((4,)), L.Dense(2, activation="tanh")])
    with pytest.raises(ValueError, match="whose tanh is emulated") as error:
        quantize.prepare(model, runtime="reference")
    assert_sentence(error.value, "runtime")


def shared_with_sigmoid():
    inputs = keras.Input((4,))
    return keras.Model(inputs, L.Concatenate()([L.Dense(2)(inputs), L.Dense(2, activation="sigmoid")(inputs)]))


def told_to_train():
    inputs = keras.Input((4,))
    return keras.Model(inputs, L.BatchNormalization()(L.Dense(2)(inputs), training=True))


def of_two_results():
    inputs = keras.Input((4,))
    halves = keras.ops.split(inputs, 2, axis=1)
    return keras.Model(inputs, L.Dense(2)(halves[1]))


class OwnCall(keras.Model):
    def __init__(self):
        inputs = keras.Input((4,))
        super().__init__(inputs, L.Dense(2)(inputs))

    def call(self, inputs):
        return 2 * super().call(inputs)


MODELS = {
    "no model": (lambda: 3, TypeError),
    "not built": (lambda: keras.Sequential([L.Dense(2)]), ValueError),
    "its own call": (OwnCall, TypeError),
    "told to train": (told_to_train, ValueError),
    "of two results": (of_two_results, ValueError),
    "another layer": (lambda: keras.Sequential([keras.Input((4, 4)), L.LSTM(2)]), ValueError),
    "another activation": (lambda: keras.Sequential([keras.Input((4,)), L.Dense(2, activation="elu")]), ValueError),
    "another rectifier": (lambda: keras.Sequential([keras.Input((4,)), L.ReLU(max_value=3)]), ValueError),
    "half precision": (lambda: keras.Sequential([keras.Input((4,)), L.Dense(2, dtype="mixed_bfloat16")]), ValueError),
    "prepared": (lambda: quantize.prepare(keras.Sequential([keras.Input((4,)), L.Dense(2)])), ValueError),
    "channels first": (
        lambda: keras.Sequential([keras.Input((1, 8, 8)), layers.Conv2D(2, 3, data_format="channels_first")]),
        ValueError,
    ),
    "normalization of rows": (lambda: keras.Sequential([keras.Input((4,)), L.BatchNormalization()]), ValueError),
    "ranges that cannot be shared": (shared_with_sigmoid, ValueError),
    "grouped transposed": (
        lambda: keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2DTranspose(4, 3, groups=2)]),
        ValueError,
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_models_that_cannot_be_prepared(case):
    make, kind = MODELS[case]
    with pytest.raises(kind) as error:
        quantize.prepare(make())
    assert_sentence(error.value, "model")


def test_ranges_that_were_never_seen(tmp_path):
    model = quantize.prepare(plain())
    with pytest.raises(ValueError, match="expected ranges that training") as error:
        tflite.export(model, tmp_path / "m.tflite", "int8")
    assert_sentence(error.value, "model")
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected a range that training has seen"):
        model(np.zeros((1, 28, 28, 1), "float32"))


def test_what_export_refuses_of_a_prepared_model(tmp_path):
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
def test_only_prepared_models_are_trained_so(function):
    given = (np.zeros((1, 4), "float32"),) if function is quantize.observe else ()
    with pytest.raises(ValueError, match=r"expected one that quantize\.prepare made"):
        function(keras.Sequential([keras.Input((4,)), L.Dense(2)]), *given)
    with pytest.raises(TypeError, match="expected a Keras model"):
        function(None, *given)


def test_sizes_in_front_of_a_mean_are_known():
    model = keras.Sequential([keras.Input((None, None, 2)), L.GlobalAveragePooling2D()])
    with pytest.raises(ValueError, match="sizes that are known") as error:
        quantize.prepare(model)
    assert_sentence(error.value, "model")
