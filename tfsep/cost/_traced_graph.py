"""The products in a traced TensorFlow graph, its functions included: what is run, and how often."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any, NamedTuple, TypeAlias

from tfsep._keras.backend import tf
from tfsep.cost._loops import Key, Numbers, Step, rounds

Shape = tuple[int | None, ...]
GraphDef: TypeAlias = Any
NodeDef: TypeAlias = Any

_CALL = re.compile(r"tfsepcall(\d+)")


def call_scope(number: int) -> str:
    """Return the name scope of a numbered call, whose number `tallies` finds in the names of operators."""
    return f"tfsepcall{number}"


_CAPTURED = ("Placeholder", "Const")
"""Operators that a loop may share with a call outside it, where they were traced first."""


class Tally(NamedTuple):
    """What is counted for a call.

    Attributes:
        macs: MACs of its own products, not those of calls inside it.
        runs: how often it is run; 0 for a call whose result nobody uses.
        unknown: operators of its own whose MACs are not known.
    """

    macs: int = 0
    runs: int = 0
    unknown: tuple[str, ...] = ()

    def times(self, count: int | None) -> "Tally":
        """Return it for several rounds of a loop; None for a number that is not known."""
        if count is None:
            return Tally(0, self.runs, ("While",) if self.macs or self.unknown else ())
        return Tally(count * self.macs, count * self.runs, self.unknown)


Tallies = dict[int | None, Tally]
"""By number of a call; None for operators outside any."""


def tallies(graph: GraphDef, outputs: Iterable[str]) -> Tallies:
    """Return what each call in a graph costs.

    Args:
        graph: ``GraphDef`` with shapes, traced with each call in its `call_scope`.
        outputs: names of its outputs.
    """
    functions = {
        function.signature.name: _Body(
            function.node_def,
            [arg.name for arg in function.signature.input_arg],
            [function.ret[arg.name] for arg in function.signature.output_arg],
            function.control_ret.values(),
            {arg.name: _argument_shape(function, i) for i, arg in enumerate(function.signature.input_arg)},
        )
        for function in graph.library.function
    }
    return _Counter(functions).body(_Body(graph.node, [], list(outputs), (), {}))


class _Body:
    """The nodes of a graph or of a function that its results depend on, in the order of the trace."""

    def __init__(
        self,
        nodes: Sequence[NodeDef],
        inputs: list[str],
        outputs: list[str],
        controls: Iterable[str],
        shapes: dict[str, Shape | None],
    ) -> None:
        by_name = {node.name: node for node in nodes}

        def behind(refs: Iterable[str]) -> list[str]:
            """The nodes of these; not a variable's reading, for which every trace waits in the end."""
            found = ((ref, by_name.get(_node(ref))) for ref in refs)
            return [node.name for ref, node in found if node and not (ref[0] == "^" and node.op == "ReadVariableOp")]

        needed: set[str] = set()
        waiting = behind((*outputs, *(f"^{name}" for name in controls)))
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                waiting += behind(by_name[name].input)
        self.nodes = [node for node in nodes if node.name in needed]
        self.inputs, self.outputs = inputs, [_key(ref) for ref in outputs]
        self._shapes = shapes
        self._by_name = by_name

    def shape(self, ref: str) -> Shape | None:
        """The shape of a tensor."""
        name, *output = ref.split(":")  # the name of an output in a function, and its number
        if name in self._shapes:
            return self._shapes[name]
        found = list(self._by_name[name].attr["_output_shapes"].list.shape) if name in self._by_name else []
        # Of several outputs, a function says which by their names, of which "y" and "output" are the first.
        if len(found) > 1 and len(output) == 2 and output[0] not in ("output", "y"):
            return None
        place = int(output[-1]) if output else 0
        return _static(found[place]) if place < len(found) else None

    def numbers(self, outputs: Sequence[str] | None = None) -> Numbers:
        """The part that computes with single numbers, up to its outputs, or to other tensors."""
        steps = [Step(node.op, [_key(ref) for ref in _data(node)], node.name) for node in self.nodes]
        results = self.outputs if outputs is None else [_key(ref) for ref in outputs]
        return Numbers(steps, self.constants(), self.inputs, results)

    def constants(self) -> dict[Key, int]:
        """Its constants of one whole number or condition."""
        stored = ((node.name, node.attr["value"].tensor) for node in self.nodes if node.op == "Const")
        small = ((name, tensor) for name, tensor in stored if not tensor.tensor_shape.dim)
        arrays = ((name, tf.make_ndarray(tensor)) for name, tensor in small)
        return {name: int(array) for name, array in arrays if array.dtype.kind in "iub"}


