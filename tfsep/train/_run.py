"""A training run, from its first epoch or its last checkpoint to the finished model.

The batches of an epoch are a function of the seed and the epoch alone, and a checkpoint holds every variable, so that a
resumed run takes the same steps as an uninterrupted one.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.foreign_state import foreign_state_kept
from tfsep._keras.types import Model, Tensor
from tfsep._utils.arguments import as_path, short_repr
from tfsep._utils.progress import progress_bar, stage
from tfsep.boxes import Decoding
from tfsep.data import ImageData, SceneData, SceneSplit, Split
from tfsep.train._batches import epoch_batches
from tfsep.train._computation import Computation, choose, out_of_memory
from tfsep.train._config import AUTO, FitConfig
from tfsep.train._epoch_records import advice, is_out_of_patience, kept_record, waits_long
from tfsep.train._model_setup import build_optimizer
from tfsep.train._run_directory import BEST, CHECKPOINT, RunDirectory, epoch_line
from tfsep.train._scene_config import held_out_scenes
from tfsep.train._strategy import Devices
from tfsep.train._tasks import Classification, Task
from tfsep.train._trainer import Trainer, seed_dropout

_logger = logging.getLogger(__name__)

_PARTED = 0.1
"""Difference of two accuracies from which on they part ways."""

_OUT_OF_MEMORY = re.compile("RESOURCE_EXHAUSTED|OUT_?OF_?MEMORY|out of memory|ALLOC_FAILED|[Ff]ailed to allocate")
"""What errors of other kinds say, too: of cuDNN where it finds no algorithm, of XLA where it cannot try any."""
_NOT_COMPILED = (
    tf.errors.InvalidArgumentError,
    tf.errors.UnimplementedError,
    tf.errors.NotFoundError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)
"""Errors of XLA, or of its absence; a lost worker has others."""


@dataclass(frozen=True)
class TrainResult:
    """The result of a run.

    Attributes:
        model: model from prepared images to probabilities; of a detector, to offsets and scores.
        folder: folder of the run: model, checkpoint, log, curves and config.
        test_score: the task's score on the test split, computed once, at the end: accuracy, mean IoU, or mAP at an
            overlap of 0.5.
        validation_score: the same of the held-out images; None if none were held out.
        seconds: time of this call.
        score: name of the score.
        decoding: how a detector's outputs become objects; None for any other model.
    """

    model: Model
    folder: Path
    test_score: float
    validation_score: float | None
    seconds: float
    score: str = "accuracy"
    decoding: Decoding | None = None

    @property
    def test_accuracy(self) -> float:
        """`test_score` of a classifier: the share of the test split that is classified correctly."""
        return self.test_score

    @property
    def validation_accuracy(self) -> float | None:
        """`validation_score` of a classifier."""
        return self.validation_score


@dataclass(frozen=True)
class TrainingJob:
    """The models of a run.

    Attributes:
        make_model: takes a precision, and returns the model in training, from images to logits.
        evaluated: a float32 model with the same weights in the same order.
        saved: the finished model, which is scored after each epoch; it shares the weights of `evaluated`.
        task: what the model is trained to do.
        teacher: a finished model of the same task; None for none.
        distill: share of the loss whose targets are the teacher's outputs.
        on_epoch_begin: called with the model in training and the number of the epoch, from 0.
        identity: facts beside the data that a resumed run must have in common with its beginning.
        warm_statistics: whether moving statistics begin with a smaller decay, see `Trainer`.
        rates: a function from the model in training to factors of the learning rate, see `Trainer`.
    """

    make_model: Callable[[str], Model]
    evaluated: Model
    saved: Model
    task: Task = field(default_factory=Classification)
    teacher: Model | None = None
    distill: float = 0.0
    on_epoch_begin: Callable[[Model, int], None] = lambda model, epoch: None  # noqa: ARG005
    identity: dict[str, Any] = field(default_factory=dict)
    warm_statistics: bool = False
    rates: Callable[[Model], Sequence[float]] = lambda model: ()  # noqa: ARG005


_DataKind = TypeVar("_DataKind", ImageData, SceneData)


def require_data(data: Any, kind: type[_DataKind]) -> _DataKind:
    """Return `data`, a data set of a kind.

    Raises:
        TypeError: unless it is one.
    """
    if not isinstance(data, kind):
        raise TypeError(f"data: expected {kind.__name__}, got {short_repr(data)}")
    return data


def run_training(
    job: TrainingJob,
    config: FitConfig,
    data: ImageData | SceneData,
    folder: str | PathLike[str],
    resume: bool,
    devices: Devices | None = None,
) -> TrainResult:
    """Train to the end, and return the finished model; the arguments are those of `tfsep.train.train`.

    All workers decide alike when to stop and which epoch is best, because all have the same scores.
    """
    started = time.monotonic()
    devices = devices or Devices(tf.distribute.get_strategy())
    path = as_path(folder, "folder")
    training, held_out = _hold_out(data, config)
    if not resume:
        # Before every image is read.
        RunDirectory(path, config, {}).require_no_run()
    computation = None if resume else choose(config, job.evaluated, devices.strategy, training.size)
    directory = RunDirectory(path, config, {**_identity_of(data), **job.identity})
    computation = computation or _resumed(directory)
    stored = directory.read_arrays(CHECKPOINT) if resume else []
    devices.require_equal({**directory.shared_facts(resume), "devices": computation.facts})
    trainer, computation = _fitting_trainer(job, training, config, computation, devices)
    _logger.info(computation.describe())
    config = replace(config, batch_size=computation.batch_size)
    steps = training.size // config.images_per_step
    records: list[dict[str, Any]] = []
    best: list[np.ndarray] = []
    key = f"validation_{job.task.score_key}"
    if resume:
        directory.require_shapes(CHECKPOINT, stored, trainer.state)
        _assign(trainer.state, stored)
        records = directory.read_log()[: trainer.steps // steps]
        if records and held_out.size:
            best = directory.read_arrays(BEST)
            directory.require_shapes(BEST, best, job.evaluated.weights)
    elif devices.is_chief:
        directory.create(computation)
        _write_checkpoint(directory, trainer)

    try:
        while len(records) < config.epochs and not is_out_of_patience(records, config.patience, key):
            with _within_memory(computation):
                records.append(_train_epoch(job, trainer, training, held_out, config, len(records), devices))
            if held_out.size and records[-1] is kept_record(records, key):
                best = job.evaluated.get_weights()
            if devices.is_chief:
                _write_epoch(directory, records, best, trainer, key)
            _logger.info(epoch_line(records[-1], config.epochs, job.task.score_title, key))
            if waits_long(records):
                _logger.info(advice(records[-1]["data_wait"], trainer.preparation is None))
    except KeyboardInterrupt:
        if devices.is_chief:
            directory.draw_curves(records)
        _logger.info(f"stopped after {len(records)} of {config.epochs} epochs; resume to go on from there")
        raise

    job.evaluated.set_weights(best or trainer.evaluation_weights())
    if devices.is_chief:
        directory.draw_curves(records)
        directory.write_model(job.saved, data.train.preprocessing, data.class_names, job.task.decoding)
    validation = _kept_score(job, records, held_out, devices)
    return TrainResult(
        job.saved,
        path,
        job.task.score(job.saved, data.test, devices),
        validation,
        time.monotonic() - started,
        job.task.score_title,
        job.task.decoding,
    )


def _resumed(directory: RunDirectory) -> Computation:
    """How the run that a folder holds computes, if it is this one."""
    directory.require_same_run()
    return directory.read_computation()


def _kept_score(
    job: TrainingJob, records: list[dict[str, Any]], held_out: Split | SceneSplit, devices: Devices
) -> float | None:
    """The score of the kept model on the held-out images, None without any, and messages on it."""
    if not held_out.size:
        _logger.info(f"epoch {len(records)} of {len(records)} is kept: no images are held out to choose one")
        return None
    key = f"validation_{job.task.score_key}"
    kept = kept_record(records, key)
    _logger.info(f"epoch {kept['epoch']} of {len(records)} is kept, the best by {held_out.size:,} held-out images")
    score: float = kept[key]
    if isinstance(held_out, Split) and kept["accuracy"] - score > _PARTED:
        _tell_if_parted(job.saved, held_out, score, devices)
    return score


def _tell_if_parted(model: Model, held_out: Split, inference: float, devices: Devices) -> None:
    """Warn if the held-out accuracy is far better where each batch is normalized by its own statistics."""

    def by_batches(images: Tensor, training: bool) -> Tensor:
        del training
        return model(images, training=True)

    with foreign_state_kept(model), keras.StatelessScope():
        normalized = Classification().score(by_batches, held_out, devices)
    if normalized - inference > _PARTED:
        _logger.warning(
            f"held-out accuracy is {inference:.4f} in inference and {normalized:.4f} where each batch is normalized by "
            "its own statistics: the moving statistics are not those of the weights; more steps, larger batches or a "
            "smaller batch_norm_decay bring them together"
        )


@stage("reading all images")
def _identity_of(data: ImageData | SceneData) -> dict[str, Any]:
    """What tells a data set from others."""
    return data.identity()


@stage("tracing a training step")
def _fitting_trainer(
    job: TrainingJob, training: Split | SceneSplit, config: FitConfig, computation: Computation, devices: Devices
) -> tuple[Trainer, Computation]:
    """A trainer whose step can be computed and fits in memory, and how it computes.

    A step is rehearsed before anything is written. Under ``batch_size="auto"``, batches are halved until one fits.
    """
    while True:
        chosen = replace(config, batch_size=computation.batch_size)
        with devices.strategy.scope():
            model = job.make_model(computation.precision)
            optimizer = build_optimizer(chosen, training.size // chosen.images_per_step, computation.precision)
            prepare = job.task.preparation(chosen, training.preprocessing, model)
            within = prepare if computation.augmentation == "device" else None
            how = job.teacher, job.distill, computation.xla, within, job.warm_statistics, job.rates(model)
            trainer = Trainer(model, optimizer, chosen, job.task, *how)
        try:
            trainer.rehearse(_batches(trainer, training, chosen, 0, devices))
        except (tf.errors.OpError, MemoryError) as error:
            if _is_out_of_memory(error):
                if config.batch_size != AUTO or devices.worker_count > 1:
                    raise out_of_memory(computation) from error
                computation = computation.halved()
                continue
            if not (computation.xla and isinstance(error, _NOT_COMPILED)):
                raise
            said = str(error).partition("\n")[0]
            raise ValueError(
                f"xla: expected off where XLA cannot compile the step for this {computation.device}, got on ({said})"
            ) from error
        else:
            return trainer, computation


@contextmanager
def _within_memory(computation: Computation) -> Iterator[None]:
    """Raise a ValueError where a step does not fit in memory."""
    try:
        yield
    except (tf.errors.OpError, MemoryError) as error:
        if _is_out_of_memory(error):
            raise out_of_memory(computation) from error
        raise


def _is_out_of_memory(error: Exception) -> bool:
    """Whether a step does not fit in memory, the device's or the machine's."""
    known = (tf.errors.ResourceExhaustedError, MemoryError)
    return isinstance(error, known) or bool(_OUT_OF_MEMORY.search(str(error)))


def _batches(
    trainer: Trainer, training: Split | SceneSplit, config: FitConfig, epoch: int, devices: Devices
) -> tf.data.Dataset:
    """This worker's batches of an epoch."""
    place, prepared = (devices.worker_index, devices.worker_count), trainer.preparation is None
    prepare = trainer.task.preparation(config, training.preprocessing, trainer.model)
    return epoch_batches(training, config, prepare, epoch, place, prepared)


