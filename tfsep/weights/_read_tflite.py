"""The network in a ``.tflite`` file: a MobileNet, or DeepLab on one."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from tfsep._flatbuffer.reader import operator_name, read_tflite
from tfsep._flatbuffer.schema_types import ModelT
from tfsep._utils.arguments import as_path
from tfsep.weights._tflite_network import FileNetwork, UnsupportedFileError
from tfsep.weights._tflite_reader import NetworkReader
from tfsep.weights._tflite_segmentation import FileSegmentation, SegmentationReader


@contextmanager
def _as_value_error(path: Path, wanted: str) -> Iterator[None]:
    """Let a file that holds another network raise a `ValueError` of one sentence."""
    try:
        yield
    except UnsupportedFileError as error:
        raise ValueError(f"path: expected {wanted}, got {path} with {error}") from error


def read_network(path: str | PathLike[str]) -> FileNetwork:
    """Return the MobileNet in a ``.tflite`` file.

    Args:
        path: path of the file.

    Raises:
        TypeError: if `path` is no path.
        FileNotFoundError: if there is no such file.
        ValueError: if it is no TFLite model, is damaged, or holds another network.

    Examples:
        >>> read_network("missing.tflite")
        Traceback (most recent call last):
        FileNotFoundError: path: expected a .tflite file, got missing.tflite, which does not exist
    """
    path = as_path(path, "path")
    return _network_of(read_tflite(path)[1], path)


def read_network_or_segmentation(path: str | PathLike[str]) -> FileNetwork | FileSegmentation:
    """Return the MobileNet in a ``.tflite`` file, or the DeepLab v3 on one.

    Args:
        path: path of the file.

    Raises:
        TypeError, FileNotFoundError, ValueError: see `read_network`.

    Examples:
        >>> read_network_or_segmentation("missing.tflite")
        Traceback (most recent call last):
        FileNotFoundError: path: expected a .tflite file, got missing.tflite, which does not exist
    """
    path = as_path(path, "path")
    _, model = read_tflite(path)
    operators = model.subgraphs[0].operators or []
    if not any(operator_name(model, operator) == "CONCATENATION" for operator in operators):
        return _network_of(model, path)
    with _as_value_error(path, "a MobileNet v1 or v2, or DeepLab v3 on one"):
        found = SegmentationReader(model).segmentation()
        _checked(found.body)
        return found


def _network_of(model: ModelT, path: Path) -> FileNetwork:
    """The MobileNet in a model that was read."""
    with _as_value_error(path, "a MobileNet v1 or v2"):
        return _checked(NetworkReader(model).network())


def _checked(network: FileNetwork) -> FileNetwork:
    """A network whose definitions and padding are known."""
    network.conv_defs()
    network.padding()
    return network
