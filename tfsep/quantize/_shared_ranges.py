"""Which results of a prepared model share their range, and so their quantization parameters."""

from tfsep.quantize._operations import OPERATIONS
from tfsep.quantize._planned_op import PlannedOp


def shared_ranges(ops: tuple[PlannedOp, ...]) -> tuple[int, ...]:
    """Return, for each operation, the number of the first one that shares its range.

    Layers that keep quantization parameters share those of all their inputs: a concatenation joins its sources.

    Raises:
        ValueError: if ranges that are fixed, or limited, differently would be shared.
    """
    parent = list(range(len(ops)))

    def root(number: int) -> int:
        while parent[number] != number:
            number = parent[number]
        return number

    for number, op in enumerate(ops):
        if op.kind in ("same_qparams", "average_pooling") or op.operation == "rectifier":
            for source in op.sources:
                low, high = sorted((root(source), root(number)))
                parent[high] = low
    ranges = tuple(root(number) for number in range(len(ops)))
    limits: dict[int, tuple[float, float] | float | None] = {}
    for op, range_ in zip(ops, ranges, strict=True):
        if op.has_range and op.operation != "rectifier":
            own = OPERATIONS[op.operation].fixed_range or op.max_value
            if limits.setdefault(range_, own) != own:
                raise ValueError(
                    f"model: expected results that can share quantization parameters where they are concatenated, got "
                    f"those of {op.layer_name!r}, whose range is {_shown(own)}, where another's is "
                    f"{_shown(limits[range_])}: float_layers leaves a layer in float32"
                )
    return ranges


def _shown(limits: tuple[float, float] | float | None) -> str:
    if limits is None:
        return "free"
    return f"[{limits[0]}, {limits[1]}]" if isinstance(limits, tuple) else f"at most {limits}"
