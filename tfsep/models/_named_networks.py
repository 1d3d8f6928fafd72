"""Keras models of the networks that have a name, by that name."""

from collections.abc import Callable
from functools import partial
from typing import Any

from tfsep._keras.types import Model
from tfsep.defs import NETWORKS
from tfsep.defs._fields import checked_flag
from tfsep.models._from_definitions import from_definitions

__all__ = [
    "EfficientNetLite0",
    "EfficientNetLite1",
    "EfficientNetLite2",
    "EfficientNetLite3",
    "EfficientNetLite4",
    "MobileNetEdgeTPU",
    "MobileNetV2",
    "MobileNetV3Large",
    "MobileNetV3Small",
    "MobileNetV4ConvLarge",
    "MobileNetV4ConvMedium",
    "MobileNetV4ConvSmall",
]


def _builder(key: str) -> Callable[..., Model]:
    """`from_definitions` of a network: ``(input_shape, num_classes, alpha, …)``."""
    builder = partial(from_definitions, NETWORKS[key])
    shape = "×".join(map(str, NETWORKS[key].input_shape()))
    builder.__doc__ = f"""Return {NETWORKS[key].title} as a Keras model, on images of {shape} by default.

    Its arguments are those of `from_definitions` behind the network: ``input_shape``, ``num_classes``, ``alpha`` and,
    by name, ``min_depth``, ``output_stride``, ``padding``, ``dropout``, ``classifier_activation``, ``arg_scope``,
    ``features`` and ``name``.
    """
    return builder


MobileNetV2 = _builder("mobilenet_v2")
"""`from_definitions` of MobileNet v2."""

MobileNetEdgeTPU = _builder("mobilenet_edgetpu")
"""`from_definitions` of MobileNet-EdgeTPU."""

MobileNetV4ConvSmall = _builder("mobilenet_v4_conv_small")
"""`from_definitions` of MobileNet v4 Conv-S."""

MobileNetV4ConvMedium = _builder("mobilenet_v4_conv_medium")
"""`from_definitions` of MobileNet v4 Conv-M, for images of 256×256."""

MobileNetV4ConvLarge = _builder("mobilenet_v4_conv_large")
"""`from_definitions` of MobileNet v4 Conv-L, for images of 384×384."""

EfficientNetLite0 = _builder("efficientnet_lite0")
"""`from_definitions` of EfficientNet-Lite0."""

EfficientNetLite1 = _builder("efficientnet_lite1")
"""`from_definitions` of EfficientNet-Lite1, for images of 240×240."""

EfficientNetLite2 = _builder("efficientnet_lite2")
"""`from_definitions` of EfficientNet-Lite2, for images of 260×260."""

EfficientNetLite3 = _builder("efficientnet_lite3")
"""`from_definitions` of EfficientNet-Lite3, for images of 280×280."""

EfficientNetLite4 = _builder("efficientnet_lite4")
"""`from_definitions` of EfficientNet-Lite4, for images of 300×300."""


def _mobilenet_v3(
    size: str,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int | None = 1000,
    alpha: float = 1.0,
    *,
    minimalistic: bool = False,
    **options: Any,
) -> Model:
    """Return MobileNet v3 as a Keras model, on images of 224×224×3 by default.

    Its arguments are those of `from_definitions` behind the network, and ``minimalistic``: whether squeeze-and-excite,
    hard swish and 5×5 kernels are left out. Below an ``alpha`` of 1 the dense end keeps its width.

    Examples:
        >>> MobileNetV3Small((64, 64, 3), alpha=0.35, minimalistic=True, features=(8,)).output_shape
        (None, 8, 8, 8)
    """
    form = "_minimalistic" if checked_flag(minimalistic, "minimalistic") else ""
    return from_definitions(NETWORKS[f"mobilenet_v3_{size}{form}"], input_shape, num_classes, alpha, **options)


MobileNetV3Large = partial(_mobilenet_v3, "large")
"""`from_definitions` of MobileNet v3 large; with ``minimalistic=True`` of its minimalistic form."""

MobileNetV3Small = partial(_mobilenet_v3, "small")
"""`from_definitions` of MobileNet v3 small; with ``minimalistic=True`` of its minimalistic form."""

for _builder_of_v3 in (MobileNetV3Large, MobileNetV3Small):
    _builder_of_v3.__doc__ = _mobilenet_v3.__doc__
