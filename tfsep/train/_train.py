"""Training from definitions."""

from os import PathLike

from tfsep.data import ImageData
from tfsep.train._config import TrainConfig
from tfsep.train._model_setup import build, with_softmax
from tfsep.train._run import Job, TrainResult, require_data, run
from tfsep.train._strategy import Devices


def train(
    config: TrainConfig,
    data: ImageData,
    folder: str | PathLike[str],
    *,
    resume: bool = False,
    devices: Devices | None = None,
) -> TrainResult:
    """Train a network and leave it in `folder`.

    Args:
        config: the recipe.
        data: what to train on; its test split is looked at once, when training is over.
        folder: made if need be; gets ``model.keras`` (probabilities), ``checkpoint.npz`` (after every epoch, with the
            optimizer), ``log.jsonl`` (one JSON object an epoch), ``curves.png``, ``config.json``, ``data.json``, by
            which a resumed run knows its data, and ``model.json``, how images are prepared for the model. Nothing is
            written before every image has been read.
        resume: go on from the folder's checkpoint, whose config and data must be these.
        devices: what to compute on, from `join`; None for the strategy that is in scope. All workers are told the same.
            The chief alone writes to the folder; a resumed run is read by all, so they all have to see it. Each
            replica normalizes by the statistics of its own share of a batch, unless the config says otherwise.

    Returns:
        The trained model and its test accuracy.

    Raises:
        ValueError: if the folder holds a run and `resume` is not set, if it holds a damaged one or one of another
            config or other data, if an image cannot be decoded, if there are fewer training images than a batch, or
            `validation` leaves none; if a batch cannot be shared among the devices, or the workers were told
            different things.
        TypeError: if `config`, `data` or `folder` is something else.
        FileNotFoundError: if `resume` is set and there is nothing to go on from.
        OSError: if the folder cannot be made or written to.

    Examples:
        >>> from tfsep.data import fashion_mnist
        >>> train(TrainConfig(), fashion_mnist(), "runs/a", resume=True)  # doctest: +SKIP
    """
    if not isinstance(config, TrainConfig):
        raise TypeError(f"config: expected a TrainConfig, got {config!r}")
    require_data(data)
    kept = build(config, data, "float32")
    return run(Job(lambda: build(config, data), kept, with_softmax(kept)), config, data, folder, resume, devices)
