"""Report of a verification, and the error that carries a report that does not pass."""

from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tfsep._utils.table import Table

_ONE_OF = 100_000
"""One of so many output elements of a prepared model may be a step off."""
_ONE_OF_FLOAT = 10
"""The same behind layers in float32, by any number of steps, as one element rounded the other way changes others."""


class VerificationError(ValueError):
    """A file that does not compute what its model computes.

    Args:
        message: message of the error.
        report: report of the verification.

    Attributes:
        report: report of the verification.
    """

    def __init__(self, message: str, report: "VerifyReport") -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class VerifyReport:
    """The difference of a file from its model on some data.

    Attributes:
        samples: number of samples.
        max_error: largest absolute difference of any output element.
        rms_error: relative RMS error of the worst output: RMS of ``file − model`` over the standard deviation of the
            model's output, so that a large output of small variation does not hide an error.
        tolerance: the largest rms_error that passes. The default is the recipe's; for a recipe in `RECIPES` and a
            quantized output, half a step more, which rounding alone may add.
        weights: number of the model's weight tensors that were compared; None if they were not.
        weight_error: error of the weight that is furthest from the model's, normalization folded in, in units of the
            rounding of the file's type: at most 1 passes. None if they were not compared.
        top1_agreement: share of samples with the same class in both; None where the output is no row of classes.
        accuracy: share of samples whose label the file predicts; None without labels.
        model_accuracy: share of samples whose label the model predicts; None without labels.
        saturated: share of the input elements outside the file's range.
        low: smallest number of the inputs.
        high: largest number of the inputs.
        elements: number of elements of quantized outputs that were compared, for a model of `tfsep.quantize.prepare`,
            which computes the file's own integers; None for other models, and where no output is quantized.
        differing: number of these elements that differ. One in 100,000 may, by one step.
        steps: the largest difference, in steps of the output's scale.
        otherwise: operators of the file that LiteRT rounds otherwise than the model, so that more elements may differ:
            FULLY_CONNECTED of the reference kernels, which LiteRT rounds once and a microcontroller, and so the model,
            twice.
        float_layers: the layers that stay in float32 between quantized ones. The order of their sums differs here and
            there, so that one element in ten may differ.
        unexplained: number of elements that differ if the model rounds as LiteRT does; None where nothing is rounded
            otherwise.
        unexplained_steps: the largest difference of these, in steps.
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
        """Whether the error is within the tolerance and the weights are the model's; NaN does not pass."""
        weights_pass = self.weight_error is None or self.weight_error <= 1
        return self.rms_error <= self.tolerance and weights_pass and self.equal is not False

    @property
    def equal(self) -> bool | None:
        """Whether the file computes a prepared model's own integers, `otherwise` aside; None for another model."""
        differing, steps = self._unexplained_difference
        if self.elements is None or differing is None or steps is None:
            return None
        if self.float_layers:
            return differing <= max(1, self.elements // _ONE_OF_FLOAT)
        return steps <= 1 and differing <= max(1, self.elements // _ONE_OF)

    @property
    def _unexplained_difference(self) -> tuple[int | None, int | None]:
        """The number of elements that differ without a known reason, and their largest difference in steps."""
        return (self.unexplained, self.unexplained_steps) if self.otherwise else (self.differing, self.steps)

    def notes(self) -> list[str]:
        """Return remarks on the number of elements that differ."""
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
        """Return a row for each measure."""
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
    """Return the report if it passed; `worst_weight` is the name of the weight with the largest error.

    Raises:
        VerificationError: if it did not.
    """
    if report.passed:
        return report
    name = Path(path).name
    if report.equal is False:
        differing, steps = report._unexplained_difference
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
