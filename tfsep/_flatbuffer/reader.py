"""Reader and writer of ``.tflite`` files, by the schema that ships with LiteRT.

A file is untrusted: any damage raises `ValueError` here, before an interpreter, which checks less, opens the file.
"""

import struct
from collections.abc import Sequence
from functools import cache
from math import prod
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from tfsep._flatbuffer.schema_types import BufferT, ModelT, OperatorT, SubGraphT, TensorT
from tfsep._flatbuffer.size_check import check_size
from tfsep._flatbuffer.sparsity import check_sparsity
from tfsep._utils.arguments import as_found, as_path, short_repr

_IDENTIFIER = b"TFL3"
_SCHEMA_VERSION = 3
_ALIGNMENT = 16
_LARGEST = 2**31
"""Bytes of the largest flatbuffer, as offsets are signed and have 32 bits."""


def read_tflite(path: str | PathLike[str]) -> tuple[bytes, ModelT]:
    """Return a file's bytes, and its model as the schema's ``ModelT``.

    Raises:
        TypeError: if `path` is no path.
        FileNotFoundError: if there is no such file.
        ValueError: if it is no TFLite model, or not whole.
    """
    path = as_path(path, "path")
    if not path.is_file():
        raise FileNotFoundError(f"path: expected a .tflite file, got {as_found(path)}")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"path: expected a .tflite file of at most 2 GiB, got {path} of {path.stat().st_size:,} bytes")
    content = path.read_bytes()
    return content, unpack(content, path)


def unpack(content: bytes, path: str | PathLike[str]) -> ModelT:
    """Return the model of a file's bytes as the schema's ``ModelT``.

    Raises:
        ValueError: if they are no TFLite model, or not whole; the message names `path`.
    """
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != _IDENTIFIER:
        raise ValueError(f"path: expected a .tflite file, got {path} without the identifier {_IDENTIFIER.decode()}")
    try:
        check_size(content)
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        _check(model)
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise ValueError(f"path: expected a whole .tflite file, got {path}, which is damaged ({error})") from error
    return model


def require_fixed_sizes(model: ModelT, path: str | PathLike[str]) -> None:
    """Raise where an input leaves sizes of a sample open: the stored ones, of 1, are not those of a run.

    Args:
        model: the model of a file.
        path: the file's name in errors.

    Raises:
        ValueError: if it does.
    """
    graph = model.subgraphs[0]
    for tensor in (graph.tensors[index] for index in graph.inputs):
        if leaves_sizes_open(tensor):
            shape = "×".join("?" if side < 0 else str(side) for side in map(int, tensor.shapeSignature))
            name = tensor.name.decode(errors="replace")
            raise ValueError(f"path: expected inputs of known sizes, got {name!r} of {shape} in {path}")


def leaves_sizes_open(tensor: TensorT) -> bool:
    """Return whether the shape of a sample is not known before a run."""
    return tensor.shapeSignature is not None and -1 in tensor.shapeSignature[1:]


def pack(model: ModelT) -> bytes:
    """Return a model as a file's bytes, with stored numbers at multiples of 16 bytes, as LiteRT requires."""
    import flatbuffers

    class Aligned(flatbuffers.Builder):
        def CreateNumpyVector(self, x: Any) -> Any:  # the schema packs every stored array through it
            self.Prep(_ALIGNMENT, x.nbytes)
            return super().CreateNumpyVector(x)

    builder = Aligned()
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _check(model: ModelT) -> None:
    """Raise unless every index in the model is valid, and every operator with weights has its tensors and options."""
    if model.version != _SCHEMA_VERSION:
        raise ValueError(f"schema version {model.version}")
    if not model.subgraphs or not model.buffers:
        raise ValueError("no graph")
    if not model.subgraphs[0].tensors:
        raise ValueError("no tensors")
    for signature in model.signatureDefs or []:
        _fill(signature, b"", "signatureKey")
    for graph in model.subgraphs:
        _fill(graph, [], "tensors", "operators", "inputs", "outputs")
        for tensor in graph.tensors:
            _fill(tensor, b"", "name")
            if not 0 <= tensor.buffer < len(model.buffers):
                raise ValueError("a tensor without a buffer")
            _check_constant(tensor, model.buffers[tensor.buffer])
            _check_scales(tensor)
        _check_indices(graph, graph, least=0)
        for op in graph.operators:
            _fill(op, [], "inputs", "outputs")
            if not 0 <= op.opcodeIndex < len(model.operatorCodes):
                raise ValueError("an operator without a code")
            _check_indices(op, graph, least=-1)
            _check_form(operator_name(model, op), op, graph.tensors)
            _check_graphs(op, len(model.subgraphs))


def _check_indices(table: SubGraphT | OperatorT, graph: SubGraphT, least: int) -> None:
    """Raise unless inputs and outputs are tensors of the graph, or -1 where one may be left out."""
    for indices in (table.inputs, table.outputs):
        if any(not least <= index < len(graph.tensors) for index in indices):
            raise ValueError("a tensor that is not there")


def _fill(table: Any, empty: Any, *fields: str) -> None:
    """Replace vectors and names that a file leaves out by empty ones."""
    for field in fields:
        if getattr(table, field) is None:
            setattr(table, field, empty)


