"""The training step of every run, on one device, several devices or several machines.

Keras's `fit` does not train under ``tf.distribute.MultiWorkerMirroredStrategy``, hence a step of our own.
"""

from collections.abc import Callable, Iterable

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Model, Tensor
from tfsep.train._config import FitConfig

_AVERAGED_STATISTICS = ("moving_mean", "moving_variance")


class Trainer:
    """A model in training, with its optimizer and the moving average of its weights.

    Args:
        model: model from images (N, H, W, C) to logits (N, K), made in the scope of the ``tf.distribute`` strategy.
        optimizer: one that is not built yet.
        config: the settings, of which `average` and `accumulate` are used.
        teacher: a model from the same images to probabilities; None for none.
        distill: share of each label, in [0, 1], that the teacher's probabilities replace.

    Source of the average: M. Tan, Q. Le, "EfficientNet" (arXiv 1905.11946), section 5. Source of distillation: G.
    Hinton et al., "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531).

    Examples:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
        >>> trainer = Trainer(model, keras.optimizers.SGD(0.1), FitConfig())
        >>> loss, accuracy = trainer.epoch([(tf.ones((4, 1)), tf.one_hot([0, 0, 0, 1], 2))])
        >>> trainer.steps
        1
    """

    def __init__(
        self,
        model: Model,
        optimizer: keras.optimizers.Optimizer,
        config: FitConfig,
        teacher: Model | None = None,
        distill: float = 0.0,
    ) -> None:
        self.model, self.optimizer, self._config = model, optimizer, config
        self._teacher, self._distill = teacher, distill
        self._strategy = tf.distribute.get_strategy()
        optimizer.build(model.trainable_variables)
        trained = {id(variable) for variable in model.trainable_variables}
        self._averaged_variables = [
            (number, variable)
            for number, variable in enumerate(model.weights)
            if config.average and (id(variable) in trained or variable.name in _AVERAGED_STATISTICS)
        ]
        self._averages = [tf.Variable(variable.value, trainable=False) for _, variable in self._averaged_variables]
        followed = [(variable, variable.value) for variable in model.weights]
        followed += [
            (variable, own) for (_, variable), own in zip(self._averaged_variables, self._averages, strict=True)
        ]
        self._statistics = [own for of, own in followed if id(of) not in trained and own.dtype.is_floating]
        self._train_step = tf.function(self._distributed_step, reduce_retracing=True, autograph=False)

    @property
    def steps(self) -> int:
        """The number of steps taken."""
        # A mirrored variable is no number to int.
        return int(np.asarray(self.optimizer.iterations))

    @property
    def state(self) -> list[tf.Variable]:
        """All variables that determine the rest of a run."""
        return [*self.model.variables, *self.optimizer.variables, *self._averages]

    def epoch(
        self, batches: Iterable[tuple[Tensor, Tensor]], after_step: Callable[[], None] = lambda: None
    ) -> tuple[float, float]:
        """Take a step for each batch, and return the mean loss and accuracy.

        Args:
            batches: images and probabilities, this worker's shares of the batches.
            after_step: called after each step.
        """
        sums = np.zeros(3)
        with self._strategy.scope():
            for images, labels in batches:
                sums += [float(each) for each in self._train_step(images, labels)]
                after_step()
            if self._strategy.num_replicas_in_sync > 1:
                self._strategy.run(tf.function(self._average_statistics, autograph=False))
        loss, correct, count = sums
        return loss / count, correct / count

    def evaluation_weights(self) -> list[np.ndarray]:
        """Return the weights in the order of `model.weights`, moving averages where there are some."""
        weights = [np.asarray(weight) for weight in self.model.get_weights()]
        for (number, _), average in zip(self._averaged_variables, self._averages, strict=True):
            weights[number] = average.numpy()
        return weights

    def _distributed_step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take a step on all replicas, and return their sums of losses, of correct predictions and of images."""
        sums = self._strategy.run(self._replica_step, args=(images, labels))
        if self._averages:
            done = tf.cast(self.optimizer.iterations, "float32")
            keep = tf.minimum(self._config.average, (1.0 + done) / (10.0 + done))
            for (_, variable), average in zip(self._averaged_variables, self._averages, strict=True):
                self._strategy.extended.update(
                    average, lambda own, now: own.assign(now + keep * (own - now)), args=(variable.value,)
                )
        loss, correct, count = (self._strategy.reduce("SUM", each, axis=None) for each in sums)
        return loss, correct, count

    def _replica_step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take a step on one replica's share of a batch; the optimizer sums the gradients of all replicas."""
        images, labels = self._replica_batch(images), self._replica_batch(labels)
        parts = self._config.accumulate
        replicas = self._strategy.num_replicas_in_sync
        variables = self.model.trainable_variables
        total, loss, correct = [tf.zeros(())] * len(variables), tf.zeros(()), tf.zeros(())
        for x, y in zip(tf.split(images, parts), tf.split(labels, parts), strict=True):
            if self._teacher is not None:
                y = (1.0 - self._distill) * y + self._distill * self._teacher(x, training=False)  # noqa: PLW2901
            with tf.GradientTape() as tape:
                logits = tf.cast(self.model(x, training=True), "float32")
                losses = tf.nn.softmax_cross_entropy_with_logits(y, logits)
                mean = tf.reduce_mean(losses) + tf.add_n([tf.zeros(()), *self.model.losses])
            gradients = tape.gradient(mean, [variable.value for variable in variables])
            total = [a + b / (parts * replicas) for a, b in zip(total, gradients, strict=True)]
            loss += tf.reduce_sum(losses)
            correct += tf.reduce_sum(tf.cast(tf.argmax(logits, -1) == tf.argmax(y, -1), "float32"))
        self.optimizer.apply(total, variables)
        return loss, correct, tf.cast(tf.shape(images)[0], "float32")

    def _replica_batch(self, batch: Tensor) -> Tensor:
        """This replica's part of a worker's batch."""
        if self._strategy.num_replicas_in_sync == 1:
            return batch
        replicas = len(self._strategy.extended.worker_devices)
        size = batch.shape[0] // replicas
        place = tf.distribute.get_replica_context().replica_id_in_sync_group % replicas
        share = batch[place * size : (place + 1) * size]
        return tf.ensure_shape(share, (size, *batch.shape[1:]))

    def _average_statistics(self) -> None:
        """Set the moving statistics of all replicas to their mean.

        Each replica updates its own by its share of the batches. A moving average is linear, so the mean at the end of
        an epoch equals the moving average of the mean statistics.
        """
        means = tf.distribute.get_replica_context().all_reduce("MEAN", [tf.identity(v) for v in self._statistics])
        for variable, mean in zip(self._statistics, means, strict=True):
            variable.assign(mean)


def seed_dropout(model: Model, seed: int) -> None:
    """Seed the dropout layers of a model anew, so that dropout is a function of the epoch.

    Args:
        model: the model in training.
        seed: seed of the epoch.

    Examples:
        >>> seed_dropout(keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5)]), 3)
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
            layer.seed_generator.state.assign([seed, 0])
