"""Workers: native code that runs a file may crash, hang or exhaust memory, so it runs in a process of its own.

A worker is a function from a request (JSON) and arrays to a reply of the same form. Both are exchanged as files in a
scratch folder, without pickles. The process imports LiteRT or TensorFlow Lite Micro, but not TensorFlow, and starts in
a tenth of a second.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfsep._utils.operating_system import crash_of

REQUEST, REPLY = "request", "reply"


class WorkerError(RuntimeError):
    """A worker that failed; the message is half a sentence, such as ``"it ends by signal SIGSEGV"``.

    Attributes:
        log: the worker's standard error.
    """

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class Reply(NamedTuple):
    """Reply of a worker.

    Attributes:
        values: by name.
        arrays: in the worker's order.
        log: the worker's standard error.
    """

    values: dict[str, Any]
    arrays: list[np.ndarray]
    log: str


def run_worker(
    name: str, request: dict[str, Any], arrays: Sequence[np.ndarray] = (), *, seconds: float = 300.0
) -> Reply:
    """Run a worker by name in a process of its own.

    Args:
        name: name of the worker, see `tfsep._workers.__main__`.
        request: values that JSON can hold.
        arrays: arrays of the request.
        seconds: time limit.

    Raises:
        WorkerError: if it raises an exception, crashes, or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="tfsep-") as scratch:
        folder = Path(scratch)
        write(folder, REQUEST, request, arrays)
        command = [sys.executable, "-P", "-m", "tfsep._workers", name, scratch]
        package = str(Path(__file__).resolve().parents[2])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            done = subprocess.run(
                command,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise WorkerError(f"it does not end within {seconds:g} seconds") from None
        if crash := crash_of(done.returncode):
            raise WorkerError(f"it ends by {crash}", done.stderr)
        if done.returncode:
            raise WorkerError((done.stderr.strip().splitlines() or ["it ends without a word"])[-1][:300])
        return Reply(*read(folder, REPLY), done.stderr)


def write(folder: Path, name: str, values: dict[str, Any], arrays: Sequence[np.ndarray]) -> None:
    """Write a request or a reply."""
    np.savez(folder / f"{name}.npz", *arrays)
    (folder / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")


def read(folder: Path, name: str) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Read a request or a reply."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as stored:
        arrays = [stored[f"arr_{i}"] for i in range(len(stored.files))]
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8")), arrays
