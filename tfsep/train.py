"""Training: one recipe as a record, and a run that can be stopped at any moment and goes on where it was.

Every epoch's batches are a pure function of the seed and the epoch, and a checkpoint is one file that holds the model,
the optimizer and with it the step, so a resumed run sees what an uninterrupted one would have seen.
"""

import json
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

from tfsep import models
from tfsep._arguments import as_path, number
from tfsep._backend import keras, tf
from tfsep._files import made_folder
from tfsep.data import ImageData, Split, write_preprocessing
from tfsep.defs import NETWORKS
from tfsep.geometry import positive

CHECKPOINT = "checkpoint.keras"
MODEL = "model.keras"
LOG = "log.jsonl"
CONFIG = "config.json"
DATA = "data.json"


@dataclass(frozen=True)
class TrainConfig:
    """What is trained, and how.

    Attributes:
        network: name of the definitions, a key of `tfsep.defs.NETWORKS`.
        alpha: width multiplier.
        epochs, batch_size: length of the run.
        learning_rate: peak of the schedule: a linear warm-up over `warmup_epochs`, then half a cosine down to 0.
        warmup_epochs: None becomes two, or as many as leave one epoch to the cosine.
        weight_decay: AdamW's, decoupled; not applied to biases and normalizations.
        label_smoothing: share of each label that is spread over all classes.
        dropout: share of the features that training drops before the classifier.
        batch_norm_decay: momentum of the moving statistics.
        flip: whether images are mirrored at random.
        shift: most pixels by which images are moved at random, each way on both axes.
        validation: how many training images, the last ones, are held out to watch the run; the test set is not used.
        seed: of everything random, in [0, 2**32 - 1].

    Raises:
        ValueError: naming the field that is of another type or out of range.
    """

    network: str = "fashion_mnist"
    alpha: float = 1.0
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 3e-3
    warmup_epochs: Any = None  # an int once the record is made
    weight_decay: float = 2e-2
    label_smoothing: float = 0.05
    dropout: float = 0.1
    batch_norm_decay: float = 0.99
    flip: bool = True
    shift: int = 2
    validation: int = 5000
    seed: int = 0

    def __post_init__(self) -> None:
        """Bring every field to its type and refuse nonsense, when the record is made."""
        if not isinstance(self.network, str) or self.network not in NETWORKS:
            raise ValueError(f"network: expected one of {', '.join(NETWORKS)}, got {self.network!r}")
        if not isinstance(self.flip, bool):
            raise ValueError(f"flip: expected True or False, got {self.flip!r}")
        for name in ("epochs", "batch_size"):
            self._settle(name, positive(getattr(self, name), name))
        if self.warmup_epochs is None:
            self._settle("warmup_epochs", min(2, self.epochs - 1))
        for name, kind, *ends in (
            ("alpha", float, 0, 100),
            ("learning_rate", float, 0, 10),
            ("weight_decay", float, 0, 1),
            ("label_smoothing", float, 0, 0.99),
            ("dropout", float, 0, 0.99),
            ("batch_norm_decay", float, 0, 1),
            ("warmup_epochs", int, 0, self.epochs),
            ("shift", int, 0, 1000),
            ("validation", int, 0),
            ("seed", int, 0, 2**32 - 1),
        ):
            self._settle(name, number(getattr(self, name), name, kind, *ends))
        for name in ("learning_rate", "alpha"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name}: expected a number greater than zero, got {getattr(self, name)!r}")

    def _settle(self, name: str, value: Any) -> None:
        """Set a field while the record is being made, which is frozen even to itself."""
        object.__setattr__(self, name, value)


def augment(image: Any, key: Any, flip: bool, shift: int) -> Any:
    """Mirror and move one uint8 image (H, W, C) at random, as `key`, two ints, says.

    Example:
        >>> augment(tf.zeros((28, 28, 1), "uint8"), (0, 1), flip=True, shift=2).shape
        TensorShape([28, 28, 1])
    """
    if flip:
        image = tf.image.stateless_random_flip_left_right(image, key)
    if shift:
        shape = image.shape
        padded = tf.pad(image, [(shift, shift), (shift, shift), (0, 0)])
        image = tf.image.stateless_random_crop(padded, shape, tf.stack(key))
    return image


