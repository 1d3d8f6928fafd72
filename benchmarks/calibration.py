"""int8 without training, on networks trained here: ``python benchmarks/calibration.py RUNS [--only REGEX]``.

Each network of `calibration_networks` is trained on Fashion-MNIST where the folder of runs has no trained one, and then
quantized in each way of `WAYS` with the same 256 training images: by the converter, by each part of
`tfsep.quantize.calibrate` alone, by all of them, by an epoch of fine-tuning, and by the toolkits whose Python is given.
Nothing is chosen by the 10,000 test images, on which each file is measured once. What is in the folder of runs is not
done again, so a run that was stopped goes on. Writes ``calibration.csv`` and ``calibration.md`` beside this file, or
where ``--out`` says.
"""

import argparse
import json
import logging
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from calibration_networks import NETWORKS
from calibration_training import finetuned, float_model

from tfsep import quantize, tflite
from tfsep._keras.types import Model
from tfsep._utils.table import Table
from tfsep.data import ImageData, Split, fashion_mnist

HERE = Path(__file__).parent
IMAGES = 256
"""Training images by which each way quantizes."""

NO_PARTS: dict[str, Any] = {"method": "minmax", "equalize": False, "correct_bias": False}
PARTS: dict[str, dict[str, Any]] = {
    "ranges": NO_PARTS | {"method": "best"},
    "equalization": NO_PARTS | {"equalize": True},
    "bias correction": NO_PARTS | {"correct_bias": True},
    "analytic bias correction": NO_PARTS | {"correct_bias": "analytic"},
    "weight scales by error": NO_PARTS | {"weight_scales": "mse"},
    "adaptive rounding": NO_PARTS | {"rounding": "adaptive"},
    "calibrate": {},
    "calibrate, adaptive": {"rounding": "adaptive"},
}
"""Arguments of `calibrate`: for each part alone, by default, and for all parts."""

FLOAT = "float32"
PLAIN = "export"
FINE_TUNED = "an epoch of fine-tuning"
COLUMNS = ("network", "way", "accuracy", "points", "agreement", "differing", "kB", "operators", "s")
ABOUT = """# Calibration

Networks trained here on Fashion-MNIST, quantized to int8 with 256 training images; `python benchmarks/calibration.py`
writes this. Trainings are those of `calibration_networks.py`. Accuracy is that of the file on all 10,000 test images;
points are those that it lost, agreement is the share of the images that get the class that the float model gives them.
Differing are elements of the file's outputs that are not the prepared model's own, on the 256 images. Seconds are those
of a machine that was not idle.
"""


@dataclass
class Subject:
    """A network, and all that is measured on it.

    Attributes:
        name: its name.
        model: the float model.
        data: the data set.
        folder: folder of its files.
    """

    name: str
    model: Model
    data: ImageData
    folder: Path

    @cached_property
    def images(self) -> np.ndarray:
        """The images to calibrate on."""
        return _prepared_images(self.data.train.take(0, IMAGES))

    @cached_property
    def test_images(self) -> np.ndarray:
        """The test images."""
        return _prepared_images(self.data.test)

    @cached_property
    def classes(self) -> np.ndarray:
        """The float model's classes of the test images."""
        return self.model.predict(self.test_images, batch_size=250, verbose=0).argmax(-1)

    def row(self, way: str, path: Path, differing: int | None, seconds: float) -> dict[str, Any]:
        """Measure a file, or the classes that stand in its place."""
        labels, is_file = np.asarray(self.data.test.labels), path.is_file()
        said = tflite.predict(path, self.test_images).argmax(-1) if is_file else np.load(path.with_suffix(".npy"))
        right, own = np.mean(said == labels), np.mean(self.classes == labels)
        return {
            "network": self.name,
            "way": way,
            "accuracy": round(float(right), 4),
            "points": round(100 * float(own - right), 2),
            "agreement": round(float(np.mean(said == self.classes)), 4),
            "differing": differing,
            "kB": round(path.stat().st_size / 1000, 1) if is_file else None,
            "operators": len(tflite.inspect(path).operators) if is_file else None,
            "s": round(seconds),
        }


def file_name(way: str) -> str:
    """Return the name of a way's files."""
    return re.sub(r"\W+", "_", way)


def _prepared_images(split: Split) -> np.ndarray:
    return np.asarray(split.preprocessing(split.images()))


Way = Callable[[Subject, Path], int | None]
"""Writes a file, and returns the number of elements that differ from a prepared model's; None for other models."""


def _float(subject: Subject, path: Path) -> None:
    tflite.export(subject.model, path, "float32", data=subject.images)


