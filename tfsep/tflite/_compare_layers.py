"""The error of a file layer by layer: which layer loses what its outputs lack."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf, isfinite, log10
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.layer_calls import watch_layer_calls
from tfsep._keras.model_io import inputs_of
from tfsep._utils.arguments import as_path
from tfsep._utils.table import Table
from tfsep.layers import DepthwiseSeparableConv
from tfsep.models import load_model
from tfsep.quantize import is_prepared, results_of
from tfsep.tflite._comparison import file_order, sized_as
from tfsep.tflite._interpreter import Runner
from tfsep.tflite._model_signature import Interface, interface_of
from tfsep.tflite._sample_reader import Reader

_ALIKE = 0.25
"""The least likeness of a layer's output and a tensor that may hold it."""
_CHUNK = 32
"""Samples at once, whose every layer is in memory."""


class LayerRow(NamedTuple):
    """One layer of a model and the tensor of a file that holds its output.

    Attributes:
        name: of the layer, as ``quantize.prepare(model, float_layers=[name])`` takes it: in a
            `tfsep.layers.DepthwiseSeparableConv` that of the block and the part; in a prepared model, that of the layer
            in the model that was prepared.
        tensor: number of the file's tensor.
        shape: of a sample.
        sqnr: signal to quantization noise, ``10·log10(Σ model² / Σ (file − model)²)``, in dB; infinite where nothing
            differs. A step of 8 bits over the whole range costs some 40 to 50.
        max_error: largest absolute difference.
        cosine: of the angle between both, over all samples.
        result: 0 of the first result of that name; more where a layer is called again, or is several operators.
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
        """The name, with the number of the result where that is not the first."""
        return f"{self.name}#{self.result}" if self.result else self.name

    def measures(self) -> tuple[str, str, str]:
        """Return the three numbers as text."""
        return f"{self.sqnr:.1f}", f"{self.max_error:.3g}", f"{self.cosine:.6f}"


@dataclass(frozen=True)
class LayerReport:
    """The layers of a model beside those of a file, in the order in which the file computes them.

    Attributes:
        path: of the file.
        samples: how many were run.
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
        """Return a row a layer."""
        return Table(
            ("layer", "tensor", "shape", "SQNR, dB", "largest error", "cosine"),
            [(r.label, r.tensor, "×".join(map(str, r.shape)), *r.measures()) for r in self.rows],
        )

    def __str__(self) -> str:
        """Return the table as text."""
        return self.table().text()

    def plot(self, path: str | PathLike[str]) -> Path:
        """Draw the ratio of signal to noise of each layer, in the file's order, into an image file; return its path.

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
        # Where nothing differs the bar is as long as the longest.
        longest = max(finite, default=1.0)
        axes.barh([row.label for row in self.rows], [min(row.sqnr, longest) for row in self.rows])
        axes.invert_yaxis()
        axes.set_xlabel("signal to quantization noise, dB")
        axes.set_title(f"{self.path.name}, {self.samples} samples")
        figure.savefig(target)
        return target


def compare_layers(model: Any, path: str | PathLike[str], data: Any) -> LayerReport:
    """Compare every layer's output with what a file has for it.

    A file has no layers, and its tensors' names are what the converter left of them; so a layer's output is looked for
    among the tensors of as many numbers, the nearest pair first, each once, and only where the order is kept: what
    comes from a layer comes from that layer's tensor. What a file does not have on its own, as a convolution in front
    of its rectifier, has no row, nor has a layer that hands on what it gets. The file runs on TensorFlow Lite's own
    kernels, which keep every tensor, where XNNPACK's do not; they may differ by a step here and there. A layer that
    loses much is left in float32 by the name that its row has.

    Args:
        model: the Keras model, or the path of its ``.keras`` file; the float one, for what quantization costs.
        path: of the ``.tflite`` file, of any recipe.
        data: as `verify` takes it; some tens of samples tell.

    Returns:
        A row a layer, as a table and a plot.

    Raises:
        ValueError, TypeError, FileNotFoundError: as `verify`.

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
    interface = interface_of(load_model(model) if isinstance(model, str | PathLike) else model)
    runner = Runner(path, keep=True)
    interface = sized_as(interface, runner)
    order, probe = file_order(interface, runner), _probe(interface)
    pairs: dict[int, tuple[_Key, _Sums]] | None = None
    samples = 0
    for batch in Reader(interface.fields).chunks(data, _CHUNK):
        inputs = batch.inputs
        ours, layers_before = probe(inputs)
        theirs = runner.tensors([inputs[i] for i in order])
        if pairs is None:
            matched = _matched(ours, theirs, layers_before, runner.tensors_before())
            pairs = {tensor: (key, _Sums()) for tensor, key in matched.items()}
        for tensor, (key, sums) in pairs.items():
            sums.add(ours[key], theirs[tensor])
        samples += batch.size
    if pairs is None:
        raise ValueError("data: expected at least one sample, got none")
    if not pairs:
        raise ValueError(f"path: expected a file of {interface.model.name!r}, got {path}, which has no layer of it")
    return LayerReport(Path(path), samples, tuple(sums.row(key, tensor) for tensor, (key, sums) in pairs.items()))


