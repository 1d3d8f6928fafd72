"""How a model with symbolic inputs is called."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tfsep._keras.backend import tf
from tfsep._keras.call_form import CallForm, shape_tree, symbolic_form
from tfsep._keras.input_spec import InputSpec, identifiers
from tfsep._keras.model_io import inputs_of
from tfsep._keras.types import InputShapes, Model
from tfsep._utils.arguments import short_repr


class SymbolicCall(NamedTuple):
    """The call of a model with symbolic inputs.

    Attributes:
        form: how the inputs become arguments.
        inputs: the inputs, by names that a file's signature takes.
        structures: the structures of places in which samples may come, see `tfsep._keras.sample_reader.SampleReader`:
            that of the model, and dicts by the tensors' own names and by those of `inputs`.
        batch_size: the model's own batch; None where any is taken.
    """

    form: CallForm
    inputs: tuple[InputSpec, ...]
    structures: tuple[Any, ...]
    batch_size: int | None


def symbolic_call(model: Model, shapes: InputShapes | None = None) -> SymbolicCall | None:
    """Return the call of a model with symbolic inputs; None for one without.

    Args:
        model: the model.
        shapes: shapes without the batch for sizes that it leaves open: of its one input, of all in order, or of some by
            name.

    Raises:
        ValueError: for anything but shapes of known sizes that the model takes.

    Examples:
        >>> inputs = [keras.Input((None, 3), name="a"), keras.Input((2,), name="b")]
        >>> outputs = [keras.ops.abs(each) for each in inputs]
        >>> symbolic_call(keras.Model(inputs, outputs), {"a": (5, 3)}).inputs[0]
        InputSpec(name='a', shape=(5, 3), dtype='float32')
    """
    tensors = tf.nest.flatten(inputs_of(model))
    if tensors[:1] in ([], [None]):
        return None
    own = [tensor.name for tensor in tensors]
    names = identifiers(own, "input")
    specs = [
        InputSpec(name, tuple(tensor.shape[1:]), tensor.dtype) for name, tensor in zip(names, tensors, strict=True)
    ]
    form = symbolic_form(model)
    structures = (*form.structures(), *(dict(zip(each, range(len(each)), strict=True)) for each in (own, names)))
    if shapes is not None:
        specs = _with_shapes(model, specs, shapes, structures)
    batches = sorted({tensor.shape[0] for tensor in tensors} - {None})
    if len(batches) > 1:
        raise ValueError(f"model: expected inputs of one batch size, got {', '.join(map(str, batches))}")
    return SymbolicCall(form, tuple(specs), structures, next(iter(batches), None))


def _with_shapes(
    model: Model, specs: list[InputSpec], input_shape: InputShapes, structures: Sequence[Any]
) -> list[InputSpec]:
    """Inputs with the shapes that a caller gives them, in order or in one of these structures.

    Raises:
        ValueError: for anything but shapes of known sizes that the model takes.
    """
    given = shape_tree(input_shape)
    names = ", ".join(spec.name for spec in specs)
    flat = tf.nest.flatten(given)
    places = list(range(len(specs)))
    if isinstance(given, Mapping):
        mappings = (each for each in structures if isinstance(each, Mapping) and set(given) <= set(each))
        structure = next(mappings, None)
        if structure is None:
            raise ValueError(f"input_shape: expected shapes of inputs {names}, got {', '.join(sorted(given))}")
        places = tf.nest.flatten({name: structure[name] for name in given})
    if len(places) != len(flat):
        raise ValueError(
            f"input_shape: expected a shape for each of {len(specs)} inputs ({names}), got {short_repr(input_shape)}"
        )
    sized = list(specs)
    for place, own in zip(places, flat, strict=True):
        spec, shape = specs[place], own.shape
        if len(shape) != len(spec.shape) or any(
            s is None or k not in (None, s) for k, s in zip(spec.shape, shape, strict=True)
        ):
            raise ValueError(f"input_shape: expected {spec.shape}, as {model.name!r} has it, got {shape}")
        sized[place] = spec._replace(shape=shape)
    return sized
