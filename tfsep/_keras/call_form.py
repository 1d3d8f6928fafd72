"""The form in which a model takes its inputs: one tensor, a structure of them, or an argument for each."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfsep._keras.backend import tf
from tfsep._keras.model_io import inputs_of
from tfsep._keras.types import InputShapes, Model, Shape
from tfsep.geometry._sizes import normalize_shape


@dataclass(frozen=True)
class CallForm:
    """How tensors in a model's own order become the arguments of its call.

    Attributes:
        structure: anything in the place of each input.
        separate: whether each input is an argument of its own.
    """

    structure: Any
    separate: bool = False

    def arguments(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        """Return the positional arguments of the call."""
        if self.separate:
            return tuple(tensors)
        return (tf.nest.pack_sequence_as(self.structure, list(tensors)),)

    def names(self) -> list[str]:
        """Return a name for each input of a model that names none."""
        if isinstance(self.structure, Mapping):
            return sorted(self.structure)
        count = len(tf.nest.flatten(self.structure))
        return ["input"] if count == 1 else [f"input_{i}" for i in range(count)]


def symbolic_form(model: Model) -> CallForm:
    """Return the form of a model that has symbolic inputs."""
    return CallForm(inputs_of(model))


def subclassed_form(model: Model, shapes: InputShapes) -> tuple[CallForm, list[str], list[Shape]]:
    """Return the form, the names and the shapes of the inputs of a model without symbolic ones.

    Args:
        model: the model; the arguments of its ``call`` are its inputs where these are several of as many.
        shapes: a shape without the batch, or a list, tuple or dict of them, in which form the model takes them.

    Raises:
        ValueError: for anything but shapes of known sizes.
    """
    given = each_shape(shapes)
    arguments = _input_arguments(model)
    if isinstance(given, tuple):
        return CallForm(0), ["input"], [given]
    count = len(given)
    if count > 1 and count == len(arguments):
        by_name = dict(zip(arguments, given, strict=True)) if isinstance(given, list) else given
        if set(by_name) == set(arguments):
            return CallForm([0] * count, separate=True), arguments, [by_name[name] for name in arguments]
    if isinstance(given, dict):
        form = CallForm(dict.fromkeys(given, 0))
        return form, form.names(), [given[name] for name in form.names()]
    form = CallForm([0] * count if isinstance(shapes, list) else (0,) * count)
    return form, form.names(), given


def each_shape(shapes: InputShapes) -> Shape | list[Shape] | dict[str, Shape]:
    """Return shapes as a caller gives them in one form: a tuple, a list of tuples, or a dict of tuples.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(shapes, Mapping):
        return {str(name): normalize_shape(shape, "input_shape") for name, shape in shapes.items()}
    if isinstance(shapes, list | tuple) and shapes and all(isinstance(shape, Sequence) for shape in shapes):
        return [normalize_shape(shape, "input_shape") for shape in shapes]
    return normalize_shape(shapes, "input_shape")


def built_shapes(model: Model) -> InputShapes | None:
    """Return the shapes on which a model without symbolic inputs was built, without the batch; None if not known."""
    structure = (model.get_build_config() or {}).get("input_shape")
    if not structure:
        return None
    if isinstance(structure, Mapping):
        return {name: tuple(shape[1:]) for name, shape in structure.items() if shape}
    if isinstance(structure[0], Sequence):
        return type(structure)(tuple(shape[1:]) for shape in structure)
    return tuple(structure[1:])


def shapes_of_file(model: Model, names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> InputShapes:
    """Return the shapes of a file's inputs in the form in which a model without symbolic inputs takes them."""
    if len(shapes) == 1:
        return shapes[0]
    built = built_shapes(model)
    if isinstance(built, Mapping) and len(built) == len(shapes):
        return dict(zip(sorted(built), shapes, strict=True))
    if not isinstance(built, Mapping) and list(names) == [f"input_{i}" for i in range(len(names))]:
        return tuple(shapes) if isinstance(built, tuple) else list(shapes)
    return dict(zip(names, shapes, strict=True))


def _input_arguments(model: Model) -> list[str]:
    """The names of the arguments of a model's call that are tensors: those by position that have no default."""
    parameters = inspect.signature(model.call).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    own = (p.name for p in parameters if p.kind in positional and p.default is inspect.Parameter.empty)
    return [name for name in own if name not in ("training", "mask")]
