"""An operator with its tensors, and the properties that rules read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tfsep._flatbuffer.constants import stored_numbers, unpacked_constants
from tfsep._flatbuffer.schema_types import ModelT
from tfsep.tflite._inspect import Inspection, OperatorRow, TensorRow

_IMAGE_PLACES = {"TRANSPOSE_CONV": 2}
"""Place of the image among an operator's inputs, where it is not the first."""
_MOST_SETTINGS = 8
"""Largest number of integers of axes, steps or a shape."""


@dataclass(frozen=True)
class Node:
    """An operator of a file.

    Attributes:
        row: the operator in the file.
        inputs: tensors that it reads, None for one that is left out.
        outputs: tensors that it makes.
        constants: numbers of the file's constant tensors, including those that an operator unpacks.
        settings: axes, steps and shapes that the file stores as tensors, by their place among the inputs.
        in_integers: whether any operator of the file computes in 8-bit integers.
    """

    row: OperatorRow
    inputs: tuple[TensorRow | None, ...]
    outputs: tuple[TensorRow, ...]
    constants: frozenset[int]
    settings: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    in_integers: bool = False

    @property
    def label(self) -> str:
        """The name of its output, without the names of fused operators."""
        return self.outputs[0].name.split(";")[0] if self.outputs else ""

    @property
    def activations(self) -> tuple[TensorRow, ...]:
        """Its computed tensors."""
        given = (tensor for tensor in self.inputs if tensor is not None and tensor.number not in self.constants)
        return (*given, *self.outputs)

    @property
    def is_output(self) -> bool:
        """Whether one of its outputs is an output of the file."""
        return any(tensor.role == "output" for tensor in self.outputs)

    @property
    def types(self) -> set[str]:
        """Types of its activations, without those of indices, shapes and booleans."""
        return {tensor.dtype for tensor in self.activations} - {"int32", "int64", "bool"}

    @property
    def quantized(self) -> bool:
        """Whether it computes in 8-bit integers."""
        return bool(self.types & {"int8", "uint8"})

    @property
    def image(self) -> TensorRow | None:
        """The input that a window slides over."""
        return self.tensor(_IMAGE_PLACES.get(self.row.name, 0))

    def tensor(self, place: int) -> TensorRow | None:
        """The input at a place, or None."""
        return self.inputs[place] if place < len(self.inputs) else None

    def is_constant(self, place: int) -> bool:
        """Whether the input at a place is a constant, or left out."""
        tensor = self.tensor(place)
        return tensor is None or tensor.number in self.constants

    def pair(self, rows: str, columns: str) -> tuple[int, int]:
        """Two options, for rows and columns; 1 where the operator has none."""
        return int(self.row.options.get(rows, 1)), int(self.row.options.get(columns, 1))

    @property
    def strides(self) -> tuple[int, int]:
        """Strides in rows and columns."""
        return self.pair("strideH", "strideW")

    @property
    def rates(self) -> tuple[int, int]:
        """Rates in rows and columns."""
        return self.pair("dilationHFactor", "dilationWFactor")

    @property
    def is_valid(self) -> bool:
        """Whether it has no padding; the schema's 0 is SAME."""
        return bool(self.row.options.get("padding", 1))

    @property
    def groups(self) -> int:
        """Groups of a CONV_2D: the image's channels over a filter's."""
        image, weights = self.tensor(0), self.tensor(1)
        return 1 if image is None or weights is None else image.shape[-1] // weights.shape[-1]


Condition = Callable[[Node], bool]


def nodes_of(found: Inspection, model: ModelT) -> tuple[Node, ...]:
    """Return a file's operators with their tensors, from its inspection and its flatbuffer."""
    stored = {tensor.number for tensor in found.role("constant")}
    # An operator unpacks weights in float16, or sparse ones: its output counts as a constant.
    constants = frozenset(stored | set(unpacked_constants(model, model.subgraphs[0])))
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


def _settings(op: OperatorRow, model: ModelT) -> dict[int, tuple[int, ...]]:
    stored = (
        (place, stored_numbers(model, model.subgraphs[0].tensors[i])) for place, i in enumerate(op.inputs) if i >= 0
    )
    return {
        place: tuple(map(int, numbers.flat))
        for place, numbers in stored
        if numbers is not None and numbers.dtype == np.int32 and numbers.size <= _MOST_SETTINGS
    }
