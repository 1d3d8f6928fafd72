"""Type aliases of public signatures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from tfsep._keras.backend import keras, tf

Tensor: TypeAlias = tf.Tensor | keras.KerasTensor
"""A TensorFlow tensor, eager or in a graph, or a symbolic Keras tensor."""

TensorLike: TypeAlias = tf.Tensor | keras.KerasTensor | tf.Variable | np.ndarray | Sequence
"""An argument of ``tf.convert_to_tensor``."""

Layer: TypeAlias = keras.layers.Layer
"""Any Keras layer."""

Model: TypeAlias = keras.Model
"""A Keras model."""

Shape: TypeAlias = tuple[int | None, ...]
"""A shape, None where a size is not known."""

InputShapes: TypeAlias = Sequence[int | None] | Sequence["InputShapes"] | Mapping[str, "InputShapes"]
"""The shape of a model's one input, without the batch; or of each of several, in order, by name, or in the structure in
which the model takes them."""

ActivationLike: TypeAlias = str | Callable[[Any], Any] | None
"""A Keras activation's name, a function of a tensor, or None for none."""

InitializerLike: TypeAlias = str | Mapping[str, Any] | keras.initializers.Initializer | None
"""What ``keras.initializers.get`` takes."""

RegularizerLike: TypeAlias = str | Mapping[str, Any] | keras.regularizers.Regularizer | None
"""What ``keras.regularizers.get`` takes."""

ConstraintLike: TypeAlias = str | Mapping[str, Any] | keras.constraints.Constraint | None
"""What ``keras.constraints.get`` takes."""

Data: TypeAlias = np.ndarray | tf.Tensor | tf.data.Dataset | Mapping[str, Any] | Iterable[Any]
"""Samples: an array, a tuple of arrays or a dict by input name, or an iterable of batches, such as a
``tf.data.Dataset`` or a generator."""
