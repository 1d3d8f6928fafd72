"""The Keras layers that operators come from, by the names that tracing gives nodes and tensors."""

import re
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

from tfsep._flatbuffer.reader import operator_name, type_name
from tfsep._flatbuffer.schema_types import ModelT
from tfsep._keras.model_graph import leaf_layers
from tfsep._keras.types import Model

_LEAST_NUMBERS = 1024
"""Smallest constant that the converter stores in int8 where it measures no ranges."""

_PRODUCTS = {
    "CONV_2D": 1,
    "CONV_3D": 1,
    "CONV_3D_TRANSPOSE": 1,
    "DEPTHWISE_CONV_2D": 1,
    "FULLY_CONNECTED": 1,
    "TRANSPOSE_CONV": 1,
}
"""Operators with a kernel, and its place among the inputs."""


def layer_of(model: Model, path: str) -> str | None:
    """Return the name of the layer in the path of a node or tensor, such as ``model_1/nested_1/conv_1/Conv2D``.

    Layers inside of layers, such as the cell of a recurrent one, are not named; nested models are opened.

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense_1")])
        >>> layer_of(model, "sequential_1/dense_1_2/MatMul"), layer_of(model, "arith.constant")
        ('dense_1', None)
    """
    names = {layer.name for layer in leaf_layers(model)}
    found = None
    for part in path.split(";", maxsplit=1)[0].split("/"):
        # Keras numbers the scope of a call, so that conv_1 is sooner a call of conv than the layer of that name.
        own = re.sub(r"_\d+$", "", part)
        found = own if own in names else part if part in names else found
    return found


def layers_of_operators(model: Model, function: Any, operators: Iterable[str]) -> dict[str, list[str]]:
    """Return the layers that call some of TensorFlow's operators, by operator, in the order of a traced function."""
    graph = function.graph.as_graph_def()
    wanted: dict[str, list[str]] = {operator: [] for operator in operators}
    for nodes in (graph.node, *(inner.node_def for inner in graph.library.function)):
        for node in nodes:
            name = layer_of(model, node.name) if node.op in wanted else None
            if name is not None and name not in wanted[node.op]:
                wanted[node.op].append(name)
    return wanted


def float_weight_notes(model: Model, file: ModelT) -> list[str]:
    """Return remarks on the layers whose weights a file with weights in int8 has in float32 all the same."""
    outputs = {entry.tensorIndex: entry.name.decode() for own in file.signatureDefs or [] for entry in own.outputs}
    small: dict[str, int] = {}
    large: dict[str, str] = {}
    for graph in file.subgraphs:
        for operator in graph.operators or []:
            kind = operator_name(file, operator)
            if kind not in _PRODUCTS or len(operator.inputs) <= _PRODUCTS[kind]:
                continue
            kernel, result = (graph.tensors[i] for i in (operator.inputs[_PRODUCTS[kind]], operator.outputs[0]))
            if type_name(kernel) != "float32" or file.buffers[kernel.buffer].data is None:
                continue
            paths = [tensor.name.decode(errors="replace") for tensor in (kernel, result)]
            # The name of a tensor that is an output stands in the signature only, and is that of a layer itself.
            named = outputs.get(operator.outputs[0], paths[-1])
            name = next((found for path in paths if (found := layer_of(model, path))), named)
            size = prod(map(int, kernel.shape))
            if size < _LEAST_NUMBERS:
                small[name] = size
            else:
                large[name] = kind
    notes = []
    if small:
        listed = ", ".join(f"{name} ({size})" for name, size in small.items())
        notes.append(f"in float32, as the converter leaves kernels of fewer than {_LEAST_NUMBERS:,} numbers: {listed}")
    if large:
        notes.append(f"in float32, as LiteRT has no kernel with weights in int8: {_listed(large)}")
    return notes


def _listed(kinds: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
