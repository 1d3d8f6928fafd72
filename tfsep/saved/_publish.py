"""Publication of a trained model as a folder to ship."""

import json
import os
import shutil
from os import PathLike
from pathlib import Path

import numpy as np

from tfsep._utils.atomic_files import make_folder
from tfsep.data import ImageData, SceneData, write_preprocessing
from tfsep.saved._card import Card
from tfsep.saved._saved_folder import SAMPLES, export_all
from tfsep.saved._saved_scenes import write_scenes
from tfsep.saved._scene_card import SceneCard
from tfsep.saved._scene_files import SCENE_RECIPES, export_scene_files
from tfsep.tflite import RECIPES
from tfsep.tflite._recipes import MAX_CALIBRATION_SAMPLES
from tfsep.train import FitConfig, QuantizeConfig, TrainResult, to_toml
from tfsep.train._run_directory import CURVES, LOG, MODEL

TEST_SAMPLES = 1000
CONFIG = "config.toml"


def publish(
    result: TrainResult,
    config: FitConfig,
    data: ImageData | SceneData,
    destination: str | PathLike[str],
) -> Path:
    """Write a trained model as a folder to ship: the model, its files, config, log, curves, samples and a card.

    A float model is exported with every recipe, calibrated on the first training images; a prepared model as int8. Each
    file is verified on the whole test split; those of a segmentation network or a detector, which has files that return
    objects besides, on a part of it, and scored on the whole.

    Args:
        result: result from `tfsep.train.train` or `tfsep.train.finetune`.
        config: settings of the training.
        data: data set of the training.
        destination: the folder; made if it does not exist.

    Returns:
        The folder.

    Raises:
        OSError: if the folder cannot be made or written to.
    """
    destination = make_folder(destination, "destination")
    how, is_prepared = data.train.preprocessing, isinstance(config, QuantizeConfig)
    for name in (MODEL, LOG, CURVES):
        shutil.copyfile(result.folder / name, destination / name)
    write_preprocessing(how, destination / MODEL, data.class_names, result.decoding)
    epochs = [json.loads(line) for line in (result.folder / LOG).read_text(encoding="utf-8").splitlines()]
    facts, cores = (destination.name, result, config), os.cpu_count() or 1
    if isinstance(data, SceneData):
        recipes = ("int8",) if is_prepared else SCENE_RECIPES
        files = export_scene_files(result.model, destination, data, result.decoding, recipes)
        reports = {name: file.report for name, file in files.items()}
        card: Card = SceneCard(*facts, data, reports, epochs, cores, files)
        write_scenes(destination, data)
    else:
        calibration = data.train.take(0, MAX_CALIBRATION_SAMPLES).images()
        reports = export_all(
            result.model,
            destination,
            None if is_prepared else how(calibration),
            data.test.batches,
            ["int8"] if is_prepared else tuple(RECIPES),
            how,
            data.class_names,
        )
        card = Card(*facts, data, reports, epochs, cores)
        samples = data.test.take(0, TEST_SAMPLES)
        np.savez_compressed(
            destination / SAMPLES,
            class_names=np.array(data.class_names),
            calibration=calibration,
            images=samples.images(),
            labels=samples.labels.numpy(),
        )
    if data.notice:
        (destination / "NOTICE").write_text(data.notice, encoding="utf-8")
    (destination / CONFIG).write_text(to_toml(config, (card.command, card.time, card.accuracies)), encoding="utf-8")
    (destination / "README.md").write_text(card.text(), encoding="utf-8")
    return destination