def _data(node: NodeDef) -> list[str]:
    """The tensors that a node reads, without those that it only waits for."""
    return [ref for ref in node.input if not ref.startswith("^")]


def _node(ref: str) -> str:
    return ref.removeprefix("^").split(":")[0]


def _key(ref: str) -> str:
    """The name of a tensor: that of its node for the first output."""
    name, *rest = ref.split(":")
    return name if not rest or rest[-1] == "0" else ref


def _static(proto: Any) -> Shape | None:
    return None if proto.unknown_rank else tuple(None if dim.size < 0 else int(dim.size) for dim in proto.dim)


def _argument_shape(function: Any, place: int) -> Shape | None:
    if place not in function.arg_attr:
        return None
    shapes = list(function.arg_attr[place].attr["_output_shapes"].list.shape)
    return _static(shapes[0]) if shapes else None


class _Counter:
    """Counts bodies, each function once."""

    def __init__(self, functions: dict[str, _Body]) -> None:
        self._functions = functions
        self._done: dict[str, Tallies] = {}

    def function(self, name: str) -> Tallies:
        if name not in self._done:
            self._done[name] = self.body(self._functions[name])
        return self._done[name]

    def body(self, body: _Body) -> Tallies:
        found: dict[int | None, list[Tally]] = defaultdict(list)
        for node in body.nodes:
            calls = [int(number) for number in _CALL.findall(node.name)]
            owner = calls[-1] if calls else None
            if node.op not in _CAPTURED:
                for number in calls[:-1]:
                    found[number].append(Tally(runs=1))
                found[owner].append(_tally(node, body))
            for inner, tally in self._called(node, body).items():
                found[owner if inner is None else inner].append(tally)
        return {number: _joined(own) for number, own in found.items()}

    def _called(self, node: NodeDef, body: _Body) -> Tallies:
        """What the functions cost that a node calls."""
        match node.op:
            case "While" | "StatelessWhile":
                return self._loop(node, body)
            case "If" | "StatelessIf" | "Case" | "StatelessCase":
                named = [node.attr[name].func for name in ("then_branch", "else_branch") if name in node.attr]
                branches = [self.function(each.name) for each in named or node.attr["branches"].list.func]
                # One branch is run; the dearest is counted.
                return max(branches, key=lambda branch: sum(tally.macs for tally in branch.values()), default={})
            case "PartitionedCall" | "StatefulPartitionedCall":
                return self.function(node.attr["f"].func.name)
            case _:
                return self.function(node.op) if node.op in self._functions else {}

    def _loop(self, node: NodeDef, body: _Body) -> Tallies:
        condition, inner = (node.attr[name].func.name for name in ("cond", "body"))
        start = body.numbers(_data(node))([])
        count = rounds(self._functions[condition].numbers(), self._functions[inner].numbers(), start)
        once = {number: [tally.times(count)] for number, tally in self.function(inner).items()}
        for number, tally in self.function(condition).items():
            once.setdefault(number, []).append(tally.times(None if count is None else count + 1))
        return {number: _joined(own) for number, own in once.items()}


def _joined(own: list[Tally]) -> Tally:
    unknown = tuple(dict.fromkeys(name for tally in own for name in tally.unknown))
    return Tally(sum(tally.macs for tally in own), max(tally.runs for tally in own), unknown)


class _Operands(NamedTuple):
    """A node and the shapes of its inputs and of its output; None for a size or shape that is not known."""

    node: NodeDef
    inputs: list[Any]
    output: Any


_Product = Callable[[_Operands], int]
"""Function that returns the MACs of a node, or raises TypeError for a size that is not known."""


