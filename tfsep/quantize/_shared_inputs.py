"""Operations that take the same tensor of a file."""

from collections.abc import Hashable, Sequence
from itertools import count

from tfsep.quantize._operations import operation_for
from tfsep.quantize._planned_op import PlannedOp


def tensor_of(ops: Sequence[PlannedOp], number: int) -> int:
    """Return the operation whose tensor of the file an operation's result is: itself, or one in front of identities."""
    op = ops[number]
    operation = operation_for(op.layer) if op.kind == "same_qparams" else None
    is_identity = operation is not None and operation.name == "identity"
    return tensor_of(ops, op.sources[0]) if is_identity else number


def tensors_in_float(ops: Sequence[PlannedOp]) -> set[int]:
    """Return the operations whose tensors layers in float32 take."""
    return {tensor_of(ops, source) for op in ops if op.kind == "float" for source in op.sources}


def merged_by(ops: Sequence[PlannedOp], op: PlannedOp) -> Hashable:
    """Return what an operation has in common with those that the converter would merge it with, wholly or in part.

    It is None for an operation that the converter merges with none.
    """
    if op.kind != "operation" or op.operation == "table":
        return None
    sources = tuple(tensor_of(ops, source) for source in op.sources)
    common = op.fused_activation if op.operation == "rectifier" else _COMMON.get(op.operation)
    return (op.operation, sources, repr(dict(op.options)), op.range_of) if common is None else (common, sources[0])


_COMMON = {"prelu": "relu", "gelu": "gelu", "gelu_tanh": "gelu"}
"""Of operations that the converter knows by several operators: one that it would merge with that of another one."""


def places_on_inputs(ops: Sequence[PlannedOp]) -> tuple[int, ...]:
    """Return the place of each operation's layer, which no other layer with weights on one of its inputs has.

    Other operations have place 0.
    """
    inputs: dict[int, set[int]] = {}
    for op in ops:
        if op.kind == "matmul":
            inputs.setdefault(id(op.layer), set()).add(tensor_of(ops, op.sources[0]))
    places: dict[int, int] = {}
    for layer, own in inputs.items():
        taken = {place for other, place in places.items() if own & inputs[other]}
        places[layer] = next(place for place in count() if place not in taken)
    return tuple(places.get(id(op.layer), 0) for op in ops)
