"""Fine-tuning a trained model with fake quantization."""

import hashlib
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from tfsep import quantize
from tfsep._keras.types import Model
from tfsep.data import ImageData
from tfsep.train._config import FitConfig
from tfsep.train._run import TrainingJob, TrainResult, require_data, run_training


@dataclass(frozen=True)
class QuantizeConfig(FitConfig):
    """Settings of fine-tuning a trained model for int8, beside those of `FitConfig`.

    By default the int8 model learns to reproduce the float model's probabilities, and the epoch with the best held-out
    accuracy is kept.

    Attributes:
        runtime: kernels whose arithmetic the model reproduces, see `tfsep.quantize.Config`.
        ranges: how the ranges of activations follow the data, see `tfsep.quantize.Config`.
        float_layers: names of layers that are not quantized, see `tfsep.quantize.Config`.
        distill: share of each label that the float model's own probabilities replace.
        observe: number of training images by which the ranges are initialized.
        freeze_epoch: number of epochs after which batch normalizations use their moving statistics.

    Raises:
        ValueError: for a field of another type or out of range; the message names it.
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
        """Convert every field to its type, and check its range."""
        super().__post_init__()
        self._set("float_layers", self.quantization.float_layers)
        self._set_number("distill", float, 0, 1)
        self._set_number("observe", int, 1)
        self._set_number("freeze_epoch", int, 0)

    @property
    def quantization(self) -> quantize.Config:
        """The settings of `tfsep.quantize.prepare`."""
        return quantize.Config(self.runtime, self.ranges, float_layers=self.float_layers)


def finetune(
    model: Model,
    config: QuantizeConfig,
    data: ImageData,
    folder: str | PathLike[str],
    *,
    resume: bool = False,
) -> TrainResult:
    """Fine-tune a trained model with fake quantization, and save it, prepared for int8, in `folder`.

    Args:
        model: a float model from prepared images to probabilities, such as one of `tfsep.train.train`.
        config: the settings.
        data: the data set; its test split is used once, at the end.
        folder: folder of the run, created if missing; its files are those of `tfsep.train.train`.
        resume: whether to continue from the folder's checkpoint; model, settings and data must be the same as before.

    Returns:
        The prepared model, which `tfsep.tflite.export` exports, and its accuracies, which are those of its int8 file.

    Raises:
        TypeError: if an argument has another type.
        ValueError: if the model cannot be prepared, or is for other images or classes; if the folder holds a run and
            `resume` is not set; if the run to resume is damaged, or has another model, other settings or data; if there
            are fewer training images than a batch.
        FileNotFoundError: if `resume` is set and the folder holds no run.
        OSError: if the folder cannot be created or written to.

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
    _require_matching_data(model, data)

    def training_model() -> Model:
        prepared = quantize.prepare(model, config.quantization)
        observed = data.train.take(0, config.observe)
        quantize.observe(prepared, np.asarray(observed.preprocessing(observed.images())))
        return quantize.logits_of(prepared)

    job = TrainingJob(
        training_model,
        quantize.logits_of(finished),
        finished,
        teacher=model if config.distill else None,
        distill=config.distill,
        on_epoch_begin=lambda prepared, epoch: quantize.freeze_batch_norm(prepared, epoch >= config.freeze_epoch),
        identity={"model_sha256": _fingerprint(model)},
    )
    return run_training(job, config, data, folder, resume)


def _require_matching_data(model: Model, data: ImageData) -> None:
    """Raise unless the model takes images and returns classes as the data set has them."""
    wanted = (None, *data.image_shape), (None, len(data.class_names))
    got = tuple(tuple(part[0].shape) if len(part) == 1 else part for part in (model.inputs, model.outputs))
    if not all(
        len(a) == len(b) and all(n in (None, m) for m, n in zip(a, b, strict=True))
        for a, b in zip(wanted, got, strict=True)
    ):
        raise ValueError(
            f"model: expected one from {wanted[0]} to {wanted[1]}, as the data are, got {got[0]} to {got[1]}"
        )


def _fingerprint(model: Model) -> str:
    """A hash of all weights."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