def _train_epoch(
    job: TrainingJob,
    trainer: Trainer,
    training: Split | SceneSplit,
    held_out: Split | SceneSplit,
    config: FitConfig,
    epoch: int,
    devices: Devices,
) -> dict[str, Any]:
    """Train for an epoch, copy the averaged weights to the evaluated model, and return the epoch's log record."""
    started = time.monotonic()
    seed_dropout(trainer.model, (config.seed * 1_000_003 + epoch) % 2**32)
    job.on_epoch_begin(trainer.model, epoch)
    steps = training.size // config.images_per_step
    batches = _batches(trainer, training, config, epoch, devices)
    with progress_bar(f"epoch {epoch + 1}/{config.epochs}", steps) as advance:
        measured = trainer.epoch(batches, advance)
    trained = time.monotonic() - started
    job.evaluated.set_weights(trainer.evaluation_weights())
    return {
        "epoch": epoch + 1,
        "loss": measured.loss,
        "accuracy": measured.accuracy,
        f"validation_{job.task.score_key}": job.task.score(job.saved, held_out, devices) if held_out.size else None,
        "learning_rate": float(trainer.optimizer.learning_rate),
        "seconds": time.monotonic() - started,
        "images_per_second": steps * config.images_per_step / trained,
        "data_wait": measured.data_wait,
        "skipped_steps": measured.skipped,
    }


