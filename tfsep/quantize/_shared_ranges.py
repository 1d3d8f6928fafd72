"""Which results of a prepared model share their range, and so their quantization parameters."""

from tfsep.quantize._operations import OPERATIONS
from tfsep.quantize._planned_op import PlannedOp


class RangesDiffer(Exception):
    """Results that cannot share a range, as their ranges are fixed or limited differently.

    Attributes:
        op: the number of the operation that would join them.
    """

    def __init__(self, op: int, message: str) -> None:
        self.op = op
        super().__init__(message)


def shared_ranges(ops: tuple[PlannedOp, ...]) -> tuple[int, ...]:
    """Return, for each operation, the number of the first one that shares its range.

    Layers that keep quantization parameters share those of all their inputs: a concatenation joins its sources.

    Raises:
        RangesDiffer: if ranges that are fixed, or limited, differently would be shared.
    """
    parent = list(range(len(ops)))
    limits = [(OPERATIONS[op.operation].fixed_range or op.max_value) if op.has_range else _SHARED for op in ops]

    def root(number: int) -> int:
        while parent[number] != number:
            number = parent[number]
        return number

    for number, op in enumerate(ops):
        if op.kind in ("same_qparams", "average_pooling") or op.operation == "rectifier" or op.range_of is not None:
            limits[number] = _SHARED
            for source in op.sources if op.range_of is None else (op.range_of,):
                low, high = sorted((root(source), root(number)))
                first, other = limits[low], limits[high]
                if first != other and _SHARED not in (first, other):
                    raise RangesDiffer(number, f"ranges that differ, {_shown(first)} and {_shown(other)}")
                parent[high], limits[low] = low, other if first == _SHARED else first
    return tuple(root(number) for number in range(len(ops)))


_SHARED = "that of its sources"
"""The limits of an operation without a range of its own."""


def _shown(limits: tuple[float, float] | float | str | None) -> str:
    if limits is None:
        return "free"
    return f"[{limits[0]}, {limits[1]}]" if isinstance(limits, tuple) else f"at most {limits}"
