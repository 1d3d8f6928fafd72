"""Analytic bias correction: what rounding a kernel adds to each channel, by the statistics of batch normalization.

Behind a normalization, a channel is taken as normally distributed, with the shift as its mean and the scale as its
standard deviation, and clipped by the rectifier. No sample is computed.

Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv 1906.04721),
section 4.2.1 and appendix C.
"""

from math import erf, exp, inf, pi, sqrt

import numpy as np

from tfsep._keras.backend import keras
from tfsep._keras.inference_identities import INFERENCE_IDENTITIES
from tfsep._keras.model_graph import Call, calls_behind
from tfsep._keras.types import Model, Tensor
from tfsep.quantize._activation_quantizer import ActivationQuantizer
from tfsep.quantize._activations import FUSED_ACTIVATIONS
from tfsep.quantize._quantized_average_pooling import QuantizedAveragePooling
from tfsep.quantize._quantized_matmul import QuantizedMatmul
from tfsep.quantize._real_results import RealResults

L = keras.layers

_MEANS = (QuantizedAveragePooling, L.UpSampling1D, L.UpSampling2D, *INFERENCE_IDENTITIES)
"""Layers whose results have the means of what they take."""


def clipped_mean(mean: float, deviation: float, low: float, high: float) -> float:
    """Return the mean of a normally distributed number that is clipped to [low, high].

    Examples:
        >>> round(clipped_mean(0.0, 1.0, 0.0, inf), 4)  # 1 / √(2π)
        0.3989
    """
    if deviation <= 0:
        return min(max(mean, low), high)
    a, b = (low - mean) / deviation, (high - mean) / deviation
    inside = _below(b) - _below(a)
    clipped = sum(end * share for end, share in ((low, _below(a)), (high, 1 - _below(b))) if share)
    return clipped + mean * inside + deviation * (_density(a) - _density(b))


def _below(z: float) -> float:
    return (1 + erf(z / sqrt(2))) / 2


def _density(z: float) -> float:
    return exp(-z * z / 2) / sqrt(2 * pi)


class AnalyticMeans:
    """The means of channels in a prepared model, as far as normalizations tell them.

    Args:
        model: the prepared model, its kernels not rounded yet.
    """

    def __init__(self, model: Model) -> None:
        self._made_by = {id(tensor): call for call in calls_behind(model.outputs) for tensor in call.outputs}

    def input_scale(self, call: Call) -> float:
        """Return the scale of what a layer with a kernel takes."""
        return float(self._made_by[id(call.inputs[1])].operation.qparams()[0])

    def means(self, tensor: Tensor) -> np.ndarray | None:
        """Return the means of the channels of a tensor (C,); None where they are not known."""
        call = self._made_by[id(tensor)]
        layer = call.operation
        if isinstance(layer, ActivationQuantizer):
            return self._of_operation(call)
        if isinstance(layer, (L.Flatten, L.Reshape)):
            means, channels = self.means(call.inputs[0]), tensor.shape[-1]
            if means is None or channels is None or channels % len(means):
                return None
            return np.tile(means, channels // len(means))
        return self.means(call.inputs[0]) if isinstance(layer, _MEANS) else None

    def _of_operation(self, call: Call) -> np.ndarray | None:
        fused = FUSED_ACTIVATIONS[call.kwargs["fused_activation"]]
        source = self._made_by[id(call.inputs[0])].operation
        if isinstance(source, QuantizedMatmul):
            normalization = source.normalization
            if normalization is None:
                return None
            filters = call.inputs[0].shape[-1]
            center = np.asarray(normalization.beta, "float64") if normalization.center else np.zeros(filters)
            deviation = np.abs(np.asarray(normalization.gamma, "float64")) if normalization.scale else np.ones(filters)
            most = call.operation.max_value
            low, high = (-inf if fused.low is None else fused.low), (fused.high or most or inf)
            return np.array([clipped_mean(*each, low, high) for each in zip(center, deviation, strict=True)])
        if call.kwargs["fused_activation"] != "linear" or call.operation.max_value is not None:
            return None
        sources = [means for tensor in call.inputs[::2] if (means := self.means(tensor)) is not None]
        if 2 * len(sources) < len(call.inputs):
            return None
        if call.kwargs["operation"] == "add":
            return np.sum(np.broadcast_arrays(*sources), 0)
        channels = len(call.inputs[0].shape) - 1
        is_mean = call.kwargs["operation"] == "mean" and channels not in call.kwargs["options"]["axes"]
        return sources[0] if is_mean else None


def analytic_lack(real: RealResults, means: AnalyticMeans) -> np.ndarray | None:
    """Return what the mean of each channel of a layer lacks (F,) as its kernel is rounded; None where it isn't known.

    Pixels that are padded count as others.
    """
    layer, products = real.call.layer, real.products()
    inputs = means.means(real.call.call.inputs[0])
    if inputs is None or products.is_transposed:
        return None
    whole, _, scale = (np.asarray(part, "float64") for part in layer.stored(means.input_scale(real.call.call)))
    kernel = products.grouped(real.kernel)
    rounded = products.of_filters(whole) * scale.reshape(len(kernel), 1, -1)
    lack: np.ndarray = np.einsum("gk,gkf->gf", products.means(inputs), kernel - rounded)
    return lack.ravel()