def _tally(node: NodeDef, body: _Body) -> Tally:
    product = _PRODUCTS.get(node.op)
    if product is None:
        return Tally(runs=1, unknown=(node.op,) if _is_unknown(node) else ())
    out = list(node.attr["_output_shapes"].list.shape)
    try:
        return Tally(product(_Operands(node, [body.shape(ref) for ref in _data(node)], out and _static(out[0]))), 1)
    except (TypeError, IndexError):  # of a size or rank that the trace does not know
        return Tally(runs=1, unknown=(node.op,))


def _matmul(of: _Operands) -> int:
    def flag(*names: str) -> bool:
        return any(of.node.attr[name].b for name in names if name in of.node.attr)

    left, right = of.inputs
    if left is not None:
        inner = left[-2 if flag("transpose_a", "adj_x") else -1]
    else:
        inner = right[-1 if flag("transpose_b", "adj_y") else -2]
    return prod(of.output) * inner


def _einsum(of: _Operands) -> int:
    """Each output sums over the labels that both inputs have and it has not; without such a label it is no product."""
    inputs, result = of.node.attr["equation"].s.decode().replace(" ", "").split("->")
    if "," not in inputs:
        return 0
    left, right = inputs.split(",")
    summed = (set(left) & set(right)) - set(result) - {"."}

    def size(label: str) -> int:
        for labels, shape in ((left, of.inputs[0]), (right, of.inputs[1])):
            if shape is not None:
                return shape[labels.index(label) - (len(labels) if "." in labels[: labels.index(label)] else 0)]
        raise TypeError

    return prod(of.output) * prod(map(size, summed)) if summed else 0


def _convolution(of: _Operands) -> int:
    return prod(of.output) * prod(of.inputs[1][:-1])


def _depthwise(of: _Operands) -> int:
    return prod(of.output) * prod(of.inputs[1][:-2])


def _transposed(of: _Operands) -> int:
    return prod(of.inputs[2]) * prod(of.inputs[1][:-1])


def _depthwise_transposed(of: _Operands) -> int:
    return prod(of.inputs[2]) * prod(of.inputs[1][:-2])


def _cudnn_rnn(of: _Operands) -> int:
    """One layer in one direction, as Keras calls it, on (steps, batch, features)."""
    gates = {"lstm": 4, "gru": 3}.get(of.node.attr["rnn_mode"].s.decode(), 1)
    steps, batch, features = of.inputs[0]
    units = of.output[-1]
    return steps * batch * gates * units * (features + units)


_PRODUCTS: dict[str, _Product] = {
    "MatMul": _matmul,
    "BatchMatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "BatchMatMulV3": _matmul,
    "Einsum": _einsum,
    "Conv": _convolution,
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "DepthwiseConv2dNative": _depthwise,
    "Conv2DBackpropInput": _transposed,
    "Conv2DBackpropInputV2": _transposed,
    "Conv3DBackpropInput": _transposed,
    "Conv3DBackpropInputV2": _transposed,
    "DepthwiseConv2dNativeBackpropInput": _depthwise_transposed,
    "CudnnRNN": _cudnn_rnn,
    "CudnnRNNV2": _cudnn_rnn,
    "CudnnRNNV3": _cudnn_rnn,
}

_UNKNOWN = re.compile(
    r"FFT|PyFunc|Sparse.*MatMul|MatMulSparse|Quantized.*(Conv|MatMul)|Uniform.*(Conv|Dot)|Xla(Dot|Conv|Call|Launch)|"
    r"Cholesky|Matrix(Inverse|Solve|Triangular|Exponential|Logarithm|SquareRoot)|^Svd|^Qr|Eig|TridiagonalMatMul|"
    r"BlockLSTM|GRUBlock|LSTMBlock|Dilation2D|BackpropFilter|^Fused.*Conv|TPU|TRTEngine"
)
"""Operators of TensorFlow with products that are not counted."""


def _is_unknown(node: NodeDef) -> bool:
    return _UNKNOWN.search(node.op) is not None or not (hasattr(tf.raw_ops, node.op) or node.op in _OF_GRAPHS)


_OF_GRAPHS = {"_Arg", "_Retval"}
