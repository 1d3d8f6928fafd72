"""One process of a run on several devices, for `test_machines`: trains a tiny network and leaves its weights.

It is told, as JSON: strategy, folder, resume, weights (the file to leave), replicas (CPUs of this machine), and
die_after (the epoch after which this process is killed, as by kill -9).
"""

import json
import os
import signal
import sys

import keras
import numpy as np
import tensorflow as tf
from stripes import stripes

from tfsep import layers
from tfsep._utils.messages import messages_to
from tfsep.data import ImageData
from tfsep.train import FitConfig, join
from tfsep.train._batches import BatchPreparation, epoch_batches
from tfsep.train._model_setup import with_softmax
from tfsep.train._run import TrainingJob, run_training
from tfsep.train._trainer import Trainer

CONFIG = FitConfig(
    epochs=3,
    batch_size=16,
    warmup_epochs=1,
    learning_rate=0.05,
    optimizer="sgd",
    validation=15,
    shift=1,
    mixup=0.2,
    average=0.9,
    patience=3,
)
MOMENTUM = 0.5


def data():
    """Few images; made when asked for, as several machines are joined before."""
    return ImageData("stripes", ("above", "below"), stripes(63, 0), stripes(17, 1))


def network(synchronized):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((28, 28, 1))
    net = layers.BatchNormalization(momentum=MOMENTUM, synchronized=synchronized)(inputs)
    net = layers.Conv2D(4, 3, strides=4, activation="relu")(net)
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(net)))


def whole_run(folder, devices=None, resume=False):
    evaluated = network(True)
    job = TrainingJob(lambda precision: network(True), evaluated, with_softmax(evaluated))
    return run_training(job, CONFIG, data(), folder, resume, devices)


def statistics_apart(devices, xla=False):
    """Mean and variance of the first normalization after a step in which each replica goes by its own statistics."""
    with devices.strategy.scope():
        trainer = Trainer(network(False), keras.optimizers.SGD(0.0), CONFIG, xla=xla)
    batches = epoch_batches(
        data().train,
        CONFIG,
        BatchPreparation(CONFIG, data().train.preprocessing, 2),
        0,
        (devices.worker_index, devices.worker_count),
    )
    trainer.epoch(batches.take(1))
    return [np.asarray(weight) for weight in trainer.model.layers[1].get_weights()[2:]]


def main(strategy, folder, weights, resume=False, replicas=1, die_after=None):
    def log(line):
        print(line, flush=True)
        if line.startswith(f"epoch {die_after}/"):
            os.kill(os.getpid(), signal.SIGKILL)

    if replicas > 1:
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * replicas
        )
    with join(strategy, timeout=120) as devices, messages_to(log):
        result = whole_run(folder, devices, resume)
        more = {} if resume else dict(zip(("mean", "variance"), statistics_apart(devices), strict=True))
        if strategy == "mirrored":
            more["compiled_mean"], more["compiled_variance"] = statistics_apart(devices, xla=True)
        np.savez(weights, *result.model.get_weights(), accuracy=result.validation_accuracy, **more)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
