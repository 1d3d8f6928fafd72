"""Composite layers of any maker, opened: the calls of the layers inside them, as a model."""

import inspect
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.call_form import built_tree, input_label
from tfsep._keras.layer_copies import is_known
from tfsep._keras.model_graph import SOME_SIZE, Call, calls_behind, opened, plain_model
from tfsep._keras.model_io import inputs_of, layers_in
from tfsep._keras.tf_functions import taking_keras_tensors
from tfsep._keras.types import Layer, Model, Shape, Tensor

_TOLERANCE = 1e-5
"""Share of the largest number by which sums of float32 may differ."""


class Unopened(Exception):
    """The reason why a composite layer stays closed, as a relative clause."""


class _Unchanging(keras.StatelessScope):
    """A scope in which no variable is assigned, as that of a random generator is, whose numbers would be constants."""

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        """Raise, as no model of layers would assign it."""
        raise Unopened(f"which assigns {update[0].name!r}")


@keras.saving.register_keras_serializable(package="tfsep")
class Weight(keras.layers.Layer):
    """A weight as a tensor, of a composite layer that computes with it itself.

    Args:
        shape: shape of the weight.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shape = tuple(shape)

    def build(self, input_shape: Any) -> None:
        """Make the weight.

        Args:
            input_shape: of any tensor.
        """
        del input_shape
        self.weight = self.add_weight(name="weight", shape=self.shape)

    def call(self, inputs: Tensor) -> Tensor:
        """Return the weight.

        Args:
            inputs: any tensor, which only says where in a graph this is.
        """
        del inputs
        return tf.convert_to_tensor(self.weight)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Return the weight's shape.

        Args:
            input_shape: of any tensor.
        """
        del input_shape
        return self.shape

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments."""
        return {**super().get_config(), "shape": self.shape}


@contextmanager
def calls_forgotten(model: Layer) -> Iterator[None]:
    """Let layers be called on other symbolic tensors, and forget these calls at the end.

    Keras keeps each call with the layer, and has no public way to take one back.
    """
    lists = [nodes for layer in layers_in(model) for nodes in (layer._inbound_nodes, layer._outbound_nodes)]
    former = [list(nodes) for nodes in lists]
    try:
        yield
    finally:
        for nodes, old in zip(lists, former, strict=True):
            nodes[:] = old


def is_composite(layer: Any) -> bool:
    """Whether a layer is a composite one of another maker, or a model with a call of its own."""
    if not isinstance(layer, keras.layers.Layer) or is_known(type(layer)):
        return False
    return len(layers_in(layer)) > 1 and opened(layer) is None


def traced_model(model: Model) -> Model:
    """Return a model as a plain one: as `plain_model` does, or of a call of its own as `body_of` does.

    Both are on the same layers. This one is for use inside of `calls_forgotten`.

    Raises:
        TypeError: for a model with a call of its own of which `body_of` makes none.
        ValueError: for a model that was not built.
    """
    try:
        return plain_model(model)
    except TypeError as error:
        inputs = _symbolic_inputs(model) if isinstance(model, keras.Model) and model.built else None
        if inputs is None:
            raise
        try:
            body = body_of(model, [Call(model, (inputs,), {}, keras.tree.flatten(inputs), [])])
            return keras.Model(keras.tree.pack_sequence_as(inputs, body.inputs), body.output, name=model.name)
        except Unopened as reason:
            raise TypeError(f"{error}, {reason}") from reason


def body_of(layer: Layer, calls: Sequence[Call]) -> Model:
    """Return a composite layer as a plain model of the layers inside it, under the layer's name.

    Its call is run on symbolic tensors, as that of a model under construction, so that the layers inside are called
    there. That the result computes what the layer does at inference is shown on random numbers of the shapes of all
    calls. It is for use inside of `calls_forgotten`, as its layers are the layer's own.

    Args:
        layer: the composite layer, built.
        calls: its calls in a graph.

    Returns:
        A model that takes the `body_inputs` of a call.

    Raises:
        Unopened: where that is not possible.
    """
    first = calls[0]
    if len({_form(call) for call in calls}) > 1:
        raise Unopened("which is called in several ways")
    if any(getattr(tensor, "_keras_mask", None) is not None for call in calls for tensor in call.inputs):
        raise Unopened("which gets a mask")
    inputs = [
        keras.Input(batch_shape=_common([call.inputs[place].shape for call in calls]), dtype=own.dtype, name=own.name)
        for place, own in enumerate(first.inputs)
    ]
    problem: Exception | None = None
    # None lets the layers inside be trained as before; a layer that takes it for training is asked for inference.
    for training in (None, False) if "training" in inspect.signature(layer.call).parameters else ("not taken",):
        try:
            body = _traced(layer, first, inputs, {} if training == "not taken" else {"training": training})
            for call in calls:
                _require_same(layer, body, call)
        except Exception as error:  # a layer of any maker raises what it likes
            problem = error
        else:
            return body
    if isinstance(problem, Unopened):
        raise problem
    text = str(problem).strip().splitlines() or [""]
    raise Unopened(f"which cannot be traced by Keras: {text[0].split('. ')[0]}") from problem


def body_inputs(args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Return what the `body_of` a layer takes in a call of the layer: its tensor, or the list of its tensors."""
    tensors = [leaf for leaf in keras.tree.flatten((args, kwargs)) if _is_tensor(leaf)]
    return tensors[0] if len(tensors) == 1 else tensors


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, keras.KerasTensor)


