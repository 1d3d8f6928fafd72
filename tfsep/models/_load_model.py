"""Loading a saved model, with this library's layers known to Keras."""

import re
import warnings
from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from tfsep import layers, quantize  # noqa: F401 - registers the layers that a file may name
from tfsep._keras.backend import keras
from tfsep._keras.saved_model import UnreadableModelError, is_saved_model, load_saved_model
from tfsep._keras.types import Model
from tfsep._utils.arguments import as_found
from tfsep._utils.foreign_errors import cause_of
from tfsep._utils.zip_limits import check_unpacked_size
from tfsep.models._keras2_config import patched
from tfsep.models._stored_config import (
    is_of_newer_keras,
    keras_version_of,
    with_patched_copy,
    without_later_arguments,
)

__all__ = ["load_model"]

_H5 = (".h5", ".hdf5")
_KINDS = "a .keras or .h5 file, or the folder of a SavedModel"


def load_model(
    path: str | PathLike[str], custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True
) -> Model:
    """Load a ``.keras`` file, an ``.h5`` file of Keras 2 or 3, or a SavedModel.

    What Keras 2 writes in an ``.h5`` file and Keras 3 does not know is put right where it changes nothing, and so is
    what a newer Keras writes than the installed one. A SavedModel becomes a model of one layer, which computes its
    signature ``serving_default``; Keras cannot save that again. The signature has no order: several inputs and outputs
    are in that of their names.

    Args:
        path: path of the file or folder; a file may hold layers of `tfsep.layers` and `tfsep.quantize`.
        custom_objects: classes and functions of one's own that the file names, by name.
        safe_mode: whether to refuse ``Lambda`` layers, whose Python code loading would run. Off for files that you
            trust only.

    Returns:
        The model, not compiled where it is of Keras 2.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no whole model, or names classes that are not known.

    Examples:
        >>> load_model("missing.keras")
        Traceback (most recent call last):
        FileNotFoundError: model: expected a .keras file, got missing.keras, which does not exist
    """
    path = Path(path)
    if not path.exists():
        kind = "a .keras file" if path.suffix == ".keras" else _KINDS
        raise FileNotFoundError(f"model: expected {kind}, got {as_found(path)}")
    if not (path.is_file() and path.suffix in (".keras", *_H5)) and not is_saved_model(path):
        raise ValueError(f"model: expected {_KINDS}, got {path}")
    try:
        # Keras warns of what a file of Keras 2 leaves out.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _loaded(path, dict(custom_objects or {}), safe_mode)
    except Exception as error:  # whatever a damaged archive makes the loaders underneath raise
        raise ValueError(_explained(path, error)) from error


def _loaded(path: Path, custom_objects: dict[str, Any], safe_mode: bool) -> Model:
    if path.is_dir():
        return load_saved_model(path)
    options: dict[str, Any] = {"custom_objects": custom_objects, "safe_mode": safe_mode}
    if path.suffix == ".keras":
        check_unpacked_size(path)
    version = keras_version_of(path)
    if () < version < (3,):
        return with_patched_copy(path, patched, lambda copy: keras.models.load_model(copy, compile=False, **options))
    load = partial(keras.models.load_model, compile=path.suffix == ".keras", **options)
    return with_patched_copy(path, without_later_arguments, load) if is_of_newer_keras(version) else load(path)


_UNKNOWN = re.compile(
    r"(?:Unknown layer: |Unknown object: |Could not locate (?:class|function) "
    r"|Could not interpret [\w ]+ identifier: )(?:\{'class_name': )?'?([\w.>]+)"
)


def _explained(path: Path, error: Exception) -> str:
    """An error of Keras's loaders in one sentence."""
    reason = " ".join(str(error).split())
    if "Lambda" in reason and "safe_mode=False" in reason:
        return (
            f"model: expected no Lambda layer, whose Python code loading would run, got {path}, which has one: pass "
            "safe_mode=False, or --unsafe, for a file that you trust"
        )
    if unknown := _UNKNOWN.search(reason):
        return (
            f"model: expected classes that are known, got {path}, which has {unknown[1]!r}: give it in custom_objects, "
            "or its module with --custom"
        )
    # Keras has whole configs in front of the cause, the innermost last.
    layer = "".join(
        f"its {kind} {name!r}"
        for kind, name in re.findall(r"class '(\w+)' using config=\{'name': '([^']*)'", reason)[-1:]
    )
    own = reason.rpartition("Exception encountered: ")[2]
    if keys := re.search(r"(?:Unrecognized keyword arguments passed to \w+|unexpected keyword argument):? (.*)", own):
        said = ", ".join(re.findall(r"'(\w+)'", keys[1])) or keys[1]
        reason, error = f"{layer or 'a layer'} has {said}, which Keras 3 has not", UnreadableModelError()
    if isinstance(error, UnreadableModelError):
        return f"model: expected one that Keras 3 reads, got {path}: {reason}"
    kind = {".keras": "a whole .keras file", "": "a whole SavedModel"}.get(path.suffix, "a whole .h5 file of a model")
    cause = cause_of(error if own == reason else ValueError(own))
    return f"model: expected {kind}, got {path} ({layer and layer + ': '}{cause})"


def as_model(model: Model | str | PathLike[str]) -> Model:
    """Return a model, or that of a file.

    Raises:
        FileNotFoundError, ValueError: as `load_model` does.
    """
    return load_model(model) if isinstance(model, str | PathLike) else model
