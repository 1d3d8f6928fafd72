"""LiteRT's interpreter behind a few functions: open a file, put floats in, get floats out."""

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from tfsep._flatbuffer.reader import read_tflite
from tfsep._utils.arguments import positive_int
from tfsep.tflite._inspect import TensorRow
from tfsep.tflite._sample_reader import Field
from tfsep.tflite._trial_run import trust, try_first


class TensorInfo(NamedTuple):
    """An input or output of a file.

    Attributes:
        name: in the file's signature.
        shape: with the batch.
        dtype: NumPy's name.
        scale, zero_point: ``real = scale · (stored - zero_point)``; a scale of 0 for numbers that are stored as such.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    def quantize(self, array: np.ndarray) -> np.ndarray:
        """Return real numbers as the file stores them: rounded, and held to the type's range."""
        if not self.scale:
            return array.astype(self.dtype, copy=False)
        limits = np.iinfo(self.dtype)
        stored = np.rint(array.astype(np.float32) / np.float32(self.scale)) + self.zero_point
        return np.clip(stored, limits.min, limits.max).astype(self.dtype)

    def dequantize(self, array: np.ndarray) -> np.ndarray:
        """Return stored numbers as real ones."""
        if not self.scale:
            return array
        return (array.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)

    def saturated(self, array: np.ndarray) -> int:
        """Return how many of these real numbers lie outside what the file can store."""
        if not self.scale:
            return 0
        limits = np.iinfo(self.dtype)
        low, high = (self.scale * (edge - self.zero_point) for edge in (limits.min - 0.5, limits.max + 0.5))
        return int(np.count_nonzero((array < low) | (array > high)))


