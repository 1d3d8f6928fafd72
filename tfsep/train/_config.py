"""Settings of training, as records that check their fields, and as TOML."""

import json
import re
import tomllib
from dataclasses import asdict, dataclass, fields
from os import PathLike
from typing import Any, ClassVar, Self

from tfsep._utils.arguments import as_found, as_path, number_in_range, one_of, positive_int, short_repr
from tfsep.defs import NETWORKS

OPTIMIZERS = ("adamw", "sgd")
PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
XLA = ("auto", "on", "off")
AUGMENTATION = ("auto", "host", "device")
AUTO = "auto"
"""The value of settings that are chosen by the device or the data: `xla`, `augmentation`, `precision`, `batch_size` and
`validation`."""

_HELD_OUT_SHARE, _MOST_HELD_OUT = 0.1, 5000
"""Images that ``validation="auto"`` holds out: this share of them, and no more than so many."""


@dataclass(frozen=True)
class FitConfig:
    """Settings of any training: length, optimizer, augmentation, averaging and early stopping.

    Attributes:
        epochs: passes over the training images.
        batch_size: images in a step of the optimizer, of all workers together; ``"auto"`` for 128, fewer where an epoch
            would have fewer than 10 steps, and halved until a step fits in the device's memory.
        accumulate: number of parts into which a step's batch is split, computed one after the other to save memory;
            each is normalized by its own statistics.
        optimizer: ``"adamw"``, or ``"sgd"`` with Nesterov momentum.
        learning_rate: peak of the schedule, a linear warm-up over `warmup_epochs`, then half a cosine down to 0.
        warmup_epochs: length of the warm-up; None for 2, or fewer if `epochs` is 2 or less.
        momentum: momentum of SGD, in [0, 0.9999].
        weight_decay: decoupled from the gradient (arXiv 1711.05101); not applied to biases and normalizations.
        label_smoothing: share of each label that is spread over all classes (arXiv 1512.00567, section 7).
        mixup: alpha of the Beta distribution from which the shares of two mixed images are drawn (arXiv 1710.09412);
            0 for no mixup.
        flip: whether images are mirrored at random.
        shift: largest number of pixels by which images are moved at random, in each direction.
        erase: share of the images in which a random rectangle is erased (arXiv 1708.04896).
        average: decay, at each step, of the moving average of all weights, which is evaluated and saved; 0 for none.
        patience: number of epochs without a better held-out accuracy after which the run ends; 0 runs to the end. The
            best epoch's weights are kept, or, where no images are held out, the last.
        validation: number of training images held out for the accuracy of each epoch, or their share, between 0 and 1;
            ``"auto"`` for a tenth, at most 5000. The test split is not used.
        seed: seed of all random numbers, in [0, 2**32 - 1].
        xla: whether XLA compiles the step: ``"on"``, ``"off"``, or ``"auto"``: on a GPU, as Keras's `fit` does.
        augmentation: where images are augmented: on the ``"host"``, in the input pipeline; on the ``"device"``, within
            the step; or ``"auto"``: within a step that is compiled for a GPU.

    Raises:
        ValueError: for a field of another type or out of range; the message names it.
    """

    epochs: int = 30
    batch_size: int | str = AUTO
    accumulate: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 3e-3
    warmup_epochs: int | None = None
    momentum: float = 0.9
    weight_decay: float = 0.1
    label_smoothing: float = 0.05
    mixup: float = 0.0
    flip: bool = True
    shift: int = 2
    erase: float = 0.2
    average: float = 0.999
    patience: int = 0
    validation: int | float | str = AUTO
    seed: int = 0
    xla: str = AUTO
    augmentation: str = AUTO

    def __post_init__(self) -> None:
        """Convert every field to its type, and check its range."""
        for name in ("epochs", "batch_size", "accumulate"):
            if (name, getattr(self, name)) != ("batch_size", AUTO):
                self._set(name, positive_int(getattr(self, name), name))
        if self.warmup_epochs is None:
            self._set("warmup_epochs", min(2, self.epochs - 1))
        if self.batch_size != AUTO and self.images_per_step % self.accumulate:
            raise ValueError(f"accumulate: expected a divisor of batch_size {self.batch_size}, got {self.accumulate}")
        self._require_one_of("optimizer", OPTIMIZERS)
        self._require_one_of("xla", XLA)
        self._require_one_of("augmentation", AUGMENTATION)
        self._require_bool("flip")
        for name, kind, *ends in (
            ("learning_rate", float, 0, 10),
            ("warmup_epochs", int, 0, self.epochs),
            ("momentum", float, 0, 0.9999),
            ("weight_decay", float, 0, 1),
            ("label_smoothing", float, 0, 0.99),
            ("mixup", float, 0, 100),
            ("shift", int, 0, 1000),
            ("erase", float, 0, 1),
            ("average", float, 0, 0.99999),
            ("patience", int, 0),
            ("seed", int, 0, 2**32 - 1),
        ):
            self._set_number(name, kind, *ends)
        self._require_positive("learning_rate")
        if self.validation != AUTO and not (isinstance(self.validation, float) and 0 < self.validation < 1):
            self._set_number("validation", int, 0)
        if self.patience and not self.validation:
            raise ValueError(f"patience: expected 0 where no images are held out, got {self.patience}")

    def held_out_of(self, images: int) -> int:
        """Return the number of images that are held out.

        Args:
            images: number of training images.

        Examples:
            >>> [FitConfig(validation=given).held_out_of(200) for given in ("auto", 0.25, 30)]
            [20, 50, 30]
        """
        if isinstance(self.validation, int):
            return self.validation
        if isinstance(self.validation, float):
            return max(1, round(self.validation * images))
        return min(_MOST_HELD_OUT, max(1, round(_HELD_OUT_SHARE * images)))

    @property
    def images_per_step(self) -> int:
        """`batch_size` as a number, once one is chosen.

        Raises:
            ValueError: if it is ``"auto"``.
        """
        if not isinstance(self.batch_size, int):
            raise ValueError(f"batch_size: expected a positive int, got {self.batch_size!r}")
        return self.batch_size

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Self:
        """Return the record of settings by name, such as those of a TOML file.

        Args:
            settings: values by the name of the field, of a list of names a single one too; the others keep their
                defaults.

        Raises:
            ValueError: for an unknown name, or a value of another type or out of range.

        Examples:
            >>> TrainConfig.of({"epoch": 3})
            Traceback (most recent call last):
            ValueError: config: expected settings of TrainConfig, got 'epoch'
        """
        unknown = sorted(settings.keys() - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"config: expected settings of {cls.__name__}, got {', '.join(map(repr, unknown))}")
        lists = {field.name for field in fields(cls) if isinstance(field.default, tuple)}
        settings = {
            name: (value,) if name in lists and isinstance(value, str) else value for name, value in settings.items()
        }
        try:
            return cls(**settings)
        except ValueError as error:
            # One by one, for all that are wrong by themselves.
            wrong = list(filter(None, (cls._problem(name, value, settings) for name, value in settings.items())))
            if len(wrong) < 2:
                raise
            raise ValueError("; ".join(wrong)) from error

    @classmethod
    def _problem(cls, name: str, value: Any, settings: dict[str, Any]) -> str:
        """What is wrong with a setting by itself; empty where nothing is."""
        task = {"task": settings["task"]} if "task" in settings else {}
        try:
            cls(**{**task, name: value})
        except ValueError as error:
            return str(error)
        return ""

    def _set(self, name: str, value: Any) -> None:
        """Set a field in `__post_init__`: the record is frozen."""
        object.__setattr__(self, name, value)

    def _set_number(self, name: str, kind: type, *ends: float) -> None:
        self._set(name, number_in_range(getattr(self, name), name, kind, *ends))

    def _require_positive(self, name: str) -> None:
        if getattr(self, name) == 0:
            raise ValueError(f"{name}: expected a number greater than zero, got {getattr(self, name)!r}")

    def _require_one_of(self, name: str, allowed: tuple[str, ...]) -> None:
        one_of(getattr(self, name), name, allowed)

    def _require_bool(self, name: str) -> None:
        if not isinstance(getattr(self, name), bool):
            raise ValueError(f"{name}: expected True or False, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class TrainConfig(FitConfig):
    """Settings of training a network from its definitions.

    Attributes:
        epochs: passes over the training images.
        batch_size: images in a step of the optimizer, of all workers together; ``"auto"`` for 128, fewer where an epoch
            would have fewer than 10 steps, and halved until a step fits in the device's memory.
        accumulate: number of parts into which a step's batch is split, computed one after the other to save memory;
            each is normalized by its own statistics.
        optimizer: ``"adamw"``, or ``"sgd"`` with Nesterov momentum.
        learning_rate: peak of the schedule, a linear warm-up over `warmup_epochs`, then half a cosine down to 0.
        warmup_epochs: length of the warm-up; None for 2, or fewer if `epochs` is 2 or less.
        momentum: momentum of SGD, in [0, 0.9999].
        weight_decay: decoupled from the gradient (arXiv 1711.05101); not applied to biases and normalizations.
        label_smoothing: share of each label that is spread over all classes (arXiv 1512.00567, section 7).
        mixup: alpha of the Beta distribution from which the shares of two mixed images are drawn (arXiv 1710.09412);
            0 for no mixup.
        flip: whether images are mirrored at random.
        shift: largest number of pixels by which images are moved at random, in each direction.
        erase: share of the images in which a random rectangle is erased (arXiv 1708.04896).
        average: decay, at each step, of the moving average of all weights, which is evaluated and saved; 0 for none.
        patience: number of epochs without a better held-out accuracy after which the run ends; 0 runs to the end. The
            best epoch's weights are kept, or, where no images are held out, the last.
        validation: number of training images held out for the accuracy of each epoch, or their share, between 0 and 1;
            ``"auto"`` for a tenth, at most 5000. The test split is not used.
        seed: seed of all random numbers, in [0, 2**32 - 1].
        xla: whether XLA compiles the step: ``"on"``, ``"off"``, or ``"auto"``: on a GPU, as Keras's `fit` does.
        augmentation: where images are augmented: on the ``"host"``, in the input pipeline; on the ``"device"``, within
            the step; or ``"auto"``: within a step that is compiled for a GPU.
        task: ``"classification"``; `SceneConfig` has the settings of other tasks.
        network: a key of `tfsep.defs.NETWORKS`.
        alpha: width multiplier.
        dropout: share of the features that training drops before the classifier.
        batch_norm_decay: momentum of the moving statistics.
        sync_batch_norm: whether replicas normalize by the statistics of all, in place of their own.
        freeze: number of stages, from the image on, that stay as they are in a run with a start: 1 for what is at the
            size of the image and at half of it; ``"all"`` leaves the new head alone to learn.
        stage_rate: factor of the learning rate of each stage against the one behind it, in a run with a start.
        precision: ``"float32"``; ``"mixed_bfloat16"`` or ``"mixed_float16"``, which compute in 16 bits and keep weights
            in float32, float16 with a scaled loss; or ``"auto"``: by the device.

    Raises:
        ValueError: for a field of another type or out of range; the message names it.
    """

    task: str = "classification"
    network: str = "fashion_mnist"
    alpha: float = 1.0
    dropout: float = 0.1
    batch_norm_decay: float = 0.99
    sync_batch_norm: bool = False
    freeze: int | str = 0
    stage_rate: float = 1.0
    precision: str = "float32"

    _tasks: ClassVar[tuple[str, ...]] = ("classification",)

    def __post_init__(self) -> None:
        """Convert every field to its type, and check its range."""
        super().__post_init__()
        self._require_one_of("task", self._tasks)
        if not isinstance(self.network, str):
            raise ValueError(f"network: expected one of {', '.join(NETWORKS)}, got {self.network!r}")
        self._require_one_of("network", tuple(NETWORKS))
        self._require_one_of("precision", PRECISIONS)
        self._require_bool("sync_batch_norm")
        for name, *ends in (("alpha", 0, 100), ("dropout", 0, 0.99), ("batch_norm_decay", 0, 1)):
            self._set_number(name, float, *ends)
        self._require_positive("alpha")
        if self.freeze != "all":
            if isinstance(self.freeze, str):
                raise ValueError(f"freeze: expected a number of stages or 'all', got {self.freeze!r}")
            self._set_number("freeze", int, 0)
        self._set_number("stage_rate", float, 0, 1)
        self._require_positive("stage_rate")


def read_config(path: str | PathLike[str]) -> dict[str, Any]:
    """Return the settings in a file, by name, for `TrainConfig.of` or `QuantizeConfig.of`.

    Args:
        path: path of a TOML file, or of a ``.json`` file with an object, such as the ``config.json`` of a run.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no TOML, or no JSON object.

    Examples:
        >>> read_config("none.toml")
        Traceback (most recent call last):
        FileNotFoundError: config: expected a TOML file, got none.toml, which does not exist
    """
    path = as_path(path, "config")
    if not path.is_file():
        raise FileNotFoundError(f"config: expected a TOML file, got {as_found(path)}")
    try:
        text = path.read_text(encoding="utf-8")
        settings = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:  # of either form, or of the text
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ValueError(f"config: expected {kind}, got {path} ({error})") from error
    if not isinstance(settings, dict):
        raise ValueError(f"config: expected a JSON object, got {short_repr(settings)} in {path}")
    return settings


def parse_setting(text: str) -> tuple[str, Any]:
    """Return name and value of a setting as it is given on a command line.

    Args:
        text: ``NAME=VALUE``, with a value in TOML, a bare word, or several of these with commas, for a list.

    Raises:
        ValueError: for another form.

    Examples:
        >>> parse_setting("mixup=0.2"), parse_setting("optimizer=sgd"), parse_setting("float_layers=conv_1,head/dense")
        (('mixup', 0.2), ('optimizer', 'sgd'), ('float_layers', ['conv_1', 'head/dense']))
    """
    name, equals, value = text.partition("=")
    try:
        if not equals or not name.isidentifier():
            raise ValueError
        if "," in value and not value.lstrip().startswith(("[", "{", '"', "'")):
            return name, [_parse_value(each.strip()) for each in value.split(",")]
        return name, _parse_value(value)
    except ValueError:
        raise ValueError(f"set: expected NAME=VALUE, such as mixup=0.2, got {text!r}") from None


_BARE = re.compile(r"[A-Za-z_][\w./-]*")
"""Names of layers, too, which no TOML value looks like but these."""
_WORDS_OF_TOML = "true", "false", "inf", "nan"


def _parse_value(text: str) -> Any:
    """A value in TOML, or a bare word."""
    return text if _BARE.fullmatch(text) and text not in _WORDS_OF_TOML else tomllib.loads(f"value = {text}")["value"]


def to_toml(config: FitConfig, comments: tuple[str, ...] = ()) -> str:
    """Return settings as TOML, for `read_config`.

    Args:
        config: the settings.
        comments: lines of comment at the beginning.

    Examples:
        >>> print(to_toml(TrainConfig(), ("How it began.",)).splitlines()[:3])
        ['# How it began.', '', 'epochs = 30']
    """
    heading = "".join(f"# {comment}".rstrip() + "\n" for comment in comments)
    return (heading and heading + "\n") + "".join(
        f"{name} = {_toml(value)}\n" for name, value in asdict(config).items() if value is not None
    )


def _toml(value: Any) -> str:
    """A value as TOML; strings are names, which need no escapes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)
