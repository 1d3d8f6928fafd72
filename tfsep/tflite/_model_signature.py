"""The signature of a Keras model: named inputs and outputs in a fixed order, and a function between arrays."""

import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Self

from tfsep._keras.backend import tf
from tfsep._keras.call_form import CallForm, Given
from tfsep._keras.input_spec import InputSpec, identifiers
from tfsep._keras.model_copies import computing_in_float32, float32_model, other_dtypes
from tfsep._keras.model_graph import require_model
from tfsep._keras.model_io import output_names
from tfsep._keras.sample_reader import SampleReader
from tfsep._keras.subclassed_call import subclassed_call
from tfsep._keras.symbolic_call import symbolic_call
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
        structures: the structures of places in which samples may come, see `SampleReader`.
        in_float32: whether the model's layers compute in float32 for each call only.
    """

    model: Model
    inputs: tuple[InputSpec, ...]
    output_names: tuple[str, ...]
    notes: tuple[str, ...]
    batch_size: int | None
    form: CallForm
    structures: tuple[Any, ...]
    in_float32: bool
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
        arguments, keywords = self.form.arguments(inputs)
        with computing_in_float32(self.model) if self.in_float32 else nullcontext():
            flat = tf.nest.flatten(self.model(*arguments, **keywords, training=False))
        return tuple(flat[place] for place in self._output_order)

    def reader(self, argument: str = "data", *, with_labels: bool = True) -> SampleReader:
        """Return a reader of samples of this model."""
        return SampleReader(self.inputs, argument, self.structures, with_labels)

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
    sample: Any = None,
) -> ModelSignature:
    """Return a model's signature.

    Args:
        model: a built Keras model.
        input_shape: shape without the batch, or a shape for each of several inputs; for a model that leaves sizes open,
            or that was not built on symbolic inputs.
        batch_size: batch to run the model in; None for its own.
        file_inputs: inputs of a file, which give their shapes to a model that was not built on symbolic inputs.
        sample: the first batch of the data, which tells how such a model is called; None where there is none.

    Raises:
        TypeError: if it is no Keras model.
        ValueError: if it is not built, or `input_shape` does not fit it.
    """
    require_model(model)
    if not model.built and input_shape is None and sample is None:
        raise ValueError(
            f"model: expected a built model, got {model.name!r}, which is not: build it, or give input_shape or data"
        )
    notes, switched = [], False
    if half := other_dtypes(model):
        model, switched = float32_model(model)
        own = "its layers in float32" if switched else "its float32 copy"
        notes += [f"the model computes in {', '.join(half)}; the file is made of {own}, and compared with that"]
    symbolic = symbolic_call(model, input_shape)
    if symbolic is None:
        given = {info.name: Given(info.shape[1:], "float32" if info.scale else info.dtype) for info in file_inputs}
        batch = batch_size or (file_inputs[0].shape[0] if file_inputs else None)
        call = subclassed_call(model, input_shape, batch or 1, sample, given or None)
        outputs = [f"output_{i}" for i in range(call.outputs)]
        return _signature(
            model, call.inputs, outputs, notes + call.notes, batch, call.form, call.form.structures(), switched
        )
    form, specs, structures, own_batch = symbolic
    if batch_size is not None and own_batch not in (None, batch_size):
        notes += [
            f"the model's own batch is {own_batch}, the file's is {batch_size}: the model was verified in batches of "
            f"{batch_size}"
        ]
    batch = own_batch if batch_size is None else batch_size
    return _signature(
        model, specs, identifiers(output_names(model), "output"), notes, batch, form, structures, switched
    )


def _signature(
    model: Model,
    inputs: Sequence[InputSpec],
    outputs: list[str],
    notes: list[str],
    batch_size: int | None,
    form: CallForm,
    structures: tuple[Any, ...],
    in_float32: bool,
) -> ModelSignature:
    order = tuple(sorted(range(len(outputs)), key=outputs.__getitem__))
    ordered = tuple(outputs[i] for i in order)
    return ModelSignature(model, tuple(inputs), ordered, tuple(notes), batch_size, form, structures, in_float32, order)
