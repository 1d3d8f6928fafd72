"""The first run of a file from elsewhere, in a process of its own: LiteRT may crash on it."""

import hashlib
from os import PathLike

import numpy as np

from tfsep._workers import WorkerError, run_worker

_RUNNABLE: set[tuple[bytes, str, bool]] = set()
"""Digests of files that have run, with the kernels that ran them."""
_SECONDS = 120.0


def _key(content: bytes, kernels: str, keep_tensors: bool) -> tuple[bytes, str, bool]:
    return hashlib.sha256(content).digest(), kernels, keep_tensors


def mark_runnable(content: bytes, kernels: str, keep_tensors: bool) -> None:
    """Spare a file that this process made the run in a process of its own."""
    _RUNNABLE.add(_key(content, kernels, keep_tensors))


def require_runnable(content: bytes, kernels: str, keep_tensors: bool, path: str | PathLike[str]) -> None:
    """Run a file's bytes, which have passed the structural check, in a process of their own, unless they have run.

    Args:
        content: bytes of the file.
        kernels: name of an ``OpResolverType``.
        keep_tensors: whether every tensor is kept.
        path: the file's name in errors.

    Raises:
        ValueError: if LiteRT refuses the file, crashes on it or does not end.
    """
    key = _key(content, kernels, keep_tensors)
    if key in _RUNNABLE:
        return
    request = {"kernels": kernels, "keep_tensors": keep_tensors}
    try:
        run_worker("run_once", request, [np.frombuffer(content, np.uint8)], seconds=_SECONDS)
    except WorkerError as error:
        raise ValueError(f"path: expected a file that LiteRT runs, got {path} ({error})") from error
    _RUNNABLE.add(key)
