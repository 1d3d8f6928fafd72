"""Slim's convolutions and its fully connected layer."""

from typing import Any

from tf_slim import add_arg_scope

from tfsep._keras.backend import keras, tf
from tfsep._utils.arguments import positive_int
from tfsep.geometry._sizes import pair
from tfsep.layers import Conv2D, DepthwiseConv2D, SeparableConv2D
from tfsep.slim._arguments import channels, initializer, regularizer, require_channels
from tfsep.slim._initializers import xavier_initializer
from tfsep.slim._scope import layer_scope

_XAVIER = xavier_initializer()
_ZEROS = keras.initializers.Zeros()


def _bias(normalizer_fn: Any, biases_initializer: Any, biases_regularizer: Any) -> dict[str, Any]:
    """A layer's options of its bias, which a normalizer replaces and None leaves out."""
    if normalizer_fn is not None or biases_initializer is None:
        return {"use_bias": False}
    return {
        "use_bias": True,
        "bias_initializer": initializer(biases_initializer, "biases_initializer"),
        "bias_regularizer": regularizer(biases_regularizer, "biases_regularizer"),
    }


def _window(kernel_size: Any, stride: Any, padding: Any, rate: Any, data_format: Any) -> dict[str, Any]:
    """A convolution's options of its window, under the names of `tfsep.layers`."""
    return {
        "kernel_size": pair(kernel_size, "kernel_size"),
        "strides": pair(stride, "stride"),
        "padding": padding,
        "rate": pair(rate, "rate"),
        "data_format": channels(data_format),
    }


@add_arg_scope
def convolution(
    inputs: Any,
    num_outputs: int,
    kernel_size: Any,
    stride: Any = 1,
    padding: str = "SAME",
    data_format: str | None = None,
    rate: Any = 1,
    activation_fn: Any = tf.nn.relu,
    normalizer_fn: Any = None,
    normalizer_params: dict[str, Any] | None = None,
    weights_initializer: Any = _XAVIER,
    weights_regularizer: Any = None,
    biases_initializer: Any = _ZEROS,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
    conv_dims: int | None = None,
) -> Any:
    """Convolve images, then normalize or add a bias, then activate.

    Args:
        inputs: Keras tensor (N, H, W, C), or (N, C, H, W) with ``"NCHW"``.
        num_outputs: output channels F.
        kernel_size, stride, rate: an int or a pair; other than slim, any stride goes with any rate.
        padding: ``"SAME"`` or ``"VALID"``; pixels, too, as in `tfsep.layers.Conv2D`.
        data_format: ``"NHWC"`` (None, too) or ``"NCHW"``.
        activation_fn: a function of ``tf.nn`` or any other, a Keras layer, or None for none.
        normalizer_fn, normalizer_params: a function, called with the result and these arguments in place of a bias.
        weights_initializer, biases_initializer: slim's, Keras's, TensorFlow's, or a function of shape and dtype; None
            for no bias.
        weights_regularizer, biases_regularizer: slim's, Keras's, or a function of the weights.
        reuse: True to share the layer that `scope` names; see `variable_scope`.
        variables_collections: a collection, a list of them, or a dict of those by ``"weights"`` and ``"biases"``.
        outputs_collections: a collection or a list of them, which gain the result under the scope's name.
        trainable: whether the layer is trained.
        scope: the layer's scope; None for ``Conv``, ``Conv_1`` and so on.
        conv_dims: 2 or None.

    Returns:
        Keras tensor (N, H', W', F), or (N, F, H', W').

    Raises:
        TypeError: if `inputs` is no Keras tensor, or an initializer, regularizer or activation is none.
        ValueError: for another rank; an argument that is out of range; a scope that is taken, or one that has nothing
            to share under reuse, or something else.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.conv2d(keras.Input((8, 8, 3)), 16, [3, 3], stride=2, scope="Conv2d_0")
        >>> net.shape, [tuple(v.shape) for v in slim.get_variables_by_name("weights")]
        ((None, 4, 4, 16), [(3, 3, 3, 16)])
    """
    if conv_dims not in (None, 2):
        raise ValueError(f"conv_dims: expected 2 or None, got {conv_dims!r}")
    with layer_scope(inputs, scope, "Conv", reuse) as opened:
        require_channels(inputs, data_format, rank=4)
        layer = Conv2D(
            positive_int(num_outputs, "num_outputs"),
            **_window(kernel_size, stride, padding, rate, data_format),
            kernel_initializer=initializer(weights_initializer, "weights_initializer"),
            kernel_regularizer=regularizer(weights_regularizer, "weights_regularizer"),
            trainable=trainable,
            name=opened.layer_name,
            **_bias(normalizer_fn, biases_initializer, biases_regularizer),
        )
        outputs = opened.call(layer, inputs, variables_collections)
        return opened.finish(outputs, activation_fn, outputs_collections, normalizer_fn, normalizer_params)


