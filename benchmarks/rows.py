"""A table with a row a network, made by a worker in a process of its own, and kept in a folder for the next run."""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent


def file_name(name: str) -> str:
    """The name of a network's files."""
    return re.sub(r"\W+", "_", name)


class Sweep(NamedTuple):
    """A table of networks.

    Attributes:
        stem: name of the table's files, without the ending.
        about: the head of the table in Markdown.
        worker: the script that writes a row: ``WORKER NAME ROW.json``.
        columns: the columns; `"faults"` is the number of faults.
        time_limit: seconds for a network.
    """

    stem: str
    about: str
    worker: str
    columns: tuple[str, ...]
    time_limit: int = 900

    @property
    def runs(self) -> Path:
        """The folder of the rows, unless another is asked for."""
        return HERE / "runs" / self.stem

    def run(self, name: str, runs: Path) -> dict[str, Any]:
        """Run one network in a process of its own, and return its row."""
        path = runs / f"{file_name(name)}.json"
        path.unlink(missing_ok=True)
        started = time.monotonic()
        command = [sys.executable, str(HERE / self.worker), name, str(path)]
        with (runs / f"{file_name(name)}.log").open("w") as log:
            try:
                done = subprocess.run(command, stdout=log, stderr=log, timeout=self.time_limit, check=False)
                ended = "" if done.returncode == 0 else f"with {done.returncode}"
            except subprocess.TimeoutExpired:
                ended = f"at its limit of {self.time_limit} s"
        row = json.loads(path.read_text()) if path.is_file() else {"network": name, "faults": []}
        if ended:
            row["faults"].append(f"the process ended {ended}: see {file_name(name)}.log")
        row["s"] = f"{time.monotonic() - started:.0f}"
        path.write_text(json.dumps(row, indent=1))
        return row

    def write_kept(self, networks: Iterable[str]) -> None:
        """Write the table of the networks whose rows are there."""
        rows = (self.kept(name, self.runs) for name in networks)
        self.write([row for row in rows if row is not None], HERE)

    def kept(self, name: str, runs: Path) -> dict[str, Any] | None:
        """The row of a network in a folder; None where there is none yet, or not the whole."""
        path = runs / f"{file_name(name)}.json"
        row: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
        return row if "s" in row else None  # "s" comes last

    def write(self, rows: list[dict[str, Any]], out: Path) -> None:
        """Write the table, and the sentences of refusals and faults below it."""
        from tfsep._utils.table import Table

        cells = [tuple(_cell(row, column) for column in self.columns) for row in rows]
        table = Table(self.columns, cells)
        notes = [f"- **{row['network']}**, {note}" for row in rows for note in row.get("notes", ())]
        faults = [f"- **{row['network']}**, {fault}" for row in rows for fault in row["faults"]]
        text = [self.about, table.markdown(), "", "## Faults", "", *(faults or ["None."])]
        text += ["", "## What was said", "", *notes] if notes else []
        (out / f"{self.stem}.csv").write_text(table.csv())
        (out / f"{self.stem}.md").write_text("\n".join(text).rstrip() + "\n")

    def main(self, networks: Iterable[str], about: str | None) -> None:
        """Run networks from the command line, one after the other, and write the table after each."""
        parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--only", default="", help="regular expression of names")
        parser.add_argument("--runs", type=Path, default=self.runs, help="folder of the rows")
        parser.add_argument("--out", type=Path, default=HERE, help=f"folder of {self.stem}.csv and {self.stem}.md")
        parser.add_argument("--again", action="store_true", help="run networks with faults again")
        options = parser.parse_args()
        for folder in (options.runs, options.out):
            folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for name in (name for name in networks if re.search(options.only, name)):
            row = self.kept(name, options.runs)
            if row is None or (options.again and row["faults"]):
                row = self.run(name, options.runs)
            rows.append(row)
            print(name, row["s"], "s", *row["faults"], sep="\n  " if row["faults"] else " ", flush=True)
            self.write(rows, options.out)
        sys.exit(any(row["faults"] for row in rows))


def _cell(row: dict[str, Any], column: str) -> str:
    value = row["faults"] if column == "faults" else row.get(column, "")
    return str(len(value)) if isinstance(value, list) else str(value)
