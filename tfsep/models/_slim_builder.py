"""What TF-slim's builders of MobileNets share: their arguments, and the network on a tensor."""

from dataclasses import replace
from functools import partial
from numbers import Real
from typing import Any, TypeVar

from tfsep._keras.activations import activation_function
from tfsep._keras.types import ActivationLike, Tensor
from tfsep._utils.arguments import positive_int
from tfsep.defs import Family, LayerDef, Network, make_divisible
from tfsep.defs._fields import checked_flag
from tfsep.models._from_definitions import classify, pool_features, require_classes, require_images
from tfsep.models._layer_builder import ArgScope, EndPoints, Reuse, build_layers, settings_of

__all__ = ["training_scope"]

_Builder = TypeVar("_Builder")


def with_default_image_size(builder: _Builder) -> _Builder:
    """Return a builder with slim's attribute of the image size that it is meant for."""
    named: Any = builder
    named.default_image_size = 224
    return builder


def training_scope(
    is_training: bool | None = True,
    weight_decay: float = 4e-5,
    stddev: float | None = 0.09,
    dropout_keep_prob: float = 0.8,
    bn_decay: float = 0.997,
) -> ArgScope:
    """Return how the layers of MobileNets v2 and v3 are made, under slim's name and with slim's defaults.

    ``with slim.arg_scope(training_scope()):`` sets it for the builders and for `tfsep.slim` inside.

    Args:
        is_training: False fixes the phase: frozen statistics and no dropout, also in ``fit``. True and None leave it to
            each call of the model.
        weight_decay: slim's L2 scale; the loss gains ``weight_decay · Σw² / 2`` for each kernel that is not depthwise.
        stddev: standard deviation of the truncated normal that draws the kernels; None draws by He's rule.
        dropout_keep_prob: share of the features that training keeps, in (0, 1].
        bn_decay: momentum of the moving statistics.

    Raises:
        ValueError: for a number out of range.

    Source: TF-slim's ``mobilenet.training_scope``.

    Examples:
        >>> training_scope(dropout_keep_prob=1.0).dropout
        0.0
    """
    return ArgScope(
        *(weight_decay, stddev, False, bn_decay),
        is_training=is_training,
        dropout=dropped_share(dropout_keep_prob),
    )


def dropped_share(dropout_keep_prob: float) -> float:
    """Return the share of features that dropout drops, of that which it keeps.

    Raises:
        ValueError: for a number that is not in (0, 1].
    """
    if not isinstance(dropout_keep_prob, Real) or not 0 < dropout_keep_prob <= 1:
        raise ValueError(f"dropout_keep_prob: expected a number in (0, 1], got {dropout_keep_prob!r}")
    return float(1 - dropout_keep_prob)


def up_to(layers: tuple[LayerDef, ...], final_endpoint: str | None) -> tuple[LayerDef, ...]:
    """Return the layers to an end point, that one included.

    Raises:
        ValueError: for a name that is no end point.
    """
    if final_endpoint is None:
        return layers
    for i, layer in enumerate(layers):
        if final_endpoint in layer.end_points:
            return layers[: i + 1]
    names = [end_point for layer in layers for end_point in layer.end_points]
    raise ValueError(f"final_endpoint: expected one from {names[0]} to {names[-1]}, got {final_endpoint!r}")


def padding_rule(padding: str, use_explicit_padding: bool) -> str:
    """Return the padding rule, given under its own name or slim's.

    Raises:
        ValueError: if the two contradict each other.
    """
    if not use_explicit_padding:
        return padding
    if padding not in ("same", "explicit"):
        raise ValueError(f"padding: expected 'explicit' where use_explicit_padding is set, got {padding!r}")
    return "explicit"


def phase(arg_scope: ArgScope | None, family: Family, reuse: Reuse, is_training: bool | None) -> ArgScope:
    """Return the settings of a network, with what a builder's own arguments say."""
    settings = replace(settings_of(arg_scope, family), reuse=reuse)
    return settings if is_training is None else replace(settings, is_training=is_training)


def slim_mobilenet(
    inputs: Tensor,
    network: Network,
    num_classes: int | None,
    depth_multiplier: float,
    finegrain_classification_mode: bool,
    *,
    min_depth: int | None = None,
    divisible_by: int | None = None,
    final_endpoint: str | None = None,
    output_stride: int | None = None,
    use_explicit_padding: bool = False,
    prediction_fn: ActivationLike = "softmax",
    base_only: bool = False,
    scope: str | None = None,
    is_training: bool | None = None,
    activation_fn: ActivationLike | None = None,
    reuse: Reuse = None,
    padding: str = "same",
    arg_scope: ArgScope | None = None,
) -> tuple[Tensor, EndPoints]:
    """Build a network by the arguments of slim's later MobileNets, which `mobilenet_v2` describes.

    Args:
        inputs: Keras tensor (N, H, W, C).
        network: definitions and rules.
        num_classes: length of the logits; 0 or None for none.
        depth_multiplier: width multiplier.
        finegrain_classification_mode: whether the end of the network keeps its width.
        min_depth: fewest channels of a layer; None for 8.
        divisible_by: what numbers of channels are multiples of; None for 8.
        final_endpoint: end point after which the body stops; None for the last.
        output_stride: total stride to hold; None for no bound.
        use_explicit_padding: slim's name of ``padding="explicit"``.
        prediction_fn: makes predictions of logits; None for no predictions.
        base_only: whether mean and classifier are left out.
        scope: prefix of the layers' names; None for the family's.
        is_training: phase; None for that of `arg_scope`.
        activation_fn: activation of layers that have no own; None for that of `arg_scope`.
        reuse: whether layers are shared.
        padding: a key of `tfsep.defs.PADDING_RULES`.
        arg_scope: how each layer is made; None for the defaults.
    """
    require_images(inputs)
    require_classes(num_classes)
    activation_function(prediction_fn, "prediction_fn")
    activation_function(activation_fn, "activation_fn")
    checked_flag(base_only, "base_only")
    rules = network.family
    if divisible_by is not None:
        divisor = positive_int(divisible_by, "divisible_by")
        rules = replace(rules, width_rule=partial(make_divisible, divisor=divisor))
    flag = checked_flag(finegrain_classification_mode, "finegrain_classification_mode")
    rules = replace(rules, full_width_head=flag, scope=rules.scope if scope is None else scope)
    network = replace(network, family=rules)
    settings = phase(arg_scope, rules, reuse, is_training)
    if activation_fn is not None:
        settings = replace(settings, activation=activation_fn)
    least = 8 if min_depth is None else min_depth
    layers = up_to(network.layers(inputs.shape[-1], depth_multiplier, least, output_stride), final_endpoint)
    rule = padding_rule(padding, use_explicit_padding)
    net, end_points = build_layers(inputs, layers, rules.scope, rule, settings)
    if base_only:
        return net, end_points
    if not network.pools or tuple(net.shape[1:3]) != (1, 1):
        net, _ = pool_features(net, True, rules.scope, settings)
    end_points["global_pool"] = net
    if not num_classes:
        return net, end_points
    dropout = settings.dropout or 0.0
    logits, predicted = classify(net, num_classes, dropout, prediction_fn, True, rules.scope, settings)
    return logits, {**end_points, **predicted}
