"""Fine-tuning a trained model with fake quantization."""

import hashlib
from dataclasses import dataclass
from os import PathLike

import numpy as np

from tfsep import quantize
from tfsep._keras.types import Model
from tfsep.data import ImageData
from tfsep.train._config import FitConfig
from tfsep.train._run import TrainingJob, TrainResult, require_data, run_training


@dataclass(frozen=True)
class QuantizeConfig(FitConfig):
    """Settings of fine-tuning a trained model for int8.

    By default the int8 model learns to reproduce the float model's probabilities, and the epoch with the best held-out
    accuracy is kept.

    Attributes:
        epochs: passes over the training images; a few suffice.
        batch_size: images in a step of the optimizer, of all workers together; ``"auto"`` for 128, halved until a step
            fits in the device's memory.
        accumulate: number of parts into which a step's batch is split, computed one after the other to save memory;
            each is normalized by its own statistics.
        optimizer: ``"adamw"``, or ``"sgd"`` with Nesterov momentum.
        learning_rate: peak of the schedule, low because the weights are trained: a linear warm-up over `warmup_epochs`,
            then half a cosine down to 0.
        warmup_epochs: length of the warm-up, by default 0; None for 2, or fewer if `epochs` is 2 or less.
        momentum: momentum of SGD, in [0, 0.9999].
        weight_decay: decoupled from the gradient (arXiv 1711.05101), by default 0; not applied to biases and
            normalizations.
        label_smoothing: share of each label that is spread over all classes (arXiv 1512.00567, section 7).
        mixup: alpha of the Beta distribution from which the shares of two mixed images are drawn (arXiv 1710.09412);
            0 for no mixup.
        flip: whether images are mirrored at random.
        shift: largest number of pixels by which images are moved at random, in each direction.
        erase: share of the images in which a random rectangle is erased (arXiv 1708.04896), by default 0.
        average: decay, at each step, of the moving average of all weights, which is evaluated and saved; lower than in
            training from scratch, because there are fewer steps; 0 for none.
        patience: number of epochs without a better held-out accuracy after which the run ends with its best epoch's
            weights; 0 runs to the end and keeps the last weights.
        validation: number of training images held out for the accuracy of each epoch; the test split is not used.
        seed: seed of all random numbers, in [0, 2**32 - 1].
        xla: whether XLA compiles the step: ``"on"``, ``"off"``, or ``"auto"``: on a GPU, as Keras's `fit` does.
        augmentation: where images are augmented: on the ``"host"``, in the input pipeline; on the ``"device"``, within
            the step; or ``"auto"``: within a step that is compiled for a GPU.
        runtime: kernels whose arithmetic the model reproduces: ``"xnnpack"``, LiteRT's default on CPUs, or
            ``"reference"``, the fixed-point kernels of TensorFlow Lite for Microcontrollers.
        ranges: ranges of activations: ``"moving"`` averages of each batch's minimum and maximum, or ``"learned"``,
            which the optimizer trains with the weights.
        float_layers: names of layers, composite layers or nested models that stay in float32.
        unsupported: what becomes of a layer without an integer kernel: ``"float"``, float32, or ``"error"``.
        distill: share of each label that the float model's own probabilities replace.
        observe: number of training images by which the ranges are initialized.
        freeze_epoch: number of epochs after which batch normalizations use their moving statistics.

    Raises:
        ValueError: for a field of another type or out of range; the message names it.
    """

    epochs: int = 3
    learning_rate: float = 1e-4
    warmup_epochs: int | None = 0
    weight_decay: float = 0.0
    erase: float = 0.0
    average: float = 0.99
    patience: int = 3
    runtime: str = "xnnpack"
    ranges: str = "moving"
    float_layers: tuple[str, ...] = ()
    unsupported: str = "float"
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
        return quantize.Config(self.runtime, self.ranges, float_layers=self.float_layers, unsupported=self.unsupported)


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
    require_data(data, ImageData)
    finished = quantize.prepare(model, config.quantization)
    _require_matching_data(model, data)

    def training_model(_: str) -> Model:
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
