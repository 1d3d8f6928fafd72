"""Parameters and MACs (multiply-accumulates), row by row, of definitions, of a Keras model, of a ``.tflite`` file.

Definitions are counted by arithmetic alone: neither TensorFlow nor Keras is imported for them.
"""

import sys
from collections.abc import Iterable
from os import PathLike
from typing import Any

from tfsep._utils.arguments import positive_int
from tfsep.cost._definitions import cost_of_defs
from tfsep.cost._report import CostReport, CostRow
from tfsep.defs import Network
from tfsep.geometry._sizes import normalize_shape

__all__ = ["CostReport", "CostRow", "cost"]


def cost(
    network: Any,
    input_shape: tuple[int, ...] | None = None,
    alpha: float = 1.0,
    min_depth: int = 8,
    output_stride: int | None = None,
    num_classes: int | None = None,
) -> CostReport:
    """Count what a network costs for one image.

    MACs are multiply-accumulates of convolutions and products: a bias, a normalization or an activation has none. A
    FLOP count is twice the MACs (`CostReport.flops`). A strided or dilated layer is counted by its outputs.

    Args:
        network: definitions (`tfsep.Conv`, `tfsep.DepthSepConv`); or a Keras model, nested and subclassed ones too, in
            which parameters of a shared layer are counted once and its MACs at every call, of one under Keras's
            ``TimeDistributed`` at every step; or the path of a
            ``.tflite`` file.
        input_shape: (H, W, C) of definitions; of a model that leaves sizes open.
        alpha, min_depth, output_stride: of definitions, as in `tfsep.models.mobilenet_v1_base`.
        num_classes: of definitions: count a classifier of so many classes, weights and biases, too.

    Returns:
        The report. Of definitions, a convolution's row holds its weights, and normalization is a row of its own.

    Raises:
        ValueError: for an argument that is out of range or is not for this kind of network; for a damaged file.
        TypeError: for a network of another type.
        FileNotFoundError: if there is no such file.

    Source: A. G. Howard et al., "MobileNets" (arXiv 1704.04861), section 3.1.

    Examples:
        >>> from tfsep import MOBILENETV1_CONV_DEFS
        >>> report = cost(MOBILENETV1_CONV_DEFS, (224, 224, 3))
        >>> f"{report.macs:,}", sum(row.params for row in report.rows if "conv" in row.kind)
        ('567,716,352', 3185088)
    """
    if isinstance(network, str | PathLike):
        _only_for_defs(alpha=alpha, min_depth=min_depth, output_stride=output_stride, num_classes=num_classes)
        if input_shape is not None:
            raise ValueError(f"input_shape: expected None for a .tflite file, which has its own, got {input_shape}")
        from tfsep.cost._tflite_file import cost_of_tflite

        return cost_of_tflite(network)
    if _is_keras_model(network):
        _only_for_defs(alpha=alpha, min_depth=min_depth, output_stride=output_stride, num_classes=num_classes)
        from tfsep.cost._keras_model import cost_of_model

        return cost_of_model(network, input_shape)
    if not isinstance(network, Network | Iterable):
        raise TypeError(
            f"network: expected definitions, a Keras model or the path of a .tflite file, got {type(network).__name__}"
        )
    shape = () if input_shape is None else normalize_shape(input_shape, "input_shape")
    if len(shape) != 3:
        raise ValueError(f"input_shape: expected (H, W, C), got {input_shape}")
    rows, columns, channels = (positive_int(side, "input_shape") for side in shape)
    shape = rows, columns, channels
    return cost_of_defs(Network.of(network), shape, alpha, min_depth, output_stride, num_classes)


def _is_keras_model(network: Any) -> bool:
    """Whether this is a Keras model; where Keras was never imported, nothing is."""
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(network, keras.layers.Layer)


def _only_for_defs(**given: Any) -> None:
    defaults = {"alpha": 1.0, "min_depth": 8, "output_stride": None, "num_classes": None}
    for name, value in given.items():
        if value != defaults[name]:
            raise ValueError(f"{name}: expected none but with definitions, got {value!r}")
