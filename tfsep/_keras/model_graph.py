"""A Keras model as a graph: the one walk through its calls, and the views of it that other modules share."""

import inspect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple, Self

from tfsep._keras.backend import keras, tf
from tfsep._keras.model_io import inputs_of
from tfsep._keras.types import Layer, Model, Shape


class Call(NamedTuple):
    """One call of a layer, or of an operation of `keras.ops`, on symbolic tensors.

    Attributes:
        operation: the layer or operation.
        args: the arguments given by position, tensors too.
        kwargs: the arguments given by name.
        inputs: the tensors among the arguments; empty for an input layer.
        outputs: the tensors returned.
    """

    operation: keras.Operation
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: list[keras.KerasTensor]
    outputs: list[keras.KerasTensor]


def call_of(tensor: keras.KerasTensor) -> Call | None:
    """Return the call that made a symbolic tensor; None for a tensor outside any graph.

    Keras has no public way there: `keras.utils.get_source_inputs` takes every path, of which a network with n joins
    has 2ⁿ, and a model's config omits the calls that a subclass makes.
    """
    history = getattr(tensor, "_keras_history", None)
    if history is None or history.operation is None:
        return None
    node = history.operation._inbound_nodes[history.node_index]
    given = node.arguments
    return Call(history.operation, given.args, given.kwargs, node.input_tensors, node.output_tensors)


def operation_of(tensor: keras.KerasTensor) -> keras.Operation:
    """Return the layer or operation that made a symbolic tensor of a graph; see `call_of`."""
    return tensor._keras_history.operation


def calls_behind(
    tensors: Iterable[keras.KerasTensor], stop: Callable[[keras.KerasTensor], bool] = lambda _: False
) -> Iterator[Call]:
    """Yield the calls that led to some tensors: each once, sources before users, in the order of the arguments.

    The walk is iterative, so depth is not limited. Nested models are single calls; walk their ``outputs`` to open them.

    Args:
        tensors: the tensors to start from, such as ``model.outputs``.
        stop: whether to leave out the call that made a tensor, and what is behind it.

    Examples:
        >>> x = keras.Input((4,), name="x")
        >>> y = keras.layers.Dense(2, name="dense")(x)
        >>> [call.operation.name for call in calls_behind([keras.layers.Add(name="sum")([y, y])])]
        ['x', 'dense', 'sum']
    """
    done: set[int] = set()
    waiting = list(tensors)[::-1]
    while waiting:
        tensor = waiting[-1]
        call = None if id(tensor) in done or stop(tensor) else call_of(tensor)
        if call is None:
            waiting.pop()
        elif ahead := [each for each in call.inputs if id(each) not in done and not stop(each) and call_of(each)]:
            waiting += ahead[::-1]
        else:
            done.update(map(id, call.outputs))
            yield call


def require_model(model: Any) -> None:
    """Raise unless this is a Keras model.

    Raises:
        TypeError: for anything else.

    Examples:
        >>> require_model(None)
        Traceback (most recent call last):
        TypeError: model: expected a Keras model, got NoneType
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"model: expected a Keras model, got {type(model).__name__}")


def leaf_layers(model: Model) -> list[Layer]:
    """Return the layers of a model in their order, nested models opened, each layer once."""
    found: dict[int, Layer] = {}
    for layer in model.layers:
        for leaf in leaf_layers(layer) if isinstance(layer, keras.Model) else [layer]:
            found[id(leaf)] = leaf
    return list(found.values())


class NamedCall(NamedTuple):
    """One call of a layer.

    Attributes:
        source: the name of the layer that made its input; None for an input of the model.
        training: whether it is called with ``training=True``, by no default of its own.
        masked: whether it is called with a mask.
        shape: the shape of its input, of several the first.
        result_shape: the shape of its result, of several the first.
    """

    source: str | None
    training: bool = False
    masked: bool = False
    shape: Shape = ()
    result_shape: Shape = ()


class Graph(NamedTuple):
    """A model by the names of its layers.

    Attributes:
        calls: the calls of each layer.
        uses: how often the results of each layer are used, by layers and as outputs.
        outputs: the layers whose results are the model's outputs.
        users: the layers that take the results of each layer, one for each tensor that they take.
    """

    calls: dict[str, list[NamedCall]]
    uses: Counter[str]
    outputs: set[str]
    users: dict[str, list[str]]

    @classmethod
    def of(cls, model: Model) -> Self:
        """Return the graph of a Sequential or Functional model. A call on one of the model's inputs has no source."""
        graph = cls(defaultdict(list), Counter(), set(), defaultdict(list))
        maker: dict[int, str] = {}
        for call in calls_behind(model.outputs):
            maker |= dict.fromkeys(map(id, call.outputs), call.operation.name)
            graph.uses.update(maker[id(tensor)] for tensor in call.inputs)
            for tensor in call.inputs:
                graph.users[maker[id(tensor)]].append(call.operation.name)
            source = call_of(call.inputs[0]) if call.inputs else None
            graph.calls[call.operation.name].append(
                NamedCall(
                    None if source is None or not source.inputs else source.operation.name,
                    _is_told_to_train(call),
                    call.kwargs.get("mask") is not None,
                    tuple(call.inputs[0].shape) if call.inputs else (),
                    tuple(call.outputs[0].shape),
                )
            )
        graph.outputs.update(maker[id(tensor)] for tensor in model.outputs)
        graph.uses.update(maker[id(tensor)] for tensor in model.outputs)
        return graph


