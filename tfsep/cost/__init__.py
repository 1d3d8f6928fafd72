"""Parameters and MACs (multiply-accumulates), layer by layer, of definitions, a Keras model or a ``.tflite`` file.

Definitions are counted by arithmetic alone: neither TensorFlow nor Keras is imported for them.
"""

import sys
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfsep._utils.arguments import positive_int
from tfsep.cost._comparison import Comparison, ComparisonRow, compare
from tfsep.cost._definitions import cost_of_defs
from tfsep.cost._report import CostReport, CostRow
from tfsep.defs import ConvDef, Network

if TYPE_CHECKING:
    from tfsep._keras.types import InputShapes, Model

__all__ = ["Comparison", "ComparisonRow", "CostReport", "CostRow", "compare", "cost"]


def cost(
    network: "Network | Iterable[ConvDef] | Model | str | PathLike[str]",
    input_shape: "InputShapes | None" = None,
    alpha: float = 1.0,
    min_depth: int = 8,
    output_stride: int | None = None,
    num_classes: int | None = None,
) -> CostReport:
    """Count the parameters and MACs of a network for one sample: an image, a sequence.

    MACs are multiply-accumulates of convolutions and matrix products, an einsum's outer product included. Products
    element by element have none: biases, normalizations, activations, gates, the interpolation between pixels. A resize
    that files have no operator for (bicubic, area, Lanczos) is the two matrices that an export makes of it.

    A FLOP count is twice the MACs (`CostReport.flops`). A strided or dilated layer is counted by its outputs; a layer
    of another kind, and an operation of `keras.ops`, by the products of its graph, without those of constants alone. A
    loop counts as often as it is run, of two branches the dearer. What cannot be counted is named in
    `CostReport.uncounted`.

    Args:
        network: definitions (a `tfsep.defs.Network` or its layers and blocks); a Keras model, nested and subclassed
            ones too; the folder of a SavedModel, whose MACs stand by operator, and its parameters in one row; or the
            path of a ``.tflite`` file, whose batch is the first side that all of its inputs and outputs have. In a
            model, parameters of a shared layer are counted once, its MACs at every call, and those of a layer in
            `keras.layers.TimeDistributed` at every step.
        input_shape: (H, W, C) of definitions, or of a model that leaves sizes open; of several inputs a shape of each,
            in order or by name. None for that of a `tfsep.defs.Network`, or of a built model.
        alpha: width multiplier of definitions, see `tfsep.defs.scale_width`.
        min_depth: least depth of a definition that `alpha` leaves.
        output_stride: largest number by which definitions divide the input's sides; strides beyond it become rates.
            None for no limit.
        num_classes: number of classes of a classifier that is added to definitions, weights and biases; None for none.

    Returns:
        The report. Of definitions, a convolution's row holds its weights, and normalization is a row of its own.

    Raises:
        ValueError: for an argument that is out of range, or is not for this type of network; for a damaged file.
        TypeError: for a network of another type.
        FileNotFoundError: if there is no such file.

    Source: A. G. Howard et al., "MobileNets" (arXiv 1704.04861), section 3.1.

    Examples:
        >>> from tfsep import MOBILENETV1_CONV_DEFS
        >>> report = cost(MOBILENETV1_CONV_DEFS, (224, 224, 3))
        >>> f"{report.macs:,}", sum(row.params for row in report.rows if "conv" in row.kind)
        ('567,716,352', 3185088)
    """
    if isinstance(network, str | PathLike) and Path(network).is_dir():
        network = _saved_model(Path(network))
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
    definitions: Any = network
    sizes: Any = input_shape
    network = Network.of(definitions)
    rows, columns, channels = (positive_int(side, "input_shape") for side in network.input_shape(sizes))
    return cost_of_defs(network, (rows, columns, channels), alpha, min_depth, output_stride, num_classes)


def _saved_model(path: Path) -> "Model | Path":
    """The model of a SavedModel's folder; another path as it is."""
    from tfsep._keras.saved_model import UnreadableModelError, is_saved_model, load_saved_model

    try:
        return load_saved_model(path) if is_saved_model(path) else path
    except UnreadableModelError as reason:
        raise ValueError(f"network: expected a SavedModel that Keras 3 reads, got {path}: {reason}") from reason


def _is_keras_model(network: Any) -> bool:
    """Whether this is a Keras model, without importing Keras for it."""
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(network, keras.layers.Layer)


def _only_for_defs(**given: Any) -> None:
    defaults = {"alpha": 1.0, "min_depth": 8, "output_stride": None, "num_classes": None}
    for name, value in given.items():
        if value != defaults[name]:
            raise ValueError(f"{name}: expected none but with definitions, got {value!r}")
