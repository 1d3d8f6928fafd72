"""Errors of an output channel by channel, in sums of which the size does not depend on the amount of data."""

from collections.abc import Sequence
from heapq import nlargest
from math import inf, prod
from typing import Any, NamedTuple, Self

import numpy as np

from tfsep.tflite._tensor_info import TensorInfo

MOST_CHANNELS = 8
"""Channels that a report names."""
_MOST_NUMBERS = 2**22
"""Numbers of an output that are taken at once: maps of a batch of images may be large."""
_MOST_ELEMENTS = 256
"""Largest output of which each element is judged on its own as well."""
_ENOUGH, _FEW = 8, 4
"""Numbers of a channel from which on a file's constant is no chance, and from which on it is none within a quarter of a
step: of a channel whose deviation is two steps, 4 numbers are that close in 5 of 10,000 cases."""
_LAST_PLACE = 2.0**-23
_FEW_LAST_PLACES, _MANY_LAST_PLACES = 4 * _LAST_PLACE, 128 * _LAST_PLACE
"""Shares of a channel's size by which float32 rounds it: in a sum, and in some tens of layers."""
_NOISE = 4
"""How many times the noise of one float32 computation another one may have."""
_AMPLIFIED = 16
"""How many times what rounding of the inputs makes of an output, rounding in all layers may make of it."""
_LAST_PLACES = 16 * _LAST_PLACE
"""Share of its size by which a constant channel varies from rounding in float32."""
_MOST_NOISE = 4
"""How many times its noise a channel that varies exceeds; one of noise alone is at one to two times."""
_PROBABILITY = 1e-3
"""Largest difference from 1 of the sum of a row of probabilities."""


class ChannelError(NamedTuple):
    """One channel of an output: the file beside the model.

    Attributes:
        output: name of the output.
        place: the channel as an index, ``"[..., 2]"`` or ``"[:, 2]"``; ``"[:, 1, 0]"`` for an element.
        error: RMS of ``file − model`` over the channel's own standard deviation in the model. For a channel that does
            not vary, over a hundredth of its size or, where that is larger, the deviation of the output; as it is where
            the whole output is 0.
        rounding: what rounding of the output alone may add: half a step, or some last places of float32, over the same.
        model_low: smallest number of the model.
        model_high: largest number of the model.
        file_low: smallest number of the file.
        file_high: largest number of the file.
        step: distance of two numbers that the file can tell apart; 0 for floats.
        dead: whether the channel varies in the model and is constant in the file.
    """

    output: str
    place: str
    error: float
    rounding: float
    model_low: float
    model_high: float
    file_low: float
    file_high: float
    step: float
    dead: bool = False

    @property
    def name(self) -> str:
        """Output and index, as text."""
        return f"{self.output}{self.place}"

    def ranges(self) -> str:
        """Return the ranges and the step in words."""
        stored = f" in steps of {self.step:.3g}" if self.step else ""
        return (
            f"from {self.model_low:.4g} to {self.model_high:.4g} in the model, "
            f"from {self.file_low:.4g} to {self.file_high:.4g} in the file{stored}"
        )


class ChannelLimit(NamedTuple):
    """The error of a channel that passes.

    Attributes:
        tolerance: largest relative error.
        adds_rounding: whether rounding of the output is added to it.
        most: the largest sum of both.
    """

    tolerance: float
    adds_rounding: bool
    most: float = inf

    def allowed(self, rounding: Any) -> Any:
        """Return the largest error, given what rounding may add; arrays or numbers."""
        return np.minimum(self.tolerance + (rounding if self.adds_rounding else 0.0), self.most)


class ChannelSummary(NamedTuple):
    """Channels of outputs, judged: those of the last axis of each output, of the second one where there are more, and
    every element of an output of up to 256.

    Attributes:
        total: number of channels.
        dead: number of those that vary in the model and are constant in the file: none may.
        rare: number of probabilities that vary by less than one step in all of the data, and are constant in the file
            for that.
        coarse: number of others whose error is past the recipe's tolerance, whether or not rounding of the output
            explains it.
        worst: the channels that are furthest past what passes, dead ones first.
        tolerance: largest error of the first of these that rounding explains: the recipe's and half a step.
    """

    total: int = 0
    dead: int = 0
    rare: int = 0
    coarse: int = 0
    worst: tuple[ChannelError, ...] = ()
    tolerance: float = 0.0

    @property
    def error(self) -> float:
        """Error of the worst channel, relative to its own deviation."""
        return self.worst[0].error if self.worst else 0.0

    @property
    def passes(self) -> bool:
        """Whether rounding of the output explains all errors."""
        return self.error <= self.tolerance

    @classmethod
    def joined(cls, parts: Sequence[Self], limit: ChannelLimit) -> Self:
        """Return several summaries as one."""
        found = [channel for part in parts for channel in part.worst]
        # Of dead ones, a channel of the last axis comes before an element.
        worst = nlargest(MOST_CHANNELS, found, key=lambda c: (c.dead, 0.0 if c.dead else _badness(c, limit)))
        return cls(
            total=sum(part.total for part in parts),
            dead=sum(part.dead for part in parts),
            rare=sum(part.rare for part in parts),
            coarse=sum(part.coarse for part in parts),
            worst=tuple(worst),
            tolerance=float(limit.allowed(worst[0].rounding if worst else 0.0)),
        )


