"""MobileNet v2 with TF-slim's names, arguments, rules and end points.

Source: M. Sandler et al., "MobileNetV2" (arXiv 1801.04381), and TF-slim's ``mobilenet_v2``.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

from tfsep._keras.types import ActivationLike, Tensor
from tfsep.defs import MOBILENET_V2, MOBILENETV2_CONV_DEFS, ConvDef, Network, normalize
from tfsep.models._layer_builder import ArgScope, EndPoints, Reuse
from tfsep.models._slim_builder import slim_mobilenet, with_default_image_size

__all__ = ["mobilenet_v2", "mobilenet_v2_035", "mobilenet_v2_050", "mobilenet_v2_140", "mobilenet_v2_base"]


@with_default_image_size
def mobilenet_v2(
    inputs: Tensor,
    num_classes: int | None = 1001,
    depth_multiplier: float = 1.0,
    conv_defs: Iterable[ConvDef] | None = None,
    finegrain_classification_mode: bool = False,
    min_depth: int | None = None,
    divisible_by: int | None = None,
    final_endpoint: str | None = None,
    output_stride: int | None = None,
    use_explicit_padding: bool = False,
    prediction_fn: ActivationLike = "softmax",
    base_only: bool = False,
    scope: str = "MobilenetV2",
    *,
    is_training: bool | None = None,
    activation_fn: ActivationLike | None = None,
    reuse: Reuse = None,
    padding: str = "same",
    arg_scope: ArgScope | None = None,
) -> tuple[Tensor, EndPoints]:
    """Build MobileNet v2 with its classifier on `inputs`.

    Args:
        inputs: Keras tensor (N, H, W, C), H and W known or not.
        num_classes: length of the logits; 0 or None leaves the classifier out and returns the pooled features.
        depth_multiplier: width multiplier α; a layer has `tfsep.defs.make_divisible` of ``depth · α`` channels.
        conv_defs: the layers and blocks; None for MobileNet v2's.
        finegrain_classification_mode: whether the last convolution keeps its depth under multipliers below 1.
        min_depth: fewest channels of a layer, whatever the multiplier; None for 8.
        divisible_by: what numbers of channels are multiples of; None for 8. Inside blocks it is always 8.
        final_endpoint: ``layer_1``, ``layer_4/expansion_output``, ``layer_4/depthwise_output``, ``layer_4/output`` and
            so on; None for the last.
        output_stride: total stride to hold by growing rates, see `tfsep.defs.with_output_stride`; None for no bound.
        use_explicit_padding: slim's name of ``padding="explicit"``.
        prediction_fn: makes predictions of logits: a Keras activation's name, a function, or None for no predictions.
        base_only: whether the mean over the image and the classifier are left out.
        scope: prefix of the layers' names.
        is_training: False fixes the phase: frozen statistics and no dropout, also in ``fit``. True leaves it to each
            call of the model. None for what the `arg_scope` says.
        activation_fn: activation of the layers in place of relu6; None for what the `arg_scope` says.
        reuse: True shares the layers that were last made under the same scope, with their weights; False and None make
            new ones, ``tf.compat.v1.AUTO_REUSE`` those that do not exist.
        padding: ``"same"``, ``"keras"`` or ``"explicit"``, see `tfsep.defs.PADDING_RULES`.
        arg_scope: how each layer is made, and what is dropped in training, see `training_scope`; None for its defaults.

    Returns:
        The logits (the pooled features (N, 1, 1, C') without classes, the last map with `base_only`) and the end
        points: those of the body, then ``global_pool``, ``Logits`` and ``Predictions``.

    Raises:
        TypeError: if `inputs` is no tensor.
        ValueError: for another rank, an unknown end point or padding, a number out of range, an output_stride that
            cannot be held; under reuse, where no such layers exist.

    Examples:
        >>> inputs = keras.Input((96, 96, 3))
        >>> logits, end_points = mobilenet_v2(inputs, 10, depth_multiplier=0.35, final_endpoint="layer_4")
        >>> logits.shape, end_points["layer_4/expansion_output"].shape, list(end_points)[-3:]
        ((None, 10), (None, 24, 24, 48), ['global_pool', 'Logits', 'Predictions'])
    """
    return slim_mobilenet(
        inputs,
        Network(MOBILENETV2_CONV_DEFS if conv_defs is None else normalize(conv_defs), MOBILENET_V2),
        num_classes,
        depth_multiplier,
        finegrain_classification_mode,
        min_depth=min_depth,
        divisible_by=divisible_by,
        final_endpoint=final_endpoint,
        output_stride=output_stride,
        use_explicit_padding=use_explicit_padding,
        prediction_fn=prediction_fn,
        base_only=base_only,
        scope=scope,
        is_training=is_training,
        activation_fn=activation_fn,
        reuse=reuse,
        padding=padding,
        arg_scope=arg_scope,
    )


def mobilenet_v2_base(inputs: Tensor, depth_multiplier: float = 1.0, **options: Any) -> tuple[Tensor, EndPoints]:
    """Build the body of MobileNet v2 on `inputs`, up to an end point.

    Args:
        inputs: Keras tensor (N, H, W, C).
        depth_multiplier: width multiplier α.
        **options: other arguments of `mobilenet_v2`: ``final_endpoint``, ``output_stride`` and so on.

    Returns:
        The last end point's tensor, and the end points by name, in order.

    Examples:
        >>> net, _ = mobilenet_v2_base(keras.Input((224, 224, 3)), output_stride=4, final_endpoint="layer_5")
        >>> net.shape
        (None, 56, 56, 32)
    """
    return mobilenet_v2(inputs, depth_multiplier=depth_multiplier, base_only=True, **options)


_narrow = partial(mobilenet_v2, finegrain_classification_mode=True)

mobilenet_v2_140 = with_default_image_size(partial(mobilenet_v2, depth_multiplier=1.4))
"""`mobilenet_v2` with a depth multiplier of 1.4."""

mobilenet_v2_050 = with_default_image_size(partial(_narrow, depth_multiplier=0.50))
"""`mobilenet_v2` with a depth multiplier of 0.5 and a last convolution of 1280 channels."""

mobilenet_v2_035 = with_default_image_size(partial(_narrow, depth_multiplier=0.35))
"""`mobilenet_v2` with a depth multiplier of 0.35 and a last convolution of 1280 channels."""
