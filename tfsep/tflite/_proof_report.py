"""Result of comparing a file without its rounding with its model."""

from typing import Any, NamedTuple

from tfsep.tflite._id_errors import IdFindings
from tfsep.tflite._stored_ranges import RangeFindings

_LEAST_CHANCE = 1e-5
"""How likely by chance samples have to go past a range. Of 359 files that were calibrated on 4 to 128 samples, outliers
and darker images among them, 2 are under it, of 8 samples; see `RECIPES` for ranges that were made too small."""
_MOST_REACH = 1.8
"""How far numbers may reach past the end of a stored range, or data past that of an input, in half of the samples: in
files that were calibrated on 4 samples up to 1.64, but half a scale is 2."""
_MOST_APPROXIMATION = 0.02
"""Largest error of an operator in integers as a share of its result's range, past which it is a loss: 5 steps in int8,
of which rounding takes 2. In int16 LiteRT's functions are tables of 513 numbers, straight between them: RSQRT may be
off by 0.15, LOG by 0.008, the others by 0.001."""
_MOST_SHARED = 0.1
"""Share of a tensor's numbers, from the least to the largest, that may lie past a range that another operator
prescribes without being a loss."""
_NOTED_REACH = 1.02
"""From here on it is worth a remark."""
_LEAST_USE = 1 / 32
"""Share of a stored range that numbers have to use, if a large error is to be rounding: some 8 steps in int8."""


class Proof(NamedTuple):
    """What is left of a file's difference from its model without the rounding of numbers.

    Attributes:
        samples: number of samples.
        graph_error: error of the worst channel of the file in real numbers, with the model's weights, relative to the
            channel's deviation: what operators, options and connections differ in.
        graph_tolerance: the largest that passes there, of float32 arithmetic.
        channel: name of that channel.
        operators: number of tensors in integers that were compared with real arithmetic on the same inputs.
        operator_error: RMS error of the worst of these, in units of what integers make of it.
        operator: that operator, and the name of its tensor.
        approximation: the largest error of an operator in any number, as a share of the range of its result.
        coarse: that operator, and the numbers.
        input_reach: how far the samples reach past the range of an input in integers, where they do: median of them.
        ranges: the tensors whose stored ranges are least like the model's.
        ids: the ids that the file reads, and those that are wrong.
        missing: reason why the file does not run in real numbers; empty where it does.
        refused: operator that only XNNPACK computes, and why LiteRT's own kernels refuse it; empty where there is none.
    """

    samples: int
    graph_error: float = 0.0
    graph_tolerance: float = 0.0
    channel: str = ""
    operators: int = 0
    operator_error: float = 0.0
    operator: str = ""
    approximation: float = 0.0
    coarse: str = ""
    input_reach: float = 1.0
    ranges: RangeFindings = RangeFindings()
    ids: IdFindings = IdFindings()
    missing: str = ""
    refused: str = ""

    @property
    def difference(self) -> str:
        """What the file has otherwise than the model, in words; empty where it has nothing; NaN is a difference."""
        if self.refused:
            return f"expected operators that LiteRT's own kernels take, got {self.refused}, which only XNNPACK does"
        if self.missing:
            return ""
        checks = (
            (
                self.graph_error <= self.graph_tolerance,
                "expected the model's operators, options and connections, got a file that is off without its rounding "
                f"too, in {self.channel} by {self.graph_error:.3g} of its deviation",
            ),
            (
                self.operator_error <= 1,
                "expected operators in integers that round to a step, got "
                f"{self.operator}, off by {self.operator_error:.3g} times that",
            ),
            (
                not self.ids.wrong_ids,
                f"expected the ids that the numbers in front of them make, got {self.ids.wrong_ids:.2%} others in "
                f"{self.ids.reading}, as steps of the file are no whole numbers: compute ids in int32, as "
                "tfsep.tflite.export does in models without a state",
            ),
            (
                self.input_reach <= _MOST_REACH,
                "expected data in the range of the file's inputs, got data that reach "
                f"{self.input_reach:.3g} times as far",
            ),
            # Larger inputs, cut off as they are, make larger numbers.
            (
                self.ranges.reach <= _MOST_REACH * self.input_reach,
                f"expected ranges of tensors as in the model, got {self.ranges.reaching}",
            ),
            (
                self.ranges.chance >= _LEAST_CHANCE,
                f"expected ranges of tensors as in the model, got one cut off beside the others: {self.ranges.cut}",
            ),
        )
        return next((text for holds, text in checks if not holds), "")

    @property
    def holds(self) -> bool:
        """Whether the file is the model but for rounding."""
        return not self.missing and not self.difference and self.ranges.use >= _LEAST_USE

    @property
    def is_lossy(self) -> bool:
        """Whether the runtime approximates an operator in integers by more than its rounding, or cuts numbers off."""
        return bool(self.losses)

    @property
    def losses(self) -> list[str]:
        """What the runtime computes otherwise than the model, in words."""
        losses = [self.coarse] if self.approximation > _MOST_APPROXIMATION else []
        if self.ranges.shared > _MOST_SHARED:
            advice = "a rectifier or a number to multiply by between the two keeps them apart"
            losses.append(f"{self.ranges.sharing}: {advice}")
        return losses

    def notes(self) -> list[str]:
        """Return remarks for the user."""
        notes = [f"operators were not proven one by one ({self.missing})"] if self.missing else []
        notes += [f"LOSSY: {loss}" for loss in self.losses]
        if self.ids.other_ids and not self.ids.wrong_ids:
            notes.append(
                f"{self.ids.other_ids} of {self.ids.ids} ids that choose rows are others than the model's: the numbers "
                "that they are made of are near the edge of two, and rounded to the other side"
            )
        if _NOTED_REACH < self.ranges.reach <= _MOST_REACH * self.input_reach:
            notes.append(f"half of the samples go past a range that was calibrated: {self.ranges.reaching}")
        if self.ranges.use < _LEAST_USE:
            notes.append(f"the data use little of a range that was calibrated: {self.ranges.unused}")
        return notes

    def to_dict(self) -> dict[str, Any]:
        """Return all figures by name, those of the ranges and ids among them."""
        figures = self._asdict()
        del figures["ranges"]
        return figures | self.ranges._asdict() | self.ids._asdict()

    def rows(self) -> list[tuple[str, str]]:
        """Return rows for a table of measures."""
        if self.missing:
            return []
        rows = [("error without rounding", f"{self.graph_error:.2g} (tolerance {self.graph_tolerance:.2g})")]
        if self.operators:
            rows.append(
                ("operators in integers", f"{self.operators} compared, off by {self.operator_error:.2g} of rounding")
            )
        return rows
