"""Check and time this library on a GPU: ``python benchmarks/gpu.py [--minutes N] [--only GROUPS] [--out FOLDER]``.

First whether it is right, then how fast, in groups of a process each. They stand in the order of what they decide
(`gpu_cases.GROUPS`), and what is to run is printed before. A group ends at its time limit, and all end after
``--minutes``. Each case is a row of ``gpu.csv`` and ``gpu.md`` in the folder, written as it comes, under the names of
device, driver and libraries. Times are in milliseconds; both sides of a case take turns in one process.

A row says of its goal "yes" or "no" where it was measured; a case that fails is a "no" with its error, and the next one
has a new process. "not measured" is what there was no time or no library for: the next run into the same folder
measures that, and leaves the rest as it is. Ends with 1 if there is a "no".

``--quick`` rehearses it with the smallest sizes, also on a CPU: whether all of it runs, and is right. ``--torch`` is
the Python with PyTorch, where it is another than this, with its environment: ``--torch "env -u PYTHONPATH python3"``.
"""

import argparse
import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gpu_cases import GROUPS, beside_ours, sizes_of
from gpu_checks import NOT_MEASURED, NOT_REACHED, Case, Sizes, said
from run import COLUMNS, expression, markdown, write

HERE = Path(__file__).parent
LIBRARY, ORACLES = HERE.parent, HERE.parent / "tests"

_MACHINE = """
import json, keras, tensorflow as tf
build, details = tf.sysconfig.get_build_info(), tf.config.experimental.get_device_details
names = [details(gpu).get("device_name", "GPU") for gpu in tf.config.list_physical_devices("GPU")]
built = ", ".join(f"{key[:-8]} {build[key]}" for key in ("cuda_version", "cudnn_version") if key in build)
print(json.dumps([names, f"tensorflow {tf.__version__} (built for {built or 'no GPU'}), keras {keras.__version__}"]))
"""


def machine() -> tuple[list[str], str]:
    """The GPUs that TensorFlow sees, and a line on libraries and driver; asked in a process, to leave devices free."""
    done = subprocess.run([sys.executable, "-c", _MACHINE], capture_output=True, text=True, check=True)
    names, versions = json.loads(done.stdout.splitlines()[-1])
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        driver = "none"
    return names, f"{versions}, driver {driver}, Python {sys.version.split()[0]}"


class Measured:
    """The rows of a folder, by group and case."""

    def __init__(self, folder: Path, title: str, sizes: Sizes) -> None:
        self.folder, self.title, self.sizes = folder, title, sizes
        self.rows: dict[tuple[str, str], dict] = {}
        table, text = folder / "gpu.csv", folder / "gpu.md"
        if table.is_file():
            of = text.read_text().partition("\n")[0] if text.is_file() else "an unknown machine"
            if of != title:
                raise ValueError(f"--out: expected a folder for rows of {title}, got {folder} with those of {of}")
            with table.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if row["group"] in GROUPS]
            self.rows = {(row["group"], row["case"]): row for row in rows}

    def add(self, group: str, case: str, row: dict) -> dict:
        """Take a row, write all, and return it with all columns."""
        self.rows[group, case] = {**dict.fromkeys(COLUMNS, ""), **row, "group": group, "case": case}
        order = list(GROUPS)
        rows = sorted(self.rows.values(), key=lambda each: order.index(each["group"]))
        rows = [beside_ours(each, rows, self.sizes.judged) for each in rows]
        self.rows = {(each["group"], each["case"]): each for each in rows}
        write(self.folder, "gpu", rows, f"{self.title}\n\n{markdown(rows)}\n{self.count()}\n")
        return self.rows[group, case]

    def lacks(self, group: str, case: str) -> bool:
        """Whether a case has still to be measured."""
        row = self.rows.get((group, case))
        return row is None or (row["reached"] == NOT_MEASURED and not row["peer"])

    def count(self) -> str:
        """How many rows there are of each kind, and which groups were not measured to the end."""
        counts = Counter(row["reached"] for row in self.rows.values())
        text = f"{counts['yes']} reached, {counts[NOT_REACHED]} not reached, {counts['']} without a goal"
        groups = dict.fromkeys(row["group"] for row in self.rows.values() if row["reached"] == NOT_MEASURED)
        return f"{text}, {counts[NOT_MEASURED]} not measured{': ' * bool(groups)}{'; '.join(groups)}."

    def failed(self) -> bool:
        """Whether a row was measured and is under its goal."""
        return any(row["reached"] == NOT_REACHED for row in self.rows.values())


def rows_of(cases: list[Case], task: dict, limit: float, python: list[str]) -> Iterator[tuple[Case, dict]]:
    """Each case with its row, by processes of which the next one begins behind a case that failed."""
    waiting, end = list(cases), time.monotonic() + limit
    while waiting and time.monotonic() < end:
        task = {**task, "cases": [case.name for case in waiting]}
        for row in _process([*python, __file__, "--task", json.dumps(task)], end):
            yield waiting.pop(0), row
    for case in waiting:
        yield case, said(NOT_MEASURED, because=f"the time limit of {max(limit, 0):.0f} s")


