"""Names of the types that public signatures have."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from tfsep._keras.backend import keras, tf

Tensor: TypeAlias = tf.Tensor | keras.KerasTensor
"""A tensor of TensorFlow, eager or in a graph, or a symbolic one of Keras."""

TensorLike: TypeAlias = tf.Tensor | keras.KerasTensor | tf.Variable | np.ndarray | Sequence
"""What TensorFlow makes a tensor of."""

Layer: TypeAlias = keras.layers.Layer
"""Any Keras layer."""

Model: TypeAlias = keras.Model
"""A Keras model."""

Shape: TypeAlias = tuple[int | None, ...]
"""A shape, None where a size is not known."""

ActivationLike: TypeAlias = str | Callable[[Any], Any] | None
"""A Keras activation's name, a function of a tensor, or None for none."""

InitializerLike: TypeAlias = str | Mapping[str, Any] | keras.initializers.Initializer | None
"""What ``keras.initializers.get`` takes."""

RegularizerLike: TypeAlias = str | Mapping[str, Any] | keras.regularizers.Regularizer | None
"""What ``keras.regularizers.get`` takes."""

ConstraintLike: TypeAlias = str | Mapping[str, Any] | keras.constraints.Constraint | None
"""What ``keras.constraints.get`` takes."""

Data: TypeAlias = np.ndarray | tf.Tensor | tf.data.Dataset | Sequence | Mapping[str, Any] | Callable[[], Any]
"""Samples: arrays, a tuple of them or a dict by input name, a ``tf.data.Dataset``, or a generator function."""
