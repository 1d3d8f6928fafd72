"""Comparison of the weights that a file stores with those of its model.

A small error of a weight changes outputs no more than rounding does, but shows in the stored numbers. The model's
weights are taken from its conversion in float32, which folds normalization into the kernels like every recipe, and does
not round.
"""

from math import inf
from typing import NamedTuple

import numpy as np

from tfsep._flatbuffer.constants import real_numbers, scales_of
from tfsep._flatbuffer.reader import operator_name, type_name
from tfsep._flatbuffer.schema_types import ModelT, SubGraphT
from tfsep.tflite._mask_corrections import MASK
from tfsep.tflite._real_numbers import CONVERSIONS, TensorPlace

_SLACK = 1e-5
"""Share of a tensor's largest number by which float32 arithmetic may differ between machines."""
_CLIPPING = ("MINIMUM", "MAXIMUM")
"""Operators whose constant is a bound."""
_SAMPLE = 512
"""Numbers by which most pairs of weights that do not correspond are told apart."""


class Weight(NamedTuple):
    """A constant that an operator reads.

    Attributes:
        place: where it is in its file.
        name: name in its file.
        values: values as real numbers.
        rounding: the largest error of each number from storing it in the file's type.
        limits: smallest and largest number that the file's type can store.
        is_bound: whether it is only ever a bound to which other numbers are clipped.
    """

    place: TensorPlace
    name: str
    values: np.ndarray
    rounding: np.ndarray | float
    limits: tuple[np.ndarray | float, np.ndarray | float]
    is_bound: bool


class WeightComparison(NamedTuple):
    """Result of comparing weights.

    Attributes:
        compared: number of the model's weight tensors.
        error: largest error of a weight, in units of its rounding; infinite where the file has none of its shape. A
            number past the range of the file's type has to be the nearest one that the type stores.
        name: name of that weight.
        numbers: for each constant of the file, the model's numbers that it stands for. A number past the range of the
            type is left as the file has it, unless it is a bound, which clips nothing in either.
        saturated: names of the model's weights with such numbers.
        unknown: names of the constants in which the file has numbers that are none of the model's.
    """

    compared: int
    error: float
    name: str
    numbers: dict[TensorPlace, np.ndarray]
    saturated: tuple[str, ...]
    unknown: tuple[str, ...]


def stored_weights(model: ModelT) -> list[Weight]:
    """Return the constants that the operators of a file read, without shapes and indices."""
    return [
        weight
        for number, graph in enumerate(model.subgraphs)
        for tensor, readers in sorted(_readers(model, graph).items())
        if (weight := _weight(model, TensorPlace(number, tensor), readers)) is not None
    ]


def _readers(model: ModelT, graph: SubGraphT) -> dict[int, set[str]]:
    """The operators that read each tensor, through conversions too, by name."""
    readers: dict[int, set[str]] = {}
    for op in reversed(graph.operators or []):
        name = operator_name(model, op)
        through = readers.get(int(op.outputs[0]), set()) if name in CONVERSIONS else {name}
        for index in op.inputs:
            if index >= 0:
                readers.setdefault(int(index), set()).update(through)
    return readers


def _weight(model: ModelT, place: TensorPlace, readers: set[str]) -> Weight | None:
    tensor = model.subgraphs[place.graph].tensors[place.tensor]
    values, scales, kind = real_numbers(model, tensor), scales_of(tensor), type_name(tensor)
    if values is None:
        return None
    name = tensor.name.decode(errors="replace").split(";")[0]
    is_bound = bool(readers) and readers <= set(_CLIPPING)
    if scales is not None:
        stored = np.iinfo(kind)
        limits = tuple((edge - scales.zero) * scales.scale for edge in (stored.min, stored.max))
        return Weight(place, name, values, scales.scale / 2, limits, is_bound)
    largest = float(np.finfo(kind).max)
    # Half of the last of float16's 11 bits, or of its smallest step.
    half = np.maximum(np.abs(values) * 2.0**-11, 2.0**-25) if kind == "float16" else 0.0
    return Weight(place, name, values, half, (-largest, largest), is_bound)