@add_arg_scope
def convolution2d(
    inputs: Any,
    num_outputs: int,
    kernel_size: Any,
    stride: Any = 1,
    padding: str = "SAME",
    data_format: str | None = None,
    rate: Any = 1,
    activation_fn: Any = tf.nn.relu,
    normalizer_fn: Any = None,
    normalizer_params: dict[str, Any] | None = None,
    weights_initializer: Any = _XAVIER,
    weights_regularizer: Any = None,
    biases_initializer: Any = _ZEROS,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Any:
    """Do what `convolution` does, with an argument scope of its own.

    Examples:
        >>> from tfsep import slim
        >>> with slim.arg_scope([slim.conv2d], padding="VALID", normalizer_fn=slim.batch_norm):
        ...     slim.conv2d(keras.Input((8, 8, 3)), 16, 3).shape
        (None, 6, 6, 16)
    """
    return convolution(**locals(), conv_dims=2)


@add_arg_scope
def separable_convolution2d(
    inputs: Any,
    num_outputs: int | None,
    kernel_size: Any,
    depth_multiplier: int = 1,
    stride: Any = 1,
    padding: str = "SAME",
    data_format: str = "NHWC",
    rate: Any = 1,
    activation_fn: Any = tf.nn.relu,
    normalizer_fn: Any = None,
    normalizer_params: dict[str, Any] | None = None,
    weights_initializer: Any = _XAVIER,
    pointwise_initializer: Any = None,
    weights_regularizer: Any = None,
    biases_initializer: Any = _ZEROS,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Any:
    """Convolve depthwise and then, unless `num_outputs` is None, 1×1; then normalize or add a bias, then activate.

    Args:
        inputs: Keras tensor (N, H, W, C), or (N, C, H, W) with ``"NCHW"``.
        num_outputs: output channels F; None for the depthwise convolution alone.
        kernel_size, stride, rate: of the depthwise convolution, an int or a pair; other than slim, any stride goes with
            any rate.
        depth_multiplier: depthwise filters a channel, M.
        weights_initializer: of the depthwise kernel.
        pointwise_initializer: of the pointwise kernel; None for the same.
        weights_regularizer: of both kernels.
        padding, data_format, activation_fn, normalizer_fn, normalizer_params, biases_initializer, biases_regularizer,
            reuse, variables_collections, outputs_collections, trainable: as in `convolution`.
        scope: the layer's scope; None for ``SeparableConv2d``, ``SeparableConv2d_1`` and so on.

    Returns:
        Keras tensor (N, H', W', F) or, depthwise alone, (N, H', W', C·M); channels second with ``"NCHW"``.

    Raises:
        TypeError, ValueError: as `convolution`.

    Examples:
        >>> from tfsep import slim
        >>> inputs = keras.Input((8, 8, 3))
        >>> net = slim.separable_conv2d(inputs, None, [3, 3], depth_multiplier=1, normalizer_fn=slim.batch_norm)
        >>> net = slim.separable_conv2d(net, 16, 5, stride=2, scope="sep")
        >>> net.shape, len(slim.get_variables("SeparableConv2d/")), len(slim.get_variables("sep/"))
        ((None, 4, 4, 16), 4, 3)
    """
    with layer_scope(inputs, scope, "SeparableConv2d", reuse) as opened:
        require_channels(inputs, data_format, rank=4)
        options = {
            **_window(kernel_size, stride, padding, rate, data_format),
            "depth_multiplier": positive_int(depth_multiplier, "depth_multiplier"),
            "depthwise_initializer": initializer(weights_initializer, "weights_initializer"),
            "depthwise_regularizer": regularizer(weights_regularizer, "weights_regularizer"),
            "trainable": trainable,
            "name": opened.layer_name,
            **_bias(normalizer_fn, biases_initializer, biases_regularizer),
        }
        if num_outputs is None:
            layer = DepthwiseConv2D(**options)
        else:
            if pointwise_initializer is None:
                pointwise_initializer = weights_initializer
            layer = SeparableConv2D(
                positive_int(num_outputs, "num_outputs"),
                pointwise_initializer=initializer(pointwise_initializer, "pointwise_initializer"),
                pointwise_regularizer=regularizer(weights_regularizer, "weights_regularizer"),
                **options,
            )
        outputs = opened.call(layer, inputs, variables_collections)
        return opened.finish(outputs, activation_fn, outputs_collections, normalizer_fn, normalizer_params)


@add_arg_scope
def fully_connected(
    inputs: Any,
    num_outputs: int,
    activation_fn: Any = tf.nn.relu,
    normalizer_fn: Any = None,
    normalizer_params: dict[str, Any] | None = None,
    weights_initializer: Any = _XAVIER,
    weights_regularizer: Any = None,
    biases_initializer: Any = _ZEROS,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Any:
    """Multiply by a matrix over the last axis, then normalize or add a bias, then activate.

    Args:
        inputs: Keras tensor (N, ..., C).
        num_outputs: length F of the result.
        activation_fn, normalizer_fn, normalizer_params, weights_initializer, weights_regularizer, biases_initializer,
            biases_regularizer, reuse, variables_collections, outputs_collections, trainable: as in `convolution`.
        scope: the layer's scope; None for ``fully_connected``, ``fully_connected_1`` and so on.

    Returns:
        Keras tensor (N, ..., F).

    Raises:
        TypeError, ValueError: as `convolution`.

    Examples:
        >>> from tfsep import slim
        >>> slim.fully_connected(keras.Input((8,)), 4, activation_fn=None).shape
        (None, 4)
    """
    with layer_scope(inputs, scope, "fully_connected", reuse) as opened:
        require_channels(inputs, "NHWC")
        layer = keras.layers.Dense(
            positive_int(num_outputs, "num_outputs"),
            kernel_initializer=initializer(weights_initializer, "weights_initializer"),
            kernel_regularizer=regularizer(weights_regularizer, "weights_regularizer"),
            trainable=trainable,
            name=opened.layer_name,
            **_bias(normalizer_fn, biases_initializer, biases_regularizer),
        )
        outputs = opened.call(layer, inputs, variables_collections)
        return opened.finish(outputs, activation_fn, outputs_collections, normalizer_fn, normalizer_params)


conv2d = convolution2d
separable_conv2d = separable_convolution2d
