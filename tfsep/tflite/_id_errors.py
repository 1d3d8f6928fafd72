"""Ids of a file: whole numbers by which it chooses rows, or that it compares, and that steps of rounding make others.

A real number near the edge of two ids may lead to the other one when it is rounded, as two logits near each other lead
to another class. But behind that edge arithmetic is exact in the model, and any other id is an error: the file's ids
are compared with those that real arithmetic makes of its own real numbers, those in front of the edge.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np

from tfsep._flatbuffer.constants import is_stored, scales_of
from tfsep._flatbuffer.reader import operator_name, type_name
from tfsep._flatbuffer.schema_types import OperatorT
from tfsep._utils.batch_filling import without_filling
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._real_numbers import TensorPlace, unrounded_part

_READERS = {"GATHER": 1, "GATHER_ND": 1, "EMBEDDING_LOOKUP": 0, "ONE_HOT": 0, "SCATTER_ND": 0}
"""Operators that choose by ids, and the place of these among their inputs."""
_COMPARISONS = ("EQUAL", "NOT_EQUAL")
_CHOOSING = ("ARG_MAX", "ARG_MIN", "TOPK_V2")
"""Operators that choose by order, which rounding keeps but for numbers that are near each other."""
_INTEGERS = ("int32", "int64")

Value: TypeAlias = Callable[[int], np.ndarray]
"""Function from the number of a tensor to its numbers."""


class IdFindings(NamedTuple):
    """The ids of a file.

    Attributes:
        ids: number of ids by which rows are chosen.
        other_ids: how many of them are others than the model's, for whatever reason.
        wrong_ids: of the ids of one operator, the share that real arithmetic on the file's own numbers makes otherwise;
            of the operator where it is largest.
        reading: that operator.
    """

    ids: int = 0
    other_ids: int = 0
    wrong_ids: float = 0.0
    reading: str = ""


class IdErrors:
    """The ids of a file beside those of its model.

    Args:
        file: the file.
        constants: the model's numbers in the place of the file's constants.
    """

    def __init__(self, file: LiteRTModel, constants: Mapping[TensorPlace, np.ndarray]) -> None:
        self._file, self._constants, model = file, constants, file.flatbuffer
        self._graph = model.subgraphs[0]
        self._maker = {int(number): op for op in self._graph.operators or [] for number in op.outputs}
        self._chosen, self._read = dict[int, str](), dict[int, str]()
        for number in map(int, self._graph.outputs):
            if number in self._maker and type_name(self._graph.tensors[number]) in _INTEGERS:
                self._read[number] = self._title(self._maker[number], number)
        for op in self._graph.operators or []:
            kind = operator_name(model, op)
            if kind in _READERS and (number := int(op.inputs[_READERS[kind]])) in self._maker:
                self._chosen[number] = self._title(op, number)
            elif kind in _COMPARISONS:
                number = int(op.outputs[0])
                self._read[number] = self._title(op, number)
        self._read |= self._chosen
        self._real = set[int]()  # tensors of numbers that are not whole
        self._count = self._others = 0

    def _title(self, op: OperatorT, number: int) -> str:
        name = self._graph.tensors[number].name.decode(errors="replace").split(";")[0]
        return f"{operator_name(self._file.flatbuffer, op)} of {name!r}"

    def add(self, real: Value, stored: Value, count: int) -> None:
        """Take a look at a batch of which so many samples count.

        Args:
            real: numbers of the file without rounding.
            stored: those of the file.
            count: number of samples.
        """
        for number in self._behind(self._read):
            numbers = real(number)
            if numbers.dtype.kind == "f" and not np.array_equal(numbers, np.rint(numbers)):
                self._real.add(number)
        for number in self._chosen:
            ours, theirs = (without_filling(value(number), self._file.batch_size, count) for value in (real, stored))
            self._count += ours.size
            self._others += int(np.sum(ours != theirs))

    def _behind(self, numbers: Iterable[int]) -> Iterator[int]:
        """Yield tensors, and those that they are made of, back to real numbers, which are not gone behind."""
        seen, waiting = set[int](), list(numbers)
        while waiting:
            number = waiting.pop()
            if number in seen | self._real or number not in self._maker:
                continue
            seen.add(number)
            yield number
            op = self._maker[number]
            if number not in self._real and operator_name(self._file.flatbuffer, op) not in _CHOOSING:
                waiting += map(int, op.inputs)

    def findings(self, batches: Iterable[tuple[Value, int]]) -> IdFindings:
        """Return what is known of the ids.

        Args:
            batches: the file's numbers once more, in each of the batches, and how many samples count.
        """
        tensors = self._graph.tensors
        # Where nothing on the way has steps, nothing is rounded.
        read = [
            number
            for number in self._read
            if any(scales_of(tensors[each]) is not None for each in self._behind([number]) if each != number)
        ]
        if not read:
            return IdFindings(self._count, self._others)
        made = set(self._behind(read))
        operators = [op for op in self._graph.operators if made.intersection(map(int, op.outputs))]
        results = {int(number) for op in operators for number in op.outputs}
        given = [
            number
            for number in sorted({int(number) for op in operators for number in op.inputs} - results)
            if number >= 0 and not is_stored(self._file.flatbuffer, tensors[number])
        ]
        part = unrounded_part(self._file.flatbuffer, self._constants, operators, given, read)
        interpreter = self._file.variant(part.content)
        wrong, total = dict.fromkeys(read, 0), dict.fromkeys(read, 0)
        for stored, count in batches:
            for number in given:
                interpreter.set_tensor(number, stored(number))
            interpreter.invoke()
            for number in read:
                values = interpreter.get_tensor(part.tensor(number)), stored(number)
                ours, theirs = (without_filling(value, self._file.batch_size, count) for value in values)
                wrong[number] += int(np.sum(ours != theirs))
                total[number] += ours.size
        shares = {number: wrong[number] / max(total[number], 1) for number in read}
        worst = max(shares, key=shares.__getitem__)
        return IdFindings(self._count, self._others, shares[worst], self._read[worst])
