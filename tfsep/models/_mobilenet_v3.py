"""MobileNet v3 and MobileNet-EdgeTPU with TF-slim's names, arguments, rules and end points.

Source: A. Howard et al., "Searching for MobileNetV3" (arXiv 1905.02244), and TF-slim's ``mobilenet_v3``.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from tfsep._keras.types import Tensor
from tfsep.defs import (
    MOBILENET_EDGETPU_CONV_DEFS,
    MOBILENET_V3,
    MOBILENETV3_LARGE_CONV_DEFS,
    MOBILENETV3_LARGE_MINIMALISTIC_CONV_DEFS,
    MOBILENETV3_SMALL_CONV_DEFS,
    MOBILENETV3_SMALL_MINIMALISTIC_CONV_DEFS,
    ConvDef,
    Network,
    with_slim_gates,
)
from tfsep.models._layer_builder import EndPoints
from tfsep.models._slim_builder import slim_mobilenet, with_default_image_size

__all__ = [
    "mobilenet_edgetpu",
    "mobilenet_edgetpu_075",
    "mobilenet_v3",
    "mobilenet_v3_base",
    "mobilenet_v3_large",
    "mobilenet_v3_large_minimalistic",
    "mobilenet_v3_small",
    "mobilenet_v3_small_minimalistic",
]


@with_default_image_size
def mobilenet_v3(
    inputs: Tensor,
    num_classes: int | None = 1001,
    depth_multiplier: float = 1.0,
    conv_defs: Iterable[ConvDef] | None = None,
    finegrain_classification_mode: bool = False,
    **options: Any,
) -> tuple[Tensor, EndPoints]:
    """Build MobileNet v3 with its classifier on `inputs`.

    The gates of squeeze-and-excite are slim's, relu6(x + 3) · 0.16667. Where slim's own builder fails or changes sizes,
    this one does what the arguments say: explicit padding stands in front of each depthwise convolution, an output
    stride holds up to the dense end, and the mean is that of the whole image.

    Args:
        inputs: Keras tensor (N, H, W, C), H and W known or not.
        num_classes: length of the logits; 0 or None leaves the classifier out and returns the features.
        depth_multiplier: width multiplier α; a layer has `tfsep.defs.make_divisible` of ``depth · α`` channels.
        conv_defs: the layers and blocks, such as `tfsep.defs.MOBILENETV3_SMALL_DETECTION_CONV_DEFS`; None for the large
            network's.
        finegrain_classification_mode: whether the dense end keeps its depth, under each multiplier.
        **options: what `mobilenet_v2` takes by name: ``min_depth``, ``divisible_by``, ``final_endpoint``,
            ``output_stride``, ``use_explicit_padding``, ``prediction_fn``, ``base_only``, ``scope``, ``is_training``,
            ``activation_fn`` (in place of relu), ``reuse``, ``padding`` and ``arg_scope``.

    Returns:
        The logits (the features (N, 1, 1, C') without classes, the last map with `base_only`) and the end points: those
        of the body, then ``global_pool``, ``Logits`` and ``Predictions``.

    Raises:
        TypeError: if `inputs` is no tensor.
        ValueError: for another rank, an unknown end point or padding, a number out of range, an output_stride that
            cannot be held; under reuse, where no such layers exist.

    Examples:
        >>> inputs = keras.Input((96, 96, 3))
        >>> logits, end_points = mobilenet_v3_small(inputs, 10, depth_multiplier=0.5, final_endpoint="layer_4")
        >>> logits.shape, end_points["layer_4/expansion_output"].shape
        ((None, 10), (None, 12, 12, 56))
    """
    conv_defs = with_slim_gates(MOBILENETV3_LARGE_CONV_DEFS if conv_defs is None else conv_defs)
    network = Network(conv_defs, replace(MOBILENET_V3, head_grows=False))
    return slim_mobilenet(inputs, network, num_classes, depth_multiplier, finegrain_classification_mode, **options)


def mobilenet_v3_base(inputs: Tensor, depth_multiplier: float = 1.0, **options: Any) -> tuple[Tensor, EndPoints]:
    """Build the body of MobileNet v3 on `inputs`, up to an end point.

    Args:
        inputs: Keras tensor (N, H, W, C).
        depth_multiplier: width multiplier α.
        **options: other arguments of `mobilenet_v3`: ``conv_defs``, ``final_endpoint``, ``output_stride`` and so on.

    Returns:
        The last end point's tensor, and the end points by name, in order.

    Examples:
        >>> net, _ = mobilenet_v3_base(keras.Input((224, 224, 3)), final_endpoint="layer_5", output_stride=4)
        >>> net.shape
        (None, 56, 56, 40)
    """
    return mobilenet_v3(inputs, depth_multiplier=depth_multiplier, base_only=True, **options)


def _of(conv_defs: Iterable[ConvDef], **options: Any) -> Callable[..., tuple[Tensor, EndPoints]]:
    return with_default_image_size(partial(mobilenet_v3, conv_defs=conv_defs, **options))


mobilenet_v3_large = _of(MOBILENETV3_LARGE_CONV_DEFS)
"""`mobilenet_v3` of the large network."""

mobilenet_v3_small = _of(MOBILENETV3_SMALL_CONV_DEFS)
"""`mobilenet_v3` of the small network."""

mobilenet_v3_large_minimalistic = _of(MOBILENETV3_LARGE_MINIMALISTIC_CONV_DEFS)
"""`mobilenet_v3` of the large network without squeeze-and-excite, hard swish and 5×5 kernels."""

mobilenet_v3_small_minimalistic = _of(MOBILENETV3_SMALL_MINIMALISTIC_CONV_DEFS)
"""`mobilenet_v3` of the small network, likewise."""

mobilenet_edgetpu = _of(MOBILENET_EDGETPU_CONV_DEFS, scope="MobilenetEdgeTPU")
"""`mobilenet_v3` of MobileNet-EdgeTPU."""

mobilenet_edgetpu_075 = _of(
    MOBILENET_EDGETPU_CONV_DEFS,
    scope="MobilenetEdgeTPU",
    depth_multiplier=0.75,
    finegrain_classification_mode=True,
)
"""`mobilenet_v3` of MobileNet-EdgeTPU with a depth multiplier of 0.75 and a last convolution of 1280 channels."""
