"""Proof that a file's error is rounding: the file without its rounding is the model.

The error of the outputs alone does not tell a faithful file from a wrong one: rounding accumulates over the layers of a
deep network, and can reach the size of the output itself. Four comparisons do, in none of which rounding accumulates:

- The file in real numbers, the model's weights in the place of rounded ones, computes what the model computes, to the
  accuracy of float32: operators, options, connections and the order of outputs are the model's.
- Each operator of the file, on the numbers that it reads there, makes the numbers that it makes in real arithmetic, to
  within a few steps: biases, scales and zero points of its inputs and outputs agree.
- The range that the file stores of each tensor covers the numbers that the model has there.
- Ids, by which rows are chosen, are those that real arithmetic makes of the file's own numbers.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfsep._flatbuffer.constants import scales_of
from tfsep._flatbuffer.reader import operator_name
from tfsep._utils.batch_filling import batches, without_filling
from tfsep._utils.foreign_errors import cause_of
from tfsep.tflite._batch_mixing import same_but_rounding
from tfsep.tflite._channel_errors import ChannelLimit, ChannelSummary, OutputErrors, Sums
from tfsep.tflite._id_errors import IdErrors
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._model_signature import ModelSignature
from tfsep.tflite._proof_report import Proof
from tfsep.tflite._real_numbers import CONVERSIONS, TensorPlace, separate_operators, unrounded
from tfsep.tflite._roughness import ModelSamples
from tfsep.tflite._stored_ranges import RangeErrors, computed_integers, reach

_GRAPH_TOLERANCE = 1e-4
"""Largest relative error of a channel of the file without rounding; that of recipe float32."""
_MOST_GRAPH_TOLERANCE = 0.05
"""The largest of a network that amplifies float32's rounding: other operators are off by 0.4 and more."""
_STEPS = 1.5
"""Largest RMS error of an operator in integers, in steps of its output."""
_SHARE = 0.02
"""The same as a share of its output's deviation, for operators that approximate."""


def prove(
    samples: ModelSamples, file: LiteRTModel, reference: bytes, numbers: Mapping[TensorPlace, np.ndarray]
) -> Proof:
    """Compare a file without its rounding with its model.

    Args:
        samples: the model and some samples.
        file: its file.
        reference: the model's conversion to float32, which differs from it as float32 arithmetic does.
        numbers: the model's numbers in the place of the file's constants.
    """
    signature, run = samples.run.signature, samples.run
    order = signature.input_order(file.inputs)
    inputs = [samples.inputs[place] for place in order]
    # Rounding of the inputs is no error of the file.
    rounded = [info.dequantize(info.quantize(array)) for info, array in zip(file.input_grids, inputs, strict=True)]
    ranges, ids = RangeErrors(file), IdErrors(file, numbers)
    try:
        real, operators = unrounded(file.flatbuffer, numbers), _OperatorErrors(file)
        interpreter = file.variant(real.content)
    except (ValueError, RuntimeError) as error:
        # LiteRT has an operator of the file in integers only, or in XNNPACK only, which checks less.
        return Proof(samples=len(inputs[0]), missing=" ".join(str(error).split())[:200], refused=_refusal(file))
    ordered = [rounded[order.index(place)] for place in range(len(order))]
    expected = run.again(ordered)
    noise = _output_errors(file, expected, _float32_outputs(signature, file, reference, ordered))
    actual: list[list[np.ndarray]] = []
    types = {detail["index"]: detail["dtype"] for detail in interpreter.get_input_details()}
    for batch, count in batches(rounded, file.batch_size):
        for number, array in zip(file.input_tensors, batch, strict=True):
            interpreter.set_tensor(number, array.astype(types[number]))
        interpreter.invoke()
        outputs = [interpreter.get_tensor(real.tensor(number)) for number in file.output_tensors]
        actual.append([without_filling(output, file.batch_size, count) for output in outputs])
        ranges.add(lambda number: interpreter.get_tensor(real.tensor(number)), count)
        operators.add(batch)
        if operators.are_rounded:
            ids.add(lambda number: interpreter.get_tensor(real.tensor(number)), operators.value, count)
    looked_at = list(batches(rounded, file.batch_size))
    if samples.furthest is not None:
        # Few of all ids may be wrong: then they are so in this one.
        looked_at += batches([samples.furthest[place] for place in order], file.batch_size)
        operators.add(looked_at[-1][0], counts=False)
    errors = _output_errors(file, expected, _joined(actual))
    graph = _graph_error(errors, noise)
    if not graph.error <= graph.tolerance and np.isfinite(graph.error):
        amplified = _output_errors(file, expected, run.again(_neighbours(ordered)))
        graph = _graph_error(errors, noise, amplified, samples.roughness)
    input_reach = _input_reach(samples, file, order)
    return Proof(
        samples=len(inputs[0]),
        graph_error=graph.error,
        graph_tolerance=graph.tolerance,
        channel=graph.channel,
        **operators.worst(),
        input_reach=input_reach,
        ranges=ranges.worst(input_reach),
        ids=ids.findings((operators.value_on(batch), count) for batch, count in looked_at),
    )


