"""Variable scopes: names of a layer's variables, and sharing of layers."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple
from weakref import ref

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Layer, Tensor
from tfsep._utils.arguments import short_repr
from tfsep.models._layer_builder import layer_name
from tfsep.slim._arguments import activate, require_callable
from tfsep.slim._graph import Graph, graph_of
from tfsep.slim._types import ActivationLike, Collections, Function, Reuse, ScopeLike, VariablesCollections

_logger = logging.getLogger(__name__)

AUTO_REUSE = tf.compat.v1.AUTO_REUSE

_reuse: ContextVar[Reuse | tf.compat.v1.VariableScope] = ContextVar("reuse", default=False)
"""Whether layers are shared, or the scope of TensorFlow's own that knows and does not tell."""

_opened: ContextVar[tf.compat.v1.VariableScope | None] = ContextVar("opened", default=None)
"""The innermost scope that `variable_scope` opened."""


@contextmanager
def variable_scope(
    name_or_scope: ScopeLike, default_name: str | None = None, values: Any = None, reuse: Reuse = None
) -> Iterator[tf.compat.v1.VariableScope]:
    """Open a variable scope of TensorFlow 1, with the reuse and the counting of slim's graphs.

    Args:
        name_or_scope: a name inside the enclosing scope, a scope that was opened before, or None.
        default_name: the name where `name_or_scope` is None, with ``_1``, ``_2`` and so on where it is taken.
        values: the Keras tensors of the layers, which determine the model in which `default_name` is unique.
        reuse: True shares existing layers and makes no others; ``tf.compat.v1.AUTO_REUSE`` shares existing layers and
            makes the others; None and False leave it to the enclosing scope.

    Returns:
        A context of TensorFlow's scope; its ``.name`` is the whole name.

    Raises:
        ValueError: for a name with dots, which stand for slashes in Keras's names; for neither a name nor a default;
            for reuse without a name.

    Examples:
        >>> from tfsep import slim
        >>> inputs = keras.Input((8,))
        >>> with slim.variable_scope("Net"):
        ...     net = slim.fully_connected(inputs, 8)
        >>> with slim.variable_scope("Net", reuse=True) as scope:
        ...     net = slim.fully_connected(net, 8)
        >>> scope.name, len(slim.get_variables())
        ('Net', 2)
    """
    if reuse not in (None, False, True, AUTO_REUSE):
        raise ValueError(f"reuse: expected True, False, None or tf.compat.v1.AUTO_REUSE, got {reuse!r}")
    if name_or_scope is None:
        name_or_scope = _default(default_name, values, reuse)
    elif not isinstance(name_or_scope, tf.compat.v1.VariableScope):
        _require_name(name_or_scope)
        tensor = _keras_tensor(values)
        if tensor is not None:
            graph_of(tensor).open(tf.compat.v1.get_variable_scope(), name_or_scope, unique=False)
    inherited = _inherited()
    with tf.compat.v1.variable_scope(name_or_scope) as scope:
        tokens = _reuse.set(reuse or inherited), _opened.set(scope)
        try:
            yield scope
        finally:
            _reuse.reset(tokens[0])
            _opened.reset(tokens[1])


def _inherited() -> Reuse | tf.compat.v1.VariableScope:
    """The reuse of the enclosing scope.

    TensorFlow tells it only after `reuse_variables`. Of its other scopes, the scope itself is returned.
    """
    enclosing = tf.compat.v1.get_variable_scope()
    if enclosing.reuse is True:
        return True
    known = _reuse.get()
    if enclosing is _opened.get() or not enclosing.name or known in (True, AUTO_REUSE):
        return known
    return enclosing


def _default(default_name: str | None, values: Any, reuse: Reuse) -> str:
    if reuse:
        raise ValueError(f"scope: expected the name of what is to be shared where reuse is {reuse}, got None")
    _require_name(default_name)
    tensor = _keras_tensor(values)
    if tensor is None:
        raise ValueError(
            f"values: expected the Keras tensors that go in, which say in which model default_name={default_name!r} "
            f"has to be unique, got {short_repr(values)}"
        )
    return graph_of(tensor).open(tf.compat.v1.get_variable_scope(), str(default_name), unique=True)


def _keras_tensor(values: Any) -> Tensor | None:
    """The first Keras tensor in a structure, or None."""
    return next((value for value in tf.nest.flatten(values) if keras.utils.is_keras_tensor(value)), None)


def _require_name(name: Any) -> None:
    if not isinstance(name, str) or not name or "." in name:
        raise ValueError(
            f"scope: expected a name, a string without dots, which stand for slashes in Keras's, got {name!r}"
        )


