"""Weighted sums of rows of a table: what sampling an image between its pixels comes to.

``result[p] = sum over k of weights[k, p] · table[index[k, p]]`` is linear in the table and in the weights, so it is one
of the products of `_bilinear`, which differentiates it any number of times. The table's gradient is a scatter, which
TensorFlow's own gradient of a gather leaves to whoever adds it up, and slowly.
"""

from functools import reduce
from operator import add
from typing import Any

from tfsep._keras.backend import tf
from tfsep.ops._bilinear import Bilinear


def weighted_rows(table: Any, weights: Any, index: Any) -> Any:
    """Return sums of rows (P, C) of a table (M, C), by weights (K, P) of the rows that index (K, P) names.

    It takes, beside the result, the memory of some K results, as its gradients do.
    """
    return Bilinear(_gathered, _scattered, _matched)(table, weights, index)


def _each(weights: Any, index: Any) -> Any:
    """The K columns of weights (P, 1), each with its indices (P,)."""
    return zip(tf.unstack(weights[:, :, None]), tf.unstack(index), strict=True)


def _gathered(table: Any, weights: Any, index: Any) -> Any:
    return reduce(add, (tf.gather(table, rows) * weight for weight, rows in _each(weights, index)))


def _scattered(upstream: Any, weights: Any, shape: Any, index: Any) -> Any:
    parts = (tf.math.unsorted_segment_sum(upstream * weight, rows, shape[0]) for weight, rows in _each(weights, index))
    return reduce(add, parts)


def _matched(table: Any, upstream: Any, index: Any) -> Any:
    return tf.stack([tf.reduce_sum(tf.gather(table, rows) * upstream, axis=1) for rows in tf.unstack(index)])
