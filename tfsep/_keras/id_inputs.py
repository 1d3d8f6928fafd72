"""Inputs whose numbers a model reads as whole ones: ids, which steps of a quantized input would change."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from tfsep._keras.backend import tf

GraphDef: TypeAlias = Any
NodeDef: TypeAlias = Any

SINGLY = {
    *("Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "Transpose", "StridedSlice", "Slice"),
    *("ConcatV2", "Pack", "Unpack", "Split", "SplitV", "Tile", "BroadcastTo", "Pad", "PadV2", "GatherV2"),
    *("GatherNd", "ReverseV2", "Roll", "StopGradient", "EnsureShape", "PreventGradient", "Round", "Rint"),
    *("Floor", "Ceil", "Relu", "Relu6", "Abs", "Neg", "ClipByValue", "Maximum", "Minimum"),
    *("AddV2", "Add", "Sub", "Mul"),
    *("RealDiv", "Div", "FloorDiv", "FloorMod", "SelectV2", "BiasAdd", "Square", "Sqrt", "Sign", "Log", "Exp", "Pow"),
}
"""Operators that keep numbers single: they move them, or compute each by itself."""

SUMS = {"Sum", "Prod", "Max", "Min", "Cumsum", "Cumprod"}
"""Operators that make an id of several numbers."""
_PRODUCTS = {"MatMul", "BatchMatMulV2"}
"""Operators that do so where one side is a constant of whole numbers, such as strides."""

_CALLS = {"PartitionedCall": ("f",), "StatefulPartitionedCall": ("f",)}
_BRANCHES = {"If": ("then_branch", "else_branch"), "While": ("body",)}
_BRANCHES |= {f"Stateless{name}": functions for name, functions in _BRANCHES.items()}


def id_inputs(graph: GraphDef, inputs: Iterable[str]) -> tuple[str, ...]:
    """Return the inputs whose numbers become integers, or are sorted into bins, with nothing but arithmetic before.

    Args:
        graph: a traced function's ``GraphDef``.
        inputs: names of inputs in floats.

    Examples:
        >>> function = tf.function(lambda ids, x: tf.gather(x, tf.cast(ids[:, 0], "int32")))
        >>> specs = [tf.TensorSpec((1, 2), "float32", name) for name in ("ids", "x")]
        >>> id_inputs(function.get_concrete_function(*specs).graph.as_graph_def(), ["ids", "x"])
        ('ids',)
    """
    functions = {each.signature.name: each for each in graph.library.function}
    return tuple(name for name in inputs if _followed(graph.node, [name], functions)[0])


def _followed(nodes: Sequence[NodeDef], starts: Iterable[str], functions: dict[str, Any]) -> tuple[bool, set[str]]:
    """Whether the numbers of some tensors are read as whole ones; and the nodes where they are single."""
    readers, named = defaultdict(list), {node.name: node for node in nodes}
    for node in nodes:
        for place, ref in enumerate(node.input):
            if not ref.startswith("^"):
                readers[ref.split(":")[0]].append((node, place))
    reached, waiting = set(starts), list(starts)
    while waiting:
        for node, place in readers[waiting.pop()]:
            is_read, goes_on = _read(node, place, functions)
            goes_on = goes_on or is_whole_product(node, named)
            if is_read:
                return True, reached
            if goes_on and node.name not in reached:
                reached.add(node.name)
                waiting.append(node.name)
    return False, reached


def is_whole_product(node: NodeDef, named: Mapping[str, NodeDef]) -> bool:
    """Return whether a node multiplies by a constant matrix of whole numbers.

    Args:
        node: a node.
        named: the nodes of its graph by name.
    """
    return node.op in _PRODUCTS and any(_is_whole_constant(ref, named) for ref in node.input)


def _is_whole_constant(ref: str, named: Mapping[str, NodeDef]) -> bool:
    node = named.get(ref.removeprefix("^").split(":")[0])
    if node is None or node.op != "Const":
        return node is not None and node.op in ("Identity", "Reshape") and _is_whole_constant(node.input[0], named)
    values = tf.make_ndarray(node.attr["value"].tensor)
    return bool(np.isfinite(values).all() and (values == np.round(values)).all())


def _read(node: NodeDef, place: int, functions: dict[str, Any]) -> tuple[bool, bool]:
    """Whether a node reads its input at a place as whole numbers; and whether its result has the numbers singly."""
    if node.op == "Cast":
        to = tf.as_dtype(node.attr["DstT"].type)
        return to.is_integer, to.is_floating
    if node.op == "Bucketize":
        return True, False
    if node.op in _CALLS or node.op in _BRANCHES or node.op in functions:
        names = [node.attr[name].func.name for name in (_CALLS | _BRANCHES).get(node.op, ())] or [node.op]
        # The first input of a branch chooses it.
        argument = place - node.op.endswith("If")
        found = [_of_function(functions[name], argument, functions) for name in names] if argument >= 0 else []
        return any(is_read for is_read, _ in found), any(goes_on for _, goes_on in found)
    return False, node.op in SINGLY | SUMS and (place == 0 or not node.op.startswith("Gather"))


def _of_function(function: Any, argument: int, functions: dict[str, Any]) -> tuple[bool, bool]:
    """`_read` of a function's argument."""
    start = function.signature.input_arg[argument].name
    is_read, reached = _followed(function.node_def, [start], functions)
    return is_read, any(ref.split(":")[0] in reached for ref in function.ret.values())
