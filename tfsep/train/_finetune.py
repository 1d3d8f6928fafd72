"""Fine-tuning a trained model with fake quantization."""

from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from tfsep import quantize
from tfsep._keras.model_io import inputs_of, outputs_of
from tfsep._keras.types import Model
from tfsep._utils.arguments import short_repr
from tfsep.boxes import Decoding
from tfsep.data import ImageData, SceneData
from tfsep.data._model_preprocessing import warn_of_other_pixels
from tfsep.train._config import AUTO, FitConfig
from tfsep.train._model_setup import weights_sha256
from tfsep.train._run import TrainingJob, TrainResult, require_data, run_training
from tfsep.train._scene_config import SCENE_BATCH, require_no_augmentation
from tfsep.train._tasks import Classification, Detection, Segmentation, Task


@dataclass(frozen=True)
class QuantizeConfig(FitConfig):
    """Settings of fine-tuning a trained model for int8.

    By default the int8 model learns to reproduce the float model's probabilities, and the epoch with the best held-out
    accuracy is kept.

    Attributes:
        epochs: passes over the training images; a few suffice.
        batch_size: images in a step of the optimizer, of all workers together; ``"auto"`` for 128, fewer where an epoch
            would have fewer than 10 steps, and halved until a step fits in the device's memory.
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
        patience: number of epochs without a better held-out accuracy after which the run ends; 0 runs to the end. The
            best epoch's weights are kept, or, where no images are held out, the last.
        validation: number of training images held out for the accuracy of each epoch, or their share, between 0 and 1;
            ``"auto"`` for a tenth, at most 5000. The test split is not used.
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
    data: ImageData | SceneData,
    folder: str | PathLike[str],
    *,
    resume: bool = False,
    decoding: Decoding | None = None,
) -> TrainResult:
    """Fine-tune a trained model with fake quantization, and save it, prepared for int8, in `folder`.

    Args:
        model: a float model from prepared images to probabilities, such as one of `tfsep.train.train`; of a detector,
            to offsets and scores.
        config: the settings; on scenes, those of augmentation and labels keep their defaults, and are not used, and
            ``batch_size="auto"`` is 32.
        data: the data set, of scenes for segmentation and detection; its test split is used once, at the end.
        folder: folder of the run, created if missing; its files are those of `tfsep.train.train`.
        resume: whether to continue from the folder's checkpoint; model, settings and data must be the same as before.
        decoding: how a detector's outputs become objects; None for any other model.

    Returns:
        The prepared model, which `tfsep.tflite.export` exports, and its scores, which are those of its int8 file.

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
    task = _task(config, data, decoding)
    if isinstance(data, SceneData) and config.batch_size == AUTO:
        config = replace(config, batch_size=SCENE_BATCH)
    finished = quantize.prepare(model, config.quantization)
    warn_of_other_pixels(model, data.train.preprocessing)
    _require_matching_data(model, data, decoding)

    def training_model(_: str) -> Model:
        prepared = quantize.prepare(model, config.quantization)
        observed = data.train.take(0, config.observe)
        quantize.observe(prepared, np.asarray(observed.preprocessing(observed.images())))
        return quantize.logits_of(prepared, task.activation)

    job = TrainingJob(
        training_model,
        quantize.logits_of(finished, task.activation),
        finished,
        task,
        teacher=model if config.distill else None,
        distill=config.distill,
        on_epoch_begin=lambda prepared, epoch: quantize.freeze_batch_norm(prepared, epoch >= config.freeze_epoch),
        identity={"model_sha256": weights_sha256(model)},
    )
    return run_training(job, config, data, folder, resume)


def _task(config: QuantizeConfig, data: Any, decoding: Decoding | None) -> Task:
    """What the model was trained to do."""
    if not isinstance(data, SceneData):
        require_data(data, ImageData)
        if decoding is not None:
            raise TypeError(f"data: expected SceneData for a detector, got {short_repr(data)}")
        return Classification()
    require_no_augmentation(config, "scenes")
    return Segmentation() if decoding is None else Detection(decoding)


def _require_matching_data(model: Model, data: ImageData | SceneData, decoding: Decoding | None) -> None:
    """Raise unless the model takes images and returns classes as the data set has them."""
    classes = len(data.class_names)
    wanted: Any = None, classes
    if isinstance(data, SceneData):
        wanted = None, *data.image_shape[:2], classes + 1
    if decoding is not None:
        count = decoding.anchors.count
        wanted = {"classes": (None, count, decoding.settings.num_classes), "offsets": (None, count, 4)}
    expected = (None, *data.image_shape), wanted
    got = _shapes(inputs_of(model)), _shapes(outputs_of(model))
    if not all(map(_fits, got, expected)):
        raise ValueError(
            f"model: expected one from {expected[0]} to {expected[1]}, as the data are, got {got[0]} to {got[1]}"
        )


def _shapes(tensors: Any) -> Any:
    """The shape of a tensor, of the only one in a list, or of each of several, by name where they have names."""
    if isinstance(tensors, dict):
        return {name: _shapes(tensor) for name, tensor in tensors.items()}
    if isinstance(tensors, list | tuple):
        return _shapes(tensors[0]) if len(tensors) == 1 else list(map(_shapes, tensors))
    return tuple(tensors.shape)


def _fits(got: Any, expected: Any) -> bool:
    """Whether shapes are those expected, or leave sizes open."""
    if isinstance(expected, dict):
        return isinstance(got, dict) and got.keys() == expected.keys() and all(_fits(got[k], expected[k]) for k in got)
    return (
        isinstance(got, tuple)
        and len(got) == len(expected)
        and all(n in (None, m) for n, m in zip(got, expected, strict=True))
    )
