"""The smallest and the largest number that tensors of a graph have on samples."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from tfsep._keras.backend import tf

_MOST_SAMPLES = 64
"""Samples on which ranges are compared."""

Samples: TypeAlias = Callable[[], Iterator[Mapping[str, np.ndarray]]]
"""Function that returns an iterator of a model's inputs by name."""


def extremes(function: Any, wanted: Sequence[Sequence[Any]], samples: Samples) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the smallest and the largest numbers of lists of tensors, two arrays for each list.

    Args:
        function: a concrete function with named inputs that captures nothing.
        wanted: lists of its tensors.
        samples: inputs, of which some are enough.
    """
    definition = function.graph.as_graph_def()
    copied = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(definition, name=""), [])
    computed = copied.prune([x.name for x in function.inputs], [[x.name for x in each] for each in wanted])
    found: list[list[np.ndarray]] = []
    for sample in islice(samples(), _MOST_SAMPLES):
        results = computed(*(tf.constant(sample[name]) for name in sorted(sample)))
        found.append([np.array([(np.min(x), np.max(x)) for x in each], float) for each in results])
    return [(np.min(seen, 0)[:, 0], np.max(seen, 0)[:, 1]) for seen in zip(*found, strict=True)]
