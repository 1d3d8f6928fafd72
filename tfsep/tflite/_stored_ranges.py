"""Ranges that a file stores of its tensors, beside the numbers that these have in the model."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from tfsep._flatbuffer.constants import scales_of
from tfsep._flatbuffer.reader import operator_name, type_name
from tfsep._flatbuffer.schema_types import ModelT, OperatorT
from tfsep.tflite._litert_model import LiteRTModel

_FIXED_SCALES = ("LOGISTIC", "SOFTMAX", "LOG_SOFTMAX", "TANH", "L2_NORMALIZATION")
"""Operators whose result has a scale that TFLite prescribes."""
_TABLES = ("EXP", "LOG", "RSQRT")
"""Operators that are straight lines between the numbers of a table in int16."""
_TABLE = 513
_CLIPPING = (
    *("MINIMUM", "MAXIMUM", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "SELECT", "SELECT_V2"),
    *("REDUCE_MAX", "REDUCE_MIN", "MAX_POOL_2D"),
    *("RESHAPE", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "SPLIT", "SPLIT_V", "UNPACK", "GATHER"),
)
"""Operators whose results are the same of numbers that are cut off to their range."""
_ONE_SCALE = (*_CLIPPING, "AVERAGE_POOL_2D", "CONCATENATION", "PACK")
"""Operators whose result may have prescribed the scale of what they take."""
_SMALL_SIDE = 1 / 8
"""Least share of a stored range that one of its sides counts as."""
_FURTHER = (np.minimum, np.maximum)
"""Which of two lower ends, and of two upper ones, is the further."""
_PAST = (1.05, 1.2)
"""How far numbers of a sample reach that goes past a range: past what rounding explains, and far past it."""
_MOST_CALIBRATED = 256
"""Most samples that the ranges are taken to be those of: data are never quite like those of calibration."""


class RangeFindings(NamedTuple):
    """The tensors whose stored ranges are least like the model's.

    Attributes:
        reach: how far the numbers of a tensor in integers reach in the model, as a share of the range that the file
            stores on their side of zero: median over the samples, of the tensor that reaches furthest.
        reaching: name and ranges of that tensor.
        chance: how likely it is that of samples like those of calibration as many go past the range of a tensor as do,
            judged by how many go past those of the others; of the tensor where it is least.
        cut: name and ranges of that tensor.
        use: the largest such share in any sample, of the tensor that uses least of its range.
        unused: name and ranges of that tensor.
        shared: how much of the numbers of a tensor lies past a range that TFLite prescribes, as a pooling or a
            concatenation has one for what it takes and its result; share of the distance of their extremes, of the
            tensor where it is most.
        sharing: name of the operator, and name and ranges of that tensor.
    """

    reach: float = 1.0
    reaching: str = ""
    chance: float = 1.0
    cut: str = ""
    use: float = 1.0
    unused: str = ""
    shared: float = 0.0
    sharing: str = ""


class Integers(NamedTuple):
    """A tensor of integers with one scale.

    Attributes:
        operator: operator that makes it.
        name: its name.
        low: smallest number that it can store.
        high: largest one.
        step: distance of two neighbours.
        has_fixed_scale: whether an operator prescribes its scale, whatever the numbers: the one that makes it, or the
            concatenations that read it.
    """

    operator: str
    name: str
    low: float
    high: float
    step: float
    has_fixed_scale: bool

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest number."""
        return self.low, self.high

    @property
    def title(self) -> str:
        """The operator and the tensor, and how LiteRT computes it, where it does not by rounding alone."""
        is_table = self.operator in _TABLES and self.high - self.low > 2**8 * self.step
        table = f", which LiteRT computes in int16 from a table of {_TABLE} numbers" if is_table else ""
        return f"{self.operator} of {self.name!r}{table}"


