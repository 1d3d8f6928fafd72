"""The operations of a graph that make whole numbers, which the converter would round to steps.

Numbers become whole ones of the model's inputs, or in the middle of it, where they are rounded, cast, counted, or found
by their place. In front of that the network is in integers as it is elsewhere, so that numbers near the edge of two ids
may lead to the other one, as two logits near each other lead to another class. To keep those as well, all layers in
front would have to be in floats. But numbers that are cut off, as by a rectifier, are at the edge of an id by intention
and not by chance: what cuts them off is among the operations, back to the layer in front.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tfsep._keras.backend import tf
from tfsep._keras.id_inputs import SINGLY, SUMS, is_whole_product
from tfsep.tflite._graph_corrections import moved_from

_SIZES = ("Shape", "ShapeN", "Size", "Rank")
"""Operations whose integers are known from shapes."""
_ROUNDING = ("Round", "Rint", "Floor", "Ceil", "Sign", "FloorDiv")
"""Operations that make whole numbers of others."""
_TO_INTEGERS = ("Cast", "Bucketize")
"""Operations that make integers of others, and have a kernel in floats alone; the rest, as ArgMax, have more."""
_MOVES = {
    *("Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "Transpose", "StridedSlice", "Slice", "ConcatV2"),
    *("Pack", "Unpack", "Split", "SplitV", "Tile", "BroadcastTo", "Pad", "PadV2", "GatherV2", "GatherNd", "ReverseV2"),
    *("Roll", "StopGradient", "EnsureShape", "PreventGradient"),
}
"""Operations that move numbers."""
_OF_LAYERS = {"Neg", "AddV2", "Add", "Sub", "Mul", "RealDiv", "Div", "BiasAdd"}
"""Operations that are a part of the layer in front in its file."""
_FUSED = ("Relu", "Relu6")
"""Operations that are so, too, and that cut off at ends of the stored range, which are exact."""


class WholeNumbers:
    """The whole numbers of a graph.

    Args:
        graph: the graph.
        inputs: its inputs that hold whole numbers.
        constants: its inputs that are constants.
    """

    def __init__(self, graph: tf.Graph, inputs: Iterable[Any], constants: Iterable[Any] = ()) -> None:
        self._inputs = {x.ref() for x in inputs}
        self._constant = {x.ref() for x in constants}
        self._whole = set(self._inputs)
        self._conditions = set[Any]()  # comparisons of real numbers, and what logic makes of them
        self._makers = set[tf.Operation]()
        named = {node.name: node for node in graph.as_graph_def().node}
        self._operations = graph.get_operations()
        for operation in self._operations:
            has_function = any(attribute.type in ("func", "list(func)") for attribute in operation.op_def.attr)
            if not (
                operation.op_def.is_stateful
                or operation.type in (*_SIZES, "Placeholder")
                or operation.control_inputs
                or has_function
            ):
                self._follow(operation, named)

    def _follow(self, operation: tf.Operation, named: Mapping[str, Any]) -> None:
        """Note of which kind the results of an operation are."""
        if all(x.ref() in self._constant for x in operation.inputs):
            self._constant.update(x.ref() for x in operation.outputs)
            return
        others = [x for x in operation.inputs if x.ref() not in self._constant and x.ref() not in self._whole]
        real = self._real(operation)
        if any(map(is_whole, real)):
            return  # integers of a loop, or of a shape
        for x in operation.outputs:
            if x.dtype == tf.bool and others:
                self._conditions.add(x.ref())
            elif is_whole(x) or operation.type in _ROUNDING or (not real and _is_single(operation, named)):
                self._whole.add(x.ref())
                if not real or operation.type in _ROUNDING + _TO_INTEGERS:
                    self._makers.add(operation)

    def _real(self, operation: tf.Operation) -> list[Any]:
        """What an operation reads that is neither constant nor whole, nor a condition."""
        known = (self._constant, self._whole, self._conditions)
        return [x for x in operation.inputs if not any(x.ref() in each for each in known)]

    def makers(self, outputs: Iterable[Any]) -> list[tf.Operation]:
        """Return the operations by which integers are made, and comparisons of whole numbers, in the graph's order.

        Args:
            outputs: the tensors that are wanted of the graph.
        """
        reached, waiting = set[tf.Operation](), [x.op for x in outputs]
        while waiting:
            if (operation := waiting.pop()) not in reached:
                reached.add(operation)
                waiting += [x.op for x in operation.inputs]
        kept = {op for op in self._makers & reached if any(is_whole(x) for x in op.outputs)}
        waiting = list(kept)
        while waiting:
            for x in waiting.pop().inputs:
                if x.op not in kept and x.ref() not in self._constant and self._is_made_along(x):
                    kept.add(x.op)
                    waiting.append(x.op)
        return [operation for operation in self._operations if operation in kept]

    def _is_made_along(self, x: Any) -> bool:
        """Whether a tensor that whole numbers are made of is one itself, or may be cut off at one in between steps."""
        if x.op in self._makers or x.op.type not in SINGLY or x.op.type in _FUSED:
            return x.op in self._makers
        real = self._real(x.op)
        if len(real) != 1:
            return False
        if x.op.type in _MOVES | _OF_LAYERS:
            is_cut = x.op.type in _OF_LAYERS and moved_from(real[0], _MOVES).op.type in _FUSED
            return is_cut or self._is_made_along(real[0])
        return True

    def read_by(self, operations: Iterable[tf.Operation]) -> list[Any]:
        """Return what operations read that others make, or that are inputs of real numbers."""
        own = set(operations)
        read = {x.ref(): x for op in operations for x in op.inputs if x.op not in own}
        return [x for ref, x in read.items() if ref not in self._constant and ref not in self._inputs]


def is_whole(tensor: Any) -> bool:
    """Return whether a tensor has integers, or truth values."""
    return bool(tensor.dtype.is_integer or tensor.dtype == tf.bool)


def _is_single(operation: tf.Operation, named: Mapping[str, Any]) -> bool:
    """Whether an operation makes floats of which each is one number's, or one sum's."""
    return operation.type in SINGLY | SUMS | {"Cast"} or is_whole_product(named[operation.name], named)
