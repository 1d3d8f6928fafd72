"""A Keras model as a file sees it: named inputs and outputs, each side in one order, and a function between arrays."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.model_graph import leaf_layers, require_model
from tfsep._keras.model_io import inputs_of, output_names, shape_for
from tfsep.tflite._sample_reader import Field


@dataclass(frozen=True)
class Interface:
    """Inputs and outputs of a model: inputs in its own order, which is that of a tuple of data, outputs by name.

    A signature lists outputs by name too, so that a model's and its file's stand side by side.

    Attributes:
        model: the Keras model.
        fields: its inputs, as ``model.inputs`` has them.
        output_names: its outputs' names, by name.
        note: what a user should know of the model that is run, or nothing.
    """

    model: Any
    fields: tuple[Field, ...]
    output_names: tuple[str, ...]
    note: str
    _output_order: tuple[int, ...]

    @property
    def outputs_in_order(self) -> tuple[str, ...]:
        """The outputs' names in the model's own order, in which a file lists them."""
        places = zip(self._output_order, self.output_names, strict=True)
        return tuple(name for _, name in sorted(places))

    def structure(self, inputs: Sequence[Any]) -> Any:
        """Return inputs, given in the model's order, in the structure that the model takes."""
        given = inputs_of(self.model)
        return inputs[0] if given is None else tf.nest.pack_sequence_as(given, list(inputs))

    def arrange(self, outputs: Any) -> tuple[Any, ...]:
        """Return the model's outputs by name."""
        flat = tf.nest.flatten(outputs)
        return tuple(flat[place] for place in self._output_order)

    def __call__(self, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Run the model, as it is at inference, on arrays in the order of its inputs."""
        structure = self.structure([tf.constant(array) for array in inputs])
        return tuple(np.asarray(output) for output in self.arrange(self.model(structure)))


def interface_of(model: Any, input_shape: tuple[int, ...] | None = None) -> Interface:
    """Return a model's interface.

    Args:
        model: a built Keras model.
        input_shape: without the batch; for a model of one input that leaves sizes open, or that was not built on
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
    half = sorted({layer.compute_dtype for layer in leaf_layers(model)} & set(_NOT_IN_FILES))
    if half:
        note = f"the model computes in {', '.join(half)}; the file is made of its float32 copy, and compared with that"
        model = _in_float32(model)
    if input_shape is not None:
        input_shape = shape_for(model, input_shape)
    inputs = inputs_of(model)
    tensors = [] if inputs is None else tf.nest.flatten(inputs)
    if not tensors:
        return _unnamed(model, input_shape, note)
    names = _identifiers([tensor.name for tensor in tensors], "input")
    shapes = [tuple(tensor.shape[1:]) for tensor in tensors] if input_shape is None else [input_shape]
    fields = [Field(name, shape, tensor.dtype) for name, shape, tensor in zip(names, shapes, tensors, strict=True)]
    return _interface(model, fields, _identifiers(output_names(model), "output"), note)


_NOT_IN_FILES = ("float16", "bfloat16", "float64")
"""Types that models compute in, and for which runtimes on devices have no convolutions."""


def _in_float32(model: Any) -> Any:
    """Return a copy of a model that computes in float32, with the same weights.

    Raises:
        ValueError: for a subclassed model, which Keras cannot copy layer by layer.
    """

    def clone(layer: Any) -> Any:
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    if inputs_of(model) is None:
        raise ValueError(f"model: expected one that computes in float32, got {model.name!r}, which does not")
    copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def _unnamed(model: Any, input_shape: tuple[int, ...] | None, note: str) -> Interface:
    """The interface of a subclassed model, which says nothing of its inputs itself."""
    if input_shape is None:
        raise ValueError(f"input_shape: expected the shape of one input of {model.name!r}, without the batch, got None")
    outputs = tf.nest.flatten(model(tf.zeros((1, *input_shape))))
    return _interface(
        model, [Field("input", input_shape, "float32")], [f"output_{i}" for i in range(len(outputs))], note
    )


def _interface(model: Any, fields: list[Field], outputs: list[str], note: str) -> Interface:
    order = tuple(sorted(range(len(outputs)), key=outputs.__getitem__))
    return Interface(model, tuple(fields), tuple(outputs[i] for i in order), note, order)


def _identifiers(names: Sequence[str], fallback: str) -> list[str]:
    """Names that a signature takes: letters, digits and underscores, each once."""
    cleaned = [re.sub(r"\W", "_", name) for name in names]
    if len(set(cleaned)) == len(cleaned) and all(name.isidentifier() for name in cleaned):
        return cleaned
    return [f"{fallback}_{i}" for i in range(len(names))]
