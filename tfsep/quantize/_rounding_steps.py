"""Adaptive rounding of one kernel: whether each weight goes up or down is learned, so that the layer's result is right.

Source: M. Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization" (arXiv 2004.10568): a rectified
sigmoid between both, and a regularizer that presses it to the ends, harder with each step. Here the error of each
filter is divided by that of rounding to the nearest, and the regularizer is the mean over a filter, so that neither
depends on the sizes of numbers; and a local search goes from there.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor

_STRETCH_LOW, _STRETCH_HIGH = -0.1, 1.1
"""The ends of the sigmoid, which is rectified to 0 … 1."""

_BATCH = 512
_LEARNING_RATE = 3e-2
_WEIGHT = 1.0
_WARM_UP = 0.2
"""Regularizer: its weight, and the share of the steps that come before it."""

_SOFT, _HARD = 20.0, 2.0
"""The regularizer's exponents at first and at last."""

_TURNS = 32
"""Weights of each filter that are turned at last, one after the other, while that makes its error smaller."""

_MOST_WEIGHTS = 2**20
"""Weights that are learned at once; filters do not depend on each other."""

Activation = Callable[[Tensor], Tensor]


class RoundingProblem(NamedTuple):
    """A layer's products on samples, R rows of its input, in G groups of K numbers and F filters.

    Attributes:
        x: (R, G, K), integers of the input from the zero point.
        lower: (G, K, F), the kernel rounded down.
        steps: (G, K, F), 1 where a weight may go up, else 0.
        share: (G, K, F), how far a weight is up from there, 0 to 1.
        bias: (G · F,), integers.
        scale: (G · F,), the real value of a unit of the sums.
        low: the least number of the result, and `high` the largest one, both at most infinite.
        high: see `low`.
        target: (R, G · F), what the result ought to be.
        activation: a function of each number behind the result, in which errors are compared; None for none.
        is_depthwise: whether each channel is a group.
    """

    x: np.ndarray
    lower: np.ndarray
    steps: np.ndarray
    share: np.ndarray
    bias: np.ndarray
    scale: np.ndarray
    low: float
    high: float
    target: np.ndarray
    activation: Activation | None
    is_depthwise: bool

    def nearest(self) -> np.ndarray:
        """Return which weights go up where each is rounded to the nearest (G, K, F)."""
        return self.steps * (self.share >= 0.5)

    def learned(self, steps: int, seed: int) -> np.ndarray:
        """Return which weights go up (G, K, F), 0 or 1, after as many steps."""
        filters = max(1, _MOST_WEIGHTS // (self.lower.shape[0] * self.lower.shape[1]))
        count = self.lower.shape[2]
        parts = [
            self._filters(slice(start, start + filters))._learned(steps, seed) for start in range(0, count, filters)
        ]
        return np.concatenate(parts, 2)

    def _filters(self, part: slice) -> "RoundingProblem":
        """The problem of some of the filters of each group."""
        groups = self.lower.shape[0]
        kernel = {name: getattr(self, name)[..., part] for name in ("lower", "steps", "share")}
        rows = {
            name: getattr(self, name).reshape(-1, groups, self.lower.shape[2])[..., part]
            for name in ("bias", "scale", "target")
        }
        flat = {name: each.reshape(*each.shape[: name == "target"], -1) for name, each in rows.items()}
        return self._replace(**kernel, **flat)

    def _learned(self, steps: int, seed: int) -> np.ndarray:
        learn = _plain_learner(self.is_depthwise) if self.activation is None else self._learner()
        share = np.clip(self.share, 1e-4, 1 - 1e-4)
        start = -np.log((_STRETCH_HIGH - _STRETCH_LOW) / (share - _STRETCH_LOW) - 1)
        arrays = (self.x, self.target, self.lower, self.steps, self.nearest(), start, self.bias, self.scale)
        numbers = _Numbers(*(tf.constant(each, "float32") for each in (*arrays, self.low, self.high)))
        return np.asarray(learn(numbers, tf.constant(steps), tf.constant(seed)))

    def _learner(self) -> "Learner":
        return _Learning(self.is_depthwise, self.activation or tf.identity).function()


class _Numbers(NamedTuple):
    """A problem as tensors of float32; `nearest` and `start` are where learning begins."""

    x: Tensor
    target: Tensor
    lower: Tensor
    steps: Tensor
    nearest: Tensor
    start: Tensor
    bias: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor


Learner = Callable[[_Numbers, Tensor, Tensor], Tensor]
"""(a problem, number of steps, seed) → which weights go up."""


@cache
def _plain_learner(is_depthwise: bool) -> Learner:
    """The one for all layers without functions behind their kernels' rectifiers."""
    return _Learning(is_depthwise, tf.identity).function()


class _Learning(NamedTuple):
    """The computation for problems of all sizes, with one activation."""

    is_depthwise: bool
    activation: Activation

    def function(self) -> Learner:
        """Return the computation as a graph."""
        rows, kernel, vector, number = (tf.TensorSpec([None] * rank) for rank in (2, 3, 1, 0))
        numbers = _Numbers(kernel, rows, kernel, kernel, kernel, kernel, vector, vector, number, number)
        whole = tf.TensorSpec([], "int32")
        traced = tf.function(self._rounded, input_signature=(numbers, whole, whole), autograph=False)
        # Its concrete function: TensorFlow counts the traces of all activations as those of one function, and warns.
        made: Learner = traced.get_concrete_function()
        return made

    def _rounded(self, numbers: _Numbers, steps: Tensor, seed: Tensor) -> Tensor:
        """Which weights go up: learned, and what a search from there finds."""
        error = self._errors(numbers, numbers.nearest)
        unit = tf.where(error > 0, error, 1.0)
        fan_in = tf.cast(tf.shape(numbers.lower)[1], "float32")

        def up(v: Tensor) -> Tensor:
            stretched = tf.sigmoid(v) * (_STRETCH_HIGH - _STRETCH_LOW) + _STRETCH_LOW
            return numbers.steps * tf.clip_by_value(stretched, 0.0, 1.0)

        def loss(v: Tensor, batch: _Numbers, done: Tensor) -> Tensor:
            own, behind = up(v), tf.maximum((done - _WARM_UP) / (1.0 - _WARM_UP), 0.0)
            exponent = _SOFT + (_HARD - _SOFT) * behind
            undecided = tf.reduce_sum(numbers.steps * (1.0 - tf.pow(tf.abs(2.0 * own - 1.0), exponent))) / fan_in
            weight = tf.where(behind > 0, _WEIGHT, 0.0)
            return tf.reduce_sum(self._errors(batch, own) / unit) + weight * undecided

        def step(number: Tensor, v: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
            rows = tf.random.stateless_uniform([_BATCH], [seed, number], 0, tf.shape(numbers.x)[0], "int32")
            batch = numbers._replace(x=tf.gather(numbers.x, rows), target=tf.gather(numbers.target, rows))
            with tf.GradientTape() as tape:
                tape.watch(v)
                value = loss(v, batch, tf.cast(number, "float32") / tf.cast(steps, "float32"))
            gradient = tape.gradient(value, v)
            # Adam.
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * tf.square(gradient)
            power = tf.cast(number + 1, "float32")
            size = tf.sqrt(second / (1.0 - tf.pow(0.999, power))) + 1e-12
            return number + 1, v - _LEARNING_RATE * first / (1.0 - tf.pow(0.9, power)) / size, first, second

        zeros = tf.zeros_like(numbers.start)
        _, v, _, _ = tf.while_loop(lambda number, *_: number < steps, step, (0, numbers.start, zeros, zeros))
        return self._searched(numbers, tf.cast(up(v) >= 0.5, "float32"))

    def _searched(self, numbers: _Numbers, up: Tensor) -> Tensor:
        """Turn in each filter the weight that promises most, again and again, while that makes its error smaller."""

        def turn(number: Tensor, up: Tensor, error: Tensor, _: Tensor) -> tuple[Tensor, ...]:
            with tf.GradientTape() as tape:
                sums = self._product(numbers.x, numbers.lower + up)
                tape.watch(sums)
                made = self._activated(numbers, sums)
            slope = tape.gradient(made, sums)
            rows = 2.0 * tf.reshape(made - numbers.target, tf.shape(slope)) * slope
            change = numbers.steps * (1.0 - 2.0 * up)
            # To the second order in the change of a weight.
            gain = change * self._product_with(numbers.x, rows)
            gain += change**2 * self._product_with(numbers.x**2, slope**2)
            best = tf.one_hot(tf.argmin(gain, 1), tf.shape(gain)[1], axis=1)
            turned = up + change * best * tf.cast(gain < 0, "float32")
            after = self._errors(numbers, turned)
            is_better = after < error
            of_filters = tf.reshape(is_better, [tf.shape(up)[0], 1, -1])
            return number + 1, tf.where(of_filters, turned, up), tf.minimum(after, error), tf.reduce_any(is_better)

        start = 0, up, self._errors(numbers, up), tf.constant(True)
        _, found, _, _ = tf.while_loop(lambda number, _up, _error, goes_on: goes_on & (number < _TURNS), turn, start)
        return found

    def _errors(self, numbers: _Numbers, up: Tensor) -> Tensor:
        """The mean squared error of each filter (G · F,)."""
        made = self._activated(numbers, self._product(numbers.x, numbers.lower + up))
        return tf.reduce_mean(tf.square(made - numbers.target), 0)

    def _activated(self, numbers: _Numbers, sums: Tensor) -> Tensor:
        """What the layer makes of sums (R, G, F): (R, G · F)."""
        flat = tf.reshape(sums, [tf.shape(sums)[0], tf.size(numbers.bias)])
        return self.activation(tf.clip_by_value((flat + numbers.bias) * numbers.scale, numbers.low, numbers.high))

    # Products of matrices as small as a depthwise kernel's take four times as long.

    def _product(self, x: Tensor, kernel: Tensor) -> Tensor:
        """(R, G, K) times (G, K, F)."""
        if self.is_depthwise:
            return tf.reduce_sum(x[..., tf.newaxis] * kernel, 2)
        return tf.einsum("rgk,gkf->rgf", x, kernel)

    def _product_with(self, x: Tensor, rows: Tensor) -> Tensor:
        """(R, G, K), transposed, times (R, G, F): (G, K, F)."""
        if self.is_depthwise:
            return tf.reduce_sum(x[..., tf.newaxis] * rows[:, :, tf.newaxis], 0)
        return tf.einsum("rgk,rgf->gkf", x, rows)
