"""Keep TensorFlow's native code from writing to standard error while a command runs."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """While open, what native code writes to file descriptor 2 is dropped; Python's own ``sys.stderr`` still prints.

    TensorFlow, its converter and LiteRT log start-up and progress there, past every Python filter.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    python_stderr = sys.stderr
    with open(os.devnull, "w") as nowhere, os.fdopen(os.dup(kept), "w", buffering=1) as terminal:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
        sys.stderr = terminal
        try:
            yield
        finally:
            sys.stderr = python_stderr
            os.dup2(kept, 2)
            os.close(kept)
