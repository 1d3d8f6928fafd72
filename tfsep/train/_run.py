"""A run from its first epoch, or its last checkpoint, to the model it makes.

Every epoch's batches are a pure function of the seed and the epoch, and a checkpoint is one file that holds every
variable, so a resumed run takes the steps that an uninterrupted one would have taken.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tfsep._keras.backend import tf
from tfsep._utils.arguments import as_path
from tfsep._utils.progress import progress_bar
from tfsep.data import ImageData, Split
from tfsep.train._batches import epoch_batches
from tfsep.train._config import FitConfig
from tfsep.train._model_setup import optimizer_of
from tfsep.train._run_directory import BEST, CHECKPOINT, RunFolder, epoch_line
from tfsep.train._strategy import Devices
from tfsep.train._trainer import Trainer, seed_dropout

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What a run made.

    Attributes:
        model: from images in [-1, 1] to probabilities.
        folder: with the model, the checkpoint, the log, its curves and the config.
        test_accuracy: share of the test split whose class the model names, computed once, at the end.
        validation_accuracy: the same of the images that were held out; None where none were.
        seconds: time of this call.
    """

    model: Any
    folder: Path
    test_accuracy: float
    validation_accuracy: float | None
    seconds: float


def accuracy(model: Any, split: Split, batch_size: int = 500) -> float:
    """Return the share of the split's images whose label is the model's first choice, in [0, 1].

    Examples:
        >>> split = Split.of(np.zeros((4, 28, 28, 1), "uint8"), np.array([0, 0, 0, 1]))
        >>> accuracy(lambda x, training: tf.one_hot(tf.zeros(len(x), "int32"), depth=2), split)
        0.75
    """
    return _right(model, split, batch_size) / split.size


def _right(model: Any, split: Split, batch_size: int = 500) -> int:
    right = 0
    for x, y in split.batches(batch_size):
        right += int(tf.reduce_sum(tf.cast(tf.argmax(model(x, training=False), -1, "int32") == y, "int32")))
    return right


@dataclass(frozen=True)
class Job:
    """What a run trains.

    Attributes:
        model: makes the model in training, from images to logits.
        kept: the model of the same weights, in the same order, that is evaluated.
        finished: the model that is saved, which shares the weights of `kept`.
        teacher: a model from images to probabilities; None for none.
        distill: the share of each label that the teacher's probabilities take.
        each_epoch: given the model in training when an epoch begins, and the epoch, from 0.
        identity: what a resumed run has to have begun with, beside its data.
    """

    model: Callable[[], Any]
    kept: Any
    finished: Any
    teacher: Any = None
    distill: float = 0.0
    each_epoch: Callable[[Any, int], None] = lambda model, epoch: None  # noqa: ARG005
    identity: dict[str, Any] = field(default_factory=dict)


def require_data(data: Any) -> None:
    """Raise a TypeError for what is no data set."""
    if not isinstance(data, ImageData):
        raise TypeError(f"data: expected an ImageData, got {data!r}")


