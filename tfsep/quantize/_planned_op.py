"""The record of one operation of a prepared model, before its layers are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tfsep._keras.types import Layer


@dataclass(frozen=True)
class PlannedOp:
    """One operation of a prepared model.

    Attributes:
        name: of the layer that computes it in the prepared model.
        kind: ``"operation"``, whose result has a range of its own; ``"matmul"``, an operation with weights;
            ``"same_qparams"``, whose result keeps the quantization parameters of its source; ``"average_pooling"``, the
            same with rounding; or ``"float"``, not quantized.
        sources: the numbers of the planned operations that it takes.
        layer: the layer that computes it, where one does.
        normalization: the batch normalization that is folded into the layer.
        operation: its name in `OPERATIONS`.
        fused_activation: its rectifier, by its name in `FUSED_ACTIVATIONS`.
        options: arguments of the operation.
        arguments: arguments of the layer's call, beside tensors.
        max_value: the largest high end of its range, which saturates as a rectifier of that maximum does.
        result_of: the name of the float model's layer that has this result, or a part of it, if it differs from `name`.
        feeds_quantized: of a float operation, whether quantized ones follow, so that the converter has to be kept from
            quantizing it.
    """

    name: str
    kind: Literal["operation", "matmul", "same_qparams", "average_pooling", "float"]
    sources: tuple[int, ...]
    layer: Layer | None = None
    normalization: Layer | None = None
    operation: str = "convolution"
    fused_activation: str = "linear"
    options: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    max_value: float | None = None
    result_of: str = ""
    feeds_quantized: bool = False

    @property
    def has_range(self) -> bool:
        """Whether its result is quantized by an `ActivationQuantizer`, alone or with others."""
        return self.kind in ("operation", "matmul")

    @property
    def layer_name(self) -> str:
        """The name of the float model's layer that has this result."""
        return self.result_of or self.name