def computed_integers(model: ModelT) -> dict[int, Integers]:
    """The integers that operators of the main graph make, by number of the tensor."""
    graph, found = model.subgraphs[0], {}
    readers = _readers(model)
    for op in graph.operators or []:
        for number in map(int, op.outputs):
            tensor = graph.tensors[number]
            scales = scales_of(tensor)
            if scales is not None and scales.scale.size == 1:
                step, zero = float(scales.scale.squeeze()), float(scales.zero.squeeze())
                stored, name = np.iinfo(type_name(tensor)), tensor.name.decode(errors="replace").split(";")[0]
                limits = (stored.min - zero) * step, (stored.max - zero) * step
                kind = operator_name(model, op)
                is_fixed = kind in _FIXED_SCALES or _is_joined(model, number, readers.get(number, []))
                found[number] = Integers(kind, name, *limits, step, is_fixed)
    return found


def _readers(model: ModelT) -> dict[int, list[OperatorT]]:
    """The operators that read each tensor of the main graph."""
    readers: dict[int, list[OperatorT]] = {}
    for op in model.subgraphs[0].operators or []:
        for number in op.inputs:
            readers.setdefault(int(number), []).append(op)
    return readers


def _is_joined(model: ModelT, number: int, readers: Sequence[OperatorT]) -> bool:
    """Whether a tensor is only ever a part of a larger one, whose scale it has."""
    tensors = model.subgraphs[0].tensors
    return bool(readers) and all(
        operator_name(model, op) == "CONCATENATION"
        and np.array_equal(tensors[op.outputs[0]].quantization.scale, tensors[number].quantization.scale)
        for op in readers
    )


def _prescribed_tensors(model: ModelT) -> dict[int, tuple[str, int]]:
    """Of each tensor of the main graph with the scale of what is made of it, the operator that makes that, and that."""
    tensors = model.subgraphs[0].tensors

    def scale(number: int) -> list[list[float]] | None:
        scales = scales_of(tensors[number])
        return None if scales is None else [np.ravel(each).tolist() for each in scales]

    return {
        number: (operator_name(model, op), int(op.outputs[0]))
        for number, ops in _readers(model).items()
        for op in ops
        if operator_name(model, op) in _ONE_SCALE and scale(number) == scale(int(op.outputs[0])) is not None
    }


def _clipped_tensors(model: ModelT) -> dict[int, list[int]]:
    """Of each tensor of the main graph that only clipping operators read, their results."""
    graph = model.subgraphs[0]
    return {
        number: [int(result) for op in ops for result in op.outputs]
        for number, ops in _readers(model).items()
        if number not in graph.outputs and all(operator_name(model, op) in _CLIPPING for op in ops)
    }


def reach(low: Any, high: Any, stored_low: float, stored_high: float) -> Any:
    """Return how far numbers reach, as a share of the range that is stored on their side of zero; arrays or numbers."""
    # Of a range that lies on one side of zero, the other end is no measure.
    least = _SMALL_SIDE * (stored_high - stored_low)
    return np.maximum(high / max(stored_high, least), -low / max(-stored_low, least))


def _chance(past: int, samples: int, calibrated: float) -> float:
    """How likely so many of some samples, or more, go past the furthest of `calibrated` others of their kind."""
    others = np.arange(past)
    return float(np.prod((samples - others) / (samples + calibrated - others)))


