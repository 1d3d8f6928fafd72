"""The error of a file layer by layer."""

from dataclasses import dataclass
from math import inf, isfinite, log10
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfsep._keras.foreign_state import foreign_state_kept
from tfsep._keras.types import Data, Model
from tfsep._utils.arguments import as_path
from tfsep._utils.table import Table
from tfsep.tflite._layer_outputs import LayerKey, LayerOutputs
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._model_run import model_run
from tfsep.tflite._source_model import SourceModel, source_and_file

_LEAST_SIMILARITY = 0.25
"""Of a layer's output and a tensor that may hold it."""
_CHUNK = 32
"""Samples at once: the outputs of all layers are in memory."""


class LayerRow(NamedTuple):
    """One layer of a model beside the tensor of a file that holds its output.

    Attributes:
        name: name of the layer, as ``quantize.prepare(model, float_layers=[name])`` takes it: in a
            `tfsep.layers.DepthwiseSeparableConv` that of the block and the part; in a prepared model, that of the layer
            in the model that was prepared.
        tensor: number of the file's tensor.
        shape: shape of a sample.
        sqnr: signal to quantization noise, ``10·log10(Σ model² / Σ (file − model)²)``, in dB; infinite where nothing
            differs. A step of 8 bits over the whole range costs some 40 to 50.
        max_error: largest absolute difference.
        cosine: cosine of the angle between both, over all samples.
        result: 0 for the first result of that name; higher where a layer is called again, or becomes several operators.
    """

    name: str
    tensor: int
    shape: tuple[int, ...]
    sqnr: float
    max_error: float
    cosine: float
    result: int = 0

    @property
    def label(self) -> str:
        """The name, with the number of the result after the first."""
        return f"{self.name}#{self.result}" if self.result else self.name

    def measures(self) -> tuple[str, str, str]:
        """Return the three numbers as text."""
        return f"{self.sqnr:.1f}", f"{self.max_error:.3g}", f"{self.cosine:.6f}"


@dataclass(frozen=True)
class LayerReport:
    """The layers of a model beside those of a file, in the order in which the file computes them.

    Attributes:
        path: path of the file.
        samples: the number of samples.
        rows: the layers.
    """

    path: Path
    samples: int
    rows: tuple[LayerRow, ...]

    @property
    def worst(self) -> LayerRow:
        """The layer with the smallest ratio of signal to noise."""
        return min(self.rows, key=lambda row: row.sqnr)

    def table(self) -> Table:
        """Return a row for each layer."""
        return Table(
            ("layer", "tensor", "shape", "SQNR, dB", "largest error", "cosine"),
            [(r.label, r.tensor, "×".join(map(str, r.shape)), *r.measures()) for r in self.rows],
        )

    def __str__(self) -> str:
        """Return the table as text."""
        return self.table().text()

    def plot(self, path: str | PathLike[str]) -> Path:
        """Draw the ratio of signal to noise of each layer, in the file's order, into an image file; return its path.

        Args:
            path: path of the image, in a format that Matplotlib writes.

        Raises:
            FileNotFoundError: if its folder does not exist.
        """
        from matplotlib.figure import Figure

        target = as_path(path, "path")
        if not target.parent.is_dir():
            raise FileNotFoundError(f"path: expected a file in a folder that exists, got {target}")
        figure = Figure(figsize=(8, 1 + 0.25 * len(self.rows)), layout="constrained")
        axes = figure.subplots()
        finite = [row.sqnr for row in self.rows if isfinite(row.sqnr)]
        # An infinite ratio gets a bar as long as the longest.
        longest = max(finite, default=1.0)
        axes.barh([row.label for row in self.rows], [min(row.sqnr, longest) for row in self.rows])
        axes.invert_yaxis()
        axes.set_xlabel("signal to quantization noise, dB")
        axes.set_title(f"{self.path.name}, {self.samples} samples")
        figure.savefig(target)
        return target


def compare_layers(model: Model | str | PathLike[str], path: str | PathLike[str], data: Data) -> LayerReport:
    """Compare every layer's output with the corresponding tensor of a file.

    A file has no layers, and the converter changes the names of its tensors. So a layer's output is matched with the
    tensors of as many numbers, the nearest pair first, each once, and only in the graph's order: layers that follow a
    layer are matched with tensors that follow its tensor. A layer without a tensor of its own has no row, such as a
    convolution that is fused with its rectifier, or a layer that returns its input. The file runs on TensorFlow Lite's
    own kernels, which keep every tensor; XNNPACK's, which do not, may differ by a step here and there. To leave a layer
    of large error in float32, give the name in its row to ``quantize.prepare(model, float_layers=[name])``.

    Args:
        model: the Keras model, or the path of its ``.keras`` file; the one in floats, to see the cost of quantization.
        path: path of the ``.tflite`` file, of any recipe.
        data: some tens of samples: an array (N, ...) of the model's input; for several inputs a tuple of arrays in the
            model's own order, or a dict by name; or an iterable of any of these, a ``tf.data.Dataset`` or a generator.

    Returns:
        A row for each layer, as a table and a plot.

    Raises:
        ValueError, TypeError: for data of another shape or dtype, with NaN, or of no sample; for a file of another
            model, or a damaged one.
        FileNotFoundError: if there is no such file.

    Examples:
        >>> from tfsep.tflite import export
        >>> model = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(4, 3, name="conv")])
        >>> data = np.random.default_rng(0).normal(size=(16, 8, 8, 2)).astype("float32")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = export(model, f"{folder}/model.tflite", "int8", data).path
        ...     report = compare_layers(model, path, data)
        >>> [row.name for row in report.rows], report.worst.sqnr > 30
        (['conv'], True)
    """
    with foreign_state_kept(model):
        return _compared(*source_and_file(model, path, data, keep_tensors=True), Path(path))


