"""Result of comparing a file without its rounding with its model."""

from typing import NamedTuple

_MOST_REACH = 1.2
"""How far numbers may reach past the end of a stored range, in half of the batches. Of samples like those of
calibration, one in as many as these were reaches past the range at all; with half a scale, most do, by up to 2."""
_MOST_INPUT_REACH = 1.8
"""The same of the inputs themselves: data may be larger than those of calibration, but half a scale is 2."""
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
        operator: name of that tensor.
        input_reach: how far the samples reach past the range of an input in integers, where they do: median of them.
        reach: how far the numbers of a tensor in integers reach in the model, as a share of the range that the file
            stores on their side of zero: median over the batches, of the tensor that reaches furthest.
        reaching: name and ranges of that tensor.
        use: the largest such share in any batch, of the tensor that uses least of its range.
        unused: name and ranges of that tensor.
        missing: reason why the file does not run in real numbers; empty where it does.
    """

    samples: int
    graph_error: float = 0.0
    graph_tolerance: float = 0.0
    channel: str = ""
    operators: int = 0
    operator_error: float = 0.0
    operator: str = ""
    input_reach: float = 1.0
    reach: float = 1.0
    reaching: str = ""
    use: float = 1.0
    unused: str = ""
    missing: str = ""

    @property
    def difference(self) -> str:
        """What the file has otherwise than the model, in words; empty where it has nothing; NaN is a difference."""
        if self.missing:
            return ""
        if not self.graph_error <= self.graph_tolerance:
            return (
                "expected the model's operators, options and connections, got a file that is off without its rounding "
                f"too, in {self.channel} by {self.graph_error:.3g} of its deviation"
            )
        if not self.operator_error <= 1:
            return (
                "expected operators in integers that round to a step, got "
                f"{self.operator!r} off by {self.operator_error:.3g} times that"
            )
        if not self.input_reach <= _MOST_INPUT_REACH:
            return (
                "expected data in the range of the file's inputs, got data that reach "
                f"{self.input_reach:.3g} times as far"
            )
        # Larger inputs, cut off as they are, make larger numbers.
        if not self.reach <= _MOST_REACH * self.input_reach:
            return f"expected ranges of tensors as in the model, got {self.reaching}"
        return ""

    @property
    def holds(self) -> bool:
        """Whether the file is the model but for rounding."""
        return not self.missing and not self.difference and self.use >= _LEAST_USE

    def notes(self) -> list[str]:
        """Return remarks for the user."""
        notes = [f"operators were not proven one by one ({self.missing})"] if self.missing else []
        if _NOTED_REACH < self.reach <= _MOST_REACH * self.input_reach:
            notes.append(f"the data go past a range that was calibrated: {self.reaching}")
        if self.use < _LEAST_USE:
            notes.append(f"the data use little of a range that was calibrated: {self.unused}")
        return notes

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
