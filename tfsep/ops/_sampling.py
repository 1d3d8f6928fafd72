"""Weighted sums of rows of a table: what sampling an image between its pixels comes to.

``result[p] = sum over k of weights[p, k] · table[index[p, k]]`` is linear in the table and in the weights, so it is one
of the products of `_bilinear`, which differentiates it any number of times. The table's gradient is a scatter, which
TensorFlow's own gradient of a gather leaves to whoever adds it up, and slowly.
"""

from functools import reduce
from operator import add
from typing import Any

from tfsep._backend import tf
from tfsep.ops._bilinear import Bilinear


def weighted_rows(table: Any, weights: Any, index: Any) -> Any:
    """Return sums of rows (P, C) of a table (M, C), by weights (P, K) of the rows that index (P, K) names.

    No row of a table of none can be named. The memory that it takes beside the result is that of K results, and of K
    more for the gradients.
    """
    return Bilinear(_gathered, _scattered, _matched)(table, weights, index)


def _each(weights: Any, index: Any) -> Any:
    """The K columns of weights (P, 1) and of indices (P,)."""
    return zip(tf.split(weights, index.shape[1], axis=1), tf.unstack(index, axis=1), strict=True)


def _gathered(table: Any, weights: Any, index: Any) -> Any:
    return reduce(add, (tf.gather(table, rows) * weight for weight, rows in _each(weights, index)))


def _scattered(upstream: Any, weights: Any, shape: Any, index: Any) -> Any:
    parts = (tf.math.unsorted_segment_sum(upstream * weight, rows, shape[0]) for weight, rows in _each(weights, index))
    return reduce(add, parts)


def _matched(table: Any, upstream: Any, index: Any) -> Any:
    dots = [tf.reduce_sum(tf.gather(table, rows) * upstream, axis=1) for rows in tf.unstack(index, axis=1)]
    return tf.stack(dots, axis=1)
