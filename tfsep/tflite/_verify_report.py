"""Report of a verification, and the error that carries a report that does not pass."""

from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any

from tfsep._utils.table import Table
from tfsep.tflite._batch_mixing import BatchMixing
from tfsep.tflite._channel_errors import ChannelSummary
from tfsep.tflite._empty_ranges import SMALLEST_RANGE
from tfsep.tflite._proof_report import Proof

_SHOWN_CHANNELS = 3
_ONE_OF = 100_000
"""One of so many output elements of a prepared model may be a step off."""
_NOISE = 4
"""How many times as large as on the samples of the proof the noise of float32 may be on all of the data."""


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
            twice; LEAKY_RELU and PRELU, whose scales they divide in float32 and in float64.
        float_layers: the layers that stay in float32 between quantized ones. Their float32 arithmetic differs by its
            noise here and there, so that numbers halfway between two steps are rounded to either side.
        unexplained: number of elements that differ if the model rounds as LiteRT does, at these edges and in
            `otherwise`: one in 100,000 may, by one step, and behind `float_layers` none. None where nothing is rounded
            otherwise.
        unexplained_steps: the largest difference of these, in steps.
        edges: number of elements of these layers' results that file and model round to either side, as they stand at
            such an edge; None without such layers. Where no output differs, they are not looked for.
        edge_noise: the largest difference of these results, in steps, before they are rounded; None where they were
            not looked at, or differ by more than noise.
        may_be_lossy: whether an rms_error past the tolerance passes where it is rounding by proof; not past a tolerance
            that the caller gave, which a single channel may pass.
        is_float32: whether the file stores its weights in float32: an error past the tolerance has to be its noise.
        channels: the outputs channel by channel, with the worst ones.
        proof: what is left of the difference without rounding; None where that was not tried.
        refusal: why XNNPACK refuses the file, which LiteRT's own kernels then run; empty where it does not.
        mixing: what the outputs of a sample owe to the others of its batch; None where they owe nothing.
        undefined: the operator of which NaN or infinity in the file's outputs comes, and why; empty where these are
            numbers.
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
    edges: int | None = None
    edge_noise: float | None = None
    may_be_lossy: bool = False
    is_float32: bool = False
    channels: ChannelSummary = field(default_factory=ChannelSummary)
    proof: Proof | None = None
    refusal: str = ""
    mixing: BatchMixing | None = None
    undefined: str = ""

    @property
    def passed(self) -> bool:
        """Whether the file computes what the model computes but for rounding; NaN does not pass."""
        differs = self.proof is not None and bool(self.proof.difference)
        return (
            self.equal is not False
            and (self._output_passes or (self.may_be_lossy and self._is_rounding))
            and (self._channels_pass or self._is_rounding)
            and self.weights_pass
            and not differs
            and not self.channels.dead
            and not (self.mixing is not None and self.mixing.constant)
        )

    @property
    def lossy(self) -> bool:
        """Whether it passes, though rounding makes outputs or channels differ by more than the recipe's tolerance.

        So is a file in which the runtime approximates an operator coarsely.
        """
        # What the last places of float32 make of a channel that hardly varies is no loss.
        coarse = self.channels.coarse > 0 and not self.is_float32
        coarse |= self.proof is not None and self.proof.is_lossy
        return self.passed and self.elements is None and (coarse or not self.outputs_pass or self._tells_nothing)

    @property
    def _tells_nothing(self) -> bool:
        """Whether all channels are probabilities that vary by less than a step, as an untrained network's may."""
        return 0 < self.channels.rare == self.channels.total

    @property
    def outputs_pass(self) -> bool:
        """Whether the errors of outputs and channels are within their tolerances."""
        return self._output_passes and self._channels_pass

    @property
    def _output_passes(self) -> bool:
        return self.rms_error <= self.tolerance

    @property
    def _channels_pass(self) -> bool:
        # Of a prepared model elements are counted, which is more exact.
        return self.elements is not None or self.channels.passes

    @property
    def _is_rounding(self) -> bool:
        """Whether an error past the tolerance is rounding by proof."""
        if self.proof is None or not self.proof.holds:
            return False
        if self.is_float32:
            return max(self.rms_error, self.channels.error) <= _NOISE * self.proof.graph_tolerance
        return isfinite(self.max_error)

    @property
    def weights_pass(self) -> bool:
        """Whether the weights are the model's to within their rounding."""
        return self.weight_error is None or self.weight_error <= 1

    @property
    def equal(self) -> bool | None:
        """Whether the file computes a prepared model's own integers, `otherwise` aside; None for another model."""
        differing, steps = self._unexplained_difference
        if self.elements is None or differing is None or steps is None:
            return None
        if self.float_layers:
            return differing == 0
        return steps <= 1 and differing <= max(1, self.elements // _ONE_OF)

    @property
    def _unexplained_difference(self) -> tuple[int | None, int | None]:
        """The number of elements that differ without a known reason, and their largest difference in steps."""
        known = self.unexplained is not None
        return (self.unexplained, self.unexplained_steps) if known else (self.differing, self.steps)

    def notes(self) -> list[str]:
        """Return remarks for the user."""
        notes = self._channel_notes() if self.elements is None else self._element_notes()
        if self.mixing is not None:
            notes.append(self.mixing.note())
        if self.refusal:
            notes.append(
                f"XNNPACK {self.refusal}, so LiteRT runs the file only without its default delegates, as it did here"
            )
        return notes

    def _channel_notes(self) -> list[str]:
        """Remarks on channels."""
        notes = []
        if self.lossy and (self.channels.coarse or not self.outputs_pass):
            worst = self.channels.worst[0]
            notes.append(
                f"LOSSY, though faithful but for rounding: {self.channels.coarse} of {self.channels.total} output "
                f"channels are off by more than this recipe's tolerance, {worst.name} by {worst.error:.2g} of its "
                f"deviation ({worst.ranges()}); relative RMS error {self.rms_error:.2g}: measure the file's accuracy"
            )
        if self.channels.rare:
            loud = "LOSSY: " if self._tells_nothing else ""
            notes.append(
                f"{loud}{self.channels.rare} of {self.channels.total} output channels are probabilities that vary by "
                "less than one step in all of the data, and are constant in the file: where they matter, take outputs "
                "in float32 or before the softmax"
            )
        notes += [] if self.proof is None else self.proof.notes()
        return notes

    def _element_notes(self) -> list[str]:
        """Remarks on the number of elements that differ."""
        counted = f"{self.differing:,} of {self.elements:,} output elements differ, by up to {self.steps} steps"
        notes = []
        if self.float_layers:
            notes.append(
                f"sums in float32 round in an order of their own in {', '.join(self.float_layers)}: {counted}, and "
                f"{self.unexplained:,} if the model rounds {self.edges:,} of their results at an edge as LiteRT"
            )
        if self.otherwise:
            notes.append(
                f"LiteRT rounds {', '.join(self.otherwise)} otherwise than the kernels that the model was prepared "
                f"for: {counted}, and {self.unexplained:,} if the model rounds as LiteRT"
            )
        return notes

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        fields = {each.name: getattr(self, each.name) for each in dataclass_fields(self)}
        return {
            **fields,
            "channels": [channel._asdict() for channel in self.channels.worst],
            "channel_error": self.channels.error,
            "channel_tolerance": self.channels.tolerance,
            "channel_count": self.channels.total,
            "dead_channels": self.channels.dead,
            "rare_channels": self.channels.rare,
            "coarse_channels": self.channels.coarse,
            "proof": None if self.proof is None else self.proof.to_dict(),
            "mixing": None if self.mixing is None else self.mixing._asdict(),
        }

    def channel_table(self) -> Table:
        """Return a row for each of the worst channels."""
        return Table(
            ("channel", "error", "model from", "to", "file from", "to", "step"),
            [
                (
                    c.name,
                    "constant" if c.dead else f"{c.error:.3g}",
                    *(f"{number:.4g}" for number in (c.model_low, c.model_high, c.file_low, c.file_high)),
                    f"{c.step:.3g}" if c.step else "",
                )
                for c in self.channels.worst
            ],
        )

    def table(self) -> Table:
        """Return a row for each measure."""
        rows = [
            ("samples", f"{self.samples:,}"),
            ("largest error", f"{self.max_error:.3g}"),
            ("relative RMS error", f"{self.rms_error:.3g} (tolerance {self.tolerance:.3g})"),
            *(
                (f"error of {channel.name}", f"{channel.error:.3g}, {channel.ranges()}")
                for channel in self.channels.worst[:_SHOWN_CHANNELS]
            ),
            *(() if self.proof is None else self.proof.rows()),
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
            *((("kernels", f"LiteRT's own, as XNNPACK {self.refusal}"),) if self.refusal else ()),
        ]
        return Table(("measure", "value"), rows)

    def __str__(self) -> str:
        """Return the table as text."""
        return self.table().text()


def require_passed(
    report: VerifyReport, path: str | PathLike[str], worst_weight: str, strict: bool = False
) -> VerifyReport:
    """Return the report if it passed.

    Args:
        report: report of a verification.
        path: path of the file.
        worst_weight: name of the weight with the largest error.
        strict: whether a lossy file does not pass.

    Raises:
        VerificationError: if it did not.
    """
    if not report.passed:
        if report.mixing is not None and report.mixing.constant:
            failure = report.mixing.refusal()
        elif report.undefined:
            failure = f"expected numbers, as the model has, got {report.undefined}"
        elif report.channels.worst and not isfinite(report.channels.worst[0].model_low):
            failure = f"expected data of which the model makes numbers, got none in {report.channels.worst[0].name}"
        else:
            failure = _failure(report, worst_weight)
        raise VerificationError(f"{Path(path).name}: {failure}", report)
    if strict and report.lossy:
        worst = report.channels.worst[0]
        coarse = "" if report.proof is None else "".join(f", and {loss}" for loss in report.proof.losses)
        raise VerificationError(
            f"{Path(path).name}: expected an error within the recipe's tolerance, as strict asks for, got a lossy "
            f"file, in which {worst.name} is off by {worst.error:.3g} of its deviation, {worst.ranges()}, and the "
            f"relative RMS error is {report.rms_error:.3g}{coarse}",
            report,
        )
    return report


def _failure(report: VerifyReport, worst_weight: str) -> str:
    """Why a report did not pass."""
    if report.equal is False:
        differing, steps = report._unexplained_difference
        edges = f", with {report.edges} results of float32 at an edge rounded as there" if report.float_layers else ""
        return (
            f"expected the prepared model's outputs, got {differing} of {report.elements} elements that differ, by up "
            f"to {steps} steps{edges}"
        )
    if report.channels.dead:
        return _dead_channels(report, worst_weight)
    if not report.rms_error <= report.tolerance and not (report.may_be_lossy and report._is_rounding):
        found = f"{report.rms_error:.3g} (largest error {report.max_error:.3g})"
        return (
            f"expected a relative RMS error of at most {report.tolerance:.3g} on {report.samples} samples, got {found}"
            f"{_worst_channel(report)}"
        )
    if not report.weights_pass:
        return (
            f"expected the model's weights to within the file's rounding, got {worst_weight} off by "
            f"{report.weight_error:.3g} times that"
        )
    if report.proof is not None and report.proof.difference:
        return report.proof.difference
    return (
        f"expected a relative RMS error of at most {report.channels.tolerance:.3g} in each channel on {report.samples} "
        f"samples, got {report.channels.error:.3g}{_worst_channel(report)}"
    )


def _worst_channel(report: VerifyReport) -> str:
    """The worst channel in words, and remarks of the proof, behind commas."""
    worst = [f"the worst channel {channel.name} {channel.ranges()}" for channel in report.channels.worst[:1]]
    proof = [] if report.proof is None else [*filter(None, [report.proof.difference]), *report.proof.notes()]
    return "".join(f", {text}" for text in (*worst, *proof))


def _dead_channels(report: VerifyReport, worst_weight: str) -> str:
    worst = report.channels.worst[0]
    others = f", and {report.channels.dead - 1} more" if report.channels.dead > 1 else ""
    if not report.weights_pass:
        advice = f"its weights are not the model's, {worst_weight} is off by {report.weight_error:.3g} times rounding"
    elif report.proof is not None and report.proof.difference:
        advice = ", ".join((report.proof.difference, *report.proof.notes()))
    elif not worst.step:
        advice = "look for weights and activations under or past what the file's types store"
    else:
        # Steps of a hundredth of it are those of an output that is smaller as a whole.
        own = f"its numbers are under {SMALLEST_RANGE}, for which there are no steps: give it a larger scale"
        shared = "give it an output of its own or the scale of the others"
        chosen = own if worst.step < SMALLEST_RANGE / 100 else shared
        advice = f"{chosen}, or take a recipe with outputs in float32, such as dynamic_int8"
    return (
        f"expected channels that vary as in the model, got a constant: {worst.name} {worst.ranges()}{others}: {advice}"
    )