class _Key(NamedTuple):
    """A result: the name of its layer, and how many of that name came before."""

    name: str
    result: int


_Outputs = tuple[dict[_Key, np.ndarray], dict[_Key, set[_Key]]]
"""Each result, and the results that it comes from."""


def _probe(interface: Interface) -> Callable[[Sequence[np.ndarray]], _Outputs]:
    """What computes the results of all layers: of a prepared model those on its grids, else those of layers' calls."""
    if not is_prepared(interface.model):
        return partial(_layer_outputs, interface)
    results = results_of(interface.model)
    times: Counter[str] = Counter()
    keys = []
    for result in results:
        keys.append(_Key(result.name, times[result.name]))
        times[result.name] += 1
    before = {key: {keys[place] for place in result.before} for key, result in zip(keys, results, strict=True)}
    model = keras.Model(inputs_of(interface.model), [result.tensor for result in results])

    def run(inputs: Sequence[np.ndarray]) -> _Outputs:
        outputs = model(interface.structure([tf.constant(array) for array in inputs]))
        return dict(zip(keys, map(np.asarray, outputs), strict=True)), before

    return run


def _layer_outputs(interface: Interface, inputs: Sequence[np.ndarray]) -> _Outputs:
    """Each layer's output, and the layers that it comes from.

    A model's output is that of its last layer, and is there once, under the name of that.
    """
    made: dict[int, _Key] = {}
    outputs: dict[_Key, Any] = {}
    before: dict[_Key, set[_Key]] = {}
    around: list[Any] = []

    def leave(layer: Any, given: Any, result: Any) -> None:
        around.pop()
        first = tf.nest.flatten(result)[0]
        if getattr(first, "dtype", None) != tf.float32 or id(first) in made:
            return
        name = _name_of(layer, [own for own in around if not isinstance(own, keras.Model)])
        key = _Key(name, sum(other.name == name for other in outputs))
        sources = {made[id(tensor)] for tensor in tf.nest.flatten(given) if id(tensor) in made}
        # That the tensors are kept keeps their ids their own.
        made[id(first)], outputs[key] = key, first
        before[key] = sources.union(*(before[source] for source in sources))

    with watch_layer_calls(around.append, leave):
        interface(inputs)
    return {key: np.asarray(output) for key, output in outputs.items()}, before


def _name_of(layer: Any, around: list[Any]) -> str:
    """The name that `quantize.prepare` knows a layer by, which is called inside of composite ones."""
    match around:
        case []:
            return str(layer.name)
        case [DepthwiseSeparableConv() as block]:
            return f"{block.name}_{layer.name}"
    return str(around[0].name)


def _matched(
    ours: dict[_Key, np.ndarray],
    theirs: dict[int, np.ndarray],
    layers_before: dict[_Key, set[_Key]],
    tensors_before: dict[int, set[int]],
) -> dict[int, _Key]:
    """The layer of each of the file's tensors, in the file's order: the nearest pair first, each once, in order."""
    pairs = []
    for tensor, values in theirs.items():
        for key, output in ours.items():
            if output.size == values.size and len(output) == len(values):
                sums = _Sums.of(output, values)
                if sums.likeness() > _ALIKE:
                    pairs.append((-sums.sqnr(), output.shape != values.shape, tensor, key))
    found: dict[int, _Key] = {}

    def in_order(tensor: int, key: _Key) -> bool:
        return all(
            (other not in layers_before[key] or known in tensors_before[tensor])
            and (key not in layers_before[other] or tensor in tensors_before[known])
            for known, other in found.items()
        )

    # A sort that keeps the order of equals: of layers that only hand on what they get, the first.
    for _, _, tensor, key in sorted(pairs, key=lambda pair: pair[:2]):
        if tensor not in found and key not in found.values() and in_order(tensor, key):
            found[tensor] = key
    return {tensor: found[tensor] for tensor in theirs if tensor in found}


class _Sums:
    """Sums over the elements of one layer's output."""

    def __init__(self) -> None:
        self._model = self._file = self._product = self._noise = self._max = 0.0
        self._shape: tuple[int, ...] = ()

    @classmethod
    def of(cls, model: np.ndarray, file: np.ndarray) -> "_Sums":
        """The sums of one batch."""
        sums = cls()
        sums.add(model, file)
        return sums

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

    def likeness(self) -> float:
        """The cosine times the smaller size through the larger: 1 for equals, small for what has another scale."""
        larger = max(self._model, self._file)
        return self._product / larger if larger else 1.0

    def row(self, key: _Key, tensor: int) -> LayerRow:
        return LayerRow(key.name, tensor, self._shape, self.sqnr(), self._max, self.cosine(), key.result)
