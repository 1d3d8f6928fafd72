"""What each part of a calibration changed."""

import json
from math import isfinite
from typing import Any, NamedTuple

from tfsep._utils.table import Table


class CalibrationRow(NamedTuple):
    """One part of a calibration.

    Attributes:
        part: its name.
        changed: what it changed, in words.
        before: signal-to-quantization-noise ratio in front of it, in dB, of the outputs beside those of the float model
            on the samples, of a softmax its logits; infinite where nothing differs; None for the first part.
        after: the same behind it.
        is_undone: whether it would have been lower, and the part was undone.
    """

    part: str
    changed: str
    before: float | None
    after: float
    is_undone: bool = False


class RoundedLayer(NamedTuple):
    """What adaptive rounding did to a layer.

    Attributes:
        name: its name.
        before: the mean squared error of its result, activation included, in integers beside real numbers, where each
            weight is rounded to the nearest; on samples that it did not learn on.
        after: the same with the rounding that it has now: each filter's, learned or to the nearest, is what was better.
        changed: the number of weights that are not rounded to the nearest.
        weights: the number of weights.
    """

    name: str
    before: float
    after: float
    changed: int
    weights: int


class CalibrationReport(NamedTuple):
    """What `calibrate` did.

    Attributes:
        rows: a row a part, in the order in which they were applied. With a ``budget`` that takes operations in float32,
            these are the parts with all in int8, and the last one is what float32 gains.
        samples: the number of samples.
        agreement: how well the outputs agree with those of the float model on the samples, in `agreement_unit`.
        agreement_unit: ``"samples of the same class"``, the share of samples with the same largest number in each
            output, where each is a row of classes, (N, classes); or ``"1 - relative error"``, the root mean square of
            the error over that of the outputs.
        in_float: the names that ``budget`` added to those in float32.
        layers: a row a layer with a kernel, where rounding was learned; empty otherwise.

    Examples:
        >>> report = CalibrationReport((CalibrationRow("ranges: minmax", "3 ranges", None, 21.504),), 64)
        >>> print(report.to_markdown())
        | part | changed | SQNR before (dB) | after (dB) |
        | --- | --- | ---: | ---: |
        | ranges: minmax | 3 ranges |  | 21.5 |
    """

    rows: tuple[CalibrationRow, ...]
    samples: int
    agreement: float | None = None
    agreement_unit: str = ""
    in_float: tuple[str, ...] = ()
    layers: tuple[RoundedLayer, ...] = ()

    def table(self) -> Table:
        """Return a row for each part."""
        return Table(
            ("part", "changed", "SQNR before (dB)", "after (dB)"),
            [(row.part, row.changed, rounded(row.before), rounded(row.after)) for row in self.rows],
        )

    def layer_table(self) -> Table:
        """Return a row for each layer whose rounding was learned, with its error before and after."""
        return Table(
            ("layer", "weights", "not to the nearest", "error before", "after"),
            [(row.name, row.weights, row.changed, f"{row.before:.3g}", f"{row.after:.3g}") for row in self.layers],
        )

    def to_markdown(self) -> str:
        """Return the table as Markdown, and that of the layers behind it, if there is one."""
        return "\n\n".join(table.markdown() for table in self._tables())

    def to_dict(self) -> dict[str, Any]:
        """Return the rows and the other attributes, for JSON; None for a ratio that is infinite."""
        rows = [row._asdict() | {name: finite(getattr(row, name)) for name in ("before", "after")} for row in self.rows]
        return self._asdict() | {"rows": rows, "layers": [layer._asdict() for layer in self.layers]}

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def __str__(self) -> str:
        """Return the tables, and the agreement, as text."""
        agreement = f"agreement with the float model: {self.agreement:.4f} ({self.agreement_unit})"
        tables = "\n\n".join(table.text() for table in self._tables())
        return tables + ("" if self.agreement is None else f"\n{agreement}")

    def _tables(self) -> list[Table]:
        return [self.table(), self.layer_table()] if self.layers else [self.table()]


def finite(ratio: float | None) -> float | None:
    """Return a ratio for JSON, which has no infinity: None for that."""
    return ratio if ratio is not None and isfinite(ratio) else None


def rounded(number: float | None, digits: int = 2) -> float | None:
    """Return a number for a table; None for None."""
    return None if number is None else round(number, digits)
