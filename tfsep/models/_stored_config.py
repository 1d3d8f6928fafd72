"""The config in a model's file: the Keras that wrote it, and copies of the file with another config."""

import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py

from tfsep._keras.backend import keras
from tfsep._keras.saved_model import UnreadableModelError

_LATER: dict[str, Any] = {
    **dict.fromkeys(("input_axes", "output_axes")),  # of initializers, Keras 3.15
    **{"renorm": False, "renorm_clipping": None, "renorm_momentum": 0.99},  # of normalizations, Keras 3.14
}
"""Arguments that a Keras after 3.12 writes, and the values at which leaving them out changes nothing."""


def keras_version_of(path: Path) -> tuple[int, ...]:
    """Return the first two numbers of the version of Keras that wrote a ``.keras`` or ``.h5`` file.

    Raises:
        UnreadableModelError: for an ``.h5`` file of weights alone.
        OSError, KeyError, ValueError: for a damaged file.
    """
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return _numbers(json.loads(archive.read("metadata.json")).get("keras_version", "3"))
    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise UnreadableModelError("it holds weights and no model: build the model, and call its load_weights")
        return _numbers(file.attrs.get("keras_version", "2"))


def is_of_newer_keras(version: tuple[int, ...]) -> bool:
    """Return whether a version is newer than the installed one."""
    return version > _numbers(keras.__version__)


def _numbers(version: Any) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", str(version))[:2]))


def without_later_arguments(config: Any) -> Any:
    """Return a config without the arguments that an older Keras does not know, where they change nothing.

    Examples:
        >>> without_later_arguments({"class_name": "HeNormal", "config": {"seed": None, "input_axes": None}})
        {'class_name': 'HeNormal', 'config': {'seed': None}}
    """
    if isinstance(config, list):
        return [without_later_arguments(each) for each in config]
    if not isinstance(config, Mapping):
        return config
    return {
        key: without_later_arguments(each) for key, each in config.items() if key not in _LATER or each != _LATER[key]
    }


def with_patched_copy(path: Path, patch: Callable[[Any], Any], load: Callable[[Path], Any]) -> Any:
    """Return what a function makes of a copy of a file, with another config.

    Args:
        path: path of the ``.keras`` or ``.h5`` file.
        patch: from the config to the other.
        load: from the path of the copy to the result.

    Raises:
        OSError: for a damaged file.
    """
    with tempfile.TemporaryDirectory(prefix="tfsep-") as folder:
        return load(_patched_file(path, patch, Path(folder)))


def _patched_file(path: Path, patch: Callable[[Any], Any], folder: Path) -> Path:
    copy = folder / path.name
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
            for name in source.namelist():
                content = source.read(name)
                target.writestr(name, json.dumps(patch(json.loads(content))) if name == "config.json" else content)
        return copy
    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        file.attrs["model_config"] = json.dumps(patch(json.loads(file.attrs["model_config"]))).encode()
    return copy
