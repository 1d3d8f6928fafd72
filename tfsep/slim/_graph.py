"""The state that slim keeps in TensorFlow 1's graph: names in use, layers to share, collections."""

from collections.abc import Iterable
from contextvars import ContextVar, Token
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

from tfsep._keras.backend import keras, tf
from tfsep._keras.model_graph import calls_behind
from tfsep._keras.types import Layer, Tensor
from tfsep._utils.arguments import short_repr
from tfsep.slim._types import Collections, Variable, VariablesCollections
from tfsep.weights._slim_checkpoint import SLIM_VARIABLES


class Graph:
    """The state of one model under construction; the page of `tfsep.slim` says when a new one begins.

    As a context, it is the graph of every function of `tfsep.slim` inside, whatever their inputs. It refers weakly to
    layers, variables and tensors, which live as long as the model.

    Examples:
        >>> from tfsep import slim
        >>> left, right = keras.Input((8,)), keras.Input((8,))
        >>> with slim.Graph():
        ...     net = slim.fully_connected(left, 4) + slim.fully_connected(right, 4)
        ...     [tuple(v.shape) for v in slim.get_variables("fully_connected_1")]
        [(8, 4), (4,)]
    """

    def __init__(self) -> None:
        self.layers: WeakValueDictionary[str, Layer] = WeakValueDictionary()
        self.variables: WeakValueDictionary[str, Variable] = WeakValueDictionary()
        self._collections: dict[str, list[tuple[str, ref]]] = {}
        self.names: set[str] = set()
        self.made_in: dict[str, ref] = {}
        self._root: set[str] = set()
        self._scopes: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
        self._tokens: list[Token] = []

    def __enter__(self) -> "Graph":
        self._tokens.append(_entered.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        _entered.reset(self._tokens.pop())

    def unique_name(self, name: str) -> str:
        """Reserve a name that no layer has yet, and return it.

        Args:
            name: the name; a number is appended where it is taken.
        """
        return _unique(self.names, name)

    def open(self, scope: tf.compat.v1.VariableScope, name: str, unique: bool) -> str:
        """Record that a scope is opened inside another, and return its name.

        Names are counted anew at each entry of the enclosing scope, so that layers to share get the same default names.

        Args:
            scope: the enclosing scope.
            name: name of the scope that is opened.
            unique: whether a number is appended where the name is taken.
        """
        names = self._scopes.setdefault(scope, set()) if scope.name else self._root
        if unique:
            return _unique(names, name)
        names.add(name)
        return name

    def add_layer(self, scope: str, layer: Layer, collections: VariablesCollections) -> None:
        """Register a layer and its variables under slim's names.

        Args:
            scope: scope of the layer.
            layer: with its variables.
            collections: names of collections for the variables, or a dict of them by the kind of variable.
        """
        self.layers[scope] = layer
        self.names.add(scope)
        names = SLIM_VARIABLES[type(layer).__name__]
        for variable in layer.weights:
            slim_name = names[variable.name]
            self.variables[f"{scope}/{slim_name}"] = variable
            kind = "weights" if slim_name.endswith("weights") else slim_name
            chosen = collections.get(kind) if isinstance(collections, dict) else collections
            self._collect(chosen, f"{scope}/{slim_name}", variable)

    def add_output(self, collections: Collections, alias: str, output: Tensor) -> Tensor:
        """Add a result to collections, and return it.

        Args:
            collections: names of collections, or None.
            alias: name of the result in them, its scope.
            output: the result.
        """
        self.own([output])
        self._collect(collections, alias, output)
        return output

    def own(self, tensors: Iterable[Tensor]) -> None:
        """Make this graph the owner of the tensors that have none."""
        for tensor in tensors:
            _graphs.setdefault(tensor, self)

    def _collect(self, collections: Any, alias: str, thing: Any) -> None:
        if not isinstance(collections, str | list | tuple | None):
            raise TypeError(f"collections: expected a name, a list of names or None, got {short_repr(collections)}")
        for key in [collections] if isinstance(collections, str) else collections or ():
            entries = self._collections.setdefault(key, [])
            if not any(name == alias and item() is thing for name, item in entries):
                entries.append((alias, ref(thing)))

    def collection(self, key: str) -> list[tuple[str, Any]]:
        """Return the contents of a collection, with their names, in the order of their addition."""
        entries = ((alias, item()) for alias, item in self._collections.get(key, ()))
        return [(alias, thing) for alias, thing in entries if thing is not None]

    def clear_collection(self, key: str) -> None:
        """Empty a collection."""
        self._collections.pop(key, None)


_graphs: WeakKeyDictionary[Any, Graph] = WeakKeyDictionary()
_entered: ContextVar[Graph | None] = ContextVar("entered", default=None)
_latest: ContextVar[ref | None] = ContextVar("latest", default=None)


def graph_of(tensor: Tensor) -> Graph:
    """Return the graph of a tensor, a new one where its Keras inputs have none.

    Raises:
        TypeError: for what is no Keras tensor.
        ValueError: for inputs of several graphs, or without eager execution.
    """
    if not keras.utils.is_keras_tensor(tensor):
        raise TypeError(
            f"inputs: expected a Keras tensor, keras.Input or what is made of one, got {short_repr(tensor)}"
        )
    if not tf.executing_eagerly():
        raise ValueError(
            "inputs: expected eager execution, in which Keras builds models, got a TensorFlow 1 graph: leave out "
            "tf.disable_v2_behavior() and tf.Graph()"
        )
    graph = _entered.get()
    if graph is None:
        graph = _inherited(tensor)
    graph.own([tensor])
    _latest.set(ref(graph))
    return graph


def current_graph() -> Graph:
    """Return the graph whose context is open, or the last one used; an empty one where that is gone."""
    latest = _latest.get()
    return _entered.get() or (latest and latest()) or Graph()


def _inherited(tensor: Tensor) -> Graph:
    found: list[Graph] = []
    inputs = []
    for source in _sources(tensor):
        graph = _graphs.get(source)
        if graph is None:
            inputs.append(source)
        elif graph not in found:
            found.append(graph)
    if len(found) > 1:
        raise ValueError(
            f"inputs: expected a tensor of one graph, got one made of {len(found)}: "
            "build a model of several inputs inside `with slim.Graph():`"
        )
    graph = found[0] if found else Graph()
    graph.own(inputs)
    return graph


def _sources(tensor: Any) -> list[Any]:
    """The nearest tensors behind `tensor` (itself, perhaps) that have a graph, and the Keras inputs that have none."""
    calls = [call for call in calls_behind([tensor], stop=_graphs.__contains__) if call.inputs]
    made = {id(output) for call in calls for output in call.outputs}
    reached = [tensor, *(source for call in calls for source in call.inputs)]
    return [each for each in reached if each in _graphs or id(each) not in made]


def _unique(names: set[str], name: str) -> str:
    """Add a name, with the first free number where it is taken, to `names`, and return it."""
    chosen, number = name, 0
    while chosen in names:
        number += 1
        chosen = f"{name}_{number}"
    names.add(chosen)
    return chosen
