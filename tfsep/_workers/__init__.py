"""Work in a process of its own: whatever runs a file's bytes as native code may crash, hang or eat memory.

A worker is a function of a request (JSON) and arrays, and returns the same; both ways it is files in a scratch folder,
none of them a pickle. The process imports LiteRT or TensorFlow Lite Micro, never TensorFlow, so it starts in a tenth of
a second.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

REQUEST, REPLY = "request", "reply"


class WorkerError(RuntimeError):
    """A worker that gave no answer; the message is half a sentence, such as ``"it ends by signal SIGSEGV"``.

    Attributes:
        log: what native code wrote to standard error before that.
    """

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class Reply(NamedTuple):
    """What a worker answered.

    Attributes:
        values: by name.
        arrays: in the worker's order.
        log: what native code wrote to standard error.
    """

    values: dict[str, Any]
    arrays: list[np.ndarray]
    log: str


def run_worker(
    name: str, request: dict[str, Any], arrays: Sequence[np.ndarray] = (), *, seconds: float = 300.0
) -> Reply:
    """Run a worker by name in a process of its own.

    Args:
        name: of the worker, see `tfsep._workers.__main__`.
        request: what it is given, of what JSON holds.
        arrays: and arrays.
        seconds: how long it may take.

    Raises:
        WorkerError: if it raises, crashes, or takes too long.
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
        if done.returncode < 0:
            raise WorkerError(f"it ends by signal {signal.Signals(-done.returncode).name}", done.stderr)
        if done.returncode:
            raise WorkerError((done.stderr.strip().splitlines() or ["it ends without a word"])[-1][:300])
        return Reply(*read(folder, REPLY), done.stderr)


def write(folder: Path, name: str, values: dict[str, Any], arrays: Sequence[np.ndarray]) -> None:
    """Write one side of the conversation."""
    np.savez(folder / f"{name}.npz", *arrays)
    (folder / f"{name}.json").write_text(json.dumps(values))


def read(folder: Path, name: str) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Read one side of the conversation."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as stored:
        arrays = [stored[f"arr_{i}"] for i in range(len(stored.files))]
    return json.loads((folder / f"{name}.json").read_text()), arrays