def _write_epoch(
    directory: RunDirectory, records: list[dict[str, Any]], best: list[np.ndarray], trainer: Trainer, key: str
) -> None:
    """Write best weights, log and checkpoint of an epoch.

    The checkpoint is last: if the run is stopped before, the epoch is repeated and the other files are written again.
    """
    if best and records[-1] is kept_record(records, key):
        directory.write_arrays(BEST, best)
    directory.write_log(records)
    _write_checkpoint(directory, trainer)


def _assign(variables: list[tf.Variable], arrays: list[np.ndarray]) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _write_checkpoint(directory: RunDirectory, trainer: Trainer) -> None:
    directory.write_arrays(CHECKPOINT, [np.asarray(variable) for variable in trainer.state])


def _hold_out(data: ImageData | SceneData, config: FitConfig) -> tuple[Split, Split] | tuple[SceneSplit, SceneSplit]:
    """The images to train on, and the last ones, which are held out; scenes are held out already."""
    if isinstance(data, SceneData):
        return data.train, data.held_out.take(0, held_out_scenes(config, data.held_out.size))
    split, count = data.train, config.held_out_of(data.train.size)
    if count >= split.size:
        raise ValueError(f"validation: expected fewer than the {split.size} training images, got {count}")
    return split.take(0, split.size - count), split.take(split.size - count)
