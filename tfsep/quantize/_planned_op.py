"""The records of one operation of a prepared model, before its layers are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from tfsep._keras.types import Layer
from tfsep.quantize._activations import Activation


class Fusion(NamedTuple):
    """The calls that one operator of a file computes: a layer, and the normalization and rectifier behind it."""

    calls: tuple[int, ...]
    normalization: Layer | None = None
    rectifier: Activation | None = None


@dataclass(frozen=True)
class PlannedOp:
    """One operation of a prepared model.

    Attributes:
        name: name of the layer that computes it in the prepared model.
        kind: ``"operation"``, whose result has a range of its own; ``"matmul"``, an operation with weights;
            ``"same_qparams"``, whose result keeps the quantization parameters of its source; ``"average_pooling"``, the
            same with rounding; ``"slopes"``, weights of a layer as a quantized tensor; ``"place"``, whole numbers that
            the integers of its source decide; or ``"float"``, not quantized.
        sources: positions in the plan of the operations whose results it takes.
        layer: the layer that computes it; None for inputs and operations without a layer.
        normalization: the batch normalization that is folded into the layer; None for none.
        operation: name in `OPERATIONS` of an operation with a range (`has_range`); empty for the other kinds.
        fused_activation: name in `FUSED_ACTIVATIONS` of the activation that the operator includes.
        options: arguments of the operation.
        positional: arguments of the layer's call by position, with tensors in their places; empty for the sources.
        arguments: arguments of the layer's call by name, likewise.
        max_value: upper limit of the range, in place of a rectifier with that maximum; None for no limit.
        result_of: name of the float model's layer that has this result, or a part of it; empty for `name`.
        feeds_quantized: whether it is a float operation in front of quantized ones, which the converter must not
            quantize.
        reason: why a float operation is none in integers; empty for inputs and results.
        range_of: the number of the operation whose range it has; None for one of its own.
        result: which result of its source's layer it is; 0 for an operation that computes.
    """

    name: str
    kind: Literal["operation", "matmul", "same_qparams", "average_pooling", "slopes", "place", "float"]
    sources: tuple[int, ...]
    layer: Layer | None = None
    normalization: Layer | None = None
    operation: str = ""
    fused_activation: str = "linear"
    options: Mapping[str, Any] = field(default_factory=dict)
    positional: tuple[Any, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    max_value: float | None = None
    result_of: str = ""
    feeds_quantized: bool = False
    reason: str = ""
    range_of: int | None = None
    result: int = 0

    @property
    def has_range(self) -> bool:
        """Whether its result is quantized by an `ActivationQuantizer`, alone or with others."""
        return self.kind in ("operation", "matmul")

    @property
    def is_quantized(self) -> bool:
        """Whether its result is integers that stand for real numbers."""
        return self.kind not in ("float", "place")

    @property
    def layer_name(self) -> str:
        """The name of the float model's layer that has this result."""
        return self.result_of or self.name
