"""Types of slim's arguments."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias

from tfsep._keras import types
from tfsep._keras.backend import keras, tf

Function: TypeAlias = Callable[..., Any]
"""A function of a tensor, such as a slim function or a Keras layer."""

ActivationLike: TypeAlias = types.ActivationLike | types.Layer
"""A function of ``tf.nn`` or any other, a Keras layer, a Keras activation's name, or None for none."""

InitializerLike: TypeAlias = types.InitializerLike | Callable[..., Any]
"""An initializer of slim, Keras or TensorFlow, or a function of shape and dtype."""

RegularizerLike: TypeAlias = types.RegularizerLike | Callable[..., Any]
"""A regularizer of slim or Keras, or a function of the weights."""

Collections: TypeAlias = str | Sequence[str] | None
"""Names of collections."""

VariablesCollections: TypeAlias = Collections | Mapping[str, Collections]
"""Names of collections, or a dict of them by the kind of variable."""

ScopeLike: TypeAlias = str | tf.compat.v1.VariableScope | None
"""A scope by its name, or one that was opened before."""

Reuse: TypeAlias = bool | Enum | None
"""Whether layers are shared: True, False, ``tf.compat.v1.AUTO_REUSE``, or None for the rule of the enclosing scope."""

Variable: TypeAlias = keras.Variable
"""A weight of a Keras layer."""