def compare_weights(reference: list[Weight], stored: list[Weight]) -> WeightComparison:
    """Compare each weight of a model with the nearest one of its shape in a file, and the other way round."""
    by_shape: dict[tuple[int, ...], list[Weight]] = {}
    for weight in stored:
        by_shape.setdefault(weight.values.shape, []).append(weight)
    # Of each of the file's constants, the nearest of the model's weights, its error, and its distance: bounds that the
    # type cuts off are all of no error.
    nearest: dict[TensorPlace, tuple[float, float, Weight]] = {}
    errors, saturated = [], []
    for weight in reference:
        alike = by_shape.get(weight.values.shape, [])
        likely = [other for other in alike if _error(weight, other, _SAMPLE) <= 1] or alike
        found = [(_error(weight, other), other) for other in likely]
        for error, other in found:
            distance = _distance(weight, other) if error <= 1 else inf
            if (error, distance) < nearest.get(other.place, (inf, inf))[:2]:
                nearest[other.place] = error, distance, weight
        error, closest = min(found, key=lambda pair: pair[0], default=(inf, None))
        if error > 1 and weight.values.size == 1 and _may_differ(weight):
            error, closest = 0.0, None
        errors.append(error)
        if closest is not None and not closest.is_bound and _is_past(weight, closest).any():
            saturated.append(weight.name)
    numbers = {
        other.place: _numbers(nearest[other.place][-1], other)
        for other in stored
        if nearest.get(other.place, (inf,))[0] <= 1
    }
    unknown = tuple(other.name for other in stored if other.place not in numbers and other.values.size)
    worst = max(range(len(errors)), key=errors.__getitem__, default=None)
    if worst is None:
        return WeightComparison(0, 0.0, "", numbers, (), unknown)
    return WeightComparison(len(errors), errors[worst], reference[worst].name, numbers, tuple(saturated), unknown)


def _may_differ(weight: Weight) -> bool:
    """Whether one number may be missing: a 0 that is added, or compared with, is often left out, a mask replaced."""
    return bool(not weight.values.any() or np.abs(weight.values).min() >= -MASK)


def _distance(weight: Weight, stored: Weight) -> float:
    """The largest difference from what a file stores."""
    return float(np.abs(weight.values - stored.values).max(initial=0.0))


def _is_past(weight: Weight, stored: Weight) -> np.ndarray:
    """Where the model's numbers are past what the file's type stores, by more than rounding."""
    low, high = stored.limits
    return (weight.values < low - stored.rounding) | (weight.values > high + stored.rounding)


def _numbers(weight: Weight, stored: Weight) -> np.ndarray:
    """The model's numbers, and the file's where those are past its type."""
    values = np.where(_is_mask(weight, stored), stored.values, weight.values)
    return values if stored.is_bound else np.where(_is_past(weight, stored), stored.values, values)


def _is_mask(weight: Weight, stored: Weight) -> np.ndarray:
    """Where a tensor has a mask beside other numbers, which the file has a nearer one for."""
    masked = weight.values <= MASK
    return masked & bool(not masked.all() and np.min(stored.values, initial=0.0) > MASK)


def _error(weight: Weight, stored: Weight, count: int | None = None) -> float:
    """The largest difference, in units of the rounding; of the first numbers only, where a count is given."""
    values = np.where(_is_mask(weight, stored), stored.values, weight.values)
    slack = _SLACK * np.abs(values).max(initial=0.0)
    parts = (values, stored.values, stored.rounding, *stored.limits)
    ours, theirs, rounding, low, high = (np.broadcast_to(part, values.shape).reshape(-1)[:count] for part in parts)
    past = (ours < low - rounding) | (ours > high + rounding)
    allowed = rounding + np.where(past, _SLACK * np.abs(theirs), slack)
    difference = np.abs(theirs - np.where(past, np.clip(ours, low, high), ours))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(difference == 0, 0.0, difference / allowed)
    return float(np.nan_to_num(ratio, nan=inf, posinf=inf).max(initial=0.0))
