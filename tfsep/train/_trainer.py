"""The training step of every run, on one device, several devices or several machines.

Keras's `fit` does not train under ``tf.distribute.MultiWorkerMirroredStrategy``, hence a step of our own.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.model_graph import leaf_layers
from tfsep._keras.types import Model, Tensor
from tfsep.train._batches import Preparation
from tfsep.train._config import FitConfig
from tfsep.train._tasks import Classification, Task

_AVERAGED_STATISTICS = ("moving_mean", "moving_variance")

MOST_SKIPPED = 40
"""Skipped steps in a row after which a run ends: more than a scaled loss needs to find its scale."""


class Epoch(NamedTuple):
    """An epoch, as measured.

    Attributes:
        loss: mean over the images of all steps that were not skipped.
        accuracy: share of these images that is right, see `Task.right`.
        skipped: number of skipped steps.
        data_wait: share of the time for which the next batch was not there yet.
    """

    loss: float
    accuracy: float
    skipped: int
    data_wait: float


class Trainer:
    """A model in training, with its optimizer and the moving average of its weights.

    A step is skipped and counted if its loss, a gradient or a new statistic is not finite, or its square is not in
    float32: weights, statistics, averages and the optimizer's moments stay as they were. A `LossScaleOptimizer` halves
    its scale then.

    Args:
        model: model from images (N, H, W, C) to logits, made in the scope of the ``tf.distribute`` strategy.
        optimizer: one that is not built yet.
        config: the settings, of which `average` and `accumulate` are used.
        task: what the model is trained to do; None for classification.
        teacher: a finished model of the same task, from the same images; None for none.
        distill: share of the loss, in [0, 1], whose targets are the teacher's outputs.
        xla: whether XLA compiles the step; with several replicas, its loss and gradients.
        preparation: prepares each batch within the step; None where batches are prepared.
        warm_statistics: whether the moving statistics of batch normalizations begin with a smaller decay, as the
            average does: those of an untrained model are of no data, and still in the sum after a hundred steps.
        rates: a factor of the learning rate for each trained variable; none for the same rate of all.

    Source of the average: M. Tan, Q. Le, "EfficientNet" (arXiv 1905.11946), section 5. Source of distillation: G.
    Hinton et al., "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531).

    Examples:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
        >>> trainer = Trainer(model, keras.optimizers.SGD(0.1), FitConfig())
        >>> epoch = trainer.epoch([(tf.ones((4, 1)), tf.one_hot([0, 0, 0, 1], 2))])
        >>> trainer.steps, epoch.skipped
        (1, 0)
    """

    def __init__(
        self,
        model: Model,
        optimizer: keras.optimizers.Optimizer,
        config: FitConfig,
        task: Task | None = None,
        teacher: Model | None = None,
        distill: float = 0.0,
        xla: bool = False,
        preparation: Preparation | None = None,
        warm_statistics: bool = False,
        rates: Sequence[float] = (),
    ) -> None:
        self.model, self.optimizer, self._config = model, optimizer, config
        self.task = task or Classification()
        self._teacher, self._distill, self.preparation = teacher, distill, preparation
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
        self._untrained = [variable for variable in model.weights if id(variable) not in trained]
        self._decays = _statistics_decays(model, config.accumulate) if warm_statistics else {}
        self._slow = [
            (variable, rate)
            for variable, rate in zip(model.trainable_variables, rates or repeat(1.0), strict=bool(rates))
            if rate != 1
        ]
        self._skipped, self._skipped_in_a_row = (tf.Variable(0, trainable=False, dtype="int64") for _ in range(2))
        self._scales_loss = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        # XLA compiles the whole step of one replica. It cannot exchange gradients: of several, what each does alone.
        # None leaves functions inside as they are, where False would keep XLA from them.
        apart = self._strategy.num_replicas_in_sync > 1
        compiled = tf.function(self._replica_gradients, autograph=False, jit_compile=True)
        self._gradients = compiled if xla and apart else self._replica_gradients
        self._train_step = tf.function(
            self._distributed_step, reduce_retracing=True, autograph=False, jit_compile=(xla and not apart) or None
        )

    @property
    def steps(self) -> int:
        """The number of steps taken, of skipped ones too."""
        # A mirrored variable is no number to int.
        return int(np.asarray(self.optimizer.iterations)) + int(np.asarray(self._skipped))

    @property
    def state(self) -> list[tf.Variable]:
        """All variables that determine the rest of a run."""
        counts = self._skipped, self._skipped_in_a_row
        return [*self.model.variables, *self.optimizer.variables, *self._averages, *counts]

    def rehearse(self, batches: tf.data.Dataset) -> None:
        """Take a step on zeros and undo it, for the errors that it may raise.

        Args:
            batches: batches of an epoch, whose shapes and types the step takes; none is read.

        Raises:
            tf.errors.OpError: if the step cannot be compiled or computed, or does not fit in memory.
        """
        kept = [np.array(np.asarray(variable)) for variable in self.state]
        self.step(tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), batches.element_spec))
        for variable, value in zip(self.state, kept, strict=True):
            variable.assign(value)

    def epoch(self, batches: Iterable[Sequence[Any]], after_step: Callable[[], None] = lambda: None) -> Epoch:
        """Take a step for each batch.

        Args:
            batches: images and targets, this worker's shares of the batches, or what they are prepared from.
            after_step: called after each step.

        Raises:
            ValueError: if all steps were skipped, or `MOST_SKIPPED` in a row.
        """
        sums, steps, clock = np.zeros(4), 0, _Clock()
        with self._strategy.scope():
            for batch in clock.timed(batches):
                *summands, in_a_row = self.step(batch)
                sums += summands
                steps += 1
                if in_a_row >= MOST_SKIPPED:
                    raise _no_finite_steps(f"{MOST_SKIPPED} steps in a row")
                after_step()
            if self._strategy.num_replicas_in_sync > 1:
                self._strategy.run(tf.function(self._average_statistics, autograph=False))
        loss, correct, count, skipped = sums
        if skipped == steps:
            raise _no_finite_steps(f"all {steps} steps of an epoch")
        return Epoch(loss / count, correct / count, int(skipped), clock.share)

    def step(self, batch: Sequence[Any]) -> list[float]:
        """Take a step, and wait for its end.

        Args:
            batch: this worker's share of a batch, see `epoch`.

        Returns:
            Sums of losses, of what is right and of images; 1 for a skipped step; skipped steps in a row.
        """
        with self._strategy.scope():
            numbers: list[float] = np.asarray(self._train_step(*batch)).tolist()
        return numbers

    def evaluation_weights(self) -> list[np.ndarray]:
        """Return the weights in the order of `model.weights`, moving averages where there are some."""
        weights = [np.asarray(weight) for weight in self.model.get_weights()]
        for (number, _), average in zip(self._averaged_variables, self._averages, strict=True):
            weights[number] = average.numpy()
        return weights

    def _distributed_step(self, *batch: Any) -> Tensor:
        """Take a step on all replicas, unless something is not finite on one of them.

        Returns:
            Sums of losses, of what is right and of images; 1 for a skipped step; skipped steps in a row. float32.
        """
        replicas = self._strategy.num_replicas_in_sync
        # A plain function, so that a compiled one inside is placed on its replica's device.
        prepared = self.preparation(*batch) if self.preparation else batch
        slow = [tf.identity(variable.value) for variable, _ in self._slow]
        computed = self._strategy.run(lambda *given: self._gradients(*given), args=prepared)  # noqa: PLW0108
        gradients, former, sums, finite = computed
        all_finite = self._strategy.reduce("SUM", finite, axis=None) > replicas - 0.5
        if self._scales_loss:
            self._strategy.run(self._apply_scaled, args=(gradients, all_finite))

        def take() -> Tensor:
            if not self._scales_loss:
                self._strategy.run(self._apply, args=(gradients,))
            self._slow_down(slow)
            if self._decays:
                self._strategy.run(self._warm_statistics, args=(former,))
            self._follow_weights()
            self._set(self._skipped_in_a_row, tf.zeros((), "int64"))
            summed: Tensor = self._strategy.reduce("SUM", sums, axis=None)
            return summed

        def skip() -> Tensor:
            self._strategy.run(self._restore, args=(former,))
            for count in (self._skipped, self._skipped_in_a_row):
                self._set(count, count + 1)
            return tf.constant([0.0, 0.0, 0.0, 1.0])

        return tf.concat([tf.cond(all_finite, take, skip), [tf.cast(self._skipped_in_a_row, "float32")]], axis=0)

    def _replica_gradients(self, *batch: Any) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
        """Compute the gradients of one replica's share of a batch; the optimizer sums those of all replicas.

        Returns:
            The gradients; the former values of the untrained weights; sums of losses, of what is right, of images and
            0; 1 if all is finite, else 0.
        """
        own = [self._replica_batch(each) for each in tf.nest.flatten(batch)]
        parts = self._config.accumulate
        replicas = self._strategy.num_replicas_in_sync
        variables = self.model.trainable_variables
        former = [tf.identity(variable.value) for variable in self._untrained]
        summed: list[Tensor] = []
        loss, correct = tf.zeros(()), tf.zeros(())
        for part in zip(*(tf.split(each, parts) for each in own), strict=True):
            x, y = tf.nest.pack_sequence_as(batch, part)
            with tf.GradientTape() as tape:
                outputs = tf.nest.map_structure(lambda each: tf.cast(each, "float32"), self.model(x, training=True))
                losses = self._losses(x, y, outputs)
                mean = tf.reduce_mean(losses) + tf.add_n([tf.zeros(()), *self.model.losses])
                scaled = self.optimizer.scale_loss(mean) if self._scales_loss else mean
            gradients = tape.gradient(scaled, [variable.value for variable in variables])
            if parts * replicas > 1:
                gradients = [each / (parts * replicas) for each in gradients]
            summed = [a + b for a, b in zip(summed, gradients, strict=True)] if summed else gradients
            loss += tf.reduce_sum(losses)
            correct += tf.reduce_sum(self.task.right(y, outputs))
        sums = tf.stack([loss, correct, tf.cast(tf.shape(own[0])[0], "float32"), 0.0])
        now = [variable.value for variable in self._untrained if tf.as_dtype(variable.dtype).is_floating]
        # One pass over each: a sum of squares is finite where all numbers are.
        squares = tf.add_n([loss, *(tf.cast(tf.nn.l2_loss(each), "float32") for each in (*summed, *now))])
        return summed, former, sums, tf.cast(tf.math.is_finite(squares), "float32")

    def _losses(self, images: Tensor, targets: Any, outputs: Any) -> Tensor:
        """The loss of each image, (N,): by its targets, by the teacher's outputs, or by both."""
        losses = 0.0
        if self._teacher is None or self._distill < 1:
            losses = self.task.losses(targets, outputs)
        if self._teacher is not None:
            taught = self.task.distillation(self._teacher(images, training=False), outputs)
            losses = (1.0 - self._distill) * losses + self._distill * taught
        return losses

    def _apply(self, gradients: list[Tensor]) -> None:
        self.optimizer.apply(gradients, self.model.trainable_variables)

    def _apply_scaled(self, gradients: list[Tensor], finite: Tensor) -> None:
        """Apply gradients of a scaled loss, or lower the scale.

        The optimizer decides by the first replica's gradients alone, so what is not finite elsewhere is put into them.
        """
        shapes = [gradient.shape.num_elements() for gradient in gradients]
        smallest = shapes.index(min(shapes))
        told = [tf.where(finite, each, np.nan) if i == smallest else each for i, each in enumerate(gradients)]
        self._apply(told)

    def _restore(self, former: list[Tensor]) -> None:
        for variable, value in zip(self._untrained, former, strict=True):
            variable.assign(value)

    def _slow_down(self, former: list[Tensor]) -> None:
        """Let variables of a lower rate go a part of the way: steps of all optimizers here are linear in the rate."""
        for (variable, rate), value in zip(self._slow, former, strict=True):
            self._set(variable.value, value + rate * (variable.value - value))

    def _warm_statistics(self, former: list[Tensor]) -> None:
        """Let the moving statistics go further from their former values, as by a smaller decay."""
        for variable, value in zip(self._untrained, former, strict=True):
            if (decay := self._decays.get(id(variable), 1.0)) < 1.0:
                further = (1.0 - self._warm_decay(decay)) / (1.0 - decay)
                variable.assign(value + further * (variable.value - value))

    def _warm_decay(self, decay: float) -> Tensor:
        """A decay that grows with the number of steps, as far as `decay`."""
        done = tf.cast(self.optimizer.iterations, "float32")
        return tf.minimum(decay, (1.0 + done) / (10.0 + done))

    def _follow_weights(self) -> None:
        """Move the averages toward the weights."""
        if self._averages:
            keep = self._warm_decay(self._config.average)
            for (_, variable), average in zip(self._averaged_variables, self._averages, strict=True):
                self._strategy.extended.update(
                    average, lambda own, now: own.assign(now + keep * (own - now)), args=(variable.value,)
                )

    def _set(self, variable: tf.Variable, value: Tensor) -> None:
        self._strategy.extended.update(variable, lambda own, new: own.assign(new), args=(value,))

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


def _statistics_decays(model: Model, parts: int) -> dict[int, float]:
    """The decays of a model's moving statistics in a step of some parts, by the identity of the variable."""
    normalizations = [layer for layer in leaf_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    return {
        id(variable): layer.momentum**parts
        for layer in normalizations
        for variable in (layer.moving_mean, layer.moving_variance)
    }


class _Clock:
    """The share of a loop's time that goes by before the next item is there."""

    def __init__(self) -> None:
        self._began, self._waited = time.perf_counter(), 0.0

    @property
    def share(self) -> float:
        return self._waited / (time.perf_counter() - self._began)

    def timed(self, items: Iterable[Any]) -> Iterator[Any]:
        """The items, with the time that each is waited for."""
        remaining, end = iter(items), object()
        while True:
            asked = time.perf_counter()
            item = next(remaining, end)
            self._waited += time.perf_counter() - asked
            if item is end:
                return
            yield item


def _no_finite_steps(where: str) -> ValueError:
    return ValueError(
        f"learning_rate: expected steps with finite losses, gradients and statistics, got none in {where}; lower it, "
        "choose precision=float32, or look for data that are not finite"
    )


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
