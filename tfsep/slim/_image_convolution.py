"""Slim's convolutions of images: depthwise separable, of each channel by one kernel, transposed."""

from typing import Any

from tf_slim import add_arg_scope

from tfsep._keras.backend import keras, tf
from tfsep._keras.tf_functions import channels
from tfsep._keras.types import Shape, Tensor
from tfsep._utils.arguments import positive_int
from tfsep.geometry import PaddingLike, PairLike
from tfsep.geometry._padding import normalize_padding
from tfsep.geometry._sizes import pair
from tfsep.layers import Conv2DTranspose, DepthwiseConv2D, SeparableConv2D
from tfsep.ops import depthwise_conv2d
from tfsep.slim._arguments import bias_options, initializer, regularizer, require_channels
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


def _window(
    kernel_size: PairLike, stride: PairLike, padding: PaddingLike, rate: PairLike, data_format: str | None
) -> dict[str, Any]:
    """Keras's options of a window, under the names of `tfsep.layers`."""
    return {
        "kernel_size": pair(kernel_size, "kernel_size"),
        "strides": pair(stride, "stride"),
        "padding": padding,
        "rate": pair(rate, "rate"),
        "data_format": channels(data_format),
    }


@add_arg_scope
def separable_convolution2d(
    inputs: Tensor,
    num_outputs: int | None,
    kernel_size: PairLike,
    depth_multiplier: int = 1,
    stride: PairLike = 1,
    padding: PaddingLike = "SAME",
    data_format: str = "NHWC",
    rate: PairLike = 1,
    activation_fn: ActivationLike = tf.nn.relu,
    normalizer_fn: Function | None = None,
    normalizer_params: dict[str, Any] | None = None,
    weights_initializer: InitializerLike = XAVIER,
    pointwise_initializer: InitializerLike = None,
    weights_regularizer: RegularizerLike = None,
    biases_initializer: InitializerLike = ZEROS,
    biases_regularizer: RegularizerLike = None,
    reuse: Reuse = None,
    variables_collections: VariablesCollections = None,
    outputs_collections: Collections = None,
    trainable: bool = True,
    scope: ScopeLike = None,
) -> Tensor:
    """Convolve depthwise and, unless `num_outputs` is None, 1×1, then normalize or add a bias, then activate.

    Args:
        inputs: Keras tensor (N, H, W, C), or (N, C, H, W) with ``"NCHW"``.
        num_outputs: output channels F; None for the depthwise convolution alone.
        kernel_size: rows and columns of the depthwise kernel, an int or a pair.
        depth_multiplier: depthwise filters per channel, M.
        stride: rows and columns of a step, an int or a pair; unlike in slim, any stride goes with any rate.
        padding: ``"SAME"`` or ``"VALID"``, or the zeros on each side in the forms of `tfsep.layers.Conv2D`.
        data_format: ``"NHWC"`` or ``"NCHW"``; None is ``"NHWC"``.
        rate: dilation of rows and columns, an int or a pair.
        activation_fn: a function of ``tf.nn`` or any other, a Keras layer, or None for none.
        normalizer_fn: a function like slim's `batch_norm`, applied to the result in place of a bias; None for none.
        normalizer_params: dict of its arguments.
        weights_initializer: initializer of the depthwise kernel: an initializer of slim, Keras or TensorFlow, or a
            function of shape and dtype.
        pointwise_initializer: initializer of the pointwise kernel, in the forms of `weights_initializer`; None for the
            same.
        weights_regularizer: regularizer of both kernels: a regularizer of slim or Keras, or a function of the weights;
            None for none.
        biases_initializer: initializer of the bias, in the forms of `weights_initializer`; None for no bias.
        biases_regularizer: regularizer of the bias, in the forms of `weights_regularizer`; None for none.
        reuse: True shares the layer of `scope`; see `variable_scope`.
        variables_collections: names of collections for the variables, or a dict of them by ``"weights"`` and
            ``"biases"``.
        outputs_collections: names of collections for the result, under the scope's name.
        trainable: whether the layer is trained.
        scope: scope of the layer; None for ``SeparableConv2d``, ``SeparableConv2d_1`` and so on.

    Returns:
        Keras tensor (N, H', W', F) or, depthwise alone, (N, H', W', C·M); channels second with ``"NCHW"``.

    Raises:
        TypeError: if `inputs` is no Keras tensor, or an initializer, regularizer or activation is of another type.
        ValueError: for inputs of another rank, an argument out of range, a scope that is taken, or, under reuse, a
            scope without a layer or with a different one.

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
            **bias_options(normalizer_fn, biases_initializer, biases_regularizer),
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
def convolution2d_transpose(
    inputs: Tensor,
    num_outputs: int,
    kernel_size: PairLike,
    stride: PairLike = 1,
    padding: PaddingLike = "SAME",
    data_format: str = "NHWC",
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
    """Convolve images, transposed, then normalize or add a bias, then activate.

    Args:
        inputs: Keras tensor (N, H, W, C), or (N, C, H, W) with ``"NCHW"``.
        num_outputs: output channels F.
        kernel_size: rows and columns of the kernel, an int or a pair.
        stride: rows and columns of a step in the result, an int or a pair.
        padding: ``"SAME"`` or ``"VALID"``, or the rows and columns cropped on each side in the forms of
            `tfsep.layers.Conv2DTranspose`.
        data_format: ``"NHWC"`` or ``"NCHW"``.
        activation_fn: a function of ``tf.nn`` or any other, a Keras layer, or None for none.
        normalizer_fn: a function like slim's `batch_norm`, applied to the result in place of a bias; None for none.
        normalizer_params: dict of its arguments.
        weights_initializer: initializer of the kernel: an initializer of slim, Keras or TensorFlow, or a function of
            shape and dtype.
        weights_regularizer: regularizer of the kernel: a regularizer of slim or Keras, or a function of the weights;
            None for none.
        biases_initializer: initializer of the bias, in the forms of `weights_initializer`; None for no bias.
        biases_regularizer: regularizer of the bias, in the forms of `weights_regularizer`; None for none.
        reuse: True shares the layer of `scope`; see `variable_scope`.
        variables_collections: names of collections for the variables, or a dict of them by ``"weights"`` and
            ``"biases"``.
        outputs_collections: names of collections for the result, under the scope's name.
        trainable: whether the layer is trained.
        scope: scope of the layer; None for ``Conv2d_transpose``, ``Conv2d_transpose_1`` and so on.

    Returns:
        Keras tensor (N, H', W', F), or (N, F, H', W').

    Raises:
        TypeError: if `inputs` is no Keras tensor, or an initializer, regularizer or activation is of another type.
        ValueError: for inputs of another rank, an argument out of range, a scope that is taken, or, under reuse, a
            scope without a layer or with a different one.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.conv2d_transpose(keras.Input((8, 8, 3)), 16, [3, 3], stride=2, scope="up")
        >>> net.shape, [tuple(v.shape) for v in slim.get_variables_by_name("weights")]
        ((None, 16, 16, 16), [(3, 3, 16, 3)])
    """
    with layer_scope(inputs, scope, "Conv2d_transpose", reuse) as opened:
        require_channels(inputs, data_format, rank=4)
        layer = Conv2DTranspose(
            positive_int(num_outputs, "num_outputs"),
            pair(kernel_size, "kernel_size"),
            pair(stride, "stride"),
            padding,
            data_format=channels(data_format),
            kernel_initializer=initializer(weights_initializer, "weights_initializer"),
            kernel_regularizer=regularizer(weights_regularizer, "weights_regularizer"),
            trainable=trainable,
            name=opened.layer_name,
            **bias_options(normalizer_fn, biases_initializer, biases_regularizer),
        )
        outputs = opened.call(layer, inputs, variables_collections)
        return opened.finish(outputs, activation_fn, outputs_collections, normalizer_fn, normalizer_params)


@keras.saving.register_keras_serializable(package="tfsep")
class InPlaneConv2D(keras.layers.Layer):
    """The convolution of each channel of images by the same kernel, which Keras has not.

    Args:
        kernel_size: rows and columns of the kernel (kh, kw, 1, 1).
        strides: rows and columns of a step.
        padding: ``"valid"`` or ``"same"``, or the zeros on each side in the forms of `tfsep.layers.Conv2D`.
        use_bias: whether a bias (C,) is added.
        kernel_initializer: initializer of the kernel.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of the kernel; None for none.
        bias_regularizer: regularizer of the bias; None for none.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        kernel_size: PairLike,
        strides: PairLike = 1,
        padding: PaddingLike = "valid",
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size, self.strides = pair(kernel_size, "kernel_size"), pair(strides, "strides")
        self.padding, self.use_bias = normalize_padding(padding), use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)

    def build(self, input_shape: Shape) -> None:
        """Make the kernel and the bias."""
        channels = input_shape[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, 1, 1),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(channels,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: channels})

    def call(self, inputs: Tensor) -> Tensor:
        """Convolve."""
        kernel = keras.ops.tile(self.kernel, (1, 1, inputs.shape[-1], 1))
        outputs = depthwise_conv2d(inputs, kernel, self.strides, self.padding)
        return outputs + self.bias if self.use_bias else outputs

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        as_they_are = {name: getattr(self, name) for name in ("kernel_size", "strides", "padding", "use_bias")}
        options = {
            f"{weight}_{option}": registry.serialize(getattr(self, f"{weight}_{option}"))
            for option, registry in (("initializer", keras.initializers), ("regularizer", keras.regularizers))
            for weight in ("kernel", "bias")
        }
        return {**super().get_config(), **as_they_are, **options}