def _epoch_seed(config: TrainConfig, epoch: int) -> int:
    return (config.seed * 1_000_003 + epoch) % 2**32


def _seed_dropout(model: Any, seed: int) -> None:
    """Start the dropout of an epoch anew: Keras leaves the state of its generators out of a checkpoint."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
            layer.seed_generator.state.assign([seed, 0])


def epoch_batches(split: Split, config: TrainConfig, epoch: int) -> Any:
    """Return the training batches of one epoch: shuffled, augmented and preprocessed, with integer labels.

    The same arguments give the same batches, however often and whenever they are asked for. The last, smaller batch is
    left out; the shuffle leaves out others every time.

    Example:
        >>> split = Split.of(np.zeros((5, 28, 28, 1), "uint8"), np.arange(5))
        >>> [x.shape for x, labels in epoch_batches(split, TrainConfig(batch_size=2), epoch=0)]
        [TensorShape([2, 28, 28, 1]), TensorShape([2, 28, 28, 1])]
    """
    first = epoch * split.size

    def example(position: Any, index: Any) -> tuple[Any, Any]:
        image, label = split.load(index)
        key = tf.stack([tf.cast(config.seed, "int64"), first + position])
        return augment(image, key, config.flip, config.shift), label

    order = tf.data.Dataset.range(split.size).shuffle(split.size, seed=_epoch_seed(config, epoch))
    examples = order.enumerate().map(example, num_parallel_calls=tf.data.AUTOTUNE)
    batches = examples.batch(config.batch_size, drop_remainder=True)
    return batches.map(lambda x, y: (split.preprocessing(x), y)).prefetch(tf.data.AUTOTUNE)


def build(config: TrainConfig, data: ImageData, steps_per_epoch: int) -> Any:
    """Return a fresh, compiled model from images to logits."""
    keras.utils.set_random_seed(config.seed)
    model = models.MobileNetV1(
        data.image_shape,
        len(data.class_names),
        config.alpha,
        conv_defs=NETWORKS[config.network],
        dropout=config.dropout,
        classifier_activation=None,
        arg_scope=models.mobilenet_v1_arg_scope(
            weight_decay=0.0, stddev=None, batch_norm_decay=config.batch_norm_decay
        ),
    )
    total = config.epochs * steps_per_epoch
    warmup = config.warmup_epochs * steps_per_epoch
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else config.learning_rate,
        decay_steps=max(total - warmup, 1),
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, SmoothedCrossentropy(config.label_smoothing), metrics=["accuracy"])
    return model


@keras.saving.register_keras_serializable(package="tfsep")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits and integer labels, with label smoothing.

    Source: C. Szegedy et al., "Rethinking the Inception Architecture" (arXiv 1512.00567), section 7.

    Example:
        >>> float(SmoothedCrossentropy(0.0)(np.array([1]), np.array([[0.0, 100.0]], "float32")))
        0.0
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "smoothed_crossentropy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image."""
        one_hot = tf.one_hot(tf.cast(tf.reshape(y_true, [-1]), "int32"), y_pred.shape[-1], dtype=y_pred.dtype)
        return keras.losses.categorical_crossentropy(
            one_hot, y_pred, from_logits=True, label_smoothing=self.label_smoothing
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this loss again."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def with_softmax(model: Any) -> Any:
    """Return the model with a softmax behind its logits, sharing its weights.

    Example:
        >>> inputs = keras.Input((3,))
        >>> logits = keras.Model(inputs, keras.layers.Dense(2, kernel_initializer="zeros")(inputs))
        >>> with_softmax(logits)(np.ones((1, 3))).numpy().tolist()
        [[0.5, 0.5]]
    """
    predictions = keras.layers.Activation("softmax", name=f"{model.name}.Predictions")(model.output)
    return keras.Model(model.input, predictions, name=model.name)


def _save(model: Any, path: Path) -> None:
    """Write a model whole or not at all."""
    partial = path.with_name(f".partial-{path.name}")
    try:
        model.save(partial)
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"folder: expected one that takes the model, got {path.parent} ({reason})") from error
    finally:
        partial.unlink(missing_ok=True)


