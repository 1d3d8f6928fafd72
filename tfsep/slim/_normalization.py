"""Slim's normalizations: of a batch, and of each image on its own."""

from collections.abc import Mapping, Sequence
from typing import Literal

from tf_slim import add_arg_scope

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Tensor
from tfsep._utils.arguments import number_in_range, positive_int
from tfsep.layers import BatchNormalization
from tfsep.slim._arguments import (
    initializers_by_part,
    never_trains,
    options_by_part,
    regularizer,
    require_channels,
    require_defaults,
)
from tfsep.slim._scope import layer_scope
from tfsep.slim._types import (
    ActivationLike,
    Collections,
    InitializerLike,
    RegularizerLike,
    Reuse,
    ScopeLike,
    VariablesCollections,
)

UPDATE_OPS = tf.compat.v1.GraphKeys.UPDATE_OPS


@add_arg_scope
def batch_norm(
    inputs: Tensor,
    decay: float = 0.999,
    center: bool = True,
    scale: bool = False,
    epsilon: float = 0.001,
    activation_fn: ActivationLike = None,
    param_initializers: Mapping[str, InitializerLike] | None = None,
    param_regularizers: Mapping[str, RegularizerLike] | None = None,
    updates_collections: str | None = UPDATE_OPS,
    is_training: bool | None = True,
    reuse: Reuse = None,
    variables_collections: VariablesCollections = None,
    outputs_collections: Collections = None,
    trainable: bool = True,
    batch_weights: None = None,
    fused: bool | None = None,  # noqa: ARG001 - the layer chooses the kernel
    data_format: str = "NHWC",
    zero_debias_moving_mean: Literal[False] = False,
    scope: ScopeLike = None,
    renorm: Literal[False] = False,
    renorm_clipping: None = None,
    renorm_decay: float = 0.99,
    adjustment: None = None,
) -> Tensor:
    """Normalize every channel over batch and space.

    The moving variance is Keras's, without the Bessel correction n / (n − 1) of slim's fused kernel.

    Args:
        inputs: Keras tensor (N, ..., C), or (N, C, ...) with ``"NCHW"``.
        decay: momentum of the moving statistics.
        center: whether there is a ``beta``.
        scale: whether there is a ``gamma``.
        epsilon: added to the variance.
        activation_fn: a function of ``tf.nn`` or any other, a Keras layer, or None for none.
        param_initializers: dict of initializers by ``"beta"``, ``"gamma"``, ``"moving_mean"`` and
            ``"moving_variance"``.
        param_regularizers: dict of regularizers by ``"beta"`` and ``"gamma"``.
        updates_collections: ``tf.compat.v1.GraphKeys.UPDATE_OPS`` or None: Keras updates the statistics within the
            training step, so that no update can be left out or moved.
        is_training: True or None leave the phase to each call of the model; False normalizes by the moving statistics
            in every call and does not update them. A layer is shared only under the value that it was made with.
        reuse: True shares the layer of `scope`; see `variable_scope`.
        variables_collections: names of collections for the variables, or a dict of them by ``"beta"``, ``"gamma"``,
            ``"moving_mean"`` and ``"moving_variance"``.
        outputs_collections: names of collections for the result, under the scope's name.
        trainable: whether beta and gamma are trained; False requires ``is_training=False``, because Keras does not
            update the statistics of a layer that is not trained.
        batch_weights: only None, slim's default.
        fused: without effect: the layer chooses the kernel, and the numbers are the same.
        data_format: ``"NHWC"`` or ``"NCHW"``.
        zero_debias_moving_mean: only False, slim's default.
        scope: scope of the layer; None for ``BatchNorm``, ``BatchNorm_1`` and so on.
        renorm: only False, slim's default.
        renorm_clipping: only None, slim's default.
        renorm_decay: only 0.99, slim's default.
        adjustment: only None, slim's default.

    Returns:
        Keras tensor of the same shape.

    Raises:
        TypeError: if `inputs` is no Keras tensor, or an initializer, regularizer or activation is of another type.
        ValueError: for an unknown number of channels, an argument out of range or without a counterpart in Keras, a
            scope that is taken, or, under reuse, a scope without a layer or with a different one.

    Source: S. Ioffe, C. Szegedy, "Batch Normalization" (arXiv 1502.03167).

    Examples:
        >>> from tfsep import slim
        >>> net = slim.batch_norm(keras.Input((8, 8, 3)), scale=True, activation_fn=tf.nn.relu6)
        >>> list(slim.utils.convert_collection_to_dict("variables"))[:2]
        ['BatchNorm/gamma', 'BatchNorm/beta']
    """
    require_defaults(
        batch_weights=(batch_weights, None),
        zero_debias_moving_mean=(zero_debias_moving_mean, False),
        renorm=(renorm, False),
        renorm_clipping=(renorm_clipping, None),
        renorm_decay=(renorm_decay, 0.99),
        adjustment=(adjustment, None),
    )
    if updates_collections not in (None, UPDATE_OPS):
        raise ValueError(
            f"updates_collections: expected None or {UPDATE_OPS!r}, as Keras moves the statistics in the step of "
            f"training, got {updates_collections!r}"
        )
    frozen = never_trains(is_training)
    if not trainable and not frozen:
        raise ValueError(
            "trainable: expected True unless is_training is False, as Keras keeps the statistics of a layer that is "
            "not trained, got False"
        )
    parts = {
        **initializers_by_part(param_initializers, ("beta", "gamma", "moving_mean", "moving_variance")),
        **options_by_part(param_regularizers, ("beta", "gamma"), "param_regularizers", "regularizer", regularizer),
    }
    with layer_scope(inputs, scope, "BatchNorm", reuse) as opened:
        layer = BatchNormalization(
            require_channels(inputs, data_format),
            number_in_range(decay, "decay", float, 0, 1),
            number_in_range(epsilon, "epsilon", float, 0),
            center,
            scale,
            frozen=frozen,
            trainable=trainable,
            name=opened.layer_name,
            **parts,
        )
        outputs = opened.call(layer, inputs, variables_collections)
        return opened.finish(outputs, activation_fn, outputs_collections)


