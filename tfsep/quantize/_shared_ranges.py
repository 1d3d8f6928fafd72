"""Which results of a prepared model share their range, and so their quantization parameters."""

from tfsep.quantize._operations import OPERATIONS
from tfsep.quantize._planned_op import PlannedOp


class RangesDiffer(Exception):
    """Results that cannot share a range, as their ranges are fixed or limited differently.

    Attributes:
        op: the number of the operation that would join them.
        places: those of its sources whose ranges are fixed or limited.
    """

    def __init__(self, op: int, places: list[int]) -> None:
        self.op, self.places = op, places
        super().__init__()


def shared_ranges(ops: tuple[PlannedOp, ...]) -> tuple[int, ...]:
    """Return, for each operation, the number of the first one that shares its range.

    Layers that keep quantization parameters share those of all their inputs: a concatenation joins its sources.

    Raises:
        RangesDiffer: if ranges that are fixed, or limited, differently would be shared.
    """
    parent = list(range(len(ops)))
    limits = [(OPERATIONS[op.operation].fixed_range or op.max_value) if op.has_range else _SHARED for op in ops]
    keeping = [op.kind in ("same_qparams", "average_pooling") or _keeps_range(op) for op in ops]

    def root(number: int) -> int:
        while parent[number] != number:
            number = parent[number]
        return number

    for number, op in enumerate(ops):
        if keeping[number] or op.range_of is not None:
            limits[number] = _SHARED
            sources = op.sources if op.range_of is None else (op.range_of,)
            own = [limits[root(source)] for source in sources]
            if len(set(own)) > 1:
                raise RangesDiffer(number, [place for place, limit in enumerate(own) if limit is not None])
            for source in sources:
                low, high = sorted((root(source), root(number)))
                parent[high], limits[low] = low, own[0]
    return tuple(root(number) for number in range(len(ops)))


def _keeps_range(op: PlannedOp) -> bool:
    return op.has_range and OPERATIONS[op.operation].keeps_range


_SHARED = "that of its sources"
"""The limits of an operation without a range of its own."""
