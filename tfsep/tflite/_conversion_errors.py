"""Why a model does not convert, in words: operators that a file does not have, and the layers that they come from."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tfsep._flatbuffer.reader import operator_name
from tfsep._flatbuffer.schema_types import ModelT
from tfsep._keras.backend import tf
from tfsep._keras.layer_calls import watch_layer_calls
from tfsep._keras.types import Layer
from tfsep._utils.foreign_errors import cause_of


class Calls(NamedTuple):
    """Calls of layers and operations in the order of their begin.

    Attributes:
        names: names of what is called; empty for the model itself.
    """

    names: list[str]

    def words(self, numbers: Iterable[int] | None = None) -> str:
        """Return the names of some calls, or of all, each inside of the one before it, as words."""
        chosen = self.names if numbers is None else [self.names[number] for number in sorted(numbers)]
        return " in ".join(repr(name) for name in reversed(chosen) if name) or "the model's own call"


@contextmanager
def numbered_calls() -> Iterator[Calls]:
    """Temporarily trace each call of a layer or operation in a scope of its number.

    The scopes that Keras opens have names of layers, but none of operations of `keras.ops`, and TensorFlow's own scopes
    look alike.
    """
    calls = Calls([])
    scopes: list[Any] = []

    def enter(layer: Layer) -> None:
        scope = tf.name_scope(f"call.{len(calls.names)}")
        scope.__enter__()
        calls.names.append(layer.name if scopes else "")
        scopes.append(scope)

    with watch_layer_calls(enter, lambda *_: scopes.pop().__exit__(None, None, None), operations=True):
        yield calls


@contextmanager
def open_calls() -> Iterator[Calls]:
    """Temporarily keep the calls that have not ended: at an error, those that it comes from."""
    calls = Calls([])

    def enter(layer: Layer) -> None:
        calls.names.append(layer.name if calls.names else "")

    def leave(layer: Layer, *_: Any) -> None:
        # A model may have caught the error of a call inside.
        while calls.names.pop() not in (layer.name, ""):
            pass

    with watch_layer_calls(enter, leave, operations=True):
        yield calls


class Trace(NamedTuple):
    """A model traced within `numbered_calls`.

    Attributes:
        graph: definition of the traced graph, with shapes.
        calls: its calls.
        plain: converts the model as it is to float32.
        numbered: converts this trace to float32; its operators are those of `plain`, and more behind the outputs.
    """

    graph: Any
    calls: Calls
    plain: Callable[[], ModelT]
    numbered: Callable[[], ModelT]

    def layers(self, paths: Iterable[str]) -> str:
        """Return the layers that paths of nodes or tensors lead to, as words that follow an operator."""
        numbers = [{int(number) for number in re.findall(r"call\.(\d+)", path)} for path in paths]
        found = dict.fromkeys(self.calls.words(each) for each in numbers if each)
        return f" of {', '.join(found)}" if found else ""

    def nodes(self, *operators: str) -> Iterator[tuple[str, str]]:
        """Yield the nodes of operators of TensorFlow: the path, behind those of calls of functions, and the result."""
        bodies = {inner.signature.name: inner.node_def for inner in self.graph.library.function}
        waiting, done = [("", self.graph.node)], set()
        while waiting:
            path, nodes = waiting.pop()
            for node in nodes:
                own = f"{path}/{node.name}"
                if node.op.removeprefix("Stateless") in operators or node.op in operators:
                    yield own, _result(node)
                for inner in _functions(node):
                    if (node.name, inner) not in done and inner in bodies:
                        done.add((node.name, inner))
                        waiting.append((own, bodies[inner]))

    def operators(self, wanted: Callable[[ModelT, Any, Any], bool]) -> str:
        """Return the operators of the file that fit, with their layers, in words."""
        plain, numbered = self.plain(), self.numbered()
        kinds: dict[str, list[str]] = {}
        for graph, own in zip(plain.subgraphs, numbered.subgraphs, strict=True):
            for operator, twin in zip(graph.operators or [], own.operators or [], strict=False):
                if wanted(plain, graph, operator):
                    path = own.tensors[twin.outputs[0]].name.decode(errors="replace")
                    kinds.setdefault(self.layers([path]), []).append(operator_name(plain, operator))
        return "; ".join(f"{', '.join(dict.fromkeys(found))}{layers}" for layers, found in kinds.items())


def _functions(node: Any) -> Iterator[str]:
    """The functions that a node calls."""
    for value in node.attr.values():
        yield from (each.name for each in (value.func, *value.list.func) if each.name)


def _result(node: Any) -> str:
    """A node's first result: its shape and type."""
    dtype = tf.as_dtype(node.attr["T"].type).name if node.attr["T"].type else ""
    shapes = node.attr["_output_shapes"].list.shape
    sides = "?" if not shapes or shapes[0].unknown_rank else "x".join(str(side.size) for side in shapes[0].dim)
    return f"{sides}:{dtype}"


