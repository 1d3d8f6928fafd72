"""Comparing a file with its model: sums over any amount of data, stored weights, and a report of what they say."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tfsep._flatbuffer import operator_name
from tfsep._table import Table
from tfsep.quantize import runtime_of
from tfsep.tflite._data import Batch, Reader
from tfsep.tflite._interpreter import Runner
from tfsep.tflite._model import Interface
from tfsep.tflite._recipes import RECIPES
from tfsep.tflite._weights import Weight, compare_weights, stored_weights

_ONE_OF = 100_000
"""Output elements of a prepared model, of which one may be a step off."""


class VerificationError(ValueError):
    """A file that does not compute what its model computes.

    Attributes:
        report: what was measured.
    """

    def __init__(self, message: str, report: "VerifyReport") -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class VerifyReport:
    """How far a file is from its model on some data.

    Attributes:
        samples: how many were compared.
        max_error: largest absolute difference of any output element.
        rms_error: relative RMS error of the worst output: RMS of ``file − model`` over the standard deviation of the
            model's output, so that an output that is large but hardly varies excuses nothing.
        tolerance: the largest rms_error that passes. The default is the recipe's, and half a step of the grid that an
            integer file stores the output on: closer than that rounding does not come.
        weights: how many of the model's weight tensors were looked for in the file; None if they were not compared.
        weight_error: of the weight that is furthest from the model's, normalization folded in, in units of what storing
            it in the file's type may change: at most 1 passes. None if they were not compared.
        top1_agreement: share of samples for which both name the same class; None where the output is no row of classes.
        accuracy, model_accuracy: share of samples for which the file, and the model, name the label; None without
            labels.
        saturated: share of the input elements that lie outside what the file can store.
        low, high: range of the inputs.
        elements, differing, steps: of a model of `tfsep.quantize.prepare`, which computes the file's own integers: how
            many output elements were compared, how many differ, and by how many steps of the output's grid at most.
            One in 100,000 may, by one step. None for other models, and where LiteRT does not compute what the model
            was prepared for: a dense layer of the reference kernels.
    """

    samples: int
    max_error: float
    rms_error: float
    tolerance: float
    top1_agreement: float | None
    accuracy: float | None
    model_accuracy: float | None
    saturated: float
    low: float
    high: float
    weights: int | None = None
    weight_error: float | None = None
    elements: int | None = None
    differing: int | None = None
    steps: int | None = None

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance and the weights are the model's; what is no number is not."""
        weights_pass = self.weight_error is None or self.weight_error <= 1
        return self.rms_error <= self.tolerance and weights_pass and self.equal is not False

    @property
    def equal(self) -> bool | None:
        """Whether the file computes a prepared model's own integers; None for another model."""
        if self.elements is None or self.differing is None or self.steps is None:
            return None
        return self.steps <= 1 and self.differing <= max(1, self.elements // _ONE_OF)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)

    def table(self) -> Table:
        """Return what was measured, a line each."""
        rows = [
            ("samples", f"{self.samples:,}"),
            ("largest error", f"{self.max_error:.3g}"),
            ("relative RMS error", f"{self.rms_error:.3g} (tolerance {self.tolerance:.3g})"),
            *(
                (label, f"{value:.4f}")
                for label, value in (
                    ("same class as the model", self.top1_agreement),
                    ("accuracy of the file", self.accuracy),
                    ("accuracy of the model", self.model_accuracy),
                )
                if value is not None
            ),
            *(
                ()
                if self.weights is None
                else (("weights", f"{self.weights} compared, off by {self.weight_error:.2g} of their rounding"),)
            ),
            *(
                ()
                if self.elements is None
                else (("output elements that differ", f"{self.differing:,} of {self.elements:,}"),)
            ),
            ("inputs out of range", f"{self.saturated:.2%}"),
        ]
        return Table(("measure", "value"), rows)

    def __str__(self) -> str:
        """Return the table as text."""
        return self.table().text()


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
        self.elements = self.differing = self.steps = 0

    def add(self, batch: Batch, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> None:
        """Add one batch, in the order of the file's inputs: the model's outputs and the file's."""
        self.samples += batch.size
        for info, moments, model, file in zip(self._runner.outputs, self._moments, ours, theirs, strict=True):
            if model.shape != file.shape:
                raise ValueError(f"path: expected outputs of shape {model.shape}, as the model's, got {file.shape}")
            difference = file.astype(np.float64) - model.astype(np.float64)
            self._max = float(np.maximum(self._max, np.abs(difference).max(initial=0.0)))
            moments.add(model.astype(np.float64), difference)
            self._count_steps(difference, info.scale)
        for info, array in zip(self._runner.inputs, batch.inputs, strict=True):
            self._outside += info.saturated(array)
            self._elements += array.size
            self._low, self._high = min(self._low, float(array.min())), max(self._high, float(array.max()))
        self._count_classes(batch, ours[0], theirs[0])

    def _count_steps(self, difference: np.ndarray, scale: float) -> None:
        """Count the elements that are a step or more of the output's grid off."""
        if not scale:
            return
        off = np.nan_to_num(np.rint(np.abs(difference) / scale), nan=np.inf)
        self.elements += off.size
        self.differing += int(np.count_nonzero(off))
        self.steps = int(max(self.steps, min(off.max(initial=0), 10**9)))

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

    def _allowed(self, output: int, tolerance: float | None) -> float:
        if tolerance is not None:
            return tolerance
        return default_tolerance(self._runner) + self._moments[output].grid(self._runner.outputs[output].scale)

    def report(self, tolerance: float | None) -> VerifyReport:
        """Return what the sums say, against a tolerance or the file's default."""
        errors = [moments.error() for moments in self._moments]
        allowed = [self._allowed(i, tolerance) for i in range(len(errors))]
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
    interface: Interface, runner: Runner, data: Any, tolerance: float | None, reference: list[Weight] | None
) -> tuple[VerifyReport, str]:
    """Run a model and its file side by side on all the data, and look for the model's weights in the file.

    Args:
        interface: of the model, its sizes those of the file.
        runner: of the file.
        data: as `verify` takes it.
        tolerance: as `verify` takes it.
        reference: the model's weights; None to leave the file's alone.

    Returns:
        What was measured, and the name of the weight that is furthest off.

    Raises:
        ValueError: if there is no data.
    """
    order = file_order(interface, runner)
    comparison = Comparison(runner)
    for batch in Reader(interface.fields).batches(data):
        if batch.size:
            given = batch._replace(inputs=tuple(batch.inputs[i] for i in order))
            comparison.add(given, interface(batch.inputs), runner(given.inputs))
    if comparison.samples == 0:
        raise ValueError("data: expected at least one sample, got none")
    report = comparison.report(tolerance)
    if _is_comparable(interface.model, runner):
        counts = {"elements": comparison.elements, "differing": comparison.differing, "steps": comparison.steps}
        report = replace(report, **counts)
    if reference is None:
        return report, ""
    found = compare_weights(reference, stored_weights(runner.flatbuffer))
    return replace(report, weights=found.compared, weight_error=found.error), found.name


def _is_comparable(model: Any, runner: Runner) -> bool:
    """Whether a prepared model's outputs are the file's integers, as this runtime has them.

    LiteRT's reference kernel of a dense layer rounds once, where that of the microcontrollers, which `prepare`
    emulates, rounds twice: LiteRT cannot vouch for it.
    """
    runtime = runtime_of(model)
    if runtime is None or not all(info.scale for info in runner.outputs):
        return False
    operators = runner.flatbuffer.subgraphs[0].operators or []
    dense = any(operator_name(runner.flatbuffer, operator) == "FULLY_CONNECTED" for operator in operators)
    return not (runtime == "reference" and dense)


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


def require(report: VerifyReport, path: str | PathLike[str], weight: str) -> VerifyReport:
    """Return the report if it passed; `weight` is the name of the weight that is furthest off.

    Raises:
        VerificationError: if it did not.
    """
    if report.passed:
        return report
    name = Path(path).name
    if report.equal is False:
        raise VerificationError(
            f"{name}: expected the prepared model's outputs, got {report.differing} of {report.elements} elements that "
            f"differ, by up to {report.steps} steps",
            report,
        )
    if report.rms_error <= report.tolerance:
        raise VerificationError(
            f"{name}: expected the model's weights to within the file's rounding, got {weight} off by "
            f"{report.weight_error:.3g} times that",
            report,
        )
    raise VerificationError(
        f"{name}: expected a relative RMS error of at most {report.tolerance:.3g} on {report.samples} "
        f"samples, got {report.rms_error:.3g} (largest error {report.max_error:.3g})",
        report,
    )


def default_tolerance(runner: Runner) -> float:
    """The tolerance of the recipe that made the file, as its types of numbers tell."""
    kinds = {np.dtype(detail["dtype"]).name for detail in runner.interpreter.get_tensor_details()}
    if {"int8", "int16"} <= kinds and runner.inputs[0].dtype == "int16":
        name = "int16x8"
    elif runner.inputs[0].scale:
        name = "int8"
    elif "int8" in kinds or "uint8" in kinds:
        name = "dynamic_int8"
    else:
        name = "float16" if "float16" in kinds else "float32"
    return RECIPES[name].tolerance
