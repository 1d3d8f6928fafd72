"""The Keras layers that operators come from, by the names that tracing gives nodes and tensors."""

import re
from collections.abc import Mapping
from math import prod

from tfsep._flatbuffer.reader import operator_name, type_name
from tfsep._flatbuffer.schema_types import ModelT, OperatorT, SubGraphT
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


def layer_of_operator(model: Model, file: ModelT, graph: SubGraphT, operator: OperatorT) -> str:
    """Return the layer that an operator of a file comes from, or the name of the operator's result."""
    outputs = {entry.tensorIndex: entry.name.decode() for own in file.signatureDefs or [] for entry in own.outputs}
    path = graph.tensors[operator.outputs[0]].name.decode(errors="replace")
    # The name of a tensor that is an output stands in the signature only, and is that of a layer itself.
    return layer_of(model, path) or outputs.get(operator.outputs[0], path)


def float_weight_notes(model: Model, file: ModelT) -> list[str]:
    """Return remarks on the layers whose weights a file with weights in int8 has in float32 all the same."""
    small: dict[str, int] = {}
    large: dict[str, str] = {}
    for graph in file.subgraphs:
        for operator in graph.operators or []:
            kind = operator_name(file, operator)
            if kind not in _PRODUCTS or len(operator.inputs) <= _PRODUCTS[kind]:
                continue
            kernel = graph.tensors[operator.inputs[_PRODUCTS[kind]]]
            if type_name(kernel) != "float32" or file.buffers[kernel.buffer].data is None:
                continue
            name = layer_of(model, kernel.name.decode(errors="replace"))
            name = name or layer_of_operator(model, file, graph, operator)
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