def run(
    job: Job,
    config: FitConfig,
    data: ImageData,
    folder: str | PathLike[str],
    resume: bool,
    devices: Devices | None = None,
) -> TrainResult:
    """Run a job to its end; see `tfsep.train.train`.

    Workers take the same decisions, because what they decide by is the same in all of them: the figures of an epoch are
    sums over all.
    """
    started = time.monotonic()
    devices = devices or Devices(tf.distribute.get_strategy())
    path = as_path(folder, "folder")
    _require_whole_shares(config, devices.strategy.num_replicas_in_sync)
    training, held_out = _hold_out(data.train, config.validation)
    steps = training.size // config.batch_size
    if steps == 0:
        raise ValueError(f"batch_size: expected at most the {training.size} training images, got {config.batch_size}")
    kept = RunFolder(path, config, {**data.identity(), **job.identity})
    (kept.require_same if resume else kept.require_none)()
    devices.require_same(kept.facts(resume))
    with devices.strategy.scope():
        trainer = Trainer(job.model(), optimizer_of(config, steps), config, job.teacher, job.distill)
    records: list[dict[str, Any]] = []
    best: list[np.ndarray] = []
    if resume:
        _assign(trainer.state, kept.read_arrays(CHECKPOINT, _shapes(trainer.state)))
        records = kept.log()[: trainer.steps // steps]
        if records and config.patience:
            best = kept.read_arrays(BEST, _shapes(job.kept.weights))
    elif devices.is_chief:
        kept.begin()
        _keep_checkpoint(kept, trainer)

    try:
        while len(records) < config.epochs and not _is_out_of_patience(records, config.patience):
            records.append(_epoch(job, trainer, training, held_out, config, len(records), devices))
            if config.patience and records[-1] is _best(records):
                best = job.kept.get_weights()
            if devices.is_chief:
                _keep_epoch(kept, records, best, trainer)
            _logger.info(epoch_line(records[-1], config.epochs))
    except KeyboardInterrupt:
        _logger.info(f"stopped after {len(records)} of {config.epochs} epochs; resume to go on from there")
        raise

    job.kept.set_weights(best or trainer.kept())
    if devices.is_chief:
        kept.write_model(job.finished, data.train.preprocessing)
    return TrainResult(
        job.finished,
        path,
        _accuracy(job.finished, data.test, devices),
        _accuracy(job.finished, held_out, devices) if held_out.size else None,
        time.monotonic() - started,
    )


def _require_whole_shares(config: FitConfig, replicas: int) -> None:
    parts = replicas * config.accumulate
    if config.batch_size % parts:
        raise ValueError(
            f"batch_size: expected a multiple of {parts} for {replicas} devices and accumulate {config.accumulate}, "
            f"got {config.batch_size}"
        )


def _accuracy(model: Any, split: Split, devices: Devices) -> float:
    """The accuracy on a split, of which each worker evaluates a part."""
    return sum(devices.exchange(_right(model, split.shard(devices.workers, devices.worker)))) / split.size


def _epoch(
    job: Job, trainer: Trainer, training: Split, held_out: Split, config: FitConfig, epoch: int, devices: Devices
) -> dict[str, Any]:
    """Train for an epoch, bring the weights to keep into the model that is evaluated, and return the epoch's record."""
    started = time.monotonic()
    seed_dropout(trainer.model, (config.seed * 1_000_003 + epoch) % 2**32)
    job.each_epoch(trainer.model, epoch)
    classes = trainer.model.output_shape[-1]
    steps = training.size // config.batch_size
    batches = epoch_batches(training, config, classes, epoch, devices.worker, devices.workers)
    with progress_bar(f"epoch {epoch + 1}/{config.epochs}", steps) as advance:
        loss, right = trainer.epoch(batches, advance)
    trained = time.monotonic() - started
    job.kept.set_weights(trainer.kept())
    return {
        "epoch": epoch + 1,
        "loss": loss,
        "accuracy": right,
        "validation_accuracy": _accuracy(job.kept, held_out, devices) if held_out.size else None,
        "learning_rate": float(trainer.optimizer.learning_rate),
        "seconds": time.monotonic() - started,
        "images_per_second": steps * config.batch_size / trained,
    }


def _best(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The first of the epochs with the best held-out accuracy."""
    return max(records, key=lambda record: record["validation_accuracy"])


def _is_out_of_patience(records: list[dict[str, Any]], patience: int) -> bool:
    return bool(patience and records) and len(records) - _best(records)["epoch"] >= patience


def _keep_epoch(kept: RunFolder, records: list[dict[str, Any]], best: list[np.ndarray], trainer: Trainer) -> None:
    """Write what an epoch leaves; the checkpoint last, as the rest is written again if it is not reached."""
    if best and records[-1] is _best(records):
        kept.write_arrays(BEST, best)
    kept.keep_log(records)
    _keep_checkpoint(kept, trainer)


def _shapes(variables: list[Any]) -> list[tuple[int, ...]]:
    return [tuple(variable.shape) for variable in variables]


def _assign(variables: list[Any], arrays: list[np.ndarray]) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _keep_checkpoint(kept: RunFolder, trainer: Trainer) -> None:
    kept.write_arrays(CHECKPOINT, [np.asarray(variable) for variable in trainer.state])


def _hold_out(split: Split, count: int) -> tuple[Split, Split]:
    if count >= split.size:
        raise ValueError(f"validation: expected fewer than the {split.size} training images, got {count}")
    return split.take(0, split.size - count), split.take(split.size - count)