class Runner:
    """A file, ready to run, once it has run in a process of its own without killing that.

    Args:
        path: of the file.
        threads: of LiteRT; XNNPACK, its default on CPUs, is on.
        known_as: what an error calls the file, where that is not its path.
        reference: whether the reference kernels compute, those of microcontrollers, in place of XNNPACK's.
        keep: whether every tensor can be read, see `tensors`; without XNNPACK, which keeps none of its own.
        own: whether this process made the file; another one is first run in a process of its own.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, or it is damaged.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        threads: int = 1,
        known_as: str | PathLike[str] | None = None,
        reference: bool = False,
        keep: bool = False,
        own: bool = False,
    ) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if keep else OpResolverType.AUTO
        if reference:
            kernels = OpResolverType.BUILTIN_REF
        threads = positive_int(threads, "threads")
        content, self.flatbuffer = read_tflite(path)
        if own:
            trust(content, kernels.name, keep)
        try_first(content, kernels.name, keep, known_as or path)
        try:
            self.interpreter = Interpreter(
                model_content=content,
                num_threads=threads,
                experimental_op_resolver_type=kernels,
                experimental_preserve_all_tensors=keep,
            )
            self.interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"path: expected a file that LiteRT runs, got {known_as or path} ({reason})") from error
        self._inputs, self._outputs = self._named_inputs(), self._named_outputs()
        self.inputs = tuple(_info(name, detail) for name, detail in self._inputs)
        self.outputs = tuple(_info(name, detail) for name, detail in self._outputs)

    def _signature(self) -> Any:
        """The file's first signature, which names inputs and outputs, or None."""
        signatures = self.interpreter.get_signature_list()
        return self.interpreter.get_signature_runner(next(iter(signatures))) if signatures else None

    def _named_inputs(self) -> list[tuple[str, Any]]:
        """Inputs with their names, in the order in which the file lists them: the model's own."""
        details, signature = self.interpreter.get_input_details(), self._signature()
        named = {} if signature is None else signature.get_input_details()
        names = {detail["index"]: name for name, detail in named.items()}
        return [(names.get(detail["index"], detail["name"]), detail) for detail in details]

    def _named_outputs(self) -> list[tuple[str, Any]]:
        """Outputs with their names, by name where there is a signature."""
        details, signature = self.interpreter.get_output_details(), self._signature()
        if signature is None:
            return [(detail["name"], detail) for detail in details]
        by_index = {detail["index"]: detail for detail in details}
        return [(name, by_index[named["index"]]) for name, named in sorted(signature.get_output_details().items())]

    def output_places(self) -> tuple[int, ...]:
        """Return where each output stands in the file's own list, which a signature's names do not keep."""
        listed = [detail["index"] for detail in self.interpreter.get_output_details()]
        return tuple(listed.index(detail["index"]) for _, detail in self._outputs)

    @property
    def batch_size(self) -> int:
        """The batch that the file was made for."""
        return self.inputs[0].shape[0]

    def fields(self) -> tuple[Field, ...]:
        """The inputs as data for them is given: floats, where the file has quantized ones."""
        return tuple(Field(i.name, i.shape[1:], "float32" if i.scale else i.dtype) for i in self.inputs)

    def _runs(self, inputs: Sequence[np.ndarray]) -> Iterator[int]:
        """Run a batch of any size, in the file's own batches; yield after each how many of its samples are real."""
        total, step = len(inputs[0]), self.batch_size
        for start in range(0, total, step):
            count = min(step, total - start)
            for (_, detail), info, array in zip(self._inputs, self.inputs, inputs, strict=True):
                piece = array[start : start + count]
                if count < step:
                    piece = np.concatenate([piece, np.repeat(piece[-1:], step - count, axis=0)])
                self.interpreter.set_tensor(detail["index"], info.quantize(piece))
            self.interpreter.invoke()
            yield count

    def __call__(self, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Run a batch of any size; real numbers in, in the order of `inputs`, and out."""
        parts = [
            tuple(
                info.dequantize(self.interpreter.get_tensor(detail["index"])[:count])
                for (_, detail), info in zip(self._outputs, self.outputs, strict=True)
            )
            for count in self._runs(inputs)
        ]
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def tensors(self, inputs: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
        """Run a batch of any size, and return what each operator computed as real numbers, by number of the tensor.

        Only tensors with the batch in front, of floats or on one grid.
        """
        operators = self.flatbuffer.subgraphs[0].operators
        made = [int(tensor) for operator in operators for tensor in operator.outputs]
        details = {detail["index"]: detail for detail in self.interpreter.get_tensor_details()}
        infos = {number: _info(details[number]["name"], details[number]) for number in made}
        infos = {
            number: info
            for number, info in infos.items()
            if info.shape[:1] == (self.batch_size,) and (info.scale or info.dtype == "float32")
        }
        parts = [
            {n: info.dequantize(self.interpreter.get_tensor(n)[:count]) for n, info in infos.items()}
            for count in self._runs(inputs)
        ]
        return {number: np.concatenate([part[number] for part in parts]) for number in infos}

    def tensors_before(self) -> dict[int, set[int]]:
        """Return what each tensor that an operator computes comes from, by numbers."""
        before: dict[int, set[int]] = {}
        for operator in self.flatbuffer.subgraphs[0].operators:
            sources = {int(tensor) for tensor in operator.inputs}
            sources = sources.union(*(before.get(source, set()) for source in sources))
            before |= {int(tensor): sources for tensor in operator.outputs}
        return before

    def delegated(self) -> frozenset[int]:
        """Return the file's operators that a delegate took over, by number; of the main graph, not of a loop's body."""
        return frozenset().union(*self.partitions())

    def partitions(self) -> tuple[frozenset[int], ...]:
        """Return the file's operators that a delegate took over, by number: a set for each part of the graph.

        LiteRT has no public call for this. Its list of operators, whose name starts with an underscore, shows a
        delegate as an operator behind the file's own, with the tensors that go in and come out: what lies between is
        the delegate's. An input or output that is left out is -1, which is no tensor that leads anywhere.
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


def tensor_info(row: TensorRow) -> TensorInfo:
    """Return an input or output as the flatbuffer has it."""
    scale, point = (row.scales[0], row.zero_points[0]) if row.scales else (0.0, 0)
    return TensorInfo(row.name, row.shape, row.dtype, scale, point)


def _info(name: str, detail: Any) -> TensorInfo:
    scale, zero_point = detail["quantization"]
    shape = tuple(int(side) for side in detail["shape"])
    return TensorInfo(name, shape, np.dtype(detail["dtype"]).name, float(scale), int(zero_point))
