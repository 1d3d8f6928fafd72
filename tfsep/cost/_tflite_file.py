"""The cost of a ``.tflite`` file, read from its flatbuffer: every graph that a run reaches, loops at every round."""

from collections.abc import Sequence
from math import prod
from os import PathLike
from typing import NamedTuple

from tfsep._flatbuffer.constants import UNPACKING, is_stored, stored_numbers, unpacked_constants
from tfsep._flatbuffer.reader import is_builtin, operator_name, option, read_tflite, type_name
from tfsep._flatbuffer.schema_types import ModelT, OperatorT, SubGraphT
from tfsep.cost._loops import Key, Numbers, Step, rounds
from tfsep.cost._open_sizes import work_out_sizes
from tfsep.cost._report import CostReport, CostRow, of_one_sample
from tfsep.cost._tflite_products import PRODUCTS, UNKNOWN, Operands

PARAMETER_TYPES = ("float32", "float16", "bfloat16", "float64", "int8", "uint8", "int16", "int4")
"""Types of weights; a bias is int32 or int64, and belongs to a product. A shape is int32, and belongs to none."""

_DEEPEST = 50
"""Graphs inside each other."""


class _Place(NamedTuple):
    """An operator: numbers of its graph and in its graph."""

    graph: int
    operator: int


class _Branch(NamedTuple):
    """A graph that an operator runs: its number, and how often; None for a number that is not known."""

    graph: int
    times: int | None


_Macs = dict[_Place, int | None]
"""MACs of the operators of a graph and of those that it runs, in the order of execution; None where unknown."""


class _Graph:
    """One graph of a model, the constants of its operators, and the tensors of which no shape is known."""

    def __init__(self, model: ModelT, graph: SubGraphT, unknown: set[int]) -> None:
        self.model, self.table, self.tensors, self.operators = model, graph, graph.tensors, graph.operators
        self._unpacked, self._unknown = unpacked_constants(model, graph), unknown

    def constant(self, index: int) -> int | None:
        """The tensor that stores the constant that `index` reads, or None."""
        index = self._unpacked.get(index, index)
        return index if index >= 0 and is_stored(self.model, self.tensors[index]) else None

    def operands(self, op: OperatorT) -> Operands:
        """An operator and the shapes of its tensors."""
        inputs = [int(index) for index in op.inputs]
        return Operands(
            op,
            [None if index < 0 else self._known_sides(index) for index in inputs],
            [index >= 0 and self.constant(index) is not None for index in inputs],
            self._known_sides(int(op.outputs[0])) if len(op.outputs) else (),
        )

    def _known_sides(self, index: int) -> tuple[int, ...] | None:
        return None if index in self._unknown else self.sides(index)

    def sides(self, index: int) -> tuple[int, ...]:
        shape = self.tensors[index].shape
        return () if shape is None else tuple(int(side) for side in shape)

    @property
    def batch(self) -> int:
        """The number of samples of a run: the first side of all inputs and outputs, or 1 where these differ."""
        first = {self.sides(int(index))[:1] for index in (*self.table.inputs, *self.table.outputs)}
        return max(1, *first.pop()) if len(first) == 1 and () not in first else 1

    def numbers(self, outputs: Sequence[int] | None = None) -> Numbers:
        """The part that computes with single numbers, up to its outputs, or to other tensors."""
        steps = [
            Step(operator_name(self.model, op), [int(i) for i in op.inputs], int(op.outputs[0]))
            for op in self.operators
            if len(op.outputs)
        ]
        results = [int(i) for i in (self.table.outputs if outputs is None else outputs)]
        return Numbers(steps, self.whole_numbers(), [int(i) for i in self.table.inputs], results)

    def whole_numbers(self) -> dict[Key, int]:
        """Its constants of one whole number or condition."""
        found: dict[Key, int] = {}
        for index, tensor in enumerate(self.tensors):
            if prod(self.sides(index)) == 1 and type_name(tensor) in ("int32", "int64", "bool"):
                stored = stored_numbers(self.model, tensor)
                if stored is not None:
                    found[index] = int(stored.flat[0])
        return found


