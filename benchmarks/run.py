"""Time this library against its peers: ``python benchmarks/run.py [--smoke] [--keep-heap] [--sampled] [--only ...]``.

Each side of a case has a process of its own with two threads, and nothing ran there before: what a heap went through
changes times by half. The sides take turns, round after round, so that a change of the machine's pace meets both; what
counts is the median over all runs of all rounds. A run of all cases writes ``results.csv`` and ``results.md`` beside
this file, any other where ``--out`` says. A peer that is not installed is left out, and said so. Ends with 1 if a ratio
is under its goal, but for ``--smoke``, which only shows that everything runs, in as few processes as it can. Times are
in milliseconds, and a spread is the middle half.
"""

import argparse
import atexit
import csv
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from contest import CASES, Case
from random_shapes import median_and_worst

HERE = Path(__file__).parent
COLUMNS = ("group", "case", "against", "ours", "spread", "peer", "peer spread", "ratio", "goal", "reached")
ROUNDS = 12
# glibc gives freed memory back to the system, and takes a page fault for each 4 KiB when it comes again.
KEEP_HEAP = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**26),
}
PACKAGES = {"torch": "PyTorch", "torchvision": "torchvision"}
"""Peers that need not be installed."""


class Worker:
    """A process that times cases, and the lines to it."""

    def __init__(self, onednn: bool) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": str(int(onednn))},
        )

    def ask(self, *command: Any) -> Any:
        """Send a command, and wait for its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(command), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker {self.process.args} ended while it was at {command}")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@cache
def shared_worker(onednn: bool) -> Worker:
    """A worker for all cases with or without oneDNN, which ends with this process."""
    worker = Worker(onednn)
    atexit.register(worker.close)
    return worker


def compare(index: int, case: Case, rounds: int, seconds: float, share: bool) -> list[dict]:
    """Time both sides of a case in turns; what else there is to say of them comes in rows of its own.

    With `share`, both sides are in the process of all cases.
    """
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    processes = min(case.processes, rounds)
    for process in range(processes):
        workers = {side: shared_worker(case.onednn) if share else Worker(case.onednn) for side in times}
        try:
            for side, worker in workers.items():
                worker.ask("make", index, side)
            for turn in range(process, rounds, processes):
                for side in sorted(workers, reverse=bool(turn % 2)):
                    times[side] += workers[side].ask("time", side, seconds)
            answers = {
                name: [worker.ask(question, side) for side, worker in workers.items()]
                for name, question in case.also.items()
            }
        finally:
            for worker in [] if share else workers.values():
                worker.close()
    (ours, ours_spread), (peer, peer_spread) = (summary(values) for values in times.values())
    rows = [table_row(case.group, case.name, case.peer_name, (ours, ours_spread, peer, peer_spread), case.goal)]
    for name, (ours, peer) in answers.items():
        rows.append(table_row(name, case.name, case.peer_name, (ours, "", peer, ""), 1.0))
    return rows


def summary(times: list[float]) -> tuple[float, str]:
    """The median, and the middle half."""
    low, middle, high = np.percentile(times, (25, 50, 75))
    return middle, f"{low:.3g}–{high:.3g}"


def table_row(group: str, name: str, against: str, figures: tuple, goal: float | None) -> dict:
    """A comparison as it is printed; `figures` are ours, our spread, the peer's, its spread."""
    ours, ours_spread, peer, peer_spread = figures
    ratio = peer / ours
    reached = "" if goal is None else "yes" if round(ratio, 2) >= goal else "no"  # as it is printed
    values = (
        group,
        name,
        against,
        f"{ours:.3g}",
        ours_spread,
        f"{peer:.3g}",
        peer_spread,
        f"{ratio:.2f}",
        "" if goal is None else goal,
        reached,
    )
    return dict(zip(COLUMNS, values, strict=True))


def markdown(rows: list[dict]) -> str:
    """The rows as a table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    return "\n".join([*lines, *("| " + " | ".join(str(row[name]) for name in COLUMNS) + " |" for row in rows)]) + "\n"


def write(folder: Path, name: str, rows: list[dict], text: str) -> None:
    """Write rows as comma-separated values, and a text of them beside."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (folder / f"{name}.md").write_text(text)


def machine() -> str:
    """One line on what this was run on."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    versions = []
    for package in ("tensorflow", "keras", "torch", "torchvision", "ai_edge_litert"):
        if importlib.util.find_spec(package):
            versions.append(f"{package} {importlib.metadata.version(package.replace('_', '-'))}")
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {', '.join(versions)}"


def expression(text: str) -> re.Pattern[str]:
    """A regular expression of the command line."""
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"expected a regular expression, got {text!r}: {error}") from error


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="one short round of one case a group")
    parser.add_argument("--only", type=expression, help="a regular expression that the group's name begins with")
    parser.add_argument("--sampled", action="store_true", help="only the cases drawn by chance")
    parser.add_argument("--keep-heap", action="store_true", help="all workers keep the memory that they free")
    parser.add_argument(
        "--out", type=Path, help="folder for results.csv and results.md; for all cases, that of this file"
    )
    options = parser.parse_args()
    chosen = [
        case
        for case in CASES
        if (options.only is None or options.only.match(case.group)) and (case.sampled or not options.sampled)
    ]
    if not chosen:
        parser.error(f"--only: expected one that a group's name begins with, got {options.only.pattern!r}")
    if options.out is None and not (options.only or options.smoke or options.keep_heap or options.sampled):
        options.out = HERE
    if options.keep_heap:
        os.environ.update(KEEP_HEAP)
    rows, seen = [], set()
    samples: dict[str, list[dict]] = {}
    for index, case in enumerate(CASES):
        kind = case.group, case.peer_name, case.sampled
        if case not in chosen or (options.smoke and kind in seen):
            continue
        seen.add(kind)
        if case.peer_library in PACKAGES and not importlib.util.find_spec(case.peer_library):
            print(f"left out, for want of {PACKAGES[case.peer_library]}: {case.group}, {case.name}", flush=True)
            continue
        rounds, seconds = (1, 0.01) if options.smoke else (ROUNDS // 3 if case.sampled else ROUNDS, case.seconds)
        for row in compare(index, case, rounds, seconds, share=options.smoke):
            (samples.setdefault(case.group, []) if case.sampled else rows).append(row)
            print(*row.values(), sep="  ", flush=True)
    for sample in samples.values():
        rows += median_and_worst(sample)
    if options.out is not None:
        write(options.out, "results", rows, f"{machine()}\n\n{markdown(rows)}")
    missed = [row for row in rows if row["reached"] == "no"]
    return 1 if missed and not options.smoke else 0


if __name__ == "__main__":
    sys.exit(main())
