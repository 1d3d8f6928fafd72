"""Copies of Keras layers, with weights of their own, whatever the layer's config leaves out."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.model_io import layers_in
from tfsep._keras.types import Layer

Config = dict[str, Any]


def layer_copy(layer: Any, edited: Callable[[Config], Config] = lambda config: config) -> Any:
    """Return a layer or operation that computes the same, of the same name, with state of its own; see `copy_state`.

    It is made from the layer's config. Where that says too little, it is a `BorrowedLayer` or `BorrowedOperation`, the
    code of the given one on weights of its own: of a layer whose `get_config` lacks an argument, or that holds a
    variable which Keras does not track.

    Args:
        layer: a built layer, or an operation.
        edited: a function from the layer's config to that of the copy.
    """
    if not isinstance(layer, keras.layers.Layer):
        try:
            return _named(_from_config(layer, edited), layer.name)
        except Exception:  # an operation of any maker raises what it likes
            return BorrowedOperation(layer)
    try:
        copy = _named(_from_config(layer, edited), layer.name)
        if all(is_known(type(each)) for each in layers_in(layer)):
            complete = _unknown_functions(layer) == _unknown_functions(copy)
        else:
            _build(copy, layer)
            copy_state(layer, copy)
            complete = not any(_differs(*pair) for pair in zip(layers_in(layer), layers_in(copy), strict=True))
    except Exception:  # a layer of any maker raises what it likes
        complete = False
    return copy if complete else BorrowedLayer(layer)


def copy_state(layer: Layer, into: Layer) -> None:
    """Assign a layer's weights to its copy, and the state of preprocessing layers that were adapted to data."""
    if isinstance(into, BorrowedLayer):
        return
    into.set_weights(layer.get_weights())
    for old, new in zip(layers_in(layer), layers_in(into), strict=True):
        if hasattr(old, "adapt"):
            store: dict[str, Any] = {}
            old.save_own_variables(store)
            new.load_own_variables(store)


class BorrowedLayer(keras.layers.Layer):
    """The computation of a layer that its config does not describe, with weights of its own.

    It runs the code of the given layer, with its own variables in place of that layer's. The given layer gets no call
    in its graph, and keeps its state. What it holds beside Keras variables, such as a `tf.Variable`, is shared. It
    saves and loads weights, and has no config.

    Args:
        layer: a built layer.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy, trainable=layer.trainable)
        self.supports_masking = layer.supports_masking
        # In a function, as Keras would track the layer itself, and its weights with it.
        self._borrowed = lambda: layer
        self._own = [self._variable(each) for each in layer.variables]
        self.built = True

    @property
    def borrowed(self) -> Layer:
        """The given layer."""
        return self._borrowed()

    def _variable(self, variable: keras.Variable) -> keras.Variable:
        """A variable of the same value."""
        return self.add_weight(
            shape=variable.shape,
            initializer=lambda *_, **__: tf.convert_to_tensor(variable.value),
            dtype=variable.dtype,
            trainable=variable.trainable,
            autocast=False,  # the given layer casts
            name=variable.name,
        )

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call the given layer on this one's variables."""
        layer = self._borrowed()
        pairs = list(zip(layer.variables, self._own, strict=True))
        with keras.StatelessScope([(its, own.value) for its, own in pairs], collect_losses=True) as scope:
            outputs = layer(*args, **kwargs)
            values = [scope.get_current_value(its) for its, _ in pairs]
        for loss in scope.losses:
            self.add_loss(loss)
        for (_, own), value in zip(pairs, values, strict=True):
            if not own.trainable:
                own.assign(value)
        return outputs

    def compute_mask(self, inputs: tuple[Any, ...], previous_mask: tuple[Any, ...]) -> Any:
        """Return the given layer's mask, of all positional arguments, which Keras takes for the first one here."""
        return self._borrowed().compute_mask(inputs[0], previous_mask[0]) if inputs else None

    def get_config(self) -> Config:
        """Raise, as the given layer's config does not describe it."""
        raise NotImplementedError(
            f"model: expected layers whose config describes them, to be saved as a whole, got {self.name!r} of class "
            f"{type(self._borrowed()).__name__}: its weights can be saved"
        )


class BorrowedOperation(keras.Operation):
    """The computation of an operation that its config does not describe.

    Args:
        operation: an operation of `keras.ops`, or another without state.
    """

    def __init__(self, operation: keras.Operation) -> None:
        super().__init__(name=operation.name)
        self._operation = operation

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Compute what the operation does."""
        return self._operation.call(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Return the operation's symbolic result."""
        return self._operation.compute_output_spec(*args, **kwargs)


