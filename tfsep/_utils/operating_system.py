"""What differs between Linux, macOS and Windows, each in one function; Windows is tried by simulation alone."""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, TextIO

_STATUS = Path("/proc/self/status")
_IS_RUNNING, _MAY_ASK, _DENIED = 259, 0x1000, 5
"""Windows's STILL_ACTIVE, PROCESS_QUERY_LIMITED_INFORMATION and ERROR_ACCESS_DENIED."""
_ATTEMPTS, _FIRST_PAUSE = 6, 0.02
"""To replace a file on Windows, where a virus scanner has it open for a moment: pauses double, 0.6 s in all."""


def is_running(process: int) -> bool:
    """Return whether a process is running.

    Signal 0 asks on POSIX. On Windows it is Ctrl-C, which ends the process.

    Args:
        process: number of the process.

    Examples:
        >>> is_running(os.getpid())
        True
    """
    if sys.platform == "win32":
        return _runs_on_windows(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _runs_on_windows(process: int) -> bool:
    kernel: Any = ctypes.windll.kernel32  # type: ignore[attr-defined, unused-ignore]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(_MAY_ASK, False, process)
    if not handle:
        return kernel.GetLastError() == _DENIED
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(code))
    kernel.CloseHandle(ctypes.c_void_p(handle))
    return code.value == _IS_RUNNING


def limit_memory() -> None:
    """Limit this process to half of the machine's memory, or less where less is set, and write no core dump.

    Windows has no such limit for a process alone.
    """
    try:
        import resource
    except ModuleNotFoundError:
        return
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    for limit, wanted in ((resource.RLIMIT_DATA, half), (resource.RLIMIT_CORE, 0)):
        most = resource.getrlimit(limit)[1]
        least = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(limit, (least, least))


class _MemoryCounters(ctypes.Structure):
    """Windows's PROCESS_MEMORY_COUNTERS."""

    _fields_ = [("size", ctypes.c_ulong), ("faults", ctypes.c_ulong), ("peak", ctypes.c_size_t)] + [
        (f"other_{number}", ctypes.c_size_t) for number in range(7)
    ]


def peak_memory() -> int:
    """Return the peak resident memory of this process in bytes.

    On Linux ``ru_maxrss`` starts with the value of the parent process, so the kernel's own count is read.

    Examples:
        >>> peak_memory() > 1_000_000
        True
    """
    if _STATUS.is_file():
        (line,) = (line for line in _STATUS.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    if sys.platform == "win32":
        counters = _MemoryCounters(size=ctypes.sizeof(_MemoryCounters))
        system: Any = ctypes.windll  # type: ignore[attr-defined, unused-ignore]
        system.kernel32.GetCurrentProcess.restype = ctypes.c_void_p
        own = ctypes.c_void_p(system.kernel32.GetCurrentProcess())
        system.psapi.GetProcessMemoryInfo(own, ctypes.byref(counters), counters.size)
        return int(counters.peak)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def crash_of(code: int) -> str:
    """Return what ended a process that crashed, in words; an empty text for one that ended by itself.

    Args:
        code: exit code: negative for a signal, on Windows an NTSTATUS of 32 bits.

    Examples:
        >>> crash_of(-11), crash_of(0xC0000005), crash_of(1)
        ('signal SIGSEGV', 'status 0xC0000005', '')
    """
    if code < 0:
        known = {each.value: each.name for each in signal.Signals}
        return f"signal {known.get(-code, -code)}"
    return f"status 0x{code:08X}" if code >= 1 << 31 else ""


def replace_file(source: Path, target: Path) -> None:
    """Rename a file to another name, whose file it replaces.

    Windows refuses that while a program has the file open, as a virus scanner may for a moment: it is tried again.

    Args:
        source: path of the file.
        target: the other path.

    Raises:
        OSError: if it cannot be renamed.
    """
    for attempt in range(_ATTEMPTS):
        try:
            source.replace(target)
            return
        except PermissionError:
            if sys.platform != "win32" or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_FIRST_PAUSE * 2**attempt)


def print_any_character(*streams: TextIO) -> None:
    """Let streams print ``?`` for a character that their encoding lacks, as ``cp1252`` lacks the lines of a table.

    Args:
        *streams: streams such as ``sys.stdout``; one that cannot be set stays as it is.
    """
    for stream in streams:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
