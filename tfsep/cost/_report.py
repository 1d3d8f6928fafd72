"""The report of a network's cost, and its rows."""

from dataclasses import dataclass
from typing import NamedTuple

from tfsep._utils.table import Table
from tfsep.geometry import Pair


class CostRow(NamedTuple):
    """What one layer costs for one sample.

    Attributes:
        name: name of the layer.
        kind: kind of operation: ``"conv2d"``, ``"depthwise_conv2d"``, ``"batch_normalization"`` and so on.
        kernel: size of the kernel, one number per spatial axis; None for a layer without a window.
        stride: stride of the window, one number per spatial axis; None for a layer without a window.
        rate: dilation of the window, one number per spatial axis; None for a layer without a window.
        groups: number of channel groups, 1 for a standard convolution, the number of input channels for a depthwise
            one.
        output_shape: without the batch.
        params: weights, biases and statistics.
        macs: multiply-accumulates.
    """

    name: str
    kind: str
    kernel: tuple[int, ...] | None
    stride: tuple[int, ...] | None
    rate: tuple[int, ...] | None
    groups: int
    output_shape: tuple[int | None, ...]
    params: int
    macs: int


@dataclass(frozen=True)
class CostReport:
    """What a network costs, row by row, for one sample of a batch.

    Attributes:
        rows: in the order in which they are computed.
        uncounted: layers whose MACs are in no sum, each with the operators whose products are not known in brackets.
    """

    rows: tuple[CostRow, ...]
    uncounted: tuple[str, ...] = ()

    @property
    def params(self) -> int:
        """The sum of the rows' parameters."""
        return sum(row.params for row in self.rows)

    @property
    def macs(self) -> int:
        """The sum of the rows' MACs (multiply-accumulates)."""
        return sum(row.macs for row in self.rows)

    @property
    def flops(self) -> int:
        """Floating-point operations: two per MAC, a multiplication and an addition."""
        return 2 * self.macs

    def table(self, flops: bool = False) -> Table:
        """Return the rows and their total as a table.

        Args:
            flops: whether to add a column of FLOPs.
        """
        headers = (*CostRow._fields[:-1], "MACs", *(("FLOPs",) if flops else ()))
        rows = [(*_cells(row), *((2 * row.macs,) if flops else ())) for row in self.rows]
        total = ("total", "", "", "", "", None, "", self.params, self.macs, *((self.flops,) if flops else ()))
        return Table(headers, [*rows, total])

    def to_markdown(self, flops: bool = False) -> str:
        """Return the table as Markdown.

        Args:
            flops: whether to add a column of FLOPs.
        """
        return self.table(flops).markdown()

    def to_csv(self, flops: bool = False) -> str:
        """Return the rows as CSV, without the total.

        Args:
            flops: whether to add a column of FLOPs.
        """
        table = self.table(flops)
        return Table(table.headers, table.rows[:-1]).csv()

    def to_text(self, flops: bool = False) -> str:
        """Return the table as aligned text, with a legend.

        Args:
            flops: whether to add a column of FLOPs.
        """
        lines = [self.table(flops).text(), "", "MACs: multiply-accumulates for one sample; a FLOP count is twice that."]
        if self.uncounted:
            lines.append(f"Not counted, MACs unknown: {', '.join(self.uncounted)}.")
        return "\n".join(lines)

    def __str__(self) -> str:
        """Return `to_text`."""
        return self.to_text()


def _cells(row: CostRow) -> tuple[str | int, ...]:
    windows = (_by(row.kernel), _by(row.stride), _by(row.rate))
    return (row.name, row.kind, *windows, row.groups, _by(row.output_shape), row.params, row.macs)


def _by(sizes: tuple[int | None, ...] | None) -> str:
    return "" if sizes is None else "×".join("?" if size is None else str(size) for size in sizes)


def of_one_sample(macs: int, batch: int) -> int:
    """Return the share of one sample in the MACs of a batch, rounded up."""
    return -(-macs // batch)


def area(size: Pair) -> int:
    """Return rows times columns."""
    return size[0] * size[1]
