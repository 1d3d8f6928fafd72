"""Empirical bias correction: the mean that rounding adds to each channel is taken away from its bias.

Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv 1906.04721),
section 4.2 and appendix D.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfsep._keras.backend import keras
from tfsep._keras.model_graph import Call, calls_behind
from tfsep._keras.types import Layer
from tfsep.quantize._calibration_samples import CalibrationSamples
from tfsep.quantize._quantized_matmul import QuantizedMatmul


class Corrected(NamedTuple):
    """What `correct_biases` changed.

    Attributes:
        layers: the number of layers with new biases.
        without_bias: the names of layers that have none to correct.
        largest: the largest number that was added to one.
    """

    layers: int
    without_bias: tuple[str, ...]
    largest: float


def correct_biases(samples: CalibrationSamples) -> Corrected:
    """Add to each bias what the mean of its channel lacks, layer by layer, each behind the former corrections.

    The means are those of sums in front of the rectifier, over all samples and pixels: in real numbers, and in integers
    as the file computes them.
    """
    calls: dict[str, list[Call]] = {}
    for call in calls_behind(samples.model.outputs):
        if isinstance(call.operation, QuantizedMatmul):
            # By the last call of a layer that is shared.
            calls[call.operation.name] = [*calls.pop(call.operation.name, []), call]
    real = _means(samples, list(calls.values()), is_real=True)
    corrections, without = [], []
    for (name, own), expected in zip(calls.items(), real, strict=True):
        layer = own[0].operation
        bias = _bias(layer)
        if bias is None:
            without.append(name)
            continue
        (actual,) = _means(samples, [own], is_real=False)
        bias.assign(np.asarray(bias, "float64") + expected - actual)
        corrections.append(float(np.abs(expected - actual).max()))
    return Corrected(len(corrections), tuple(without), max(corrections, default=0.0))


def _bias(layer: Layer) -> keras.Variable | None:
    """The weight that is added to each channel of a layer's results; None for none."""
    if layer.normalization is not None:
        return layer.normalization.beta if layer.normalization.center else None
    return layer.layer.bias


def _means(samples: CalibrationSamples, layers: Sequence[Sequence[Call]], is_real: bool) -> list[np.ndarray]:
    """The mean of each channel (F,), float64, of layers that are given by their calls."""
    flat = [call for calls in layers for call in calls]
    sums, counts = [np.zeros(call.outputs[0].shape[-1]) for call in flat], [0] * len(flat)
    results, scales = ([call.outputs[place] for call in flat] for place in (0, 1))
    for made in samples.results(results, is_real, scales):
        for place, (numbers, scale) in enumerate(zip(made[: len(flat)], made[len(flat) :], strict=True)):
            rows = numbers.reshape(-1, numbers.shape[-1])
            sums[place] += rows.sum(0, dtype="float64") * scale
            counts[place] += len(rows)
    totals = iter(zip(sums, counts, strict=True))
    found = []
    for calls in layers:
        own = [next(totals) for _ in calls]
        found.append(np.sum([total for total, _ in own], 0) / sum(count for _, count in own))
    return found