class Scope(NamedTuple):
    """The open scope of one layer.

    Attributes:
        graph: graph of the layer.
        name: the whole name.
        reuse: whether an existing layer is shared; for a new layer, perhaps the scope that does not tell it.
    """

    graph: Graph
    name: str
    reuse: Reuse | tf.compat.v1.VariableScope

    @property
    def layer_name(self) -> str:
        """The scope as the name of a Keras layer."""
        return layer_name(self.name)

    def call(self, layer: Layer, inputs: Tensor, collections: VariablesCollections) -> Tensor:
        """Call a layer, or, under reuse, the existing layer of this scope.

        Raises:
            ValueError: for a name that is taken, or, under reuse, a scope without a layer or with a different one.
        """
        found = self.graph.layers.get(self.name) if self.reuse in (True, AUTO_REUSE) else None
        if found is not None:
            _require_same(self.name, found, layer, inputs)
            layer = found
        elif self.reuse is True:
            raise ValueError(f"scope: expected one that has a layer to share, under reuse, got {self.name!r}")
        elif self.name in self.graph.names:
            raise ValueError(
                f"scope: expected a name that no layer on this keras.Input has, unless under slim's own reuse "
                f"(slim.variable_scope, as TensorFlow's does not tell its), got {self.name!r}"
            )
        elif isinstance(self.reuse, tf.compat.v1.VariableScope):
            self.graph.made_in[self.name] = ref(self.reuse)
        outputs = layer(inputs)
        outputs.name = f"{self.name}/{type(layer).__name__}:0"  # as TensorFlow names tensors by their operations
        self.graph.add_layer(self.name, layer, collections)
        self.graph.own([outputs])
        return outputs

    def finish(
        self,
        outputs: Tensor,
        activation_fn: ActivationLike,
        collections: Collections,
        normalizer_fn: Function | None = None,
        normalizer_params: dict[str, Any] | None = None,
    ) -> Tensor:
        """Apply normalizer and activation, and add the result to its collections."""
        if normalizer_fn is not None:
            require_callable(normalizer_fn, "normalizer_fn")
            if not isinstance(normalizer_params, dict | None):
                raise TypeError(f"normalizer_params: expected a dict or None, got {short_repr(normalizer_params)}")
            outputs = normalizer_fn(outputs, **(normalizer_params or {}))
        if activation_fn is not None:
            name = self.graph.unique_name(f"{self.name}/Activation")
            outputs = activate(outputs, activation_fn, layer_name(name))
            outputs.name = f"{name}:0"
        return self.graph.add_output(collections, self.name, outputs)


@contextmanager
def layer_scope(inputs: Tensor, scope: ScopeLike, default_name: str, reuse: Reuse = None) -> Iterator[Scope]:
    """Open the scope of a layer on `inputs`.

    TensorFlow's own scopes do not tell their reuse where it executes eagerly; they say `AUTO_REUSE` there. So a layer
    that is named like one made in an earlier scope of TensorFlow is shared; in the same scope, the name is taken.
    """
    graph = graph_of(inputs)
    with variable_scope(scope, default_name, [inputs], reuse) as opened:
        _require_name(opened.name)  # enclosing scopes may be TensorFlow's own
        told, made_in = _reuse.get(), graph.made_in.get(opened.name)
        opens_again = isinstance(told, tf.compat.v1.VariableScope) and made_in and made_in() is not told
        if opens_again and scope is not None and opened.name in graph.layers:
            _logger.debug(f"{opened.name}: shared, as the enclosing scope of TensorFlow is opened again")
            told = AUTO_REUSE
        token = _reuse.set(told)
        try:
            yield Scope(graph, opened.name, _reuse.get())
        finally:
            _reuse.reset(token)


def name_in_scope(graph: Graph, scope: ScopeLike, default_name: str) -> str:
    """Return the whole name of a layer without variables, numbered where it is taken."""
    if scope is None:
        scope = default_name
    _require_name(scope)
    outer = tf.compat.v1.get_variable_scope().name
    return graph.unique_name(f"{outer}/{scope}" if outer else scope)


_SLIM_NAMES = {
    "strides": "stride",
    "dilation_rate": "rate",
    "filters": "num_outputs",
    "units": "num_outputs",
    "momentum": "decay",
    "frozen": "is_training",
    "use_bias": "biases_initializer",
}
"""Slim's arguments by the settings of a Keras layer."""

_INITIAL_SETTINGS = ("initializer", "regularizer", "trainable")


def _settings(layer: Layer) -> dict[str, Any]:
    """A layer's arguments, except those of the initialization and training of its weights."""
    return {key: value for key, value in layer.get_config().items() if not key.endswith(_INITIAL_SETTINGS)}


def _require_same(name: str, found: Layer, layer: Layer, inputs: Tensor) -> None:
    """Raise unless a new layer, called on `inputs`, is equal to the one found."""
    if type(found) is not type(layer):
        raise ValueError(f"reuse: expected a {type(found).__name__}, as {name!r} is, got a {type(layer).__name__}")
    asked = _settings(layer)
    for key, value in _settings(found).items():
        if asked[key] != value:
            argument = _SLIM_NAMES.get(key, key)
            raise ValueError(f"{argument}: expected {key}={value}, as the shared {name!r} has it, got {asked[key]}")
    for axis, size in found.input_spec.axes.items():
        if inputs.shape[axis] != size:
            raise ValueError(f"inputs: expected {size} channels, as {name!r} was made for, got {inputs.shape[axis]}")
