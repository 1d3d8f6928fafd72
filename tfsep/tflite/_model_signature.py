"""The signature of a Keras model: named inputs and outputs in a fixed order, and a function between arrays."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.model_copies import float32_copy, other_dtypes
from tfsep._keras.model_graph import require_model
from tfsep._keras.model_io import inputs_of, output_names, shape_for
from tfsep._keras.types import Model
from tfsep.tflite._input_spec import InputSpec
from tfsep.tflite._tensor_info import TensorInfo


@dataclass(frozen=True)
class ModelSignature:
    """A model's inputs, in its own order, which is that of a tuple of data, and its outputs, sorted by name.

    A file's signature sorts outputs by name too, so that a model's and its file's correspond.

    Attributes:
        model: the Keras model.
        inputs: inputs as ``model.inputs`` has them.
        output_names: sorted.
        note: a remark for the user about the model that is run, or nothing.
    """

    model: Model
    inputs: tuple[InputSpec, ...]
    output_names: tuple[str, ...]
    note: str
    _output_order: tuple[int, ...]

    @property
    def input_names(self) -> list[str]:
        """The inputs' names in the model's own order."""
        return [spec.name for spec in self.inputs]

    @property
    def outputs_in_order(self) -> tuple[str, ...]:
        """The outputs' names in the model's own order, which is that of a file's list."""
        places = zip(self._output_order, self.output_names, strict=True)
        return tuple(name for _, name in sorted(places))

    def pack_inputs(self, inputs: Sequence[Any]) -> Any:
        """Return inputs, given in the model's order, in the structure that the model takes."""
        structure = inputs_of(self.model)
        return inputs[0] if structure is None else tf.nest.pack_sequence_as(structure, list(inputs))

    def sort_outputs(self, outputs: Any) -> tuple[Any, ...]:
        """Return the model's outputs sorted by name."""
        flat = tf.nest.flatten(outputs)
        return tuple(flat[place] for place in self._output_order)

    def __call__(self, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Run the model in inference mode on arrays in the order of its inputs."""
        structure = self.pack_inputs([tf.constant(array) for array in inputs])
        return tuple(np.asarray(output) for output in self.sort_outputs(self.model(structure, training=False)))

    def input_order(self, inputs: Sequence[TensorInfo]) -> list[int]:
        """Return for each input of a file the place of the model's: by name, where there are several."""
        if len(self.inputs) == 1:
            return [0]
        return [self.input_names.index(info.name) for info in inputs]

    def sized_as(self, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> Self:
        """Return this signature with open sizes replaced by those of a file's inputs.

        Raises:
            ValueError: if the file's inputs and outputs are not the model's.
        """
        for kind, expected, infos in (
            ("inputs", self.input_names, inputs),
            ("outputs", list(self.output_names), outputs),
        ):
            names = [info.name for info in infos]
            if len(expected) != len(names):
                raise ValueError(f"path: expected a file with {kind} {expected}, as the model's, got {names}")
        names = [info.name for info in inputs]
        if len(names) > 1 and set(self.input_names) != set(names):
            raise ValueError(f"path: expected a file with inputs {self.input_names}, as the model's, got {names}")
        specs = list(self.inputs)
        for place, info in zip(self.input_order(inputs), inputs, strict=True):
            shape, actual = specs[place].shape, info.shape[1:]
            if len(shape) != len(actual) or any(side not in (None, a) for side, a in zip(shape, actual, strict=True)):
                raise ValueError(f"path: expected a file with input {shape}, as the model's, got {actual}")
            specs[place] = specs[place]._replace(shape=actual)
        return replace(self, inputs=tuple(specs))


def signature_of(model: Model, input_shape: tuple[int, ...] | None = None) -> ModelSignature:
    """Return a model's signature.

    Args:
        model: a built Keras model.
        input_shape: shape without the batch; for a model of one input that leaves sizes open, or that was not built on
            symbolic inputs.

    Raises:
        TypeError: if it is no Keras model.
        ValueError: if it is not built, or `input_shape` does not fit it.
    """
    require_model(model)
    if not model.built and input_shape is None:
        raise ValueError(
            f"model: expected a built model, got {model.name!r}, which is not: build it, or give input_shape"
        )
    note = ""
    if half := other_dtypes(model):
        note = f"the model computes in {', '.join(half)}; the file is made of its float32 copy, and compared with that"
        model = float32_copy(model)
    if input_shape is not None:
        input_shape = shape_for(model, input_shape)
    inputs = inputs_of(model)
    tensors = [] if inputs is None else tf.nest.flatten(inputs)
    if not tensors:
        return _subclassed_signature(model, input_shape, note)
    names = _identifiers([tensor.name for tensor in tensors], "input")
    shapes = [tuple(tensor.shape[1:]) for tensor in tensors] if input_shape is None else [input_shape]
    specs = [InputSpec(name, shape, tensor.dtype) for name, shape, tensor in zip(names, shapes, tensors, strict=True)]
    return _signature(model, specs, _identifiers(output_names(model), "output"), note)


def _subclassed_signature(model: Model, input_shape: tuple[int, ...] | None, note: str) -> ModelSignature:
    """The signature of a subclassed model, which has no symbolic inputs."""
    if input_shape is None:
        raise ValueError(f"input_shape: expected the shape of one input of {model.name!r}, without the batch, got None")
    outputs = tf.nest.flatten(model(tf.zeros((1, *input_shape)), training=False))
    names = [f"output_{i}" for i in range(len(outputs))]
    return _signature(model, [InputSpec("input", input_shape, "float32")], names, note)


def _signature(model: Model, inputs: list[InputSpec], outputs: list[str], note: str) -> ModelSignature:
    order = tuple(sorted(range(len(outputs)), key=outputs.__getitem__))
    return ModelSignature(model, tuple(inputs), tuple(outputs[i] for i in order), note, order)


def _identifiers(names: Sequence[str], fallback: str) -> list[str]:
    """Names that a signature takes: letters, digits and underscores, each once."""
    cleaned = [re.sub(r"\W", "_", name) for name in names]
    if len(set(cleaned)) == len(cleaned) and all(name.isidentifier() for name in cleaned):
        return cleaned
    return [f"{fallback}_{i}" for i in range(len(names))]
