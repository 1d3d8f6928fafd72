"""Training of a network from its definitions."""

from os import PathLike

from tfsep._keras.types import Model
from tfsep.data import ImageData, SceneData
from tfsep.train._backbone_start import BackboneStart
from tfsep.train._config import TrainConfig
from tfsep.train._model_setup import build_model
from tfsep.train._run import TrainingJob, TrainResult, require_data, run_training
from tfsep.train._scene_config import SceneConfig
from tfsep.train._scene_models import build_scene_model, scene_task
from tfsep.train._start import Start, rates_of
from tfsep.train._strategy import Devices
from tfsep.train._tasks import Classification


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
            `dropout` are its own. For a `SceneConfig` a network whose layers the backbone begins with: those that both
            have, by name and shapes. None for a new network.
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
    if isinstance(config, SceneConfig):
        job = _scene_job(config, require_data(data, SceneData), start)
    elif start is not None:
        job = _started(config, require_data(data, ImageData), start)
    else:
        if config.freeze or config.stage_rate != 1:
            raise ValueError("freeze, stage_rate: expected 0 and 1 without a start, got others")
        images, task = require_data(data, ImageData), Classification()
        evaluated = build_model(config, images)
        job = TrainingJob(
            lambda precision: build_model(config, images, precision),
            evaluated,
            task.finish(evaluated),
            task,
            warm_statistics=True,
        )
    return run_training(job, config, data, folder, resume, devices)


def _scene_job(config: SceneConfig, data: SceneData, start: Model | str | PathLike[str] | None) -> TrainingJob:
    """The job of a segmentation network or a detector."""
    begun, task = None if start is None else BackboneStart(start), scene_task(config, data)

    def build(precision: str) -> Model:
        model = build_scene_model(config, data, precision)
        return model if begun is None else begun.copy_to(model)

    evaluated = build("float32")
    identity = {} if begun is None else begun.identity()
    return TrainingJob(build, evaluated, task.finish(evaluated), task, identity=identity, warm_statistics=True)


def _started(config: TrainConfig, data: ImageData, start: Model | str | PathLike[str]) -> TrainingJob:
    """The job of a classifier that begins with another one's weights."""
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
