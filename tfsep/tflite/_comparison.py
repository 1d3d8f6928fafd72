"""Comparing a file with its model: sums over any amount of data, and stored weights."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfsep._flatbuffer.reader import operator_name, type_name
from tfsep.quantize import float_layers_of, is_prepared, litert_rounding, runtime_of
from tfsep.tflite._interpreter import Runner, TensorInfo
from tfsep.tflite._model_signature import Interface
from tfsep.tflite._recipes import Recipe, recipe_of_types
from tfsep.tflite._sample_reader import Batch, Reader
from tfsep.tflite._verify_report import VerifyReport
from tfsep.tflite._weight_check import Weight, compare_weights, stored_weights


class _Moments:
    """Sums over the elements of one output."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = self._squares = self._error = 0.0

    def add(self, model: np.ndarray, difference: np.ndarray) -> None:
        self._count += model.size
        self._sum += float(model.sum())
        self._squares += float(np.sum(model**2))
        self._error += float(np.sum(difference**2))

    def error(self) -> float:
        """The RMS of the difference over how much the model's output varies."""
        return self._relative(np.sqrt(self._error / self._count))

    def grid(self, step: float) -> float:
        """Half a step of the grid that a file stores this output on, on the same scale: what rounding may add."""
        return self._relative(step / 2)

    def _relative(self, size: float) -> float:
        square, mean = self._squares / self._count, self._sum / self._count
        # A constant output has no deviation; a hundredth of its size stands in for it.
        deviation = max(np.sqrt(max(square - mean**2, 0.0)), 0.01 * np.sqrt(square))
        if size == 0:
            return 0.0
        return float(size / deviation) if deviation else float("inf")


def _require_labels(labels: np.ndarray, classes: int) -> None:
    if labels.dtype.kind not in "iu":
        raise TypeError(f"data: expected labels as ints, got {labels.dtype}")
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(
            f"data: expected labels of the model's classes, 0 to {classes - 1}, got {labels.min()} to {labels.max()}"
        )


