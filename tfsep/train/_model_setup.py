"""The model in training, its optimizer, and its form with probabilities."""

import hashlib

import numpy as np

from tfsep import models
from tfsep._keras.backend import keras
from tfsep._keras.dtype_policy import dtype_policy
from tfsep._keras.types import Model
from tfsep.data import ImageData
from tfsep.defs import NETWORKS
from tfsep.train._config import FitConfig, TrainConfig

_NOT_DECAYED = ["bias", "beta", "gamma"]


def build_model(config: TrainConfig, data: ImageData, precision: str = "float32") -> Model:
    """Return a new model from images to logits; its weights are a function of `config.seed`.

    Args:
        config: the settings.
        data: gives the shape of the images and the number of classes.
        precision: precision of the computation, a dtype policy.
    """
    keras.utils.set_random_seed(config.seed)
    with dtype_policy(precision):
        return models.from_definitions(
            NETWORKS[config.network],
            data.image_shape,
            len(data.class_names),
            config.alpha,
            dropout=config.dropout,
            classifier_activation=None,
            arg_scope=arg_scope_of(config),
        )


def arg_scope_of(config: TrainConfig) -> models.ArgScope:
    """Return how each layer of a network to train is made.

    Args:
        config: the settings.
    """
    return models.ArgScope(
        weight_decay=0.0,
        stddev=None,
        batch_norm_decay=config.batch_norm_decay,
        synchronized=config.sync_batch_norm,
    )


def build_optimizer(config: FitConfig, steps_per_epoch: int, precision: str = "float32") -> keras.optimizers.Optimizer:
    """Return the optimizer with its schedule; biases and normalizations have no weight decay.

    In float16, where small gradients vanish, it scales the loss by powers of two.

    Args:
        config: the settings.
        steps_per_epoch: steps of the optimizer in an epoch.
        precision: precision of the model's computation, a dtype policy.

    Examples:
        >>> build_optimizer(FitConfig(optimizer="sgd", epochs=3), 10).nesterov
        True
    """
    total = config.epochs * steps_per_epoch
    warmup = (config.warmup_epochs or 0) * steps_per_epoch  # the record has made an int of None
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else config.learning_rate,
        decay_steps=max(total - warmup, 1),
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    decay = config.weight_decay or None
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(schedule, momentum=config.momentum, nesterov=True, weight_decay=decay)
    else:
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay)
    if decay:
        optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer


def weights_sha256(model: Model) -> str:
    """Return a hash of all weights of a model.

    Args:
        model: the model.
    """
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def with_softmax(model: Model) -> Model:
    """Return the model followed by a softmax, on the same weights.

    Args:
        model: model from images to logits.

    Examples:
        >>> inputs = keras.Input((3,))
        >>> logits = keras.Model(inputs, keras.layers.Dense(2, kernel_initializer="zeros")(inputs))
        >>> with_softmax(logits)(np.ones((1, 3))).numpy().tolist()
        [[0.5, 0.5]]
    """
    predictions = keras.layers.Activation("softmax", name=f"{model.name}.Predictions")(model.output)
    return keras.Model(model.input, predictions, name=model.name)
