"""Scales of kernels by their error: a filter's largest weights are clipped where that loses less than it gains."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfsep.quantize._calibration_samples import CalibrationSamples
from tfsep.quantize._kernel_rows import KernelRows
from tfsep.quantize._qparams import WEIGHT_MAX
from tfsep.quantize._real_results import RealResults

MAX, MSE, MOMENTS = "max", "mse", "moments"
WEIGHT_SCALES = (MAX, MSE, MOMENTS)
"""By the largest weight; by the error of the weights; by that error, weighted with the mean squares of the inputs."""

_SHARES = np.arange(128, 63, -1) / 128
"""Shares of a filter's largest weight that are tried as the largest integer, the whole of it first."""


class Narrowed(NamedTuple):
    """What `narrow_weight_scales` changed.

    Attributes:
        filters: the number of filters with a smaller scale.
        of: the number of filters.
        least: the smallest share that a new scale has of the former.
    """

    filters: int
    of: int
    least: float


def narrow_weight_scales(samples: CalibrationSamples, reals: Sequence[RealResults], by: str) -> Narrowed:
    """Give each filter the scale with the least error, but for layers that are adapted (LoRA).

    Filters with a smaller scale become integers times it, each weight rounded to the nearest.

    Args:
        samples: the samples, and the model.
        reals: what the layers compute in real numbers.
        by: ``"mse"`` or ``"moments"``.
    """
    plain = [real for real in reals if not real.call.layer.is_adapted]
    moments = _moments(samples, plain) if by == MOMENTS else {}
    filters = of = 0
    least = 1.0
    for real in {real.call.layer.name: real for real in plain}.values():
        layer, products = real.call.layer, real.products()
        kernel = products.grouped(real.kernel)
        scale, share = _best_scale(kernel, moments.get(layer.name, np.ones((1, 1))))
        whole = np.clip(np.round(kernel / scale[:, np.newaxis]), -WEIGHT_MAX, WEIGHT_MAX)
        # Of the others no number is 127, so that they stay.
        layer.set_whole(products.kernel(whole * (share < 1)[:, np.newaxis]), scale.ravel())
        filters, of, least = filters + int((share < 1).sum()), of + share.size, min(least, float(share.min()))
    return Narrowed(filters, of, least)


def _best_scale(kernel: np.ndarray, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scale of each filter (G, F) of a kernel (G, K, F), and its share of the largest, by moments (G, K)."""
    largest = np.maximum(np.abs(kernel).max(1), np.finfo("float32").tiny) / WEIGHT_MAX
    errors = []
    for share in _SHARES:
        scale = (share * largest)[:, np.newaxis]
        rounded = scale * np.clip(np.round(kernel / scale), -WEIGHT_MAX, WEIGHT_MAX)
        errors.append(np.sum(moments[..., np.newaxis] * (kernel - rounded) ** 2, 1))
    shares = _SHARES[np.argmin(errors, 0)]
    return largest * shares, shares


def _moments(samples: CalibrationSamples, reals: Sequence[RealResults]) -> dict[str, np.ndarray]:
    """By the name of a layer, the mean squares of what its weights multiply (G, K), in real numbers."""
    products: list[KernelRows] = [real.products() for real in reals]
    sums: dict[str, list[np.ndarray]] = defaultdict(list)
    inputs = samples.results([real.call.call.inputs[0] for real in reals], is_real=True)
    for number, batch in enumerate(inputs):
        for real, own, x in zip(reals, products, batch, strict=True):
            pixels = real.batches[number]
            sums[real.call.layer.name].append(
                np.square(own.rows(x, pixels.samples, pixels.places), dtype="float64").sum(0)
            )
    # Errors are compared within a filter alone: sums do as well as means.
    return {name: np.sum(each, 0) for name, each in sums.items()}
