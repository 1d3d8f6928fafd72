"""Keras models of the networks that have a name, by that name."""

import inspect
import re
from collections.abc import Callable, Sequence
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


_SIGNATURE = inspect.signature(from_definitions)
_ARGUMENTS = [own for name, own in _SIGNATURE.parameters.items() if name != "network"]
_TEXT = inspect.getdoc(from_definitions) or ""
_ENTRIES = re.sub(r" {4}network:.*\n( {8}.*\n)*", "", _TEXT[_TEXT.find("Args:") : _TEXT.find("Returns:")].rstrip())
"""What `from_definitions` says of its arguments behind the network."""


def _builder(name: str, key: str) -> Callable[..., Model]:
    """Return `from_definitions` of a network as a function of its own: ``(input_shape, num_classes, alpha, …)``."""

    def build(*args: Any, **options: Any) -> Model:
        return from_definitions(NETWORKS[key], *args, **options)

    shape = "×".join(map(str, NETWORKS[key].input_shape()))
    about = f"Return {NETWORKS[key].title} as a Keras model, on images of {shape} by default.\n\n{_ENTRIES}\n"
    return _named(build, name, about, _ARGUMENTS)


def _named(
    build: Callable[..., Model], name: str, about: str, arguments: Sequence[inspect.Parameter]
) -> Callable[..., Model]:
    """Give a function the name, the text and the signature that its user sees."""
    build.__name__ = build.__qualname__ = name
    build.__doc__ = about
    vars(build)["__signature__"] = _SIGNATURE.replace(parameters=arguments)
    return build


MobileNetV2 = _builder("MobileNetV2", "mobilenet_v2")
"""`from_definitions` of MobileNet v2."""

MobileNetEdgeTPU = _builder("MobileNetEdgeTPU", "mobilenet_edgetpu")
"""`from_definitions` of MobileNet-EdgeTPU."""

MobileNetV4ConvSmall = _builder("MobileNetV4ConvSmall", "mobilenet_v4_conv_small")
"""`from_definitions` of MobileNet v4 Conv-S."""

MobileNetV4ConvMedium = _builder("MobileNetV4ConvMedium", "mobilenet_v4_conv_medium")
"""`from_definitions` of MobileNet v4 Conv-M, for images of 256×256."""

MobileNetV4ConvLarge = _builder("MobileNetV4ConvLarge", "mobilenet_v4_conv_large")
"""`from_definitions` of MobileNet v4 Conv-L, for images of 384×384."""

EfficientNetLite0 = _builder("EfficientNetLite0", "efficientnet_lite0")
"""`from_definitions` of EfficientNet-Lite0."""

EfficientNetLite1 = _builder("EfficientNetLite1", "efficientnet_lite1")
"""`from_definitions` of EfficientNet-Lite1, for images of 240×240."""

EfficientNetLite2 = _builder("EfficientNetLite2", "efficientnet_lite2")
"""`from_definitions` of EfficientNet-Lite2, for images of 260×260."""

EfficientNetLite3 = _builder("EfficientNetLite3", "efficientnet_lite3")
"""`from_definitions` of EfficientNet-Lite3, for images of 280×280."""

EfficientNetLite4 = _builder("EfficientNetLite4", "efficientnet_lite4")
"""`from_definitions` of EfficientNet-Lite4, for images of 300×300."""


def _builder_of_v3(name: str, key: str) -> Callable[..., Model]:
    """Return `from_definitions` of MobileNet v3, large or small, and of its minimalistic form."""

    def build(*args: Any, minimalistic: bool = False, **options: Any) -> Model:
        form = "_minimalistic" if checked_flag(minimalistic, "minimalistic") else ""
        return from_definitions(NETWORKS[key + form], *args, **options)

    about = f"""Return {NETWORKS[key].title} as a Keras model, on images of 224×224×3 by default.

Below an ``alpha`` of 1 the dense end keeps its width.

{_ENTRIES}
    minimalistic: whether squeeze-and-excite, hard swish and 5×5 kernels are left out.

Examples:
    >>> {name}((64, 64, 3), alpha=0.35, minimalistic=True, features=(8,)).output_shape[:3]
    (None, 8, 8)
"""
    own = inspect.Parameter("minimalistic", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
    return _named(build, name, about, [*_ARGUMENTS, own])


MobileNetV3Large = _builder_of_v3("MobileNetV3Large", "mobilenet_v3_large")
"""`from_definitions` of MobileNet v3 large; with ``minimalistic=True`` of its minimalistic form."""

MobileNetV3Small = _builder_of_v3("MobileNetV3Small", "mobilenet_v3_small")
"""`from_definitions` of MobileNet v3 small; with ``minimalistic=True`` of its minimalistic form."""
