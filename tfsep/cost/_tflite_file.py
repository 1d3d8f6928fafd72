"""The cost of a ``.tflite`` file, read from its flatbuffer."""

from math import prod
from os import PathLike
from typing import Any

from tfsep._flatbuffer.reader import operator_name, read_tflite, type_name
from tfsep.cost._report import CostReport, CostRow

PARAMETER_TYPES = ("float32", "float16", "bfloat16", "float64", "int8", "uint8", "int16", "int4")
"""Types of weights; a bias is int32 or int64, and belongs to a product. A shape is int32, and belongs to none."""

_PRODUCTS = {
    "CONV_2D": "conv2d",
    "DEPTHWISE_CONV_2D": "depthwise_conv2d",
    "FULLY_CONNECTED": "dense",
    "TRANSPOSE_CONV": "conv2d_transpose",
    "BATCH_MATMUL": "batch_matmul",
}
_UNKNOWN = ("CONV_3D", "CONV_3D_TRANSPOSE", "EINSUM", "LSTM", "RNN", "SVDF")


def _sides(tensor: Any) -> tuple[int, ...]:
    return () if tensor.shape is None else tuple(int(side) for side in tensor.shape)


class _Graph:
    """One graph of a model, and the constants of its operators, stored as they are or as float16."""

    def __init__(self, model: Any, graph: Any) -> None:
        self.model, self.tensors, self.operators = model, graph.tensors, graph.operators
        self.counted: set[int] = set()
        self._stored = {
            int(op.outputs[0]): int(op.inputs[0]) for op in self.operators if operator_name(model, op) == "DEQUANTIZE"
        }

    def constant(self, index: int) -> int | None:
        """The tensor that stores the constant that `index` reads, or None."""
        index = self._stored.get(index, index)
        data = self.model.buffers[self.tensors[index].buffer].data if index >= 0 else None
        return index if data is not None and len(data) else None

    def params(self, op: Any, product: bool) -> int:
        """The number of weights that this operator is the first to read."""
        found = 0
        for position, index in enumerate(int(i) for i in op.inputs):
            stored = self.constant(index)
            if stored is None or stored in self.counted:
                continue
            tensor = self.tensors[stored]
            bias = product and position >= 2 and type_name(tensor) in ("int32", "int64")
            if bias or type_name(tensor) in PARAMETER_TYPES:
                self.counted.add(stored)
                found += prod(_sides(tensor))
        return found


def cost_of_tflite(path: str | PathLike[str]) -> CostReport:
    """Return the cost of one run of a file, for its whole batch."""
    _, model = read_tflite(path)
    graph = _Graph(model, model.subgraphs[0])
    rows: list[CostRow] = []
    uncounted: list[str] = []
    for op in graph.operators:
        kind = operator_name(model, op)
        if kind == "DEQUANTIZE" or not len(op.outputs):
            continue
        row = _row(graph, op, kind)
        if row.macs or row.params:
            rows.append(row)
        if kind.startswith("Flex") or any(word in kind for word in _UNKNOWN):
            uncounted.append(row.name)
    return CostReport(tuple(rows), tuple(uncounted))


def _row(graph: _Graph, op: Any, kind: str) -> CostRow:
    output = graph.tensors[op.outputs[0]]
    shape = _sides(output)
    params = graph.params(op, kind in _PRODUCTS)
    # The converter joins the names of all that it fused into an operator; the first is the layer's activation or sum.
    name = output.name.decode(errors="replace").split(";")[0]
    row = CostRow(name, _PRODUCTS.get(kind, kind.lower()), None, None, None, 1, shape[1:], params, 0)
    if kind not in _PRODUCTS:
        return row
    # A transposed convolution's inputs are the output's shape, the weights and the image.
    given = _sides(graph.tensors[op.inputs[2 if kind == "TRANSPOSE_CONV" else 0]])
    weights = _sides(graph.tensors[op.inputs[1]])
    if kind == "FULLY_CONNECTED":
        return row._replace(macs=prod(given) // weights[1] * prod(weights))
    if kind == "BATCH_MATMUL":
        inner = given[-2] if op.builtinOptions is not None and op.builtinOptions.adjX else given[-1]
        return row._replace(macs=prod(shape) * inner)
    options = op.builtinOptions
    kernel, stride = (weights[1], weights[2]), (options.strideH, options.strideW)
    rate = (getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1))
    if kind == "TRANSPOSE_CONV":
        groups, macs = 1, prod(given[:3]) * prod(weights)
    elif kind == "DEPTHWISE_CONV_2D":
        groups, macs = given[3], prod(shape) * prod(kernel)
    else:
        groups, macs = given[3] // weights[3], prod(shape) * prod(weights[1:])
    return row._replace(kernel=kernel, stride=stride, rate=rate, groups=groups, macs=macs)
