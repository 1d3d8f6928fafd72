"""What a layer without a row in `_operations` does to numbers, by the operations that its call consists of."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Layer, Shape, Tensor
from tfsep.quantize._call_list import LayerCall

Kind = Literal["moves", "function", "other"]
"""``"moves"``: numbers of its tensors at other places, or the largest of them; ``"function"``: one function of each
number."""

_MOVES = {
    *("Identity", "Reshape", "Squeeze", "ExpandDims", "Transpose", "StridedSlice", "Slice", "Pack", "ConcatV2"),
    *("GatherV2", "DepthToSpace", "SpaceToDepth", "MirrorPad", "Max", "Min", "MaxPool"),
}
"""Operations whose operator in integers has one scale."""

_FUNCTIONS = {
    *("Identity", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "Neg", "Abs", "Sign", "Square", "Sqrt"),
    *("Rsqrt", "Reciprocal", "Pow", "Exp", "Expm1", "Log", "Log1p", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh"),
    *("Asinh", "Tanh", "Sigmoid", "Erf", "Erfc", "Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign"),
    *("SelectV2", "Select", "ClipByValue", "Floor", "Ceil", "Round", "Rint", "ZerosLike", "OnesLike", "Cast"),
    *("Asin", "Acos", "Acosh", "Atanh", "Inv", "Xdivy", "Xlogy", "SquaredDifference", "FloorMod", "DivNoNan"),
}
_CONDITIONS = {
    *("Greater", "GreaterEqual", "Less", "LessEqual", "Equal", "NotEqual", "LogicalAnd", "LogicalOr", "LogicalNot"),
    *("IsNan", "IsInf", "IsFinite"),
}


_LACKING = {"xnnpack": set[str](), "reference": {"DepthToSpace"}}
"""By runtime, operations without an operator in integers."""


_OPEN_SIZE = 3
"""In place of a size that is not known."""


def traced_kind(call: LayerCall, shapes: Sequence[Shape], runtime: str) -> Kind:
    """Return what a call does to its tensors.

    Args:
        call: a call of a layer, or of an operation, on float32.
        shapes: the shapes of its tensors.
        runtime: name of the runtime whose operators count.
    """
    if getattr(call.layer, "weights", None) or call.results > 1 or call.takes_named:
        return "other"
    try:
        graph = _graph_of(call, shapes)
    except Exception:  # the code of a layer of any maker
        return "other"
    if graph is None:
        return "other"
    operations = [each for each in _behind(graph.outputs) if each.type not in ("Placeholder", "NoOp")]
    real = [each for each in operations if any(output.dtype.is_floating for output in each.outputs)]
    constants = [each for each in real if tf.get_static_value(each.outputs[0]) is not None]
    computed = {each.type for each in real if each not in constants}
    if computed <= _MOVES - _LACKING[runtime] and not constants:
        return "moves"
    # An integer may be the place of a number, which its function would depend on.
    computed |= {"a cast of integers" for each in real if each.type == "Cast" and each.inputs[0].dtype.is_integer}
    conditions = {each.type for each in operations if any(output.dtype == tf.bool for output in each.outputs)}
    keeps_shape = len(shapes) == 1 and call.shape == shapes[0]
    single = all(each.outputs[0].shape.num_elements() == 1 for each in constants)
    return "function" if keeps_shape and single and computed <= _FUNCTIONS and conditions <= _CONDITIONS else "other"


def _behind(tensors: Sequence[Any]) -> list[Any]:
    """The operations of a graph that some tensors are computed from: without those of a loss that a layer adds."""
    found, left = dict[Any, None](), [tensor.op for tensor in tensors]
    while left:
        operation = left.pop()
        if operation not in found:
            found[operation] = None
            left += [each.op for each in operation.inputs]
    return list(found)


def passed_on(call: LayerCall, shapes: Sequence[Shape]) -> int | None:
    """Return which of its tensors a call that moves numbers returns as it is; None for what it makes of them.

    A layer that draws numbers in training may take tensors that inference has no use for.
    """
    graph = _graph_of(call, shapes)
    result = graph.outputs[0]
    while result.op.type == "Identity":
        result = result.op.inputs[0]
    return next((place for place, given in enumerate(graph.inputs) if given is result), None)


def returns_all(call: LayerCall, shape: Shape) -> bool:
    """Return whether a call that moves numbers returns its one tensor as it is, as a crop of nothing does.

    Args:
        call: a call of a layer, or of an operation, on float32.
        shape: the shape of its first tensor.
    """
    # A part of a decomposed layer, which has no arguments by position, may have another shape.
    if len(call.sources) > 1 or call.results > 1 or call.shape != shape or not call.positional:
        return False
    sizes = [_OPEN_SIZE if size is None else size for size in shape]
    given = np.arange(np.prod(sizes), dtype="float32").reshape(sizes)
    return np.array_equal(computed(call, tf.constant(given)), given)


def computed(call: LayerCall, *tensors: Tensor) -> Any:
    """Return what a call makes of tensors in the places of its own."""
    given = iter(tensors)
    positional = call.positional or (tensors if len(tensors) > 1 else tensors[0],)
    args, kwargs = keras.tree.map_structure(
        lambda leaf: next(given) if isinstance(leaf, keras.KerasTensor) else leaf,
        (positional, dict(call.arguments)),
    )
    layer: Layer = call.layer
    return layer(*args, **kwargs)


def _graph_of(call: LayerCall, shapes: Sequence[Shape]) -> Any:
    """The graph of a call; None where it reads a variable."""
    specs = [tf.TensorSpec(shape, "float32") for shape in shapes]
    function = tf.function(partial(computed, call), autograph=False).get_concrete_function(*specs)
    return None if function.captured_inputs else function.graph
