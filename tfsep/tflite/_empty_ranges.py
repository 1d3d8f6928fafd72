"""Operators whose results are all zero, or nearly: integers have no step for them."""

import numpy as np

from tfsep._flatbuffer.constants import scales_of
from tfsep._flatbuffer.reader import type_name
from tfsep._flatbuffer.schema_types import ModelT, OperatorT, TensorT

SMALLEST_RANGE = 1e-6
"""The converter chooses quantization parameters of its own for tensors whose numbers are all smaller."""


def operators_without_range(file: ModelT) -> list[OperatorT]:
    """Return the operators of the main graph whose results are all under `SMALLEST_RANGE`.

    LiteRT refuses such a file, or crashes on it, where other numbers are scaled down to these: by more than its kernels
    can.
    """
    graph = file.subgraphs[0]
    return [op for op in graph.operators or [] if any(_is_empty(graph.tensors[number]) for number in op.outputs)]


def _is_empty(tensor: TensorT) -> bool:
    scales, kind = scales_of(tensor), type_name(tensor)
    if scales is None or scales.scale.size != 1 or kind not in ("int8", "uint8", "int16"):
        return False
    # The scale is a float32.
    span = float(scales.scale.squeeze()) * (int(np.iinfo(kind).max) - int(np.iinfo(kind).min))
    return span <= 2 * SMALLEST_RANGE * (1 + 2.0**-20)
