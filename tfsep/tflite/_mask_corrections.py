"""Corrections of masks in front of a softmax, in a graph that is to compute in integers.

A mask puts a number such as −1e9 in the place of logits, or adds it to them. That number takes up the whole range in
integers, and no step is left for the logits. Any number so far below the logits that nothing of it is left behind the
softmax does the same.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.tflite._graph_corrections import Correction, constant_value, corrected, moved_from
from tfsep.tflite._graph_extremes import Samples, extremes

MASK = -1e4
"""The largest number that is taken for a mask."""
_SHARE = 1e-5
"""What is left of a mask behind a softmax, at most, as a share of the whole."""
_MOVES = ("Identity", "Reshape", "Squeeze", "ExpandDims", "Transpose", "StridedSlice", "BroadcastTo", "Tile")


class _Mask(NamedTuple):
    """A mask.

    Attributes:
        operation: the operation that joins it to the logits.
        logits: the logits.
        where: where it is: a condition of the operation, or the term of a sum.
        chosen: value of a condition where the mask is; None for a term of a sum.
        product: the operation that makes the term of a tensor of 0 and 1; None for others.
        constant: the term, where it is constant; None for others.
    """

    operation: Any
    logits: Any
    where: Any
    chosen: bool | None = None
    product: Any = None
    constant: np.ndarray | None = None

    @property
    def measured(self) -> list[Any]:
        """The logits, and the tensor that tells where the mask is."""
        if self.constant is not None:
            return [self.logits]
        return [self.logits, self.where if self.product is None else _factor(self.product)]


def masks_corrected(function: Any, samples: Samples) -> Any:
    """Return a concrete function with masks near the logits that they are put in the place of.

    Args:
        function: a concrete function with named inputs, and a dict of outputs.
        samples: inputs to measure logits on.
    """
    masks = [mask for mask in map(_mask_of, function.graph.get_operations()) if mask is not None]
    if not masks or function.captured_inputs:
        return function
    seen = extremes(function, [mask.measured for mask in masks], samples)
    right = {
        mask.operation: (mask, float(low[0]), float(high[0]))
        for mask, (low, high) in zip(masks, seen, strict=True)
        if min(low[0], -high[0]) > MASK / 10 and (low[1:] >= 0).all() and (high[1:] <= 1).all()
    }
    found: dict[str, Correction] = {}
    for mask, low, high in right.values():
        if mask.product is None:
            found[mask.operation.name] = _correction(mask, low, high)
        elif all(reader in right for reader in _readers(mask.product)):
            # One mask may be added in many layers.
            found[mask.operation.name] = _correction(mask, low, high)
            found[mask.product.name] = Correction(tf.identity, (mask.measured[1],))
    return corrected(function, function.structured_input_signature[1], [lambda operation: found.get(operation.name)])


def _mask_of(softmax: Any) -> _Mask | None:
    """The mask in front of a softmax."""
    if softmax.type != "Softmax":
        return None
    joined = moved_from(softmax.inputs[0], _MOVES).op
    if len(joined.outputs[0].consumers()) > 1:
        return None
    if joined.type in ("Select", "SelectV2"):
        condition, *branches = joined.inputs
        for branch, other, chosen in zip(branches, branches[::-1], (True, False), strict=True):
            if _is_mask(branch):
                return _Mask(joined, other, condition, chosen)
    if joined.type in ("AddV2", "BiasAdd", "Sub"):
        pairs = (joined.inputs, joined.inputs[::-1])[: 1 + (joined.type == "AddV2")]
        for logits, term in pairs:
            constant = constant_value(term)
            if constant is not None and joined.type == "Sub":
                constant = -constant
            if constant is not None and constant.min(initial=0) <= MASK:
                return _Mask(joined, logits, term, constant=constant)
            product = moved_from(term, _MOVES).op
            if product.type == "Mul" and _factor(product, negated=joined.type == "Sub") is not None:
                return _Mask(joined, logits, term, product=product)
    return None


def _readers(operation: Any) -> Iterator[Any]:
    """Yield what reads an operation's result, when it is moved."""
    for reader in operation.outputs[0].consumers():
        if reader.type in _MOVES:
            yield from _readers(reader)
        else:
            yield reader


def _is_mask(tensor: Any) -> bool:
    """Whether a tensor is a mask's number, or logits from which so much is taken that nothing is left of them."""
    operation = tensor.op
    if operation.type == "AddV2":
        return any(map(_is_below, operation.inputs))
    return _is_below(tensor) or (operation.type == "Sub" and _is_below(operation.inputs[1], negated=True))


def _is_below(tensor: Any, *, negated: bool = False) -> bool:
    value = tf.get_static_value(tensor)
    return value is not None and bool(np.all((-value if negated else value) <= MASK))


def _factor(product: Any, *, negated: bool | None = None) -> Any:
    """What a mask's number is multiplied by; of either sign, unless one is given."""
    first, second = product.inputs
    for factor, number in ((first, second), (second, first)):
        signs = (False, True) if negated is None else (negated,)
        if number.shape.num_elements() == 1 and any(_is_below(number, negated=sign) for sign in signs):
            return factor
    return None


def _correction(mask: _Mask, low: float, high: float) -> Correction:
    """Logits with a mask that is near them."""
    count = mask.operation.outputs[0].shape[-1] or 1
    margin, constant = np.log(count / _SHARE), mask.constant
    if constant is not None:
        near = np.where(constant <= MASK, low - high - margin + constant[constant > MASK].min(initial=0), constant)
        return Correction(lambda logits: logits + near.astype(constant.dtype), (mask.logits,))
    number = np.float32(low - margin)

    def compute(logits: Tensor, where: Tensor) -> Tensor:
        if mask.chosen is None:
            return logits * (1.0 - where) + where * number
        return tf.where(where, number, logits) if mask.chosen else tf.where(where, logits, number)

    return Correction(compute, (mask.logits, mask.where))
