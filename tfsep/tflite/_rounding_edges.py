"""Elements of float32 islands at a rounding edge: file and model, an ulp apart, round them to either side."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfsep._flatbuffer.reader import operator_name, type_name
from tfsep._keras.types import Tensor
from tfsep._utils.batch_filling import without_filling
from tfsep.quantize._inference_mode import rounding_edges_by
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._model_run import ModelRun
from tfsep.tflite._model_signature import ModelSignature

_MOST_NOISE = 2.0**-7
"""The largest difference of an island's float32 numbers in file and model, in steps, that is taken for noise."""
_LAST_PLACES = 2.0**-15
"""What rounding to float32 makes of a number of 8 bits, in steps, times two."""


class _Quantize(NamedTuple):
    """An operator of the file that quantizes what an island makes: numbers of its tensors, and the scale."""

    real: int
    stored: int
    scale: np.float32


class RoundingEdges:
    """A model that rounds the elements at an edge as its file does, and nothing else.

    Where an island's numbers differ from the file's by their noise, an element halfway between two steps is rounded to
    either side. The model takes the file's side, and computes on from there.

    Attributes:
        count: how many elements were rounded to the other side.
        noise: the largest difference of an island's numbers, in steps.

    Args:
        signature: the prepared model.
        file: its file.
    """

    def __init__(self, signature: ModelSignature, file: LiteRTModel) -> None:
        self._run, self._order = ModelRun(signature), signature.input_order(file.inputs)
        self._operators = _quantizations(file)
        self._numbers = [number for each in self._operators for number in (each.real, each.stored)]
        self._file = file.with_outputs(self._numbers)
        self._tensors: Mapping[int, np.ndarray] = {}
        self.count, self.noise = 0, 0.0

    def outputs(self, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Return the model's outputs on samples.

        Args:
            inputs: arrays in the order of the model's inputs.
        """
        parts = []
        for arrays, count in self._run.parts(inputs):
            self._tensors = self._file.tensors([arrays[place] for place in self._order], self._numbers)
            with rounding_edges_by(self._rounded):
                made = self._run.step(arrays, eager=True)
            parts.append([without_filling(output, len(arrays[0]), count) for output in made])
        return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))

    def _rounded(self, real: Tensor, qparams: Tensor, integers: Tensor) -> np.ndarray:
        """The integers of an island's real numbers, those at an edge as the file has them."""
        scale, own = np.asarray(qparams)[0], np.asarray(integers)
        ours = np.asarray(real, np.float64) / scale
        # The island's own operator in the file is the one with the nearest numbers.
        pairs = [
            [np.float64(self._tensors[number].reshape(ours.shape)) / scale for number in (each.real, each.stored)]
            for each in self._operators
            if each.scale == scale and self._tensors[each.real].size == ours.size
        ]
        noises = [float(np.max(np.abs(theirs - ours), initial=0.0)) for theirs, _ in pairs]
        noise = min(noises, default=np.inf)
        if not noise <= _MOST_NOISE:
            return own
        stored = np.rint(pairs[noises.index(noise)][1])
        at_edge = np.abs(ours - (stored + own) / 2) <= noise + _LAST_PLACES
        moved = at_edge & (np.abs(stored - own) == 1)
        self.noise, self.count = max(self.noise, noise), self.count + int(np.count_nonzero(moved))
        return np.where(moved, stored, own).astype(np.float32)


def _quantizations(file: LiteRTModel) -> list[_Quantize]:
    """The operators that quantize floats other than the file's inputs."""
    graph = file.flatbuffer.subgraphs[0]
    return [
        _Quantize(source, made, np.float32(graph.tensors[made].quantization.scale[0]))
        for operator in graph.operators or []
        if operator_name(file.flatbuffer, operator) == "QUANTIZE"
        for source, made in [(int(operator.inputs[0]), int(operator.outputs[0]))]
        if source not in graph.inputs and type_name(graph.tensors[source]) == "float32"
    ]
