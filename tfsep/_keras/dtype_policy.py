"""Keras's default dtype policy, set temporarily."""

from collections.abc import Iterator
from contextlib import contextmanager

from tfsep._keras.backend import keras


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Temporarily set Keras's default dtype policy."""
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)
