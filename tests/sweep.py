"""Arbitrary convolutions against a float64 loop: a case is a record, and one function checks it.

Run as a program it checks as many random cases as it is told to, so that another build of TensorFlow can be asked.
"""

import sys
from typing import Any, NamedTuple

import numpy as np
import oracles
import tensorflow as tf

from tfsep import ops

# Of the sum of the magnitudes that a number is the sum of, number by number: what cancels is no excuse, and no blame.
# Eight spacings of the long types' numbers, for long sums; two of the halves', whose sums may be rounded twice.
TOLERANCES = {"float64": 8 * 2**-52, "float32": 8 * 2**-23, "float16": 2 * 2**-10, "bfloat16": 2 * 2**-7}
# What rounding to the smallest numbers that there are may add: float16 has few, the others flush theirs to zero.
LEAST = {"float64": 2**-1022, "float32": 2**-126, "float16": 2**-24, "bfloat16": 2**-126}
PADDINGS = ("same", "valid", 0, 1, 2, (0, 1), (2, 1), ((0, 1), (2, 0)), ((1, 3), (0, 2)), ((4, 0), (0, 5)))


class Case(NamedTuple):
    """One convolution. `groups` None is depthwise with `multiplier`; `known` says what of (N, H, W) a graph knows."""

    kernel: tuple[int, int]
    stride: Any
    rate: Any
    padding: Any
    size: tuple[int, int]
    groups: int | None = None
    multiplier: int = 1
    per_group: int = 1
    images: int = 1
    data_format: str = "channels_last"
    dtype: str = "float32"
    known: tuple[bool, bool, bool] | None = None

    @property
    def channels(self):
        return 2 * self.per_group if self.groups is None else self.groups * self.per_group

    def has_outputs(self):
        pads = oracles.pads(self.size, self.kernel, _both(self.stride), _both(self.rate), self.padding)
        reach = [(k - 1) * r + 1 for k, r in zip(self.kernel, _both(self.rate), strict=True)]
        return all(n + sum(p) >= k for n, p, k in zip(self.size, pads, reach, strict=True))

    def tensors(self):
        """Image and filter, of numbers that the dtype represents exactly."""
        rng = np.random.default_rng(sum(self.kernel) + sum(self.size))
        if self.groups is None:
            shape = (*self.kernel, self.channels, self.multiplier)
        else:
            shape = (*self.kernel, self.per_group, self.groups * self.multiplier)
        values = rng.normal(size=(self.images, *self.size, self.channels)), rng.normal(size=shape)
        return [tf.cast(value, self.dtype) for value in values]


def _both(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def _exact(tensor):
    return tf.cast(tensor, tf.float64).numpy()


def computed(case, x, w, upstream):
    """The library's result, and its gradients to x and to w."""
    op = ops.depthwise_conv2d if case.groups is None else ops.conv2d
    first = case.data_format == "channels_first"

    def run(x, w, upstream):
        given = tf.transpose(x, [0, 3, 1, 2]) if first else x
        with tf.GradientTape() as tape:
            tape.watch([given, w])
            y = op(given, w, case.stride, case.padding, case.rate, case.data_format)
            loss = tf.reduce_sum((tf.transpose(y, [0, 2, 3, 1]) if first else y) * upstream)
        to_x, to_w = tape.gradient(loss, [given, w])
        if first:
            y, to_x = (tf.transpose(value, [0, 2, 3, 1]) for value in (y, to_x))
        return y, to_x, to_w

    if case.known is not None:
        shape = [side if known else None for side, known in zip(x.shape[:3], case.known, strict=True)]
        specs = [tf.TensorSpec((*shape, case.channels), x.dtype), tf.TensorSpec(w.shape, w.dtype), None]
        specs[2] = tf.TensorSpec((None, None, None, upstream.shape[3]), x.dtype)
        run = tf.function(run, input_signature=specs, autograph=False)
    return run(x, w, upstream)


def expected(case, x, w):
    """A random upstream gradient, the float64 loop's result and gradients for it, and their magnitudes.

    A magnitude is the sum of the absolute values of the products that a number is the sum of.
    """
    grouped = tf.reshape(w, (*case.kernel, 1, -1)) if case.groups is None else w
    pads = oracles.pads(case.size, case.kernel, _both(case.stride), _both(case.rate), case.padding)
    sizes = zip(case.size, pads, case.kernel, _both(case.stride), _both(case.rate), strict=True)
    outputs = [(n + sum(p) - (k - 1) * r - 1) // s + 1 for n, p, k, s, r in sizes]
    upstream = np.random.default_rng(1).normal(size=(case.images, *outputs, grouped.shape[3]))
    upstream = tf.cast(upstream, case.dtype)
    exact = [_exact(value) for value in (x, grouped, upstream)]
    right, magnitudes = (
        oracles.products(*values, case.stride, case.padding, case.rate) for values in (exact, map(np.abs, exact))
    )
    shapes = upstream.shape, x.shape, w.shape
    return upstream, *([a.reshape(shape) for a, shape in zip(b, shapes, strict=True)] for b in (right, magnitudes))


def check(case):
    """Assert that result and both gradients are the loop's."""
    x, w = case.tensors()
    upstream, exact, magnitudes = expected(case, x, w)
    names = "result", "gradient to x", "to filter"
    for name, ours, right, size in zip(names, computed(case, x, w, upstream), exact, magnitudes, strict=True):
        what = f"{name} of {case}"
        assert ours.dtype == case.dtype, f"{what}: {ours.dtype}"
        assert ours.shape == right.shape, f"{what}: shape {ours.shape}, expected {right.shape}"
        off, allowed = np.abs(_exact(ours) - right), TOLERANCES[case.dtype] * size + LEAST[case.dtype]
        wrong = ~(off <= allowed)
        assert not wrong.any(), f"{what}: off by {off[wrong][:5]}, allowed {allowed[wrong][:5]}"


def random_case(rng, wide=False):
    """A case from the whole space, one that leaves an output; `wide`, of images and channels that kernels block."""

    def pair(most):
        one, other = (int(value) for value in rng.integers(1, most + 1, 2))
        return (one, one) if rng.random() < 0.5 else (one, other)

    while True:
        case = Case(
            kernel=pair(5),
            stride=pair(3),
            rate=pair(4),
            padding=PADDINGS[rng.integers(len(PADDINGS))],
            size=tuple(int(side) for side in rng.integers(1, (7, 70) if wide else 12, 2)),
            groups=(None, None, 1, 2, 3)[rng.integers(5)],
            multiplier=(1, 2, 8, 16)[rng.integers(4)] if wide else int(rng.integers(1, 4)),
            per_group=(3, 8, 17, 24, 32)[rng.integers(5)] if wide else int(rng.integers(1, 3)),
            images=int(rng.integers(0, 3)),
            data_format=("channels_last", "channels_last", "channels_first")[rng.integers(3)],
            dtype=("float32", "float32", "float64", "float16", "bfloat16")[rng.integers(5)],
            known=None if rng.random() < 0.9 else tuple(bool(value) for value in rng.integers(0, 2, 3)),
        )
        if case.has_outputs():
            return case


if __name__ == "__main__":
    generator = np.random.default_rng(int(sys.argv[2]))
    for number in range(int(sys.argv[1])):
        check(random_case(generator, wide=number % 5 == 0))
    print("checked", sys.argv[1])
