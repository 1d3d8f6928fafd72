"""Adaptive rounding of a prepared model's kernels, layer by layer, in the integers that the layer will get.

Each layer learns on its input as the former layers, rounded already, make it, against its result in real numbers, the
activation included (the paper's asymmetric reconstruction). Its kernel becomes the integers that were learned times
their scale, which the converter rounds to just these.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tfsep.quantize._calibration_report import RoundedLayer
from tfsep.quantize._calibration_samples import CalibrationSamples
from tfsep.quantize._qparams import INT8_MAX, INT8_MIN, WEIGHT_MAX
from tfsep.quantize._real_results import RealResults, in_turn
from tfsep.quantize._rounding_steps import RoundingProblem
from tfsep.quantize._sample_run import SampleRun

_UNSEEN = 4
"""One sample of so many is not learned on: on these the learned rounding is compared with the nearest."""

_NEAR = 1e-3
"""The largest weight of a filter is 127 units but for so much."""


_SAME = 0.05
"""Kernels whose numbers differ by so many units at most, as by another order of sums, are rounded the same way."""


class LearnedRounding(NamedTuple):
    """The rounding that a layer has learned.

    Attributes:
        units: its kernel in units of its scales.
        whole: the same rounded.
    """

    units: np.ndarray
    whole: np.ndarray

    def steps_of(self, problem: RoundingProblem) -> np.ndarray | None:
        """The steps up from the kernel rounded down, if this is the rounding of its numbers, else None."""
        units = problem.lower + problem.share
        if units.shape != self.units.shape or np.abs(units - self.units).max() > _SAME:
            return None
        return np.where(problem.steps, self.whole - problem.lower, 0)


def round_adaptively(
    samples: CalibrationSamples,
    reals: Sequence[RealResults],
    steps: int,
    seed: int,
    roundings: dict[str, LearnedRounding],
    advance: Callable[[], None] = lambda: None,
) -> list[RoundedLayer]:
    """Round the kernels of layers in their order, but for those that are adapted (LoRA).

    Args:
        samples: the samples, and the model.
        reals: what the layers compute in real numbers.
        steps: steps of learning, of each layer.
        seed: seed of the steps' draws.
        roundings: by name, what layers of the same kernels have learned before, as in a model with other layers in
            float32, and do not learn again; what is learned is added.
        advance: called behind each layer.
    """
    run, done = SampleRun(samples), list[RoundedLayer]()
    plain = [real for real in reals if not real.call.layer.is_adapted]
    for real, rows in in_turn(plain, run, lambda real: _rows_of(real, run)):
        done.append(_LayerRounding(real, run).learned(_together(rows), steps, seed, roundings))
        advance()
    return done


class _Rows(NamedTuple):
    """What a call of a layer is computed from, at the pixels whose results in real numbers are known.

    Attributes:
        x: (R, G, K), real numbers.
        targets: (R, F).
        is_seen: whether each row's sample is one to learn on (R,).
    """

    x: np.ndarray
    targets: np.ndarray
    is_seen: np.ndarray


def _rows_of(real: RealResults, run: SampleRun) -> _Rows:
    """The rows of a call that a run has reached."""
    products, found, first = real.products(), list[_Rows](), 0
    for pixels, (x,) in zip(real.batches, run.results([real.call.call.inputs[0]]), strict=True):
        rows = products.rows(x, pixels.samples, pixels.places)
        found.append(_Rows(rows, pixels.results, _is_seen(first + pixels.samples)))
        first += len(x)
    return _together(found)


def _together(rows: Sequence[_Rows]) -> _Rows:
    return _Rows(*map(np.concatenate, zip(*rows, strict=True)))


class _LayerRounding:
    """The rounding of one layer, which a run has reached by its last call.

    Args:
        real: what that call computes in real numbers.
        run: the run.
    """

    def __init__(self, real: RealResults, run: SampleRun) -> None:
        self._real, self._products, self._run = real, real.products(), run
        call, layer = real.call, real.call.layer
        self._input_qparams, self._qparams = run.constants([call.call.inputs[1], call.qparams])
        stored = (np.asarray(part, "float64") for part in layer.stored(self._input_qparams[0]))
        self._nearest, self._bias, self._scale = stored

    def learned(self, rows: _Rows, steps: int, seed: int, roundings: dict[str, LearnedRounding]) -> RoundedLayer:
        """Set the layer's kernel by rows of all its calls, and say what changed."""
        layer, problem = self._real.call.layer, self._problem(rows)
        known = roundings.get(layer.name)
        learned = None if known is None else known.steps_of(problem)
        if learned is None:
            learned = problem.learned(steps, seed)
            roundings[layer.name] = LearnedRounding(problem.lower + problem.share, problem.lower + learned)
        # As the converter rounds halves.
        nearest = problem.steps * np.clip(self._products.of_filters(self._nearest) - problem.lower, 0, 1)
        before = self._errors()
        layer.set_whole(self._products.kernel(problem.lower + learned), self._scale)
        after = self._errors()
        # Filters do not depend on each other: each has what is better, if the layer gains at all on other samples.
        is_better = (after < before) & (after.sum() < before.sum())
        up = np.where(is_better.reshape(len(nearest), 1, -1), learned, nearest)
        layer.set_whole(self._products.kernel(problem.lower + up), self._scale)
        error, now = (float(np.mean(each)) for each in (before, np.where(is_better, after, before)))
        return RoundedLayer(layer.name, error, now, int(np.count_nonzero(up != nearest)), up.size)

    def _problem(self, rows: _Rows) -> RoundingProblem:
        """What to learn, on the rows of samples to learn on."""
        call, unit = self._real.call, self._input_qparams[0]
        kernel = self._products.grouped(self._real.kernel)
        units = np.clip(kernel / self._scale.reshape(len(kernel), 1, -1), -WEIGHT_MAX, WEIGHT_MAX)
        # The largest weights have to stay ±127, or the scale is another one; zeros stay zeros.
        is_fixed = (np.abs(units) > WEIGHT_MAX - _NEAR) | (units == 0)
        lower = np.where(is_fixed, np.round(units), np.floor(units))
        scale, zero = self._qparams
        low, high = call.limits((INT8_MIN - zero) * scale, (INT8_MAX - zero) * scale)
        return RoundingProblem(
            np.round(rows.x[rows.is_seen] / unit),
            lower,
            np.where(is_fixed, 0.0, 1.0),
            np.where(is_fixed, 0.0, units - lower),
            self._bias,
            self._scale * unit,
            low,
            high,
            rows.targets[rows.is_seen],
            call.function if call.functions else None,
            self._products.is_depthwise,
        )

    def _errors(self) -> np.ndarray:
        """The mean squared error of each filter (F,), of the last call, on samples not learned on, if there are."""
        totals, count, first = np.zeros(()), 0, 0
        is_few = self._run.count < _UNSEEN
        for pixels, (result,) in zip(self._real.batches, self._run.results([self._real.call.result]), strict=True):
            is_asked = is_few | ~_is_seen(first + pixels.samples)
            actual = result.reshape(len(result), -1, result.shape[-1])[pixels.samples, pixels.places]
            totals = totals + np.square(actual - pixels.results, dtype="float64")[is_asked].sum(0)
            count, first = count + int(is_asked.sum()), first + len(result)
        return totals / max(count, 1)


def _is_seen(samples: np.ndarray) -> np.ndarray:
    """Whether each sample, by its number, is one to learn on."""
    return samples % _UNSEEN != _UNSEEN - 1