def _refusal(file: LiteRTModel) -> str:
    """Why LiteRT's own kernels refuse a file that runs, which XNNPACK then runs alone; empty where they do not."""
    try:
        file.variant(file.content)
    except ValueError as error:
        reason = error.__cause__ or error
        operator = re.search(r"Node number \d+ \((\w+)\)", str(reason))
        return f"{operator[1] if operator else 'an operator'} ({cause_of(reason)})"
    return ""


def _joined(parts: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The outputs of several batches as one."""
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _float32_outputs(
    signature: ModelSignature, file: LiteRTModel, reference: bytes, inputs: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Run the conversion to float32; inputs in the model's order, outputs in that of the file."""
    interpreter = file.variant(reference, trusted=True)
    given, made = interpreter.get_input_details(), [detail["index"] for detail in interpreter.get_output_details()]
    places = [signature.outputs_in_order.index(name) for name in signature.output_names]
    parts = []
    for batch, count in batches(inputs, file.batch_size):
        for detail, array in zip(given, batch, strict=True):
            interpreter.set_tensor(detail["index"], array.astype(detail["dtype"]))
        interpreter.invoke()
        outputs = [interpreter.get_tensor(made[place]) for place in places]
        parts.append([without_filling(output, file.batch_size, count) for output in outputs])
    return _joined(parts)


def _output_errors(
    file: LiteRTModel, expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]
) -> list[OutputErrors]:
    """The errors of outputs in float32, whatever the file's types."""
    errors = [OutputErrors(info, step=0.0) for info in file.outputs]
    for error, ours, theirs in zip(errors, expected, actual, strict=True):
        error.add(ours, theirs)
    return errors


class _GraphError(NamedTuple):
    """The largest error of a channel of the file without rounding, what passes there, and the channel."""

    error: float
    tolerance: float
    channel: str


def _graph_error(errors: Sequence[OutputErrors], *noises: Sequence[OutputErrors]) -> _GraphError:
    """Judge the errors by what is known of noise, in the order of `OutputErrors.summary`."""
    limit = ChannelLimit(_GRAPH_TOLERANCE, adds_rounding=True, most=_MOST_GRAPH_TOLERANCE)
    parts = [error.summary(limit, *found) for error, *found in zip(errors, *noises, strict=True)]
    channel = next(iter(ChannelSummary.joined(parts, limit).worst), None)
    if channel is None:
        return _GraphError(0.0, _GRAPH_TOLERANCE, "")
    return _GraphError(channel.error, float(limit.allowed(channel.rounding)), channel.name)


