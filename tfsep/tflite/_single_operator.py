"""Files of single operators, to be timed one by one."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from tfsep._flatbuffer.constants import is_stored, unpacked_constants
from tfsep._flatbuffer.reader import graphs_run_by, operator_name, pack, type_name
from tfsep._flatbuffer.schema_types import BufferT, ModelT, OperatorT, SubGraphT, TensorT

_Table = TypeVar("_Table", TensorT, OperatorT)


def single_operators(model: ModelT, sizes: Mapping[int, np.ndarray]) -> dict[int, bytes]:
    """Return a file of each operator of a model's main graph, by its number.

    An operator's constants are part of its file, packed weights together with the operators that unpack them; so are
    sizes, as other numbers would be none for its inputs. Computed tensors are its inputs. Operators that only read
    constants and sizes are left out, as LiteRT runs them once, or they take no time. The other graphs of the file are
    part of it where the operator runs one, as a loop does, or has a resource, together with what makes and fills that.

    Args:
        model: the file.
        sizes: sizes that operators compute, by tensor.
    """
    graph = model.subgraphs[0]
    unpacked = unpacked_constants(model, graph)
    unpacking = {int(op.outputs[0]): op for op in graph.operators if len(op.outputs) and int(op.outputs[0]) in unpacked}
    handles = {
        i: op for op in graph.operators for i in map(int, op.outputs) if type_name(graph.tensors[i]) == "resource"
    }
    once = [op for op in graph.operators if operator_name(model, op) == "CALL_ONCE"]
    files = {}
    for number, op in enumerate(graph.operators):
        if any(op is other for other in unpacking.values()):
            continue
        made = [handles[i] for i in dict.fromkeys(map(int, op.inputs)) if i in handles]
        before = [*once, *made] if made or graphs_run_by(op) else []
        steps = [*before, *(step for i in op.inputs for step in _unpacking_of(int(i), unpacking)), op]
        content = _file_of(model, graph, steps, sizes)
        if content is not None:
            files[number] = content
    return files


def _unpacking_of(tensor: int, unpacking: dict[int, OperatorT]) -> list[OperatorT]:
    """The operators that make a tensor out of a constant, in their order."""
    steps: list[OperatorT] = []
    while tensor in unpacking:
        steps.insert(0, unpacking[tensor])
        tensor = int(steps[0].inputs[0])
    return steps


def _file_of(model: ModelT, graph: SubGraphT, steps: list[OperatorT], sizes: Mapping[int, np.ndarray]) -> bytes | None:
    """A file that runs these operators, or None if they have no computed input."""
    from ai_edge_litert import schema_py_generated as schema

    made = {int(i) for op in steps for i in op.outputs}
    used = list(dict.fromkeys(int(i) for op in steps for i in (*op.inputs, *op.outputs) if i >= 0))
    given = [i for i in used if i not in made and i not in sizes and not is_stored(model, graph.tensors[i])]
    if not given and all(type_name(graph.tensors[i]) != "resource" for i in steps[-1].inputs if i >= 0):
        return None
    place = {old: new for new, old in enumerate(used)}
    small = schema.ModelT()
    small.version = model.version
    others = model.subgraphs[1:] if any(graphs_run_by(op) for op in steps) else []
    small.buffers = [schema.BufferT(), *(model.buffers[1:] if others else [])]
    small.operatorCodes = model.operatorCodes if others else [model.operatorCodes[op.opcodeIndex] for op in steps]
    part = schema.SubGraphT()
    known = {i: size for i, size in sizes.items() if i not in made}
    part.tensors = [_copied_tensor(model, graph.tensors[i], known.get(i), small.buffers) for i in used]
    part.inputs, part.outputs = [place[i] for i in given], [place[int(i)] for i in steps[-1].outputs]
    codes = [op.opcodeIndex for op in steps] if others else range(len(steps))
    part.operators = [_renumbered_operator(op, code, place) for op, code in zip(steps, codes, strict=True)]
    small.subgraphs = [part, *others]
    return pack(small)


def _copied_tensor(model: ModelT, tensor: TensorT, size: np.ndarray | None, buffers: list[BufferT]) -> TensorT:
    """A copy of a tensor with its stored numbers, or a size, appended to buffers, of which the first is empty."""
    copy = _copy(tensor)
    copy.buffer = 0
    if size is not None or is_stored(model, tensor):
        stored = model.buffers[tensor.buffer]
        if size is not None:
            stored = type(stored)()
            stored.data = np.frombuffer(size.tobytes(), np.uint8)
        copy.buffer = len(buffers)
        buffers.append(stored)
    return copy


def _renumbered_operator(op: OperatorT, code: int, place: dict[int, int]) -> OperatorT:
    copy = _copy(op)
    copy.opcodeIndex = code
    copy.inputs = [place.get(int(i), -1) for i in op.inputs]
    copy.outputs = [place[int(i)] for i in op.outputs]
    return copy


def _copy(table: _Table) -> _Table:
    copy = type(table)()
    vars(copy).update(vars(table))
    return copy
