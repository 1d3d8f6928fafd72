"""The one import of Keras and TensorFlow, where the backend is checked once, before anything else happens."""

import json
import os
from pathlib import Path

from tfsep._utils.installed import install_command


def _chosen_backend() -> str:
    """The backend that Keras will load, from its environment variable or else its settings file."""
    if named := os.environ.get("KERAS_BACKEND"):
        return named
    home = os.path.expanduser("~")  # noqa: PTH111 (pathlib fails where there is no home)
    default = Path(home if os.access(home, os.W_OK) else "/tmp") / ".keras"
    folder = os.path.expanduser(os.environ.get("KERAS_HOME", default))  # noqa: PTH111
    try:
        settings = json.loads((Path(folder) / "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "tensorflow"
    return str(settings.get("backend", "tensorflow"))


# Before the import: Keras fails on a backend that is not installed with whatever that import raises.
if (_name := _chosen_backend()) != "tensorflow":
    raise ValueError(f"KERAS_BACKEND: expected 'tensorflow', got {_name!r}")

try:
    import keras
    import tensorflow as tf
except ModuleNotFoundError as error:
    if error.name not in ("keras", "tensorflow"):
        raise
    lacking = f"expected the packages tensorflow and keras, got no {error.name}"
    raise ImportError(f"TensorFlow: {lacking}: {install_command('tf')}") from None

if keras.backend.backend() != "tensorflow":
    raise ValueError(f"Keras backend: expected 'tensorflow', got {keras.backend.backend()!r} from Keras's own settings")

__all__ = ["keras", "tf"]
