"""Networks side by side: what each costs, and how accurate it was published to be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tfsep._utils.arguments import positive_int
from tfsep._utils.table import Table
from tfsep.cost._definitions import cost_of_defs
from tfsep.defs import NETWORKS, Network
from tfsep.geometry._sizes import normalize_shape


class ComparisonRow(NamedTuple):
    """A network in a comparison.

    Attributes:
        name: its name.
        input_shape: (H, W, C) of the image that is counted.
        alpha: width multiplier.
        macs: multiply-accumulates of one image.
        params: numbers that a model holds, those of normalization included.
        top1: published top-1 accuracy on ImageNet in percent; None at another width or size than the published one.
    """

    name: str
    input_shape: tuple[int, int, int]
    alpha: float
    macs: int
    params: int
    top1: float | None


@dataclass(frozen=True)
class Comparison:
    """Networks side by side.

    Attributes:
        rows: a row for each network, in order.
    """

    rows: tuple[ComparisonRow, ...]

    def table(self) -> Table:
        """Return the rows as a table of millions."""
        headers = ("network", "image", "width", "M MACs", "M params", "published top-1, %")
        cells = [
            ("×".join(map(str, row.input_shape)), row.alpha, round(row.macs / 1e6, 1), round(row.params / 1e6, 2))
            for row in self.rows
        ]
        return Table(headers, [(row.name, *own, row.top1) for row, own in zip(self.rows, cells, strict=True)])

    def __str__(self) -> str:
        """Return the table as text."""
        return self.table().text()


def compare(
    networks: Mapping[str, Network] | None = None,
    size: tuple[int, int] | None = None,
    alpha: float = 1.0,
    num_classes: int = 1000,
) -> Comparison:
    """Count networks of definitions side by side, each with a classifier.

    Args:
        networks: networks by name; None for those of `tfsep.defs.NETWORKS` with a published accuracy.
        size: rows and columns of the image; None for the size that each network is meant for.
        alpha: width multiplier, see `tfsep.defs.scale_width`.
        num_classes: number of classes.

    Raises:
        ValueError: for an argument out of range, or a network without an image size where none is given.

    Examples:
        >>> row = compare().rows[0]
        >>> row.name, row.macs, row.params, row.top1
        ('mobilenet_v1', 568740352, 4253864, 70.9)
        >>> compare(size=(128, 128), alpha=0.5).rows[1].top1 is None
        True
    """
    if networks is None:
        networks = {name: network for name, network in NETWORKS.items() if network.top1 is not None}
    rows: list[ComparisonRow] = []
    for name, network in networks.items():
        if size is None and network.image_shape is None:
            raise ValueError(f"size: expected rows and columns, which {name} has not of its own, got None")
        own = network.image_shape or (None, None, 3)
        shape = own if size is None else (*size, own[-1])
        rows_of, columns, channels = (positive_int(side, "size") for side in normalize_shape(shape, "size"))
        image = rows_of, columns, channels
        report = cost_of_defs(network, image, alpha, 8, None, num_classes)
        top1 = network.top1 if (image, alpha) == (network.image_shape, 1) else None
        rows.append(ComparisonRow(name, image, float(alpha), report.macs, report.params, top1))
    return Comparison(tuple(rows))