def _process(command: list[str], end: float) -> Iterator[dict]:
    """The rows that a process prints; if it ends by itself with an error, one more, that says so."""
    with tempfile.TemporaryFile("w+") as errors:
        # A session of its own: compilers that a group starts would keep its output open past its end.
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)
        timer = threading.Timer(end - time.monotonic(), os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        with process:
            for line in process.stdout:
                if line.startswith("{"):
                    yield json.loads(line)
        timer.cancel()
        if process.returncode != 0 and time.monotonic() < end:
            errors.seek(0)
            last = errors.read().strip().rpartition("\n")[2][:300]
            yield said(NOT_REACHED, failed=f"the process ended with {process.returncode}{': ' * bool(last)}{last}")


def work(task: dict) -> None:
    """Print the row of each case of a group, up to one that fails: what it leaves behind would meet those after it."""
    sys.path[1:1] = [str(LIBRARY), str(ORACLES)]
    from tfsep._utils.foreign_errors import cause_of

    cases = {case.name: case for case in GROUPS[task["group"]].cases(sizes_of(task["quick"], task["gpu"]))}
    for name in task["cases"]:
        try:
            row = cases[name].row()
        except Exception as error:  # of whatever library
            print(json.dumps(said(NOT_REACHED, failed=f"{type(error).__name__}: {cause_of(error)}")), flush=True)
            return
        print(json.dumps(row), flush=True)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a rehearsal with the smallest sizes, also on a CPU")
    parser.add_argument("--minutes", type=float, default=15.0, help="the time for all groups")
    parser.add_argument("--only", type=expression, help="a regular expression that the group's name begins with")
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="folder for gpu.csv and gpu.md")
    parser.add_argument("--torch", default=sys.executable, help="the Python that has PyTorch, and its environment")
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        work(options.task)
        return 0
    chosen = [name for name in GROUPS if options.only is None or options.only.match(name)]
    if not chosen:
        parser.error(f"--only: expected one that a group's name begins with, got {options.only.pattern!r}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    end = time.monotonic() + 60 * options.minutes
    gpus, versions = machine()
    if not (gpus or options.quick):
        parser.error(f"--quick: expected it where TensorFlow sees no GPU, for a rehearsal, got none ({versions})")
    title = f"{'Rehearsal, ' * options.quick}{', '.join(gpus) or 'no GPU'}, {versions}"
    task, sizes = {"quick": options.quick, "gpu": bool(gpus)}, sizes_of(options.quick, bool(gpus))
    try:
        measured = Measured(options.out, title, sizes)
    except ValueError as error:
        parser.error(str(error))
    cases = {name: [each for each in GROUPS[name].cases(sizes) if measured.lacks(name, each.name)] for name in chosen}
    print(title, plan(cases, options.minutes, options.quick), sep="\n", flush=True)
    pythons = {"tensorflow": [sys.executable], "torch": shlex.split(options.torch)}
    for name in chosen:
        group, begin = GROUPS[name], time.monotonic()
        if has(pythons[group.library], group.library):
            limit = end - begin if options.quick else min(group.limit, end - begin)
            rows = rows_of(cases[name], {**task, "group": name}, limit, pythons[group.library])
        else:
            rows = ((case, said(NOT_MEASURED, because=f"{group.library} is not there")) for case in cases[name])
        for case, row in rows:
            written = measured.add(name, case.name, row)
            print(f"{time.monotonic() - begin:.1f} s", *written.values(), sep="  ", flush=True)
            begin = time.monotonic()
    print(measured.count())
    return 1 if measured.failed() else 0


def plan(cases: dict[str, list[Case]], minutes: float, quick: bool = False) -> str:
    """What is to run: the groups whose time limits the minutes hold, and those for what these leave of it.

    A rehearsal has one limit for all groups: compiled on a CPU, a step takes minutes.
    """
    left, first, rest = 60 * minutes, [], []
    for name, own in cases.items():
        if own:
            left -= 0 if quick else GROUPS[name].limit
            limit = "" if quick else f", {GROUPS[name].limit:.0f} s"
            (first if left >= 0 else rest).append(f"{name} ({len(own)} cases{limit})")
    lines = [f"In {minutes:g} minutes at most: {'; '.join(first) or 'no group to its time limit'}."]
    return "\n".join([*lines, *[f"In what these leave of them: {'; '.join(rest)}."] * bool(rest)])


def has(python: list[str], library: str) -> bool:
    """Whether a Python has a library."""
    program = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({library!r}) is None)"
    return not subprocess.run([*python, "-c", program], capture_output=True, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
