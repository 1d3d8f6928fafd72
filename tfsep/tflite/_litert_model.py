"""A file in LiteRT's interpreter: real numbers in, real numbers out."""

import re
from collections.abc import Iterator, Sequence
from copy import copy
from os import PathLike
from typing import Any, Self

import numpy as np

from tfsep._flatbuffer.reader import operator_name, pack, read_tflite, require_fixed_sizes, unpack
from tfsep._keras.input_spec import InputSpec
from tfsep._utils.arguments import positive_int
from tfsep._utils.batch_filling import batches, without_filled_rows, without_filling
from tfsep._utils.foreign_errors import cause_of
from tfsep._workers._litert import WITHOUT_DELEGATES, opened
from tfsep.tflite._tensor_info import TensorInfo
from tfsep.tflite._trial_run import mark_runnable, require_runnable


class OperatorError(ValueError):
    """An operator of a file that LiteRT does not compute on some samples.

    Attributes:
        place: number of the operator in the main graph; None for one elsewhere.
        kind: kind of the operator.
        reason: LiteRT's own words.
    """

    def __init__(self, name: str | PathLike[str], place: int | None, kind: str, reason: str) -> None:
        super().__init__(f"data: expected samples that LiteRT computes {kind} of {name} on, got others ({reason})")
        self.place, self.kind, self.reason = place, kind, reason


