"""What Windows and macOS do otherwise, simulated: modules taken away, functions replaced, encodings set."""

import ast
import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT

from tfsep._utils import operating_system
from tfsep._utils.atomic_files import atomic_file
from tfsep._utils.operating_system import crash_of, is_running, limit_memory, peak_memory, replace_file
from tfsep._workers import WorkerError, run_worker

INT8 = ROOT / "saved_models" / "fashion_mnist" / "model_int8.tflite"


class WindowsKernel:
    """The functions of kernel32 and psapi that are called, for processes by number and their exit codes."""

    def __init__(self, processes, denied=()):
        self.processes, self.denied, self.closed = processes, denied, []
        self.OpenProcess = self._function(lambda access, inherit, number: number if number in processes else None)
        self.GetLastError = self._function(lambda: 5 if self.denied else 87)
        self.GetCurrentProcess = self._function(lambda: -1)

    @staticmethod
    def _function(call):
        def function(*arguments):
            return call(*arguments)

        return function

    def GetExitCodeProcess(self, handle, code):
        code._obj.value = self.processes[handle.value]

    def CloseHandle(self, handle):
        self.closed.append(handle.value)

    def GetProcessMemoryInfo(self, handle, counters, size):
        assert (ctypes.c_void_p(-1).value, size) == (handle.value, ctypes.sizeof(counters._obj))
        counters._obj.peak = 123_456_789


@pytest.fixture
def windows(monkeypatch):
    """Let the system be Windows, with these functions of its own."""

    def become(kernel=None):
        def never(*arguments):
            raise AssertionError("ends the process on Windows")

        monkeypatch.setattr(operating_system.sys, "platform", "win32")
        monkeypatch.setattr(operating_system.os, "kill", never)
        monkeypatch.setattr(operating_system, "_STATUS", Path("no such file"))
        monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel, psapi=kernel), raising=False)
        monkeypatch.setattr(operating_system.time, "sleep", lambda seconds: None)

    return become


def test_processes_are_asked_for_and_never_signalled_on_windows(windows, tmp_path):
    kernel = WindowsKernel({7: 259, 8: 1})
    windows(kernel)
    assert [is_running(number) for number in (7, 8, 9)] == [True, False, False]
    assert kernel.closed == [7, 8]
    kernel.denied = (9,)
    assert is_running(9), "another user's"
    # The temporary file of a process that has ended is removed, another one is not.
    kernel.denied = ()
    for number in (7, 8):
        (tmp_path / f".partial-{number}-a.txt").write_text("half")
    with atomic_file(tmp_path / "a.txt", "folder") as partial:
        partial.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", ".partial-7-a.txt"}


def test_processes_on_posix():
    assert is_running(os.getpid())
    assert not is_running(2**22 + 1), "past the largest number of a process"


@pytest.mark.parametrize(("platform", "refusals"), [("win32", 0), ("win32", 2), ("win32", 6), ("linux", 1)])
def test_a_file_that_is_open_for_a_moment_is_replaced_on_windows(windows, monkeypatch, tmp_path, platform, refusals):
    windows()
    monkeypatch.setattr(operating_system.sys, "platform", platform)
    source, target, attempts, replace = tmp_path / "new", tmp_path / "old", [], Path.replace

    def refused_at_first(path, other):
        attempts.append(path)
        if len(attempts) <= refusals:
            raise PermissionError(13, "in use")
        return replace(path, other)

    monkeypatch.setattr(Path, "replace", refused_at_first)
    source.write_text("new")
    target.write_text("old")
    if refusals == 6 or platform == "linux":
        with pytest.raises(PermissionError):
            replace_file(source, target)
        assert (len(attempts), target.read_text()) == (refusals, "old")
    else:
        replace_file(source, target)
        assert (len(attempts), target.read_text()) == (refusals + 1, "new")


def test_peak_memory_of_each_system(windows, monkeypatch):
    own = peak_memory()
    assert 1e6 < own < 1e12
    monkeypatch.setattr(operating_system, "_STATUS", Path("no such file"))
    import resource

    usage = SimpleNamespace(ru_maxrss=55_000_000)
    monkeypatch.setattr(resource, "getrusage", lambda who: usage)
    assert peak_memory() == 55_000_000, "macOS counts bytes"
    windows(WindowsKernel({}))
    assert peak_memory() == 123_456_789


def test_memory_is_limited_as_far_as_the_system_lets(monkeypatch):
    import resource

    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    given = {}
    monkeypatch.setattr(resource, "setrlimit", given.__setitem__)
    for most, expected in ((resource.RLIM_INFINITY, half), (2 * half, half), (half // 3, half // 3)):
        monkeypatch.setattr(resource, "getrlimit", lambda limit, most=most: (0, most))
        limit_memory()
        assert given == {resource.RLIMIT_DATA: (expected, expected), resource.RLIMIT_CORE: (0, 0)}
    given.clear()
    monkeypatch.setitem(sys.modules, "resource", None)  # Windows has no such module
    limit_memory()
    assert given == {}


def test_crashes_are_named_on_each_system(monkeypatch):
    assert (crash_of(-11), crash_of(-9), crash_of(-64)) == ("signal SIGSEGV", "signal SIGKILL", "signal SIGRTMAX")
    assert (crash_of(0xC0000005), crash_of(1), crash_of(0)) == ("status 0xC0000005", "", "")
    ended = subprocess.CompletedProcess([], 0xC0000409, "", "log")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: ended)
    with pytest.raises(WorkerError, match="it ends by status 0xC0000409"):
        run_worker("run_once", {})


@pytest.mark.parametrize("encoding", ["cp1252", *(pytest.param(e, marks=pytest.mark.slow) for e in ("ascii", "utf-8"))])
def test_tables_print_in_every_encoding(encoding):
    done = subprocess.run(
        [sys.executable, "-m", "tfsep", "inspect", str(INT8)],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True,
        check=True,
    )
    text = done.stdout.decode(encoding)
    assert ("─" in text) == (encoding == "utf-8")
    assert ("×" in text) == (encoding != "ascii")


@pytest.fixture(scope="module")
def sources():
    """The nodes of each module of the package."""
    return {path: list(ast.walk(ast.parse(path.read_text("utf-8")))) for path in (ROOT / "tfsep").rglob("*.py")}


def test_text_files_have_an_encoding_of_their_own(sources):
    """Windows' is `cp1252` unless said: a label or a path written there would be another text elsewhere."""
    lacking = []
    for path, nodes in sources.items():
        for call in (node for node in nodes if isinstance(node, ast.Call)):
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            modes = [each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            text = name in ("read_text", "write_text", "fdopen") or (name == "open" and {"r", "w", "a"} & set(modes))
            if text and not any(keyword.arg == "encoding" for keyword in call.keywords):
                lacking.append(f"{path}:{call.lineno}")
    assert not lacking


def test_what_one_system_alone_has_is_in_one_module(sources):
    """`tflite-micro`, whose worker forks, is for Linux alone."""
    for path, nodes in sources.items():
        for node in nodes if path.name not in ("operating_system.py", "_micro.py") else ():
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                names = {f"os.{node.attr}"}
            else:
                continue
            assert not names & {"resource", "fcntl", "pwd", "grp", "termios", "ctypes", "signal"}, path
            assert not names & {"os.kill", "os.killpg", "os.fork", "os.getuid", "os.setsid", "os.sysconf"}, path