def _badness(channel: ChannelError, limit: ChannelLimit) -> float:
    return float(_over_limit(np.float64(channel.error), channel.rounding, limit))


def _over_limit(error: Any, rounding: Any, limit: ChannelLimit) -> Any:
    """Errors over what passes; infinity for one that is no number, or of a model that is 0 throughout."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(error / limit.allowed(rounding), nan=np.inf)


class Sums:
    """Sums over the numbers of each channel in float64, of squares about the mean, so that a large one is harmless."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean, self.squares, self.error = np.zeros((3, channels))
        self.model_low, self.file_low = np.full((2, channels), np.inf)
        self.model_high, self.file_high = np.full((2, channels), -np.inf)
        self.largest = np.zeros(channels)

    def add(self, model: np.ndarray, file: np.ndarray) -> None:
        """Add arrays (n, channels), which may have no rows."""
        count = len(model)
        if not count:
            return
        total = self.count + count
        # Infinity and NaN are bad figures, and end as such in the report.
        with np.errstate(invalid="ignore", over="ignore"):
            difference, mean = file - model, model.mean(axis=0)
            apart = mean - self.mean
            self.squares += np.square(model - mean).sum(axis=0) + apart**2 * (self.count * count / total)
            self.mean += apart * (count / total)
            self.error += np.square(difference).sum(axis=0)
        self.count = total
        self.largest = np.maximum(self.largest, np.abs(difference).max(axis=0))
        self.model_low = np.minimum(self.model_low, model.min(axis=0))
        self.model_high = np.maximum(self.model_high, model.max(axis=0))
        self.file_low = np.minimum(self.file_low, file.min(axis=0))
        self.file_high = np.maximum(self.file_high, file.max(axis=0))

    def size(self) -> np.ndarray:
        """The largest magnitude of each channel of the model."""
        return np.maximum(np.abs(self.model_low), np.abs(self.model_high))