class _Steps:
    """How many elements of quantized outputs are a step or more off, and by how many steps at most."""

    def __init__(self) -> None:
        self.elements = self.differing = self.most = 0

    def add(self, outputs: Sequence[TensorInfo], ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> None:
        for info, model, file in zip(outputs, ours, theirs, strict=True):
            if info.scale:
                off = np.rint(np.abs(file.astype(np.float64) - model.astype(np.float64)) / info.scale)
                off = np.nan_to_num(off, nan=np.inf)
                self.elements += off.size
                self.differing += int(np.count_nonzero(off))
                self.most = int(max(self.most, min(off.max(initial=0), 10**9)))


class Comparison:
    """Sums over batches, of which nothing else is kept."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.samples = self._agreed = self._right = self._model_right = self._labelled = 0
        self._outside = self._elements = 0
        self._max = 0.0
        self._low, self._high = np.inf, -np.inf
        self._classes = True
        self._moments = [_Moments() for _ in runner.outputs]
        self.steps = _Steps()

    def add(self, batch: Batch, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> None:
        """Add one batch, in the order of the file's inputs: the model's outputs and the file's."""
        self.samples += batch.size
        for moments, model, file in zip(self._moments, ours, theirs, strict=True):
            if model.shape != file.shape:
                raise ValueError(f"path: expected outputs of shape {model.shape}, as the model's, got {file.shape}")
            difference = file.astype(np.float64) - model.astype(np.float64)
            self._max = float(np.maximum(self._max, np.abs(difference).max(initial=0.0)))
            moments.add(model.astype(np.float64), difference)
        self.steps.add(self._runner.outputs, ours, theirs)
        for info, array in zip(self._runner.inputs, batch.inputs, strict=True):
            self._outside += info.saturated(array)
            self._elements += array.size
            self._low, self._high = min(self._low, float(array.min())), max(self._high, float(array.max()))
        self._count_classes(batch, ours[0], theirs[0])

    def _count_classes(self, batch: Batch, model: np.ndarray, file: np.ndarray) -> None:
        self._classes &= model.ndim == 2 and model.shape[1] > 1
        if not self._classes:
            return
        named, ours = np.argmax(file, axis=1), np.argmax(model, axis=1)
        self._agreed += int(np.sum(named == ours))
        if batch.labels is not None:
            _require_labels(batch.labels, model.shape[1])
            self._labelled += batch.size
            self._right += int(np.sum(named == batch.labels))
            self._model_right += int(np.sum(ours == batch.labels))

    def _allowed(self, output: int, recipe: Recipe) -> float:
        return recipe.tolerance + self._moments[output].grid(self._runner.outputs[output].scale)

    def report(self, recipe: Recipe, tolerance: float | None) -> VerifyReport:
        """Return what the sums say, against a tolerance or, where there is none, the recipe's."""
        errors = [moments.error() for moments in self._moments]
        allowed = [self._allowed(i, recipe) if tolerance is None else tolerance for i in range(len(errors))]
        # The output that is furthest past what it is allowed, or nearest to it; one that is no number is past all.
        worst = max(range(len(errors)), key=lambda i: np.nan_to_num(errors[i] / allowed[i], nan=np.inf))
        labelled = self._classes and self._labelled == self.samples
        return VerifyReport(
            self.samples,
            self._max,
            errors[worst],
            allowed[worst],
            self._agreed / self.samples if self._classes else None,
            self._right / self.samples if labelled else None,
            self._model_right / self.samples if labelled else None,
            self._outside / self._elements,
            self._low,
            self._high,
        )


def compare(
    interface: Interface,
    runner: Runner,
    data: Any,
    recipe: Recipe,
    tolerance: float | None,
    reference: list[Weight] | None,
) -> tuple[VerifyReport, str]:
    """Run a model and its file side by side on all the data, and look for the model's weights in the file.

    Args:
        interface: of the model, its sizes those of the file.
        runner: of the file.
        data: as `verify` takes it.
        recipe: of the file; its tolerance holds where none is given, widened by half a step of quantized outputs.
        tolerance: as `verify` takes it.
        reference: the model's weights; None to leave the file's alone.

    Returns:
        What was measured, and the name of the weight that is furthest off.

    Raises:
        ValueError: if there is no data.
    """
    order = file_order(interface, runner)
    comparison, as_litert = Comparison(runner), _Steps()
    otherwise = _otherwise(interface.model, runner)
    for batch in Reader(interface.fields).chunks(data):
        given = batch._replace(inputs=tuple(batch.inputs[i] for i in order))
        theirs = runner(given.inputs)
        comparison.add(given, interface(batch.inputs), theirs)
        if otherwise:
            with litert_rounding():
                as_litert.add(runner.outputs, interface(batch.inputs), theirs)
    if comparison.samples == 0:
        raise ValueError("data: expected at least one sample, got none")
    report = comparison.report(recipe, tolerance)
    if is_prepared(interface.model) and comparison.steps.elements:
        own = comparison.steps
        report = replace(report, elements=own.elements, differing=own.differing, steps=own.most, otherwise=otherwise)
        report = replace(report, float_layers=float_layers_of(interface.model))
        if otherwise:
            report = replace(report, unexplained=as_litert.differing, unexplained_steps=as_litert.most)
    if reference is None:
        return report, ""
    found = compare_weights(reference, stored_weights(runner.flatbuffer))
    return replace(report, weights=found.compared, weight_error=found.error), found.name


def _otherwise(model: Any, runner: Runner) -> tuple[str, ...]:
    """The operators of a file that LiteRT computes otherwise than the prepared model: see `litert_rounding`."""
    graph = runner.flatbuffer.subgraphs[0]
    if runtime_of(model) != "reference":
        return ()
    dense = any(
        operator_name(runner.flatbuffer, operator) == "FULLY_CONNECTED"
        and type_name(graph.tensors[operator.outputs[0]]) == "int8"
        for operator in graph.operators or []
    )
    return ("FULLY_CONNECTED",) if dense else ()


def file_order(interface: Interface, runner: Runner) -> list[int]:
    """For each of the file's inputs, which of the model's it is: by name, where there are several."""
    if len(interface.fields) == 1:
        return [0]
    names = [field.name for field in interface.fields]
    return [names.index(info.name) for info in runner.inputs]


def sized_as(interface: Interface, runner: Runner) -> Interface:
    """Return a model's interface with the sizes that it leaves open as the file has them.

    Raises:
        ValueError: if the file's inputs and outputs are not the model's.
    """
    for what, wanted, given in (
        ("inputs", [f.name for f in interface.fields], [i.name for i in runner.inputs]),
        ("outputs", list(interface.output_names), [o.name for o in runner.outputs]),
    ):
        if len(wanted) != len(given):
            raise ValueError(f"path: expected a file with {what} {wanted}, as the model's, got {given}")
    names = [info.name for info in runner.inputs]
    if len(names) > 1 and {field.name for field in interface.fields} != set(names):
        wanted = [field.name for field in interface.fields]
        raise ValueError(f"path: expected a file with inputs {wanted}, as the model's, got {names}")
    fields = list(interface.fields)
    for i, info in zip(file_order(interface, runner), runner.inputs, strict=True):
        ours, theirs = fields[i].shape, info.shape[1:]
        if len(ours) != len(theirs) or any(o not in (None, t) for o, t in zip(ours, theirs, strict=True)):
            raise ValueError(f"path: expected a file with input {ours}, as the model's, got {theirs}")
        fields[i] = fields[i]._replace(shape=theirs)
    return replace(interface, fields=tuple(fields))


_INTEGERS = {"int8": "int8", "uint8": "int8", "int16": "int16"}
"""Types of quantized activations, and what a recipe calls them."""


def recipe_of_file(runner: Runner) -> Recipe:
    """Return the recipe of `RECIPES` that stores and computes in a file's types."""
    graph = runner.flatbuffer.subgraphs[0]
    types = [type_name(tensor) for tensor in graph.tensors]
    weights = next((name for name in ("int8", "float16") if name in types), "int8" if "uint8" in types else "float32")
    given = runner.inputs[0]
    if given.scale:
        return recipe_of_types(weights, _INTEGERS.get(given.dtype, "int8"))
    computed = Counter(types[number] for operator in graph.operators or [] for number in operator.outputs)
    common = max(("float32", *_INTEGERS), key=computed.__getitem__)
    return recipe_of_types(weights, _INTEGERS.get(common, "float32"))