def _symbolic_inputs(model: Model) -> Any:
    """Symbolic inputs of a built model, in the structure that it takes; None if that is not known."""
    if (own := inputs_of(model)) is not None:
        return own
    tree = built_tree(model)
    if tree is None:
        return None
    leaves = keras.tree.flatten_with_path(tree)
    inputs = [None if own is None else keras.Input(own.shape, name=input_label([], path)) for path, own in leaves]
    return keras.tree.pack_sequence_as(tree, inputs)


def _form(call: Call) -> str:
    """What has to be the same in all calls of one model: everything but the tensors' sizes."""
    return repr(
        keras.tree.map_structure(
            lambda leaf: (len(leaf.shape), leaf.dtype) if _is_tensor(leaf) else leaf, _arguments(call)
        )
    )


def _arguments(call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call without those that say how it is called."""
    return call.args, {name: value for name, value in call.kwargs.items() if name not in ("training", "mask")}


def _common(shapes: Sequence[Shape]) -> Shape:
    """A shape that stands for several: None where they differ."""
    return tuple(sides[0] if len(set(sides)) == 1 else None for sides in zip(*shapes, strict=True))


def _with_leaves(call: Call, tensors: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The `_arguments` of a call, with other tensors."""
    given = iter(tensors)
    args, kwargs = keras.tree.map_structure(lambda leaf: next(given) if _is_tensor(leaf) else leaf, _arguments(call))
    return args, kwargs


def _traced(layer: Layer, call: Call, inputs: list[keras.KerasTensor], told: dict[str, Any]) -> Model:
    """The model of a layer's call on symbolic tensors."""
    args, kwargs = _with_leaves(call, [_autocast(layer, tensor) for tensor in inputs])
    with taking_keras_tensors(), _weights_as_tensors(layer, inputs[0]) as own, _Unchanging():
        outputs = layer.call(*args, **kwargs, **told)
    _name_operations(layer, keras.tree.flatten(outputs))
    body = keras.Model(body_inputs(*_with_leaves(call, inputs)), outputs, name=layer.name)
    leaves = keras.tree.flatten([(each.args, each.kwargs) for each in calls_behind(body.outputs)])
    if any(isinstance(leaf, keras.Variable | tf.Variable) for leaf in leaves):
        raise Unopened("which computes with weights of other layers itself")
    used = {id(weight) for weight in body.weights} | set(own)
    constant = any(isinstance(leaf, tf.Tensor | np.ndarray) for leaf in leaves)
    if constant and any(id(weight) not in used for weight in layer.weights):
        raise Unopened("which may compute with weights of layers that it does not call")
    return body


def _name_operations(layer: Layer, outputs: list[keras.KerasTensor]) -> None:
    """Name the operations that a call makes by the layer and their kind: the same in each call."""
    own, used = set(map(id, layers_in(layer))), Counter[str]()
    for operation in {id(call.operation): call.operation for call in calls_behind(outputs) if call.inputs}.values():
        if id(operation) not in own and not isinstance(operation, Weight):
            name = f"{layer.name}_{type(operation).__name__.lower()}"
            used[name] += 1
            operation.name = name if used[name] == 1 else f"{name}_{used[name] - 1}"


def _autocast(layer: Layer, tensor: keras.KerasTensor) -> keras.KerasTensor:
    """A tensor in the type in which a layer's call gets it."""
    is_cast = layer.autocast and "float" in tensor.dtype and tensor.dtype != layer.compute_dtype
    return keras.ops.cast(tensor, layer.compute_dtype) if is_cast else tensor


@contextmanager
def _weights_as_tensors(layer: Layer, anchor: keras.KerasTensor) -> Iterator[list[int]]:
    """Put symbolic tensors in place of a layer's own weights, of which the ids are given, for its call."""
    attributes = vars(layer)
    own = {name: value for name, value in attributes.items() if isinstance(value, keras.Variable)}
    try:
        for name, variable in own.items():
            same = variable.dtype == layer.variable_dtype
            stand_in = Weight(
                variable.shape,
                name=f"{layer.name}_{variable.name}",
                trainable=variable.trainable,
                dtype=layer.dtype_policy if same else variable.dtype,
            )
            attributes[name] = stand_in(anchor)
            stand_in.weight.assign(variable)
        yield [id(variable) for variable in own.values()]
    finally:
        attributes.update(own)


def _require_same(layer: Layer, body: Model, call: Call) -> None:
    """Raise unless a layer and its model agree at inference, on random numbers of a call's shapes."""
    rng = np.random.default_rng(0)
    arrays = []
    for tensor in call.inputs:
        shape = [side or SOME_SIZE if place else side or 2 for place, side in enumerate(tensor.shape)]
        values = rng.normal(size=shape) if "float" in tensor.dtype else rng.integers(0, 2, shape)
        arrays.append(tf.convert_to_tensor(values.astype(tf.as_dtype(tensor.dtype).as_numpy_dtype)))
    args, kwargs = _with_leaves(call, arrays)
    with keras.StatelessScope():
        expected = layer(*args, **kwargs, training=False)
        actual = body(keras.tree.pack_sequence_as(body.input, arrays), training=False)
    for pair in zip(keras.tree.flatten(expected), keras.tree.flatten(actual), strict=True):
        own, found = (np.asarray(keras.ops.cast(each, "float64")) for each in pair)
        largest = np.abs(own).max(initial=0.0)
        if own.shape != found.shape or not np.allclose(found, own, 0, _TOLERANCE * largest, equal_nan=True):
            raise Unopened("which computes something else than Keras traces of it")
