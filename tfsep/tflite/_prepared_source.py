"""A model of `quantize.prepare` as the source of its file: kernels, biases, scales and outputs are its own."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Self

import numpy as np

from tfsep._flatbuffer.reader import operator_name, type_name
from tfsep._keras.backend import keras, tf
from tfsep._keras.model_graph import operation_of
from tfsep._keras.model_io import inputs_of
from tfsep._keras.types import Model
from tfsep.quantize import ActivationQuantizer, QuantizedMatmul
from tfsep.quantize._inference_mode import litert_rounding
from tfsep.quantize._layer_results import results_of
from tfsep.quantize._places import Argmax
from tfsep.quantize._prepared_model import float_layers_of, runtime_of
from tfsep.tflite._empty_ranges import SMALLEST_RANGE
from tfsep.tflite._layer_outputs import LayerKey, LayerOutputs, outputs_in_batches
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._model_run import ModelRun
from tfsep.tflite._model_signature import ModelSignature
from tfsep.tflite._recipes import Recipe
from tfsep.tflite._roughness import ModelSamples
from tfsep.tflite._rounding_edges import RoundingEdges
from tfsep.tflite._stored_matmul import qparams_of, stored_matmul, with_kernel_scales
from tfsep.tflite._verify_report import VerificationError, VerifyReport

_ROUNDED_OTHERWISE = ("FULLY_CONNECTED", "LEAKY_RELU", "PRELU")
"""The operators of `litert_rounding`."""


@dataclass(frozen=True)
class PreparedSource:
    """A model of `quantize.prepare`; see `SourceModel`."""

    signature: ModelSignature

    @property
    def reference_kernels(self) -> bool:
        """Whether the model was prepared for the reference kernels."""
        return runtime_of(self.signature.model) == "reference"

    def sized_as(self, file: LiteRTModel) -> Self:
        """Return this model with the sizes of a file."""
        return replace(self, signature=self.signature.sized_as(file.inputs, file.outputs, file.output_order()))

    def require_exportable(self, recipe: Recipe, has_calibration: bool) -> None:
        """Raise unless the model can become a file of this recipe.

        Raises:
            ValueError: for a recipe that does not compute in int8, for calibration data, for a range that is empty, no
                number or too small for quantization parameters.
        """
        if (recipe.weights, recipe.activations) != ("int8", "int8"):
            raise ValueError(f"recipe: expected 'int8' for a model of quantize.prepare, got {recipe.name!r}")
        if has_calibration:
            raise ValueError(
                "calibration: expected None for a model of quantize.prepare, which has its ranges, got data"
            )
        for name, output in _quantized_outputs(self.signature.model):
            low, high = output.range()
            if not (isfinite(low) and isfinite(high)):
                raise ValueError(
                    f"model: expected ranges that are numbers, got [{low}, {high}] of {name!r}: where infinity "
                    "is padded, name the pooling behind it in float_layers of quantize.prepare"
                )
            if not output.has_range():
                raise ValueError(
                    f"model: expected ranges that training or quantize.observe has seen, got none of {name!r}"
                )
            if max(-low, high) < SMALLEST_RANGE:
                raise ValueError(
                    f"model: expected ranges that reach {SMALLEST_RANGE}, under which the converter gives no scale, "
                    f"got [{low:.3g}, {high:.3g}] of {name!r}: train the model, so that its numbers get a "
                    "size, or observe other data"
                )

    def finished(self, content: bytes) -> bytes:
        """Return a file with the kernels of layers whose scales are not the converter's."""
        return with_kernel_scales(content, self.signature.model)

    def element_counter(self, file: LiteRTModel) -> "_ElementCounter":
        """Return the counter of elements that differ."""
        return _ElementCounter(self, file)

    def check_weights(
        self, file: LiteRTModel, path: str | PathLike[str], report: VerifyReport, samples: ModelSamples
    ) -> tuple[VerifyReport, str]:
        """Raise unless the file stores the model's kernels, biases, scales and zero points, to the last bit.

        Raises:
            VerificationError: if one is not in the file.
        """
        del samples
        graph, name = file.flatbuffer.subgraphs[0], Path(path).name
        qparams = {found for found in map(qparams_of, graph.tensors) if found is not None}
        for layer, output in _quantized_outputs(self.signature.model):
            scale, zero = output.qparams()
            if (np.float32(scale), zero) not in qparams:
                raise VerificationError(
                    f"{name}: expected the quantization parameters of {layer!r}, scale {scale:.6g} and zero point "
                    f"{zero}, got none",
                    report,
                )
        stored = [found for operator in graph.operators or [] for found in stored_matmul(file.flatbuffer, operator)]
        for layer in self.signature.model.layers:
            if isinstance(layer, QuantizedMatmul) and not any(found.is_of(layer) for found in stored):
                raise VerificationError(
                    f"{name}: expected the kernel and bias of {layer.name!r}, got none of these numbers", report
                )
        return report, ""

    def comparable(self, file: LiteRTModel, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Return the inputs, those that the file quantizes in whole steps: LiteRT rounds halves otherwise."""
        order = self.signature.input_order(file.inputs)
        rounded = list(inputs)
        for place, info, grid in zip(order, file.inputs, file.input_grids, strict=True):
            if grid.scale and not info.scale:
                rounded[place] = grid.dequantize(grid.quantize(inputs[place]))
        return tuple(rounded)

    def notes(self, report: VerifyReport, file: LiteRTModel) -> list[str]:
        """Return remarks where no element is counted, and where inputs are rounded by the file."""
        notes = []
        if report.elements is None:
            notes += [
                "no element is counted, as no output is quantized; kernels, biases and quantization parameters are the "
                "model's"
            ]
        if any(grid.scale and not info.scale for info, grid in zip(file.inputs, file.input_grids, strict=True)):
            notes += [
                "verified on inputs in whole steps of the file's: LiteRT rounds an input halfway between two steps to "
                "either side, the model to the even one"
            ]
        return notes

    @cached_property
    def _layer_model(self) -> "tuple[Model, list[LayerKey], dict[LayerKey, set[LayerKey]]]":
        """The model with every result as an output; their keys; and of each the results that it is computed from."""
        model = self.signature.model
        results = results_of(model)
        times: Counter[str] = Counter()
        keys = []
        for result in results:
            keys.append(LayerKey(result.name, times[result.name]))
            times[result.name] += 1
        ancestors = {key: {keys[place] for place in result.before} for key, result in zip(keys, results, strict=True)}
        return keras.Model(inputs_of(model), [result.tensor for result in results]), keys, ancestors

    def layer_outputs(self, run: ModelRun) -> Callable[[Sequence[np.ndarray]], LayerOutputs]:
        """Return a function from samples to the quantized results, by the layers of the model that was prepared."""
        model, keys, ancestors = self._layer_model

        def computed(inputs: Sequence[np.ndarray]) -> LayerOutputs:
            arguments, _ = self.signature.form.arguments([tf.constant(array) for array in inputs])
            outputs = model(*arguments, training=False)
            return LayerOutputs(dict(zip(keys, map(np.asarray, outputs), strict=True)), ancestors)

        return lambda inputs: outputs_in_batches(computed, run.parts(inputs))


def _quantized_outputs(model: Model) -> list[tuple[str, ActivationQuantizer]]:
    """The layers that hold the quantization parameters, each with the name of the layer whose result it quantizes."""
    names: dict[int, str] = {}
    for result in results_of(model):
        names.setdefault(id(operation_of(result.tensor)), result.name)
    outputs = (layer for layer in model.layers if isinstance(layer, ActivationQuantizer))
    return [(names.get(id(output), str(output.name)), output) for output in outputs]


def _are_places(model: Model) -> bool:
    """Whether the outputs of a model that are whole numbers are all places among integers."""
    made = [operation_of(output) for output in model.outputs if "int" in output.dtype]
    return bool(made) and all(isinstance(operation, Argmax) for operation in made)


class _StepCounts:
    """How many elements of quantized outputs are a step or more off, and by how many steps at most."""

    def __init__(self) -> None:
        self.elements = self.differing = self.most_steps = 0

    def add(self, outputs: Sequence[np.ndarray]) -> None:
        for steps in outputs:
            self.elements += steps.size
            self.differing += int(np.count_nonzero(steps))
            self.most_steps = int(max(self.most_steps, min(steps.max(initial=0), 10**9)))


class _ElementCounter:
    """Elements that differ from the model's; again with the file's own rounding, where that is not the model's."""

    def __init__(self, source: PreparedSource, file: LiteRTModel) -> None:
        self._signature, self._file = source.signature, file
        self._float_layers = float_layers_of(source.signature.model)
        self._otherwise = _operators_rounded_otherwise(file) if source.reference_kernels else ()
        self._places = _are_places(source.signature.model)
        self._edges: RoundingEdges | None = None
        self._counts, self._unexplained = _StepCounts(), _StepCounts()

    def add(self, inputs: Sequence[np.ndarray], expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]) -> None:
        """Add a batch."""
        steps = self._steps_off(expected, actual)
        self._counts.add(steps)
        with litert_rounding() if self._otherwise else nullcontext():
            if self._otherwise:
                steps = self._steps_off(ModelRun(self._signature)(inputs), actual)
            if self._float_layers and any(map(np.any, steps)):
                self._edges = self._edges or RoundingEdges(self._signature, self._file)
                steps = self._steps_off(self._edges.outputs(inputs), actual)
        self._unexplained.add(steps)

    def _steps_off(self, expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]) -> list[np.ndarray]:
        """By how many steps each element of the quantized outputs is off; of places among integers, by one or none."""
        found = []
        for info, ours, theirs in zip(self._file.output_grids, expected, actual, strict=True):
            if info.scale:
                steps = np.rint(np.abs(theirs.astype(np.float64) - ours.astype(np.float64)) / info.scale)
                found.append(np.nan_to_num(steps, nan=np.inf))
            elif self._places and ours.dtype.kind == "i":
                found.append(np.not_equal(ours, theirs).astype(np.float64))
        return found

    def complete(self, report: VerifyReport) -> VerifyReport:
        """Return a report with the counts."""
        counts, left = self._counts, self._unexplained
        if not counts.elements:
            return report
        explains, edges = bool(self._otherwise or self._float_layers), self._edges
        return replace(
            report,
            elements=counts.elements,
            differing=counts.differing,
            steps=counts.most_steps,
            otherwise=self._otherwise,
            float_layers=self._float_layers,
            edges=(0 if edges is None else edges.count) if self._float_layers else None,
            edge_noise=None if edges is None else edges.noise,
            unexplained=left.differing if explains else None,
            unexplained_steps=left.most_steps if explains else None,
        )


def _operators_rounded_otherwise(file: LiteRTModel) -> tuple[str, ...]:
    """The operators of a file that LiteRT rounds otherwise than microcontrollers do, see `litert_rounding`."""
    graph = file.flatbuffer.subgraphs[0]
    in_integers = {
        operator_name(file.flatbuffer, operator)
        for operator in graph.operators or []
        if type_name(graph.tensors[operator.outputs[0]]) == "int8"
    }
    return tuple(name for name in _ROUNDED_OTHERWISE if name in in_integers)
