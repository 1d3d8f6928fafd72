"""One training step, the same on one device, on several, and on several machines.

Keras's `fit` does not train under TensorFlow's strategy of several machines, so the step is here, and every run takes
it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep.train._config import FitConfig

_AVERAGED_STATISTICS = ("moving_mean", "moving_variance")


class Trainer:
    """A model in training: its optimizer, the moving average of its weights, and the step that moves them all.

    Args:
        model: from images (N, H, W, C) to logits (N, K), made in the scope of `strategy`.
        optimizer: not built yet.
        config: for `average` and `accumulate`.
        teacher: a model from the same images to probabilities, which take the place of `distill` of each label's; None
            for none.
        distill: that share, in [0, 1].

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
        self, model: Any, optimizer: Any, config: FitConfig, teacher: Any = None, distill: float = 0.0
    ) -> None:
        self.model, self.optimizer, self._config = model, optimizer, config
        self._teacher, self._distill = teacher, distill
        self._strategy = tf.distribute.get_strategy()
        optimizer.build(model.trainable_variables)
        trained = {id(variable) for variable in model.trainable_variables}
        self._averaged = [
            (number, variable)
            for number, variable in enumerate(model.weights)
            if config.average and (id(variable) in trained or variable.name in _AVERAGED_STATISTICS)
        ]
        self._averages = [tf.Variable(variable.value, trainable=False) for _, variable in self._averaged]
        followed = [(variable, variable.value) for variable in model.weights]
        followed += [(variable, own) for (_, variable), own in zip(self._averaged, self._averages, strict=True)]
        self._statistics = [own for of, own in followed if id(of) not in trained and own.dtype.is_floating]
        self._step = tf.function(self._all_replicas, reduce_retracing=True, autograph=False)

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        # A mirrored variable is no number to int.
        return int(np.asarray(self.optimizer.iterations))

    @property
    def state(self) -> list[Any]:
        """Every variable that the rest of a run follows from."""
        return [*self.model.variables, *self.optimizer.variables, *self._averages]

    def epoch(self, batches: Any, each: Callable[[], None] = lambda: None) -> tuple[float, float]:
        """Take a step a batch, and return the mean loss and accuracy of them.

        Args:
            batches: of images and probabilities, this worker's share of them.
            each: called after each step.
        """
        seen = np.zeros(3)
        with self._strategy.scope():
            for images, labels in batches:
                seen += [float(figure) for figure in self._step(images, labels)]
                each()
            if self._strategy.num_replicas_in_sync > 1:
                self._strategy.run(tf.function(self._agree, autograph=False))
        loss, right, count = seen
        return loss / count, right / count

    def kept(self) -> list[np.ndarray]:
        """Return the weights to evaluate and keep, in the order of `model.weights`: the averages, where there are."""
        weights = [np.asarray(weight) for weight in self.model.get_weights()]
        for (number, _), average in zip(self._averaged, self._averages, strict=True):
            weights[number] = average.numpy()
        return weights

    def _all_replicas(self, images: Any, labels: Any) -> tuple[Any, Any, Any]:
        """Loss, right ones and number of images, summed over the replicas, of one step of all of them."""
        figures = self._strategy.run(self._replica, args=(images, labels))
        if self._averages:
            done = tf.cast(self.optimizer.iterations, "float32")
            keep = tf.minimum(self._config.average, (1.0 + done) / (10.0 + done))
            for (_, variable), average in zip(self._averaged, self._averages, strict=True):
                self._strategy.extended.update(
                    average, lambda own, now: own.assign(now + keep * (own - now)), args=(variable.value,)
                )
        loss, right, count = (self._strategy.reduce("SUM", figure, axis=None) for figure in figures)
        return loss, right, count

    def _replica(self, images: Any, labels: Any) -> tuple[Any, Any, Any]:
        """A step on one replica's share of the worker's batch; the optimizer sums the gradients of all."""
        images, labels = self._share(images), self._share(labels)
        parts = self._config.accumulate
        replicas = self._strategy.num_replicas_in_sync
        variables = self.model.trainable_variables
        total, loss, right = [tf.zeros(())] * len(variables), tf.zeros(()), tf.zeros(())
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
            right += tf.reduce_sum(tf.cast(tf.argmax(logits, -1) == tf.argmax(y, -1), "float32"))
        self.optimizer.apply(total, variables)
        return loss, right, tf.cast(tf.shape(images)[0], "float32")

    def _share(self, batch: Any) -> Any:
        """The part of a worker's batch that falls to this one of its replicas."""
        if self._strategy.num_replicas_in_sync == 1:
            return batch
        replicas = len(self._strategy.extended.worker_devices)
        size = batch.shape[0] // replicas
        place = tf.distribute.get_replica_context().replica_id_in_sync_group % replicas
        share = batch[place * size : (place + 1) * size]
        return tf.ensure_shape(share, (size, *batch.shape[1:]))

    def _agree(self) -> None:
        """Give all replicas the mean of their moving statistics.

        Each moves its own by what it sees. A moving average is linear, so the mean of them is the moving average of the
        mean, and an epoch's end is early enough.
        """
        means = tf.distribute.get_replica_context().all_reduce("MEAN", [tf.identity(v) for v in self._statistics])
        for variable, mean in zip(self._statistics, means, strict=True):
            variable.assign(mean)


def seed_dropout(model: Any, seed: int) -> None:
    """Start the dropout of an epoch anew, so that it is a function of the epoch.

    Examples:
        >>> seed_dropout(keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5)]), 3)
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
            layer.seed_generator.state.assign([seed, 0])
