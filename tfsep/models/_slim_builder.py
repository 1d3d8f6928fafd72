"""What TF-slim's builders of MobileNets share: their arguments, and the network on a tensor."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from numbers import Real
from typing import NamedTuple

from tfsep._keras.activations import activation_function
from tfsep._keras.types import ActivationLike, Tensor
from tfsep._utils.arguments import positive_int
from tfsep.defs import ConvDef, Family, LayerDef, Network, make_divisible, normalize
from tfsep.defs._fields import checked_flag
from tfsep.defs._transforms import WidthRule
from tfsep.models._from_definitions import classify, pool_features, require_classes, require_images
from tfsep.models._layer_builder import ArgScope, EndPoints, Reuse, build_layers, settings_of

__all__ = ["training_scope"]


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


def with_activation(settings: ArgScope, activation_fn: ActivationLike | None) -> ArgScope:
    """Return the settings with a builder's own activation, where it is given one."""
    return settings if activation_fn is None else replace(settings, activation=activation_fn)


class SlimNetwork(NamedTuple):
    """A network as slim's later builders are asked for it.

    Attributes:
        network: definitions and rules.
        depth_multiplier: width multiplier.
        min_depth: fewest channels of a layer; None for 8.
        final_endpoint: end point after which the body stops; None for the last.
        output_stride: total stride to hold by growing rates; None for no bound.
        padding: a key of `tfsep.defs.PADDING_RULES`.
    """

    network: Network
    depth_multiplier: float
    min_depth: int | None
    final_endpoint: str | None
    output_stride: int | None
    padding: str

    def build(
        self,
        inputs: Tensor,
        num_classes: int | None,
        prediction_fn: ActivationLike,
        base_only: bool,
        settings: ArgScope,
    ) -> tuple[Tensor, EndPoints]:
        """Build the network on `inputs`.

        Args:
            inputs: Keras tensor (N, H, W, C).
            num_classes: length of the logits; 0 or None leaves the classifier out.
            prediction_fn: makes predictions of logits; None for no predictions.
            base_only: whether the mean over the image and the classifier are left out.
            settings: how each layer is made.

        Returns:
            The logits, the pooled features or the last map, and the end points.

        Raises:
            TypeError: if `inputs` is no tensor.
            ValueError: for an argument out of range.
        """
        require_images(inputs)
        require_classes(num_classes)
        activation_function(prediction_fn, "prediction_fn")
        least = 8 if self.min_depth is None else self.min_depth
        layers = self.network.layers(inputs.shape[-1], self.depth_multiplier, least, self.output_stride)
        scope = self.network.family.scope
        net, end_points = build_layers(inputs, up_to(layers, self.final_endpoint), scope, self.padding, settings)
        if base_only:
            return net, end_points
        if not self.network.pools or tuple(net.shape[1:3]) != (1, 1):
            net, _ = pool_features(net, True, scope, settings)
        end_points["global_pool"] = net
        if not num_classes:
            return net, end_points
        dropout = settings.dropout or 0.0
        logits, predicted = classify(net, num_classes, dropout, prediction_fn, True, scope, settings)
        return logits, {**end_points, **predicted}


def network_of(
    conv_defs: Iterable[ConvDef], family: Family, scope: str, divisible_by: int | None, full_width_head: bool
) -> Network:
    """Return a network of a family's rules, but for what a builder's own arguments say.

    Args:
        conv_defs: the definitions.
        family: the rules.
        scope: prefix of the layers' names.
        divisible_by: what numbers of channels are multiples of; None for 8.
        full_width_head: slim's ``finegrain_classification_mode``.

    Raises:
        ValueError: for an argument out of range.
    """
    rule: WidthRule = make_divisible
    if divisible_by is not None:
        rule = partial(make_divisible, divisor=positive_int(divisible_by, "divisible_by"))
    flag = checked_flag(full_width_head, "finegrain_classification_mode")
    return Network(normalize(conv_defs), replace(family, scope=scope, width_rule=rule, full_width_head=flag))
