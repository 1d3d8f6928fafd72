"""TensorFlow's functions on Keras tensors, as slim code calls them between its own."""

from typing import Any, NamedTuple

from tfsep._keras.backend import keras, tf
from tfsep._keras.model_graph import calls_behind
from tfsep._keras.tf_functions import OPERATIONS, FunctionCall, is_taking_keras_tensors, public_name
from tfsep._keras.types import Tensor
from tfsep.models._layer_builder import layer_name
from tfsep.slim._graph import graph_of
from tfsep.slim._scope import name_in_scope


class _OnKerasTensors(tf.__internal__.dispatch.GlobalOpDispatcher):
    """What TensorFlow asks for the result of a function that refuses its arguments."""

    def handle(self, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the result on Keras tensors; ``NOT_SUPPORTED`` where there are none."""
        first = next((each for each in tf.nest.flatten([args, kwargs]) if keras.utils.is_keras_tensor(each)), None)
        if first is None or is_taking_keras_tensors():
            return self.NOT_SUPPORTED
        call = FunctionCall.of(op, args, kwargs)
        if call.function not in OPERATIONS:
            name = public_name(op)
            raise TypeError(
                f"{name}: expected one of {len(OPERATIONS)} functions that slim's code may call on Keras tensors, such "
                "as tf.concat and tf.reduce_mean, got another: take one of keras.ops, or a keras.layers.Lambda around "
                "it"
            )
        graph = graph_of(first)
        name = name_in_scope(graph, call.name, call.function)
        result = call.result(layer_name(name))
        results = result if isinstance(result, list) else [result]
        _name_operations(results, layer_name(name), tf.nest.flatten([args, kwargs]))
        for i, tensor in enumerate(results):
            tensor.name = f"{name}:{i}"
        graph.own(results)
        return result


def _name_operations(results: list[Tensor], name: str, given: list[Any]) -> None:
    """Give the operations between some tensors and results slim's name: Keras's own may be that of a layer of slim."""
    known, last = set(map(id, given)), set(map(id, results))
    for call in calls_behind(results, stop=lambda tensor: id(tensor) in known):
        if not isinstance(call.operation, keras.layers.Layer):
            is_last = not last.isdisjoint(map(id, call.outputs))
            call.operation.name = name if is_last else f"{name}.{call.operation.name}"


def _get_shape(self: Tensor) -> tf.TensorShape:
    return tf.TensorShape(self.shape)


def _set_shape(self: Tensor, shape: Any) -> None:
    tf.TensorShape(self.shape).assert_is_compatible_with(shape)


class _Operation(NamedTuple):
    """A call of a layer or an operation, as code that walks TensorFlow's graph sees it."""

    name: str
    outputs: list[Tensor]


class _Operations(NamedTuple):
    """What is behind a tensor, in the place of TensorFlow's graph."""

    tensor: Tensor

    def get_operations(self) -> list[_Operation]:
        """Return the operations in the order of computation, by slim's names."""
        calls = calls_behind([self.tensor])
        return [_Operation(call.operation.name.replace(".", "/"), call.outputs) for call in calls]


def let_tensorflow_take_keras_tensors() -> None:
    """Let TensorFlow's functions take Keras tensors, and these tell shape and graph as TensorFlow's do: errors before.

    TensorFlow has no public way of dispatch to types that are not its own. ``tf.__internal__.dispatch`` is its way for
    Keras.
    """
    _OnKerasTensors().register()
    for name, member in (("get_shape", _get_shape), ("set_shape", _set_shape), ("graph", property(_Operations))):
        if not hasattr(keras.KerasTensor, name):
            setattr(keras.KerasTensor, name, member)
