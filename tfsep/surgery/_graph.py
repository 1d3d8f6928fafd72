"""A model as a graph of named calls: what follows what, how it is called, and what else uses it."""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, Self

from tfsep._backend import keras


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
        config = model.get_config()
        nodes = {record["name"]: record["inbound_nodes"] for record in config["layers"]}
        outputs = list(_origins([config["output_layers"]]))
        calls = {name: [_call(node) for node in own] for name, own in nodes.items()}
        return cls(calls, Counter([*_origins(nodes), *outputs]), set(outputs))


def _call(node: dict[str, Any]) -> Call:
    args, kwargs = node["args"], node["kwargs"]
    source = next(_origins([args, kwargs.get("inputs")]), None)
    return Call(source, kwargs.get("training") not in (None, False), kwargs.get("mask") is not None)


def _origins(value: Any) -> Iterator[str]:
    """The layers that the tensors in a part of a Functional model's config come from."""
    match value:
        case {"class_name": "__keras_tensor__", "config": {"keras_history": [name, *_]}}:
            yield name
        case [str(name), int(), int()]:
            yield name
        case dict():
            for part in value.values():
                yield from _origins(part)
        case list() | tuple():
            for part in value:
                yield from _origins(part)


def opened(model: Any) -> Any | None:
    """The model as a plain Sequential or Functional one, on the same layers; None if it computes what its graph lacks.

    A subclass of a Functional model has no config to read, and its constructor takes no tensors.
    """
    for base in (keras.Sequential, _functional()):
        if isinstance(model, base):
            own = type(model).call, type(model).__call__
            if own != (base.call, base.__call__):
                return None
            return model if base is keras.Sequential else keras.Model(model.input, model.output, name=model.name)
    return None


@cache
def _functional() -> Any:
    """The class of Functional models, which Keras does not export."""
    inputs = keras.Input((1,), name="input")
    return type(keras.Model(inputs, inputs, name="model"))
