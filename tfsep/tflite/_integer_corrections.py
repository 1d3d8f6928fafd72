"""Corrections of a graph that is to compute in integers, where these have no kernel, or one scale for several tensors.

- A choice between two tensors, a maximum and a minimum have one scale for what they take and their result. A tensor
  that is read elsewhere, too, would be cut off there to the range of the result. Such a choice becomes a sum of
  products with 0 and 1, a maximum or minimum the sum of one and a rectified difference.
- SUM in int16 has the scale of its input, and saturates: it becomes a mean, times the number of its terms.
- SQUARE and SQUARED_DIFFERENCE have no kernel in int16: they become products.
- SELU becomes such a choice, with wrong scales in int16, so that it is written out.
- A bias that two operators have, as those of a shared layer, is stored once in int16, on the scale of the first alone:
  each has one of its own, which differs from the others in its last place.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.tflite._graph_corrections import Correction, Kind, constant_value, corrected, is_constant
from tfsep.tflite._graph_extremes import Samples, extremes
from tfsep.tflite._mask_corrections import masks_corrected

_MARGIN = 0.02
"""Share of a result's range by which a tensor may go past it."""


def corrected_for_integers(function: Any, activations: str, samples: Samples) -> Any:
    """Return a concrete function with the corrections that activations in integers need.

    Args:
        function: a concrete function with named inputs, and a dict of outputs.
        activations: type of the activations, ``"int8"`` or ``"int16"``.
        samples: inputs to measure ranges on.
    """
    function = masks_corrected(function, samples)
    cut = _cutting(function, activations, samples)
    kinds: list[Kind] = [lambda operation: _SEPARATE[operation.type](operation) if operation.name in cut else None]
    if activations == "int16":
        kinds += [_sum, _square, _difference, _scaled_exponential, _own_bias(function)]
    return corrected(function, function.structured_input_signature[1], kinds)


_CHOICES = {"Select", "SelectV2"}
_BOUNDS = {"Maximum", "Minimum"}
_MOVES = {"Identity", "Reshape", "Squeeze", "ExpandDims", "Transpose", "StridedSlice", "Slice", "Max", "Min", "MaxPool"}
"""Operations whose result has the scale of what they take, as those of the two lines above have."""


def _cutting(function: Any, activations: str, samples: Samples) -> set[str]:
    """The names of the operations of which a tensor is read elsewhere, and would be cut off there."""
    found = {
        operation: chain for operation in function.graph.get_operations() if (chain := _chain(operation, activations))
    }
    if not found or function.captured_inputs:
        return set()
    # First the condition of a choice, and the result.
    wanted = [[_condition(operation), operation.outputs[0], *chain] for operation, chain in found.items()]
    seen = extremes(function, wanted, samples)
    return {
        operation.name
        for operation, (low, high) in zip(found, seen, strict=True)
        if _is_cutting(operation, activations, low, high)
    }


def _chain(operation: Any, activations: str) -> list[Any]:
    """The tensors of one scale with an operation's result, if they are to be measured."""
    if operation.type not in _CHOICES | _BOUNDS or not operation.outputs[0].dtype.is_floating:
        return []
    computed = [list(_of_one_scale(x)) for x in _tensors(operation)]
    chain = [x for each in computed for x in each]
    if activations == "int16":
        # SELECT alone has one scale there, and makes other numbers of tensors of two.
        return chain if operation.type in _CHOICES and all(computed) else []
    if operation.type == "Maximum" and not all(map(_is_there, operation.inputs)):
        return []  # RELU has two scales
    return chain if any(len(x.consumers()) > 1 or x.op.type in ("Max", "Min", "MaxPool") for x in chain) else []


def _tensors(operation: Any) -> list[Any]:
    return list(operation.inputs)[operation.type in _CHOICES :]


def _condition(operation: Any) -> Any:
    return operation.inputs[0] if operation.type in _CHOICES else operation.outputs[0]


def _of_one_scale(tensor: Any) -> Iterator[Any]:
    """Yield a computed tensor, and those behind it of which it has the scale."""
    if tf.get_static_value(tensor) is None:
        yield tensor
        inputs = _tensors(tensor.op) if tensor.op.type in _CHOICES | _BOUNDS else list(tensor.op.inputs)[:1]
        if tensor.op.type in _CHOICES | _BOUNDS | _MOVES:
            for each in inputs:
                yield from _of_one_scale(each)


def _is_cutting(operation: Any, activations: str, low: np.ndarray, high: np.ndarray) -> bool:
    """Whether numbers go past the result's range, from the extremes of condition, result and tensors."""
    if operation.type in _CHOICES and not (high[0] and (not low[0] or not _is_there(operation.inputs[2]))):
        return False  # a factor that is 0 for all samples has no range
    margin = _MARGIN * (high[1] - low[1])
    return activations == "int16" or bool((low[2:] < low[1] - margin).any() or (high[2:] > high[1] + margin).any())