class RangeErrors:
    """The numbers that tensors have in the file without rounding, beside those that the file can store."""

    def __init__(self, file: LiteRTModel) -> None:
        self._tensors, self._clipped = computed_integers(file.flatbuffer), _clipped_tensors(file.flatbuffer)
        self._prescribed = _prescribed_tensors(file.flatbuffer)
        self._batch = file.batch_size
        self._seen: dict[int, list[np.ndarray]] = {number: [] for number in self._tensors}

    def add(self, value: Callable[[int], np.ndarray], count: int) -> None:
        """Add a batch, whose first samples count; `value` returns a tensor by its number in the file."""
        known: dict[int, np.ndarray] = {}
        for number, seen in self._seen.items():
            seen.append(self._needed(number, value, known)[:, :count])

    def _needed(self, number: int, value: Callable[[int], np.ndarray], known: dict[int, np.ndarray]) -> np.ndarray:
        """The extremes (2, samples) of a tensor, without numbers that the next operators cut off anyway.

        A tensor that has no row for each sample is as that of one.
        """
        if number not in known:
            numbers = value(number)
            rows = self._batch if numbers.shape[:1] == (self._batch,) else 1
            numbers = np.where(np.isfinite(numbers), numbers, 0.0).reshape(rows, -1)
            extremes = np.stack([numbers.min(axis=1, initial=0.0), numbers.max(axis=1, initial=0.0)])
            results = [self._needed(result, value, known) for result in self._clipped.get(number, ())]
            if results:
                least, most = (reduce(pick, (r[side] for r in results)) for side, pick in enumerate(_FURTHER))
                extremes = np.stack(np.broadcast_arrays(np.maximum(extremes[0], least), np.minimum(extremes[1], most)))
            known[number] = extremes
        return known[number]

    def worst(self, input_reach: float) -> RangeFindings:
        """Return the tensors that reach furthest, that are least likely cut off by chance, and that use least.

        Args:
            input_reach: how far the inputs reach: larger ones, cut off as they are, make larger numbers.
        """
        reaches = {}
        for number, integers in self._tensors.items():
            low, high = np.concatenate(self._seen[number], axis=1)
            reaches[number] = reach(low, high, *integers.limits)
        reaches = {number: each for number, each in reaches.items() if each.max(initial=0.0) > 0}
        if not reaches:
            return RangeFindings()
        judged = {number: each for number, each in reaches.items() if number not in self._prescribed} or reaches
        furthest = max(judged, key=lambda number: float(np.median(judged[number])))
        chances = _chances(judged, input_reach)
        cut = min(chances, key=chances.__getitem__)
        free = [number for number in reaches if not self._tensors[number].has_fixed_scale]
        least = min(free, key=lambda number: float(reaches[number].max()), default=None)
        others = {number: self._cut_by_result(number) for number in reaches if number not in judged}
        shared = max(others, key=others.__getitem__, default=None)
        return RangeFindings(
            reach=float(np.median(judged[furthest])),
            reaching=self._ranges(furthest),
            chance=chances[cut],
            cut=self._ranges(cut),
            use=1.0 if least is None else float(reaches[least].max()),
            unused="" if least is None else self._ranges(least),
            shared=0.0 if shared is None else others[shared],
            sharing="" if shared is None else self._sharing(shared),
        )

    def _sharing(self, number: int) -> str:
        return f"{self._prescribed[number][0]} gives its range to {self._ranges(number)}"

    def _cut_by_result(self, number: int) -> float:
        """The share of a tensor's numbers past its range, but for what calibration missed: the result's share."""
        return self._share_past(number) - self._share_past(self._prescribed[number][1])

    def _share_past(self, number: int) -> float:
        """The part of the distance between a tensor's extremes that lies past its stored range."""
        stored, seen = self._tensors[number], np.concatenate(self._seen[number], axis=1)
        low, high = float(seen[0].min()), float(seen[1].max())
        return (max(stored.low - low, 0.0) + max(high - stored.high, 0.0)) / max(high - low, stored.step)

    def _ranges(self, number: int) -> str:
        stored, seen = self._tensors[number], np.concatenate(self._seen[number], axis=1)
        return (
            f"{stored.name[-80:]} from {stored.low:.4g} to {stored.high:.4g} in the file, "
            f"from {seen[0].min():.4g} to {seen[1].max():.4g} in the model"
        )


def _chances(reaches: Mapping[int, np.ndarray], input_reach: float) -> dict[int, float]:
    """How likely it is by chance that so many samples go past the range of each tensor.

    All ranges are those of the same calibration. How many samples that had, nothing says; but of n, the furthest is
    passed by one in n + 1 others, and the share that passes the ranges of the other tensors is known.
    """
    found = dict.fromkeys(reaches, 1.0)
    for limit in _PAST:
        past = {number: each > limit * input_reach for number, each in reaches.items()}
        total, count = sum(int(each.sum()) for each in past.values()), sum(each.size for each in past.values())
        for number, each in past.items():
            others = (total - each.sum() + 1) / (count - each.size + 2)
            calibrated = min(1 / others - 1, _MOST_CALIBRATED)
            found[number] = min(found[number], _chance(int(each.sum()), each.size, calibrated))
    return found