@dataclass(frozen=True)
class TrainResult:
    """What a run made.

    Attributes:
        model: from images in [-1, 1] to probabilities.
        folder: with the model, the checkpoint, the log and the config.
        test_accuracy: share of the test split whose class the model names, computed once, at the end.
        seconds: time of this call.
    """

    model: Any
    folder: Path
    test_accuracy: float
    seconds: float


def accuracy(model: Any, split: Split, batch_size: int = 500) -> float:
    """Return the share of the split's images whose label is the model's first choice, in [0, 1].

    Example:
        >>> split = Split.of(np.zeros((4, 28, 28, 1), "uint8"), np.array([0, 0, 0, 1]))
        >>> accuracy(lambda x, training: tf.one_hot(tf.zeros(len(x), "int32"), depth=2), split)
        0.75
    """
    right = 0
    for x, y in split.batches(batch_size):
        right += int(tf.reduce_sum(tf.cast(tf.argmax(model(x, training=False), -1, "int32") == y, "int32")))
    return right / split.size


def train(
    config: TrainConfig,
    data: ImageData,
    folder: str | PathLike[str],
    *,
    resume: bool = False,
    log: Callable[[str], None] = print,
) -> TrainResult:
    """Train a network and leave it in `folder`.

    Args:
        config: the recipe.
        data: what to train on; its test split is looked at once, when training is over.
        folder: made if need be; gets ``model.keras`` (probabilities), ``checkpoint.keras`` (after every epoch, with
            the optimizer), ``log.jsonl`` (one JSON object an epoch), ``config.json``, ``data.json``, by which a
            resumed run knows its data, and ``model.json``, how images are prepared for the model. Nothing is written
            before every image has been read.
        resume: go on from the folder's checkpoint, whose config and data must be these.
        log: is given one line an epoch.

    Returns:
        The trained model and its test accuracy.

    Raises:
        ValueError: if the folder holds a run and `resume` is not set, if it holds a damaged one or one of another
            config or other data, if an image cannot be decoded, if there are fewer training images than a batch, or
            `validation` leaves none.
        TypeError: if `config`, `data` or `folder` is something else.
        FileNotFoundError: if `resume` is set and there is nothing to go on from.
        OSError: if the folder cannot be made or written to.

    Example:
        >>> from tfsep.data import fashion_mnist
        >>> train(TrainConfig(), fashion_mnist(), "runs/a", resume=True)  # doctest: +SKIP
    """
    started = time.monotonic()
    if not isinstance(config, TrainConfig):
        raise TypeError(f"config: expected a TrainConfig, got {config!r}")
    if not isinstance(data, ImageData):
        raise TypeError(f"data: expected an ImageData, got {data!r}")
    folder = as_path(folder, "folder")
    training, held_out = _hold_out(data.train, config.validation)
    steps = training.size // config.batch_size
    if steps == 0:
        raise ValueError(f"batch_size: expected at most the {training.size} training images, got {config.batch_size}")
    if resume:
        _require_same_config(folder, config)
        _require_same_data(folder, data)
        model = build(config, data, steps)
        _load(model, folder / CHECKPOINT)
    else:
        if (folder / CHECKPOINT).exists():
            raise ValueError(f"folder: expected one without a run, got {folder}; resume it, or choose another")
        records = {CONFIG: asdict(config), DATA: data.identity()}
        model = build(config, data, steps)
        made_folder(folder, "folder")
        for name, record in records.items():
            (folder / name).write_text(json.dumps(record, indent=2) + "\n")

    first = int(model.optimizer.iterations) // steps
    _trim_log(folder / LOG, first)
    for epoch in range(first, config.epochs):
        epoch_started = time.monotonic()
        _seed_dropout(model, _epoch_seed(config, epoch))
        history = model.fit(
            epoch_batches(training, config, epoch),
            initial_epoch=epoch,
            epochs=epoch + 1,
            steps_per_epoch=steps,
            shuffle=False,
            verbose=1 if sys.stderr.isatty() and sys.stdout.isatty() else 0,
        ).history
        record = {
            "epoch": epoch + 1,
            "loss": history["loss"][0],
            "accuracy": history["accuracy"][0],
            "validation_accuracy": accuracy(model, held_out) if held_out.size else None,
            "learning_rate": float(model.optimizer.learning_rate),
            "seconds": time.monotonic() - epoch_started,
        }
        with (folder / LOG).open("a") as file:
            file.write(json.dumps(record) + "\n")
        _save(model, folder / CHECKPOINT)
        watched = "" if record["validation_accuracy"] is None else f", validation {record['validation_accuracy']:.4f}"
        log(
            f"epoch {epoch + 1}/{config.epochs}: loss {record['loss']:.4f}, accuracy {record['accuracy']:.4f}"
            f"{watched}, {record['seconds']:.0f} s"
        )

    final = with_softmax(model)
    _save(final, folder / MODEL)
    write_preprocessing(data.train.preprocessing, folder / MODEL)
    return TrainResult(final, folder, accuracy(final, data.test), time.monotonic() - started)


