"""Prepared kernels of any number of weights, and biases of any number of steps, convert to the numbers of the model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsep import quantize, tflite
from tfsep.tflite._model_signature import signature_of
from tfsep.tflite._tflite_converter import _trace

L = keras.layers


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def prepared_of(given, *layers):
    return quantize.observe(quantize.prepare(keras.Sequential([keras.Input(given.shape[1:]), *layers])), given)


def verification_of(prepared, given, folder):
    found = tflite.export(prepared, folder / "m.tflite", "int8", data=given).verification
    return found.elements, found.differing


def test_the_converter_is_left_no_kernel_to_fold():
    """It folds no operand of 256 MiB; here are kernels that are used as they are, folded, and told apart."""
    given = normal(4, 6, 6, 4)
    inputs = keras.Input(given.shape[1:])
    same = [L.Conv2D(16, 3, kernel_initializer="ones") for _ in range(2)]
    x = L.Add()([L.ReLU()(layer(inputs)) for layer in same])
    x = L.Dense(16)(L.Flatten()(L.BatchNormalization()(L.Conv2D(16, 3, use_bias=False)(x))))
    prepared = quantize.observe(quantize.prepare(keras.Model(inputs, x)), given)
    function, _ = _trace(signature_of(prepared))
    results = [tensor for operation in function.graph.get_operations() for tensor in operation.outputs]
    assert {len(tensor.shape) for tensor in results if tensor.dtype == tf.float64} <= {0, 1}
    matmuls = [each for each in function.graph.get_operations() if each.type in ("Conv2D", "MatMul")]
    assert [each.inputs[1].op.type for each in matmuls] == ["Const"] * 4


@pytest.mark.slow
def test_a_kernel_of_34_million_weights(tmp_path):
    given = normal(4, 4096)
    assert verification_of(prepared_of(given, L.Dense(8400)), given, tmp_path) == (4 * 8400, 0)


def test_biases_past_the_places_of_float32(tmp_path):
    """Channels that normalization scales to almost nothing: their biases are millions of steps."""
    given = normal(8, 16)
    gamma = keras.initializers.Constant(np.geomspace(1e-6, 1e-3, 512))
    normalization = L.BatchNormalization(gamma_initializer=gamma, beta_initializer="random_normal")
    prepared = prepared_of(given, L.Dense(512), normalization)
    [layer] = [each for each in prepared.layers if isinstance(each, quantize.QuantizedMatmul)]
    _, bias, _ = layer.stored(prepared.layers[1].qparams()[0])
    assert np.sum((np.abs(bias) > 2**22) & (np.abs(bias) < 2**24)) > 20
    assert verification_of(prepared, given, tmp_path) == (8 * 512, 0)
