"""A graph in two parts: what makes whole numbers, and the rest, which is calibrated.

The converter quantizes whatever it has measured. Ids that are computed in floats, as by a sum, a stride or a modulus,
would be rounded to steps, and be other ids; and in int16 it fails on the integers that it has not measured. So what
makes them is converted in floats and integers as they are, and its file is joined to that of the rest.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tfsep._flatbuffer.reader import pack, unpack
from tfsep._flatbuffer.schema_types import ModelT, OperatorT
from tfsep._keras.backend import tf
from tfsep.tflite._float_operators import in_float32
from tfsep.tflite._graph_corrections import inference_graph
from tfsep.tflite._whole_numbers import WholeNumbers, is_whole


class Parts(NamedTuple):
    """A function in two parts, each of which may read what the other makes.

    Attributes:
        ids: concrete function that makes whole numbers of inputs and of what the rest gives, all of them by name.
        rest: concrete function from inputs and whole numbers to outputs by name; None where the other part is all.
        read: names of the whole numbers that the rest reads, and of the operations that make them; the others are
            outputs of the whole.
        given: names of the outputs of the rest that the other part reads, and of the operations that make them; these
            are none of the whole.
        measured: concrete function from inputs to the whole numbers that the rest reads.
    """

    ids: Any
    rest: Any
    read: dict[str, str]
    given: dict[str, str]
    measured: Any

    def inputs_of(self, samples: Callable[[], Iterator[dict[str, np.ndarray]]]) -> Iterator[dict[str, np.ndarray]]:
        """Yield the inputs of the rest, of each of some samples."""
        for sample in samples():
            inputs = {name: tf.constant(array) for name, array in sample.items()}
            made = self.measured(**_chosen(self.measured, inputs))
            yield _chosen(self.rest, sample | {name: made[name].numpy() for name in self.read})


def parts(function: Any, specs: Mapping[str, tf.TensorSpec], ids: Container[str]) -> Parts | None:
    """Return a concrete function in two parts; None where no whole numbers are to be computed.

    Args:
        function: a concrete function with named inputs, and a dict of outputs.
        specs: the inputs by name.
        ids: names of the inputs in floats that hold ids.
    """
    if any(x.dtype == tf.resource for x in function.captured_inputs):
        return None
    inputs, outputs = dict(zip(sorted(specs), function.inputs, strict=False)), function.structured_outputs
    given_ids = [x for name, x in inputs.items() if is_whole(x) or name in ids]
    numbers = WholeNumbers(function.graph, given_ids, function.inputs[len(inputs) :])
    makers = numbers.makers(outputs.values())
    if all(operation.type == "Identity" for operation in makers):
        return None
    made = {name: x for name, x in outputs.items() if x.op in makers}
    behind = {name: x for name, x in outputs.items() if name not in made}
    given = numbers.read_by(makers)
    whole = [x for operation in makers for x in operation.outputs if is_whole(x)]
    if not all(x.shape.is_fully_defined() for x in (*given, *whole)):
        return None  # a file's inputs have static shapes
    if not behind and not given:
        return Parts(function, None, {}, {}, None)
    taken = (*specs, *outputs)
    reals, wholes = _named("given", given, taken), _named("whole", whole, taken)
    rest = _part(function, {**inputs, **wholes}, {**behind, **reals})
    read = _chosen(rest, wholes)
    first = _part(function, {**inputs, **reals}, {**made, **read})
    unread = inputs.keys() - _chosen(first, inputs).keys() - _chosen(rest, inputs).keys()
    if unread:  # inputs of the file all the same
        rest = _part(function, {**inputs, **wholes}, {**behind, **reals}, unread)
    return Parts(
        first,
        rest,
        {name: x.op.name for name, x in read.items()},
        {name: x.op.name for name, x in reals.items()},
        _part(function, inputs, read),
    )


def _named(prefix: str, tensors: Iterable[Any], taken: Iterable[str]) -> dict[str, Any]:
    """Tensors by names that are not taken."""
    while any(name.startswith(prefix) for name in taken):
        prefix += "_"
    return {f"{prefix}_{number}": x for number, x in enumerate(tensors)}


def _part(function: Any, given: Mapping[str, Any], wanted: Mapping[str, Any], unread: Iterable[str] = ()) -> Any:
    """The concrete function from some tensors to others, and from those that it does not read but takes."""
    names = {x.ref(): name for name, x in given.items()}
    # Tensors of the code around a model, such as the positions of its tokens, are constants.
    captured = function.captured_inputs
    first = len(function.inputs) - len(captured)
    around = {x.ref(): value for x, value in zip(function.inputs[first:], captured, strict=True)}
    constants = dict[str, np.ndarray]()
    needed, read, waiting = set[str](), set[str](), list(wanted.values())
    while waiting:
        x = waiting.pop()
        if x.ref() in names:
            read.add(names[x.ref()])
        elif x.ref() in around:
            constants[x.name] = around[x.ref()].numpy()
        elif x.op.name not in needed:
            needed.add(x.op.name)
            waiting += x.op.inputs
    definition = inference_graph(function)
    nodes = [node for node in definition.node if node.name in needed]
    del definition.node[:]
    definition.node.extend(nodes)

    def run(**inputs: Any) -> dict[str, Any]:
        known = {given[name].name: inputs[name] for name in read.difference(unread)}
        known |= {name: tf.constant(value) for name, value in constants.items()}
        results = [x.name for x in wanted.values()]
        made = tf.graph_util.import_graph_def(definition, input_map=known, return_elements=results, name="")
        return dict(zip(wanted, made, strict=True))

    specs = {name: tf.TensorSpec(given[name].shape, given[name].dtype, name) for name in sorted(read.union(unread))}
    return tf.function(run, autograph=False).get_concrete_function(**specs)


def _chosen(function: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a function takes."""
    return {name: value for name, value in values.items() if name in function.structured_input_signature[1]}


