"""How a model without symbolic inputs is called: found out by calling it, in the forms that are likely."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.call_form import (
    CallForm,
    Candidate,
    Given,
    arguments_left_out,
    candidates,
    input_counts,
    required_inputs,
)
from tfsep._keras.id_inputs import id_inputs
from tfsep._keras.input_spec import InputSpec, identifiers
from tfsep._keras.model_io import inputs_of
from tfsep._keras.sample_reader import is_array, peeked
from tfsep._keras.types import Data, InputShapes, Model
from tfsep._utils.arguments import short_repr
from tfsep._utils.foreign_errors import cause_of


class SubclassedCall(NamedTuple):
    """A call of a model without symbolic inputs.

    Attributes:
        form: how the inputs become arguments.
        inputs: the inputs.
        outputs: the number of outputs.
        notes: remarks for the user.
    """

    form: CallForm
    inputs: tuple[InputSpec, ...]
    outputs: int
    notes: list[str]


def sample_for(model: Model, data: Data | None, argument: str) -> tuple[Any, Data | None]:
    """Return the first batch of data for a model without symbolic inputs, else None; and the data, all of it.

    Args:
        model: the model.
        data: data of `tfsep._keras.sample_reader.SampleReader`.
        argument: its name in errors.
    """
    if data is None or not isinstance(model, keras.Model) or inputs_of(model) is not None:
        return None, data
    # Keras takes a list for several inputs; of one input, it holds batches.
    if isinstance(data, list) and all(map(is_array, data)) and len(data) in input_counts(model):
        return data, data
    return peeked(data, argument)


def subclassed_call(
    model: Model,
    shapes: InputShapes | None = None,
    batch_size: int = 1,
    sample: Any = None,
    file_inputs: Mapping[str, Given] | None = None,
) -> SubclassedCall:
    """Return the first call that a model computes, of those of `tfsep._keras.call_form.candidates`.

    An input is in float32, as Keras's exporter has it, unless the model does not compute that, or reads ids in it: then
    it has the type of the samples.

    Args:
        model: the model; it may be unbuilt.
        shapes: a shape without the batch, or a structure of them; None for what is known of the model.
        batch_size: samples in the call.
        sample: the first batch of the data, None where there is none.
        file_inputs: inputs of a file by name.

    Raises:
        ValueError: for a model of which too little is known, or that does not compute inputs of these shapes.
    """
    found = candidates(model, shapes, sample, file_inputs)
    if not found:
        raise ValueError(f"input_shape: expected {_wanted(model)}, without the batch, got {short_repr(shapes)}")
    errors: list[tuple[list[InputSpec], Exception]] = []
    for candidate in found:
        specs = _float_specs(candidate, file_inputs is not None)
        if any(None in spec.shape for spec in specs):
            raise ValueError(f"input_shape: expected the sizes of the inputs of {model.name!r}, got {_listed(specs)}")
        for typed in _typed(candidate, specs):
            try:
                outputs = _called(model, candidate.form, typed, batch_size)
            except Exception as error:  # whatever a model's own code raises
                errors.append((typed, error))
                continue
            inputs = _with_ids(model, candidate, typed, batch_size)
            return SubclassedCall(candidate.form, tuple(inputs), outputs, _notes(model, candidate.form))
    specs, first = errors[0]
    raise ValueError(
        f"input_shape: expected {_wanted(model)} that it computes in batches of {batch_size}, got {_listed(specs)} "
        f"({cause_of(first)})"
    ) from first


def _wanted(model: Model) -> str:
    """What a caller is asked for."""
    required = required_inputs(model)
    if len(required) <= 1:
        return f"the shapes of the inputs of {model.name!r}"
    return f"a shape, or data, for each of the arguments {', '.join(required)} of {model.name!r}"


def _listed(specs: Sequence[InputSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.shape}" for spec in specs)


def _notes(model: Model, form: CallForm) -> list[str]:
    """A remark on arguments that are no inputs."""
    left = arguments_left_out(model, form)
    if not left:
        return []
    names = ", ".join(left)
    return [
        f"left at their default None, and no inputs: {names}; give samples of them, or input_shape with their shapes"
    ]


def _float_specs(candidate: Candidate, of_file: bool) -> list[InputSpec]:
    names = identifiers(candidate.names, "input")
    types = [each.dtype if of_file and each.dtype else "float32" for each in candidate.inputs]
    return [InputSpec(*spec) for spec in zip(names, (each.shape for each in candidate.inputs), types, strict=True)]


def _typed(candidate: Candidate, specs: list[InputSpec]) -> Iterator[list[InputSpec]]:
    """Yield inputs in float32, then in the integers of the samples."""
    yield specs
    typed = [_in_integers(spec, given) for spec, given in zip(specs, candidate.inputs, strict=True)]
    if typed != specs:
        yield typed


def _in_integers(spec: InputSpec, given: Given) -> InputSpec:
    """An input in the type of the samples where that is of integers."""
    is_whole = given.dtype is not None and np.dtype(given.dtype).kind in "biu"
    return spec._replace(dtype=str(given.dtype)) if is_whole else spec


@contextmanager
def _trial() -> Iterator[None]:
    """A scope that changes no variable, without Keras's warnings of layers that a form of call does not build."""
    with warnings.catch_warnings(), keras.StatelessScope():
        warnings.simplefilter("ignore")
        yield


def _called(model: Model, form: CallForm, specs: Sequence[InputSpec], batch_size: int) -> int:
    """The number of outputs of a call on zeros, which changes no variable; those that it makes are made at its end."""
    arguments, keywords = form.arguments([tf.zeros((batch_size, *spec.shape), spec.dtype) for spec in specs])
    with _trial():
        return len(tf.nest.flatten(model(*arguments, **keywords, training=False)))


def _with_ids(model: Model, candidate: Candidate, specs: list[InputSpec], batch_size: int) -> list[InputSpec]:
    """Inputs, those with ids in the integers of the samples."""
    form, typed = candidate.form, [_in_integers(*each) for each in zip(specs, candidate.inputs, strict=True)]
    if typed == specs:
        return specs

    def call(*tensors: Any) -> Any:
        arguments, keywords = form.arguments(tensors)
        return model(*arguments, **keywords, training=False)

    given = [tf.TensorSpec((batch_size, *spec.shape), spec.dtype, spec.name) for spec in specs]
    with _trial():
        graph = tf.function(call, autograph=False).get_concrete_function(*given).graph.as_graph_def()
    ids = id_inputs(graph, [spec.name for spec in specs])
    return [whole if spec.name in ids else spec for spec, whole in zip(specs, typed, strict=True)]
