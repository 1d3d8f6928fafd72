"""Suppression of the messages that native code writes to standard error."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


def _text_stream(descriptor: int, like: TextIO) -> TextIO:
    """A stream that writes to a descriptor in the encoding of another one."""
    encoding, errors = getattr(like, "encoding", None), getattr(like, "errors", None)
    return os.fdopen(descriptor, "w", buffering=1, encoding=encoding or "utf-8", errors=errors or "replace")


@contextmanager
def silence_native_stderr() -> Iterator[None]:
    """Temporarily drop the output of native code to file descriptor 2; Python's ``sys.stderr`` still prints.

    TensorFlow, its converter and LiteRT log there, where no Python filter reaches.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    python_stderr = sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere, _text_stream(os.dup(kept), python_stderr) as terminal:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
        sys.stderr = terminal
        try:
            yield
        finally:
            sys.stderr = python_stderr
            os.dup2(kept, 2)
            os.close(kept)
