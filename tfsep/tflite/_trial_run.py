"""A file from elsewhere runs in a process of its own first: LiteRT may crash on it, and would take this one along."""

import hashlib
from os import PathLike

import numpy as np

from tfsep._workers import WorkerError, run_worker

_SURVIVED: set[tuple[bytes, str, bool]] = set()
"""Digests of what has run, with the kernels that ran it: what ran once runs again."""
_SECONDS = 120.0


def _key(content: bytes, kernels: str, keep: bool) -> tuple[bytes, str, bool]:
    return hashlib.sha256(content).digest(), kernels, keep


def trust(content: bytes, kernels: str, keep: bool) -> None:
    """Let a file that this process made run here at once."""
    _SURVIVED.add(_key(content, kernels, keep))


def try_first(content: bytes, kernels: str, keep: bool, path: str | PathLike[str]) -> None:
    """Run a file's bytes, which have passed the structural check, in a process of their own, unless they have run.

    Args:
        content: of the file.
        kernels: name of an ``OpResolverType``.
        keep: whether every tensor is kept.
        path: what an error calls the file.

    Raises:
        ValueError: if LiteRT refuses the file, crashes on it or does not end.
    """
    key = _key(content, kernels, keep)
    if key in _SURVIVED:
        return
    try:
        run_worker("survive", {"kernels": kernels, "keep": keep}, [np.frombuffer(content, np.uint8)], seconds=_SECONDS)
    except WorkerError as error:
        raise ValueError(f"path: expected a file that LiteRT runs, got {path} ({error})") from error
    _SURVIVED.add(key)
