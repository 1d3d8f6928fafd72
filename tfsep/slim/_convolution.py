"""Slim's convolutions by all channels: of sequences, images and volumes."""

from typing import Any, Literal, NamedTuple

from tf_slim import add_arg_scope

from tfsep._keras.backend import keras, tf
from tfsep._keras.tf_functions import IMAGE_FORMATS, VOLUME_FORMATS, channels
from tfsep._keras.types import Tensor
from tfsep._utils.arguments import positive_int
from tfsep.geometry import PaddingLike, PairLike
from tfsep.geometry._sizes import sides
from tfsep.layers import Conv1D, Conv2D
from tfsep.slim._arguments import bias_options, initializer, named_padding, regularizer, require_channels
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


class _Kind(NamedTuple):
    """The convolution of inputs of a rank.

    Attributes:
        rank: their rank.
        layer: its layer.
        formats: orders of their axes; those of images go with every rank, as in slim.
    """

    rank: int
    layer: type
    formats: tuple[str, ...] = IMAGE_FORMATS

    def window(self, kernel_size: PairLike, stride: PairLike, padding: PaddingLike, rate: PairLike) -> dict[str, Any]:
        """Return the options of a window, by their names in the layer.

        Raises:
            ValueError: for sizes out of range, or what the layer of volumes does not have.
        """
        given = {"kernel_size": kernel_size, "stride": stride, "rate": rate}
        size, steps, rates = (sides(value, name, self.rank - 2) for name, value in given.items())
        if self.layer is keras.layers.Conv3D:
            padding = named_padding(padding)
            if max(steps) > 1 and max(rates) > 1:
                raise ValueError(f"rate: expected 1 beside a stride, of volumes, got {rate!r} beside {stride!r}")
        return {"kernel_size": size, "strides": steps, "padding": padding, "dilation_rate": rates}


_KINDS = (
    _Kind(3, Conv1D, ("NWC", "NCW", *IMAGE_FORMATS)),
    _Kind(4, Conv2D),
    _Kind(5, keras.layers.Conv3D, (*VOLUME_FORMATS, *IMAGE_FORMATS)),
)


def _kind_of(inputs: Tensor, conv_dims: int | None) -> _Kind:
    if conv_dims not in (None, 1, 2, 3):
        raise ValueError(f"conv_dims: expected 1, 2, 3 or None, got {conv_dims!r}")
    rank = inputs.ndim if conv_dims is None else conv_dims + 2
    found = [kind for kind in _KINDS if kind.rank == rank]
    if not found:
        raise ValueError(f"inputs: expected rank 3 to 5, got shape {tuple(inputs.shape)}")
    return found[0]


@add_arg_scope
def convolution(
    inputs: Tensor,
    num_outputs: int,
    kernel_size: PairLike,
    stride: PairLike = 1,
    padding: PaddingLike = "SAME",
    data_format: str | None = None,
    rate: PairLike = 1,
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
    conv_dims: Literal[1, 2, 3] | None = None,
) -> Tensor:
    """Convolve sequences, images or volumes, then normalize or add a bias, then activate.

    Args:
        inputs: Keras tensor (N, L, C), (N, H, W, C) or (N, D, H, W, C), or with C second with ``"NCHW"``.
        num_outputs: output channels F.
        kernel_size: sides of the kernel, an int or one for each axis.
        stride: sides of a step, an int or one for each axis; unlike in slim, any stride goes with any rate, except in
            volumes.
        padding: ``"SAME"`` or ``"VALID"``, or, except of volumes, the zeros on each side in the forms of
            `tfsep.layers.Conv1D` and `tfsep.layers.Conv2D`.
        data_format: ``"NHWC"`` or ``"NCHW"``, or the same of another rank, such as ``"NCW"``; None is ``"NHWC"``.
        rate: dilation, an int or one for each axis.
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
        scope: scope of the layer; None for ``Conv``, ``Conv_1`` and so on.
        conv_dims: number of axes of space that the inputs have to have, 1 to 3; None for any.

    Returns:
        Keras tensor of the same rank, with F channels.

    Raises:
        TypeError: if `inputs` is no Keras tensor, or an initializer, regularizer or activation is of another type.
        ValueError: for inputs of another rank, an argument out of range, a scope that is taken, or, under reuse, a
            scope without a layer or with a different one.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.conv2d(keras.Input((8, 8, 3)), 16, [3, 3], stride=2, scope="Conv2d_0")
        >>> net.shape, [tuple(v.shape) for v in slim.get_variables_by_name("weights")]
        ((None, 4, 4, 16), [(3, 3, 3, 16)])
    """
    with layer_scope(inputs, scope, "Conv", reuse) as opened:
        kind = _kind_of(inputs, conv_dims)
        require_channels(inputs, data_format, rank=kind.rank, formats=kind.formats)
        layer = kind.layer(
            positive_int(num_outputs, "num_outputs"),
            **kind.window(kernel_size, stride, padding, rate),
            data_format=channels(data_format, kind.formats),
            kernel_initializer=initializer(weights_initializer, "weights_initializer"),
            kernel_regularizer=regularizer(weights_regularizer, "weights_regularizer"),
            trainable=trainable,
            name=opened.layer_name,
            **bias_options(normalizer_fn, biases_initializer, biases_regularizer),
        )
        outputs = opened.call(layer, inputs, variables_collections)
        return opened.finish(outputs, activation_fn, outputs_collections, normalizer_fn, normalizer_params)