def explanation(error: Exception, trace: Trace) -> str:
    """Return why the converter stops at a model, and what to do, in half a sentence."""
    text = str(error)
    if missing := _found(r"'tf\.(\w+)' op is neither a custom op nor a flex op", text):
        return _without_counterpart(text, missing, trace)
    for pattern, operators, reason in _REFUSALS:
        if found := _found(pattern, text):
            return reason.format(operators(found, trace), cause=cause_of(error))
    return f"TensorFlow Lite's converter stops ({cause_of(error)})"


def _without_counterpart(text: str, missing: list[str], trace: Trace) -> str:
    listed = []
    # A resource that the function captures shows as a placeholder.
    for name in [name for name in missing if name != "Placeholder"] or missing:
        results = [_mlir_result(each) for each in re.findall(rf"tf\.{name}\(.*?-> \(?tensor<(.*?>?)>", text)]
        nodes = list(trace.nodes(name))
        paths = [path for path, result in nodes if result in results] or [path for path, _ in nodes]
        halves = {result.split(":")[1] for result in results} & {"float16", "bfloat16", "float64"}
        listed.append(f"{name}{''.join(f' in {half}' for half in sorted(halves))}{trace.layers(paths)}")
    # With allow_flex, TensorFlow itself would compute them on the device.
    advice = "give allow_flex=True, or" if "NEEDS_FLEX" in text and "NEEDS_CUSTOM" not in text else "take"
    return f"TensorFlow Lite has no operator for {'; '.join(listed)}: {advice} another layer"


_MLIR = {"f": "float", "bf": "bfloat", "i": "int", "ui": "uint"}


def _mlir_result(text: str) -> str:
    """A result in the converter's form, such as 1x4xf64, as `_result` writes it."""
    *sides, kind = text.split("x")
    return f"{'x'.join(sides)}:{re.sub('^[a-z]+', lambda found: _MLIR.get(found[0], found[0]), kind)}"


def _inputs(graph: Any, operator: Any) -> set[str]:
    """The names of an operator's inputs."""
    return {graph.tensors[number].name.decode(errors="replace") for number in operator.inputs if number >= 0}


def _found(pattern: str, text: str) -> list[str]:
    return list(dict.fromkeys(re.findall(pattern, text)))


def _of_kinds(kinds: list[str], trace: Trace) -> str:
    """The file's operators of some kinds with their layers, in words."""
    return trace.operators(lambda file, _, operator: operator_name(file, operator) in kinds) or ", ".join(kinds)


def _that_take(tensors: list[str], trace: Trace) -> str:
    """The file's operators that take some tensors with their layers, in words."""
    takes = trace.operators(lambda _, graph, operator: not _inputs(graph, operator).isdisjoint(tensors))
    return takes or ", ".join(tensors)


def _in_graph(kinds: list[str], trace: Trace) -> str:
    """Operators of TensorFlow with their layers, in words."""
    return "; ".join(f"{kind}{trace.layers(path for path, _ in trace.nodes(kind))}" for kind in kinds)


class _Refusal(NamedTuple):
    """A message with which the converter stops.

    Attributes:
        pattern: expression of it, with a group for the names of operators or tensors.
        operators: (these names, trace) → the operators with their layers, in words.
        reason: why it stops and what to do, with a place for the operators, and ``{cause}`` for the message.
    """

    pattern: str
    operators: Callable[[list[str], Trace], str]
    reason: str


_REFUSALS = (
    _Refusal(
        r"Quantization to 16x8-bit not yet supported for op: '(\w+)'",
        _of_kinds,
        "TensorFlow Lite has no operator in int16 for {}: take recipe 'int8', or another layer",
    ),
    _Refusal(
        r"Failed for tensor (\S+)",
        _that_take,
        "TensorFlow Lite's converter measures no range of what {} take: take another recipe, or another layer",
    ),
    _Refusal(
        r"Node number \d+ \((\w+)\) failed",
        _of_kinds,
        "LiteRT does not compute {} on the calibration data ({cause}): take another recipe, or other data",
    ),
    _Refusal(
        r"'tf\.(TensorList\w+)' op requires element_shape to be static",
        _in_graph,
        "TensorFlow Lite has no loop over results of open shapes, which {} has: save the model with a fixed batch or "
        "with unroll=True in its recurrent layers, or give allow_flex=True",
    ),
)
