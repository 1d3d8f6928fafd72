"""Keras models of the networks that have a name, by that name."""

from collections.abc import Callable
from functools import partial

from tfsep._keras.types import Model
from tfsep.defs import NETWORKS
from tfsep.models._from_definitions import from_definitions

__all__ = ["MobileNetV2"]


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
"""MobileNet v2 as a Keras model, `from_definitions` of its network."""
