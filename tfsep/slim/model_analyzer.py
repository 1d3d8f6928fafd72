"""The functions of ``slim.model_analyzer``: the sizes of a model's variables and results."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from tfsep._keras.backend import keras, tf
from tfsep._keras.model_graph import calls_behind
from tfsep._keras.types import Model
from tfsep._utils.arguments import short_repr
from tfsep.slim._graph import current_graph
from tfsep.slim._types import Variable

_logger = logging.getLogger(__name__)


def tensor_description(var: Any) -> str:
    """Return type and shape of a tensor or variable.

    Args:
        var: a Keras tensor or variable.

    Examples:
        >>> tensor_description(keras.Input((8, 8, 3), batch_size=1))
        '(float32 1x8x8x3)'
    """
    return f"({keras.backend.standardize_dtype(var.dtype)} {'x'.join(map(str, var.shape))})"


def _size(shape: Sequence[int | None]) -> int:
    """The number of elements; 0 where it is unknown, and of a scalar, as in slim."""
    size = 1 if len(shape) else 0
    for length in shape:
        size *= length or 0
    return size


def analyze_vars(variables: Iterable[Variable], print_info: bool = False) -> tuple[int, int]:
    """Return the number of elements of variables, and of their bytes.

    Args:
        variables: such as `tfsep.slim.get_model_variables` returns.
        print_info: whether each variable is logged, at level INFO.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.conv2d(keras.Input((8, 8, 3)), 16, 3)
        >>> analyze_vars(slim.get_model_variables())
        (448, 1792)
    """
    names = {id(variable): name for name, variable in current_graph().variables.items()}
    total, total_bytes = 0, 0
    for variable in variables:
        size = _size(variable.shape)
        count = size * tf.as_dtype(keras.backend.standardize_dtype(variable.dtype)).size
        total, total_bytes = total + size, total_bytes + count
        if print_info:
            name = names.get(id(variable), variable.name)
            _logger.info(f"{name} {tensor_description(variable)} [{size}, bytes: {count}]")
    return total, total_bytes


def analyze_ops(graph: Model, print_info: bool = False) -> int:
    """Return the number of elements of the results of a model's operations; unknown sizes, as of an open batch, are 0.

    Args:
        graph: the model, a functional one. Slim has TensorFlow's graph here.
        print_info: whether each operation is logged, at level INFO.

    Raises:
        TypeError: for what is no functional model.

    Examples:
        >>> from tfsep import slim
        >>> inputs = keras.Input((8, 8, 3), batch_size=1)
        >>> analyze_ops(keras.Model(inputs, slim.conv2d(inputs, 16, 3)))
        2240
    """
    if getattr(graph, "outputs", None) is None:
        raise TypeError(f"graph: expected a functional Keras model, got {short_repr(graph)}")
    total = 0
    for call in calls_behind(graph.outputs):
        size = sum(_size(tensor.shape) for tensor in call.outputs)
        total += size
        if print_info:
            _logger.info(f"{call.operation.name} -> {', '.join(map(tensor_description, call.outputs))} [{size}]")
    return total
