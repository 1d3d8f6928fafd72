"""What slim has in ``slim.utils``."""

from typing import Any

from tfsep.slim._graph import current_graph, graph_of
from tfsep.slim._variables import named


def convert_collection_to_dict(collection: str, clear_collection: bool = False) -> dict[str, Any]:
    """Return the things of a collection by slim's names: variables by theirs, results by the scope of their layer.

    Args:
        collection: as in `tfsep.slim.get_collection`.
        clear_collection: whether it is emptied.

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


def collect_named_outputs(collections: Any, alias: str, outputs: Any) -> Any:
    """Add a tensor to collections under a name, and return it.

    Args:
        collections: a collection, a list of them, or None.
        alias: the name; a slash at its end is left out.
        outputs: Keras tensor.

    Examples:
        >>> net = collect_named_outputs("ends", "net/", keras.Input((8,)))
        >>> list(convert_collection_to_dict("ends"))
        ['net']
    """
    return graph_of(outputs).add_output(collections, alias.removesuffix("/"), outputs) if collections else outputs