def _plain(subject: Subject, path: Path) -> None:
    # However far it is off: that is what is measured.
    tflite.export(subject.model, path, "int8", calibration=subject.images, tolerance=1e6)


def _calibrated(subject: Subject, path: Path, options: dict[str, Any]) -> int | None:
    def keep(report: quantize.CalibrationReport) -> None:
        path.with_suffix(".report.json").write_text(report.to_json())

    return _exported(subject, path, quantize.calibrate(subject.model, subject.images, report=keep, **options))


def _fine_tuned(subject: Subject, path: Path) -> int | None:
    calibrated = quantize.calibrate(subject.model, subject.images)
    return _exported(subject, path, finetuned(subject.model, calibrated, subject.data, subject.folder / "finetuned"))


def _exported(subject: Subject, path: Path, prepared: Model) -> int | None:
    verification = tflite.export(prepared, path, "int8", data=subject.images).verification
    return None if verification is None else verification.differing


def _converter(subject: Subject, path: Path) -> None:
    converter = tf.lite.TFLiteConverter.from_keras_model(subject.model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in subject.images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    path.write_bytes(converter.convert())


def _by_toolkit(subject: Subject, path: Path, toolkit: str, python: str) -> None:
    """Have a toolkit write a file, in the Python where it is installed."""
    given = subject.folder / "given.npz"
    weights = {f"weight_{i}": weight for i, weight in enumerate(subject.model.get_weights())}
    np.savez(given, images=subject.images, test_images=subject.test_images, **weights)
    script = str(HERE / "calibration_toolkits.py")
    float_file = str(subject.folder / f"{FLOAT}.tflite")
    command = [python, script, toolkit, subject.name, float_file, str(given), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{toolkit}: {done.stderr.strip().splitlines()[-1]}")


def ways(toolkits: dict[str, str]) -> dict[str, Way]:
    """Return how a network is quantized, by what it is called.

    Args:
        toolkits: the Python of each toolkit of ``calibration_toolkits.py``.
    """
    return {
        FLOAT: _float,
        PLAIN: _plain,
        **{part: partial(_calibrated, options=options) for part, options in PARTS.items()},
        FINE_TUNED: _fine_tuned,
        "TensorFlow's converter": _converter,
        **{name: partial(_by_toolkit, toolkit=name, python=python) for name, python in toolkits.items()},
    }


def measured(subject: Subject, name: str, way: Way) -> dict[str, Any]:
    """Return the row of a way; where it gives no file, the row has a note that says why."""
    path = subject.folder / f"{file_name(name)}.tflite"
    started = time.monotonic()
    try:
        differing = way(subject, path)
    except (RuntimeError, tflite.VerificationError) as error:
        return {"network": subject.name, "way": name, "note": str(error)}
    return subject.row(name, path, differing, time.monotonic() - started)


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """Write the table, and below it why files are missing."""
    table = Table(COLUMNS, [tuple(row.get(column) for column in COLUMNS) for row in rows])
    titles = [f"- **{name}**: {network.title}" for name, network in NETWORKS.items()]
    notes = [f"- **{row['network']}**, {row['way']}: {row['note']}" for row in rows if "note" in row]
    text = [ABOUT, *titles, "", table.markdown(), *(["", "## Without a file", "", *notes] if notes else [])]
    (out / "calibration.csv").write_text(table.csv())
    (out / "calibration.md").write_text("\n".join(text) + "\n")


def main() -> None:
    """Measure the networks, one after the other, and write the table after each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of the trained networks and of what is made of them")
    parser.add_argument("--only", default="", help="regular expression of networks; of others, rows that are there")
    parser.add_argument("--ways", default="", help="regular expression of ways; of others, rows that are there")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of calibration.csv and calibration.md")
    parser.add_argument("--toolkit", action="append", default=[], metavar="NAME=PYTHON", help="a toolkit's Python")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    toolkits = dict(each.split("=", 1) for each in options.toolkit)
    data, rows = fashion_mnist(), []
    for name, network in NETWORKS.items():
        folder, subject = options.runs / name, None
        folder.mkdir(parents=True, exist_ok=True)
        for way, function in ways(toolkits).items():
            path = folder / f"{file_name(way)}.row.json"
            if not path.is_file() and re.search(options.only, name) and re.search(options.ways, way):
                subject = subject or Subject(name, float_model(network, data, folder), data, folder)
                path.write_text(json.dumps(measured(subject, way, function), indent=1))
            if path.is_file():
                rows.append(json.loads(path.read_text()))
                print(*(f"{column} {value}" for column, value in rows[-1].items()), sep=", ", flush=True)
                write(rows, options.out)


if __name__ == "__main__":
    main()