def _compared(source: SourceModel, file: LiteRTModel, data: Data, path: Path) -> LayerReport:
    """The report on a model and its file."""
    signature = source.signature
    order = signature.input_order(file.inputs)
    pairs: dict[int, tuple[LayerKey, _LayerError]] | None = None
    samples = 0
    with model_run(signature) as run:
        layer_outputs = source.layer_outputs(run)
        for batch in signature.reader(with_labels=False).chunks(data, _CHUNK):
            layers = layer_outputs(batch.inputs)
            tensors = file.operator_outputs([batch.inputs[i] for i in order])
            if pairs is None:
                matched = _match_layers(layers, tensors, file.tensor_ancestors())
                pairs = {tensor: (key, _LayerError()) for tensor, key in matched.items()}
            for tensor, (key, error) in pairs.items():
                error.add(layers.arrays[key], tensors[tensor])
            samples += batch.size
    if pairs is None:
        raise ValueError("data: expected at least one sample, got none")
    if not pairs:
        raise ValueError(f"path: expected a file of {signature.model.name!r}, got {path}, which has no layer of it")
    return LayerReport(path, samples, tuple(error.row(key, tensor) for tensor, (key, error) in pairs.items()))


def _match_layers(
    layers: LayerOutputs, tensors: dict[int, np.ndarray], tensor_ancestors: dict[int, set[int]]
) -> dict[int, LayerKey]:
    """The layer of each of the file's tensors, in the file's order: the nearest pair first, each once, in order."""
    pairs = []
    for tensor, values in tensors.items():
        for key, output in layers.arrays.items():
            if output.size == values.size:
                error = _LayerError.of(output, values)
                if error.similarity() > _LEAST_SIMILARITY:
                    pairs.append((-error.sqnr(), output.shape != values.shape, tensor, key))
    found: dict[int, LayerKey] = {}

    def in_order(tensor: int, key: LayerKey) -> bool:
        return all(
            (other not in layers.ancestors[key] or known in tensor_ancestors[tensor])
            and (key not in layers.ancestors[other] or tensor in tensor_ancestors[known])
            for known, other in found.items()
        )

    # A stable sort: of layers that return their input, the first.
    for _, _, tensor, key in sorted(pairs, key=lambda pair: pair[:2]):
        if tensor not in found and key not in found.values() and in_order(tensor, key):
            found[tensor] = key
    return {tensor: found[tensor] for tensor in tensors if tensor in found}


class _LayerError:
    """Sums over the elements of one layer's output."""

    def __init__(self) -> None:
        self._model = self._file = self._product = self._noise = self._max = 0.0
        self._shape: tuple[int, ...] = ()

    @classmethod
    def of(cls, model: np.ndarray, file: np.ndarray) -> "_LayerError":
        """The sums of one batch."""
        error = cls()
        error.add(model, file)
        return error

    def add(self, model: np.ndarray, file: np.ndarray) -> None:
        self._shape = model.shape[1:]
        ours, theirs = (array.astype(np.float64).ravel() for array in (model, file))
        self._model += float(ours @ ours)
        self._file += float(theirs @ theirs)
        self._product += float(ours @ theirs)
        difference = theirs - ours
        self._noise += float(difference @ difference)
        self._max = max(self._max, float(np.abs(difference).max(initial=0.0)))

    def sqnr(self) -> float:
        if not self._noise:
            return inf
        return 10 * log10(self._model / self._noise) if self._model else -inf

    def cosine(self) -> float:
        size = float(np.sqrt(self._model * self._file))
        return self._product / size if size else float(self._model == self._file)

    def similarity(self) -> float:
        """The cosine times the ratio of the smaller norm to the larger: 1 for equal arrays, small for another scale."""
        larger = max(self._model, self._file)
        return self._product / larger if larger else 1.0

    def row(self, key: LayerKey, tensor: int) -> LayerRow:
        return LayerRow(key.name, tensor, self._shape, self.sqnr(), self._max, self.cosine(), key.result)