class OutputErrors:
    """The errors of one output: as a whole, of each channel of its last axis, and of each element where these are few.

    Of outputs of more axes those of the second one are judged too: images may have their channels first.

    Args:
        info: the output in the file.
        step: distance of two numbers that it can tell apart; 0 for floats.
    """

    def __init__(self, info: TensorInfo, step: float) -> None:
        self._info, self._step = info, step
        self._whole = Sums(1)
        self._parts = {kept: Sums(prod(info.shape[axis] for axis in kept)) for kept in _kept_axes(info.shape)}
        self._sums_to_one = len(info.shape) > 1 and info.shape[-1] > 1

    def add(self, expected: np.ndarray, actual: np.ndarray) -> None:
        """Add a batch of the model's outputs and the file's.

        Raises:
            ValueError: if they are not of one shape.
        """
        if expected.shape != actual.shape:
            raise ValueError(f"path: expected outputs of shape {expected.shape}, as the model's, got {actual.shape}")
        rows = max(1, _MOST_NUMBERS // max(prod(expected.shape[1:]), 1))
        for start in range(0, len(expected) if expected.size else 0, rows):
            self._add(*(array[start : start + rows].astype(np.float64) for array in (expected, actual)))

    def _add(self, model: np.ndarray, file: np.ndarray) -> None:
        self._whole.add(model.reshape(-1, 1), file.reshape(-1, 1))
        for kept, sums in self._parts.items():
            sums.add(_by_channel(model, kept), _by_channel(file, kept))
        if self._sums_to_one:
            far = np.abs(model.sum(axis=-1) - 1).max() > _PROBABILITY or model.min() < 0
            self._sums_to_one = not far

    @property
    def max_error(self) -> float:
        """The largest absolute difference."""
        return float(self._whole.largest[0])

    def relative_rms(self) -> float:
        """The RMS of the difference over the standard deviation of the model's output."""
        return self._relative(np.sqrt(self._whole.error[0] / max(self._whole.count, 1)))

    def relative_rounding(self) -> float:
        """Half a step of a quantized output over the same deviation: what rounding may add to the error."""
        return self._relative(self._step / 2)

    def _relative(self, size: float) -> float:
        return float(size / self._size_of_whole())

    def _size_of_whole(self) -> float:
        """The deviation of the output; for a constant one a hundredth of its size, and 1 where it is 0."""
        variance = self._whole.squares[0] / max(self._whole.count, 1)
        return float(max(np.sqrt(variance), 0.01 * np.sqrt(variance + self._whole.mean[0] ** 2)) or 1.0)

    def summary(
        self,
        limit: ChannelLimit,
        noise: Self | None = None,
        amplified: Self | None = None,
        roughness: Self | None = None,
    ) -> ChannelSummary:
        """Judge the channels and elements.

        Args:
            limit: the error that passes.
            noise: errors of another computation of the same output in float32, by which a right one may differ.
            amplified: what the model makes of rounding of its inputs.
            roughness: what of the model's output is noise, see `ModelSamples`; None to take all of it for numbers.
        """
        parts = [
            self._summary(kept, limit, self._rounding(kept, noise, amplified), self._varies(kept, roughness))
            for kept in self._parts
        ]
        return ChannelSummary.joined(parts, limit)

    def _varies(self, kept: tuple[int, ...], roughness: Self | None) -> np.ndarray:
        """Whether each channel varies in the model, and not by rounding alone."""
        sums = self._parts[kept]
        varies = sums.model_high - sums.model_low > _LAST_PLACES * sums.size()
        if roughness is None:
            return varies
        # Noise of inputs past what a function takes is no number, and no noise.
        return varies & ~(np.sqrt(sums.squares / max(sums.count, 1)) <= _MOST_NOISE * roughness.noise(kept))

    def _rounding(self, kept: tuple[int, ...], noise: Self | None, amplified: Self | None) -> np.ndarray:
        """What rounding of the output adds to the error of each channel, in the output's units."""
        sums = self._parts[kept]
        if self._step:
            return np.full(sums.error.shape, self._step / 2)
        if noise is None:
            return _MANY_LAST_PLACES * sums.size()
        found = np.fmin(noise.noise(kept), _MANY_LAST_PLACES * sums.size())
        grown = 0.0 if amplified is None else _AMPLIFIED * amplified.noise(kept)
        return _FEW_LAST_PLACES * sums.size() + np.fmax(_NOISE * found, grown)

    def noise(self, kept: tuple[int, ...]) -> np.ndarray:
        """The RMS of the difference in each channel."""
        sums = self._parts[kept]
        return np.sqrt(sums.error / max(sums.count, 1))

    def _summary(
        self, kept: tuple[int, ...], limit: ChannelLimit, allowance: np.ndarray, varies: np.ndarray
    ) -> ChannelSummary:
        """Judge the channels of some axes."""
        sums = self._parts[kept]
        if not sums.count:
            return ChannelSummary.joined([], limit)
        step, spread = self._step, sums.model_high - sums.model_low
        stand_in = np.maximum(0.01 * sums.size(), self._size_of_whole())
        size = np.where(varies & (sums.count >= _FEW), np.sqrt(sums.squares / sums.count), stand_in)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.where(sums.error == 0, 1.0, size)
            error = np.sqrt(sums.error / sums.count) / size
            rounding = allowance / size
        constant = varies & (sums.file_high == sums.file_low)
        # Few numbers may lie within one step by chance.
        constant &= (sums.count >= _ENOUGH) | ((sums.count >= _FEW) & (spread <= step / 4)) | (step == 0)
        # Probabilities have the step that TFLite prescribes. Classes may be absent from the data, and probabilities of
        # an untrained network vary by less.
        is_exact = (sums.largest <= step) & self._sums_to_one
        rare = constant & is_exact & (spread <= step)
        dead = constant & ~rare
        badness = _over_limit(error, rounding, limit)
        worst = np.lexsort((-badness, ~dead))[:MOST_CHANNELS]
        shape = [self._info.shape[axis] for axis in kept]

        def channel(place: int) -> ChannelError:
            return ChannelError(
                output=self._info.name,
                place=_index([int(i) for i in np.unravel_index(place, shape)], kept, len(self._info.shape)),
                error=float(error[place]),
                rounding=float(rounding[place]),
                model_low=float(sums.model_low[place]),
                model_high=float(sums.model_high[place]),
                file_low=float(sums.file_low[place]),
                file_high=float(sums.file_high[place]),
                step=step,
                dead=bool(dead[place]),
            )

        return ChannelSummary(
            total=len(error),
            dead=int(dead.sum()),
            rare=int(rare.sum()),
            coarse=int((~constant & ~is_exact & ~(error <= limit.tolerance)).sum()),
            worst=tuple(map(channel, worst)),
        )


def _kept_axes(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """The axes that name a channel; one set of them for each way to judge the output."""
    rank = len(shape)
    if rank < 2:
        return [()]
    kept: list[tuple[int, ...]] = [(rank - 1,)]
    if rank > 2 and prod(shape[1:]) <= _MOST_ELEMENTS:
        return [*kept, tuple(range(1, rank))]
    return [*kept, (1,)] if rank > 2 else kept


def _by_channel(array: np.ndarray, kept: tuple[int, ...]) -> np.ndarray:
    """An array as (numbers, channels)."""
    channels = prod(array.shape[axis] for axis in kept)
    return np.moveaxis(array, kept, range(-len(kept), 0)).reshape(-1, channels) if kept else array.reshape(-1, 1)


def _index(numbers: Sequence[int], kept: tuple[int, ...], rank: int) -> str:
    """A channel as a NumPy index."""
    named = dict(zip(kept, numbers, strict=True))
    if rank > 2 and kept == (rank - 1,):
        return f"[..., {named[rank - 1]}]"
    return f"[{', '.join(str(named.get(axis, ':')) for axis in range(rank))}]" if kept else ""
