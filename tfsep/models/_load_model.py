"""Loading a saved model, with this library's layers known to Keras."""

from os import PathLike
from pathlib import Path

from tfsep import layers, quantize  # noqa: F401 - registers the layers that a file may name
from tfsep._keras.backend import keras
from tfsep._keras.types import Model
from tfsep._utils.zip_limits import check_unpacked_size

__all__ = ["load_model"]


def load_model(path: str | PathLike[str]) -> Model:
    """Load a ``.keras`` file, Keras's safe mode on.

    Args:
        path: path of the file; it may hold layers of `tfsep.layers` and `tfsep.quantize`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no whole ``.keras`` file, or names classes that are not known.

    Examples:
        >>> load_model("missing.keras")
        Traceback (most recent call last):
        FileNotFoundError: model: expected a .keras file, got missing.keras, which does not exist
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"model: expected a .keras file, got {path}, which does not exist")
    if path.suffix != ".keras":
        raise ValueError(f"model: expected a .keras file, got {path}")
    try:
        check_unpacked_size(path)
        return keras.models.load_model(path)
    except Exception as error:  # whatever a damaged archive makes the loaders underneath raise
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"model: expected a whole .keras file, got {path} ({reason})") from error


def as_model(model: Model | str | PathLike[str]) -> Model:
    """Return a model, or that of a file.

    Raises:
        FileNotFoundError, ValueError: as `load_model` does.
    """
    return load_model(model) if isinstance(model, str | PathLike) else model
