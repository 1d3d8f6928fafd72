"""A run from its first epoch, or its last checkpoint, to the model it makes.

Every epoch's batches are a pure function of the seed and the epoch, and a checkpoint is one file that holds every
variable, so a resumed run takes the steps that an uninterrupted one would have taken.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tfsep._arguments import as_path
from tfsep._backend import tf
from tfsep._progress import progress
from tfsep.data import ImageData, Split
from tfsep.train._batches import epoch_batches
from tfsep.train._build import build, optimizer_of, with_softmax
from tfsep.train._config import FitConfig, TrainConfig
from tfsep.train._folder import BEST, CHECKPOINT, RunFolder, line_of
from tfsep.train._step import Trainer, seed_dropout


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

    Example:
        >>> split = Split.of(np.zeros((4, 28, 28, 1), "uint8"), np.array([0, 0, 0, 1]))
        >>> accuracy(lambda x, training: tf.one_hot(tf.zeros(len(x), "int32"), depth=2), split)
        0.75
    """
    right = 0
    for x, y in split.batches(batch_size):
        right += int(tf.reduce_sum(tf.cast(tf.argmax(model(x, training=False), -1, "int32") == y, "int32")))
    return right / split.size


def train(
    config: TrainConfig,
    data: ImageData,
    folder: str | PathLike[str],
    *,
    resume: bool = False,
    log: Callable[[str], None] = print,
) -> TrainResult:
    """Train a network and leave it in `folder`.

    Args:
        config: the recipe.
        data: what to train on; its test split is looked at once, when training is over.
        folder: made if need be; gets ``model.keras`` (probabilities), ``checkpoint.npz`` (after every epoch, with the
            optimizer), ``log.jsonl`` (one JSON object an epoch), ``curves.png``, ``config.json``, and ``data.json``,
            by which a resumed run knows its data. Nothing is written before every image has been read.
        resume: go on from the folder's checkpoint, whose config and data must be these.
        log: is given one line an epoch.

    Returns:
        The trained model and its test accuracy.

    Raises:
        ValueError: if the folder holds a run and `resume` is not set, if it holds a damaged one or one of another
            config or other data, if an image cannot be decoded, if there are fewer training images than a batch, or
            `validation` leaves none.
        TypeError: if `config`, `data` or `folder` is something else.
        FileNotFoundError: if `resume` is set and there is nothing to go on from.
        OSError: if the folder cannot be made or written to.

    Example:
        >>> from tfsep.data import fashion_mnist
        >>> train(TrainConfig(), fashion_mnist(), "runs/a", resume=True)  # doctest: +SKIP
    """
    if not isinstance(config, TrainConfig):
        raise TypeError(f"config: expected a TrainConfig, got {config!r}")
    require_data(data)
    job = Job(
        lambda: build(config, data),
        lambda: build(config, data, "float32"),
    )
    return run(job, config, data, folder, resume, log)


@dataclass(frozen=True)
class Job:
    """What a run trains.

    Attributes:
        model: makes the model in training, from images to logits.
        kept: makes the model that its weights are brought to, to be evaluated and saved.
        teacher: makes the model that labels are distilled from.
        distill: its share of each label.
        identity: what a resumed run has to have begun with, beside its data.
    """

    model: Callable[[], Any]
    kept: Callable[[], Any]
    teacher: Any = None
    distill: float = 0.0
    each_epoch: Callable[[Any, int], None] = lambda model, epoch: None
    identity: dict[str, Any] | None = None


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
    log: Callable[[str], None],
) -> TrainResult:
    """Run a job to its end; see `train`."""
    started = time.monotonic()
    path = as_path(folder, "folder")
    training, held_out = _hold_out(data.train, config.validation)
    steps = training.size // config.batch_size
    if steps == 0:
        raise ValueError(f"batch_size: expected at most the {training.size} training images, got {config.batch_size}")
    kept = RunFolder(path, config, {**data.identity(), **(job.identity or {})})
    if resume:
        kept.require_same()
    trainer = Trainer(job.model(), optimizer_of(config, steps), config, job.teacher, job.distill)
    final = job.kept()
    if resume:
        arrays, _ = kept.read_arrays(CHECKPOINT, [tuple(variable.shape) for variable in trainer.state])
        for variable, array in zip(trainer.state, arrays, strict=True):
            variable.assign(array)
    else:
        kept.begin()
        _keep_checkpoint(kept, trainer)
    records = kept.log()[: trainer.steps // steps]

    try:
        while len(records) < config.epochs and not _is_out_of_patience(records, config.patience):
            records.append(_epoch(trainer, final, training, held_out, config, job, steps, len(records)))
            if config.patience and records[-1] is _best(records):
                kept.write_arrays(BEST, final.get_weights())
            kept.keep_log(records)
            _keep_checkpoint(kept, trainer)
            line_of(records[-1], config.epochs, log)
    except KeyboardInterrupt:
        log(f"stopped after {len(records)} of {config.epochs} epochs; resume to go on from there")
        raise

    final.set_weights(trainer.kept())
    if config.patience:
        best, _ = kept.read_arrays(BEST, [tuple(weight.shape) for weight in final.weights])
        final.set_weights(best)
    finished = with_softmax(final)
    kept.write_model(finished)
    return TrainResult(
        finished,
        path,
        accuracy(finished, data.test),
        accuracy(finished, held_out) if held_out.size else None,
        time.monotonic() - started,
    )


def _epoch(
    trainer: Trainer,
    final: Any,
    training: Split,
    held_out: Split,
    config: FitConfig,
    job: Job,
    steps: int,
    epoch: int,
) -> dict[str, Any]:
    """Train for an epoch, bring the weights to keep into `final`, and return the epoch's record."""
    started = time.monotonic()
    seed_dropout(trainer.model, (config.seed * 1_000_003 + epoch) % 2**32)
    job.each_epoch(trainer.model, epoch)
    classes = trainer.model.output_shape[-1]
    with progress(f"epoch {epoch + 1}/{config.epochs}", steps) as advance:
        loss, right = trainer.epoch(epoch_batches(training, config, classes, epoch), advance)
    final.set_weights(trainer.kept())
    return {
        "epoch": epoch + 1,
        "loss": loss,
        "accuracy": right,
        "validation_accuracy": accuracy(final, held_out) if held_out.size else None,
        "learning_rate": float(trainer.optimizer.learning_rate),
        "seconds": time.monotonic() - started,
    }


def _best(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The first of the epochs with the best held-out accuracy."""
    return max(records, key=lambda record: record["validation_accuracy"])


def _is_out_of_patience(records: list[dict[str, Any]], patience: int) -> bool:
    return bool(patience and records) and len(records) - _best(records)["epoch"] >= patience


def _keep_checkpoint(kept: RunFolder, trainer: Trainer) -> None:
    kept.write_arrays(CHECKPOINT, [np.asarray(variable) for variable in trainer.state])


def _hold_out(split: Split, count: int) -> tuple[Split, Split]:
    if count >= split.size:
        raise ValueError(f"validation: expected fewer than the {split.size} training images, got {count}")
    return split.take(0, split.size - count), split.take(split.size - count)
