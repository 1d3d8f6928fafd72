"""Empirical bias correction: the mean that rounding adds to each channel is taken away from its bias.

Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv 1906.04721),
section 4.2 and appendix D.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from tfsep._keras.backend import keras
from tfsep._keras.types import Layer
from tfsep.quantize._calibration_samples import CalibrationSamples
from tfsep.quantize._real_results import ChannelMeans, RealResults, in_turn
from tfsep.quantize._sample_run import SampleRun


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


def correct_biases(samples: CalibrationSamples, reals: Sequence[RealResults]) -> Corrected:
    """Add to each bias what the mean of its channel lacks, layer by layer, each behind the former corrections.

    The means are those of sums in front of the rectifier, over all samples and pixels: in real numbers, and in integers
    as the file computes them.

    Args:
        samples: the samples, and the model.
        reals: what the layers compute in real numbers.
    """
    run = SampleRun(samples)
    expected = {
        name: ChannelMeans.together([real.means for real in own])
        for name, own in groupby(sorted(reals, key=_name), key=_name)
    }
    corrections, without = [], []
    for real, seen in in_turn(reals, run, lambda real: _means(run, real)):
        layer = real.call.layer
        bias = _bias(layer)
        if bias is None:
            without.append(layer.name)
            continue
        lack = expected[layer.name] - ChannelMeans.together(seen)
        bias.assign(np.asarray(bias, "float64") + lack)
        corrections.append(float(np.abs(lack).max()))
    return Corrected(len(corrections), tuple(without), max(corrections, default=0.0))


def _name(real: RealResults) -> str:
    name: str = real.call.layer.name
    return name


def _means(run: SampleRun, real: RealResults) -> ChannelMeans:
    """The means of a call that a run has reached."""
    found = ChannelMeans()
    sums, scale = real.call.call.outputs
    for results, unit in run.results([sums, scale]):
        found.add(results, unit)
    return found


def _bias(layer: Layer) -> keras.Variable | None:
    """The weight that is added to each channel of a layer's results; None for none."""
    if layer.normalization is not None:
        return layer.normalization.beta if layer.normalization.center else None
    return layer.layer.bias
