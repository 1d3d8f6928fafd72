"""Inspection: operators, tensors and quantization of a file, read from its flatbuffer without running it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from typing import Any, NamedTuple

from tfsep._flatbuffer.constants import density_of, is_stored
from tfsep._flatbuffer.reader import operator_name, read_tflite, type_name
from tfsep._flatbuffer.schema_types import ModelT, OperatorT, SubGraphT
from tfsep._utils.table import Table

SHOWN_OPTIONS = ("strideH", "strideW", "dilationHFactor", "dilationWFactor", "depthMultiplier")


class TensorRow(NamedTuple):
    """A tensor of a file.

    Attributes:
        number: place in the file.
        name: name in the file.
        shape: shape with the batch.
        dtype: NumPy's name.
        role: ``"input"``, ``"output"``, ``"constant"`` or ``"activation"``.
        scales: scales of its quantization, one for the whole tensor or one per channel; empty where there is none.
        zero_points: zero points of its quantization, as many.
        axis: axis of the channels, where there is a scale for each.
        density: share of its numbers that the file stores, where it is sparse; None where it stores all.
    """

    number: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    role: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int
    density: float | None = None


class OperatorRow(NamedTuple):
    """An operator of a file, in the order of execution.

    Attributes:
        number: place in that order.
        name: such as ``"DEPTHWISE_CONV_2D"``; a custom operator's own.
        version: version of the operator; runtimes know versions up to some number.
        inputs: numbers of tensors, -1 for one that is left out.
        outputs: numbers of tensors.
        options: the schema's, by name.
    """

    number: int
    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class Inspection:
    """Content of a file.

    Attributes:
        path: path of the file.
        size_bytes: size of the file in bytes.
        operators: operators of its main graph.
        tensors: tensors of its main graph.
        signatures: names of the signatures.
    """

    path: str
    size_bytes: int
    operators: tuple[OperatorRow, ...]
    tensors: tuple[TensorRow, ...]
    signatures: tuple[str, ...]

    @property
    def op_counts(self) -> dict[str, int]:
        """The number of operators of each name."""
        return dict(Counter(op.name for op in self.operators))

    def role(self, role: str) -> tuple[TensorRow, ...]:
        """Return the tensors of one role."""
        return tuple(tensor for tensor in self.tensors if tensor.role == role)

    def operator_table(self) -> Table:
        """Return the operators as a table."""
        rows = [
            (op.number, op.name, op.version, _joined(op.inputs), _joined(op.outputs), _options(op.options))
            for op in self.operators
        ]
        return Table(("op", "name", "version", "inputs", "outputs", "options"), rows)

    def tensor_table(self) -> Table:
        """Return the tensors as a table; of several scales, their number and the first."""
        rows = [(t.number, t.role, _type(t), "×".join(map(str, t.shape)), _scales(t), t.name) for t in self.tensors]
        return Table(("tensor", "role", "type", "shape", "quantization", "name"), rows)

    def __str__(self) -> str:
        """Return a summary in one line and both tables as text."""
        counts = ", ".join(f"{count} {name}" for name, count in self.op_counts.items())
        head = f"{self.path}: {self.size_bytes:,} bytes; {counts}"
        return "\n\n".join([head, self.operator_table().text(), self.tensor_table().text()])


def inspect(path: str | PathLike[str]) -> Inspection:
    """Read the content of a ``.tflite`` file.

    Args:
        path: path of the file.

    Returns:
        Its operators and tensors.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no TFLite model, or not whole.

    Examples:
        >>> inspect("missing.tflite")
        Traceback (most recent call last):
        FileNotFoundError: path: expected a .tflite file, got missing.tflite, which does not exist
    """
    content, model = read_tflite(path)
    graph = model.subgraphs[0]
    operators = tuple(_operator(model, i, op) for i, op in enumerate(graph.operators))
    tensors = tuple(_tensor(model, graph, i) for i in range(len(graph.tensors)))
    signatures = tuple(s.signatureKey.decode(errors="replace") for s in model.signatureDefs or [])
    return Inspection(str(path), len(content), operators, tensors, signatures)


def _operator(model: ModelT, index: int, op: OperatorT) -> OperatorRow:
    version = model.operatorCodes[op.opcodeIndex].version
    options = {} if op.builtinOptions is None else dict(vars(op.builtinOptions))
    return OperatorRow(index, operator_name(model, op), version, _ints(op.inputs), _ints(op.outputs), options)


def _tensor(model: ModelT, graph: SubGraphT, index: int) -> TensorRow:
    tensor = graph.tensors[index]
    role = (
        "input"
        if index in graph.inputs
        else "output"
        if index in graph.outputs
        else "activation"
        if not is_stored(model, tensor)
        else "constant"
    )
    quantization = tensor.quantization
    scales: tuple[float, ...] = ()
    points: tuple[int, ...] = ()
    if quantization is not None and quantization.scale is not None:
        scales = tuple(float(scale) for scale in quantization.scale)
        points = _ints(quantization.zeroPoint)
    axis = 0 if quantization is None else int(quantization.quantizedDimension)
    name = tensor.name.decode(errors="replace")
    density = density_of(model, tensor)
    return TensorRow(index, name, _ints(tensor.shape), type_name(tensor), role, scales, points, axis, density)


def _ints(values: Iterable[int] | None) -> tuple[int, ...]:
    return () if values is None else tuple(int(value) for value in values)


def _joined(indices: tuple[int, ...]) -> str:
    return " ".join(map(str, indices))


def _options(options: dict[str, Any]) -> str:
    return " ".join(f"{name}={options[name]}" for name in SHOWN_OPTIONS if name in options)


def _type(tensor: TensorRow) -> str:
    return tensor.dtype if tensor.density is None else f"{tensor.dtype}, sparse: {tensor.density:.1%} stored"


def _scales(tensor: TensorRow) -> str:
    if not tensor.scales:
        return ""
    first = f"{tensor.scales[0]:.6g}, zero {tensor.zero_points[0] if tensor.zero_points else 0}"
    return first if len(tensor.scales) == 1 else f"{len(tensor.scales)} scales on axis {tensor.axis}, first {first}"
