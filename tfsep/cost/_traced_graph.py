"""The products in a traced TensorFlow graph, its functions included: what is run, and how often."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from tfsep._keras.backend import tf
from tfsep.cost._graph_products import PRODUCTS, NodeDef, Operands, is_unknown
from tfsep.cost._loops import Key, Numbers, Step, rounds

Shape = tuple[int | None, ...]
GraphDef: TypeAlias = Any

_CALL = re.compile(r"tfsepcall(\d+)")


def call_scope(number: int) -> str:
    """Return the name scope of a numbered call, whose number `tallies` finds in the names of operators."""
    return f"tfsepcall{number}"


_CAPTURED = ("Placeholder", "Const")
"""Operators that a loop may share with a call outside it, where they were traced first."""


_READING = ("ReadVariableOp", "While", "If", "Case")
"""Operators with an effect, for TensorFlow, which mostly read alone."""


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
            """The nodes of these; not those that read variables, for all of which a trace waits, used or not."""
            found = ((ref, by_name.get(_node(ref))) for ref in refs)
            return [node.name for ref, node in found if node and not (ref[0] == "^" and node.op in _READING)]

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
        self.folded = self._folded()

    def _folded(self) -> dict[str, NodeDef]:
        """The nodes that depend on constants and known shapes alone, by name: TensorFlow computes them ahead."""
        found: dict[str, NodeDef] = {}
        for node in self.nodes:
            shape = self.shape(_data(node)[0]) if node.op == "Shape" else None
            if shape is not None and None not in shape:
                found[node.name] = _constant(node, shape)
            elif node.op == "Const" or (_is_pure(node) and all(_node(ref) in found for ref in _data(node))):
                found[node.name] = node
        return found

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
        """Its constants of one whole number or condition, computed ones included."""
        stored = ((name, node.attr["value"].tensor) for name, node in self.folded.items() if node.op == "Const")
        small = ((name, tensor) for name, tensor in stored if not tensor.tensor_shape.dim)
        arrays = {name: tf.make_ndarray(tensor) for name, tensor in small} | self._computed()
        return {name: int(array) for name, array in arrays.items() if array.dtype.kind in "iub"}

    def _computed(self) -> dict[str, Any]:
        """The folded nodes of one number that are computed out of others."""
        names = [
            name
            for name, node in self.folded.items()
            if node.op != "Const" and [_static(each) for each in node.attr["_output_shapes"].list.shape] == [()]
        ]
        if not names:
            return {}
        graph = tf.Graph()
        with graph.as_default(), tf.compat.v1.Session() as session:
            tf.graph_util.import_graph_def(_graph_of(self.folded.values()), name="")
            tensors = {name: graph.get_tensor_by_name(f"{name}:0") for name in names}
            return session.run({name: each for name, each in tensors.items() if each.dtype.is_integer})


def _constant(node: NodeDef, shape: Shape) -> NodeDef:
    """A node of a shape as a constant."""
    dtype = tf.as_dtype(node.attr["out_type"].type or "int32")
    made = tf.compat.v1.NodeDef(name=node.name, op="Const")
    made.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(shape, dtype))
    made.attr["dtype"].type = dtype.as_datatype_enum
    return made


def _is_pure(node: NodeDef) -> bool:
    """Whether an operator computes the same out of the same tensors, by itself."""
    calls = any(each.HasField("func") or each.list.func for each in node.attr.values())
    return bool(_data(node)) and "Random" not in node.op and hasattr(tf.raw_ops, node.op) and not calls


def _graph_of(nodes: Iterable[NodeDef]) -> GraphDef:
    """The nodes of a function as a graph's, without those that they only wait for."""
    graph = tf.compat.v1.GraphDef()
    for node in nodes:
        made = graph.node.add()
        made.CopyFrom(node)
        made.input[:] = [_key(ref) if ref.count(":") else ref for ref in _data(node)]
    return graph


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
                found[owner].append(Tally(runs=1) if node.name in body.folded else _tally(node, body))
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


def _tally(node: NodeDef, body: _Body) -> Tally:
    product = PRODUCTS.get(node.op)
    if product is None:
        return Tally(runs=1, unknown=(node.op,) if is_unknown(node) else ())
    out = list(node.attr["_output_shapes"].list.shape)
    try:
        return Tally(product(Operands(node, [body.shape(ref) for ref in _data(node)], out and _static(out[0]))), 1)
    except (TypeError, IndexError):  # of a size or rank that the trace does not know
        return Tally(runs=1, unknown=(node.op,))
