"""Sparse constants of a ``.tflite`` file: which of a tensor's numbers it stores.

A tensor is a tree of levels, in the order in which it is traversed: one for each dimension, and one for each dimension
that is cut into blocks. A dense level has all its places; a compressed one lists those in use, as compressed sparse
rows do. The schema is TensorFlow's, `SparsityParameters`.
"""

from math import prod
from typing import NamedTuple

import numpy as np

from tfsep._flatbuffer.schema_types import SparsityT, TensorT

_DENSE, _COMPRESSED = 0, 1
_LARGEST = 2**31
"""Elements of the largest tensor, as of a dense file's."""


class _Level(NamedTuple):
    """A level of the tree.

    Attributes:
        dimension: number of its dimension; from the tensor's rank on, of its block.
        size: number of places.
        segments: ends of the lists of places, and 0 in front; None for a dense level.
        places: places in use.
    """

    dimension: int
    size: int
    segments: np.ndarray | None
    places: np.ndarray


def check_sparsity(tensor: TensorT, stored: int) -> None:
    """Raise unless the places of a sparse tensor are as many as its stored numbers, and inside it.

    Args:
        tensor: the tensor.
        stored: how many numbers the file stores of it.

    Raises:
        ValueError: if they are not; half a sentence.
    """
    levels = _levels(tensor)
    count = 1
    for level in levels:
        if level.segments is None:
            count *= level.size
            continue
        segments, places = level.segments, level.places
        if len(segments) != count + 1 or segments[0] != 0 or (np.diff(segments) < 0).any():
            raise ValueError("a sparse tensor of other segments")
        if len(places) != segments[-1] or (len(places) and not 0 <= places.min() <= places.max() < level.size):
            raise ValueError("a sparse tensor of other places")
        count = len(places)
    if count != stored:
        raise ValueError(f"a sparse tensor of {count} places and {stored} numbers")


def densified(tensor: TensorT, stored: np.ndarray) -> np.ndarray:
    """Return all numbers of a sparse tensor that was checked, zeros included, in its shape."""
    shape, levels = _sides(tensor), _levels(tensor)
    at = np.zeros((1, len(levels)), np.int64)
    for level in levels:
        if level.segments is None:
            repeats, places = np.full(len(at), level.size), np.tile(np.arange(level.size), len(at))
        else:
            repeats, places = np.diff(level.segments), level.places
        at = np.repeat(at, repeats, axis=0)
        at[:, level.dimension] = places
    dimensions = [at[:, number] for number in range(len(shape))]
    for block, dimension in enumerate(_block_map(tensor.sparsity)):
        size = next(level.size for level in levels if level.dimension == len(shape) + block)
        dimensions[dimension] = dimensions[dimension] * size + at[:, len(shape) + block]
    dense = np.zeros(shape, stored.dtype)
    dense[tuple(dimensions)] = stored
    return dense


def _levels(tensor: TensorT) -> list[_Level]:
    sparsity, shape = tensor.sparsity, _sides(tensor)
    rank, blocks = len(shape), _block_map(sparsity)
    order = [] if sparsity.traversalOrder is None else [int(dimension) for dimension in sparsity.traversalOrder]
    tables = sparsity.dimMetadata or []
    if min(shape, default=1) < 1 or prod(shape) > _LARGEST:
        raise ValueError("a sparse tensor of a shape that no file has")
    if sorted(order) != list(range(rank + len(blocks))) or len(tables) != len(order):
        raise ValueError("a sparse tensor of other dimensions")
    if len(set(blocks)) != len(blocks) or any(not 0 <= dimension < rank for dimension in blocks):
        raise ValueError("a sparse tensor of other blocks")
    sizes = dict(enumerate(shape))
    for dimension, table in zip(order, tables, strict=True):
        if dimension >= rank:
            cut = blocks[dimension - rank]
            if table.format != _DENSE or table.denseSize < 1 or sizes[cut] % table.denseSize:
                raise ValueError("a sparse tensor of blocks that do not fit")
            sizes |= {dimension: table.denseSize, cut: sizes[cut] // table.denseSize}
    return [_level(dimension, sizes[dimension], table) for dimension, table in zip(order, tables, strict=True)]


def _level(dimension: int, size: int, table: SparsityT) -> _Level:
    if table.format == _DENSE:
        if table.denseSize != size:
            raise ValueError(f"a sparse tensor with {table.denseSize} places for {size}")
        return _Level(dimension, size, None, np.empty(0, np.int64))
    if table.format != _COMPRESSED or table.arraySegments is None or table.arrayIndices is None:
        raise ValueError("a sparse tensor of an unknown format")
    segments, places = (
        np.empty(0, np.int64) if table.values is None else np.asarray(table.values, np.int64)
        for table in (table.arraySegments, table.arrayIndices)
    )
    return _Level(dimension, size, segments, places)


def _sides(tensor: TensorT) -> list[int]:
    return [] if tensor.shape is None else [int(side) for side in tensor.shape]


def _block_map(sparsity: SparsityT) -> list[int]:
    return [] if sparsity.blockMap is None else [int(dimension) for dimension in sparsity.blockMap]
