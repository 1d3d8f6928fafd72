"""The first run of a file from elsewhere, in a process of its own: LiteRT may crash on it."""

import hashlib
from os import PathLike

import numpy as np

from tfsep._workers import WorkerError, run_worker

_RUNNABLE: dict[tuple[bytes, str, bool], str] = {}
"""By digest of a file that has run, with the kernels that it was opened on: why XNNPACK refuses it, or nothing."""
_SECONDS = 120.0


def _key(content: bytes, kernels: str, keep_tensors: bool) -> tuple[bytes, str, bool]:
    return hashlib.sha256(content).digest(), kernels, keep_tensors


def mark_runnable(content: bytes, kernels: str, keep_tensors: bool) -> None:
    """Spare a file that this process made the run in a process of its own."""
    _RUNNABLE.setdefault(_key(content, kernels, keep_tensors), "")


def require_runnable(content: bytes, kernels: str, keep_tensors: bool, path: str | PathLike[str]) -> str:
    """Run a file's bytes, which have passed the structural check, in a process of their own, unless they have run.

    Args:
        content: bytes of the file.
        kernels: name of an ``OpResolverType``.
        keep_tensors: whether every tensor is kept.
        path: the file's name in errors.

    Returns:
        Why XNNPACK refuses the file, which runs without it; an empty text where it does not.

    Raises:
        ValueError: if LiteRT refuses the file, crashes on it or does not end.
    """
    key = _key(content, kernels, keep_tensors)
    if key not in _RUNNABLE:
        request = {"kernels": kernels, "keep_tensors": keep_tensors}
        try:
            reply = run_worker("run_once", request, [np.frombuffer(content, np.uint8)], seconds=_SECONDS)
        except WorkerError as error:
            raise ValueError(f"path: expected a file that LiteRT runs, got {path} ({error})") from error
        _RUNNABLE[key] = reply.values["refusal"]
    return _RUNNABLE[key]
