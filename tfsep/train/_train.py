"""Training of a network from its definitions."""

from os import PathLike

from tfsep._keras.types import Model
from tfsep.data import ImageData, SceneData
from tfsep.train._config import TrainConfig
from tfsep.train._model_setup import build_model
from tfsep.train._run import TrainingJob, TrainResult, require_data, run_training
from tfsep.train._scene_config import SceneConfig
from tfsep.train._scene_models import build_scene_model, scene_task
from tfsep.train._start import Start, rates_of
from tfsep.train._strategy import Devices
from tfsep.train._tasks import Classification, Task


def train(
    config: TrainConfig,
    data: ImageData | SceneData,
    folder: str | PathLike[str],
    *,
    start: Model | str | PathLike[str] | None = None,
    resume: bool = False,
    devices: Devices | None = None,
) -> TrainResult:
    """Train a network, and save it in `folder`.

    Args:
        config: the settings; a `SceneConfig` for segmentation and detection.
        data: the data set, of scenes for a `SceneConfig`; its test split is used once, at the end.
        folder: folder of the run, created if missing. Its files: ``model.keras`` (from images to probabilities),
            ``model.json`` (preprocessing), ``checkpoint.npz`` (all variables, after every epoch), ``log.jsonl`` (one
            JSON object per epoch), ``curves.png``, ``config.json``, ``computation.json`` (compilation, precision and
            batch size, and why) and ``data.json`` (hashes of the data). Nothing is written before every image has been
            read once, and a step on zeros was computed.
        start: a trained classifier of such images, or its path, to begin with: its layers are copied, but for the one
            that has a number for each class, which is made anew unless the classes recorded beside the model are those
            of the data. `config.freeze` and `config.stage_rate` say how its stages learn; `config.network`, `alpha` and
            `dropout` are its own. None for a new network.
        resume: whether to continue from the folder's checkpoint; settings and data must be the same as before.
        devices: the devices to train on, from `join`; None for the strategy in scope. All workers need the same
            arguments. The chief alone writes to the folder, but all workers read it when a run is resumed. Each replica
            normalizes by the statistics of its own share of a batch, unless `config.sync_batch_norm` is set.

    Returns:
        The trained model and its score on the test split.

    Raises:
        ValueError: if the folder holds a run and `resume` is not set; if the run to resume is damaged, or has other
            settings or data; if XLA cannot compile the step, or it does not fit in memory; if an image cannot be
            decoded; if there are fewer training images than a batch, or `config.validation` leaves none; if a batch
            cannot be divided among the devices; if the workers have different arguments; if no step of an epoch, or of
            40 in a row, is finite.
        TypeError: if `config`, `data` or `folder` has another type.
        FileNotFoundError: if `resume` is set and the folder holds no run.
        OSError: if the folder cannot be created or written to.

    Examples:
        >>> from tfsep.data import fashion_mnist
        >>> train(TrainConfig(), fashion_mnist(), "runs/a", resume=True)  # doctest: +SKIP
    """
    if not isinstance(config, TrainConfig):
        raise TypeError(f"config: expected a TrainConfig, got {config!r}")
    task: Task
    if start is not None:
        job = _started(config, require_data(data, ImageData), start)
        return run_training(job, config, data, folder, resume, devices)
    if config.freeze or config.stage_rate != 1:
        raise ValueError("freeze, stage_rate: expected 0 and 1 without a start, got others")
    if isinstance(config, SceneConfig):
        scenes, own = require_data(data, SceneData), config
        task, build = scene_task(own, scenes), lambda precision: build_scene_model(own, scenes, precision)
    else:
        images = require_data(data, ImageData)
        task, build = Classification(), lambda precision: build_model(config, images, precision)
    evaluated = build("float32")
    job = TrainingJob(build, evaluated, task.finish(evaluated), task, warm_statistics=True)
    return run_training(job, config, data, folder, resume, devices)


def _started(config: TrainConfig, data: ImageData, start: Model | str | PathLike[str]) -> TrainingJob:
    """The job of a classifier that begins with another one's weights."""
    if isinstance(config, SceneConfig):
        raise ValueError(f"start: expected None for {config.task}, got a model")
    begun, task = Start(start, data), Classification()
    evaluated = begun.build(config, frozen=False)
    return TrainingJob(
        lambda precision: begun.build(config, precision),
        evaluated,
        task.finish(evaluated),
        task,
        identity=begun.identity(),
        warm_statistics=True,
        rates=lambda model: rates_of(model, config.stage_rate),
    )