@add_arg_scope
def convolution1d(
    inputs: Tensor,
    num_outputs: int,
    kernel_size: PairLike,
    stride: PairLike = 1,
    padding: PaddingLike = "SAME",
    data_format: str | None = None,
    rate: PairLike = 1,
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
    """Convolve sequences, then normalize or add a bias, then activate: `convolution` under slim's other names.

    `arg_scope` tells it from `convolution`.

    Args:
        inputs: Keras tensor (N, L, C), or (N, C, L) with ``"NCW"``.
        num_outputs: output channels F.
        kernel_size: taps of the kernel.
        stride: step of the window; unlike in slim, any stride goes with any rate.
        padding: ``"SAME"`` or ``"VALID"``, or the zeros on each side in the forms of `tfsep.layers.Conv1D`.
        data_format: ``"NWC"`` or ``"NCW"``; None is ``"NWC"``.
        rate: distance between neighbouring taps.
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
        scope: scope of the layer; None for ``Conv``, ``Conv_1`` and so on.

    Returns:
        Keras tensor (N, L', F), or (N, F, L').

    Raises:
        TypeError: if `inputs` is no Keras tensor, or an initializer, regularizer or activation is of another type.
        ValueError: for inputs of another rank, an argument out of range, a scope that is taken, or, under reuse, a
            scope without a layer or with a different one.

    Examples:
        >>> from tfsep import slim
        >>> slim.conv1d(keras.Input((16, 3)), 8, 3, stride=2).shape
        (None, 8, 8)
    """
    return convolution(**locals(), conv_dims=1)


@add_arg_scope
def convolution2d(
    inputs: Tensor,
    num_outputs: int,
    kernel_size: PairLike,
    stride: PairLike = 1,
    padding: PaddingLike = "SAME",
    data_format: str | None = None,
    rate: PairLike = 1,
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
    """Convolve images, then normalize or add a bias, then activate: `convolution` under slim's other names.

    `arg_scope` tells it from `convolution`.

    Args:
        inputs: Keras tensor (N, H, W, C), or (N, C, H, W) with ``"NCHW"``.
        num_outputs: output channels F.
        kernel_size: rows and columns of the kernel, an int or a pair.
        stride: rows and columns of a step, an int or a pair; unlike in slim, any stride goes with any rate.
        padding: ``"SAME"`` or ``"VALID"``, or the zeros on each side in the forms of `tfsep.layers.Conv2D`.
        data_format: ``"NHWC"`` or ``"NCHW"``; None is ``"NHWC"``.
        rate: dilation of rows and columns, an int or a pair.
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
        scope: scope of the layer; None for ``Conv``, ``Conv_1`` and so on.

    Returns:
        Keras tensor (N, H', W', F), or (N, F, H', W').

    Raises:
        TypeError: if `inputs` is no Keras tensor, or an initializer, regularizer or activation is of another type.
        ValueError: for inputs of another rank, an argument out of range, a scope that is taken, or, under reuse, a
            scope without a layer or with a different one.

    Examples:
        >>> from tfsep import slim
        >>> with slim.arg_scope([slim.conv2d], padding="VALID", normalizer_fn=slim.batch_norm):
        ...     slim.conv2d(keras.Input((8, 8, 3)), 16, 3).shape
        (None, 6, 6, 16)
    """
    return convolution(**locals(), conv_dims=2)


@add_arg_scope
def convolution3d(
    inputs: Tensor,
    num_outputs: int,
    kernel_size: PairLike,
    stride: PairLike = 1,
    padding: PaddingLike = "SAME",
    data_format: str | None = None,
    rate: PairLike = 1,
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
    """Convolve volumes, then normalize or add a bias, then activate: `convolution` under slim's other names.

    `arg_scope` tells it from `convolution`.

    Args:
        inputs: Keras tensor (N, D, H, W, C), or (N, C, D, H, W) with ``"NCDHW"``.
        num_outputs: output channels F.
        kernel_size: sides of the kernel, an int or three.
        stride: sides of a step, an int or three.
        padding: ``"SAME"`` or ``"VALID"``.
        data_format: ``"NDHWC"`` or ``"NCDHW"``; None is ``"NDHWC"``.
        rate: dilation, an int or three; 1 beside a stride.
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
        scope: scope of the layer; None for ``Conv``, ``Conv_1`` and so on.

    Returns:
        Keras tensor (N, D', H', W', F), or (N, F, D', H', W').

    Raises:
        TypeError: if `inputs` is no Keras tensor, or an initializer, regularizer or activation is of another type.
        ValueError: for inputs of another rank, an argument out of range, a scope that is taken, or, under reuse, a
            scope without a layer or with a different one.

    Examples:
        >>> from tfsep import slim
        >>> slim.conv3d(keras.Input((4, 8, 8, 3)), 8, [1, 3, 3], padding="VALID").shape
        (None, 4, 6, 6, 8)
    """
    return convolution(**locals(), conv_dims=3)


conv1d = convolution1d
"""The short name of `convolution1d`."""

conv2d = convolution2d
"""The short name of `convolution2d`."""

conv3d = convolution3d
"""The short name of `convolution3d`."""
