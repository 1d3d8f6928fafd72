"""Sizes that a file computes as it runs, where it was converted for any batch: the stored ones are not those."""

from typing import NamedTuple

import numpy as np

from tfsep._flatbuffer.constants import is_stored
from tfsep._flatbuffer.reader import leaves_sizes_open, operator_name
from tfsep._flatbuffer.schema_types import ModelT, SubGraphT
from tfsep._workers import WorkerError, run_worker


def work_out_sizes(content: bytes, model: ModelT) -> list[set[int]]:
    """Give the tensors of a model that was read the shapes that they have in a run of one batch.

    Args:
        content: bytes of the file.
        model: the model in them, whose main graph is changed.

    Returns:
        For each graph, the tensors of which no shape is known: those of loops, of a file that LiteRT does not run, and
        of one whose inputs leave sizes of a sample open.
    """
    unknown = [_computed(model, graph).behind for graph in model.subgraphs]
    main = model.subgraphs[0]
    if any(leaves_sizes_open(main.tensors[index]) for index in main.inputs):
        return [
            behind | {index for index, tensor in enumerate(graph.tensors) if leaves_sizes_open(tensor)}
            for behind, graph in zip(unknown, model.subgraphs, strict=True)
        ]
    if unknown[0]:
        try:
            reply = run_worker("tensor_shapes", {"values": []}, [np.frombuffer(content, np.uint8)])
        except WorkerError:
            return unknown
        for tensor, shape in zip(model.subgraphs[0].tensors, reply.values["shapes"], strict=False):
            tensor.shape = np.array(shape, np.int32)
        unknown[0] = set()
    return unknown


def computed_sizes(content: bytes, model: ModelT) -> dict[int, np.ndarray]:
    """Return the sizes that the main graph computes as numbers, by tensor, as they are in a run of one batch.

    Args:
        content: bytes of the file, which LiteRT runs.
        model: the model in them.
    """
    sizes = sorted(_computed(model, model.subgraphs[0]).sizes)
    if not sizes:
        return {}
    reply = run_worker("tensor_shapes", {"values": sizes}, [np.frombuffer(content, np.uint8)])
    return dict(zip(sizes, reply.arrays, strict=True))


class _Computed(NamedTuple):
    """Tensors of a graph that come of the operator SHAPE.

    Attributes:
        sizes: sizes as numbers.
        behind: those of open sizes that an operator makes by such a number.
    """

    sizes: set[int]
    behind: set[int]


def _computed(model: ModelT, graph: SubGraphT) -> _Computed:
    found = _Computed(set(), set())
    for op in graph.operators or []:
        given = {int(index) for index in op.inputs if index >= 0 and not is_stored(model, graph.tensors[index])}
        results = [int(index) for index in op.outputs]
        is_size = operator_name(model, op) == "SHAPE" or (bool(given) and given <= found.sizes)
        if is_size and not any(_is_open(graph, index) for index in results):
            found.sizes.update(results)
        elif given & (found.sizes | found.behind):
            found.behind.update(index for index in results if _is_open(graph, index))
    return found


def _is_open(graph: SubGraphT, index: int) -> bool:
    """Whether a tensor's shape is not known before a run."""
    signature = graph.tensors[index].shapeSignature
    return signature is not None and -1 in signature