def _normalize(
    inputs: Tensor,
    groups: int,
    axis: int,
    default_name: str,
    center: bool,
    scale: bool,
    epsilon: float,
    activation_fn: ActivationLike,
    param_initializers: Mapping[str, InitializerLike] | None,
    reuse: Reuse,
    variables_collections: VariablesCollections,
    outputs_collections: Collections,
    trainable: bool,
    scope: ScopeLike,
) -> Tensor:
    with layer_scope(inputs, scope, default_name, reuse) as opened:
        layer = keras.layers.GroupNormalization(
            groups,
            axis,
            number_in_range(epsilon, "epsilon", float, 0),
            center,
            scale,
            trainable=trainable,
            name=opened.layer_name,
            **initializers_by_part(param_initializers, ("beta", "gamma")),
        )
        return opened.finish(opened.call(layer, inputs, variables_collections), activation_fn, outputs_collections)


@add_arg_scope
def group_norm(
    inputs: Tensor,
    groups: int = 32,
    channels_axis: int = -1,
    reduction_axes: Sequence[int] = (-3, -2),
    center: bool = True,
    scale: bool = True,
    epsilon: float = 1e-6,
    activation_fn: ActivationLike = None,
    param_initializers: Mapping[str, InitializerLike] | None = None,
    reuse: Reuse = None,
    variables_collections: VariablesCollections = None,
    outputs_collections: Collections = None,
    trainable: bool = True,
    scope: ScopeLike = None,
    mean_close_to_zero: Literal[False] = False,
) -> Tensor:
    """Normalize each group of channels over space.

    Args:
        inputs: Keras tensor (N, ..., C), or with C where `channels_axis` says.
        groups: number of groups, which divides C.
        channels_axis: axis of the channels.
        reduction_axes: all axes but the first and the channels': Keras's layer normalizes over no others.
        center: whether there is a ``beta``.
        scale: whether there is a ``gamma``.
        epsilon: added to the variance.
        activation_fn: a function of ``tf.nn`` or any other, a Keras layer, or None for none.
        param_initializers: dict of initializers by ``"beta"`` and ``"gamma"``.
        reuse: True shares the layer of `scope`; see `variable_scope`.
        variables_collections: names of collections for the variables, or a dict of them by ``"beta"`` and ``"gamma"``.
        outputs_collections: names of collections for the result, under the scope's name.
        trainable: whether beta and gamma are trained.
        scope: scope of the layer; None for ``GroupNorm``, ``GroupNorm_1`` and so on.
        mean_close_to_zero: only False, slim's default.

    Returns:
        Keras tensor of the same shape.

    Raises:
        TypeError: if `inputs` is no Keras tensor, or an initializer or activation is of another type.
        ValueError: for an unknown number of channels, groups that do not divide it, other axes, an argument without a
            counterpart in Keras, a scope that is taken, or, under reuse, a scope without a layer or with a different
            one.

    Source: Y. Wu, K. He, "Group Normalization" (arXiv 1803.08494).

    Examples:
        >>> from tfsep import slim
        >>> net = slim.group_norm(keras.Input((8, 8, 16)), groups=4)
        >>> list(slim.utils.convert_collection_to_dict("variables"))
        ['GroupNorm/gamma', 'GroupNorm/beta']
    """
    require_defaults(mean_close_to_zero=(mean_close_to_zero, False))
    axis = require_channels(inputs, "NHWC" if channels_axis in (-1, inputs.ndim - 1) else "NCHW")
    others = set(range(1, inputs.ndim)) - {axis % inputs.ndim}
    if channels_axis % inputs.ndim != axis % inputs.ndim or {i % inputs.ndim for i in reduction_axes} != others:
        raise ValueError(
            f"reduction_axes: expected all axes but that of the batch and that of the channels, 1 or the last, got "
            f"{tuple(reduction_axes)} and channels_axis={channels_axis}"
        )
    if inputs.shape[axis] % positive_int(groups, "groups"):
        raise ValueError(f"groups: expected a divisor of the {inputs.shape[axis]} channels, got {groups}")
    return _normalize(
        *(inputs, groups, axis, "GroupNorm", center, scale, epsilon, activation_fn, param_initializers, reuse),
        *(variables_collections, outputs_collections, trainable, scope),
    )