def joined(ids: bytes, rest: bytes, found: Parts) -> bytes:
    """Return the file of two parts.

    Args:
        ids: file of the part that makes whole numbers.
        rest: file of the rest.
        found: the parts.
    """
    first, whole = unpack(ids, "ids"), unpack(rest, "rest")
    own, graph = first.subgraphs[0], whole.subgraphs[0]
    codes, buffers = len(whole.operatorCodes), len(whole.buffers)
    whole.operatorCodes += first.operatorCodes
    whole.buffers += first.buffers
    taken, made = _places(first)
    inputs, outputs = _places(whole)
    # Of equal tensors, which are one in the file, the first names it.
    for name, maker in reversed((found.read | found.given).items()):
        graph.tensors[{**inputs, **outputs}[name]].name = maker.encode()
    # The tensors of the rest that are those of the other part.
    places, conversions = dict[int, int](), list[OperatorT]()
    for name, place in taken.items():
        if name in found.given:
            places[place], conversion = in_float32(whole, outputs[name])
            conversions += conversion
        elif name in inputs:
            places[place] = inputs[name]
    again: dict[int, int] = {}
    for name in found.read:
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
    graph.operators = _in_order([*own.operators, *conversions, *graph.operators])
    inputs = {name: place for name, place in inputs.items() if name not in found.read}
    inputs |= {name: places[place] for name, place in taken.items() if name not in found.given}
    outputs = {name: place for name, place in outputs.items() if name not in found.given}
    outputs |= {name: places[place] for name, place in made.items() if name not in found.read}
    signature = whole.signatureDefs[0]
    signature.inputs, signature.outputs = list(_entries(inputs)), list(_entries(outputs))
    graph.inputs, graph.outputs = list(inputs.values()), list(outputs.values())
    return pack(whole)


def _in_order(operators: list[OperatorT]) -> list[OperatorT]:
    """Operators in an order in which each reads what others in front of it have made."""
    missing = {int(place) for operator in operators for place in operator.outputs}
    ordered: list[OperatorT] = []
    while operators:
        later = []
        for operator in operators:
            if missing.isdisjoint(map(int, operator.inputs)):
                ordered.append(operator)
                missing.difference_update(map(int, operator.outputs))
            else:
                later.append(operator)
        operators = later
    return ordered


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
