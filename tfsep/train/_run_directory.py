"""The folder of a run: what it was told, how it went, and where it goes on."""

import hashlib
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tfsep._utils.atomic_files import atomic_file, make_folder
from tfsep.data import Preprocessing, save_with_preprocessing
from tfsep.train._config import FitConfig

CHECKPOINT = "checkpoint.npz"
BEST = "best.npz"
MODEL = "model.keras"
LOG = "log.jsonl"
CONFIG = "config.json"
DATA = "data.json"
CURVES = "curves.png"


class RunFolder:
    """Reads and writes what a run keeps; every file is there whole or not at all.

    Args:
        path: of the folder, which need not exist.
        config: of the run.
        identity: what the run's data, and whatever else it began with, are known by, for JSON.
    """

    def __init__(self, path: Path, config: FitConfig, identity: dict[str, Any]) -> None:
        self.path, self._config, self._identity = path, config, identity

    def require_none(self) -> None:
        """Raise a ValueError if the folder holds a run."""
        if (self.path / CHECKPOINT).exists():
            raise ValueError(f"folder: expected one without a run, got {self.path}; resume it, or choose another")

    def begin(self) -> None:
        """Make the folder.

        Raises:
            OSError: if it cannot be made or written to.
        """
        make_folder(self.path, "folder")
        for name, record in ((CONFIG, asdict(self._config)), (DATA, self._identity)):
            self._write_text(name, json.dumps(record, indent=2) + "\n")
        self._write_text(LOG, "")

    def require_same(self) -> None:
        """Raise unless the folder holds a run of this config and this data, to go on with.

        Raises:
            FileNotFoundError: if it holds none.
            ValueError: if it holds a damaged one, or another.
        """
        if not (self.path / CHECKPOINT).is_file():
            raise FileNotFoundError(f"folder: expected a run to resume, got {self.path} without {CHECKPOINT}")
        settings = self._stored(CONFIG)
        try:
            stored = type(self._config).of(settings)
        except ValueError as error:
            raise ValueError(
                f"folder: expected a run with a right {CONFIG}, got {self.path / CONFIG} ({error})"
            ) from error
        changed = [name for name, value in asdict(self._config).items() if value != getattr(stored, name)]
        if changed:
            raise ValueError(f"config: expected that of the run in {self.path}, got another {', '.join(changed)}")
        known = self._stored(DATA)
        changed = [name for name, value in self._identity.items() if value != known.get(name)]
        if changed:
            raise ValueError(f"data: expected those of the run in {self.path}, got other {', '.join(changed)}")

    def facts(self, resume: bool) -> dict[str, dict[str, Any]]:
        """Return what has to be the same for all workers of a run: its config, its data, and what it goes on from."""
        files = [self.path / name for name in (CHECKPOINT, BEST, LOG) if resume]
        hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}
        return {"config": asdict(self._config), "data": self._identity, "run": {"resume": resume, **hashes}}

    def write_arrays(self, name: str, arrays: list[np.ndarray]) -> None:
        """Write arrays in order, as one ``.npz`` file."""
        with atomic_file(self.path / name, "folder") as partial, partial.open("wb") as file:
            np.savez(file, *arrays)

    def read_arrays(self, name: str, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
        """Read what `write_arrays` wrote.

        Raises:
            ValueError: if the file is damaged, or its arrays have other shapes: those of another network.
        """
        path = self.path / name
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = [stored[f"arr_{i}"] for i in range(len(stored.files))]
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"folder: expected a run with a whole {name}, got a damaged {path}") from error
        if [array.shape for array in arrays] != shapes:
            raise ValueError(f"folder: expected a run of this network, got weights of another in {path}")
        return arrays

    def write_model(self, model: Any, preprocessing: Preprocessing) -> None:
        """Write the model that the run made, and how images are prepared for it."""
        save_with_preprocessing(model, preprocessing, self.path / MODEL, "folder")

    def log(self) -> list[dict[str, Any]]:
        """Return the records of the log, one an epoch."""
        path = self.path / LOG
        lines = path.read_text().splitlines() if path.is_file() else []
        return [json.loads(line) for line in lines]

    def keep_log(self, records: list[dict[str, Any]]) -> None:
        """Write the log, and draw it."""
        from tfsep import plots

        self._write_text(LOG, "".join(json.dumps(record) + "\n" for record in records))
        if records:
            with atomic_file(self.path / CURVES, "folder") as partial:
                plots.training(records).savefig(partial, format="png", dpi=120)

    def _write_text(self, name: str, text: str) -> None:
        with atomic_file(self.path / name, "folder") as partial:
            partial.write_text(text)

    def _stored(self, name: str) -> dict[str, Any]:
        """Read one of the records that a run keeps as JSON."""
        path = self.path / name
        if not path.is_file():
            raise FileNotFoundError(f"folder: expected a run to resume, got {self.path} without {name}")
        try:
            record = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"folder: expected a run with a whole {name}, got a damaged {path} ({error})") from error
        if not isinstance(record, dict):
            raise ValueError(f"folder: expected a run with a JSON object in {name}, got {record!r:.80} in {path}")
        return record


def epoch_line(record: dict[str, Any], epochs: int) -> str:
    """One epoch's record as a line of text."""
    watched = record["validation_accuracy"]
    return (
        f"epoch {record['epoch']}/{epochs}: loss {record['loss']:.4f}, accuracy {record['accuracy']:.4f}"
        + ("" if watched is None else f", validation {watched:.4f}")
        + f", {record['seconds']:.0f} s, {record['images_per_second']:.0f} images/s"
    )
