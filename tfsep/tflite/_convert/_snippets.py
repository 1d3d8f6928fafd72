"""Snippets in Kotlin, Swift and Python that call a file, for its own inputs and outputs."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple, TypeAlias

import numpy as np

from tfsep.data import Preprocessing
from tfsep.tflite._convert._metadata import channels_of
from tfsep.tflite._tensor_info import TensorInfo


class _Type(NamedTuple):
    """A type of stored numbers in other languages.

    Attributes:
        size: number of bytes.
        put: call on Kotlin's ByteBuffer, ``{}`` for the number.
        get: call on Kotlin's ByteBuffer.
        kotlin: conversion of Kotlin's Int.
        swift: name of the type.
    """

    size: int
    put: str
    get: str
    kotlin: str
    swift: str


_TYPES = {
    "float32": _Type(4, "putFloat({})", "getFloat()", "toFloat()", "Float32"),
    "int8": _Type(1, "put({})", "get()", "toByte()", "Int8"),
    "uint8": _Type(1, "put({})", "get()", "toByte()", "UInt8"),
    "int16": _Type(2, "putShort({})", "getShort()", "toShort()", "Int16"),
    "int32": _Type(4, "putInt({})", "getInt()", "toInt()", "Int32"),
    "int64": _Type(8, "putLong({})", "getLong()", "toLong()", "Int64"),
    "bool": _Type(1, "put({})", "get()", "toByte()", "Bool"),
}

_Commented: TypeAlias = Sequence[tuple[TensorInfo, str]]


def snippets(
    file: str, inputs: tuple[TensorInfo, ...], outputs: tuple[TensorInfo, ...], preprocessing: Preprocessing | None
) -> dict[str, str]:
    """Return a snippet in each language, by name.

    Args:
        file: name of the file.
        inputs: inputs in the file's own order.
        outputs: outputs in the file's own order.
        preprocessing: how images are prepared; None where that is not known.

    Raises:
        ValueError: for a type that is not in the table.
    """
    for info in (*inputs, *outputs):
        if info.dtype not in _TYPES:
            raise ValueError(f"model: expected inputs and outputs of {', '.join(_TYPES)}, got {info.dtype}")
    commented = [(info, _comment(info, preprocessing)) for info in inputs]
    writers = {"Kotlin": _kotlin, "Swift": _swift, "Python": _python}
    return {language: write(file, commented, outputs) for language, write in writers.items()}


def _number(value: float) -> str:
    """The shortest text that reads back as the same float32."""
    return repr(float(np.float32(value)))


def _limits(info: TensorInfo) -> tuple[int, int]:
    limits = np.iinfo(info.dtype)
    return int(limits.min), int(limits.max)


def _comment(info: TensorInfo, preprocessing: Preprocessing | None) -> str:
    sides = "×".join(map(str, info.shape))
    if channels_of(info) and np.dtype(info.dtype).kind != "b" and (info.scale or info.dtype == "float32"):
        if preprocessing is None:
            return f"{sides}: as the network takes them, row by row, channels last"
        mean, std = (_joined_numbers(numbers) for numbers in (preprocessing.mean, preprocessing.std))
        return f"{sides}: (pixel - {mean}) / {std}, row by row, channels last"
    return f"{sides}, in row-major order"


def _joined_numbers(numbers: tuple[float, ...]) -> str:
    """One number as it is, several in brackets."""
    words = ", ".join(f"{number:g}" for number in numbers)
    return words if len(numbers) == 1 else f"({words})"


def _python(file: str, inputs: _Commented, outputs: tuple[TensorInfo, ...]) -> str:
    lines = [
        *("import numpy as np", "from ai_edge_litert.interpreter import Interpreter", ""),
        f'interpreter = Interpreter("{file}")',
        "interpreter.allocate_tensors()",
    ]
    for i, (info, comment) in enumerate(inputs):
        given = "float32" if info.scale else info.dtype
        lines += [f"x{i} = np.zeros({info.shape}, np.{_numpy_type(given)})  # {comment}"]
        stored = f"stored{i}" if info.scale else f"x{i}"
        if info.scale:
            low, high = _limits(info)
            grid = f"np.rint(x{i} / np.float32({_number(info.scale)})) + {info.zero_point}"
            lines += [f"{stored} = np.clip({grid}, {low}, {high}).astype(np.{info.dtype})"]
        lines += [f'interpreter.set_tensor(interpreter.get_input_details()[{i}]["index"], {stored})']
    lines += ["interpreter.invoke()"]
    for i, info in enumerate(outputs):
        lines += [f'y{i} = interpreter.get_tensor(interpreter.get_output_details()[{i}]["index"])']
        if info.scale:
            real = f"(y{i}.astype(np.float32) - np.float32({info.zero_point})) * np.float32({_number(info.scale)})"
            lines += [f"y{i} = {real}"]
    return "\n".join([*lines, *(f"print(y{i})" for i in range(len(outputs)))])


def _numpy_type(dtype: str) -> str:
    return "bool_" if dtype == "bool" else dtype


def _kotlin(file: str, inputs: _Commented, outputs: tuple[TensorInfo, ...]) -> str:
    lines = [
        *("import java.io.FileInputStream", "import java.nio.ByteBuffer", "import java.nio.ByteOrder"),
        *("import java.nio.channels.FileChannel", "import org.tensorflow.lite.Interpreter", ""),
        f'val asset = context.assets.openFd("{file}")  // aaptOptions {{ noCompress += "tflite" }}',
        "val file = FileInputStream(asset.fileDescriptor).channel",
        "    .map(FileChannel.MapMode.READ_ONLY, asset.startOffset, asset.declaredLength)",
        "val interpreter = Interpreter(file)",
        "fun bytes(size: Int) = ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder())",
    ]
    for i, (info, comment) in enumerate(inputs):
        kind, count = _TYPES[info.dtype], prod(info.shape)
        lines += [
            f"val x{i} = FloatArray({count})  // {comment}",
            f"val input{i} = bytes({count * kind.size})",
        ]
        whole = "value.toInt()" if info.dtype == "int32" else f"value.toInt().{kind.kotlin}"
        value = "value" if info.dtype == "float32" else whole
        if info.scale:
            low, high = _limits(info)
            grid = f"(Math.rint((value / {_number(info.scale)}f).toDouble()).toInt() + ({info.zero_point}))"
            value = f"{grid}.coerceIn({low}, {high}).{kind.kotlin}"
        lines += [f"for (value in x{i}) input{i}.{kind.put.format(value)}", f"input{i}.rewind()"]
    for i, info in enumerate(outputs):
        lines += [f"val output{i} = bytes({prod(info.shape) * _TYPES[info.dtype].size})"]
    given = ", ".join(f"input{i}" for i in range(len(inputs)))
    wanted = ", ".join(f"{i} to output{i}" for i in range(len(outputs)))
    lines += [f"interpreter.runForMultipleInputsOutputs(arrayOf<Any>({given}), mapOf<Int, Any>({wanted}))"]
    for i, info in enumerate(outputs):
        kind, count = _TYPES[info.dtype], prod(info.shape)
        stored = f"output{i}.{kind.get}"
        if info.dtype == "uint8":
            stored = f"({stored}.toInt() and 0xff)"
        real = f"({stored} - ({info.zero_point})) * {_number(info.scale)}f" if info.scale else stored
        lines += [f"output{i}.rewind()", f"val y{i} = Array({count}) {{ {real} }}"]
    return "\n".join(lines)


def _swift(file: str, inputs: _Commented, outputs: tuple[TensorInfo, ...]) -> str:
    stem = file.removesuffix(".tflite")
    lines = [
        *("import Foundation", "import TensorFlowLite", ""),
        f'let path = Bundle.main.path(forResource: "{stem}", ofType: "tflite")!',
        "let interpreter = try Interpreter(modelPath: path)",
        "try interpreter.allocateTensors()",
    ]
    for i, (info, comment) in enumerate(inputs):
        kind, count = _TYPES[info.dtype], prod(info.shape)
        given = "Float32" if info.scale else kind.swift
        zero = "false" if given == "Bool" else "0"
        lines += [
            f"let x{i} = [{given}](repeating: {zero}, count: {count})  // {comment}",
        ]
        stored = f"stored{i}" if info.scale else f"x{i}"
        if info.scale:
            grid = f"Int(($0 / {_number(info.scale)}).rounded(.toNearestOrEven)) + ({info.zero_point})"
            lines += [f"let {stored} = x{i}.map {{ {kind.swift}(clamping: {grid}) }}"]
        lines += [f"try interpreter.copy({stored}.withUnsafeBufferPointer {{ Data(buffer: $0) }}, toInputAt: {i})"]
    lines += ["try interpreter.invoke()"]
    for i, info in enumerate(outputs):
        kind = _TYPES[info.dtype]
        lines += [
            f"let output{i} = try interpreter.output(at: {i}).data",
            f"let y{i} = output{i}.withUnsafeBytes {{ Array($0.bindMemory(to: {kind.swift}.self)) }}",
        ]
        if info.scale:
            lines[-1] += f".map {{ {_number(info.scale)} * Float32(Int($0) - ({info.zero_point})) }}"
    return "\n".join(lines)
