"""A graph in two parts: what makes whole numbers of a model's inputs, and the rest, which is calibrated.

The converter quantizes whatever it has measured. Ids that are computed in floats, as by a sum, a stride or a modulus,
would be rounded to steps, and be other ids; and in int16 it fails on the integers that it has not measured. So the part
in front is converted in floats and integers as they are, and its file is joined to that of the rest.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfsep._flatbuffer.reader import pack, unpack
from tfsep._flatbuffer.schema_types import ModelT
from tfsep._keras.backend import tf
from tfsep._keras.id_inputs import SINGLY, SUMS, is_whole_product

_SIZES = ("Shape", "ShapeN", "Size", "Rank")
"""Operations whose integers are known from shapes."""


class Parts(NamedTuple):
    """A function in two parts.

    Attributes:
        front: concrete function from inputs by name to whole numbers by name.
        rest: concrete function from inputs and the whole numbers that it reads to outputs by name; None where the
            front is all.
        read: names of the whole numbers that the rest reads, and of the operations that make them; the front's others
            are outputs of the whole.
    """

    front: Any
    rest: Any
    read: dict[str, str]

    def inputs_of(self, samples: Callable[[], Iterator[dict[str, np.ndarray]]]) -> Iterator[dict[str, np.ndarray]]:
        """Yield the inputs of the rest, of each of some samples."""
        for sample in samples():
            made = self.front(**_chosen(self.front, {name: tf.constant(array) for name, array in sample.items()}))
            yield _chosen(self.rest, sample | {name: made[name].numpy() for name in self.read})


def parts(function: Any, specs: Mapping[str, tf.TensorSpec], ids: Container[str]) -> Parts | None:
    """Return a concrete function in two parts; None where nothing is to be computed in front.

    Args:
        function: a concrete function with named inputs, and a dict of outputs.
        specs: the inputs by name.
        ids: names of the inputs in floats that hold ids.
    """
    if function.captured_inputs:
        return None
    inputs = dict(zip(sorted(specs), function.inputs, strict=True))
    kept = _made_in_front(function.graph, [x for name, x in inputs.items() if _is_whole(x) or name in ids])
    if all(operation.type == "Identity" for operation in kept):
        return None
    outputs = function.structured_outputs
    made = {name: x for name, x in outputs.items() if x.op in kept}
    behind = {name: x for name, x in outputs.items() if name not in made}
    if not behind:
        return Parts(function, None, {})
    prefix = "whole"
    while any(name.startswith(prefix) for name in (*specs, *outputs)):
        prefix += "_"
    whole = [x for operation in function.graph.get_operations() if operation in kept for x in operation.outputs]
    numbers = {f"{prefix}_{number}": x for number, x in enumerate(filter(_is_whole, whole))}
    rest = _part(function, {**inputs, **numbers}, behind)
    read = _chosen(rest, numbers)
    return Parts(_part(function, inputs, {**made, **read}), rest, {name: x.op.name for name, x in read.items()})


def _is_whole(tensor: Any) -> bool:
    return bool(tensor.dtype.is_integer or tensor.dtype == tf.bool)


def _made_in_front(graph: tf.Graph, inputs: Sequence[Any]) -> set[tf.Operation]:
    """The operations that whole numbers are made by, of those inputs alone."""
    known, constant = {x.ref() for x in inputs}, set[Any]()
    found: list[tf.Operation] = []
    named = {node.name: node for node in graph.as_graph_def().node}
    for operation in graph.get_operations():
        if operation.op_def.is_stateful or operation.type in (*_SIZES, "Placeholder") or operation.control_inputs:
            continue
        results = [x.ref() for x in operation.outputs]
        if all(x.ref() in constant for x in operation.inputs):
            constant.update(results)
        elif all(x.ref() in constant or x.ref() in known for x in operation.inputs) and _is_single(operation, named):
            known.update(results)
            found.append(operation)
    kept = {operation for operation in found if any(map(_is_whole, operation.outputs))}
    for operation in reversed(found):
        if operation in kept:
            kept.update(x.op for x in operation.inputs if x.ref() in known and x.op.type != "Placeholder")
    return kept


def _is_single(operation: tf.Operation, named: Mapping[str, Any]) -> bool:
    """Whether an operation makes integers, or floats of which each is one number's, or one sum's."""
    if any(attribute.type in ("func", "list(func)") for attribute in operation.op_def.attr):
        return False
    if all(map(_is_whole, operation.outputs)) or operation.type in SINGLY | SUMS | {"Cast"}:
        return True
    return is_whole_product(named[operation.name], named)


def _part(function: Any, given: Mapping[str, Any], wanted: Mapping[str, Any]) -> Any:
    """The concrete function from some tensors to others."""
    names = {x.ref(): name for name, x in given.items()}
    needed, read, waiting = set[str](), set[str](), list(wanted.values())
    while waiting:
        x = waiting.pop()
        if x.ref() in names:
            read.add(names[x.ref()])
        elif x.op.name not in needed:
            needed.add(x.op.name)
            waiting += x.op.inputs
    definition = function.graph.as_graph_def()
    nodes = [node for node in definition.node if node.name in needed]
    del definition.node[:]
    definition.node.extend(nodes)

    def run(**inputs: Any) -> dict[str, Any]:
        known = {given[name].name: inputs[name] for name in read}
        results = [x.name for x in wanted.values()]
        made = tf.graph_util.import_graph_def(definition, input_map=known, return_elements=results, name="")
        return dict(zip(wanted, made, strict=True))

    specs = {name: tf.TensorSpec(given[name].shape, given[name].dtype, name) for name in sorted(read)}
    return tf.function(run, autograph=False).get_concrete_function(**specs)


def _chosen(function: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a function takes."""
    return {name: value for name, value in values.items() if name in function.structured_input_signature[1]}


