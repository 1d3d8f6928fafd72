"""Quantization-aware training for Keras 3, whose inference is, to the last bit, what an int8 file computes.

`prepare` rebuilds a model from four kinds of layer: `QuantizedLinear` sums products of 8-bit numbers,
`QuantizedOutput` computes everything else and puts each result on a grid of 8 bits, `QuantizedAveragePooling` rounds
where pooling does, and `Dequantized` leads to what stays in float32. `Spread` makes plain convolutions of transposed
ones that integer kernels do not have. Between them go real numbers on a grid, and the
grid, a tensor (2,): scale and zero point.
"""

from tfsep.quantize._activation_quantizer import Dequantized, QuantizedAveragePooling, QuantizedOutput
from tfsep.quantize._config import Config
from tfsep.quantize._inference_mode import litert_rounding
from tfsep.quantize._layer_results import Result, results_of
from tfsep.quantize._logits import logits_of
from tfsep.quantize._prepare import prepare
from tfsep.quantize._prepared_model import (
    FreezeBatchNorm,
    float_layers_of,
    freeze_batch_norm,
    is_prepared,
    observe,
    require_prepared,
    runtime_of,
)
from tfsep.quantize._quantized_matmul import QuantizedLinear
from tfsep.quantize._transposed_lowering import Spread

__all__ = [
    "Config",
    "Dequantized",
    "FreezeBatchNorm",
    "QuantizedAveragePooling",
    "QuantizedLinear",
    "QuantizedOutput",
    "Result",
    "Spread",
    "float_layers_of",
    "freeze_batch_norm",
    "is_prepared",
    "litert_rounding",
    "logits_of",
    "observe",
    "prepare",
    "require_prepared",
    "results_of",
    "runtime_of",
]
