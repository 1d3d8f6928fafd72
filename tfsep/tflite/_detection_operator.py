"""LiteRT's ``TFLite_Detection_PostProcess`` behind the outputs of a detector's file."""

import numpy as np

from tfsep._flatbuffer.schema_types import ModelT, OperatorT
from tfsep.boxes import PostProcessing

CUSTOM_CODE = b"TFLite_Detection_PostProcess"

DETECTION_OUTPUTS = ("boxes", "classes", "scores", "count")
"""The operator's results, in its own order."""


def append_detection_operator(
    model: ModelT, offsets: int, scores: int, anchors: np.ndarray, settings: PostProcessing
) -> None:
    """Put the operator behind two results of a file, in whose place the file has the operator's.

    Args:
        model: the file, which is changed.
        offsets: number of the tensor of offsets, (1, A, 4).
        scores: number of the tensor of scores, (1, A, K).
        anchors: row and column of the centre, height and width of each anchor, (A, 4).
        settings: the operator's options.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    for tensor in graph.tensors:
        tensor.shapeSignature = None  # the operator takes one image
    inputs = [
        _in_floats(model, offsets),
        _in_floats(model, scores),
        _add_tensor(model, "anchors", anchors.shape, anchors),
    ]
    count = settings.max_detections * settings.max_classes_per_detection
    shapes = (1, count, 4), (1, count), (1, count), (1,)
    results = [_add_tensor(model, name, shape) for name, shape in zip(DETECTION_OUTPUTS, shapes, strict=True)]
    operator = _add_operator(model, schema.BuiltinOperator.CUSTOM, inputs, results, CUSTOM_CODE)
    operator.customOptions = np.frombuffer(_options(settings), np.uint8)
    graph.outputs = np.array(results, np.int32)
    for signature in (model.signatureDefs or [])[:1]:
        signature.outputs = []
        for name, number in zip(DETECTION_OUTPUTS, results, strict=True):
            output = schema.TensorMapT()
            output.name, output.tensorIndex = name.encode(), number
            signature.outputs.append(output)


def _in_floats(model: ModelT, number: int) -> int:
    """A result as floats: the operator takes no int8."""
    from ai_edge_litert import schema_py_generated as schema

    tensor = model.subgraphs[0].tensors[number]
    if tensor.type == schema.TensorType.FLOAT32:
        return number
    made = _add_tensor(model, f"{tensor.name.decode(errors='replace')}_floats", tuple(tensor.shape))
    _add_operator(model, schema.BuiltinOperator.DEQUANTIZE, [number], [made])
    return made


def _add_tensor(model: ModelT, name: str, shape: tuple[int, ...], numbers: np.ndarray | None = None) -> int:
    """The number of a new tensor of floats, a constant if numbers are given."""
    from ai_edge_litert import schema_py_generated as schema

    graph, tensor, buffer = model.subgraphs[0], schema.TensorT(), schema.BufferT()
    tensor.name, tensor.shape, tensor.type = name.encode(), np.array(shape, np.int32), schema.TensorType.FLOAT32
    tensor.quantization, tensor.buffer = schema.QuantizationParametersT(), len(model.buffers)
    if numbers is not None:
        buffer.data = np.frombuffer(np.ascontiguousarray(numbers, "<f4").tobytes(), np.uint8)
    model.buffers.append(buffer)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _add_operator(model: ModelT, code: int, inputs: list[int], outputs: list[int], custom: bytes = b"") -> OperatorT:
    """A new operator, the last of the graph, of a new kind."""
    from ai_edge_litert import schema_py_generated as schema

    kind, operator = schema.OperatorCodeT(), schema.OperatorT()
    kind.builtinCode, kind.deprecatedBuiltinCode, kind.version = code, code, 1
    kind.customCode = custom or None
    operator.opcodeIndex = len(model.operatorCodes)
    operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
    model.operatorCodes.append(kind)
    model.subgraphs[0].operators.append(operator)
    return operator


def _options(settings: PostProcessing) -> bytes:
    """The settings as a flexbuffer."""
    from flatbuffers import flexbuffers

    builder = flexbuffers.Builder()
    add = {bool: builder.Bool, int: builder.Int, float: builder.Float}
    with builder.Map():
        for name, value in settings.options().items():
            add[type(value)](name, value)
    return bytes(builder.Finish())
