"""Comparison of the weights that a file stores with those of its model.

A small error of a weight changes outputs no more than rounding does, but shows in the stored numbers. The model's
weights are taken from its conversion in float32, which folds normalization into the kernels like every recipe, and does
not round.
"""

from math import inf
from typing import NamedTuple

import numpy as np

from tfsep._flatbuffer.constants import real_numbers, scales_of
from tfsep._flatbuffer.reader import type_name
from tfsep._flatbuffer.schema_types import ModelT, TensorT

_SLACK = 1e-5
"""Share of a tensor's largest number by which float32 arithmetic may differ between machines."""


class Weight(NamedTuple):
    """A constant that an operator reads.

    Attributes:
        name: name in its file.
        values: values as real numbers.
        rounding: the largest error of each number from storing it in the file's type.
    """

    name: str
    values: np.ndarray
    rounding: np.ndarray | float


class WeightComparison(NamedTuple):
    """Result of comparing weights.

    Attributes:
        compared: number of the model's weight tensors.
        error: largest error of a weight, in units of its rounding; infinite where the file has none of its shape.
        name: name of that weight.
    """

    compared: int
    error: float
    name: str


def stored_weights(model: ModelT) -> list[Weight]:
    """Return the constants that the operators of a file's main graph read, without shapes and indices."""
    graph = model.subgraphs[0]
    read = sorted({int(index) for op in graph.operators or [] for index in op.inputs if index >= 0})
    found = (_weight(model, graph.tensors[index]) for index in read)
    return [weight for weight in found if weight is not None]


def _weight(model: ModelT, tensor: TensorT) -> Weight | None:
    values, scales = real_numbers(model, tensor), scales_of(tensor)
    if values is None:
        return None
    name = tensor.name.decode(errors="replace").split(";")[0]
    if scales is None:
        # Half of the last of float16's 11 bits, or of its smallest step.
        half = np.maximum(np.abs(values) * 2.0**-11, 2.0**-25)
        return Weight(name, values, half if type_name(tensor) == "float16" else 0.0)
    return Weight(name, values, scales.scale / 2)


def compare_weights(reference: list[Weight], stored: list[Weight]) -> WeightComparison:
    """Compare each weight of a model with the nearest one of its shape in a file."""
    by_shape: dict[tuple[int, ...], list[Weight]] = {}
    for weight in stored:
        by_shape.setdefault(weight.values.shape, []).append(weight)
    errors = [min((_error(w, other) for other in by_shape.get(w.values.shape, [])), default=inf) for w in reference]
    worst = max(range(len(errors)), key=errors.__getitem__, default=None)
    if worst is None:
        return WeightComparison(0, 0.0, "")
    return WeightComparison(len(errors), errors[worst], reference[worst].name)


def _error(weight: Weight, stored: Weight) -> float:
    """The largest difference, in units of the rounding."""
    allowed = stored.rounding + _SLACK * np.abs(weight.values).max(initial=0.0)
    difference = np.abs(stored.values - weight.values)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(difference == 0, 0.0, difference / allowed)
    return float(np.nan_to_num(ratio, nan=inf, posinf=inf).max(initial=0.0))
