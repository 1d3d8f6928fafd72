"""Bias correction, empirical or analytic: the mean that rounding adds to each channel is taken away from its bias.

Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv 1906.04721),
section 4.2 and appendix D.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from tfsep._keras.backend import keras
from tfsep.quantize._analytic_means import AnalyticMeans, analytic_lack
from tfsep.quantize._calibration_samples import CalibrationSamples
from tfsep.quantize._quantized_matmul import QuantizedMatmul
from tfsep.quantize._real_results import ChannelMeans, RealResults, in_turn
from tfsep.quantize._sample_run import SampleRun


class Corrected(NamedTuple):
    """What `correct_biases` changed.

    Attributes:
        layers: the number of layers with new biases.
        without_bias: the names of layers that have none to correct.
        largest: the largest number that was added to one.
        unknown: the number of layers whose means are not known.
    """

    layers: int
    without_bias: tuple[str, ...]
    largest: float
    unknown: int = 0


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
    lacks = (
        (real.call.layer, expected[real.call.layer.name] - ChannelMeans.together(seen))
        for real, seen in in_turn(reals, run, lambda real: _means(run, real))
    )
    return _corrected(lacks)


def correct_biases_analytically(samples: CalibrationSamples, reals: Sequence[RealResults]) -> Corrected:
    """Add to each bias what the mean of its channel lacks by the rounding of its kernel, as normalizations tell it.

    Args:
        samples: the samples, of which none is computed, and the model.
        reals: what the layers are in real numbers.
    """
    means = AnalyticMeans(samples.model)
    first = {real.call.layer.name: real for real in reversed(reals) if not real.call.layer.is_adapted}
    found = [(real.call.layer, analytic_lack(real, means)) for real in first.values()]
    known = [(layer, lack) for layer, lack in found if lack is not None]
    return _corrected(known)._replace(unknown=len(found) - len(known))


def _corrected(lacks: Iterable[tuple[QuantizedMatmul, np.ndarray]]) -> Corrected:
    """Add to biases of layers what they lack, one after the other."""
    corrections, without = [], []
    for layer, lack in lacks:
        bias = _bias(layer)
        if bias is None:
            without.append(layer.name)
            continue
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


def _bias(layer: QuantizedMatmul) -> keras.Variable | None:
    """The weight that is added to each channel of a layer's results; None for none."""
    if layer.normalization is not None:
        return layer.normalization.beta if layer.normalization.center else None
    return layer.layer.bias
