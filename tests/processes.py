"""Programs in processes of their own that begin with TensorFlow imported, which takes longer than most of them run.

A server, which imports TensorFlow and Keras once, forks these processes (the standard library's forkserver). Like a new
interpreter, each begins without a thread, a device or a module of this project. Unlike one, it ends without an
interpreter's clean-up; a `NewInterpreter` shows that as well.
"""

import ast
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["keras", "tensorflow"])


class Ended(NamedTuple):
    """The exit code of a process, negative for a signal, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


class ForkedProcess:
    """A running program.

    Args:
        program: a file, or the source text of a program.
        arguments: of the command line.
        environment: variables set before it starts; those that TensorFlow reads while it is imported come too late.
    """

    def __init__(self, program: Path | str, *arguments: object, environment: dict[str, str] | None = None):
        self._folder = tempfile.TemporaryDirectory()
        self._outputs = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        self._process = _CONTEXT.Process(
            target=_main, args=(program, [str(a) for a in arguments], environment or {}, self._outputs), daemon=True
        )
        self._process.start()

    def wait(self, timeout: float | None = None) -> Ended:
        """Wait for its end."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise TimeoutError(f"still running after {timeout} s")
        texts = [path.read_text() if path.exists() else "" for path in self._outputs]
        self._folder.cleanup()
        return Ended(code, *texts)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()


class NewInterpreter:
    """The same in an interpreter of its own."""

    def __init__(self, program: Path | str, *arguments: object, environment: dict[str, str] | None = None):
        where = [str(program)] if isinstance(program, Path) else ["-c", program]
        self._process = subprocess.Popen(
            [sys.executable, *where, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self, timeout: float | None = None) -> Ended:
        """Wait for its end."""
        stdout, stderr = self._process.communicate(timeout=timeout)
        return Ended(self._process.returncode, stdout, stderr)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()


def run_forked(program: Path | str, *arguments: object, timeout: float | None = None) -> Ended:
    """Run a program, as `subprocess.run` would."""
    process = ForkedProcess(program, *arguments)
    try:
        return process.wait(timeout)
    finally:
        process.kill()


def imported_by(program: str, names: tuple[str, ...]) -> list[str]:
    """Run a program in a new interpreter, and return those of some modules that it imported."""
    ended = NewInterpreter(f"{program}\nimport sys; print([m for m in {names!r} if m in sys.modules])").wait()
    assert ended.returncode == 0, ended.stderr
    found: list[str] = ast.literal_eval(ended.stdout.splitlines()[-1])
    return found


def _main(program, arguments, environment, outputs):
    for path, stream in zip(outputs, (sys.stdout, sys.stderr), strict=True):
        stream.flush()
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    os.environ.update(environment)
    sys.argv = [str(program), *arguments]
    if isinstance(program, Path):
        runpy.run_path(str(program), run_name="__main__")
    else:
        exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
