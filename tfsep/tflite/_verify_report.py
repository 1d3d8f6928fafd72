"""What comparing a file with its model found: the report, and the error that carries one that does not pass."""

from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tfsep._utils.table import Table

_ONE_OF = 100_000
"""Output elements of a prepared model, of which one may be a step off."""
_ONE_OF_FLOAT = 10
"""The same behind layers in float32, by any number of steps: one that falls on the other side spreads."""


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
            many elements of its quantized outputs were compared, how many differ, and by how many steps of the output's
            grid at most. One in 100,000 may, by one step. None for other models, and where no output is quantized.
        otherwise: what of the file LiteRT computes otherwise than the model, so that more may differ: the operator
            FULLY_CONNECTED of the reference kernels, which LiteRT rounds once and a microcontroller, and so the model,
            twice.
        float_layers: the layers that stay in float32 between quantized ones. Their sums round in an order of their own
            here and there, so that one element in ten may differ.
        unexplained, unexplained_steps: how many elements differ still, and by how many steps, if the model rounds as
            LiteRT does; None where nothing is computed otherwise.
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
    otherwise: tuple[str, ...] = ()
    float_layers: tuple[str, ...] = ()
    unexplained: int | None = None
    unexplained_steps: int | None = None

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance and the weights are the model's; what is no number is not."""
        weights_pass = self.weight_error is None or self.weight_error <= 1
        return self.rms_error <= self.tolerance and weights_pass and self.equal is not False

    @property
    def equal(self) -> bool | None:
        """Whether the file computes a prepared model's own integers, `otherwise` aside; None for another model."""
        differing, steps = self._held
        if self.elements is None or differing is None or steps is None:
            return None
        if self.float_layers:
            return differing <= max(1, self.elements // _ONE_OF_FLOAT)
        return steps <= 1 and differing <= max(1, self.elements // _ONE_OF)

    @property
    def _held(self) -> tuple[int | None, int | None]:
        """How many elements differ without reason, and by how many steps."""
        return (self.unexplained, self.unexplained_steps) if self.otherwise else (self.differing, self.steps)

    def notes(self) -> list[str]:
        """Return what a user should know of the count of elements."""
        if self.elements is None:
            return []
        counted = f"{self.differing:,} of {self.elements:,} output elements differ, by up to {self.steps} steps"
        notes = []
        if self.float_layers:
            notes.append(f"sums in float32 round in an order of their own in {', '.join(self.float_layers)}: {counted}")
        if self.otherwise:
            notes.append(
                f"LiteRT rounds {', '.join(self.otherwise)} otherwise than the kernels that the model was prepared "
                f"for: {counted}, and {self.unexplained:,} if the model rounds as LiteRT"
            )
        return notes

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
                else (
                    ("output elements that differ", f"{self.differing:,} of {self.elements:,}, by {self.steps} steps"),
                )
            ),
            ("inputs out of range", f"{self.saturated:.2%}"),
        ]
        return Table(("measure", "value"), rows)

    def __str__(self) -> str:
        """Return the table as text."""
        return self.table().text()


def require_passed(report: VerifyReport, path: str | PathLike[str], worst_weight: str) -> VerifyReport:
    """Return the report if it passed; `worst_weight` is the name of the weight that is furthest off.

    Raises:
        VerificationError: if it did not.
    """
    if report.passed:
        return report
    name = Path(path).name
    if report.equal is False:
        differing, steps = report._held
        raise VerificationError(
            f"{name}: expected the prepared model's outputs, got {differing} of {report.elements} elements that "
            f"differ, by up to {steps} steps",
            report,
        )
    if report.rms_error <= report.tolerance:
        raise VerificationError(
            f"{name}: expected the model's weights to within the file's rounding, got {worst_weight} off by "
            f"{report.weight_error:.3g} times that",
            report,
        )
    raise VerificationError(
        f"{name}: expected a relative RMS error of at most {report.tolerance:.3g} on {report.samples} "
        f"samples, got {report.rms_error:.3g} (largest error {report.max_error:.3g})",
        report,
    )
