"""The functions of ``slim.utils``."""

from typing import Any

from tfsep._keras.types import Tensor
from tfsep.slim._graph import current_graph, graph_of
from tfsep.slim._types import Collections
from tfsep.slim._variables import named


def convert_collection_to_dict(collection: str, clear_collection: bool = False) -> dict[str, Any]:
    """Return the contents of a collection by slim's names: of a variable its own, of a result the scope of its layer.

    Args:
        collection: name, in the forms of `tfsep.slim.get_collection`.
        clear_collection: whether to empty it.

    Examples:
        >>> from tfsep import slim
        >>> with slim.arg_scope([slim.conv2d], outputs_collections="ends"):
        ...     net = slim.repeat(keras.Input((8, 8, 3)), 2, slim.conv2d, 16, 3, scope="conv1")
        >>> list(convert_collection_to_dict("ends"))
        ['conv1/conv1_1', 'conv1/conv1_2']
    """
    found = dict(named(collection))
    if clear_collection:
        current_graph().clear_collection(collection)
    return found


def collect_named_outputs(collections: Collections, alias: str, outputs: Tensor) -> Tensor:
    """Add a tensor to collections under a name, and return it.

    Args:
        collections: names of collections, or None.
        alias: name of the tensor; a slash at its end is left out.
        outputs: Keras tensor.

    Examples:
        >>> net = collect_named_outputs("ends", "net/", keras.Input((8,)))
        >>> list(convert_collection_to_dict("ends"))
        ['net']
    """
    return graph_of(outputs).add_output(collections, alias.removesuffix("/"), outputs) if collections else outputs
