"""Runs a ``.tflite`` file once, in a process that may die of it.

LiteRT is native code and trusts what it reads: a damaged file may crash it, never end, or take all memory. A process of
its own, started from this file, tells; it imports nothing of this library.
"""

import hashlib
import subprocess
import sys
from os import PathLike

_SECONDS = 60
_MEMORY = 2**30
"""Beside four times the file: LiteRT copies and packs its weights."""

_KNOWN: set[tuple[str, ...]] = set()
"""Hashes of files that need no trial: those that this process made, and, with their kernels, those that had one."""


def trust(content: bytes) -> None:
    """Let a file that this process made itself go without a trial."""
    _KNOWN.add((_digest(content),))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def require_runs(content: bytes, path: str | PathLike[str], kernels: str, keep: bool) -> None:
    """Raise unless LiteRT runs a file to its end.

    Args:
        content: of the file, which has passed the structural check.
        path: what the message calls it.
        kernels: name of an ``OpResolverType``.
        keep: whether every tensor is kept.

    Raises:
        ValueError: if it does not.
    """
    digest = _digest(content)
    known = digest, kernels, str(keep)
    if not _KNOWN.isdisjoint({(digest,), known}):
        return
    reason = _failure(content, kernels, keep)
    if reason:
        raise ValueError(f"path: expected a file that LiteRT runs, got {path} ({reason})")
    _KNOWN.add(known)


def _failure(content: bytes, kernels: str, keep: bool) -> str:
    """Why a file does not run, or nothing."""
    command = [sys.executable, "-P", __file__, kernels, str(int(keep))]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"it takes over {_SECONDS} seconds"
    if done.returncode < 0:
        return f"it kills LiteRT by signal {-done.returncode}"
    return done.stdout.decode(errors="replace") if done.returncode else ""


def _limit_memory(size: int) -> None:
    try:
        import resource
    except ImportError:  # a system without such limits
        return
    limit = _MEMORY + 4 * size
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _run(kernels: str, keep: bool) -> str:
    """Run the file on standard input on zeros; return why it cannot be run, or nothing."""
    content = sys.stdin.buffer.read()
    _limit_memory(len(content))
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    try:
        interpreter = Interpreter(
            model_content=content,
            num_threads=1,
            experimental_op_resolver_type=OpResolverType[kernels],
            experimental_preserve_all_tensors=keep,
        )
        interpreter.allocate_tensors()
        interpreter.invoke()
    except (RuntimeError, ValueError, MemoryError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return ""


if __name__ == "__main__":
    reason = _run(sys.argv[1], sys.argv[2] == "1")
    sys.stdout.write(reason)
    sys.stdout.flush()
    sys.exit(1 if reason else 0)
