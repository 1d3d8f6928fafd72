"""Take many networks the whole way and write what comes of it: ``python benchmarks/networks.py [--only REGEX]``.

Each network of ``zoo`` is counted, folded, exported as float32, int8 and int16x8, and converted for devices, in a
process of its own, and held to a second opinion: parameters to Keras's count, MACs of the model to those of its file, a
folded model's results to the model's, files to the model and to what TensorFlow's converter alone makes of it. A file
that is refused here is a fault where the converter's own is good. Writes a row of ``networks.csv`` and ``networks.md``
for each, beside this file or where ``--out`` says. A network whose row is in the folder of ``--runs`` is not run again,
so a run that was stopped goes on; ``--again`` runs those with faults.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RECIPES = ("float32", "int8", "int16x8")
COLUMNS = (
    *("network", "params", "MACs", "not counted", "folded", "left"),
    *(f"{recipe}{what}" for recipe in RECIPES for what in (" kB", " RMS", " channel", "")),
    *("converter's RMS", "convert", "faults", "s"),
)
TIME_LIMIT = 900
ABOUT = """# Networks

Untrained, with statistics of data; `python benchmarks/networks.py` writes this. MACs are of one image. Normalizations
are folded or left. RMS is that of the worst output, over that output's deviation; channel, that of the worst channel
over its own. A file is exact, faithful, lossy (rounding alone, past the recipe's tolerance: kept with a note) or
refused.
"""


def file_name(name: str) -> str:
    """The name of a network's files."""
    return re.sub(r"\W+", "_", name)


def run(name: str, runs: Path, limit: int = TIME_LIMIT) -> dict[str, Any]:
    """Run one network in a process of its own, and return its row."""
    path = runs / f"{file_name(name)}.json"
    path.unlink(missing_ok=True)
    started = time.monotonic()
    command = [sys.executable, str(HERE / "network_worker.py"), name, str(path)]
    with (runs / f"{file_name(name)}.log").open("w") as log:
        try:
            code = subprocess.run(command, stdout=log, stderr=log, timeout=limit, check=False).returncode
        except subprocess.TimeoutExpired:
            code = f"no end within {limit} s"
    row = json.loads(path.read_text()) if path.is_file() else {"network": name, "faults": []}
    if code != 0:
        row["faults"].append(f"the process ended with {code}: see {file_name(name)}.log")
    row["s"] = f"{time.monotonic() - started:.0f}"
    path.write_text(json.dumps(row, indent=1))
    return row


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """Write the table, and the sentences of refusals and faults below it."""
    from tfsep._utils.table import Table

    cells = [tuple(_cell(row, column) for column in COLUMNS) for row in rows]
    table = Table(COLUMNS, cells)
    notes = [f"- **{row['network']}**, {note}" for row in rows for note in row.get("notes", ())]
    faults = [f"- **{row['network']}**, {fault}" for row in rows for fault in row["faults"]]
    text = [ABOUT, table.markdown(), "", "## Faults", "", *(faults or ["None."]), "", "## What was said", "", *notes]
    (out / "networks.csv").write_text(table.csv())
    (out / "networks.md").write_text("\n".join(text).rstrip() + "\n")


def _cell(row: dict[str, Any], column: str) -> str:
    value = row["faults"] if column == "faults" else row.get(column, "")
    return str(len(value)) if isinstance(value, list) else str(value)


def main() -> None:
    """Run the networks, one after the other, and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="regular expression of names")
    parser.add_argument("--runs", type=Path, default=HERE / "runs", help="folder of the rows")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of networks.csv and networks.md")
    parser.add_argument("--again", action="store_true", help="run networks with faults again")
    options = parser.parse_args()
    for folder in (options.runs, options.out):
        folder.mkdir(parents=True, exist_ok=True)
    from zoo import ZOO

    rows = []
    for name in (name for name in ZOO if re.search(options.only, name)):
        path = options.runs / f"{file_name(name)}.json"
        row = json.loads(path.read_text()) if path.is_file() else None
        if row is None or "s" not in row or (options.again and row["faults"]):  # "s" comes last
            row = run(name, options.runs)
        rows.append(row)
        print(name, row["s"], "s", *row["faults"], sep="\n  " if row["faults"] else " ", flush=True)
        write(rows, options.out)
    sys.exit(any(row["faults"] for row in rows))


if __name__ == "__main__":
    main()
