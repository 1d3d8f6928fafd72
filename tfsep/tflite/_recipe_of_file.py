"""The recipe by which a file may have been made."""

from collections import Counter

from tfsep._flatbuffer.reader import type_name
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._recipes import Recipe, recipe_of_types

_INTEGERS = {"int8": "int8", "uint8": "int8", "int16": "int16"}
"""Types of quantized activations, and their names in recipes."""


def recipe_of_file(file: LiteRTModel) -> Recipe:
    """Return the recipe of `RECIPES` that stores and computes in a file's types."""
    graph = file.flatbuffer.subgraphs[0]
    types = [type_name(tensor) for tensor in graph.tensors]
    weights = next((name for name in ("int8", "float16") if name in types), "int8" if "uint8" in types else "float32")
    first = file.inputs[0]
    if first.scale:
        return recipe_of_types(weights, _INTEGERS.get(first.dtype, "int8"))
    computed = Counter(types[number] for operator in graph.operators or [] for number in operator.outputs)
    common = max(("float32", *_INTEGERS), key=computed.__getitem__)
    return recipe_of_types(weights, _INTEGERS.get(common, "float32"))