def _neighbours(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Inputs in floats with their last place one up or down: a deep network may make much more of it."""
    rng = np.random.default_rng(0)
    return [
        np.nextafter(array, rng.choice(np.array([-np.inf, np.inf], array.dtype), array.shape))
        if array.dtype.kind == "f"
        else array
        for array in inputs
    ]


def _input_reach(samples: ModelSamples, file: LiteRTModel, order: Sequence[int]) -> float:
    """How far the samples reach past the range of the input that they go past furthest: median over the samples.

    Numbers past a range do not count where the model makes the same of those that the range ends at, as a maximum does,
    which has one range with what it takes.
    """
    reaches, cut = [1.0], list(samples.inputs)
    for grid, place in zip(file.input_grids, order, strict=True):
        if grid.scale:
            stored, array = np.iinfo(grid.dtype), samples.inputs[place]
            low, high = ((edge - grid.zero_point) * grid.scale for edge in (stored.min, stored.max))
            each = (sample.astype(np.float64) for sample in array)
            reaches.append(float(np.median([reach(s.min(initial=0.0), s.max(initial=0.0), low, high) for s in each])))
            cut[place] = np.clip(array, low, high).astype(array.dtype)
    furthest = max(reaches)
    if furthest > 1 and all(map(same_but_rounding, samples.run.again(samples.inputs), samples.run.again(cut))):
        return 1.0
    return furthest


class _OperatorErrors:
    """The error of each operator in integers against real arithmetic on the numbers that it reads in the file."""

    def __init__(self, file: LiteRTModel) -> None:
        self._file, self._integers = file, computed_integers(file.flatbuffer)
        graph = file.flatbuffer.subgraphs[0]
        self._tensors = graph.tensors
        self._converted = {
            int(op.outputs[0]): int(op.inputs[0])
            for op in graph.operators or []
            if operator_name(file.flatbuffer, op) in CONVERSIONS
        }
        self._sums = {number: Sums(1) for number in self._integers}
        self._largest = dict.fromkeys(self._integers, 0.0)
        if self._integers:
            self._apart = separate_operators(file.flatbuffer)
            self._real, self._stored = file.variant(self._apart.content), file.variant(file.content)
            self._sizes = {detail["index"]: tuple(detail["shape"]) for detail in self._real.get_input_details()}

    def add(self, batch: Sequence[np.ndarray], *, counts: bool = True) -> None:
        """Run the file and its operators on a batch of real numbers, in the order of the file's inputs.

        Args:
            batch: the inputs.
            counts: whether it is one of the samples whose errors are averaged; of others the largest counts.
        """
        if not self._integers:
            return
        self.value_on(batch)
        self._give({number: self.value(number) for number in self._apart.given})
        self._real.invoke()
        for number, integers in self._integers.items():
            expected = self._expected(number)
            if expected is not None:
                expected = np.clip(expected, *integers.limits).reshape(-1, 1) / integers.step
                actual = self.value(number).reshape(-1, 1) / integers.step
                # A quotient of two zeros is no number.
                known = np.isfinite(expected)
                expected, actual = expected[known][:, None], actual[known][:, None]
                self._largest[number] = max(self._largest[number], float(np.abs(actual - expected).max(initial=0.0)))
                if counts:
                    self._sums[number].add(expected, actual)

    def _give(self, values: Mapping[int, np.ndarray]) -> None:
        """Give the operators their inputs, of the sizes that they have in a run: a file may store others."""
        others = [number for number, value in values.items() if self._sizes[number] != value.shape]
        for number in others:
            self._sizes[number] = values[number].shape
            self._real.resize_tensor_input(number, self._sizes[number])
        if others:
            self._real.allocate_tensors()
        for number, value in values.items():
            self._real.set_tensor(number, value)

    @property
    def are_rounded(self) -> bool:
        """Whether there are operators in integers."""
        return bool(self._integers)

    def value_on(self, batch: Sequence[np.ndarray]) -> Callable[[int], np.ndarray]:
        """Run the file on a batch of real numbers, in the order of its inputs, and return `value`."""
        for number, info, array in zip(self._file.input_tensors, self._file.inputs, batch, strict=True):
            self._stored.set_tensor(number, info.quantize(array))
        self._stored.invoke()
        return self.value

    def value(self, number: int) -> np.ndarray:
        """Return the real numbers of a tensor of the file, on the last batch."""
        stored, scales = self._stored.get_tensor(number), scales_of(self._tensors[number])
        if scales is None:
            return stored.astype(np.float32) if stored.dtype == np.float16 else stored
        return ((stored - scales.zero) * scales.scale).astype(np.float32)

    def _expected(self, number: int) -> np.ndarray | None:
        """What real arithmetic makes of a tensor; None where the operator does not run on its own."""
        if number in self._converted:
            return self.value(self._converted[number])
        made = self._apart.made.get(number)
        return None if made is None else self._real.get_tensor(made)

    def worst(self) -> dict[str, Any]:
        """The operators that are furthest off, as fields of `Proof`."""
        compared = {number: _operator_error(sums) for number, sums in self._sums.items() if sums.count}
        if not compared:
            return {}
        worst = max(compared, key=compared.__getitem__)
        steps = {number: (each.high - each.low) / each.step for number, each in self._integers.items()}
        coarse = max(compared, key=lambda number: self._largest[number] / steps[number])
        found = self._integers[coarse]
        off, (low, high) = self._largest[coarse] * found.step, found.limits
        return {
            "operators": len(compared),
            "operator_error": compared[worst],
            "operator": self._integers[worst].title,
            "approximation": self._largest[coarse] / steps[coarse],
            "coarse": f"{found.title}, is off by up to {off:.3g} in a range from {low:.3g} to {high:.3g}",
        }


def _operator_error(sums: Sums) -> float:
    error, deviation = (float(np.sqrt(total[0] / sums.count)) for total in (sums.error, sums.squares))
    return error / max(_STEPS, _SHARE * deviation)
