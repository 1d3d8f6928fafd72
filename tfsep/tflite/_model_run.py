"""Runs of a model in inference mode, which leave its variables as they were."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.foreign_state import assign_back, has_foreign_code
from tfsep._keras.model_io import layers_in
from tfsep._utils.batch_filling import batches, without_filling
from tfsep._utils.foreign_errors import cause_of
from tfsep.tflite._batch_mixing import BatchMixing, batch_mixing, same_but_rounding
from tfsep.tflite._model_signature import ModelSignature


class StateScope(keras.StatelessScope):
    """A scope in which Keras's variables have given values and keep new ones to themselves.

    Attributes:
        assigned: the variables that were assigned, and their last values.
    """

    def __init__(self, values: Sequence[tuple[keras.Variable, Any]]) -> None:
        super().__init__(values)
        self.assigned: dict[int, tuple[keras.Variable, Any]] = {}

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        """Note a new value."""
        self.assigned[id(update[0])] = update
        super().add_update(update)


def effective_state(
    graph: tf.Graph, assigned: Mapping[int, tuple[keras.Variable, Any]], reads: Mapping[int, Any]
) -> set[int]:
    """Return which of the variables that a traced call assigns have an effect on its outputs, now or later.

    Layers that augment images in training may draw a number at inference too, and count their draws, for nothing.

    Args:
        graph: the graph of the traced function.
        assigned: by id, each variable and the new value.
        reads: by id, the tensors in the graph that hold the values from before; those that are captured are found.
    """
    captured = {id(outside): inside for outside, inside in graph.captures}
    found: set[int] = set()
    reached: set[tf.Operation] = set()
    waiting = [output.op for output in graph.outputs]
    while waiting:
        while waiting:
            operation = waiting.pop()
            if operation not in reached:
                reached.add(operation)
                waiting += [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
        for key, (variable, value) in assigned.items():
            before = reads.get(key, captured.get(id(getattr(variable.value, "handle", None))))
            if key not in found and (before is None or before.op in reached):
                found.add(key)
                waiting += [value.op] if hasattr(value, "op") else []
    return found


class ModelRun:
    """A model on samples in turn, whose state, that of stateful recurrent layers, starts at its present value.

    Samples are computed in one batch where the model computes each on its own; a model with state, or one whose samples
    depend on each other, runs in the batches of its file.

    Attributes:
        signature: the model.
        mixing: what the outputs of a sample owe to others of its batch; None before the first run, and where they owe
            nothing or the model takes no larger batch.
    """

    def __init__(self, signature: ModelSignature) -> None:
        self.signature = signature
        self.mixing: BatchMixing | None = None
        self._batch = signature.batch_size or 1
        self._state: dict[int, tuple[keras.Variable, Any]] = {}
        self._foreign = [(variable, variable.numpy()) for variable in self._foreign_variables()]
        self._together: bool | None = None

    @cached_property
    def _traced(self) -> tuple[Any, set[int]]:
        """The model's call as a graph, and the variables that it assigns and that have an effect."""
        function = tf.function(self.signature.call, autograph=False)
        with StateScope([]) as scope:
            graph = function.get_concrete_function(batch_specs(self.signature)).graph
        return function, effective_state(graph, scope.assigned, {})

    def _foreign_variables(self) -> list[tf.Variable]:
        """TensorFlow's variables behind the call: a layer of somebody else's may assign them past every scope.

        Keras's list does not tell: it lacks some, and those of a SavedModel, which it has, its graphs assign
        themselves. So the call is traced. That is spared where every layer is Keras's or this library's.
        """
        if not any(has_foreign_code(layer) for layer in layers_in(self.signature.model)):
            return []
        return list(self._traced[0].get_concrete_function(batch_specs(self.signature)).graph.variables)

    @cached_property
    def _graph(self) -> Callable[..., tuple[Any, ...]] | None:
        """The call as ``predict`` has it, a graph, where eager layers of Keras's compute something else.

        Those of integers round these. In channels first, where an image has as many columns as channels, Keras takes
        the bias of a convolution for one of columns, which TensorFlow corrects in graphs.

        None for other models, and where the model has a state, whose new values a graph does not give back.
        """
        first = any(getattr(each, "data_format", "") == "channels_first" for each in layers_in(self.signature.model))
        if not first and all(tf.as_dtype(spec.dtype).is_floating for spec in self.signature.inputs):
            return None
        function, has_state = self._traced
        # A concrete function spares TensorFlow's warning of many traces, of many models.
        return None if has_state else lambda tensors: function.get_concrete_function(tensors)(tensors)

    def restore(self) -> None:
        """Give TensorFlow's variables, which no scope covers, the values from before the run."""
        for variable, value in self._foreign:
            assign_back(variable, value)

    def step(self, inputs: Sequence[np.ndarray], *, eager: bool = False) -> tuple[np.ndarray, ...]:
        """Run one batch.

        Args:
            inputs: arrays in the order of the model's inputs.
            eager: whether every layer's call has numbers, for who watches these, also where ``predict`` has a graph.

        Returns:
            The outputs in the signature's order.

        Raises:
            ValueError: if the model does not compute them.
        """
        tensors = [tf.constant(array) for array in inputs]
        function = self.signature.call if eager or self._graph is None else self._graph
        with StateScope(list(self._state.values())) as scope:
            try:
                outputs = function(tensors)
            except Exception as error:  # whatever a model's own code raises
                name = self.signature.model.name
                raise ValueError(
                    f"data: expected samples that {name!r} computes, got others ({cause_of(error)})"
                ) from error
        if scope.assigned:
            own = scope.assigned.keys() & self._traced[1]
            self._state = self._state | {key: scope.assigned[key] for key in own}
        return tuple(np.asarray(output) for output in outputs)

    def parts(self, inputs: Sequence[np.ndarray]) -> Iterator[tuple[tuple[np.ndarray, ...], int]]:
        """Yield samples in batches to run, each with its number of samples without the filling."""
        if self._together is None:
            self._outputs_together([array[: 2 * self._batch] for array in inputs])
        yield from batches(inputs, len(inputs[0]) if self._together else self._batch)

    def again(
        self, inputs: Sequence[np.ndarray], values: Sequence[tuple[keras.Variable, Any]] = ()
    ) -> tuple[np.ndarray, ...]:
        """Run samples from the model's present state.

        Args:
            inputs: arrays in the order of the model's inputs.
            values: other values of some variables, which a graph does not take.
        """
        self.restore()
        self._state = {id(variable): (variable, value) for variable, value in values}
        return self(inputs, eager=bool(values))

    def __call__(self, inputs: Sequence[np.ndarray], *, eager: bool = False) -> tuple[np.ndarray, ...]:
        """Run any number of samples; see `step`."""
        outputs = self._outputs_together(inputs) if self._together is None else None
        if outputs is not None:
            return outputs
        runs = []
        for arrays, count in self.parts(inputs):
            outputs = self.step(arrays, eager=eager)
            runs.append([without_filling(output, len(arrays[0]), count) for output in outputs])
        return tuple(np.concatenate(parts) for parts in zip(*runs, strict=True))

    def _outputs_together(self, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...] | None:
        """Find out whether samples come out the same in one batch with others; if so, return its outputs."""
        before, total, self._together = self._state, len(inputs[0]), False
        if total < 2 * self._batch:
            return None

        def step(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
            try:
                return self.step(arrays)
            finally:
                self._state = before
                self.restore()

        try:
            first = self.step([array[: self._batch] for array in inputs])
            has_state, outputs = bool(self._state.keys() - before.keys()), step(inputs)
            last = first if has_state else step([array[total - self._batch :] for array in inputs])
        except Exception:  # the model's own code, which takes one batch only; that batch is run again, and may raise
            return None
        finally:
            self._state = before
            self.restore()
        ends = slice(self._batch), slice(total - self._batch, None)
        self._together = not has_state and all(
            len(c) == total and same_but_rounding(a, c[ends[0]]) and same_but_rounding(b, c[ends[1]])
            for a, b, c in zip(*(map(np.atleast_1d, each) for each in (first, last, outputs)), strict=True)
        )
        if self._together:
            return outputs
        self.mixing = batch_mixing(step, inputs, self._batch)
        return None


@contextmanager
def model_run(signature: ModelSignature) -> Iterator[ModelRun]:
    """Run a model from its present state, and leave its variables as they were."""
    run = ModelRun(signature)
    try:
        yield run
    finally:
        run.restore()


def batch_specs(signature: ModelSignature) -> list[tf.TensorSpec]:
    """One batch of a model's inputs."""
    return [tf.TensorSpec((signature.batch_size or 1, *spec.shape), spec.dtype) for spec in signature.inputs]
