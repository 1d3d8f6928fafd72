"""Settings of training a segmentation network or a detector."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

from tfsep._utils.arguments import number_in_range, one_of, positive_int, positive_ints, short_repr
from tfsep.losses import MINING
from tfsep.train._config import AUTO, FitConfig, TrainConfig

TASKS = ("classification", "segmentation", "detection")
"""What networks are trained to do."""

CLASSIFICATION, SEGMENTATION, DETECTION = TASKS

SCENE_BATCH = 32
"""Scenes in a step, which have ten times the pixels of Fashion-MNIST's images."""

_OF_IMAGES = ("label_smoothing", "mixup", "flip", "shift", "erase")
"""Settings of labelled images alone: scenes are composed anew in each epoch, garments mirrored and moved."""


class HeadKind(NamedTuple):
    """A kind of head.

    Attributes:
        task: what it does.
        strides: total strides of the maps that it takes where none are given.
    """

    task: str
    strides: tuple[int, ...]


HEADS = {
    "deeplab_v3": HeadKind(SEGMENTATION, (4,)),
    "lraspp": HeadKind(SEGMENTATION, (4, 8)),
    "ssdlite": HeadKind(DETECTION, (4, 8)),
}
"""The heads; the first of a task is its default."""


@dataclass(frozen=True)
class SceneConfig(TrainConfig):
    """Settings of training a segmentation network or a detector on scenes.

    Each epoch has new scenes, whose garments are mirrored, scaled and moved already, so that images are not augmented.

    Attributes:
        epochs: number of passes; each is over as many new scenes as the data set has to train on.
        batch_size: scenes in a step, of all workers together; ``"auto"`` for as many as fit, 128 at most.
        accumulate: number of parts of a batch that are computed one after the other, to save memory.
        optimizer: ``"adamw"`` or ``"sgd"``.
        learning_rate: peak of the schedule: linear over the epochs of warm-up, then half a cosine down to 0.
        warmup_epochs: epochs of the warm-up; None for 2, or fewer of a short run.
        momentum: of SGD.
        weight_decay: decoupled from the gradient; of kernels alone.
        label_smoothing: for classification; 0 here.
        mixup: for classification; 0 here.
        flip: for classification; False here.
        shift: for classification; 0 here.
        erase: for classification; 0 here.
        average: decay, at each step, of the average of the weights that is scored and saved; 0 for none.
        patience: epochs without a better held-out score, after which the run ends; 0 for none. The best epoch's
            weights are kept.
        validation: number of held-out scenes that score each epoch, of those that the data set holds out.
        seed: seed of all random numbers but the scenes', which are the data set's.
        xla: whether XLA compiles the step: ``"on"``, ``"off"``, or ``"auto"``: on a GPU.
        augmentation: where pixels are prepared: on the ``"host"``, on the ``"device"``, or ``"auto"``.
        network: the backbone, a key of `tfsep.defs.NETWORKS`.
        alpha: width multiplier of the backbone.
        dropout: share of the features that training drops before the classifier of ``"deeplab_v3"``; 0 for others.
        batch_norm_decay: momentum of the moving statistics, of backbone and head.
        sync_batch_norm: whether replicas normalize by the statistics of all.
        freeze: for classification; 0 here.
        stage_rate: for classification; 1 here.
        precision: ``"float32"``, ``"mixed_bfloat16"``, ``"mixed_float16"``, or ``"auto"``: by the device.
        task: ``"segmentation"`` or ``"detection"``.
        head: ``"deeplab_v3"`` or ``"lraspp"`` for segmentation, ``"ssdlite"`` for detection; ``"auto"``
            for the first.
        strides: total strides of the network's maps that the head takes, ascending: of ``"deeplab_v3"`` 4, if it has a
            decoder, and that of the deep map, of ``"lraspp"`` those of the finer and of the deep map, of ``"ssdlite"``
            one for each grid of anchors. None given: those that the head is made for.
        filters: channels of the head of segmentation.
        rates: rates of the dilated branches of ``"deeplab_v3"``.
        scales: scale of the anchors of the first and of the last grid, as shares of the image.
        mining: ``"focal"`` or ``"hard_negatives"``, see `tfsep.losses.ClassLoss`.
        box_weight: weight of the loss of boxes, beside 1 for that of classes.

    Raises:
        ValueError: for a field of another type or out of range, or one that has no meaning for the task; the message
            names it.

    Examples:
        >>> SceneConfig(task="detection").head
        'ssdlite'
        >>> SceneConfig(task="detection", mixup=0.2)
        Traceback (most recent call last):
        ValueError: mixup: expected 0.0 for detection, whose images are new in each epoch, got 0.2
    """

    epochs: int = 40
    batch_size: int | str = SCENE_BATCH
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.0
    flip: bool = False
    shift: int = 0
    erase: float = 0.0
    validation: int | float | str = 1000
    network: str = "fashion_scenes"
    dropout: float = 0.0
    task: str = SEGMENTATION
    head: str = AUTO
    strides: tuple[int, ...] = ()
    filters: int = 64
    rates: tuple[int, ...] = (2, 4)
    scales: tuple[float, float] = (0.2, 0.45)
    mining: str = "focal"
    box_weight: float = 1.0

    _tasks: ClassVar[tuple[str, ...]] = (SEGMENTATION, DETECTION)

    def __post_init__(self) -> None:
        """Convert every field to its type, and check its range."""
        super().__post_init__()
        require_no_augmentation(self, self.task)
        heads = tuple(name for name, kind in HEADS.items() if kind.task == self.task)
        self._set("head", heads[0] if self.head == AUTO else self.head)
        self._require_one_of("head", heads)
        self._set("strides", self._checked_strides())
        self._set("filters", positive_int(self.filters, "filters"))
        self._set("rates", tuple(positive_ints(self.rates, "rates", (2, 4))))
        self._set("scales", self._checked_scales())
        self._require_one_of("mining", MINING)
        self._set_number("box_weight", float, 0, 1000)
        for name, neutral in (("freeze", 0), ("stage_rate", 1)):
            if getattr(self, name) != neutral:
                raise ValueError(f"{name}: expected {neutral} for {self.task}, got {getattr(self, name)!r}")
        if self.dropout and self.head != "deeplab_v3":
            raise ValueError(f"dropout: expected 0 for {self.head}, which has no features to drop, got {self.dropout}")

    def _checked_strides(self) -> tuple[int, ...]:
        """The strides, ascending, as many as the head takes."""
        usual = HEADS[self.head].strides
        strides = tuple(positive_ints(self.strides or usual, "strides", usual))
        if list(strides) != sorted(set(strides)):
            raise ValueError(f"strides: expected them ascending, such as {usual}, got {strides}")
        if self.head == "lraspp" and len(strides) != 2:
            raise ValueError(f"strides: expected those of the finer and of the deep map for lraspp, got {strides}")
        if self.head == "deeplab_v3" and (len(strides) > 2 or strides[0] != 4) and len(strides) != 1:
            raise ValueError(
                f"strides: expected 4 and that of the deep map for deeplab_v3, or this alone, got {strides}"
            )
        return strides

    def _checked_scales(self) -> tuple[float, float]:
        """The smallest and the largest scale."""
        if not isinstance(self.scales, list | tuple) or len(self.scales) != 2:
            raise ValueError(f"scales: expected the smallest and the largest, got {short_repr(self.scales)}")
        smallest = number_in_range(self.scales[0], "scales", float, 0.001, 1)
        return smallest, number_in_range(self.scales[1], "scales", float, smallest, 1)


