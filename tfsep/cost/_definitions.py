"""The cost of definitions: integer arithmetic alone, so it is there before any network is built."""

from collections.abc import Iterable

from tfsep._utils.arguments import positive_int
from tfsep.cost._report import CostReport, CostRow, area
from tfsep.defs import ConvDef, LayerDef, resolve, scale_width, with_output_stride
from tfsep.geometry import Pair, Window

STATISTICS = 4
"""Numbers a channel of batch normalization: gamma, beta, moving mean and moving variance."""


def cost_of_defs(
    conv_defs: Iterable[ConvDef],
    input_shape: tuple[int, int, int],
    alpha: float,
    min_depth: int,
    output_stride: int | None,
    num_classes: int | None,
) -> CostReport:
    """Return the cost of a network of definitions under SAME padding."""
    size, channels = (input_shape[0], input_shape[1]), input_shape[2]
    rows: list[CostRow] = []
    for layer in resolve(with_output_stride(scale_width(conv_defs, alpha, min_depth), output_stride)):
        row, size, channels = _layer(layer, size, channels)
        rows += [row, _normalization(row, channels)]
    if num_classes is not None:
        classes = positive_int(num_classes, "num_classes")
        name, one = "Logits/Conv2d_1c_1x1", (1, 1)
        params = channels * classes + classes
        rows.append(CostRow(name, "conv2d", one, one, one, 1, (1, 1, classes), params, channels * classes))
    return CostReport(tuple(rows))


def _layer(layer: LayerDef, size: Pair, channels: int) -> tuple[CostRow, Pair, int]:
    """Return the row of one layer, and the size and channels of its output."""
    rows, columns = Window(layer.kernel, layer.stride, "same", layer.rate).output_size(size)
    assert rows is not None
    assert columns is not None
    depth, per_output, groups = (channels, 1, channels) if layer.depth is None else (layer.depth, channels, 1)
    params = area(layer.kernel) * per_output * depth
    row = CostRow(
        layer.name,
        layer.kind,
        layer.kernel,
        layer.stride,
        layer.rate,
        groups,
        (rows, columns, depth),
        params,
        params * rows * columns,
    )
    return row, (rows, columns), depth


def _normalization(row: CostRow, channels: int) -> CostRow:
    name = f"{row.name}/BatchNorm"
    return CostRow(name, "batch_normalization", None, None, None, 1, row.output_shape, STATISTICS * channels, 0)
