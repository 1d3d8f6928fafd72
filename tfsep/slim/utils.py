"""The functions of ``slim.utils``."""

from collections.abc import Sequence
from typing import Any

from tfsep._keras.backend import tf
from tfsep._keras.tf_functions import channels
from tfsep._keras.types import Tensor
from tfsep.geometry._sizes import pair
from tfsep.slim._elsewhere import refusal_of_others
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


def last_dimension(shape: tf.TensorShape | Sequence[int | None], min_rank: int = 1) -> int:
    """Return the last size of a shape.

    Args:
        shape: a shape, as of ``tensor.get_shape()`` or ``tensor.shape``.
        min_rank: rank that the shape has at least.

    Raises:
        ValueError: for a lower rank or an unknown size.

    Examples:
        >>> last_dimension(keras.Input((8, 8, 3)).get_shape(), min_rank=4)
        3
    """
    sizes = tf.TensorShape(shape)
    if sizes.rank is None or sizes.rank < min_rank or sizes[-1] is None:
        raise ValueError(f"shape: expected rank {min_rank} or more and a known last size, got {shape}")
    return int(sizes[-1])


def channel_dimension(shape: tf.TensorShape | Sequence[int | None], data_format: str, min_rank: int = 1) -> int:
    """Return the number of channels of a shape.

    Args:
        shape: a shape, as of ``tensor.get_shape()`` or ``tensor.shape``.
        data_format: ``"NHWC"`` or ``"NCHW"``.
        min_rank: rank that the shape has at least.

    Raises:
        ValueError: for a lower rank, an unknown number of channels or another data format.

    Examples:
        >>> channel_dimension((None, 3, 8, 8), "NCHW")
        3
    """
    sizes = tf.TensorShape(shape)
    if channels(data_format) == "channels_last" or sizes.rank is None:
        return last_dimension(shape, min_rank)
    return last_dimension(sizes[:2], min(min_rank, 2))


def two_element_tuple(int_or_tuple: int | Sequence[int]) -> tuple[int, int]:
    """Return an int, or a list of one or two, as rows and columns.

    Args:
        int_or_tuple: the number or numbers.

    Raises:
        ValueError: for any other.

    Examples:
        >>> two_element_tuple(3), two_element_tuple([2, 5])
        ((3, 3), (2, 5))
    """
    return pair(int_or_tuple, "int_or_tuple")


__getattr__ = refusal_of_others("slim.utils")
