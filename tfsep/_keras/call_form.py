"""The form in which a model takes its inputs: one tensor, structures of them, or an argument for each."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.model_io import inputs_of
from tfsep._keras.types import InputShapes, Model, Shape
from tfsep.geometry._sizes import normalize_shape


@dataclass(frozen=True)
class CallForm:
    """How tensors in a model's own order become the arguments of its call.

    Attributes:
        positional: a structure for each positional argument, with the place of an input at each leaf, or None.
        keywords: structures of keyword arguments.
        names: names of all these arguments, in order.
    """

    positional: tuple[Any, ...]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def arguments(self, tensors: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the positional and the keyword arguments of the call."""

        def put(place: int | None) -> Any:
            return None if place is None else tensors[place]

        return tf.nest.map_structure(put, (self.positional, dict(self.keywords)))

    def structures(self) -> tuple[Any, ...]:
        """Return the structures of places in which samples may come, see `SampleReader`."""
        if len(self.names) == 1 and self.positional:
            return (self.positional[0],)
        by_name = dict(zip(self.names, (*self.positional, *self.keywords.values()), strict=True))
        return (by_name,) if self.keywords else (self.positional, by_name)


@dataclass(frozen=True)
class Given:
    """What is known of an input: a leaf of a structure.

    Attributes:
        shape: shape without the batch.
        dtype: type of the samples that were given; None where there are none.
    """

    shape: Shape
    dtype: str | None = None


class Candidate(NamedTuple):
    """A form in which a model may take its inputs.

    Attributes:
        form: the form.
        names: a name for each input.
        inputs: what is known of each input.
    """

    form: CallForm
    names: list[str]
    inputs: list[Given]


def symbolic_form(model: Model) -> CallForm:
    """Return the form of a model that has symbolic inputs."""
    structure = inputs_of(model)
    count = len(tf.nest.flatten(structure))
    return CallForm((tf.nest.pack_sequence_as(structure, range(count)),), names=("inputs",))


def shape_tree(shapes: InputShapes) -> Any:
    """Return shapes as a caller gives them in one form: a leaf `Given`, or lists, tuples and dicts of such.

    Args:
        shapes: a shape without the batch, or a structure of them.

    Raises:
        ValueError: for anything else.

    Examples:
        >>> shape_tree({"image": (8, 8, 3), "ids": [(4,)]})
        {'image': Given(shape=(8, 8, 3), dtype=None), 'ids': [Given(shape=(4,), dtype=None)]}
    """
    if isinstance(shapes, Mapping):
        return {str(name): shape_tree(shape) for name, shape in shapes.items()}
    if isinstance(shapes, list | tuple) and shapes and all(isinstance(shape, Sequence | Mapping) for shape in shapes):
        return (list if isinstance(shapes, list) else tuple)(map(shape_tree, shapes))
    return Given(normalize_shape(shapes, "input_shape"))


def candidates(
    model: Model, shapes: InputShapes | None, sample: Any = None, file_inputs: Mapping[str, Given] | None = None
) -> list[Candidate]:
    """Return the forms in which a model without symbolic inputs may take them, the likeliest first.

    Args:
        model: the model. The arguments of its ``call`` are its inputs, or a structure of all is its first argument.
        shapes: a shape without the batch, or a structure of them; None for what the model was built on, the samples or
            a file tell.
        sample: the first batch of the data, None where there is none.
        file_inputs: inputs of a file by name.

    Raises:
        ValueError: for anything but shapes.
    """
    parameters = _Parameters.of(model)
    trees: list[Any] = []
    if shapes is not None:
        trees = [_with_types(shape_tree(shapes), sample, parameters)]
    else:
        built, seen = _built_tree(model), _sample_trees(sample, parameters)
        # Samples of more inputs than it was built on are of arguments that Keras does not keep.
        if built is not None and not any(_count(tree) > _count(built) for tree in seen):
            seen = []
        trees = [*seen, *([] if built is None else [_with_types(built, sample, parameters)])]
    found = [candidate for tree in trees for candidate in _forms(tree, parameters)]
    return found if file_inputs is None else _of_file(found, file_inputs, parameters)


def arguments_left_out(model: Model, form: CallForm) -> list[str]:
    """Return the arguments of a model's call that may be inputs, by their default None, and are none in a form."""
    return [name for name in _Parameters.of(model).open_names if name not in form.names]


def input_counts(model: Model) -> set[int]:
    """Return how many inputs a model may have, of what is known of it."""
    parameters = _Parameters.of(model)
    return {len(parameters.required), _count(_built_tree(model))} - {0, 1}


