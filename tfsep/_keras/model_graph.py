"""A model as a graph of named calls: what follows what, how it is called, and what else uses it."""

from collections import Counter, defaultdict
from functools import cache
from typing import Any, NamedTuple, Self

from tfsep._keras.backend import keras
from tfsep._keras.model_io import origin


class Call(NamedTuple):
    """One call of a layer: the layer that its input comes from, and whether it is told to train, or gets a mask."""

    source: str | None
    training: bool = False
    masked: bool = False


class Graph(NamedTuple):
    """The calls of each layer and operation of a model, how often each is used, and which are the model's outputs."""

    calls: dict[str, list[Call]]
    uses: Counter[str]
    outputs: set[str]

    @classmethod
    def of(cls, model: Any) -> Self:
        """The graph of a Sequential or Functional model."""
        if isinstance(model, keras.Sequential):
            names = [layer.name for layer in model.layers]
            calls = {name: [Call(before)] for before, name in zip([None, *names], names, strict=False)}
            return cls(calls, Counter(names), {names[-1]} if names else set())
        graph = cls(defaultdict(list), Counter(), {_origin(tensor) for tensor in model.outputs})
        seen, tensors = set(), list(model.outputs)
        while tensors:
            tensor = tensors.pop()
            graph.uses[_origin(tensor)] += 1
            operation, node = origin(tensor)
            if node not in seen:
                seen.add(node)
                graph.calls[operation.name].append(_call(node.arguments))
                tensors += node.input_tensors
        return graph


def _origin(tensor: Any) -> str:
    """The layer or operation that a tensor comes from."""
    operation, _ = origin(tensor)
    return operation.name


def _call(arguments: Any) -> Call:
    args, kwargs = arguments.args, arguments.kwargs
    given = keras.tree.flatten([args, kwargs.get("inputs")])
    source = next((_origin(each) for each in given if isinstance(each, keras.KerasTensor)), None)
    return Call(source, kwargs.get("training") not in (None, False), kwargs.get("mask") is not None)


def opened(model: Any) -> Any | None:
    """The model as a plain Sequential or Functional one, on the same layers; None if it computes what its graph lacks.

    A plain one can be made again from tensors, which the constructor of a subclass need not take, and is not compiled.
    """
    for base in (keras.Sequential, _functional()):
        if isinstance(model, base):
            own = type(model).call, type(model).__call__
            if own != (base.call, base.__call__):
                return None
            return model if base is keras.Sequential else keras.Model(model.input, model.output, name=model.name)
    return None


def plain_model(model: Any) -> Any:
    """Return a model that was built as a plain Sequential or Functional one, on the same layers.

    Raises:
        TypeError: if it is neither, or overrides their call.
        ValueError: if it was not built.

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
def _functional() -> Any:
    """The class of Functional models, which Keras does not export."""
    inputs = keras.Input((1,), name="input")
    return type(keras.Model(inputs, inputs, name="model"))
