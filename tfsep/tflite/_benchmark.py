"""Benchmark: time and memory of files, side by side."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tfsep._flatbuffer.reader import read_tflite, require_fixed_sizes
from tfsep._utils.arguments import as_path, number_in_range, positive_int
from tfsep._utils.table import Table
from tfsep._workers import WorkerError, run_worker


@dataclass(frozen=True)
class BenchmarkReport:
    """Times of one run of a file, in milliseconds.

    Attributes:
        path: path of the file.
        threads: number of LiteRT's threads.
        runs: number of timed runs.
        median_ms: median time.
        p10_ms: tenth percentile.
        p90_ms: ninetieth percentile.
        min_ms: shortest time.
        max_ms: longest time.
        memory_bytes: growth of a process's peak resident memory while the file is opened and run, including the pages
            of LiteRT's own code that it touches, some megabytes.
        refusal: why XNNPACK refuses the file, which LiteRT's own kernels then run; empty where it does not.
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
    refusal: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)

    def row(self) -> tuple[Any, ...]:
        """Return the cells of a table."""
        times = (self.median_ms, self.p10_ms, self.p90_ms, self.min_ms, self.max_ms)
        return (self.path, self.threads, self.runs, *(f"{t:.3f}" for t in times), f"{self.memory_bytes / 1e6:.1f}")

    def __str__(self) -> str:
        """Return a table."""
        return str(BenchmarkTable((self,)))


_HEADERS = ("file", "threads", "runs", "median ms", "10 %", "90 %", "min", "max", "memory MB")


@dataclass(frozen=True)
class BenchmarkTable:
    """Times of several files, side by side.

    Attributes:
        reports: reports of each file with each number of threads in turn, in the order given.
    """

    reports: tuple[BenchmarkReport, ...]

    def table(self) -> Table:
        """Return a row for each report."""
        return Table(_HEADERS, [report.row() for report in self.reports])

    def notes(self) -> list[str]:
        """Return a line for each file that XNNPACK refuses."""
        refused = {report.path: report.refusal for report in self.reports if report.refusal}
        return [f"{path}: on LiteRT's own kernels, as XNNPACK {refusal}" for path, refusal in refused.items()]

    def __str__(self) -> str:
        """Return the table and the notes as text."""
        return "\n\n".join([self.table().text(), *self.notes()])


def benchmark(path: str | PathLike[str], threads: int = 1, *, runs: int = 50, warmup: int = 10) -> BenchmarkReport:
    """Time a file on this machine's CPU, in its own batch, on seeded random inputs, in a process of its own.

    Args:
        path: path of the ``.tflite`` file.
        threads: number of LiteRT's threads; XNNPACK, its default on CPUs, is on.
        runs: number of timed runs.
        warmup: number of runs before these, which are not timed.

    Returns:
        Median and spread of the time of one run, without copying inputs in and outputs out.

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
    """Time several files side by side: one run of each in turn, so that other load on the machine slows all alike.

    Args:
        paths: paths of ``.tflite`` files.
        threads: numbers of LiteRT's threads; each file is timed with each.
        runs: number of timed runs of each.
        warmup: number of runs of each before these, which are not timed.

    Returns:
        A report for each file and number of threads.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, it is damaged, or a number is out of range; for no
            file, or no number of threads.

    Examples:
        >>> benchmark_all([])
        Traceback (most recent call last):
        ValueError: paths: expected at least one .tflite file, got none
    """
    files = [as_path(path, "path") for path in paths]
    if not files:
        raise ValueError("paths: expected at least one .tflite file, got none")
    counts = thread_counts(threads)
    runs, warmup = positive_int(runs, "runs"), number_in_range(warmup, "warmup", int, 0)
    read = [read_tflite(file) for file in files]
    for file, (_, model) in zip(files, read, strict=True):
        require_fixed_sizes(model, file)
    contents = [np.frombuffer(content, np.uint8) for content, _ in read]
    # First, because its error names the file that does not run.
    memory = [
        [_memory(file, content, count) for count in counts] for file, content in zip(files, contents, strict=True)
    ]
    times = time_contents(contents, counts, runs, warmup)
    return BenchmarkTable(
        tuple(
            _report(str(file), counts[j], times[i, j], memory[i][j])
            for i, file in enumerate(files)
            for j in range(len(counts))
        )
    )


def thread_counts(threads: Iterable[int]) -> list[int]:
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


def _memory(path: Path, content: np.ndarray, threads: int) -> dict[str, Any]:
    """``bytes`` and ``refusal``, see `BenchmarkReport`."""
    try:
        return run_worker("measure_memory", {"threads": threads}, [content]).values
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


def _report(path: str, threads: int, times: np.ndarray, memory: dict[str, Any]) -> BenchmarkReport:
    low, median, high = (float(np.percentile(times, share)) for share in (10, 50, 90))
    least, most = float(times.min()), float(times.max())
    return BenchmarkReport(
        path, threads, len(times), median, low, high, least, most, int(memory["bytes"]), memory["refusal"]
    )
