"""Weighted sums of the rows of a table: bilinear sampling of an image between its pixels.

``result[p] = sum over k of weights[k, p] · table[index[k][p]]`` is linear in the table and in the weights, so it is a
`BilinearMap`, differentiable any number of times. The gradient to the table is a scatter-add, which TensorFlow's own
gradient of a gather leaves to its consumer, slowly.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.ops._bilinear_map import BilinearMap


def weighted_gather(table: Tensor, weights: Tensor, index: Sequence[Tensor]) -> Tensor:
    """Return weighted sums of the rows of a table.

    It takes, beside the result, the memory of about K results, as its gradients do.

    Args:
        table: (M, C).
        weights: (K, P).
        index: row numbers of the table, K tensors (P,). They are not stacked: LiteRT unpacks no int64.

    Returns:
        A tensor (P, C).
    """
    return BilinearMap(_gather, _scatter_add, _weight_gradient)(table, weights, *index)


def _terms(weights: Tensor, index: Sequence[Tensor]) -> Iterable[tuple[Tensor, Tensor]]:
    """Weights (P, 1) and row numbers (P,) of each of the K terms of a sum."""
    return zip(tf.unstack(weights[:, :, None]), index, strict=True)


def _gather(table: Tensor, weights: Tensor, *index: Tensor) -> Tensor:
    return reduce(add, (tf.gather(table, rows) * weight for weight, rows in _terms(weights, index)))


def _scatter_add(upstream: Tensor, weights: Tensor, shape: Tensor, *index: Tensor) -> Tensor:
    terms = _terms(weights, index)
    return reduce(add, (tf.math.unsorted_segment_sum(upstream * weight, rows, shape[0]) for weight, rows in terms))


def _weight_gradient(table: Tensor, upstream: Tensor, *index: Tensor) -> Tensor:
    return tf.stack([tf.reduce_sum(tf.gather(table, rows) * upstream, axis=1) for rows in index])