class LiteRTModel:
    """A file in LiteRT's interpreter, after it has run once in a process of its own.

    Args:
        path: path of the file.
        threads: number of LiteRT's threads; XNNPACK, its default on CPUs, is on.
        display_name: the file's name in errors, where that is not its path.
        reference_kernels: whether the reference kernels compute, those of microcontrollers, in place of XNNPACK's.
        keep_tensors: whether every tensor can be read, see `operator_outputs`; without XNNPACK, which keeps none of its
            own.
        trusted: whether this process made the file; another one is first run in a process of its own.

    Attributes:
        content: the file's bytes.
        refusal: why XNNPACK refuses the file, which LiteRT's own kernels then run; empty where it does not.
        flatbuffer: the file as the schema's ``ModelT``.
        interpreter: LiteRT's.
        inputs: inputs in the file's own order.
        outputs: outputs by name, where the file has a signature.
        input_grids: the inputs as the file computes with them: as they are, or the integers that it quantizes them to.
        output_grids: the outputs likewise: as they are, or the integers that it makes floats of.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, or it is damaged.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        threads: int = 1,
        *,
        display_name: str | PathLike[str] | None = None,
        reference_kernels: bool = False,
        keep_tensors: bool = False,
        trusted: bool = False,
    ) -> None:
        self._threads, self._trusted, self._name = positive_int(threads, "threads"), trusted, display_name or path
        self._reference_kernels = reference_kernels
        self.content, self.flatbuffer = read_tflite(path)
        require_fixed_sizes(self.flatbuffer, self._name)
        self.interpreter, self.refusal = self._opened(self.content, keep_tensors, trusted)
        self._inputs, self._outputs = self._named_inputs(), self._named_outputs()
        self.inputs = tuple(_info(name, detail) for name, detail in self._inputs)
        self.outputs = tuple(_info(name, detail) for name, detail in self._outputs)
        self.input_grids = tuple(map(self._grid, self._inputs, self.inputs))
        self.output_grids = tuple(map(self._grid, self._outputs, self.outputs))

    def _opened(self, content: bytes, keep_tensors: bool, trusted: bool) -> tuple[Any, str]:
        """An interpreter of a file, which has run in a process of its own; why XNNPACK refuses it, or nothing."""
        kernels = WITHOUT_DELEGATES if keep_tensors else "BUILTIN_REF" if self._reference_kernels else "AUTO"
        if trusted:
            mark_runnable(content, kernels, keep_tensors)
        known = require_runnable(content, kernels, keep_tensors, self._name)
        try:
            interpreter, refusal = opened(content, self._threads, WITHOUT_DELEGATES if known else kernels, keep_tensors)
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"path: expected a file that LiteRT runs, got {self._name} ({reason})") from error
        return interpreter, known or refusal

    def variant(self, content: bytes, trusted: bool = False) -> Any:
        """Return an interpreter of another form of this file, of which every tensor can be read.

        Args:
            content: its bytes.
            trusted: whether it was not made out of a file from elsewhere.

        Raises:
            ValueError: if LiteRT does not run it.
        """
        return self._opened(content, keep_tensors=True, trusted=trusted or self._trusted)[0]

    def with_outputs(self, numbers: Sequence[int]) -> Self:
        """Return this file on the same kernels, which keeps some tensors as outputs.

        Args:
            numbers: the tensors.

        Raises:
            ValueError: if LiteRT does not run it.
        """
        other, model = copy(self), unpack(self.content, self._name)
        graph = model.subgraphs[0]
        graph.outputs = np.array(list(dict.fromkeys([*graph.outputs, *numbers])), np.int32)
        other.content, other.flatbuffer = pack(model), model
        other.interpreter, _ = self._opened(other.content, keep_tensors=False, trusted=self._trusted)
        return other

    @property
    def input_tensors(self) -> tuple[int, ...]:
        """Numbers of the tensors of `inputs`."""
        return tuple(detail["index"] for _, detail in self._inputs)

    @property
    def output_tensors(self) -> tuple[int, ...]:
        """Numbers of the tensors of `outputs`."""
        return tuple(detail["index"] for _, detail in self._outputs)

    def _signature(self) -> Any:
        """The file's first signature, which names inputs and outputs, or None."""
        signatures = self.interpreter.get_signature_list()
        return self.interpreter.get_signature_runner(next(iter(signatures))) if signatures else None

    def _named_inputs(self) -> list[tuple[str, dict[str, Any]]]:
        """Names and details of the inputs, in the file's order, which is the model's own."""
        details, signature = self.interpreter.get_input_details(), self._signature()
        named = {} if signature is None else signature.get_input_details()
        names = {detail["index"]: name for name, detail in named.items()}
        return [(names.get(detail["index"], detail["name"]), detail) for detail in details]

    def _named_outputs(self) -> list[tuple[str, dict[str, Any]]]:
        """Names and details of the outputs, by name where there is a signature."""
        details, signature = self.interpreter.get_output_details(), self._signature()
        if signature is None:
            return [(detail["name"], detail) for detail in details]
        by_index = {detail["index"]: detail for detail in details}
        return [(name, by_index[named["index"]]) for name, named in sorted(signature.get_output_details().items())]

    def _grid(self, named: tuple[str, dict[str, Any]], info: TensorInfo) -> TensorInfo:
        """An input or output of floats as the integers that one operator next to it converts it to, or makes it of."""
        number, found = named[1]["index"], []
        graph = self.flatbuffer.subgraphs[0]
        for operator in graph.operators or []:
            name = operator_name(self.flatbuffer, operator)
            if name == "QUANTIZE" and operator.inputs[0] == number:
                found.append(operator.outputs[0])
            elif number in operator.inputs and number in graph.inputs:
                # It is read in floats too, as ids are.
                return info
            if name == "DEQUANTIZE" and operator.outputs[0] == number:
                found.append(operator.inputs[0])
        if info.dtype != "float32" or len(found) != 1:
            return info
        details = {detail["index"]: detail for detail in self.interpreter.get_tensor_details()}
        return _info(info.name, details[found[0]])

    def output_order(self) -> tuple[int, ...]:
        """Return the place of each output in the file's own list, whose order a signature does not keep."""
        listed = [detail["index"] for detail in self.interpreter.get_output_details()]
        return tuple(listed.index(detail["index"]) for _, detail in self._outputs)

    @property
    def batch_size(self) -> int:
        """The batch that the file was made for.

        Raises:
            ValueError: if an input has no axis of samples.
        """
        for info in self.inputs:
            if not info.shape or info.shape[0] < 1:
                raise ValueError(
                    f"path: expected inputs with an axis of at least one sample, got {info.name!r} of shape "
                    f"{info.shape} in {self._name}"
                )
        return self.inputs[0].shape[0]

    def input_specs(self) -> tuple[InputSpec, ...]:
        """The inputs as data for them is given: floats, where the file has quantized ones."""
        return tuple(InputSpec(i.name, i.shape[1:], "float32" if i.scale else i.dtype) for i in self.inputs)

    def _run_batches(self, inputs: Sequence[np.ndarray]) -> Iterator[int]:
        """Run samples in the file's own batches; yield after each batch its number of samples, without the filling."""
        for batch, count in batches(inputs, self.batch_size):
            for (_, detail), info, array in zip(self._inputs, self.inputs, batch, strict=True):
                self.interpreter.set_tensor(detail["index"], info.quantize(array))
            try:
                self.interpreter.invoke()
            except RuntimeError as error:
                raise self._operator_error(error) from error
            yield count

    def _operator_error(self, error: Exception) -> OperatorError:
        """The error of a run that LiteRT ends at an operator."""
        found = re.search(r"Node number (\d+) \((\w+)\)", str(error))
        place, kind = (int(found[1]), found[2]) if found else (None, "the operators")
        operators = self.flatbuffer.subgraphs[0].operators
        if place is None or place >= len(operators) or operator_name(self.flatbuffer, operators[place]) != kind:
            place = None
        return OperatorError(self._name, place, kind, cause_of(error))

    def __call__(self, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Run any number of samples: real numbers in, in the order of `inputs`, and out, in that of `outputs`."""
        parts = [
            tuple(
                info.dequantize(without_filling(self.interpreter.get_tensor(detail["index"]), self.batch_size, count))
                for (_, detail), info in zip(self._outputs, self.outputs, strict=True)
            )
            for count in self._run_batches(inputs)
        ]
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def operator_outputs(self, inputs: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
        """Run any number of samples, and return each operator's output as real numbers, by number of the tensor.

        Only tensors of floats or with one scale, that are read: a loop keeps none of its results that nothing reads.
        """
        graph = self.flatbuffer.subgraphs[0]
        read = {int(tensor) for tensor in graph.outputs}.union(*(map(int, each.inputs) for each in graph.operators))
        return self.tensors(inputs, [int(n) for operator in graph.operators for n in operator.outputs if n in read])

    def tensors(self, inputs: Sequence[np.ndarray], numbers: Sequence[int]) -> dict[int, np.ndarray]:
        """Run any number of samples, and return those of these tensors that are real numbers, by number.

        Args:
            inputs: real numbers, in the order of `inputs`.
            numbers: tensors that are kept, of any type.
        """
        details = {detail["index"]: detail for detail in self.interpreter.get_tensor_details()}
        infos = {number: _info(details[number]["name"], details[number]) for number in numbers}
        infos = {number: info for number, info in infos.items() if info.scale or info.dtype == "float32"}
        parts = [
            {
                n: info.dequantize(without_filled_rows(self.interpreter.get_tensor(n), self.batch_size, count))
                for n, info in infos.items()
            }
            for count in self._run_batches(inputs)
        ]
        return {number: np.concatenate([part[number] for part in parts]) for number in infos}

    def tensor_ancestors(self) -> dict[int, set[int]]:
        """Return the tensors that each operator's output is computed from, by number."""
        ancestors: dict[int, set[int]] = {}
        for operator in self.flatbuffer.subgraphs[0].operators:
            sources = {int(tensor) for tensor in operator.inputs}
            sources = sources.union(*(ancestors.get(source, set()) for source in sources))
            ancestors |= {int(tensor): sources for tensor in operator.outputs}
        return ancestors

    def delegated(self) -> frozenset[int]:
        """Return the operators that a delegate takes, by number; of the main graph, not of a loop's body."""
        return frozenset().union(*self.partitions())

    def partitions(self) -> tuple[frozenset[int], ...]:
        """Return the operators that a delegate takes, by number: a set for each partition of the graph.

        LiteRT has no public call for this. Its list of operators, whose name starts with an underscore, has a delegate
        as an operator behind the file's own, with the tensors that go in and come out: the operators between these are
        the delegate's. An input or output that is left out is -1.
        """
        operators = self.interpreter._get_ops_details()
        own = [op for op in operators if op["op_name"] != "DELEGATE"]
        producer = {int(tensor): op["index"] for op in own for tensor in op["outputs"] if tensor >= 0}
        sources = {op["index"]: [int(t) for t in op["inputs"]] for op in own}
        parts = []
        for delegate in (op for op in operators if op["op_name"] == "DELEGATE"):
            border = {int(t) for t in delegate["inputs"]}
            pending = [int(t) for t in delegate["outputs"]]
            taken: set[int] = set()
            while pending:
                tensor = pending.pop()
                node = producer.get(tensor)
                if tensor in border or node is None or node in taken:
                    continue
                taken.add(node)
                pending += sources[node]
            parts.append(frozenset(taken))
        return tuple(parts)


def _info(name: str, detail: dict[str, Any]) -> TensorInfo:
    scale, zero_point = detail["quantization"]
    shape = tuple(int(side) for side in detail["shape"])
    return TensorInfo(name, shape, np.dtype(detail["dtype"]).name, float(scale), int(zero_point))
