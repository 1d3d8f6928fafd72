"""Files of prepared models: their numbers are the model's own, every kernel, bias and grid."""

from collections.abc import Iterator
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfsep._flatbuffer.constants import stored_numbers
from tfsep._keras.model_graph import operation_of
from tfsep.quantize import QuantizedLinear, QuantizedOutput, results_of
from tfsep.tflite._interpreter import Runner
from tfsep.tflite._recipes import Recipe
from tfsep.tflite._verify_report import VerificationError, VerifyReport

_LAST_PLACE = 2.0**-23
"""How much two neighbours in float32 differ by, at most, as a share of them."""

_EXACT = 2**24
"""Up to here a bias is rounded in the graph already, and exact. Those of channels that normalization all but closes are
larger: float32 then keeps them to its last place, which is far under a step of the output."""

_SMALLEST_RANGE = 1e-6
"""The converter gives a grid of its own to tensors whose numbers are all smaller."""


def _outputs(model: Any) -> list[tuple[str, QuantizedOutput]]:
    """What has the grids of a prepared model, with the name of the layer that it is of."""
    names: dict[int, str] = {}
    for result in results_of(model):
        names.setdefault(id(operation_of(result.tensor)), result.name)
    outputs = (layer for layer in model.layers if isinstance(layer, QuantizedOutput))
    return [(names.get(id(output), str(output.name)), output) for output in outputs]


def require_exportable(model: Any, recipe: Recipe, calibration: Any) -> None:
    """Raise unless a prepared model can become a file of this recipe.

    Raises:
        ValueError: for a recipe that does not compute in int8, for calibration data, for a range that is empty, no
            number or too small for a grid.
    """
    if (recipe.weights, recipe.activations) != ("int8", "int8"):
        raise ValueError(f"recipe: expected 'int8' for a model of quantize.prepare, got {recipe.name!r}")
    if calibration is not None:
        raise ValueError("calibration: expected None for a model of quantize.prepare, which has its ranges, got data")
    for name, output in _outputs(model):
        low, high = output.range()
        if not (isfinite(low) and isfinite(high)):
            raise ValueError(f"model: expected ranges that are numbers, got [{low}, {high}] of {name!r}")
        if not output.has_range():
            raise ValueError(f"model: expected ranges that training or quantize.observe has seen, got none of {name!r}")
        if max(-low, high) < _SMALLEST_RANGE:
            raise ValueError(
                f"model: expected ranges that reach {_SMALLEST_RANGE}, from where on there are grids, got [{low:.3g}, "
                f"{high:.3g}] of {name!r}: train the model, so that its numbers get a size, or observe other data"
            )


def require_same_numbers(model: Any, runner: Runner, path: str | PathLike[str], report: VerifyReport) -> None:
    """Raise unless a file stores a prepared model's kernels, biases, scales and zero points, to the last bit.

    Raises:
        VerificationError: if one is not in the file.
    """
    graph = runner.flatbuffer.subgraphs[0]
    grids = {grid for grid in map(_grid, graph.tensors) if grid is not None}
    for name, output in _outputs(model):
        scale, zero = output.grid()
        if (np.float32(scale), zero) not in grids:
            raise VerificationError(
                f"{Path(path).name}: expected the grid of {name!r}, scale {scale:.6g} and zero point {zero}, got none",
                report,
            )
    stored = [found for operator in graph.operators or [] for found in _stored(runner.flatbuffer, operator)]
    for layer in model.layers:
        if isinstance(layer, QuantizedLinear) and not any(found.is_of(layer) for found in stored):
            raise VerificationError(
                f"{Path(path).name}: expected the kernel and bias of {layer.name!r}, got none of these numbers", report
            )


def _grid(tensor: Any) -> tuple[np.float32, int] | None:
    """The one scale and zero point of a tensor, where it has them."""
    own = tensor.quantization
    if own is None or own.scale is None or len(own.scale) != 1:
        return None
    return np.float32(own.scale[0]), int(own.zeroPoint[0])


class _Stored(NamedTuple):
    """What an operator of a file computes with.

    Attributes:
        kernel: whole numbers, a row an output channel.
        scales: an output channel.
        bias: whole numbers; zeros where it has none.
        input_scale: of what it takes.
    """

    kernel: np.ndarray
    scales: np.ndarray
    bias: np.ndarray
    input_scale: np.float32

    def is_of(self, layer: QuantizedLinear) -> bool:
        """Whether these are a layer's numbers."""
        kernel, bias, scales = (np.asarray(part) for part in layer.stored(self.input_scale))
        left = np.where(np.abs(bias) < _EXACT, 0, np.abs(bias) * _LAST_PLACE)
        return (
            np.array_equal(self.kernel, kernel)
            and bool(np.all(np.abs(self.bias - bias) <= left))
            # Where the converter widens a scale it goes by the input's in float64, which no file keeps.
            and np.allclose(self.scales, scales, rtol=_LAST_PLACE, atol=0)
        )


def _stored(model: Any, operator: Any) -> Iterator[_Stored]:
    """Yield what an operator with a kernel computes with."""
    tensors = [model.subgraphs[0].tensors[index] for index in operator.inputs if index >= 0]
    arrays = [(tensor, stored_numbers(model, tensor)) for tensor in tensors]
    kernels = [(tensor.quantization, array) for tensor, array in arrays if array is not None and array.dtype == np.int8]
    biases = [array for _, array in arrays if array is not None and array.dtype == np.int32 and array.ndim == 1]
    inputs = [grid for tensor, array in arrays if array is None and (grid := _grid(tensor)) is not None]
    if len(kernels) != 1 or len(inputs) != 1:
        return
    (own, kernel), (scale, _) = kernels[0], inputs[0]
    rows = np.moveaxis(kernel, own.quantizedDimension, 0)
    # Behind the shape of a transposed convolution's result comes its bias.
    bias = next((array for array in reversed(biases) if len(array) == len(rows)), np.zeros(len(rows), np.int32))
    yield _Stored(rows.reshape(len(rows), -1), np.asarray(own.scale, np.float32), bias, scale)