def _hold_out(split: Split, count: int) -> tuple[Split, Split]:
    if count >= split.size:
        raise ValueError(f"validation: expected fewer than the {split.size} training images, got {count}")
    return split.take(0, split.size - count), split.take(split.size - count)


def _trim_log(log: Path, epochs: int) -> None:
    """Keep the first epochs only: a run that was killed may have logged one whose checkpoint it never wrote."""
    lines = log.read_text().splitlines(keepends=True) if log.is_file() else []
    log.write_text("".join(lines[:epochs]))


def _load(model: Any, checkpoint: Path) -> None:
    """Load the weights, with the optimizer's; Keras's own loading of a model would forget what AdamW must not decay."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            if archive.testzip():  # Keras reads past the checksums
                raise zipfile.BadZipFile
        model.load_weights(checkpoint)
    except Exception as error:  # whatever a damaged archive makes the loaders underneath raise
        raise ValueError(f"folder: expected a run with a whole {CHECKPOINT}, got a damaged {checkpoint}") from error


def _stored(folder: Path, name: str) -> dict[str, Any]:
    """Read one of the records that a run keeps as JSON."""
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"folder: expected a run to resume, got {folder} without {name}")
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"folder: expected a run with a whole {name}, got a damaged {path} ({error})") from error
    if not isinstance(record, dict):
        raise ValueError(f"folder: expected a run with a JSON object in {name}, got {record!r:.80} in {path}")
    return record


def _require_same_config(folder: Path, config: TrainConfig) -> None:
    if not (folder / CHECKPOINT).is_file():
        raise FileNotFoundError(f"folder: expected a run to resume, got {folder} without {CHECKPOINT}")
    settings = _stored(folder, CONFIG)
    unknown = sorted(settings.keys() - {field.name for field in fields(TrainConfig)})
    if unknown:
        raise ValueError(f"folder: expected a run with settings of TrainConfig, got {unknown} in {folder / CONFIG}")
    try:
        stored = TrainConfig(**settings)
    except ValueError as error:
        raise ValueError(f"folder: expected a run with a right {CONFIG}, got {folder / CONFIG} ({error})") from error
    changed = [name for name, value in asdict(config).items() if value != getattr(stored, name)]
    if changed:
        raise ValueError(f"config: expected that of the run in {folder}, got another {', '.join(changed)}")


def _require_same_data(folder: Path, data: ImageData) -> None:
    stored = _stored(folder, DATA)
    changed = [name for name, value in data.identity().items() if value != stored.get(name)]
    if changed:
        raise ValueError(f"data: expected those of the run in {folder}, got other {', '.join(changed)}")
