"""The cost of definitions, by integer arithmetic alone, without building a network."""

from tfsep._utils.arguments import positive_int
from tfsep.cost._report import CostReport, CostRow, area
from tfsep.defs import LayerDef, Network
from tfsep.defs._layer_def import INPUT, classifier
from tfsep.geometry import Window

STATISTICS = 4
"""Numbers per channel of batch normalization: gamma, beta, moving mean and moving variance."""


def cost_of_defs(
    network: Network,
    input_shape: tuple[int, int, int],
    alpha: float,
    min_depth: int,
    output_stride: int | None,
    num_classes: int | None,
) -> CostReport:
    """Return the cost of a network of definitions under SAME padding."""
    shapes = {INPUT: input_shape}
    rows: list[CostRow] = []
    layers = network.layers(input_shape[-1], alpha, min_depth, output_stride)
    for layer in layers:
        shapes[layer.name] = _output_shape(layer, shapes[layer.inputs[0]])
        rows += _rows(layer, shapes[layer.inputs[0]], shapes[layer.name])
    if num_classes is not None:
        logits = classifier(positive_int(num_classes, "num_classes"))
        pooled = (1, 1, shapes[layers[-1].name][-1])
        rows += _rows(logits, pooled, _output_shape(logits, pooled))
    return CostReport(tuple(rows))


def _output_shape(layer: LayerDef, input_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The shape (H, W, C) of a layer's result."""
    *size, channels = input_shape
    if layer.op == "global_average_pool":
        return 1, 1, channels
    rows, columns = Window(layer.kernel, layer.stride, "same", layer.rate).output_size((size[0], size[1]))
    assert rows is not None
    assert columns is not None
    return rows, columns, layer.depth or channels


def _rows(layer: LayerDef, input_shape: tuple[int, int, int], output_shape: tuple[int, int, int]) -> list[CostRow]:
    """The rows of a convolution and of its normalization; other operations have neither weights nor MACs."""
    if not layer.is_convolution:
        return []
    groups = input_shape[-1] if layer.op == "depthwise_conv2d" else 1
    *size, depth = output_shape
    weights = area(layer.kernel) * input_shape[-1] // groups * depth
    window = layer.kernel, layer.stride, layer.rate
    biases = 0 if layer.normalization else depth
    row = CostRow(layer.name, layer.op, *window, groups, output_shape, weights + biases, weights * size[0] * size[1])
    return [row, _normalization(row)] if layer.normalization else [row]


def _normalization(row: CostRow) -> CostRow:
    name, channels = f"{row.name}/BatchNorm", row.output_shape[-1] or 0
    return CostRow(name, "batch_normalization", None, None, None, 1, row.output_shape, STATISTICS * channels, 0)
