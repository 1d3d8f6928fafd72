"""MACs of files that were converted for any batch, whose sizes a run computes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L
from keras import ops as K

from tfsep import tflite
from tfsep.cost import cost


class Signal(L.Layer):
    """A product behind an operator that is TensorFlow's own, so that LiteRT does not run the file."""

    def call(self, x):
        return tf.math.real(tf.signal.fft(tf.cast(x, "complex64")))

    def compute_output_shape(self, shape):
        return shape


def pair(*stack, shape=(7, 6)):
    """A model, and the plain converter's file of it for any batch."""
    y = inputs = keras.Input(shape)
    for layer in stack:
        y = layer(y)
    return keras.Model(inputs, y)


def plain_file(model, path, *operators):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, *operators]
    path.write_bytes(converter.convert())
    return path


MODELS = {
    "dense": [L.Dense(3)],
    "two": [L.Dense(3), L.ReLU(), L.Dense(5)],
    "behind an einsum": [L.EinsumDense("abc,cd->abd", (None, 6)), L.Reshape((6, 7)), L.Dense(3)],
    "a convolution between": [L.Dense(4), L.Conv1D(3, 3), L.Dense(2)],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_products_of_computed_sizes(name, tmp_path):
    """A dense layer of sequences is one matrix product of steps x channels; the stored shape has one step."""
    model = pair(*MODELS[name])
    report = cost(plain_file(model, tmp_path / "m.tflite"))
    assert (report.macs, report.uncounted) == (cost(model).macs, ())


@pytest.mark.filterwarnings("ignore")
def test_products_of_sizes_that_only_tensorflow_computes_are_named(tmp_path):
    """What does not depend on them is counted."""
    model = pair(L.Conv1D(4, 3), L.Lambda(K.relu), Signal(), L.Dense(3))
    report = cost(plain_file(model, tmp_path / "m.tflite", tf.lite.OpsSet.SELECT_TF_OPS))
    assert report.macs == 5 * 3 * 6 * 4
    assert any("FULLY_CONNECTED" in name for name in report.uncounted)


def test_sizes_that_the_inputs_leave_open_are_said_to_be(tmp_path):
    """A file stores 1 for them, which is no size of a run."""
    model = keras.Sequential([keras.Input((None, None, 3)), L.Conv2D(4, 3, padding="same"), L.GlobalAveragePooling2D()])
    path = plain_file(model, tmp_path / "m.tflite")
    report = cost(path)
    assert (report.params, report.macs) == (112, 0)
    assert [name.split("(")[-1] for name in report.uncounted] == ["CONV_2D)"]
    for call in (
        tflite.benchmark,
        tflite.profile,
        lambda path: tflite.predict(path, np.zeros((1, 8, 8, 3), "float32")),
    ):
        with pytest.raises(ValueError, match=r"expected inputs of known sizes, got '.*' of \?×\?×\?×3 in"):
            call(path)


def test_inputs_without_samples_are_refused(tmp_path):
    def call(x, scale):
        return x * scale

    specs = [tf.TensorSpec((1, 3), tf.float32), tf.TensorSpec((), tf.float32)]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([tf.function(call).get_concrete_function(*specs)])
    (tmp_path / "m.tflite").write_bytes(converter.convert())
    with pytest.raises(ValueError, match="expected inputs with an axis of at least one sample, got 'scale' of shape"):
        tflite.check_targets(tmp_path / "m.tflite", "tflm")
