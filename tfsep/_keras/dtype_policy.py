"""The types in which layers compute that are made without a type of their own."""

from collections.abc import Iterator
from contextlib import contextmanager

from tfsep._keras.backend import keras


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """While open, layers are made with this policy, whatever Keras's setting is."""
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(usual)
