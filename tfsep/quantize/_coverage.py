"""What of a prepared model computes in int8, what in float32, and why."""

import json
from dataclasses import dataclass
from typing import Any

from tfsep._keras.types import InputShapes, Model
from tfsep._utils.table import Table
from tfsep.cost import cost
from tfsep.ops import exporting
from tfsep.quantize._covered_calls import CoverageRow, covered_calls
from tfsep.quantize._prepared_model import require_prepared


@dataclass(frozen=True)
class Coverage:
    """What a prepared model computes in int8.

    Attributes:
        rows: a row an operation, in the order in which they are computed.
    """

    rows: tuple[CoverageRow, ...]

    @property
    def islands(self) -> tuple[CoverageRow, ...]:
        """The operations in float32."""
        return tuple(row for row in self.rows if row.dtype == "float32")

    @property
    def macs(self) -> int | None:
        """The multiply-accumulates of all rows for one sample; None where they are not known."""
        return _sum(self.rows)

    @property
    def int8_macs(self) -> int | None:
        """Those of the rows in int8."""
        return _sum(row for row in self.rows if row.dtype == "int8")

    @property
    def share(self) -> float | None:
        """The share of the multiply-accumulates that is int8, 0 to 1; None where they are not known, or none."""
        return None if not self.macs or self.int8_macs is None else self.int8_macs / self.macs

    @property
    def summary(self) -> str:
        """The share, and how many operations are in int8, in words."""
        count = f"{len(self.rows) - len(self.islands)} of {len(self.rows)} operations"
        if self.macs is None:
            return f"{count}, MACs unknown for open sizes"
        return count if self.share is None else f"{self.share:.2%} of the MACs, {count}"

    def table(self) -> Table:
        """Return a row for each operation, and the total."""
        return Table(
            ("operation", "kind", "type", "MACs", "why"),
            [(row.name, row.kind, row.dtype, row.macs, row.reason) for row in self.rows]
            + [("total", "", "", self.macs, f"int8: {self.summary}")],
        )

    def to_markdown(self) -> str:
        """Return the table as Markdown."""
        return self.table().markdown()

    def to_dict(self) -> dict[str, Any]:
        """Return the rows, and the sums, for JSON."""
        return {
            "rows": [row._asdict() for row in self.rows],
            "macs": self.macs,
            "int8_macs": self.int8_macs,
            "share": self.share,
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def __str__(self) -> str:
        """Return the table as text."""
        return self.table().text()


def coverage(model: Model, input_shape: InputShapes | None = None) -> Coverage:
    """Return what of a prepared model computes in int8, what in float32, and why.

    Args:
        model: a model of `prepare`, trained or not.
        input_shape: (H, W, C) for the multiply-accumulates of a model that leaves sizes open; of several inputs a shape
            of each, in order or by name. None for that of its inputs.

    Returns:
        A row an operation. What fuses into another operation, such as a normalization or a rectifier behind a
        convolution, has none, nor has what does nothing at inference.

    Raises:
        TypeError: for anything but a Keras model.
        ValueError: for a model that `prepare` did not make, or a shape that is none of its inputs'.

    Examples:
        >>> from tfsep.quantize import prepare
        >>> layers = [keras.layers.Conv2D(4, 3, name="c"), keras.layers.ELU(name="e"), keras.layers.Flatten(name="f")]
        >>> print(coverage(prepare(keras.Sequential([keras.Input((8, 8, 3)), *layers]))).to_markdown())
        | operation | kind | type | MACs | why |
        | --- | --- | --- | ---: | --- |
        | c | Conv2D | int8 | 3,888 |  |
        | e | ELU | float32 | 0 | XNNPACK computes in a fraction of a table's time in float32 |
        | f | Flatten | int8 | 0 |  |
        | total |  |  | 3,888 | int8: 100.00% of the MACs, 2 of 3 operations |
    """
    require_prepared(model)
    known = input_shape is not None or not any(None in tensor.shape[1:] for tensor in model.inputs)
    macs = _macs(model, input_shape) if known else None
    rows: dict[str, CoverageRow] = {}
    counted: dict[str, set[str]] = {}
    for own in covered_calls(model):
        name = own.row.name
        rows[name] = own.row if own.is_gated else rows.get(name, own.row)
        counted.setdefault(name, set()).update(layer.name for layer in own.counted)
    if macs is None:
        return Coverage(tuple(rows.values()))
    sums = {name: sum(macs.get(layer, 0) for layer in layers) for name, layers in counted.items()}
    return Coverage(tuple(row._replace(macs=sums[name]) for name, row in rows.items()))


def _macs(model: Model, input_shape: InputShapes | None) -> dict[str, int]:
    """The multiply-accumulates of a model's layers, by name."""
    found: dict[str, int] = {}
    # The graph of real numbers, which is traced in a third of the time.
    with exporting():
        rows = cost(model, input_shape).rows
    for row in rows:
        name = row.name.split("/")[0]
        found[name] = found.get(name, 0) + row.macs
    return found


def _sum(rows: Any) -> int | None:
    counts = [row.macs for row in rows]
    return None if None in counts else sum(counts)
