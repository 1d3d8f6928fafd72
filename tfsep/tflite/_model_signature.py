"""The signature of a Keras model: named inputs and outputs in a fixed order, and a function between arrays."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from tfsep._keras.backend import keras, tf
from tfsep._keras.call_form import (
    CallForm,
    built_shapes,
    each_shape,
    shapes_of_file,
    subclassed_form,
    symbolic_form,
)
from tfsep._keras.input_spec import InputSpec
from tfsep._keras.model_copies import float32_copy, other_dtypes
from tfsep._keras.model_graph import require_model
from tfsep._keras.model_io import inputs_of, output_names
from tfsep._keras.types import InputShapes, Model
from tfsep.tflite._tensor_info import TensorInfo


@dataclass(frozen=True)
class ModelSignature:
    """A model's inputs, in its own order, which is that of a tuple of data, and its outputs.

    Attributes:
        model: the Keras model.
        inputs: inputs as ``model.inputs`` has them.
        output_names: sorted; beside a file, in the order of its `LiteRTModel.outputs`, see `sized_as`.
        notes: remarks for the user about the model that is run.
        batch_size: the batch of the model's own inputs, or of its file; None where any is taken.
        form: how the inputs become arguments.
    """

    model: Model
    inputs: tuple[InputSpec, ...]
    output_names: tuple[str, ...]
    notes: tuple[str, ...]
    batch_size: int | None
    form: CallForm
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

    def call(self, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """Call the model in inference mode on tensors in the order of its inputs; outputs in that of `output_names`."""
        flat = tf.nest.flatten(self.model(*self.form.arguments(inputs), training=False))
        return tuple(flat[place] for place in self._output_order)

    def input_order(self, inputs: Sequence[TensorInfo]) -> list[int]:
        """Return for each input of a file the place of the model's: by name, where there are several."""
        if len(self.inputs) == 1:
            return [0]
        return [self.input_names.index(info.name) for info in inputs]

    def sized_as(self, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], listed: Sequence[int]) -> Self:
        """Return this signature with a file's batch, sizes of inputs in place of open ones, and order of outputs.

        Args:
            inputs: the file's inputs.
            outputs: the file's outputs.
            listed: the place of each output in the file's own list.

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
        order = _output_places(self.outputs_in_order, [info.name for info in outputs], listed)
        return replace(
            self,
            inputs=tuple(specs),
            batch_size=inputs[0].shape[0],
            output_names=tuple(self.outputs_in_order[place] for place in order),
            _output_order=order,
        )


def _output_places(own: Sequence[str], names: Sequence[str], listed: Sequence[int]) -> tuple[int, ...]:
    """The place in a model's outputs of each of a file's: by name where the names are the same, else by position.

    The position is that in the file's list, or the number in ``output_0``, ``output_1``, …: the names of a converter
    that does not keep the order of its list.
    """
    if set(own) == set(names):
        return tuple(own.index(name) for name in names)
    numbered = [re.fullmatch(r"output_(\d+)", name) for name in names]
    positions = [int(found[1]) for found in numbered if found]
    ranked = positions if len(positions) == len(names) else listed
    by_position = sorted(range(len(names)), key=ranked.__getitem__)
    return tuple(by_position.index(output) for output in range(len(names)))


def signature_of(
    model: Model,
    input_shape: InputShapes | None = None,
    batch_size: int | None = None,
    file_inputs: Sequence[TensorInfo] = (),
) -> ModelSignature:
    """Return a model's signature.

    Args:
        model: a built Keras model.
        input_shape: shape without the batch, or a shape for each of several inputs; for a model that leaves sizes open,
            or that was not built on symbolic inputs.
        batch_size: batch to run the model in; None for its own.
        file_inputs: inputs of a file, which give their shapes to a model that was not built on symbolic inputs.

    Raises:
        TypeError: if it is no Keras model.
        ValueError: if it is not built, or `input_shape` does not fit it.
    """
    require_model(model)
    if not model.built and input_shape is None:
        raise ValueError(
            f"model: expected a built model, got {model.name!r}, which is not: build it, or give input_shape"
        )
    notes = []
    if half := other_dtypes(model):
        notes += [
            f"the model computes in {', '.join(half)}; the file is made of its float32 copy, and compared with that"
        ]
        model = float32_copy(model)
    tensors = tf.nest.flatten(inputs_of(model))
    if tensors[:1] in ([], [None]):
        if input_shape is None and file_inputs:
            names, shapes = [info.name for info in file_inputs], [info.shape[1:] for info in file_inputs]
            input_shape = shapes_of_file(model, names, shapes)
        given = built_shapes(model) if input_shape is None else input_shape
        return replace(_subclassed_signature(model, given, notes), batch_size=batch_size)
    names = _identifiers([tensor.name for tensor in tensors], "input")
    specs = [
        InputSpec(name, tuple(tensor.shape[1:]), tensor.dtype) for name, tensor in zip(names, tensors, strict=True)
    ]
    if input_shape is not None:
        specs = _with_shapes(model, specs, input_shape)
    batches = sorted({tensor.shape[0] for tensor in tensors} - {None})
    if len(batches) > 1:
        raise ValueError(f"model: expected inputs of one batch size, got {', '.join(map(str, batches))}")
    if batch_size is not None and batches not in ([], [batch_size]):
        notes += [
            f"the model's own batch is {batches[0]}, the file's is {batch_size}: the model was verified in batches of "
            f"{batch_size}"
        ]
    batch = next(iter(batches), None) if batch_size is None else batch_size
    outputs = _identifiers(output_names(model), "output")
    return _signature(model, specs, outputs, notes, batch, symbolic_form(model))


def _with_shapes(model: Model, specs: list[InputSpec], input_shape: InputShapes) -> list[InputSpec]:
    """Inputs with the shapes that a caller gives them.

    Raises:
        ValueError: for anything but shapes of known sizes that the model takes.
    """
    given = each_shape(input_shape)
    if isinstance(given, tuple):
        given = [given]
    if isinstance(given, list):
        if len(given) != len(specs):
            names = ", ".join(spec.name for spec in specs)
            raise ValueError(f"input_shape: expected a shape for each of {len(specs)} inputs ({names}), got {given}")
        given = dict(zip((spec.name for spec in specs), given, strict=True))
    if unknown := sorted(set(given) - {spec.name for spec in specs}):
        names = ", ".join(spec.name for spec in specs)
        raise ValueError(f"input_shape: expected shapes of inputs {names}, got {', '.join(unknown)}")
    for spec in specs:
        shape = given.get(spec.name, spec.shape)
        fits = len(shape) == len(spec.shape) and all(
            s is not None and k in (None, s) for k, s in zip(spec.shape, shape, strict=True)
        )
        if spec.name in given and not fits:
            raise ValueError(f"input_shape: expected {spec.shape}, as {model.name!r} has it, got {shape}")
    return [spec._replace(shape=given.get(spec.name, spec.shape)) for spec in specs]


def _subclassed_signature(model: Model, shapes: InputShapes | None, notes: list[str]) -> ModelSignature:
    """The signature of a subclassed model, which has no symbolic inputs, on inputs of these shapes."""
    if shapes is None:
        raise ValueError(
            f"input_shape: expected the shapes of the inputs of {model.name!r}, without the batch, got None"
        )
    form, names, sizes = subclassed_form(model, shapes)
    specs = [InputSpec(name, size, "float32") for name, size in zip(_identifiers(names, "input"), sizes, strict=True)]
    if any(None in size for size in sizes):
        raise ValueError(f"input_shape: expected the sizes of the inputs of {model.name!r}, got {_listed(specs)}")
    # Inside the scope no variable of the model changes; those that the first call makes are made at its end.
    with keras.StatelessScope():
        arguments = form.arguments([tf.zeros((1, *size)) for size in sizes])
        outputs = tf.nest.flatten(model(*arguments, training=False))
    return _signature(model, specs, [f"output_{i}" for i in range(len(outputs))], notes, None, form)


def _listed(specs: Sequence[InputSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.shape}" for spec in specs)


def _signature(
    model: Model, inputs: list[InputSpec], outputs: list[str], notes: list[str], batch_size: int | None, form: CallForm
) -> ModelSignature:
    order = tuple(sorted(range(len(outputs)), key=outputs.__getitem__))
    return ModelSignature(model, tuple(inputs), tuple(outputs[i] for i in order), tuple(notes), batch_size, form, order)


def _identifiers(names: Sequence[str], fallback: str) -> list[str]:
    """Names that a signature takes: letters, digits and underscores, each once."""
    cleaned = [re.sub(r"\W", "_", name) for name in names]
    if len(set(cleaned)) == len(cleaned) and all(name.isidentifier() for name in cleaned):
        return cleaned
    return [f"{fallback}_{i}" for i in range(len(names))]