def config_of(settings: dict[str, Any]) -> TrainConfig:
    """Return the settings of training by name, such as those of a TOML file, for the task that ``task`` says.

    Args:
        settings: values by the name of the field, and ``task``; without it, those of classification.

    Raises:
        ValueError: for an unknown task or name, or a value of another type or out of range.

    Examples:
        >>> config_of({"task": "detection", "epochs": 3}).head
        'ssdlite'
    """
    task = one_of(settings.get("task", CLASSIFICATION), "task", TASKS)
    return (TrainConfig if task == CLASSIFICATION else SceneConfig).of(settings)


def held_out_scenes(config: FitConfig, scenes: int) -> int:
    """Return the number of held-out scenes that score each epoch: all, or as many of them as the settings say.

    Args:
        config: the settings.
        scenes: number of scenes that the data set holds out.
    """
    return scenes if config.validation == AUTO else min(scenes, config.held_out_of(scenes))


def require_no_augmentation(config: FitConfig, task: str) -> None:
    """Raise a ValueError if a setting of labelled images alone has another value than the record's own.

    Args:
        config: the settings.
        task: the task, for the message.
    """
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in _OF_IMAGES and value != field.default:
            raise ValueError(
                f"{field.name}: expected {field.default} for {task}, whose images are new in each epoch, got {value}"
            )
