"""The float networks of the calibration table, trained where they are missing, and their fine-tuning."""

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
from calibration_networks import TrainedNetwork, build

from tfsep import layers, quantize, saved
from tfsep._keras.types import Model
from tfsep.data import ImageData
from tfsep.models import load_model
from tfsep.train import FitConfig, QuantizeConfig
from tfsep.train._model_setup import with_softmax
from tfsep.train._run import TrainingJob, run_training

SEED = 0
REACHED = 5.0
"""A channel that comes nearer to ReLU6's 6 on training images keeps its size."""

_FASTER = SimpleNamespace(
    Input=keras.Input,
    Model=keras.Model,
    layers=SimpleNamespace(
        **{name: getattr(keras.layers, name) for name in keras.layers.__dict__ if not name.startswith("_")}
        | {name: getattr(layers, name) for name in ("Conv2D", "DepthwiseConv2D", "BatchNormalization")}
    ),
)
"""Keras, with layers that have the same weights and train 1.6 times as fast."""


def float_model(network: TrainedNetwork, data: ImageData, folder: Path) -> Model:
    """Return a network, from prepared images to probabilities.

    Args:
        network: its record.
        data: the data set, of which the training split alone is used.
        folder: folder of its training, which is done where it is missing, and goes on where it was stopped.
    """
    model = with_softmax(build(network, keras))
    if network.epochs:
        model.set_weights(_trained(network, data, folder).get_weights())
    else:
        shipped = saved.load("fashion_mnist").model.get_weights()
        model.set_weights([each.reshape(own.shape) for each, own in zip(shipped, model.get_weights(), strict=True)])
    if network.halvings:
        make_uneven(model, data.train.preprocessing(data.train.take(0, 1000).images()), network.halvings)
    return model


def _trained(network: TrainedNetwork, data: ImageData, folder: Path) -> Model:
    if (folder / "model.keras").is_file():
        return load_model(folder / "model.keras")
    settings = FitConfig(epochs=network.epochs, shift=1, erase=0.0, weight_decay=0.05, average=0.99)
    evaluated = build(network, keras)
    job = TrainingJob(lambda _: build(network, _FASTER), evaluated, with_softmax(evaluated))
    return run_training(job, settings, data, folder, resume=(folder / "config.json").is_file()).model


def make_uneven(model: Model, images: np.ndarray, halvings: int) -> None:
    """Divide channels by powers of two of their own, and multiply the next weights; the model computes the same.

    Args:
        model: a chain of normalized convolutions with ReLU6, of which channels that saturate are left.
        images: prepared images, to see which do.
        halvings: most halvings of a channel.
    """
    random = np.random.default_rng(SEED)
    chain = [layer for layer in model.layers if hasattr(layer, "kernel")]
    normalizations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    rectified = [layer.output for layer in model.layers if isinstance(layer, keras.layers.ReLU)]
    results = keras.Model(model.inputs, rectified).predict(images, verbose=0)
    for normalization, following, result in zip(normalizations, chain[1:], results, strict=True):
        largest = result.max(tuple(range(result.ndim - 1)))
        factors = np.where(largest < REACHED, 0.5 ** random.integers(0, halvings + 1, largest.shape), 1.0)
        for weight in (normalization.gamma, normalization.beta):
            weight.assign(weight * factors)
        following.kernel.assign(following.kernel / factors[:, None])


def finetuned(model: Model, calibrated: Model, data: ImageData, folder: Path, epochs: int = 1) -> Model:
    """Return a calibrated model after training with fake quantization, for the float model's probabilities.

    Args:
        model: the float model.
        calibrated: what `quantize.calibrate` made of it.
        data: the data set.
        folder: folder of the run, which goes on where it was stopped.
        epochs: passes over the training images.
    """
    settings = QuantizeConfig(epochs=epochs)

    def started() -> Model:
        prepared = quantize.prepare(model)
        prepared.set_weights(calibrated.get_weights())
        return prepared

    finished = started()
    if (folder / "model.keras").is_file():
        finished.set_weights(load_model(folder / "model.keras").get_weights())
        return finished
    job = TrainingJob(
        lambda _: quantize.logits_of(started()),
        quantize.logits_of(finished),
        finished,
        teacher=model,
        distill=settings.distill,
        on_epoch_begin=lambda prepared, _: quantize.freeze_batch_norm(prepared, True),
    )
    return run_training(job, settings, data, folder, resume=(folder / "config.json").is_file()).model
