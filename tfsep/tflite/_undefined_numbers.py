"""Operators of a file that make NaN or infinity of numbers."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tfsep._flatbuffer.constants import real_numbers
from tfsep._flatbuffer.reader import operator_name, type_name
from tfsep._flatbuffer.schema_types import OperatorT
from tfsep._keras.types import Model
from tfsep._utils.batch_filling import batches
from tfsep.tflite._layer_origins import layer_of_operator
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._real_numbers import TensorPlace

_SMALLEST_FLOAT16 = 2.0**-24


def undefined_operator(
    model: Model, file: LiteRTModel, inputs: Sequence[np.ndarray], numbers: Mapping[TensorPlace, np.ndarray]
) -> str:
    """Return the operator of which NaN or infinity in a file's outputs comes, its layer and the cause, in words.

    Args:
        model: the Keras model.
        file: its file.
        inputs: samples of which the file makes no numbers, in the order of its inputs.
        numbers: the model's numbers in the place of the file's constants.

    Returns:
        The words; empty where an operator of the main graph is not to blame.
    """
    interpreter, graph = file.variant(file.content), file.flatbuffer.subgraphs[0]
    batch, _ = next(batches(inputs, file.batch_size))
    for number, info, array in zip(file.input_tensors, file.inputs, batch, strict=True):
        interpreter.set_tensor(number, info.quantize(array))
    interpreter.invoke()
    maker = {int(number): op for op in graph.operators or [] for number in op.outputs}

    def is_undefined(number: int) -> bool:
        return type_name(graph.tensors[number]) == "float32" and not np.isfinite(interpreter.get_tensor(number)).all()

    made = [number for number in maker if is_undefined(number)]
    # LiteRT's own kernels keep infinity from spreading, which XNNPACK's do not.
    worst = [number for number in made if np.isnan(interpreter.get_tensor(number)).any()] or made
    if not worst:
        return ""
    number = worst[0]
    # What is made of NaN or infinity is not to blame.
    while sources := [int(n) for n in maker[number].inputs if int(n) in made]:
        number = sources[0]
    op = maker[number]
    values = interpreter.get_tensor(number)
    kind = "NaN" if np.isnan(values).any() else "infinity"
    layer = layer_of_operator(model, file.flatbuffer, graph, op)
    lost = next(_lost_numbers(file, op, maker, numbers), None)
    found = f"{kind} of {operator_name(file.flatbuffer, op)} of {layer!r}"
    if lost is None:
        return found
    return (
        f"{found}, as {lost:.3g} in it is under the smallest number of float16, and 0 in the file: give the layer a "
        "larger one, or take recipe 'float32'"
    )


def _lost_numbers(
    file: LiteRTModel, op: OperatorT, maker: Mapping[int, OperatorT], numbers: Mapping[TensorPlace, np.ndarray]
) -> Iterator[float]:
    """The model's numbers that are 0 in float16, of an operator and of those that make its inputs."""
    tensors = file.flatbuffer.subgraphs[0].tensors
    # The epsilon of a normalization is added before its root, and unpacked before that.
    near = [op]
    for _ in range(2):
        near += [maker[int(n)] for each in near for n in each.inputs if int(n) in maker]
    for number in dict.fromkeys(int(n) for each in near for n in each.inputs if n >= 0):
        exact = numbers.get(TensorPlace(0, number))
        if exact is not None and type_name(tensors[number]) == "float16":
            stored = real_numbers(file.flatbuffer, tensors[number])
            lost = np.asarray(exact)[(np.asarray(stored) == 0) & (exact != 0) & (np.abs(exact) < _SMALLEST_FLOAT16)]
            yield from map(float, lost[:1])
