"""Which results of a quantized model share a grid."""

from typing import Any

from tfsep.quantize._operations import OPERATIONS
from tfsep.quantize._planned_op import Step


def groups_of(steps: tuple[Step, ...]) -> tuple[int, ...]:
    """Return the first of the steps that share each one's grid: through layers that keep it, into concatenations.

    Raises:
        ValueError: if ranges that differ would have to be shared.
    """
    first = list(range(len(steps)))

    def root(number: int) -> int:
        while first[number] != number:
            number = first[number]
        return number

    for number, step in enumerate(steps):
        if step.kind in ("keep", "average") or step.operation == "clip":
            for source in step.sources:
                low, high = sorted((root(source), root(number)))
                first[high] = low
    groups = tuple(root(number) for number in range(len(steps)))
    ranges: dict[int, Any] = {}
    for step, group in zip(steps, groups, strict=True):
        if step.kind in ("operation", "linear") and step.operation != "clip":
            own = OPERATIONS[step.operation].range or step.limit
            if ranges.setdefault(group, own) != own:
                raise ValueError(
                    f"model: expected results that can share a grid where they are concatenated, got that of "
                    f"{step.layer_name!r}, whose range is {_shown(own)}, where another's is {_shown(ranges[group])}: "
                    "float_layers leaves a layer in float32"
                )
    return groups


def _shown(ends: Any) -> str:
    if ends is None:
        return "free"
    return f"[{ends[0]}, {ends[1]}]" if isinstance(ends, tuple) else f"at most {ends}"
