"""MobileNet v1 with TF-slim's names, arguments, rules and end points.

Source: A. G. Howard et al., "MobileNets" (arXiv 1704.04861), and TF-slim's ``mobilenet_v1``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from tfsep._keras.activations import activation_function
from tfsep._keras.types import ActivationLike, Model, Tensor
from tfsep._utils.arguments import text
from tfsep.defs import MOBILENET_V1, MOBILENETV1_CONV_DEFS, ConvDef, Network
from tfsep.defs._transforms import normalize
from tfsep.models._from_definitions import classify, from_definitions, pool_features, require_classes, require_images
from tfsep.models._layer_builder import ArgScope, EndPoints, Reuse, build_layers, settings_of
from tfsep.models._slim_builder import dropped_share, padding_rule, phase, up_to, with_default_image_size

__all__ = [
    "MobileNetV1",
    "mobilenet_v1",
    "mobilenet_v1_025",
    "mobilenet_v1_050",
    "mobilenet_v1_075",
    "mobilenet_v1_arg_scope",
    "mobilenet_v1_base",
]


def mobilenet_v1_arg_scope(
    is_training: bool | None = True,
    weight_decay: float = 4e-5,
    stddev: float | None = 0.09,
    regularize_depthwise: bool = False,
    batch_norm_decay: float = 0.9997,
    batch_norm_epsilon: float = 1e-3,
    activation: ActivationLike = "relu6",
) -> ArgScope:
    """Return how the layers are made, under slim's name and with slim's defaults.

    ``with slim.arg_scope(mobilenet_v1_arg_scope()):`` sets it for the builders and for `tfsep.slim` inside.

    Args:
        is_training: False fixes the phase: frozen statistics and no dropout, also in ``fit``. True and None leave it to
            each call of the model.
        weight_decay: slim's L2 scale; the loss gains ``weight_decay · Σw² / 2`` for each kernel.
        stddev: standard deviation of the truncated normal that draws the kernels; None draws by He's rule.
        regularize_depthwise: whether depthwise kernels are decayed too.
        batch_norm_decay: momentum of the moving statistics.
        batch_norm_epsilon: added to the variance.
        activation: activation of the layers whose definition names none.

    Examples:
        >>> mobilenet_v1_arg_scope(weight_decay=0.0).regularizer() is None
        True
    """
    return ArgScope(
        *(weight_decay, stddev, regularize_depthwise, batch_norm_decay, batch_norm_epsilon, activation),
        is_training=is_training,
    )


def mobilenet_v1_base(
    inputs: Tensor,
    final_endpoint: str | None = None,
    min_depth: int = 8,
    depth_multiplier: float = 1.0,
    conv_defs: Iterable[ConvDef] | None = None,
    output_stride: int | None = None,
    use_explicit_padding: bool = False,
    scope: str = "MobilenetV1",
    *,
    padding: str = "same",
    arg_scope: ArgScope | None = None,
) -> tuple[Tensor, EndPoints]:
    """Build the body of MobileNet v1 on `inputs`, up to an end point.

    Args:
        inputs: Keras tensor (N, H, W, C), H and W known or not.
        final_endpoint: ``Conv2d_0``, ``Conv2d_1_depthwise``, ``Conv2d_1_pointwise`` and so on; None for the last.
        min_depth: fewest channels of a layer, whatever the multiplier.
        depth_multiplier: width multiplier α; a layer has ``max(int(depth · α), min_depth)`` channels.
        conv_defs: the layers, `tfsep.Conv` and `tfsep.DepthSepConv`, any number; None for MobileNet v1's.
        output_stride: total stride to hold by growing rates, see `tfsep.defs.with_output_stride`; None for no bound.
        use_explicit_padding: slim's name of ``padding="explicit"``.
        scope: prefix of the layers' names.
        padding: ``"same"``, ``"keras"`` or ``"explicit"``, see `tfsep.defs.PADDING_RULES`.
        arg_scope: how each layer is made, see `mobilenet_v1_arg_scope`; None for its defaults.

    Returns:
        The last end point's tensor, and the end points by name, in order.

    Raises:
        TypeError: if `inputs` is no tensor.
        ValueError: for another rank, an unknown end point or padding, a depth_multiplier that is not greater than zero,
            an output_stride that cannot be held.

    Examples:
        >>> net, end_points = mobilenet_v1_base(keras.Input((224, 224, 3)), output_stride=16)
        >>> net.shape, end_points["Conv2d_5_pointwise"].shape
        ((None, 14, 14, 1024), (None, 28, 28, 256))
    """
    require_images(inputs)
    network = _network(conv_defs, scope)
    layers = network.layers(inputs.shape[-1], depth_multiplier, min_depth, output_stride)
    layers = up_to(layers, final_endpoint)
    rule = padding_rule(padding, use_explicit_padding)
    return build_layers(inputs, layers, scope, rule, settings_of(arg_scope, network.family))


def _network(conv_defs: Iterable[ConvDef] | None, scope: str) -> Network:
    """The network of MobileNet v1's rules with these definitions."""
    conv_defs = MOBILENETV1_CONV_DEFS if conv_defs is None else normalize(conv_defs)
    return Network(conv_defs, replace(MOBILENET_V1, scope=scope))


