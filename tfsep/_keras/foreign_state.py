"""What a model's own code holds beside Keras's variables: remembered before its calls, and put back behind them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import PurePath
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.layer_copies import BorrowedLayer, own_attributes
from tfsep._keras.model_io import layers_in
from tfsep._keras.types import Layer

_KNOWN = {*sys.stdlib_module_names, "keras", "tensorflow", "numpy", "tfsep"} - {"__main__"}
"""Packages whose objects hold nothing that a model's call changes, but for those in `_State._contents`."""

_INSTALLED = {"site-packages", "dist-packages"}
"""Folders of packages, whose own globals, such as registers, are not the model's."""


@contextmanager
def foreign_state_kept(model: Any) -> Iterator[None]:
    """Give everything that a call of a model may change, and no scope of Keras covers, its value from before.

    Attributes of layers and of objects that these hold, numbers in arrays, lists, dicts, sets and variables of
    TensorFlow, what functions refer to, and the losses of the last call, in whose place a trace would leave symbols. A
    layer that is not built yet is left out: its first call makes what it holds.

    Args:
        model: a model; anything else is let through.

    Examples:
        >>> log = []
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Lambda(lambda x, log=log: log.append(0) or x)])
        >>> before = len(log)
        >>> with foreign_state_kept(model):
        ...     _ = model(np.ones((1, 1)))
        >>> len(log) == before
        True
    """
    state = _State()
    if isinstance(model, keras.layers.Layer):
        for layer in layers_in(model):
            state.look(layer)
            state.keep_losses(layer)
    try:
        yield
    finally:
        state.restore()


def has_foreign_code(layer: Layer) -> bool:
    """Return whether a layer runs code that is not Keras's, TensorFlow's or this library's.

    Args:
        layer: a layer.

    Examples:
        >>> has_foreign_code(keras.layers.Dense(2, activation="relu"))
        False
        >>> has_foreign_code(keras.layers.Lambda(abs))
        True
    """
    runs_others = isinstance(layer, keras.layers.Lambda | keras.layers.TFSMLayer | BorrowedLayer)
    return runs_others or not _is_known(type(layer)) or any(_is_foreign(value) for _, value in own_attributes(layer))


class _State:
    """Values, and functions that put them back."""

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}
        """Objects by their ids, which they keep as long as they are here."""
        self._fills: list[Callable[[], Any]] = []

    def restore(self) -> None:
        """Put everything back."""
        for fill in self._fills:
            fill()

    def keep_losses(self, layer: Layer) -> None:
        """Remember the losses of a layer's last call, which Keras has no public way to put back."""
        self._members(layer._losses)
        self._members(layer._loss_ids)

    def look(self, root: Any) -> None:
        """Remember what a value holds, what this holds, and so on."""
        waiting = [root]
        while waiting:
            value = waiting.pop()
            if id(value) not in self._seen:
                self._seen[id(value)] = value
                waiting += self._contents(value)

    def _contents(self, value: Any) -> list[Any]:
        """What a value holds; how to put it back is remembered."""
        held: list[Any] = []
        match value:
            case tf.Variable():
                self._fills.append(partial(assign_back, value, value.numpy()))
            case tf.random.Generator():
                held = [value.state]
            case np.ndarray() if value.flags.writeable:
                self._fills.append(partial(value.__setitem__, ..., value.copy()))
            case list() | tuple() | set():
                held = self._members(value)
            case dict():
                held = self._entries(value, dict(value))
            case MethodType():
                held = [value.__func__, value.__self__]
            case partial():
                held = [value.func, *value.args, *value.keywords.values()]
            case FunctionType():
                held = self._names(value)
            case keras.layers.TFSMLayer():
                held = [variable.value for variable in value.variables]
            case keras.layers.Layer():
                held = self._attributes(value)
            case _ if not isinstance(value, type) and hasattr(value, "__dict__") and not _is_known(type(value)):
                held = [*self._entries(vars(value), dict(vars(value))), *_methods(value)]
        return held

    def _members(self, value: list[Any] | tuple[Any, ...] | set[Any]) -> list[Any]:
        members = list(value)

        def fill() -> None:
            # By the base class: Keras's own sets take what is put in for something new.
            if isinstance(value, list):
                value[:] = members
            elif isinstance(value, set):
                set.clear(value)
                set.update(value, members)

        self._fills.append(fill)
        return members

    def _entries(self, entries: dict[Any, Any], before: dict[Any, Any]) -> list[Any]:
        def fill() -> None:
            for key in [key for key in entries if key not in before]:
                dict.pop(entries, key)
            dict.update(entries, before)

        if issubclass(type(entries), dict):  # and no proxy of one
            self._fills.append(fill)
        return list(before.values())

    def _attributes(self, layer: Any) -> list[Any]:
        """The attributes of a layer beside Keras's own; of Keras's layers and ours, the code of others."""
        own = dict(own_attributes(layer))
        if _is_known(type(layer)) and not isinstance(layer, keras.layers.Lambda):
            return [each for each in own.values() if isinstance(each, FunctionType) or _is_foreign(each)]
        if not layer.built:
            return []
        self._fills.append(partial(vars(layer).update, own))
        return [*own.values(), *_methods(layer)]

    def _names(self, function: FunctionType) -> list[Any]:
        """What a function refers to beside its arguments."""
        found = list(function.__defaults__ or ())
        for cell in function.__closure__ or ():
            with suppress(ValueError):  # an empty one
                found.append(cell.cell_contents)
                self._fills.append(partial(setattr, cell, "cell_contents", cell.cell_contents))
        if not _is_known(function) and _INSTALLED.isdisjoint(PurePath(function.__code__.co_filename).parts):
            names = set(_names_in(function.__code__)) & function.__globals__.keys()
            own = {name: function.__globals__[name] for name in names}
            self._fills.append(partial(function.__globals__.update, own))
            found += own.values()
        return found


def _names_in(code: CodeType) -> Iterator[str]:
    """The names of attributes and globals in a function's code, and in functions within it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _methods(value: Any) -> list[Any]:
    """The functions of an object's classes that are no library's."""
    classes = [each for each in type(value).__mro__ if not _is_known(each)]
    return [each for cls in classes for each in vars(cls).values() if isinstance(each, FunctionType)]


def _is_foreign(value: Any) -> bool:
    """Whether a value is a function of others, or an object of their class."""
    return not _is_known(value if isinstance(value, FunctionType) else type(value))


def _is_known(kind: type | FunctionType) -> bool:
    return str(kind.__module__).split(".")[0] in _KNOWN


def assign_back(variable: tf.Variable, value: np.ndarray) -> None:
    """Give a variable its value from before, where it has another now."""
    if not np.array_equal(variable.numpy(), value, equal_nan=value.dtype.kind == "f"):
        variable.assign(value)
