"""Files with their rounding taken out: every stored number is replaced by the real one that it stands for.

Such a file computes in float32 throughout, by the operators, options and connections of the original.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from tfsep._flatbuffer.constants import real_numbers, scales_of
from tfsep._flatbuffer.reader import operator_name, pack, type_name
from tfsep._flatbuffer.schema_types import BufferT, ModelT, OperatorT, SubGraphT, TensorT

_Table = TypeVar("_Table", ModelT, TensorT, OperatorT, SubGraphT)

CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
"""Operators that change how a number is stored, and not the number."""


class TensorPlace(NamedTuple):
    """A tensor of a file.

    Attributes:
        graph: number of its graph; 0 is the main one.
        tensor: its number there.
    """

    graph: int
    tensor: int


class UnroundedFile(NamedTuple):
    """A file without rounding.

    Attributes:
        content: its bytes; tensors have the numbers that they have in the original.
        origin: of each tensor of the main graph that a conversion makes, the tensor that it is made of.
    """

    content: bytes
    origin: Mapping[int, int]

    def tensor(self, number: int) -> int:
        """Return the tensor that holds what a tensor of the original holds."""
        return self.origin.get(number, number)


class SeparateOperators(NamedTuple):
    """A file without rounding that computes every operator of the main graph from given inputs.

    Attributes:
        content: its bytes.
        given: the computed tensors that operators read, by their numbers in the original and in this file.
        made: for each tensor that an operator makes, its number in this file.
    """

    content: bytes
    given: tuple[int, ...]
    made: Mapping[int, int]


def unrounded(model: ModelT, constants: Mapping[TensorPlace, np.ndarray]) -> UnroundedFile:
    """Return a file without rounding and without conversions.

    Args:
        model: the file.
        constants: numbers to store in place of the file's own.
    """
    real = _without_names(model)
    origins = [_origins(model, graph) for graph in model.subgraphs]
    for number, (graph, origin) in enumerate(zip(model.subgraphs, origins, strict=True)):
        part = _copied(graph)
        part.tensors = [
            _real_tensor(tensor, constants.get(TensorPlace(number, place), real_numbers(model, tensor)), real.buffers)
            for place, tensor in enumerate(graph.tensors)
        ]
        part.operators = [_reconnected(op, origin) for op in _computing(model, graph)]
        part.inputs, part.outputs = _mapped(graph.inputs, origin), _mapped(graph.outputs, origin)
        real.subgraphs.append(part)
    return UnroundedFile(pack(real), origins[0])


def unrounded_part(
    model: ModelT,
    constants: Mapping[TensorPlace, np.ndarray],
    operators: Sequence[OperatorT],
    inputs: Sequence[int],
    outputs: Sequence[int],
) -> UnroundedFile:
    """Return a file without rounding of some operators of the main graph.

    Args:
        model: the file.
        constants: numbers to store in place of the file's own.
        operators: the operators, in the file's order.
        inputs: numbers of the tensors that they read and do not make.
        outputs: numbers of the tensors that are wanted.
    """
    whole, graph = _copied(model), _copied(model.subgraphs[0])
    graph.operators, graph.inputs, graph.outputs = list(operators), list(inputs), list(outputs)
    whole.subgraphs = [graph, *model.subgraphs[1:]]
    return unrounded(whole, constants)


def separate_operators(model: ModelT) -> SeparateOperators:
    """Return a file that computes every operator of the main graph on its own, without rounding.

    Operators that keep a state between runs, or run another graph, are left out.
    """
    graph = model.subgraphs[0]
    real, part = _without_names(model), _copied(graph)
    part.tensors = [_real_tensor(tensor, real_numbers(model, tensor), real.buffers) for tensor in graph.tensors]
    computed = {int(i) for i in graph.inputs} | {int(i) for op in graph.operators or [] for i in op.outputs}
    given: set[int] = set()
    made: dict[int, int] = {}
    part.operators = []
    for op in _computing(model, graph):
        if operator_name(model, op) in _STATEFUL or any(_is_state(graph.tensors[i]) for i in op.inputs if i >= 0):
            continue
        given.update(int(i) for i in op.inputs if int(i) in computed)
        apart = _copied(op)
        apart.outputs = []
        for old in map(int, op.outputs):
            made[old] = len(part.tensors)
            apart.outputs.append(len(part.tensors))
            part.tensors.append(_copied(part.tensors[old]))
        part.operators.append(apart)
    part.inputs, part.outputs = sorted(given), list(made.values())
    real.subgraphs.append(part)
    return SeparateOperators(pack(real), tuple(part.inputs), made)


_STATEFUL = ("WHILE", "IF", "CALL_ONCE", "CALL", "STABLEHLO_WHILE", "STABLEHLO_COMPOSITE", "VAR_HANDLE")
"""Operators that run another graph of the file, or make a state."""


def _is_state(tensor: TensorT) -> bool:
    """Whether a tensor keeps numbers between runs."""
    return bool(tensor.isVariable) or type_name(tensor) in ("resource", "variant")


def _copied(table: _Table) -> _Table:
    """A shallow copy of a table of the schema."""
    copy = type(table)()
    vars(copy).update(vars(table))
    return copy


def _without_names(model: ModelT) -> ModelT:
    """A copy of a file without graphs, signatures and metadata."""
    copy = _copied(model)
    copy.buffers, copy.subgraphs = list(model.buffers), []
    copy.signatureDefs = copy.metadata = copy.metadataBuffer = None
    return copy


def _computing(model: ModelT, graph: SubGraphT) -> list[OperatorT]:
    """The operators of a graph that are no conversions."""
    return [op for op in graph.operators or [] if operator_name(model, op) not in CONVERSIONS]


def _origins(model: ModelT, graph: SubGraphT) -> dict[int, int]:
    """Of each tensor that a conversion makes, the tensor that it is made of, behind other conversions too."""
    origin: dict[int, int] = {}
    for op in graph.operators or []:
        if operator_name(model, op) in CONVERSIONS:
            source = int(op.inputs[0])
            origin[int(op.outputs[0])] = origin.get(source, source)
    return origin


def _mapped(numbers: Sequence[int], origin: Mapping[int, int]) -> list[int]:
    return [origin.get(int(number), int(number)) for number in numbers]


def _reconnected(op: OperatorT, origin: Mapping[int, int]) -> OperatorT:
    copy = _copied(op)
    copy.inputs = _mapped(op.inputs, origin)
    return copy


def _real_tensor(tensor: TensorT, values: np.ndarray | None, buffers: list[BufferT]) -> TensorT:
    """A tensor in float32, where the file's stands for real numbers; another one as it is."""
    from ai_edge_litert import schema_py_generated as schema

    copy = _copied(tensor)
    if scales_of(tensor) is None and type_name(tensor) not in ("float16", "float32"):
        return copy
    copy.type, copy.quantization, copy.sparsity = schema.TensorType.FLOAT32, None, None
    if values is not None:
        stored = schema.BufferT()
        stored.data = np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)
        copy.buffer = len(buffers)
        buffers.append(stored)
    return copy
