"""Slim's fully connected layer, and its bias as a layer of its own."""

import functools
from typing import Any

from tf_slim import add_arg_scope

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Shape, Tensor
from tfsep._utils.arguments import positive_int
from tfsep.slim._arguments import bias_options, require_channels
from tfsep.slim._arguments import initializer as as_initializer
from tfsep.slim._arguments import regularizer as as_regularizer
from tfsep.slim._initializers import XAVIER, ZEROS
from tfsep.slim._scope import layer_scope
from tfsep.slim._types import (
    ActivationLike,
    Collections,
    Function,
    InitializerLike,
    RegularizerLike,
    Reuse,
    ScopeLike,
    VariablesCollections,
)


@add_arg_scope
def fully_connected(
    inputs: Tensor,
    num_outputs: int,
    activation_fn: ActivationLike = tf.nn.relu,
    normalizer_fn: Function | None = None,
    normalizer_params: dict[str, Any] | None = None,
    weights_initializer: InitializerLike = XAVIER,
    weights_regularizer: RegularizerLike = None,
    biases_initializer: InitializerLike = ZEROS,
    biases_regularizer: RegularizerLike = None,
    reuse: Reuse = None,
    variables_collections: VariablesCollections = None,
    outputs_collections: Collections = None,
    trainable: bool = True,
    scope: ScopeLike = None,
) -> Tensor:
    """Multiply the last axis by a matrix, then normalize or add a bias, then activate.

    Args:
        inputs: Keras tensor (N, ..., C).
        num_outputs: length F of the result.
        activation_fn: a function of ``tf.nn`` or any other, a Keras layer, or None for none.
        normalizer_fn: a function like slim's `batch_norm`, applied to the result in place of a bias; None for none.
        normalizer_params: dict of its arguments.
        weights_initializer: initializer of the matrix: an initializer of slim, Keras or TensorFlow, or a function of
            shape and dtype.
        weights_regularizer: regularizer of the matrix: a regularizer of slim or Keras, or a function of the weights;
            None for none.
        biases_initializer: initializer of the bias, in the forms of `weights_initializer`; None for no bias.
        biases_regularizer: regularizer of the bias, in the forms of `weights_regularizer`; None for none.
        reuse: True shares the layer of `scope`; see `variable_scope`.
        variables_collections: names of collections for the variables, or a dict of them by ``"weights"`` and
            ``"biases"``.
        outputs_collections: names of collections for the result, under the scope's name.
        trainable: whether the layer is trained.
        scope: scope of the layer; None for ``fully_connected``, ``fully_connected_1`` and so on.

    Returns:
        Keras tensor (N, ..., F).

    Raises:
        TypeError: if `inputs` is no Keras tensor, or an initializer, regularizer or activation is of another type.
        ValueError: for inputs of another rank, an argument out of range, a scope that is taken, or, under reuse, a
            scope without a layer or with a different one.

    Examples:
        >>> from tfsep import slim
        >>> slim.fully_connected(keras.Input((8,)), 4, activation_fn=None).shape
        (None, 4)
    """
    with layer_scope(inputs, scope, "fully_connected", reuse) as opened:
        require_channels(inputs, "NHWC")
        layer = keras.layers.Dense(
            positive_int(num_outputs, "num_outputs"),
            kernel_initializer=as_initializer(weights_initializer, "weights_initializer"),
            kernel_regularizer=as_regularizer(weights_regularizer, "weights_regularizer"),
            trainable=trainable,
            name=opened.layer_name,
            **bias_options(normalizer_fn, biases_initializer, biases_regularizer),
        )
        outputs = opened.call(layer, inputs, variables_collections)
        return opened.finish(outputs, activation_fn, outputs_collections, normalizer_fn, normalizer_params)


relu = functools.partial(fully_connected, activation_fn=tf.nn.relu)
"""`fully_connected` with a rectifier."""

relu6 = functools.partial(fully_connected, activation_fn=tf.nn.relu6)
"""`fully_connected` with a rectifier that ends at 6."""

elu = functools.partial(fully_connected, activation_fn=tf.nn.elu)
"""`fully_connected` with an exponential linear unit."""

linear = functools.partial(fully_connected, activation_fn=None)
"""`fully_connected` without activation."""


@keras.saving.register_keras_serializable(package="tfsep")
class BiasAdd(keras.layers.Layer):
    """The sum with a bias (C,), which Keras has only inside other layers.

    Args:
        axis: axis of the channels, −1 or 1.
        bias_initializer: initializer of the bias.
        bias_regularizer: regularizer of the bias; None for none.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        axis: int = -1,
        bias_initializer: InitializerLike = "zeros",
        bias_regularizer: RegularizerLike = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)

    def build(self, input_shape: Shape) -> None:
        """Make the bias."""
        self.bias = self.add_weight(
            name="bias",
            shape=(input_shape[self.axis],),
            initializer=self.bias_initializer,
            regularizer=self.bias_regularizer,
        )
        self.input_spec = keras.layers.InputSpec(ndim=len(input_shape), axes={self.axis: input_shape[self.axis]})

    def call(self, inputs: Tensor) -> Tensor:
        """Return the sum."""
        after = inputs.ndim - 1 - self.axis % inputs.ndim
        return inputs + keras.ops.reshape(self.bias, (-1,) + (1,) * after)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the same shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            **super().get_config(),
            "axis": self.axis,
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
        }


@add_arg_scope
def bias_add(
    inputs: Tensor,
    activation_fn: ActivationLike = None,
    initializer: InitializerLike = ZEROS,
    regularizer: RegularizerLike = None,
    reuse: Reuse = None,
    variables_collections: VariablesCollections = None,
    outputs_collections: Collections = None,
    trainable: bool = True,
    data_format: str = "NHWC",
    scope: ScopeLike = None,
) -> Tensor:
    """Add a bias to each channel, then activate.

    Args:
        inputs: Keras tensor (N, ..., C), or (N, C, ...) with ``"NCHW"``.
        activation_fn: a function of ``tf.nn`` or any other, a Keras layer, or None for none.
        initializer: initializer of the bias: an initializer of slim, Keras or TensorFlow, or a function of shape and
            dtype.
        regularizer: regularizer of the bias: a regularizer of slim or Keras, or a function of the weights; None for
            none.
        reuse: True shares the layer of `scope`; see `variable_scope`.
        variables_collections: names of collections for the variable, or a dict of them by ``"biases"``.
        outputs_collections: names of collections for the result, under the scope's name.
        trainable: whether the bias is trained.
        data_format: ``"NHWC"`` or ``"NCHW"``.
        scope: scope of the layer; None for ``BiasAdd``, ``BiasAdd_1`` and so on.

    Returns:
        Keras tensor of the same shape.

    Raises:
        TypeError: if `inputs` is no Keras tensor, or an initializer, regularizer or activation is of another type.
        ValueError: for an unknown number of channels, an argument out of range, a scope that is taken, or, under
            reuse, a scope without a layer or with a different one.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.bias_add(keras.Input((8, 8, 3)), tf.nn.relu)
        >>> list(slim.utils.convert_collection_to_dict("variables"))
        ['BiasAdd/biases']
    """
    with layer_scope(inputs, scope, "BiasAdd", reuse) as opened:
        layer = BiasAdd(
            require_channels(inputs, data_format),
            as_initializer(initializer, "initializer"),
            as_regularizer(regularizer, "regularizer"),
            trainable=trainable,
            name=opened.layer_name,
        )
        return opened.finish(opened.call(layer, inputs, variables_collections), activation_fn, outputs_collections)