class _Counter:
    """MACs of the graphs of a model, each counted once."""

    def __init__(self, content: bytes, model: ModelT) -> None:
        self.model = model
        unknown = work_out_sizes(content, model)
        self.graphs = [_Graph(model, graph, own) for graph, own in zip(model.subgraphs, unknown, strict=True)]
        self._done: dict[int, _Macs] = {}

    def macs(self, number: int, depth: int = 0) -> _Macs:
        """Return the MACs of one run of a graph.

        Raises:
            ValueError: if graphs run each other in a circle.
        """
        if depth > _DEEPEST:
            raise ValueError(f"path: expected a .tflite file of at most {_DEEPEST} graphs inside each other, got more")
        if number not in self._done:
            found: _Macs = {}
            for index in range(len(self.graphs[number].operators)):
                _add(found, self.of_operator(_Place(number, index), depth))
            self._done[number] = found
        return self._done[number]

    def of_operator(self, place: _Place, depth: int = 0) -> _Macs:
        """Return the MACs of one run of an operator, with those of the graphs that it runs."""
        graph = self.graphs[place.graph]
        op = graph.operators[place.operator]
        branches = self._branches(graph, op)
        found = {place: None if any(branch.times is None for branch in branches) else self._own(graph, op)}
        inner = [self._times(self.macs(branch.graph, depth + 1), branch.times) for branch in branches]
        if operator_name(self.model, op) == "IF":  # one branch is run; the dearest is counted
            dearest = max(inner, key=lambda macs: sum(filter(None, macs.values())))
            inner = [macs if macs is dearest else dict.fromkeys(macs, 0) for macs in inner]
        for macs in inner:
            _add(found, macs)
        return found

    def _times(self, macs: _Macs, times: int | None) -> _Macs:
        return {place: None if count is None else count * (times or 0) for place, count in macs.items()}

    def _own(self, graph: _Graph, op: OperatorT) -> int | None:
        kind = operator_name(self.model, op)
        product = PRODUCTS.get(kind)
        if product is None:
            return 0 if is_builtin(self.model, op) and kind not in UNKNOWN else None
        try:
            return product.macs(graph.operands(op))
        except (IndexError, TypeError, ZeroDivisionError):  # sizes that are no product's
            return None

    def _branches(self, graph: _Graph, op: OperatorT) -> list[_Branch]:
        """The graphs that an operator runs."""
        body = option(op, "bodySubgraphIndex")
        condition = option(op, "condSubgraphIndex")
        if body is not None and condition is not None:
            start = graph.numbers(op.inputs)([])
            times = rounds(self.graphs[condition].numbers(), self.graphs[body].numbers(), start)
            return [_Branch(condition, None if times is None else times + 1), _Branch(body, times)]
        names = (
            "thenSubgraphIndex",
            "elseSubgraphIndex",
            "subgraph",
            "initSubgraphIndex",
            "decompositionSubgraphIndex",
        )
        return [_Branch(found, 1) for name in names if (found := option(op, name)) is not None]


def _add(found: _Macs, more: _Macs) -> None:
    """Add counts to others of the same graph."""
    for place, count in more.items():
        before = found.get(place, 0)
        found[place] = None if count is None or before is None else before + count


def operator_macs(content: bytes, model: ModelT) -> dict[int, int]:
    """Return the MACs of the operators of a model's main graph for one sample, by their numbers; of unknown ones 0."""
    counter = _Counter(content, model)
    main = counter.graphs[0]
    runs = (sum(filter(None, counter.of_operator(_Place(0, i)).values())) for i in range(len(main.operators)))
    return {i: of_one_sample(macs, main.batch) for i, macs in enumerate(runs)}


def cost_of_tflite(path: str | PathLike[str]) -> CostReport:
    """Return the cost of a file for one sample of its batch."""
    return cost_of_content(*read_tflite(path))


def cost_of_content(content: bytes, model: ModelT) -> CostReport:
    """Return the cost of a file that was read, given its bytes and the model in them; see `cost_of_tflite`."""
    counter = _Counter(content, model)
    rows: list[CostRow] = []
    uncounted: list[str] = []
    counted: set[int] = set()
    for place, macs in counter.macs(0).items():
        graph = counter.graphs[place.graph]
        op = graph.operators[place.operator]
        row = _row(graph, op, of_one_sample(macs or 0, counter.graphs[0].batch), counted)
        if row.macs or row.params:
            rows.append(row)
        if macs is None:
            uncounted.append(f"{row.name} ({operator_name(model, op)})")
    return CostReport(tuple(rows), tuple(uncounted))


def _row(graph: _Graph, op: OperatorT, macs: int, counted: set[int]) -> CostRow:
    kind = operator_name(graph.model, op)
    product = PRODUCTS.get(kind)
    # The converter joins the names of all that it fused into an operator; the first is the layer's activation or sum.
    name = graph.tensors[op.outputs[0]].name.decode(errors="replace").split(";")[0] if len(op.outputs) else kind
    operands = graph.operands(op)
    params = 0 if kind in UNPACKING else _params(graph, op, product is not None, counted)
    row = CostRow(name, kind.lower(), None, None, None, 1, (operands.output or ())[1:], params, macs)
    if product is None:
        return row
    try:
        window = {} if product.window is None else product.window(operands)
    except TypeError:  # of an image of no known size
        window = {}
    return row._replace(kind=product.name, **window)


def _params(graph: _Graph, op: OperatorT, product: bool, counted: set[int]) -> int:
    """The number of weights that this operator is the first to read; each buffer is counted once."""
    found = 0
    body = option(op, "bodySubgraphIndex")
    inner = None if body is None else graph.model.subgraphs[body]
    for position, index in enumerate(int(i) for i in op.inputs):
        stored = graph.constant(index)
        if stored is None or graph.tensors[stored].buffer in counted:
            continue
        if inner is not None and list(inner.inputs[position:][:1]) != list(inner.outputs[position:][:1]):
            continue  # the first value of a loop's variable
        tensor = graph.tensors[stored]
        bias = product and position >= 2 and type_name(tensor) in ("int32", "int64")
        if bias or type_name(tensor) in PARAMETER_TYPES:
            counted.add(tensor.buffer)
            found += prod(graph.sides(stored))
    return found