def required_inputs(model: Model) -> list[str]:
    """Return the names of the arguments that a model's call needs."""
    return _Parameters.of(model).required


class _Parameters(NamedTuple):
    """The arguments of a model's call that may be inputs.

    Attributes:
        positional: names of those that may come by position.
        keyword: names of those that come by keyword only.
        required: names of those without a default.
        open_names: names of those whose default is None.
        rest: name of the argument that takes any further ones by position, or None.
        takes_any: whether there is one that takes any further keywords.
    """

    positional: list[str]
    keyword: list[str]
    required: list[str]
    open_names: list[str]
    rest: str | None
    takes_any: bool

    @classmethod
    def of(cls, model: Model) -> "_Parameters":
        every = inspect.signature(model.call).parameters.values()
        # Those that Keras gives itself are no inputs; a mask that has to be given is.
        given = ("training", "mask")
        own = [each for each in every if each.name not in given or (each.name == "mask" and each.default is each.empty)]
        single = [each for each in own if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
        return cls(
            positional=[each.name for each in single if each.kind is not each.KEYWORD_ONLY],
            keyword=[each.name for each in single if each.kind is each.KEYWORD_ONLY],
            required=[each.name for each in single if each.default is each.empty],
            open_names=[each.name for each in single if each.default is None],
            rest=next((each.name for each in own if each.kind is each.VAR_POSITIONAL), None),
            takes_any=any(each.kind is each.VAR_KEYWORD for each in own),
        )

    def takes(self, names: Mapping[str, Any]) -> bool:
        """Whether arguments of these names are all that a call needs, and none that it does not know."""
        known = {*self.positional, *self.keyword}
        return set(self.required) <= set(names) and (self.takes_any or set(names) <= known)


def _forms(tree: Any, parameters: _Parameters) -> Iterator[Candidate]:
    """Yield the forms of a call on a structure: an argument for each of its parts, or all of it as the first one."""
    parts: list[Candidate] = []
    if isinstance(tree, Mapping) and parameters.takes(tree):
        parts = [_candidate(*_arguments(tree, parameters))]
    elif isinstance(tree, list | tuple) and len(tree) > 1:
        named = [*parameters.positional, *(f"{parameters.rest}_{i}" for i in range(len(tree)) if parameters.rest)]
        by_name = dict(zip(named, tree, strict=False))
        if len(by_name) == len(tree) and set(parameters.required) <= set(by_name):
            parts = [_candidate(tuple(tree), {}, tuple(by_name))]
    first = parameters.positional[:1] or ([parameters.rest] if parameters.rest else [])
    whole = []
    if first and len(parameters.required) <= 1:
        whole = [_candidate((tree,), {}, tuple(first))]
    # A list is sooner the first argument of a call that needs no other.
    likely_whole = isinstance(tree, list | tuple) and not parameters.rest
    yield from [*whole, *parts] if likely_whole else [*parts, *whole]


def _arguments(
    tree: Mapping[str, Any], parameters: _Parameters
) -> tuple[tuple[Any, ...], dict[str, Any], tuple[str, ...]]:
    """Structures by name as positional arguments, as far as they go, and as keywords; and their names."""
    leading = []
    for name in parameters.positional:
        if name not in tree:
            break
        leading.append(name)
    others = [name for name in tree if name not in leading]
    return tuple(tree[name] for name in leading), {name: tree[name] for name in others}, (*leading, *others)


def _candidate(positional: tuple[Any, ...], keywords: dict[str, Any], names: tuple[str, ...]) -> Candidate:
    """A form of structures whose leaves are what is known of the inputs."""
    every = [*positional, *keywords.values()]
    inputs: list[Given] = []
    labels: list[str] = []

    def numbered(leaf: Given | None) -> int | None:
        if leaf is None:
            return None
        inputs.append(leaf)
        return len(inputs) - 1

    places = []
    for name, structure in zip(names, every, strict=True):
        prefix = [] if len(every) == 1 else [name]
        labels += [
            input_label(prefix, path) for path, leaf in keras.tree.flatten_with_path(structure) if leaf is not None
        ]
        places.append(tf.nest.map_structure(numbered, structure))
    count = len(positional)
    form = CallForm(tuple(places[:count]), dict(zip(keywords, places[count:], strict=True)), names)
    return Candidate(form, labels, inputs)


def input_label(prefix: Sequence[str], path: Sequence[str | int]) -> str:
    """Return the name of an input by its path in a structure.

    Args:
        prefix: names in front of the path.
        path: keys and places, as of ``keras.tree.flatten_with_path``.

    Examples:
        >>> input_label([], ("meta", "age")), input_label([], (1,)), input_label(["depth"], ())
        ('meta_age', 'input_1', 'depth')
    """
    parts = [*prefix, *path]
    return "_".join(map(str, parts if parts and isinstance(parts[0], str) else ["input", *parts]))


def _kept_tree(shapes: Any) -> Any:
    """A structure of the shapes that Keras keeps, with their batch, as one of what is known of inputs."""
    if shapes is None:
        return None
    if isinstance(shapes, Mapping):
        return {name: _kept_tree(shape) for name, shape in shapes.items()}
    if all(side is None or isinstance(side, int) for side in shapes):
        return Given(tuple(shapes[1:]))
    return (list if isinstance(shapes, list) else tuple)(map(_kept_tree, shapes))


def built_tree(model: Model) -> Any:
    """Return the structure of `Given` on which a model of one argument was built, or None where Keras keeps none.

    Examples:
        >>> model = keras.Sequential([keras.layers.Dense(2)])
        >>> model.build((None, 3))
        >>> built_tree(model)
        Given(shape=(3,), dtype=None)
    """
    structure = (model.get_build_config() or {}).get("input_shape")
    return _kept_tree(structure) if structure and len(required_inputs(model)) <= 1 else None


def _built_tree(model: Model) -> Any:
    """The structure on which a model was built, of several arguments by their names."""
    several = (model.get_build_config() or {}).get("shapes_dict")
    if several is None:
        return built_tree(model)
    return _kept_tree({name.removesuffix("_shape"): shape for name, shape in several.items()})


def _count(tree: Any) -> int:
    """The number of inputs in a structure."""
    return sum(leaf is not None for leaf in tf.nest.flatten(tree))


def _sample_trees(sample: Any, parameters: _Parameters) -> list[Any]:
    """The structures that a batch of samples may be of: as it is, and without labels; none for no arrays."""
    found = [sample]
    if isinstance(sample, list | tuple) and len(sample) == 2 and _may_be_labels(sample[1]):
        found = [sample[0]] if len(parameters.required) <= 1 else [sample, sample[0]]
    trees = []
    for structure in found:
        try:
            tree = tf.nest.map_structure(_seen, structure)
        except TypeError:
            continue
        trees.append(tree[0] if isinstance(tree, list | tuple) and len(tree) == 1 else tree)
    return trees


def _may_be_labels(value: Any) -> bool:
    labels = None if isinstance(value, Mapping | list | tuple) else np.asarray(value)
    return labels is not None and labels.ndim <= 1 and labels.dtype.kind in "iu"


def _seen(array: Any) -> Given:
    """What an array tells of an input.

    Raises:
        TypeError: for anything but an array of numbers with a batch.
    """
    numbers = np.asarray(array)
    if numbers.ndim == 0 or numbers.dtype.kind not in "fiub":
        raise TypeError
    return Given(numbers.shape[1:], numbers.dtype.name)


def _with_types(tree: Any, sample: Any, parameters: _Parameters) -> Any:
    """A structure with the types, and the sizes that it leaves open, of samples of as many inputs."""
    own = tf.nest.flatten(tree)

    def joined(ours: Given | None, theirs: Given) -> Given | None:
        if ours is None or len(ours.shape) != len(theirs.shape):
            return ours
        return Given(tuple(b if a is None else a for a, b in zip(ours.shape, theirs.shape, strict=True)), theirs.dtype)

    for seen in map(tf.nest.flatten, _sample_trees(sample, parameters)):
        if len(seen) == len(own):
            return tf.nest.pack_sequence_as(tree, list(map(joined, own, seen)))
    return tree


def _of_file(found: list[Candidate], inputs: Mapping[str, Given], parameters: _Parameters) -> list[Candidate]:
    """The forms whose inputs a file has, with its shapes and types; else those that its names may mean."""
    if len(inputs) > 1:
        found = [each for each in found if set(each.names) == set(inputs)]
        fitting = [each._replace(inputs=[inputs[name] for name in each.names]) for each in found]
    else:
        fitting = [each._replace(inputs=list(inputs.values())) for each in found if len(each.inputs) == 1]
    if fitting:
        return fitting
    given = list(inputs.values())
    tree: Any = dict(inputs) if len(inputs) > 1 else given[0]
    if len(inputs) > 1 and list(inputs) == [f"input_{i}" for i in range(len(inputs))]:
        tree = given
    return list(_forms(tree, parameters))
