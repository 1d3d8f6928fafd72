"""The folder of a run: its settings, log, curves, checkpoint and model."""

import hashlib
import json
import time
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tfsep._keras.types import Model
from tfsep._utils.atomic_files import atomic_file, make_folder
from tfsep.boxes import Decoding
from tfsep.data import Preprocessing, save_with_preprocessing
from tfsep.train._computation import Computation
from tfsep.train._config import FitConfig

CHECKPOINT = "checkpoint.npz"
BEST = "best.npz"
MODEL = "model.keras"
LOG = "log.jsonl"
CONFIG = "config.json"
DATA = "data.json"
COMPUTATION = "computation.json"
CURVES = "curves.png"

_CURVES_INTERVAL = 10.0
"""Seconds between two drawings of the curves; one takes about 0.2."""


class RunDirectory:
    """The files of a run; each is replaced as a whole, so that none is ever cut short.

    Args:
        path: path of the folder, which need not exist.
        config: settings of the run.
        identity: facts by which a resumed run knows its data and its first model, for JSON.
    """

    def __init__(self, path: Path, config: FitConfig, identity: dict[str, Any]) -> None:
        self.path, self._config, self._identity = path, config, identity
        self._drawn_at = time.monotonic()

    def require_no_run(self) -> None:
        """Raise a ValueError if the folder holds a run already."""
        if (self.path / CHECKPOINT).exists():
            raise ValueError(f"folder: expected one without a run, got {self.path}; resume it, or choose another")

    def create(self, computation: Computation) -> None:
        """Create the folder, with settings, identity and an empty log.

        Args:
            computation: how the run computes.

        Raises:
            OSError: if it cannot be made or written to.
        """
        make_folder(self.path, "folder")
        records = {CONFIG: asdict(self._config), DATA: self._identity, COMPUTATION: asdict(computation)}
        for name, record in records.items():
            self._write_text(name, json.dumps(record, indent=2) + "\n")
        self._write_text(LOG, "")

    def require_same_run(self) -> None:
        """Raise unless the folder holds a run with these settings and this data, which can be resumed.

        Raises:
            FileNotFoundError: if it holds no run.
            ValueError: if it holds a damaged run, or another one.
        """
        if not (self.path / CHECKPOINT).is_file():
            raise FileNotFoundError(f"folder: expected a run to resume, got {self.path} without {CHECKPOINT}")
        settings = self._read_record(CONFIG)
        try:
            stored = type(self._config).of(settings)
        except ValueError as error:
            raise ValueError(
                f"folder: expected a run with a right {CONFIG}, got {self.path / CONFIG} ({error})"
            ) from error
        changed = [name for name, value in asdict(self._config).items() if value != getattr(stored, name)]
        if changed:
            raise ValueError(f"config: expected that of the run in {self.path}, got another {', '.join(changed)}")
        known = self._read_record(DATA)
        changed = [name for name, value in self._identity.items() if value != known.get(name)]
        if changed:
            raise ValueError(f"data: expected those of the run in {self.path}, got other {', '.join(changed)}")

    def read_computation(self) -> Computation:
        """Return how the run in the folder computes.

        Raises:
            FileNotFoundError: if the file is missing.
            ValueError: if it is damaged.
        """
        record = self._read_record(COMPUTATION)
        try:
            return Computation.of(record)
        except ValueError as error:
            raise ValueError(
                f"folder: expected a run with a right {COMPUTATION}, got {self.path / COMPUTATION} ({error})"
            ) from error

    def shared_facts(self, resume: bool) -> dict[str, dict[str, Any]]:
        """Return the facts that all workers of a run must share: settings, data, and hashes of the files to resume."""
        files = [self.path / name for name in (CHECKPOINT, BEST, LOG) if resume]
        hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}
        return {"config": asdict(self._config), "data": self._identity, "run": {"resume": resume, **hashes}}

    def write_arrays(self, name: str, arrays: list[np.ndarray]) -> None:
        """Write arrays in order, as one ``.npz`` file."""
        with atomic_file(self.path / name, "folder") as partial, partial.open("wb") as file:
            np.savez(file, *arrays)

    def read_arrays(self, name: str) -> list[np.ndarray]:
        """Read the arrays of a file that `write_arrays` wrote.

        Raises:
            ValueError: if the file is damaged.
        """
        path = self.path / name
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return [stored[f"arr_{i}"] for i in range(len(stored.files))]
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"folder: expected a run with a whole {name}, got a damaged {path}") from error

    def require_shapes(self, name: str, arrays: list[np.ndarray], variables: list[Any]) -> None:
        """Raise a ValueError unless the arrays of a file have the shapes of variables, as those of the same network."""
        if [array.shape for array in arrays] != [tuple(variable.shape) for variable in variables]:
            raise ValueError(f"folder: expected a run of this network, got weights of another in {self.path / name}")

    def write_model(
        self, model: Model, preprocessing: Preprocessing, class_names: tuple[str, ...], decoding: Decoding | None
    ) -> None:
        """Write the finished model, and beside it its preprocessing, the names of its classes and its decoding."""
        save_with_preprocessing(model, preprocessing, self.path / MODEL, "folder", class_names, decoding)

    def read_log(self) -> list[dict[str, Any]]:
        """Return the records of the log, one for each epoch."""
        path = self.path / LOG
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return [json.loads(line) for line in lines]

    def write_log(self, records: list[dict[str, Any]]) -> None:
        """Write the log, and draw its curves where that was not done in the last seconds."""
        self._write_text(LOG, "".join(json.dumps(record) + "\n" for record in records))
        if time.monotonic() - self._drawn_at >= _CURVES_INTERVAL:
            self.draw_curves(records)

    def draw_curves(self, records: list[dict[str, Any]]) -> None:
        """Draw the curves of a log, of an epoch at least."""
        from tfsep import plots

        if records:
            with atomic_file(self.path / CURVES, "folder") as partial:
                plots.training(records).savefig(partial, format="png", dpi=120)
        self._drawn_at = time.monotonic()

    def _write_text(self, name: str, text: str) -> None:
        with atomic_file(self.path / name, "folder") as partial:
            partial.write_text(text, encoding="utf-8")

    def _read_record(self, name: str) -> dict[str, Any]:
        """Read one of the run's JSON objects."""
        path = self.path / name
        if not path.is_file():
            raise FileNotFoundError(f"folder: expected a run to resume, got {self.path} without {name}")
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"folder: expected a run with a whole {name}, got a damaged {path} ({error})") from error
        if not isinstance(record, dict):
            raise ValueError(f"folder: expected a run with a JSON object in {name}, got {record!r:.80} in {path}")
        return record


def epoch_line(record: dict[str, Any], epochs: int, score: str, key: str) -> str:
    """Return the log record of an epoch as a line of text; its score has a name, and stands under a key."""
    watched, skipped = record[key], record["skipped_steps"]
    title = "validation" + (score != "accuracy") * f" {score}"
    return (
        f"epoch {record['epoch']}/{epochs}: loss {record['loss']:.4f}, accuracy {record['accuracy']:.4f}"
        + ("" if watched is None else f", {title} {watched:.4f}")
        + (f", {skipped} skipped, not finite" if skipped else "")
        + f", {record['seconds']:.0f} s ({record['data_wait']:.0%} waiting for images), "
        + f"{record['images_per_second']:.0f} images/s"
    )