def config_of(layer: Any, kind: Any = None) -> Config:
    """Return a layer's config, or that of a base, with its functions as they are: a name may mean another, or none.

    So are other objects that are called, as initializers of classes that Keras does not know.
    """
    held = {name: value for name, value in vars(layer).items() if _is_function(value)}
    config: Config = (kind or type(layer)).get_config(_without(layer, held))
    return config | {name: value for name, value in _public(held).items() if name in config}


def _public(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes by the names of arguments."""
    return {name.removeprefix("_"): value for name, value in attributes.items()}


_NONE = {
    "initializer": keras.initializers.Zeros(),
    "activation": keras.activations.linear,
    "regularizer": None,
    "constraint": None,
}
"""What stands for a function, by the end of its argument's name."""


def _without(layer: Any, functions: Mapping[str, Any]) -> Any:
    """A layer whose config Keras can say: it warns of each lambda, and raises for objects without a config."""
    stand_ins = {name: _NONE[end] for name in functions if (end := name.rpartition("_")[2]) in _NONE}
    if not stand_ins:
        return layer
    same = object.__new__(type(layer))
    vars(same).update({**vars(layer), **stand_ins})
    return same


def _is_function(value: Any) -> bool:
    """Whether this is a function of another maker, or an object that is called as one."""
    kind = type(value)
    own = isinstance(value, keras.Operation | type) or (kind is not FunctionType and is_known(kind))
    return callable(value) and not own


def _from_config(layer: Any, edited: Callable[[Config], Config]) -> Any:
    """A layer or operation from its config."""
    config = config_of(layer)
    if type(layer) is keras.layers.Lambda:
        # Keras loads no function from a config.
        return keras.layers.Lambda(**edited(config | {"arguments": layer.arguments}))
    return type(layer).from_config(edited(config))


def _build(copy: Layer, layer: Layer) -> None:
    """Build a copy as the layer was built: by its `build`, or, where that leaves weights out, by its call."""
    with warnings.catch_warnings(action="ignore"):  # Keras warns of a layer without a `build`
        copy.build_from_config(layer.get_build_config())
    if len(copy.weights) != len(layer.weights):
        with keras.name_scope(copy.name):
            keras.Operation.compute_output_spec(copy, layer.input)


def _named(copy: Any, name: str) -> Any:
    """A copy under a name, which not every class has in its config."""
    if copy.name != name:
        copy.name = name
    return copy


def is_known(kind: type | FunctionType) -> bool:
    """Whether a class or function is of Keras or this library, whose configs are whole."""
    return kind.__module__.split(".")[0] in ("keras", "tfsep")


def _unknown_functions(layer: Layer) -> list[FunctionType]:
    """The functions of others, such as activations, that a layer and those inside it hold."""
    values = (value for each in layers_in(layer) for _, value in own_attributes(each))
    return [value for value in values if isinstance(value, FunctionType) and not is_known(value)]


def own_attributes(layer: Layer) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a layer that Keras's own bookkeeping has not, with their names."""
    return ((name, value) for name, value in vars(layer).items() if name not in _bookkeeping())


@cache
def _bookkeeping() -> frozenset[str]:
    """The attributes that Keras gives to every layer, and to every Functional model."""
    inputs = keras.Input((1,), name="input")
    return frozenset(vars(keras.layers.Layer(name="plain"))) | frozenset(
        vars(keras.Model(inputs, keras.layers.Identity(name="output")(inputs), name="plain"))
    )


def _differs(layer: Layer, copy: Layer) -> bool:
    """Whether a number, text or function that a layer holds is another in its copy."""
    others = dict(own_attributes(copy))
    return any(name not in others or not _equal(value, others[name]) for name, value in own_attributes(layer))


def _equal(value: Any, other: Any) -> bool:
    """Whether two attributes are equal; of objects that hold more, such as layers, whether both are of one class."""
    if isinstance(value, tf.Variable | tf.Tensor | np.ndarray | keras.Variable):
        return type(value) is type(other) and np.array_equal(np.asarray(value), np.asarray(other))
    if isinstance(value, Mapping):
        return value.keys() == other.keys() and all(_equal(value[key], other[key]) for key in value)
    if isinstance(value, list | tuple):
        return len(value) == len(other) and all(map(_equal, value, other))
    if isinstance(value, bool | int | float | complex | str | bytes | FunctionType | None):
        return bool(value == other)
    return type(value) is type(other)
