"""Result of comparing a file without its rounding with its model."""

from typing import NamedTuple

_MOST_STRETCH = 1.6
"""How many times as wide as stored the range of a tensor may be in the model: calibration on other samples, or on few,
stays under it, and half a scale is 2."""
_NOTED_STRETCH = 1.25
"""From here on it is worth a remark."""


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
        stretch: how many times as wide the range of a tensor in integers would have to be.
        tensor: name and ranges of that tensor.
        missing: reason why the file does not run in real numbers; empty where it does.
    """

    samples: int
    graph_error: float = 0.0
    graph_tolerance: float = 0.0
    channel: str = ""
    operators: int = 0
    operator_error: float = 0.0
    operator: str = ""
    stretch: float = 1.0
    tensor: str = ""
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
        if not self.stretch <= _MOST_STRETCH:
            return f"expected ranges of tensors as in the model, got {self.tensor}"
        return ""

    @property
    def holds(self) -> bool:
        """Whether the file is the model but for rounding."""
        return not self.missing and not self.difference

    def notes(self) -> list[str]:
        """Return remarks for the user."""
        notes = []
        if self.missing:
            notes.append(f"operators were not proven one by one ({self.missing})")
        if _NOTED_STRETCH < self.stretch <= _MOST_STRETCH:
            notes.append(f"the data go past a range that was calibrated: {self.tensor}")
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
