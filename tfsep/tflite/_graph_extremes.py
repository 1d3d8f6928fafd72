"""Tensors inside of a traced function, and the smallest and the largest number that they have on samples."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor

_MOST_SAMPLES = 64
"""Samples on which ranges are compared."""

Samples: TypeAlias = Callable[[], Iterator[Mapping[str, np.ndarray]]]
"""Function that returns an iterator of a model's inputs by name."""


def tensors_of(function: Any, names: Sequence[str], inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Return tensors of a traced function, made again in the graph that is traced now.

    Args:
        function: a concrete function with named inputs that captures nothing.
        names: names of its tensors.
        inputs: its inputs by name.
    """
    given = {tensor.name: inputs[tensor.op.name] for tensor in function.inputs}
    made = [name for name in names if name not in given]
    # A pruned function would write out its arguments, number by number, in each call.
    tensors = tf.graph_util.import_graph_def(
        function.graph.as_graph_def(), input_map=given, return_elements=made, name=""
    )
    found = given | dict(zip(made, tensors, strict=True))
    return [found[name] for name in names]


def extremes(function: Any, wanted: Sequence[Sequence[Any]], samples: Samples) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the smallest and the largest numbers of lists of tensors, two arrays for each list.

    Args:
        function: a concrete function with named inputs that captures nothing.
        wanted: lists of its tensors.
        samples: inputs, of which some are enough.
    """
    names = [x.name for each in wanted for x in each]
    computed = tf.function(lambda inputs: tensors_of(function, names, inputs), autograph=False)
    found: list[list[np.ndarray]] = []
    for sample in islice(samples(), _MOST_SAMPLES):
        results = iter(computed({name: tf.constant(array) for name, array in sample.items()}))
        found.append([np.array([(np.min(x), np.max(x)) for x in islice(results, len(each))], float) for each in wanted])
    return [(np.min(seen, 0)[:, 0], np.max(seen, 0)[:, 1]) for seen in zip(*found, strict=True)]
