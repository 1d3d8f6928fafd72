"""Quantization-aware training for Keras 3, whose inference is, to the last bit, what an int8 file computes.

`prepare` works in three stages. It lists the *calls* of a model, nested models opened and composite layers decomposed
(``_call_list``, ``_decompositions``). It makes a *plan* of them (``_plan``, ``_planner``): which layers one integer
operator computes, which results share a range, what stays in float32 and why (``_refusals``). The plan is a list of
*planned operations* (``_planned_op``), each a row of the table in ``_operations``. Last it makes their *layers*
(``_prepare``): `QuantizedMatmul` sums integer products; `ActivationQuantizer` computes everything else, tracks the
range of each result, and quantizes it; `QuantizedAveragePooling` rounds where pooling does; `ZeroInsertion` makes plain
convolutions of transposed ones; `Dequantize` leads to float32 layers, and holds the reason, which `coverage` lists.

`calibrate` makes a prepared model of samples: it draws them (``_calibration_samples``), scales channels across layers
(``_channel_pairs``, ``_equalization``), chooses ranges by their histograms (``_histogram``, ``_range_choice``), those
of kernels by error (``_weight_scales``), learns the rounding of kernels (``_adaptive_rounding``, ``_rounding_steps``;
``_kernel_rows`` for the products of each kind), corrects biases (``_bias_correction``, ``_analytic_means``), and says
what each gained (``_calibration_report``). Rounding and biases follow what the layers compute in real numbers
(``_real_results``), and go through the model once (``_sample_run``). `sensitivity` computes such a model with any
operations in integers and the others in real numbers (``_partly_quantized``).

Between these layers go real numbers that are multiples of a scale, together with their quantization parameters
(``qparams``), a tensor (2,): scale and zero point.
"""

from tfsep.quantize._activation_quantizer import ActivationQuantizer
from tfsep.quantize._calibrate import calibrate
from tfsep.quantize._calibration_report import CalibrationReport, CalibrationRow, RoundedLayer
from tfsep.quantize._config import Config
from tfsep.quantize._coverage import Coverage, coverage
from tfsep.quantize._covered_calls import CoverageRow
from tfsep.quantize._dequantize import Dequantize
from tfsep.quantize._freeze_batch_norm import FreezeBatchNorm, freeze_batch_norm
from tfsep.quantize._function_table import FunctionTable
from tfsep.quantize._logits import logits_of
from tfsep.quantize._observe import observe
from tfsep.quantize._prepare import prepare
from tfsep.quantize._quantized_average_pooling import QuantizedAveragePooling
from tfsep.quantize._quantized_matmul import QuantizedMatmul
from tfsep.quantize._quantized_slopes import QuantizedSlopes
from tfsep.quantize._sensitivity import Sensitivity, SensitivityRow, sensitivity
from tfsep.quantize._zero_insertion import ZeroInsertion

__all__ = [
    "ActivationQuantizer",
    "CalibrationReport",
    "CalibrationRow",
    "Config",
    "Coverage",
    "CoverageRow",
    "Dequantize",
    "FreezeBatchNorm",
    "FunctionTable",
    "QuantizedAveragePooling",
    "QuantizedMatmul",
    "QuantizedSlopes",
    "RoundedLayer",
    "Sensitivity",
    "SensitivityRow",
    "ZeroInsertion",
    "calibrate",
    "coverage",
    "freeze_batch_norm",
    "logits_of",
    "observe",
    "prepare",
    "sensitivity",
]
