"""Slim's batch normalization."""

from typing import Any

from tf_slim import add_arg_scope

from tfsep._keras.backend import tf
from tfsep._utils.arguments import number_in_range, short_repr
from tfsep.layers import BatchNormalization
from tfsep.slim._arguments import initializer, never_trains, regularizer, require_channels
from tfsep.slim._scope import layer_scope

UPDATE_OPS = tf.compat.v1.GraphKeys.UPDATE_OPS


@add_arg_scope
def batch_norm(
    inputs: Any,
    decay: float = 0.999,
    center: bool = True,
    scale: bool = False,
    epsilon: float = 0.001,
    activation_fn: Any = None,
    param_initializers: dict[str, Any] | None = None,
    param_regularizers: dict[str, Any] | None = None,
    updates_collections: Any = UPDATE_OPS,
    is_training: bool | None = True,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    batch_weights: Any = None,
    fused: bool | None = None,  # noqa: ARG001 - the layer chooses the kernel, and the numbers are the same
    data_format: str = "NHWC",
    zero_debias_moving_mean: bool = False,
    scope: Any = None,
    renorm: bool = False,
    renorm_clipping: Any = None,
    renorm_decay: float = 0.99,
    adjustment: Any = None,
) -> Any:
    """Normalize every channel over batch and space.

    The moving variance is Keras's, without Bessel's correction n / (n − 1), which slim's fused kernel puts in.

    Args:
        inputs: Keras tensor (N, ..., C), or (N, C, ...) with ``"NCHW"``.
        decay: momentum of the moving statistics.
        center, scale: whether there is a ``beta``, and a ``gamma``.
        epsilon: added to the variance.
        activation_fn: as in `convolution`.
        param_initializers: by ``"beta"``, ``"gamma"``, ``"moving_mean"`` and ``"moving_variance"``.
        param_regularizers: by ``"beta"`` and ``"gamma"``.
        updates_collections: ``tf.compat.v1.GraphKeys.UPDATE_OPS`` or None: Keras moves the statistics in the step of
            training itself, so that no update can be left out or put elsewhere.
        is_training: True or None leave the phase to each call of the model; False normalizes by the moving statistics
            in every call, and leaves them as they are. A layer is shared only under the one that it was made with.
        reuse, outputs_collections: as in `convolution`.
        variables_collections: as in `convolution`, by ``"beta"``, ``"gamma"``, ``"moving_mean"``,
            ``"moving_variance"``.
        trainable: whether beta and gamma are trained; False goes with ``is_training=False``, since in Keras a layer
            that is not trained keeps its statistics as well.
        fused: the kernel is chosen by the layer, which does not change the numbers.
        scope: the layer's scope; None for ``BatchNorm``, ``BatchNorm_1`` and so on.
        batch_weights, zero_debias_moving_mean, renorm, renorm_clipping, renorm_decay, adjustment: only slim's defaults.

    Returns:
        Keras tensor of the same shape.

    Raises:
        TypeError, ValueError: as `convolution`; for an argument that is not slim's default where only that is taken.

    Source: S. Ioffe, C. Szegedy, "Batch Normalization" (arXiv 1502.03167).

    Examples:
        >>> from tfsep import slim
        >>> net = slim.batch_norm(keras.Input((8, 8, 3)), scale=True, activation_fn=tf.nn.relu6)
        >>> list(slim.utils.convert_collection_to_dict("variables"))[:2]
        ['BatchNorm/gamma', 'BatchNorm/beta']
    """
    _require_defaults(
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
        **_by_part(param_initializers, "param_initializers", "initializer", initializer),
        **_by_part(param_regularizers, "param_regularizers", "regularizer", regularizer),
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


_PARTS = {
    "initializer": ("beta", "gamma", "moving_mean", "moving_variance"),
    "regularizer": ("beta", "gamma"),
}


def _by_part(given: Any, name: str, option: str, convert: Any) -> dict[str, Any]:
    """Slim's dict by variable as Keras's options, ``beta_initializer`` and so on."""
    for part in given or ():
        if part not in _PARTS[option]:
            raise ValueError(f"{name}: expected keys of {', '.join(_PARTS[option])}, got {part!r}")
    return {f"{part}_{option}": convert(value, name) for part, value in (given or {}).items()}


def _require_defaults(**arguments: tuple[Any, Any]) -> None:
    """Raise for an argument, (value, default), that has no counterpart in Keras and is not at its default."""
    for name, (value, default) in arguments.items():
        if value is not default and value != default:
            raise ValueError(
                f"{name}: expected {default}, as Keras's layer has nothing like it, got {short_repr(value)}"
            )
