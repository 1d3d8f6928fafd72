"""Trained models that ship with the package: where they are, what is in their folder, and how one is put together.

A folder holds ``model.keras`` (images in [-1, 1] to probabilities), ``model_<recipe>.tflite`` with its report as JSON,
``samples.npz`` (images to calibrate and to try the model on) and ``README.md``, the card.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tfsep import tflite
from tfsep._files import made_folder
from tfsep._table import Table
from tfsep.cost import cost
from tfsep.data import ImageData, Preprocessing, Split, write_preprocessing
from tfsep.defs import NETWORKS
from tfsep.models import load_model
from tfsep.train import LOG, MODEL, TrainConfig, TrainResult

SAMPLES = "samples.npz"
TEST_SAMPLES = 1000
CALIBRATION_SAMPLES = 500


def saved_models() -> Path:
    """Return the folder of the shipped models, in an installed package or in a checkout.

    Raises:
        FileNotFoundError: if neither has it.

    Example:
        >>> saved_models().is_dir()
        True
    """
    package = Path(__file__).parent
    places = package / "_saved_models", package.parent / "saved_models"
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(f"saved models: expected a folder at one of {', '.join(map(str, places))}, got none")


@dataclass(frozen=True)
class SavedModel:
    """A shipped model, loaded.

    Attributes:
        name: of its folder.
        folder: where it is.
        model: from images in [-1, 1] to probabilities.
        class_names: of the model's classes.
        calibration: uint8 images (N, H, W, C) from the training set.
        images, labels: uint8 images and int32 labels from the test set.
    """

    name: str
    folder: Path
    model: Any
    class_names: tuple[str, ...]
    calibration: np.ndarray
    images: np.ndarray
    labels: np.ndarray

    def test_split(self) -> Split:
        """The images with their labels, as a split of a data set."""
        return Split.of(self.images, self.labels)


def load(name: str = "fashion_mnist") -> SavedModel:
    """Load a shipped model with its images.

    Raises:
        FileNotFoundError: if there is none of that name.

    Example:
        >>> load().images.shape
        (1000, 28, 28, 1)
    """
    folder = saved_models() / name
    if not (folder / MODEL).is_file():
        known = sorted(p.parent.name for p in saved_models().glob(f"*/{MODEL}"))
        raise FileNotFoundError(f"name: expected one of {', '.join(known)}, got {name!r}")
    with np.load(folder / SAMPLES) as samples:
        return SavedModel(
            name,
            folder,
            load_model(folder / MODEL),
            tuple(samples["class_names"].tolist()),
            samples["calibration"],
            samples["images"],
            samples["labels"],
        )


def export_all(
    model: Any,
    folder: str | PathLike[str],
    calibration: Any,
    data: Callable[[], Any],
    log: Callable[[str], None] = print,
    preprocessing: Preprocessing | None = None,
) -> dict[str, Any]:
    """Export a model in every recipe and verify each file, as ``model_<recipe>.tflite`` in `folder`.

    Args:
        model: a Keras model.
        folder: made if need be.
        calibration: what the recipes with integers are calibrated on, as `tfsep.tflite.export` takes it.
        data: called once a recipe; returns what the file is verified on, batches of (images, labels).
        log: is given one line a recipe.
        preprocessing: how images are prepared for the model, for the reports.

    Returns:
        The reports, by recipe.
    """
    folder = made_folder(folder, "folder")
    reports = {}
    for recipe in tflite.RECIPES:
        reports[recipe] = report = tflite.export(
            model,
            folder / f"model_{recipe}.tflite",
            recipe,
            calibration=calibration,
            data=data(),
            preprocessing=preprocessing,
        )
        log(
            f"{recipe}: {report.size_bytes / 1000:.0f} kB, accuracy {report.accuracy:.4f} "
            f"(model {report.model_accuracy:.4f}), {report.delegated} of {report.nodes} nodes delegated"
        )
    return reports


def publish(
    result: TrainResult,
    config: TrainConfig,
    data: ImageData,
    destination: str | PathLike[str],
    log: Callable[[str], None] = print,
) -> Path:
    """Put a trained model together as a folder to ship: the model, its files in every recipe, samples, and a card.

    The recipes are calibrated on the first training images and verified on the whole test split.

    Args:
        result: of `tfsep.train.train`.
        config: what it was trained by.
        data: what it was trained on.
        destination: the folder; made if need be.
        log: is given one line a recipe.

    Returns:
        The folder.
    """
    destination = made_folder(destination, "destination")
    calibration, how = data.train.take(0, CALIBRATION_SAMPLES).images(), data.train.preprocessing
    reports = export_all(result.model, destination, how(calibration), data.test.batches, log, how)
    shutil.copyfile(result.folder / MODEL, destination / MODEL)
    write_preprocessing(how, destination / MODEL)
    shutil.copyfile(result.folder / LOG, destination / LOG)
    samples = data.test.take(0, TEST_SAMPLES)
    np.savez_compressed(
        destination / SAMPLES,
        class_names=np.array(data.class_names),
        calibration=calibration,
        images=samples.images(),
        labels=samples.labels.numpy(),
    )
    if data.notice:
        (destination / "NOTICE").write_text(data.notice)
    (destination / "README.md").write_text(_card(result, config, data, reports))
    return destination


def _card(result: TrainResult, config: TrainConfig, data: ImageData, reports: dict[str, Any]) -> str:
    epochs = [json.loads(line) for line in (result.folder / LOG).read_text().splitlines()]
    network = cost(NETWORKS[config.network], data.image_shape, alpha=config.alpha, num_classes=len(data.class_names))
    files = Table(
        ("file", "kB", "test accuracy", "same class as the model", "largest error", "nodes delegated"),
        [
            (
                f"`model_{recipe}.tflite`",
                f"{report.size_bytes / 1000:.0f}",
                f"{report.accuracy:.4f}",
                f"{report.top1_agreement:.4f}",
                f"{report.max_error:.2g}",
                f"{report.delegated} of {report.nodes}",
            )
            for recipe, report in reports.items()
        ],
    )
    licence = "Model: Apache-2.0. Images: see `NOTICE`." if data.notice else "The images' owners' and the trainer's."
    minutes = sum(epoch["seconds"] for epoch in epochs) / 60
    recipe = Table(("setting", "value"), [(f"`{name}`", value) for name, value in asdict(config).items()])
    return f"""# {data.name}: a MobileNet v1 from definitions