def joined(front: bytes, rest: bytes, read: Mapping[str, str]) -> bytes:
    """Return the file of two parts.

    Args:
        front: file of the front.
        rest: file of the rest.
        read: names of the whole numbers that the rest reads, and of the operations that make them.
    """
    first, whole = unpack(front, "front"), unpack(rest, "rest")
    own, graph = first.subgraphs[0], whole.subgraphs[0]
    codes, buffers = len(whole.operatorCodes), len(whole.buffers)
    whole.operatorCodes += first.operatorCodes
    whole.buffers += first.buffers
    given, made = _places(first)
    inputs, outputs = _places(whole)
    # The tensors of the rest that are those of the front.
    places = {place: inputs[name] for name, place in given.items() if name in inputs}
    again: dict[int, int] = {}
    for name, maker in read.items():
        graph.tensors[inputs[name]].name = maker.encode()
        if (place := places.setdefault(made[name], inputs[name])) != inputs[name]:
            again[inputs[name]] = place
    for place, tensor in enumerate(own.tensors):
        if place not in places:
            places[place] = len(graph.tensors)
            tensor.buffer += buffers
            graph.tensors.append(tensor)
    for operator in own.operators:
        operator.opcodeIndex += codes
        operator.inputs = [places.get(int(place), -1) for place in operator.inputs]
        operator.outputs = [places[int(place)] for place in operator.outputs]
    for operator in graph.operators:
        operator.inputs = [again.get(int(place), int(place)) for place in operator.inputs]
    graph.operators = [*own.operators, *graph.operators]
    inputs = {name: place for name, place in inputs.items() if name not in read}
    inputs |= {name: places[place] for name, place in given.items()}
    outputs |= {name: places[place] for name, place in made.items() if name not in read}
    signature = whole.signatureDefs[0]
    signature.inputs, signature.outputs = list(_entries(inputs)), list(_entries(outputs))
    graph.inputs, graph.outputs = list(inputs.values()), list(outputs.values())
    return pack(whole)


def _places(file: ModelT) -> tuple[dict[str, int], dict[str, int]]:
    """The numbers of a file's inputs and outputs by name."""
    signature = file.signatureDefs[0]
    return tuple(
        {entry.name.decode(): int(entry.tensorIndex) for entry in entries}  # type: ignore[return-value]
        for entries in (signature.inputs, signature.outputs)
    )


def _entries(places: Mapping[str, int]) -> Iterator[Any]:
    """Entries of a signature."""
    from ai_edge_litert import schema_py_generated as schema

    for name, place in places.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), place
        yield entry