@add_arg_scope
def convolution2d_in_plane(
    inputs: Tensor,
    kernel_size: PairLike,
    stride: PairLike = 1,
    padding: PaddingLike = "SAME",
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
    """Convolve each channel of images by the same kernel, then normalize or add a bias, then activate.

    Args:
        inputs: Keras tensor (N, H, W, C).
        kernel_size: rows and columns of the kernel, an int or a pair.
        stride: rows and columns of a step, an int or a pair.
        padding: ``"SAME"`` or ``"VALID"``, or the zeros on each side in the forms of `tfsep.layers.Conv2D`.
        activation_fn: a function of ``tf.nn`` or any other, a Keras layer, or None for none.
        normalizer_fn: a function like slim's `batch_norm`, applied to the result in place of a bias; None for none.
        normalizer_params: dict of its arguments.
        weights_initializer: initializer of the kernel: an initializer of slim, Keras or TensorFlow, or a function of
            shape and dtype.
        weights_regularizer: regularizer of the kernel: a regularizer of slim or Keras, or a function of the weights;
            None for none.
        biases_initializer: initializer of the bias, in the forms of `weights_initializer`; None for no bias.
        biases_regularizer: regularizer of the bias, in the forms of `weights_regularizer`; None for none.
        reuse: True shares the layer of `scope`; see `variable_scope`.
        variables_collections: names of collections for the variables, or a dict of them by ``"weights"`` and
            ``"biases"``.
        outputs_collections: names of collections for the result, under the scope's name.
        trainable: whether the layer is trained.
        scope: scope of the layer; None for ``ConvInPlane``, ``ConvInPlane_1`` and so on.

    Returns:
        Keras tensor (N, H', W', C).

    Raises:
        TypeError: if `inputs` is no Keras tensor, or an initializer, regularizer or activation is of another type.
        ValueError: for inputs of another rank, an argument out of range, a scope that is taken, or, under reuse, a
            scope without a layer or with a different one.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.conv2d_in_plane(keras.Input((8, 8, 3)), [1, 2], activation_fn=None)
        >>> net.shape, [tuple(v.shape) for v in slim.get_variables_by_name("weights")]
        ((None, 8, 8, 3), [(1, 2, 1, 1)])
    """
    with layer_scope(inputs, scope, "ConvInPlane", reuse) as opened:
        require_channels(inputs, "NHWC", rank=4)
        layer = InPlaneConv2D(
            pair(kernel_size, "kernel_size"),
            pair(stride, "stride"),
            padding,
            kernel_initializer=initializer(weights_initializer, "weights_initializer"),
            kernel_regularizer=regularizer(weights_regularizer, "weights_regularizer"),
            trainable=trainable,
            name=opened.layer_name,
            **bias_options(normalizer_fn, biases_initializer, biases_regularizer),
        )
        outputs = opened.call(layer, inputs, variables_collections)
        return opened.finish(outputs, activation_fn, outputs_collections, normalizer_fn, normalizer_params)


separable_conv2d = separable_convolution2d
"""The short name of `separable_convolution2d`."""

conv2d_transpose = convolution2d_transpose
"""The short name of `convolution2d_transpose`."""

conv2d_in_plane = convolution2d_in_plane
"""The short name of `convolution2d_in_plane`."""
