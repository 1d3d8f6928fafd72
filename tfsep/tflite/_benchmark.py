"""Time of a file: median and spread, warm."""

import time
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import numpy as np

from tfsep._table import Table
from tfsep.geometry import positive
from tfsep.tflite._interpreter import Runner


@dataclass(frozen=True)
class BenchmarkReport:
    """Times of one run of a file, in milliseconds.

    Attributes:
        path: of the file.
        threads: of LiteRT.
        runs: how many were timed.
        median_ms, p10_ms, p90_ms: median, tenth and ninetieth percentile.
        min_ms, max_ms: the extremes.
    """

    path: str
    threads: int
    runs: int
    median_ms: float
    p10_ms: float
    p90_ms: float
    min_ms: float
    max_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """Return a table."""
        headers = ("file", "threads", "runs", "median ms", "10 %", "90 %", "min", "max")
        times = (self.median_ms, self.p10_ms, self.p90_ms, self.min_ms, self.max_ms)
        return Table(headers, [(self.path, self.threads, self.runs, *(f"{t:.3f}" for t in times))]).text()


def benchmark(path: str | PathLike[str], threads: int = 1, *, runs: int = 50, warmup: int = 10) -> BenchmarkReport:
    """Time a file on this machine's CPU, in its own batch, on seeded random inputs.

    Args:
        path: of the ``.tflite`` file.
        threads: of LiteRT; XNNPACK, its default on CPUs, is on.
        runs: timed runs.
        warmup: runs before them, which are not timed.

    Returns:
        Median and spread of the time of one run; copying inputs in and outputs out is not in it.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, it is damaged, or a number is out of range.

    Example:
        >>> benchmark("missing.tflite")
        Traceback (most recent call last):
        FileNotFoundError: path: expected a .tflite file, got missing.tflite, which does not exist
    """
    runs = positive(runs, "runs")
    if not isinstance(warmup, int) or warmup < 0:
        raise ValueError(f"warmup: expected an int of at least 0, got {warmup!r}")
    runner = Runner(path, threads)
    rng = np.random.default_rng(0)
    inputs = [_random(rng, field.dtype, info.shape) for field, info in zip(runner.fields(), runner.inputs, strict=True)]
    runner(inputs)
    invoke = runner.interpreter.invoke
    for _ in range(warmup):
        invoke()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        invoke()
        times.append(1000 * (time.perf_counter() - started))
    low, median, high = (float(np.percentile(times, share)) for share in (10, 50, 90))
    return BenchmarkReport(str(path), threads, runs, median, low, high, min(times), max(times))


def _random(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Inputs of any type: standard normal, or zeros and ones where only ints go."""
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)
