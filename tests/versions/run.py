"""Install each stack of `stacks.toml` and run the demo and a part of the tests on it; the table beside is the result.

python tests/versions/run.py                       # all stacks
python tests/versions/run.py oldest newest --short # the demo alone
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TABLE = HERE / "README.md"
MODULES = ("tensorflow", "keras", "ai_edge_litert", "numpy", "typer", "rich", "matplotlib", "PIL")
TESTS = ("layers", "load_model", "operating_system")
"""Files of tests for every stack, ones that need no file of their own."""
HEADERS = ("stack", "Python", "TensorFlow", "Keras", "LiteRT", "NumPy", "typer", "rich", "matplotlib", "Pillow")
RESULTS = ("demo, int8 accuracy", "tests", "date")


def interpreter(version: str) -> str:
    """Return the Python of a version: on the path, or pyenv's."""
    places = [shutil.which(f"python{version}"), *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
    for place in filter(None, places):
        done = subprocess.run([place, "--version"], capture_output=True, text=True, check=False)
        if done.returncode == 0 and f" {version}." in done.stdout:
            return place
    raise SystemExit(f"python: expected a Python {version} on the path, got none")


def installed(name: str, stack: dict[str, object], folder: Path) -> Path:
    """Install a stack and the package into an environment, and return its Python."""
    place = folder / name.replace(" ", "_")
    if not place.is_dir():
        subprocess.run([interpreter(str(stack["python"])), "-m", "venv", place], check=True)
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    own = f"{ROOT}[{stack['extra']}]" if "extra" in stack else str(ROOT)
    subprocess.run([*pip, "install", "--quiet", own, *stack["packages"], "pytest>=9,<10", "hypothesis"], check=True)
    if over := stack.get("over"):
        names = [package.removesuffix("-nightly") for package in over]
        subprocess.run([*pip, "uninstall", "--quiet", "--yes", *names], check=True)
        subprocess.run([*pip, "install", "--quiet", "--force-reinstall", "--no-deps", *over], check=True)
        subprocess.run([*pip, "install", "--quiet", *over], check=True)
    return python


def versions(python: Path) -> list[str]:
    """Return the versions that an environment's modules say."""
    code = f"""
import importlib, json, platform
def version(name):
    try:
        return importlib.import_module(name).__version__
    except ImportError:
        return ""
    except AttributeError:
        from importlib.metadata import version
        return version(name)
print(json.dumps([platform.python_version(), *map(version, {MODULES!r})]))
"""
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def demonstrated(python: Path) -> str:
    """Run the demo of the installed package, and return the accuracy of its int8 file."""
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-m", "tfsep", "demo", "--out", "demo", "--images", "200"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"fails: {done.stderr.splitlines()[-1]}"
        report = json.loads(Path(folder, "demo", "model_int8.json").read_text(encoding="utf-8"))
        return f"{report['verification']['accuracy']:.3f}"


def on_files(python: Path) -> str:
    """Run commands that need no TensorFlow, and return the int8 file's accuracy by the outputs of another file."""
    code = """
import numpy as np
from tfsep import tflite
from tfsep._version import __version__
import tfsep, pathlib
folder = pathlib.Path(tfsep.__file__).parent / "_saved_models" / "fashion_mnist"
stored = np.load(folder / "samples.npz")
x, labels = stored["images"][:200] / np.float32(127.5) - np.float32(1), stored["labels"][:200]
np.savez("y.npz", x=x, y=tflite.predict(folder / "model_float32.tflite", x), labels=labels)
print(tflite.verify_reference(folder / "model_int8.tflite", "y.npz").accuracy)
print(folder / "model_int8.tflite")
"""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([python, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
        accuracy, file = done.stdout.splitlines()[-2:]
        asked = (["inspect", file], ["inspect", file, "--target", "all"], ["cost", file], ["verify", file, "y.npz"])
        for arguments in (*asked, ["bench", file, "--runs", "3"], ["cost", "--help"], ["--version"]):
            done = subprocess.run([python, "-m", "tfsep", *arguments], cwd=folder, capture_output=True, check=False)
            if done.returncode not in (0, *([1] if "--target" in arguments else [])):
                return f"fails: {' '.join(arguments)}"
        return f"{float(accuracy):.3f}, commands on files"


def tested(python: Path) -> str:
    """Run the tests of every stack, and return how many passed; warnings of other versions are no errors."""
    files = [str(ROOT / "tests" / f"test_{name}.py") for name in TESTS]
    done = subprocess.run(
        [python.with_name("pytest"), "-q", "-p", "no:cacheprovider", "-o", "filterwarnings=ignore", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout[-3000:], file=sys.stderr)
    return done.stdout.splitlines()[-1].split(" in ")[0].strip("= ").replace(", ", "; ")


def rows() -> dict[str, list[str]]:
    """The rows of the table as it is, by stack."""
    lines = TABLE.read_text(encoding="utf-8").splitlines() if TABLE.is_file() else []
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines if line.startswith("| ")]
    return {row[0]: row for row in cells[2:]}


def page(found: dict[str, list[str]], order: list[str]) -> Iterator[str]:
    """The lines of the table's page."""
    yield "# Versions\n"
    yield "`python tests/versions/run.py` installs the stacks of `stacks.toml` one by one, runs `tfsep demo` and"
    yield f"{', '.join(f'`test_{name}`' for name in TESTS)} on each, and writes this table. On x86-64 Linux.\n"
    yield f"| {' | '.join((*HEADERS, *RESULTS))} |"
    yield f"| {' | '.join('---' for _ in (*HEADERS, *RESULTS))} |"
    yield from (f"| {' | '.join(cell or '–' for cell in found[name])} |" for name in order if name in found)


def main() -> None:
    """Run the stacks that are named, or all, and write the table."""
    stacks = tomllib.loads((HERE / "stacks.toml").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(stacks), metavar="STACK", help=", ".join(stacks))
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "versions", help="for the environments")
    parser.add_argument("--short", action="store_true", help="the demo alone; the table stays as it is")
    options = parser.parse_args()
    failed = False
    for name in options.names:
        python = installed(name, stacks[name], options.folder)
        is_bare = "extra" not in stacks[name]
        shown = on_files(python) if is_bare else demonstrated(python)
        row = [name, *versions(python), shown]
        failed |= shown.startswith("fails")
        print(*row, flush=True)
        if not options.short:
            row += ["" if is_bare else tested(python), f"{date.today()}"]
            found = {**rows(), name: row}
            TABLE.write_text("\n".join(page(found, list(stacks))) + "\n", encoding="utf-8")
            failed |= "failed" in row[-2] or "error" in row[-2]
    sys.exit(failed)


if __name__ == "__main__":
    main()