def _is_there(tensor: Any) -> bool:
    """Whether a tensor is not a constant of zeros."""
    value = tf.get_static_value(tensor)
    return value is None or bool(np.any(value))


def _choice(operation: Any) -> Correction:
    """Each number of one of two tensors."""
    has_yes, has_no = map(_is_there, operation.inputs[1:])

    def compute(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
        chosen = tf.cast(condition, yes.dtype)
        if not has_no:
            return chosen * yes
        rest = (1 - chosen) * no
        return chosen * yes + rest if has_yes else rest

    return Correction(compute, tuple(operation.inputs))


def _bound(operation: Any) -> Correction:
    """The larger, or the smaller, of two numbers."""
    if operation.type == "Maximum":
        return Correction(lambda a, b: b + tf.nn.relu(a - b), tuple(operation.inputs))
    return Correction(lambda a, b: a - tf.nn.relu(a - b), tuple(operation.inputs))


_SEPARATE = dict.fromkeys(_CHOICES, _choice) | dict.fromkeys(_BOUNDS, _bound)
"""What takes the place of an operation of one scale."""


def _scaled_exponential(operation: Any) -> Correction | None:
    """SELU, which becomes a choice."""
    if operation.type != "Selu":
        return None
    scale, alpha = tf.nn.selu([1.0, -np.inf]).numpy() * [1, -1]

    def compute(x: Tensor) -> Tensor:
        return scale * tf.nn.relu(x) + alpha * (tf.exp(tf.minimum(x, 0.0)) - 1.0)

    return Correction(compute, tuple(operation.inputs))


def _sum(operation: Any) -> Correction | None:
    """A sum along axes."""
    if operation.type != "Sum" or _is_norm(operation):
        return None
    x, axes = operation.inputs
    if not x.dtype.is_floating or not x.shape.is_fully_defined():
        return None
    along, keep = np.ravel(tf.get_static_value(axes)).tolist(), operation.get_attr("keep_dims")
    count = float(np.prod([x.shape[axis] for axis in along]))
    if count == 1:
        return None

    def compute(x: Tensor) -> Tensor:
        mean = tf.reduce_mean(x, along, keep)
        # A product alone would become a part of the kernel behind it.
        return mean + (count - 1) * mean

    return Correction(compute, (x,))


def _square(operation: Any) -> Correction | None:
    readers = [reader for x in operation.outputs for reader in x.consumers()]
    if operation.type != "Square" or not operation.outputs[0].dtype.is_floating or any(map(_is_norm, readers)):
        return None
    return Correction(lambda x: x * x, tuple(operation.inputs))


def _is_norm(operation: Any) -> bool:
    """Whether a sum is that of a unit vector, which is one operator."""
    limits = [reader for reader in operation.outputs[0].consumers() if reader.type == "Maximum"]
    return any(root.type == "Rsqrt" for limit in limits for root in limit.outputs[0].consumers())


def _difference(operation: Any) -> Correction | None:
    """A square of a difference."""
    if operation.type != "SquaredDifference":
        return None
    return Correction(lambda a, b: (a - b) * (a - b), tuple(operation.inputs))


def _own_bias(function: Any) -> Kind:
    """A bias that an operation in front has too: the converter merges constants that are equal."""
    counts: dict[bytes, int] = {}
    copies: dict[str, tuple[int, int]] = {}
    for operation in function.graph.get_operations():
        place, bias = _bias(operation)
        if bias is not None:
            value = bias.tobytes()
            number = counts[value] = counts.get(value, -1) + 1
            if number:
                copies[operation.name] = place, number

    def kind(operation: Any) -> Correction | None:
        if operation.name not in copies:
            return None
        place, number = copies[operation.name]
        add = tf.subtract if operation.type == "Sub" else tf.add

        def compute(first: Tensor, second: Tensor) -> Tensor:
            given = [first, second]
            # Few last places, by which no number changes more than float32 rounds it.
            given[place] *= 1 + number * np.finfo("float32").eps
            return add(*given)

        return Correction(compute, tuple(operation.inputs))

    return kind


def _bias(operation: Any) -> tuple[int, np.ndarray | None]:
    """Which input of a sum is a constant that is not 0, and its numbers; none where no input is one."""
    if operation.type in ("BiasAdd", "AddV2", "Sub") and operation.outputs[0].dtype.is_floating:
        constants = [is_constant(tensor) for tensor in operation.inputs]
        if sum(constants) == 1:
            place = constants.index(True)
            value = constant_value(operation.inputs[place])
            if np.any(value):
                return place, value
    return 0, None
