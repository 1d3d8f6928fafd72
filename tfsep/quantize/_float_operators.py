"""What layers without an integer kernel do to numbers, by which it is known where they stay in float32."""

from collections.abc import Callable
from functools import lru_cache, partial

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Layer, Tensor
from tfsep.layers._layer_kinds import kind_of
from tfsep.quantize._operations import ACTIVATION_LAYERS, moves

L = keras.layers

_NO_AVERAGES = (
    *(*ACTIVATION_LAYERS, L.ELU, L.PReLU, L.Embedding, L.EinsumDense, L.Attention, L.MultiHeadAttention),
    *(L.BatchNormalization, L.LayerNormalization, L.GroupNormalization, L.UnitNormalization, L.RMSNormalization),
    *(L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum, L.Dot),
    *(L.GlobalAveragePooling1D, L.GlobalAveragePooling2D),
)
"""Layers whose last operator is none that averages by the scale of its result, or moves what they take again."""

_ARITHMETIC = {
    *("AddV2", "Sub", "Mul", "RealDiv", "Pow", "Exp", "Expm1", "Log", "Log1p", "Sqrt", "Rsqrt", "Square", "Sin", "Cos"),
    *("Relu", "Relu6", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Softmax", "Softplus", "Softsign"),
}
"""Operations of a graph whose operators the converter leaves in float32 between float32 ones."""

_MOST_FUNCTIONS = 64
"""Functions of which the last operation is kept."""


def prepares(layer: Layer) -> bool:
    """Return whether a layer prepares images or numbers in a way that has no operation, as interpolation."""
    crops = keras.layers.CenterCrop | keras.layers.RandomCrop
    scales = keras.layers.Normalization | keras.layers.Rescaling
    return isinstance(layer, crops | scales | keras.layers.Resizing | keras.layers.UpSampling2D) and not moves(layer)


def may_average(layer: Layer) -> bool:
    """Return whether a layer that is not quantized may return means of numbers, as pooling and interpolation do.

    All may that are not known, those inside of others too, and those that end with a choice of numbers, which the
    converter would make among integers.
    """
    of_others = type(layer).__module__.split(".")[0] not in ("keras", "tfsep")
    known = moves(layer) or kind_of(layer) is not None or isinstance(layer, _NO_AVERAGES)
    return of_others or not known or not _ends_in_arithmetic(layer)


def _ends_in_arithmetic(layer: Layer) -> bool:
    """Whether the function that a layer ends with, if it has one, makes its result by an operation in `_ARITHMETIC`."""
    if isinstance(layer, L.ReLU):
        return _last_of_rectifier(layer.negative_slope, layer.max_value, layer.threshold) in _ARITHMETIC
    function = getattr(layer, "activation", None)
    return function in (None, keras.activations.linear) or _last_operation(function) in _ARITHMETIC


@lru_cache(_MOST_FUNCTIONS)
def _last_of_rectifier(negative_slope: float, max_value: float | None, threshold: float) -> str:
    """The last operation of a rectifier, by its numbers: its own `call`, as a key, would keep its model alive."""
    options = {"negative_slope": negative_slope, "max_value": max_value, "threshold": threshold}
    return _last_operation(partial(keras.activations.relu, **options))


@lru_cache(_MOST_FUNCTIONS)
def _last_operation(function: Callable[..., Tensor]) -> str:
    """The type of the operation in a graph that makes a function's result; empty where there is none."""
    try:
        traced = tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec((2, 2), "float32"))
    except Exception:  # the code of whoever wrote it
        return ""
    operation = traced.graph.outputs[0].op
    while operation.type == "Identity":
        operation = operation.inputs[0].op
    return str(operation.type)


def may_keep_scale(layer: Layer) -> bool:
    """Return whether a layer that is not quantized may be an operator whose result has the scale of what it takes."""
    return may_average(layer) or moves(layer) or isinstance(layer, keras.layers.Maximum | keras.layers.Minimum)