@add_arg_scope
def instance_norm(
    inputs: Tensor,
    center: bool = True,
    scale: bool = True,
    epsilon: float = 1e-6,
    activation_fn: ActivationLike = None,
    param_initializers: Mapping[str, InitializerLike] | None = None,
    reuse: Reuse = None,
    variables_collections: VariablesCollections = None,
    outputs_collections: Collections = None,
    trainable: bool = True,
    data_format: str = "NHWC",
    scope: ScopeLike = None,
) -> Tensor:
    """Normalize each channel of each image over space.

    Args:
        inputs: Keras tensor (N, ..., C), or (N, C, ...) with ``"NCHW"``.
        center: whether there is a ``beta``.
        scale: whether there is a ``gamma``.
        epsilon: added to the variance.
        activation_fn: a function of ``tf.nn`` or any other, a Keras layer, or None for none.
        param_initializers: dict of initializers by ``"beta"`` and ``"gamma"``.
        reuse: True shares the layer of `scope`; see `variable_scope`.
        variables_collections: names of collections for the variables, or a dict of them by ``"beta"`` and ``"gamma"``.
        outputs_collections: names of collections for the result, under the scope's name.
        trainable: whether beta and gamma are trained.
        data_format: ``"NHWC"`` or ``"NCHW"``.
        scope: scope of the layer; None for ``InstanceNorm``, ``InstanceNorm_1`` and so on.

    Returns:
        Keras tensor of the same shape.

    Raises:
        TypeError: if `inputs` is no Keras tensor, or an initializer or activation is of another type.
        ValueError: for an unknown number of channels, an argument out of range, a scope that is taken, or, under
            reuse, a scope without a layer or with a different one.

    Source: D. Ulyanov et al., "Instance Normalization" (arXiv 1607.08022).

    Examples:
        >>> from tfsep import slim
        >>> slim.instance_norm(keras.Input((8, 8, 16))).shape
        (None, 8, 8, 16)
    """
    axis = require_channels(inputs, data_format)
    return _normalize(
        *(inputs, inputs.shape[axis], axis, "InstanceNorm", center, scale, epsilon, activation_fn, param_initializers),
        *(reuse, variables_collections, outputs_collections, trainable, scope),
    )


@add_arg_scope
def layer_norm(
    inputs: Tensor,
    center: bool = True,
    scale: bool = True,
    activation_fn: ActivationLike = None,
    reuse: Reuse = None,
    variables_collections: VariablesCollections = None,
    outputs_collections: Collections = None,
    trainable: bool = True,
    begin_norm_axis: int = 1,
    begin_params_axis: int = -1,
    scope: ScopeLike = None,
) -> Tensor:
    """Normalize each sample over space and channels, with a scale and an offset of each channel.

    Args:
        inputs: Keras tensor (N, ..., C).
        center: whether there is a ``beta``.
        scale: whether there is a ``gamma``.
        activation_fn: a function of ``tf.nn`` or any other, a Keras layer, or None for none.
        reuse: True shares the layer of `scope`; see `variable_scope`.
        variables_collections: names of collections for the variables, or a dict of them by ``"beta"`` and ``"gamma"``.
        outputs_collections: names of collections for the result, under the scope's name.
        trainable: whether beta and gamma are trained.
        begin_norm_axis: only 1, slim's default: over all axes but the batch's.
        begin_params_axis: only the last, slim's default.
        scope: scope of the layer; None for ``LayerNorm``, ``LayerNorm_1`` and so on.

    Returns:
        Keras tensor of the same shape.

    Raises:
        TypeError: if `inputs` is no Keras tensor, or an activation is of another type.
        ValueError: for an unknown number of channels, other axes, a scope that is taken, or, under reuse, a scope
            without a layer or with a different one.

    Source: J. Ba et al., "Layer Normalization" (arXiv 1607.06450).

    Examples:
        >>> from tfsep import slim
        >>> net = slim.layer_norm(keras.Input((8, 8, 16)))
        >>> [tuple(v.shape) for v in slim.get_variables()]
        [(16,), (16,)]
    """
    axis = require_channels(inputs, "NHWC")
    for name, given, only in (("begin_norm_axis", begin_norm_axis, 1), ("begin_params_axis", begin_params_axis, -1)):
        if given not in (only % inputs.ndim, only % inputs.ndim - inputs.ndim):
            raise ValueError(
                f"{name}: expected {only}, as for others there is keras.layers.LayerNormalization, got {given!r}"
            )
    return _normalize(
        *(inputs, 1, axis, "LayerNorm", center, scale, 1e-12, activation_fn, None),
        *(reuse, variables_collections, outputs_collections, trainable, scope),
    )
