"""Proof that a file's error is rounding: the file without its rounding is the model.

The error of the outputs alone does not tell a faithful file from a wrong one: rounding accumulates over the layers of a
deep network, and can reach the size of the output itself. Three comparisons do, in none of which rounding accumulates:

- The file in real numbers, the model's weights in the place of rounded ones, computes what the model computes, to the
  accuracy of float32: operators, options, connections and the order of outputs are the model's.
- Each operator of the file, on the numbers that it reads there, makes the numbers that it makes in real arithmetic, to
  within a few steps: biases, scales and zero points of its inputs and outputs agree.
- The range that the file stores of each tensor covers the numbers that the model has there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfsep._flatbuffer.constants import scales_of
from tfsep._flatbuffer.reader import operator_name, type_name
from tfsep._flatbuffer.schema_types import ModelT
from tfsep.tflite._batch_filling import filled
from tfsep.tflite._channel_errors import ChannelLimit, OutputErrors, Sums, summarize_channels
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._model_run import model_run
from tfsep.tflite._model_signature import ModelSignature
from tfsep.tflite._proof_report import Proof
from tfsep.tflite._real_numbers import CONVERSIONS, TensorPlace, separate_operators, unrounded

_GRAPH_TOLERANCE = 1e-4
"""Largest relative error of a channel of the file without rounding; that of recipe float32."""
_STEPS = 1.5
"""Largest RMS error of an operator in integers, in steps of its output."""
_SHARE = 0.02
"""The same as a share of its output's deviation, for operators that approximate."""


def prove(
    signature: ModelSignature,
    file: LiteRTModel,
    numbers: Mapping[TensorPlace, np.ndarray],
    inputs: Sequence[np.ndarray],
) -> Proof:
    """Compare a file without its rounding with its model.

    Args:
        signature: the model.
        file: its file.
        numbers: the model's numbers in the place of the file's constants.
        inputs: some samples, in the order of the file's inputs.
    """
    # Rounding of the inputs is no error of the file.
    rounded = [info.dequantize(info.quantize(array)) for info, array in zip(file.inputs, inputs, strict=True)]
    graph, ranges = _GraphErrors(file), _RangeErrors(file)
    try:
        real, operators = unrounded(file.flatbuffer, numbers), _OperatorErrors(file)
        interpreter = file.variant(real.content)
    except (ValueError, RuntimeError) as error:
        # LiteRT has an operator of the file in integers only.
        return Proof(samples=len(inputs[0]), missing=" ".join(str(error).split())[:200])
    order = signature.input_order(file.inputs)
    types = {detail["index"]: detail["dtype"] for detail in interpreter.get_input_details()}
    with model_run(signature) as run:
        for start in range(0, len(rounded[0]), file.batch_size):
            batch = filled([array[start : start + file.batch_size] for array in rounded], file.batch_size)
            expected = run([batch[order.index(place)] for place in range(len(order))])
            for number, array in zip(file.input_tensors, batch, strict=True):
                interpreter.set_tensor(number, array.astype(types[number]))
            interpreter.invoke()
            graph.add(expected, [interpreter.get_tensor(real.tensor(number)) for number in file.output_tensors])
            ranges.add(lambda number: interpreter.get_tensor(real.tensor(number)))
            operators.add(batch)
    return Proof(len(inputs[0]), *graph.worst(), *operators.worst(), *ranges.worst())


class _GraphErrors:
    """The difference of the file without rounding from the model."""

    def __init__(self, file: LiteRTModel) -> None:
        self._outputs = [OutputErrors(info._replace(scale=0.0)) for info in file.outputs]

    def add(self, expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]) -> None:
        """Add a batch of the model's outputs and those of the file without rounding."""
        for output, ours, theirs in zip(self._outputs, expected, actual, strict=True):
            output.add(ours, theirs)

    def worst(self) -> tuple[float, float, str]:
        """The largest error of a channel, what passes there, and the channel."""
        limit = ChannelLimit(_GRAPH_TOLERANCE, adds_rounding=True)
        channel = next(iter(summarize_channels(self._outputs, limit).worst), None)
        return (
            (0.0, _GRAPH_TOLERANCE, "")
            if channel is None
            else (channel.error, limit.allowed(channel.rounding), channel.name)
        )


class _Integers(NamedTuple):
    """A tensor of integers with one scale.

    Attributes:
        name: its name.
        low: smallest number that it can store.
        high: largest one.
        step: their distance.
    """

    name: str
    low: float
    high: float
    step: float