A MobileNet v1 body (`tfsep.defs.NETWORKS["{config.network}"]`, width {config.alpha}) for images of
{" × ".join(map(str, data.image_shape))}, {result.model.count_params():,} parameters, {network.macs:,} MACs
(multiply-accumulates) an image, trained from scratch.

**Test accuracy: {result.test_accuracy:.4f}** on all {data.test.size:,} test images. The test set was looked at once,
when training was over; {config.validation:,} of the {data.train.size:,} training images were held out to watch the run.

- Input: float32, N × {" × ".join(map(str, data.image_shape))}: {data.train.preprocessing.describe()} (`model.json`).
- Output: float32, N × {len(data.class_names)}, probabilities of {", ".join(data.class_names)}.
- Training: {len(epochs)} epochs in {minutes:.0f} minutes on {os.cpu_count()} CPU cores; `log.jsonl` has every epoch.
  The last epoch's weights are the model; no epoch was chosen.
- Made by `tfsep train --publish saved_models/{data.name}`.

## Files

Each `.tflite` file was verified against the Keras model on the whole test set when it was written; its report is the
JSON beside it. Integer recipes were calibrated on {CALIBRATION_SAMPLES} training images.

{files.markdown()}

`samples.npz` holds those calibration images and the first {TEST_SAMPLES:,} test images with their labels.

## Recipe

{recipe.markdown()}

## Licence

{licence}
"""
