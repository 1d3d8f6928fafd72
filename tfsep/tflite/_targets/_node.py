"""An operator with the tensors around it, and what rules ask of one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tfsep._flatbuffer.constants import stored_numbers
from tfsep.tflite._inspect import Inspection, OperatorRow, TensorRow

WEIGHT_TYPES = ("int8", "uint8", "int4")
IMAGE = {"TRANSPOSE_CONV": 2}
"""Where the image stands among an operator's inputs, where it is not the first."""
SETTINGS = 8
"""How many whole numbers axes, steps or a shape have at most."""


@dataclass(frozen=True)
class Node:
    """An operator of a file.

    Attributes:
        row: as the file has it.
        inputs: its tensors, None for one that is left out.
        outputs: its tensors.
        constants: numbers of the tensors whose content is the file's own, as it is or as float16 made float32.
        settings: axes, steps and shapes that the file has as tensors, by their place among the inputs.
        in_integers: whether its file computes in 8-bit integers, here or elsewhere.
    """

    row: OperatorRow
    inputs: tuple[TensorRow | None, ...]
    outputs: tuple[TensorRow, ...]
    constants: frozenset[int]
    settings: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    in_integers: bool = False

    @property
    def label(self) -> str:
        """The name of its output, without the names of all that the converter fused."""
        return self.outputs[0].name.split(";")[0] if self.outputs else ""

    @property
    def activations(self) -> tuple[TensorRow, ...]:
        """Its tensors that are computed."""
        given = (tensor for tensor in self.inputs if tensor is not None and tensor.number not in self.constants)
        return (*given, *self.outputs)

    @property
    def is_output(self) -> bool:
        """Whether what it computes leaves the file."""
        return any(tensor.role == "output" for tensor in self.outputs)

    @property
    def types(self) -> set[str]:
        """Types of what it computes with; indices and shapes are int32, and no matter."""
        return {tensor.dtype for tensor in self.activations} - {"int32", "int64", "bool"}

    @property
    def quantized(self) -> bool:
        """Whether it computes in 8-bit integers."""
        return bool(self.types & {"int8", "uint8"})

    @property
    def image(self) -> TensorRow | None:
        """What a window goes over: the first input, or that of the operator's own."""
        return self.tensor(IMAGE.get(self.row.name, 0))

    def tensor(self, place: int) -> TensorRow | None:
        """The input at a place, or None."""
        return self.inputs[place] if place < len(self.inputs) else None

    def is_constant(self, place: int) -> bool:
        """Whether the input at a place is the file's own; so is one that is left out."""
        tensor = self.tensor(place)
        return tensor is None or tensor.number in self.constants

    def pair(self, rows: str, columns: str) -> tuple[int, int]:
        """Two options, as rows and columns, 1 where the operator has none."""
        return int(self.row.options.get(rows, 1)), int(self.row.options.get(columns, 1))

    @property
    def strides(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pair("strideH", "strideW")

    @property
    def rates(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pair("dilationHFactor", "dilationWFactor")

    @property
    def is_valid(self) -> bool:
        """Whether it pads nothing; the schema's 0 is SAME."""
        return bool(self.row.options.get("padding", 1))

    @property
    def groups(self) -> int:
        """Groups of a CONV_2D: how often a filter's channels go into the image's."""
        image, weights = self.tensor(0), self.tensor(1)
        return 1 if image is None or weights is None else image.shape[-1] // weights.shape[-1]


Condition = Callable[[Node], bool]


def nodes_of(found: Inspection, model: Any) -> tuple[Node, ...]:
    """Return a file's operators with their tensors, of what was read of it and of its flatbuffer."""
    stored = {tensor.number for tensor in found.role("constant")}
    # Weights in float16 are constants too, though an operator brings them to float32.
    widened = {op.outputs[0] for op in found.operators if op.name == "DEQUANTIZE" and set(op.inputs) <= stored}
    constants = frozenset(stored | widened)
    tensors = found.tensors
    nodes = [
        Node(
            op,
            tuple(tensors[i] if i >= 0 else None for i in op.inputs),
            tuple(tensors[i] for i in op.outputs if i >= 0),
            constants,
            _settings(op, model),
        )
        for op in found.operators
    ]
    in_integers = any(node.quantized for node in nodes)
    return tuple(replace(node, in_integers=in_integers) for node in nodes)


def _settings(op: OperatorRow, model: Any) -> dict[int, tuple[int, ...]]:
    stored = (
        (place, stored_numbers(model, model.subgraphs[0].tensors[i])) for place, i in enumerate(op.inputs) if i >= 0
    )
    return {
        place: tuple(map(int, numbers.flat))
        for place, numbers in stored
        if numbers is not None and numbers.dtype == np.int32 and numbers.size <= SETTINGS
    }