def _is_told_to_train(call: Call) -> bool:
    """Whether a call has ``training=True``, not as its layer's default, which Keras puts there itself."""
    told = call.kwargs.get("training")
    own = inspect.signature(call.operation.call).parameters.get("training")
    return told not in (None, False) and (own is None or own.default is not True)


def opened(model: Layer) -> Model | None:
    """Return a model as a plain Sequential or Functional one, on the same layers; None if its call is overridden.

    Unlike a subclass, whose constructor may take other arguments, a plain model can be made again from tensors. It is
    not compiled.
    """
    for base in (keras.Sequential, _functional()):
        if isinstance(model, base):
            plain = model if base is keras.Sequential else keras.Model(model.input, model.output, name=model.name)
            own = type(model).call, type(model).__call__
            return plain if own == (base.call, base.__call__) or _computes_its_graph(model) else None
    return None


def _computes_its_graph(model: Model) -> bool:
    """Whether a model with a call of its own computes its layers and nothing else, as one that checks its arguments."""
    if not model.built:
        return True
    plain = keras.Model(model.inputs, model.outputs, name=model.name)
    try:
        own = _operators(model, inputs_of(model))
    except Exception:  # a model of any maker raises what it likes
        return False
    return own == _operators(plain, model.inputs)


SOME_SIZE = 64
"""A size that networks of open sizes take."""


def _operators(model: Model, inputs: Any) -> list[Any]:
    """The operators of a model's inference, each with the places of its inputs, and the places of the outputs."""

    def spec(tensor: keras.KerasTensor) -> tf.TensorSpec:
        # Some layers of Keras run with known sizes only.
        return tf.TensorSpec([1, *(side or SOME_SIZE for side in tensor.shape[1:])], tensor.dtype)

    specs = keras.tree.map_structure(spec, inputs)
    with keras.StatelessScope():
        graph = tf.function(lambda x: keras.tree.flatten(model(x, training=False))).get_concrete_function(specs).graph
    operators = graph.get_operations()
    places = {out.name: (place, out.value_index) for place, each in enumerate(operators) for out in each.outputs}
    rows = [(each.type, [places[x.name] for x in each.inputs]) for each in operators]
    return [rows, [places[output.name] for output in graph.structured_outputs]]


def plain_model(model: Model) -> Model:
    """Return a model that was built as a plain Sequential or Functional one, on the same layers.

    Raises:
        TypeError: for another kind of model, or one whose call is overridden.
        ValueError: for a model that was not built.

    Examples:
        >>> plain_model(keras.Sequential([keras.layers.Dense(2)], name="fresh"))
        Traceback (most recent call last):
        ValueError: model: expected one that was built, got 'fresh', which has no weights yet
    """
    plain = opened(model)
    if plain is None:
        raise TypeError(
            f"model: expected a Functional or Sequential model with Keras's own call, got {type(model).__name__}"
        )
    if not model.built:
        raise ValueError(f"model: expected one that was built, got {model.name!r}, which has no weights yet")
    return plain


@cache
def _functional() -> type[Model]:
    """The class of Functional models, which Keras does not export."""
    inputs = keras.Input((1,), name="input")
    return type(keras.Model(inputs, keras.layers.Identity(name="output")(inputs), name="model"))
