"""The one import of Keras: every room that needs it comes through here, so the backend is checked once, and early."""

import os

_CHOSEN = os.environ.get("KERAS_BACKEND", "tensorflow")
if _CHOSEN != "tensorflow":
    raise ValueError(f"KERAS_BACKEND: expected 'tensorflow', got {_CHOSEN!r}")

import keras  # noqa: E402

if keras.backend.backend() != "tensorflow":
    raise ValueError(f"Keras backend: expected 'tensorflow', got {keras.backend.backend()!r} from Keras's own settings")

import tensorflow as tf  # noqa: E402

__all__ = ["keras", "tf"]
