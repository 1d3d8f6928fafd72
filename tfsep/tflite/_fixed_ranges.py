"""Functions in float32 whose range runtimes fix, as tanh, in a prepared model.

The converter knows their scale in integers, and would quantize what only moves or pools their results, though it is in
an island of float32, or in a loop. Negated twice they are what they were, and it does not.
"""

import itertools
from typing import Any

from tfsep._keras.backend import tf
from tfsep.tflite._graph_corrections import Correction, corrected

_RESULTS = {"Tanh": "y", "Sigmoid": "y", "Softmax": "softmax", "LogSoftmax": "logsoftmax"}
"""The functions, and the names of their results in TensorFlow."""
_OF_ONE_SCALE = {
    *("Reshape", "Squeeze", "ExpandDims", "Transpose", "Slice", "StridedSlice", "Split", "SplitV", "Unpack", "Pack"),
    *("ConcatV2", "GatherV2", "Pad", "PadV2", "MirrorPad", "Tile", "BroadcastTo", "ReverseV2", "DepthToSpace"),
    *("SpaceToDepth", "MaxPool", "AvgPool", "Max", "Min", "Mean", "Maximum", "Minimum", "SelectV2", "Select", "Relu"),
    *("ResizeBilinear", "ResizeNearestNeighbor", "TensorListSetItem", "TensorListStack", "Identity"),
}
"""Operations whose results have the scale of what they take, in integers."""
_LOOPS = ("While", "StatelessWhile")


def with_fixed_ranges_in_floats(function: Any) -> Any:
    """Return a concrete function of a prepared model whose functions in float32 the converter leaves as they are.

    Args:
        function: a concrete function with named inputs, and a dict of outputs.
    """
    return corrected(function, function.structured_input_signature[1], [_negated_twice], _loops_corrected)


def _negated_twice(operation: Any) -> Correction | None:
    """The correction of a function whose result is moved, and not quantized itself."""
    # The converter makes L2_NORMALIZATION of such a product, perhaps.
    is_unit = operation.type == "Mul" and any(given.op.type == "Rsqrt" for given in operation.inputs)
    if operation.type not in _RESULTS and not is_unit:
        return None
    left = [*operation.outputs]
    while left:
        for user in left.pop().consumers():
            if user.type == "Identity":
                left += user.outputs
            elif user.type in _OF_ONE_SCALE:
                return Correction(lambda result: -result * -1.0, (), behind=True)
    return None


def _loops_corrected(definition: Any) -> bool:
    """Correct the bodies of loops in a graph's definition, under other names; return whether there are any."""
    nodes = list(itertools.chain(definition.node, *(inner.node_def for inner in definition.library.function)))
    bodies = {node.attr["body"].func.name for node in nodes if node.op in _LOOPS}
    found = {
        body.signature.name
        for body in definition.library.function
        if body.signature.name in bodies and any(node.op in _RESULTS for node in body.node_def)
    }
    for body in definition.library.function:
        if body.signature.name in found:
            body.signature.name += "_in_floats"
            for node in [node for node in body.node_def if node.op in _RESULTS]:
                result = f"{node.name}:{_RESULTS[node.op]}:0"
                users = [user.op for user in body.node_def if result in user.input]
                if result in body.ret.values() or not _OF_ONE_SCALE.isdisjoint(users):
                    _negate_twice(body, node, result)
    for node in nodes:
        if node.op in _LOOPS and node.attr["body"].func.name in found:
            node.attr["body"].func.name += "_in_floats"
    return bool(found)


def _negate_twice(body: Any, function: Any, result: str) -> None:
    """Put two negations behind a function in the body of a loop."""
    dtype = function.attr["T"].type
    negated, one, again = (f"{function.name}/{name}" for name in ("negated", "minus_one", "again"))
    for node in body.node_def:
        for place, name in enumerate(node.input):
            if name == result:
                node.input[place] = f"{again}:z:0"
    for name, source in body.ret.items():
        if source == result:
            body.ret[name] = f"{again}:z:0"
    minus_one = tf.make_tensor_proto(-1.0, dtype)
    for name, op, inputs in (
        (negated, "Neg", [result]),
        (one, "Const", []),
        (again, "Mul", [f"{negated}:y:0", f"{one}:output:0"]),
    ):
        node = body.node_def.add(name=name, op=op, input=inputs)
        node.attr["dtype" if op == "Const" else "T"].type = dtype
        if op == "Const":
            node.attr["value"].tensor.CopyFrom(minus_one)
