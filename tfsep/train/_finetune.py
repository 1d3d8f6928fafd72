"""Fine-tuning a trained model with fake quantization."""

import hashlib
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from tfsep import quantize
from tfsep.data import ImageData
from tfsep.train._config import FitConfig
from tfsep.train._run import Job, TrainResult, require_data, run


@dataclass(frozen=True)
class QuantizeConfig(FitConfig):
    """How a trained model is fine-tuned for int8; `FitConfig` has the rest.

    By the defaults the int8 model learns to say what the float one says, and the best epoch by the held-out images is
    kept.

    Attributes:
        runtime, ranges, float_layers: as in `tfsep.quantize.Config`.
        distill: share of each label that the float model's own probabilities take the place of.
        observe: how many training images the first ranges are taken from.
        freeze_epoch: epochs after which normalizations go by their moving statistics.

    Raises:
        ValueError: naming the field that is of another type or out of range.
    """

    epochs: int = 3
    learning_rate: float = 1e-4
    warmup_epochs: Any = 0
    weight_decay: float = 0.0
    erase: float = 0.0
    average: float = 0.99
    patience: int = 3
    runtime: str = "xnnpack"
    ranges: str = "moving"
    float_layers: tuple[str, ...] = ()
    distill: float = 1.0
    observe: int = 500
    freeze_epoch: int = 1

    def __post_init__(self) -> None:
        """Bring every field to its type and refuse nonsense, when the record is made."""
        super().__post_init__()
        self._settle("float_layers", self.quantization.float_layers)
        self._number("distill", float, 0, 1)
        self._number("observe", int, 1)
        self._number("freeze_epoch", int, 0)

    @property
    def quantization(self) -> quantize.Config:
        """What `tfsep.quantize.prepare` is told."""
        return quantize.Config(self.runtime, self.ranges, float_layers=self.float_layers)


def finetune(
    model: Any,
    config: QuantizeConfig,
    data: ImageData,
    folder: str | PathLike[str],
    *,
    resume: bool = False,
) -> TrainResult:
    """Train a model on with fake quantization and leave it, prepared, in `folder`; `tfsep.tflite.export` exports it.

    Args:
        model: a float model from images in [-1, 1] to probabilities, as `tfsep.train.train` makes it.
        config: the recipe.
        data: what to train on; its test split is looked at once, at the end.
        folder, resume: as in `tfsep.train.train`.

    Returns:
        The prepared model, and its accuracies: what its int8 file has.

    Raises:
        TypeError: if an argument is something else.
        ValueError: as `tfsep.quantize.prepare` and `tfsep.train.train`; if the model is for other images or classes; if
            the run in the folder is one of another model.
        FileNotFoundError, OSError: as `tfsep.train.train`.

    Examples:
        >>> from tfsep.data import fashion_mnist
        >>> from tfsep.models import load_model
        >>> model = load_model("runs/a/model.keras")  # doctest: +SKIP
        >>> finetune(model, QuantizeConfig(), fashion_mnist(), "runs/a_int8")  # doctest: +SKIP
    """
    if not isinstance(config, QuantizeConfig):
        raise TypeError(f"config: expected a QuantizeConfig, got {config!r}")
    require_data(data)
    finished = quantize.prepare(model, config.quantization)
    _require_fit(model, data)

    def training() -> Any:
        prepared = quantize.prepare(model, config.quantization)
        seen = data.train.take(0, config.observe)
        quantize.observe(prepared, np.asarray(seen.preprocessing(seen.images())))
        return quantize.logits_of(prepared)

    job = Job(
        training,
        quantize.logits_of(finished),
        finished,
        teacher=model if config.distill else None,
        distill=config.distill,
        each_epoch=lambda prepared, epoch: quantize.freeze_batch_norm(prepared, epoch >= config.freeze_epoch),
        identity={"model_sha256": _fingerprint(model)},
    )
    return run(job, config, data, folder, resume)


def _require_fit(model: Any, data: ImageData) -> None:
    """Raise unless the model takes these images, and tells these classes apart."""
    wanted = (None, *data.image_shape), (None, len(data.class_names))
    got = tuple(tuple(part[0].shape) if len(part) == 1 else part for part in (model.inputs, model.outputs))
    if not all(
        len(a) == len(b) and all(n in (None, m) for m, n in zip(a, b, strict=True))
        for a, b in zip(wanted, got, strict=True)
    ):
        raise ValueError(
            f"model: expected one from {wanted[0]} to {wanted[1]}, as the data are, got {got[0]} to {got[1]}"
        )


def _fingerprint(model: Any) -> str:
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