@with_default_image_size
def mobilenet_v1(
    inputs: Tensor,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.999,
    is_training: bool | None = None,
    min_depth: int = 8,
    depth_multiplier: float = 1.0,
    conv_defs: Iterable[ConvDef] | None = None,
    prediction_fn: ActivationLike = "softmax",
    spatial_squeeze: bool = True,
    reuse: Reuse = None,
    scope: str = "MobilenetV1",
    global_pool: bool = False,
    output_stride: int | None = None,
    use_explicit_padding: bool = False,
    *,
    padding: str = "same",
    arg_scope: ArgScope | None = None,
) -> tuple[Tensor, EndPoints]:
    """Build MobileNet v1 with its classifier on `inputs`.

    Args:
        inputs: Keras tensor (N, H, W, C).
        num_classes: length of the logits; 0 or None leaves the classifier out and returns the pooled features.
        dropout_keep_prob: share of the features that training keeps, in (0, 1].
        is_training: False fixes the phase: frozen statistics and no dropout, also in ``fit``. True leaves it to each
            call of the model. None for what the `arg_scope` says.
        min_depth: fewest channels of a layer, whatever the multiplier.
        depth_multiplier: width multiplier α; a layer has ``max(int(depth · α), min_depth)`` channels.
        conv_defs: the layers, `tfsep.Conv` and `tfsep.DepthSepConv`, any number; None for MobileNet v1's.
        prediction_fn: makes predictions of logits: a Keras activation's name, a function, or None for no predictions.
        spatial_squeeze: whether logits are (N, num_classes) in place of (N, 1, 1, num_classes).
        reuse: True shares the layers that were last made under the same scope, with their weights; False and None make
            new ones, ``tf.compat.v1.AUTO_REUSE`` those that do not exist.
        scope: prefix of the layers' names.
        global_pool: average over the whole image, whatever its size, in place of a window of at most 7×7.
        output_stride: total stride to hold by growing rates, see `tfsep.defs.with_output_stride`; None for no bound.
        use_explicit_padding: slim's name of ``padding="explicit"``.
        padding: ``"same"``, ``"keras"`` or ``"explicit"``, see `tfsep.defs.PADDING_RULES`.
        arg_scope: how each layer is made, see `mobilenet_v1_arg_scope`; None for its defaults.

    Returns:
        The logits (the pooled features (N, H', W', C') without classes) and the end points: those of the body, then
        ``AvgPool_1a`` or ``global_pool``, ``Logits`` and ``Predictions``.

    Raises:
        TypeError: if `inputs` is no tensor.
        ValueError: for another rank, an unknown padding, a number out of range, an output_stride that cannot be held;
            with spatial_squeeze where the pooled features are larger than 1×1; under reuse, where no such layers exist.

    Examples:
        >>> logits, end_points = mobilenet_v1(keras.Input((128, 128, 3)), num_classes=10, depth_multiplier=0.25)
        >>> logits.shape, list(end_points)[-3:]
        ((None, 10), ['AvgPool_1a', 'Logits', 'Predictions'])
    """
    require_classes(num_classes)
    activation_function(prediction_fn, "prediction_fn")
    dropout = dropped_share(dropout_keep_prob)
    arg_scope = phase(arg_scope, MOBILENET_V1, reuse, is_training)
    net, end_points = mobilenet_v1_base(
        inputs,
        min_depth=min_depth,
        depth_multiplier=depth_multiplier,
        conv_defs=conv_defs,
        output_stride=output_stride,
        use_explicit_padding=use_explicit_padding,
        scope=scope,
        padding=padding,
        arg_scope=arg_scope,
    )
    net, pool = pool_features(net, global_pool, scope, arg_scope)
    end_points[pool] = net
    if not num_classes:
        return net, end_points
    logits, predicted = classify(net, num_classes, dropout, prediction_fn, spatial_squeeze, scope, arg_scope)
    return logits, {**end_points, **predicted}


