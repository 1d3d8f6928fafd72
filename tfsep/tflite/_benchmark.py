"""Time and memory of files: median and spread, warm, one beside the other."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import numpy as np

from tfsep._flatbuffer.reader import read_tflite
from tfsep._utils.arguments import as_path, number_in_range, positive_int
from tfsep._utils.table import Table
from tfsep._workers import WorkerError, run_worker


@dataclass(frozen=True)
class BenchmarkReport:
    """Times of one run of a file, in milliseconds.

    Attributes:
        path: of the file.
        threads: of LiteRT.
        runs: how many were timed.
        median_ms, p10_ms, p90_ms: median, tenth and ninetieth percentile.
        min_ms, max_ms: the extremes.
        memory_bytes: by how much the peak of a process's resident memory grows while the file is opened and run; pages
            of LiteRT's own code that it touches are in it, some megabytes.
    """

    path: str
    threads: int
    runs: int
    median_ms: float
    p10_ms: float
    p90_ms: float
    min_ms: float
    max_ms: float
    memory_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)

    def row(self) -> tuple[Any, ...]:
        """Return what a table shows."""
        times = (self.median_ms, self.p10_ms, self.p90_ms, self.min_ms, self.max_ms)
        return (self.path, self.threads, self.runs, *(f"{t:.3f}" for t in times), f"{self.memory_bytes / 1e6:.1f}")

    def __str__(self) -> str:
        """Return a table."""
        return Table(_HEADERS, [self.row()]).text()


_HEADERS = ("file", "threads", "runs", "median ms", "10 %", "90 %", "min", "max", "memory MB")


@dataclass(frozen=True)
class BenchmarkTable:
    """Files beside each other.

    Attributes:
        reports: a file with each number of threads in turn, in the order in which they were given.
    """

    reports: tuple[BenchmarkReport, ...]

    def table(self) -> Table:
        """Return a row a report."""
        return Table(_HEADERS, [report.row() for report in self.reports])

    def __str__(self) -> str:
        """Return the table as text."""
        return self.table().text()


def benchmark(path: str | PathLike[str], threads: int = 1, *, runs: int = 50, warmup: int = 10) -> BenchmarkReport:
    """Time a file on this machine's CPU, in its own batch, on seeded random inputs, in a process of its own.

    Args:
        path: of the ``.tflite`` file.
        threads: of LiteRT; XNNPACK, its default on CPUs, is on.
        runs: timed runs.
        warmup: runs before them, which are not timed.

    Returns:
        Median and spread of the time of one run; copying inputs in and outputs out is not in it.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, it is damaged, or a number is out of range.

    Examples:
        >>> benchmark("missing.tflite")
        Traceback (most recent call last):
        FileNotFoundError: path: expected a .tflite file, got missing.tflite, which does not exist
    """
    return benchmark_all([path], [threads], runs=runs, warmup=warmup).reports[0]


def benchmark_all(
    paths: Iterable[str | PathLike[str]], threads: Iterable[int] = (1,), *, runs: int = 50, warmup: int = 10
) -> BenchmarkTable:
    """Time several files beside each other: one run of each in turn, so that what slows the machine slows them all.

    Args:
        paths: of ``.tflite`` files.
        threads: numbers of LiteRT's threads; each file is timed with each.
        runs: timed runs of each.
        warmup: runs of each before them, which are not timed.

    Returns:
        A report a file and number of threads.

    Raises:
        FileNotFoundError, ValueError: as `benchmark`; for no file, or no number of threads.

    Examples:
        >>> benchmark_all([])
        Traceback (most recent call last):
        ValueError: paths: expected at least one .tflite file, got none
    """
    files = [as_path(path, "path") for path in paths]
    if not files:
        raise ValueError("paths: expected at least one .tflite file, got none")
    counts = counts_of(threads)
    runs, warmup = positive_int(runs, "runs"), number_in_range(warmup, "warmup", int, 0)
    contents = [np.frombuffer(read_tflite(file)[0], np.uint8) for file in files]
    # First, because it says which file it is that does not run.
    memory = [
        [_weight(file, content, count) for count in counts] for file, content in zip(files, contents, strict=True)
    ]
    times = time_contents(contents, counts, runs, warmup)
    return BenchmarkTable(
        tuple(
            _report(str(file), counts[j], times[i, j], memory[i][j])
            for i, file in enumerate(files)
            for j in range(len(counts))
        )
    )


def counts_of(threads: Iterable[int]) -> list[int]:
    """Return numbers of threads, checked.

    Raises:
        ValueError, TypeError: for a number that is none, or no number; the message starts with "threads".
    """
    if not isinstance(threads, Iterable):
        raise TypeError(f"threads: expected numbers, got {threads!r}")
    counts = [positive_int(count, "threads") for count in threads]
    if not counts:
        raise ValueError("threads: expected at least one number, got none")
    return counts


def _weight(path: Any, content: np.ndarray, threads: int) -> int:
    try:
        return int(run_worker("weigh", {"threads": threads}, [content]).values["bytes"])
    except WorkerError as error:
        raise ValueError(f"path: expected a file that LiteRT runs, got {path} ({error})") from error


def time_contents(contents: Sequence[np.ndarray], threads: Sequence[int], runs: int, warmup: int) -> np.ndarray:
    """Return milliseconds, (files, threads, runs), of files that are known to run.

    Raises:
        ValueError: if they do not, together.
    """
    request = {"threads": list(threads), "runs": runs, "warmup": warmup}
    try:
        return run_worker("time_files", request, contents, seconds=3600.0).arrays[0]
    except WorkerError as error:
        raise ValueError(f"path: expected files that LiteRT runs together, got some of which {error}") from error


def _report(path: str, threads: int, times: np.ndarray, memory: int) -> BenchmarkReport:
    low, median, high = (float(np.percentile(times, share)) for share in (10, 50, 90))
    return BenchmarkReport(path, threads, len(times), median, low, high, float(times.min()), float(times.max()), memory)
