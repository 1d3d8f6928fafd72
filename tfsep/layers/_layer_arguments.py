"""Arguments of layers, and of layers made of parts, as attributes that can be set again, as on Keras's layers."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, Self, TypeVar, overload

from tfsep._keras.types import Layer

_Value = TypeVar("_Value")


def arguments_of(local_variables: dict[str, Any], *own: str) -> dict[str, Any]:
    """Return the arguments of a layer's `__init__`, given its `locals()`, as keywords for that of its base.

    A layer states each argument once, in its signature; what it means is the bases' to know.

    Args:
        local_variables: those at the beginning of `__init__`.
        *own: names of arguments that the layer keeps to itself.

    Examples:
        >>> arguments_of({"self": None, "filters": 8, "modulated": True, "kwargs": {"name": "conv"}}, "modulated")
        {'filters': 8, 'name': 'conv'}
    """
    others = ("self", "__class__", "kwargs", *own)
    return {name: value for name, value in local_variables.items() if name not in others} | local_variables["kwargs"]


class Argument(Generic[_Value]):
    """An attribute of a layer that is brought to one form, and checked, whenever it is set.

    Keras's layers read such attributes when they are built and called, so they can be changed until then.

    Args:
        normalize: (layer, value, name) → the value in one form.
        shapes_weights: whether the weights follow from it: a change is refused once they are made.
        another_name_of: name of the argument that this is another name of; None for an argument of its own.
    """

    def __init__(
        self,
        normalize: Callable[[Any, Any, str], _Value],
        *,
        shapes_weights: bool = False,
        another_name_of: str | None = None,
    ) -> None:
        self._normalize = normalize
        self._shapes_weights = shapes_weights
        self._slot = another_name_of and f"_{another_name_of}"

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        self._slot = self._slot or f"_{name}"

    @overload
    def __get__(self, layer: None, owner: type) -> Self: ...

    @overload
    def __get__(self, layer: Layer, owner: type) -> _Value: ...

    def __get__(self, layer: Layer | None, owner: type) -> Self | _Value:
        return self if layer is None else getattr(layer, str(self._slot))

    def __set__(self, layer: Layer, value: Any) -> None:
        chosen = self._normalize(layer, value, self._name)
        if self._shapes_weights and layer.built and chosen != (present := getattr(layer, str(self._slot))):
            raise ValueError(
                f"{self._name}: expected {present!r}, with which {layer.name!r} made its weights, got {chosen!r}"
            )
        setattr(layer, str(self._slot), chosen)


class PartArgument:
    """An argument of a composite layer that parts of it have: one that is set is set in all of them.

    Args:
        *parts: names of the attributes that hold the parts; one that is None has no say.
        attribute: the parts' own name of the argument; None for the same.
    """

    def __init__(self, *parts: str, attribute: str | None = None) -> None:
        self._parts, self._attribute = parts, attribute

    def __set_name__(self, owner: type, name: str) -> None:
        self._attribute, self._slot = self._attribute or name, f"_{name}"

    @overload
    def __get__(self, layer: None, owner: type) -> Self: ...

    @overload
    def __get__(self, layer: Layer, owner: type) -> Any: ...

    def __get__(self, layer: Layer | None, owner: type) -> Any:
        if layer is None:
            return self
        return next(
            (getattr(part, str(self._attribute)) for part in self._parts_of(layer)), vars(layer).get(self._slot)
        )

    def __set__(self, layer: Layer, value: Any) -> None:
        for part in self._parts_of(layer):
            setattr(part, str(self._attribute), value)
        setattr(layer, self._slot, value)

    def _parts_of(self, layer: Layer) -> Iterator[Layer]:
        return (part for name in self._parts if (part := vars(layer).get(name)) is not None)