mobilenet_v1_075 = with_default_image_size(partial(mobilenet_v1, depth_multiplier=0.75))
"""`mobilenet_v1` with a depth multiplier of 0.75."""

mobilenet_v1_050 = with_default_image_size(partial(mobilenet_v1, depth_multiplier=0.50))
"""`mobilenet_v1` with a depth multiplier of 0.5."""

mobilenet_v1_025 = with_default_image_size(partial(mobilenet_v1, depth_multiplier=0.25))
"""`mobilenet_v1` with a depth multiplier of 0.25."""


def MobileNetV1(
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    num_classes: int | None = 1000,
    alpha: float = 1.0,
    *,
    conv_defs: Iterable[ConvDef] | None = None,
    min_depth: int = 8,
    output_stride: int | None = None,
    use_explicit_padding: bool = False,
    padding: str = "same",
    dropout: float = 1e-3,
    classifier_activation: ActivationLike = "softmax",
    arg_scope: ArgScope | None = None,
    features: Sequence[int] | None = None,
    name: str = "MobilenetV1",
) -> Model:
    """Return MobileNet v1 as a Keras model, pooled over the whole image.

    Args:
        input_shape: (H, W, C); H and W may be None.
        num_classes: length of the result; 0 or None for the features, (N, C').
        alpha: width multiplier; a layer has ``max(int(depth · alpha), min_depth)`` channels.
        conv_defs: the layers, `tfsep.Conv` and `tfsep.DepthSepConv`, any number; None for MobileNet v1's.
        min_depth: fewest channels of a layer, whatever the multiplier.
        output_stride: total stride to hold by growing rates, see `tfsep.defs.with_output_stride`; None for no bound.
        use_explicit_padding: slim's name of ``padding="explicit"``.
        padding: ``"same"``, ``"keras"`` or ``"explicit"``, see `tfsep.defs.PADDING_RULES`.
        dropout: share of the features that training drops.
        classifier_activation: applied to the logits; None for the logits themselves.
        arg_scope: how each layer is made, see `mobilenet_v1_arg_scope`; None for its defaults.
        features: total strides whose maps are the results, for a head, in place of the classifier's; None for that.
        name: name of the model, and the prefix of its layers' names.

    Returns:
        A model from images (N, H, W, C) to (N, num_classes); with `features`, to a list of maps.

    Raises:
        ValueError: for an argument out of range, an output_stride that cannot be held, or features of a stride that the
            network has not.

    Examples:
        >>> model = MobileNetV1((128, 128, 3), num_classes=1001, alpha=0.25)
        >>> model.output_shape, model.count_params()
        ((None, 1001), 475801)
    """
    return from_definitions(
        _network(conv_defs, text(name, "name")),
        input_shape,
        num_classes,
        alpha,
        min_depth=min_depth,
        output_stride=output_stride,
        padding=padding_rule(padding, use_explicit_padding),
        dropout=dropout,
        classifier_activation=classifier_activation,
        arg_scope=arg_scope,
        features=features,
    )