def _computed_integers(model: ModelT) -> dict[int, _Integers]:
    """The integers that operators of the main graph make, by number of the tensor."""
    graph, found = model.subgraphs[0], {}
    for op in graph.operators or []:
        for number in map(int, op.outputs):
            tensor = graph.tensors[number]
            scales = scales_of(tensor)
            if scales is not None and scales.scale.size == 1:
                step, zero = float(scales.scale.squeeze()), float(scales.zero.squeeze())
                stored, name = np.iinfo(type_name(tensor)), tensor.name.decode(errors="replace").split(";")[0]
                found[number] = _Integers(name, (stored.min - zero) * step, (stored.max - zero) * step, step)
    return found


class _RangeErrors:
    """The numbers that tensors have in the file without rounding, beside those that the file can store."""

    def __init__(self, file: LiteRTModel) -> None:
        self._tensors = _computed_integers(file.flatbuffer)
        self._seen = dict.fromkeys(self._tensors, (np.inf, -np.inf))

    def add(self, value: Callable[[int], np.ndarray]) -> None:
        """Add a batch; `value` returns a tensor by its number in the file."""
        for number, (low, high) in self._seen.items():
            numbers = value(number)
            numbers = numbers[np.isfinite(numbers)]
            self._seen[number] = (
                min(low, float(numbers.min(initial=np.inf))),
                max(high, float(numbers.max(initial=-np.inf))),
            )

    def worst(self) -> tuple[float, str]:
        """How many times as wide the range of a tensor would have to be, and the tensor."""
        return max(map(self._stretch, self._tensors), default=(1.0, ""))

    def _stretch(self, number: int) -> tuple[float, str]:
        (name, low, high, _), (seen_low, seen_high) = self._tensors[number], self._seen[number]
        wanted = max(high, seen_high) - min(low, seen_low)
        ranges = f"from {low:.4g} to {high:.4g} in the file, from {seen_low:.4g} to {seen_high:.4g} in the model"
        return wanted / (high - low), f"{name[-80:]} {ranges}"


class _OperatorErrors:
    """The error of each operator in integers against real arithmetic on the numbers that it reads in the file."""

    def __init__(self, file: LiteRTModel) -> None:
        self._file, self._integers = file, _computed_integers(file.flatbuffer)
        graph = file.flatbuffer.subgraphs[0]
        self._tensors = graph.tensors
        self._converted = {
            int(op.outputs[0]): int(op.inputs[0])
            for op in graph.operators or []
            if operator_name(file.flatbuffer, op) in CONVERSIONS
        }
        self._sums = {number: Sums(1) for number in self._integers}
        if self._integers:
            self._apart = separate_operators(file.flatbuffer)
            self._real, self._stored = file.variant(self._apart.content), file.variant(file.content)

    def add(self, batch: Sequence[np.ndarray]) -> None:
        """Run the file and its operators on a batch of real numbers, in the order of the file's inputs."""
        if not self._integers:
            return
        for number, info, array in zip(self._file.input_tensors, self._file.inputs, batch, strict=True):
            self._stored.set_tensor(number, info.quantize(array))
        self._stored.invoke()
        for number in self._apart.given:
            self._real.set_tensor(number, self._value(number))
        self._real.invoke()
        for number, (_, low, high, step) in self._integers.items():
            expected = self._expected(number)
            if expected is not None:
                expected, actual = np.clip(expected, low, high).reshape(-1, 1), self._value(number).reshape(-1, 1)
                # A quotient of two zeros is no number.
                known = np.isfinite(expected)
                self._sums[number].add(expected[known][:, None] / step, actual[known][:, None] / step)

    def _value(self, number: int) -> np.ndarray:
        """The real numbers of a tensor of the file."""
        stored, scales = self._stored.get_tensor(number), scales_of(self._tensors[number])
        if scales is None:
            return stored.astype(np.float32) if stored.dtype == np.float16 else stored
        return ((stored - scales.zero) * scales.scale).astype(np.float32)

    def _expected(self, number: int) -> np.ndarray | None:
        """What real arithmetic makes of a tensor; None where the operator does not run on its own."""
        if number in self._converted:
            return self._value(self._converted[number])
        made = self._apart.made.get(number)
        return None if made is None else self._real.get_tensor(made)

    def worst(self) -> tuple[int, float, str]:
        """The number of tensors compared, the largest error in units of what passes, and the tensor."""
        errors = [
            (_operator_error(sums), self._integers[number].name) for number, sums in self._sums.items() if sums.count
        ]
        return len(errors), *max(errors, default=(0.0, ""))


def _operator_error(sums: Sums) -> float:
    error, deviation = (float(np.sqrt(total[0] / sums.count)) for total in (sums.error, sums.squares))
    return error / max(_STEPS, _SHARE * deviation)
