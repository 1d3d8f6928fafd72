"""The record of one result in a quantized model."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One result in the quantized model.

    Attributes:
        name: of the layer that computes it in the quantized model.
        kind: ``"operation"``, whose result gets a grid of its own; ``"linear"``, an operation with weights;
            ``"keep"``, whose result stays on its source's grid; ``"average"``, the same after rounding; or
            ``"float"``, without a grid.
        sources: the numbers of the steps that it takes.
        layer: that computes it, where one does.
        normalization: that is folded into the layer.
        operation, clip, options: as `QuantizedOutput` is called.
        arguments: what the layer is called with beside tensors.
        limit: the highest number that its grid may reach, at which it saturates as a rectifier of that maximum does.
        of: the name of the model's layer whose result it is, or a part of it, where that is another than `name`.
        leaves: of a float step, whether quantized ones follow, so that the file has to be kept from quantizing it.
    """

    name: str
    kind: str
    sources: tuple[int, ...]
    layer: Any = None
    normalization: Any = None
    operation: str = "linear"
    clip: str = "linear"
    options: dict[str, Any] | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    limit: float | None = None
    of: str = ""
    leaves: bool = False

    @property
    def layer_name(self) -> str:
        """The name of the model's layer whose result it is."""
        return self.of or self.name