def _check_constant(tensor: TensorT, buffer: BufferT) -> None:
    """Raise unless a constant tensor of a plain type has as many bytes as its shape, or its sparsity, says."""
    width = _WIDTHS.get(type_name(tensor))
    if tensor.sparsity is not None:
        if width is None:
            raise ValueError(f"a sparse tensor of {type_name(tensor)}")
        count, rest = divmod(0 if buffer.data is None else len(buffer.data), width)
        if rest:
            raise ValueError(f"a sparse tensor of {len(buffer.data)} bytes")
        check_sparsity(tensor, count)
        return
    if width is None or buffer.data is None or len(buffer.data) == 0:
        return
    sides = [int(side) for side in tensor.shape] if tensor.shape is not None else []
    if any(side < 0 for side in sides):
        raise ValueError(f"a constant tensor of shape {short_repr(sides)}")
    elements = prod(sides)
    if elements * width != len(buffer.data):
        raise ValueError(f"a tensor of {elements} elements in {len(buffer.data)} bytes")


class _OperatorForm(NamedTuple):
    """Requirements of an operator.

    Attributes:
        tensors: places of the required inputs.
        ranks: smallest and largest number of dimensions.
        option: name of a required option; empty for none.
    """

    tensors: tuple[int, ...]
    ranks: tuple[int, int]
    option: str


_OPERATOR_FORMS = {
    "CONV_2D": _OperatorForm((0, 1), (4, 4), "strideH"),
    "DEPTHWISE_CONV_2D": _OperatorForm((0, 1), (4, 4), "strideH"),
    "TRANSPOSE_CONV": _OperatorForm((1, 2), (4, 4), "strideH"),
    "FULLY_CONNECTED": _OperatorForm((1,), (2, 2), "fusedActivationFunction"),
    "BATCH_MATMUL": _OperatorForm((0, 1), (2, 8), "adjX"),
    "CONV_3D": _OperatorForm((0, 1), (5, 5), "strideD"),
    "CONV_3D_TRANSPOSE": _OperatorForm((1, 2), (5, 5), "strideD"),
    "DEQUANTIZE": _OperatorForm((0,), (0, 8), ""),
    "DENSIFY": _OperatorForm((0,), (0, 8), ""),
    "WHILE": _OperatorForm((), (0, 8), "bodySubgraphIndex"),
    "IF": _OperatorForm((), (0, 8), "thenSubgraphIndex"),
}


def _check_form(name: str, op: OperatorT, tensors: Sequence[TensorT]) -> None:
    """Raise unless an operator in the table has its tensors, of sides of at least one, and its options."""
    form = _OPERATOR_FORMS.get(name)
    if form is None:
        return
    lacking = form.option and not hasattr(op.builtinOptions, form.option)
    if lacking or not len(op.outputs) or len(op.inputs) <= max(form.tensors, default=-1):
        raise ValueError(f"{name} without its tensors or options")
    least, most = form.ranks
    for index in (op.inputs[place] for place in form.tensors):
        shape = tensors[index].shape if index >= 0 else None
        sides = [] if shape is None else list(shape)
        if index < 0 or not least <= len(sides) <= most or min(sides, default=1) < 1:
            raise ValueError(f"{name} of a tensor of another shape")


_GRAPH_OPTIONS = (
    "bodySubgraphIndex",
    "condSubgraphIndex",
    "decompositionSubgraphIndex",
    "elseSubgraphIndex",
    "initSubgraphIndex",
    "subgraph",
    "thenSubgraphIndex",
)


def _check_graphs(op: OperatorT, count: int) -> None:
    """Raise unless the graphs that an operator runs are there."""
    if any(not 0 <= number < count for number in graphs_run_by(op)):
        raise ValueError("a graph that is not there")


def _check_scales(tensor: TensorT) -> None:
    """Raise unless a tensor has one scale and zero point, or one for each of its channels, or none."""
    own = tensor.quantization
    if own is None or own.scale is None or not len(own.scale):
        return
    count, shape = len(own.scale), [] if tensor.shape is None else tensor.shape
    if own.zeroPoint is None or len(own.zeroPoint) != count:
        raise ValueError("scales without zero points")
    channels = shape[own.quantizedDimension] if 0 <= own.quantizedDimension < len(shape) else 1
    if count not in (1, channels):
        raise ValueError(f"{count} scales for {channels} channels")
    if not np.isfinite(own.scale).all():
        raise ValueError("scales that are no numbers")


_WIDTHS = {"float32": 4, "float16": 2, "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "bool": 1}


@cache
def _names(enumeration: str) -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    kind = getattr(schema, enumeration)
    return {value: name for name, value in vars(kind).items() if isinstance(value, int)}


def operator_name(model: ModelT, operator: OperatorT) -> str:
    """Return the name of an operator, ``"CONV_2D"``; of a custom one, its own."""
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    name = _names("BuiltinOperator").get(number, f"UNKNOWN_{number}")
    return code.customCode.decode(errors="replace") if name == "CUSTOM" and code.customCode else name


def is_builtin(model: ModelT, operator: OperatorT) -> bool:
    """Return whether an operator is one of the schema's; others are custom, or of a later version."""
    code = model.operatorCodes[operator.opcodeIndex]
    name = _names("BuiltinOperator").get(max(code.builtinCode, code.deprecatedBuiltinCode))
    return name not in (None, "CUSTOM")


def graphs_run_by(operator: OperatorT) -> list[int]:
    """Return the numbers of the graphs that an operator runs, as a loop does its body."""
    numbers = (option(operator, name) for name in _GRAPH_OPTIONS)
    return [int(number) for number in numbers if number is not None]


def option(operator: OperatorT, name: str) -> Any:
    """Return an option of an operator by the schema's name; None where it has none of that name."""
    for options in (operator.builtinOptions, operator.builtinOptions2):
        if (found := getattr(options, name, None)) is not None:
            return found
    return None


def type_name(tensor: TensorT) -> str:
    """Return the name of a tensor's type as NumPy has it, ``"float32"``."""
    return _names("TensorType").get(tensor.type, f"unknown_{tensor.type}").lower()
