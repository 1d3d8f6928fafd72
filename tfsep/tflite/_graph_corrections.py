"""Corrections of a traced graph, where the converter or a kernel of LiteRT computes something else than TensorFlow.

- One number that is added to a transposed convolution without a bias becomes its bias as it is, of one element in
  place of one for each channel: the converter's own file of `keras.layers.Conv2DTranspose` and ``+ 0.5`` reads past its
  end, or is refused. Such a number is given to the converter once for each channel.
- A unit vector, ``x · min(1 / sqrt(Σ x²), 1 / ε)``, as `keras.ops.normalize` has it, is 0 for a vector of zeros; by
  XNNPACK's kernel of 1 / sqrt it is NaN, and in integers the large number takes up the whole range. It becomes one
  L2_NORMALIZATION, which takes norms under 1e-6 for 1e-6.
- Elsewhere 1 / sqrt(0) becomes the largest number, unless a positive constant in front keeps it from 0.
- ONE_HOT in integers has a scale for each of its two numbers and none for both, so that its zeros are no zeros; and
  counts of ids, as `keras.layers.CategoryEncoding` has them, have no operator. Both become a comparison of the ids with
  all of them, as integers: a float that holds an id would be rounded to a step.
- A bias of the second axis, which Keras makes of a sum with a tensor of that shape, the converter takes to be of (N, C,
  H, W), and stops at other ranks. It becomes the sum. So does a convolution's bias in channels first that Keras takes
  for one of the last axis, as that has the same size: TensorFlow fuses the two in graphs, and so corrects it.
- `keras.ops.argmax` finds by its bits that -0 is less than 0, and no operator reads bits. Both are 0.
"""

import itertools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.tflite._keras_layer_lowering import CHANNELS_FIRST

_SUMS = ("AddV2", "Add", "Sub")
_PASSING = ("Identity", "BiasAdd", *_SUMS, "Mul", "RealDiv", "Reshape", "Squeeze", "ExpandDims")
"""Operations through which the converter may fuse what is behind them into a convolution."""

_RESHAPES = ("Identity", "Reshape", "Squeeze", "ExpandDims")
_ID_TYPES = (tf.float32, tf.float64, tf.int32, tf.int64)
"""Types in which an id is what it was."""

_SMALLEST_NORM = 1e-6
"""LiteRT's L2_NORMALIZATION takes smaller norms for this one."""


class Correction(NamedTuple):
    """What takes the place of an operation.

    Attributes:
        compute: function of the inputs, and of the operation's own result where `behind`.
        inputs: the tensors that it takes.
        behind: whether it takes the result as well.
    """

    compute: Callable[..., Tensor]
    inputs: tuple[Any, ...]
    behind: bool = False


Kind: TypeAlias = Callable[[Any], Correction | None]
"""A function from an operation to its correction, if it needs one."""


def corrected(
    function: Any,
    specs: Mapping[str, tf.TensorSpec],
    kinds: Sequence[Kind] | None = None,
    bodies: Callable[[Any], bool] | None = None,
) -> Any:
    """Return a concrete function with its corrections; the same function where none is needed.

    Args:
        function: a concrete function with named inputs, and a dict of outputs.
        specs: the inputs by name.
        kinds: kinds of corrections; None for those that every recipe needs.
        bodies: corrects the functions inside of the graph's definition, and says whether it did; None for none.
    """
    kinds = kinds or (_broadcast, _channels_first_bias, _unit_vector, _reciprocal_root, _one_hot, _count, _without_sign)
    made = ((operation, kind(operation)) for operation in function.graph.get_operations() for kind in kinds)
    found = {operation.name: correction for operation, correction in made if correction is not None}
    if not found and bodies is None:
        return function
    definition, renamed = inference_graph(function), dict[str, str]()
    if not (bodies is not None and bodies(definition)) and not found:
        return function
    for name, correction in found.items():
        _splice(definition, function.graph.get_operation_by_name(name), correction, renamed)
    captured = function.captured_inputs
    inner = [tensor.name for tensor in function.inputs]
    names = list(function.structured_outputs)
    wanted = [function.structured_outputs[name].name for name in names]

    def run(**inputs: Any) -> dict[str, Any]:
        given = [inputs[name] for name in sorted(specs)]
        # Variables of the file, which the new graph holds as the old one did.
        held = map(tf.compat.v1.get_default_graph().capture, captured)
        known = dict(zip(inner, [*given, *held], strict=True))
        outputs = tf.graph_util.import_graph_def(definition, input_map=known, return_elements=wanted, name="")
        return dict(zip(names, outputs, strict=True))

    return tf.function(run, autograph=False).get_concrete_function(**specs)


def inference_graph(function: Any) -> Any:
    """Return the definition of a concrete function's graph, without gradients of its own.

    The converter saves the gradients that nodes name, and those hold tensors of the graph that they were traced in.

    Args:
        function: the concrete function.
    """
    definition = function.graph.as_graph_def()
    for node in itertools.chain(definition.node, *(inner.node_def for inner in definition.library.function)):
        node.attr.pop("_gradient_op_type", None)
    return definition


def _broadcast(operation: Any) -> Correction | None:
    """A number that is added to a transposed convolution, once for each channel."""
    if operation.type not in _SUMS:
        return None
    tensor, number = operation.inputs
    swapped = operation.type != "Sub" and tensor.shape.num_elements() == 1
    if swapped:
        tensor, number = number, tensor
    channels = tensor.shape[-1] if tensor.shape.rank else None
    if number.shape.num_elements() != 1 or channels in (None, 1) or not is_constant(number):
        return None
    if not _is_behind(tensor, "Conv2DBackpropInput"):
        return None

    def add(tensor: Tensor, number: Tensor) -> Tensor:
        numbers = tf.broadcast_to(tf.reshape(number, [1]), [channels])
        return tensor - numbers if operation.type == "Sub" else tensor + numbers

    return Correction(add, (tensor, number))


def _channels_first_bias(operation: Any) -> Correction | None:
    """A bias of the second axis: of other ranks than 4, and one that Keras takes for one of the last axis."""
    if operation.type != "BiasAdd":
        return None
    tensor, bias = operation.inputs
    rank = tensor.shape.rank
    is_first = operation.get_attr("data_format") == b"NCHW"
    if rank is None or (rank == 4 if is_first else not _is_convolved_first(tensor.op)):
        return None
    return Correction(lambda x, numbers: x + tf.reshape(numbers, [-1] + [1] * (rank - 2)), (tensor, bias))


def _is_convolved_first(operation: Any) -> bool:
    """Whether a tensor is that of a convolution of channels first without gaps, which TensorFlow fuses with a bias."""
    if operation.type == "Transpose" and operation.name.rpartition("/")[-1].startswith(CHANNELS_FIRST):
        operation = operation.inputs[0].op
        operation = operation.inputs[0].op if operation.type == "Squeeze" else operation
    elif operation.type != "Conv2D" or operation.get_attr("data_format") != b"NCHW":
        return False
    return operation.type == "Conv2D" and set(operation.get_attr("dilations")) == {1}


def _unit_vector(operation: Any) -> Correction | None:
    """A product of a tensor and the clipped reciprocal of its norm."""
    if operation.type != "Mul":
        return None
    for x, factor in (operation.inputs, reversed(list(operation.inputs))):
        root = next((each for each in factor.op.inputs if each.op.type == "Rsqrt"), None)
        limit = next((tf.get_static_value(each) for each in factor.op.inputs if each is not root), None)
        if factor.op.type != "Minimum" or root is None or limit is None or np.any(limit < 1 / _SMALLEST_NORM):
            continue
        total = root.op.inputs[0].op
        if total.type != "Sum" or not total.get_attr("keep_dims"):
            continue
        square, axes = total.inputs[0].op, np.ravel(tf.get_static_value(total.inputs[1])).tolist()
        is_square = square.type == "Square" or (square.type == "Mul" and square.inputs[0] is square.inputs[1])
        if is_square and square.inputs[0] is x and x.shape.is_fully_defined():
            return Correction(lambda x, axes=axes: _normalized(x, axes), (x,))
    return None


def _normalized(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Unit vectors along some axes, in the form that the converter knows, of the last one."""
    axes = sorted(axis % x.shape.rank for axis in axes)
    order = [axis for axis in range(x.shape.rank) if axis not in axes] + axes
    if order == sorted(order) and len(axes) == 1:
        return tf.math.l2_normalize(x, -1)
    moved = tf.transpose(x, order)
    shape = moved.shape.as_list()
    flat = tf.reshape(moved, (*shape[: -len(axes)], np.prod(shape[-len(axes) :])))
    return tf.transpose(tf.reshape(tf.math.l2_normalize(flat, -1), shape), np.argsort(order))


def _reciprocal_root(operation: Any) -> Correction | None:
    """A reciprocal of a root of what may be 0."""
    if operation.type == "Rsqrt":
        (x,) = operation.inputs
    elif operation.type == "RealDiv" and operation.inputs[1].op.type == "Sqrt":
        (x,) = operation.inputs[1].op.inputs
    else:
        return None
    if is_constant(x) or not x.dtype.is_floating or _is_above_zero(x):
        return None
    # Infinity would have no scale in integers.
    most = x.dtype.max
    return Correction(lambda x, y: tf.where(tf.equal(x, 0), most, y), (x,), behind=True)


def _is_above_zero(x: Any) -> bool:
    """Whether a constant that is added, or a lower limit, keeps a tensor from 0."""
    constants = [tf.get_static_value(each) for each in x.op.inputs] if x.op.type in ("AddV2", "Add", "Maximum") else []
    return any(value is not None and np.all(value > 0) for value in constants)


def _one_hot(operation: Any) -> Correction | None:
    """A number in floats at the place of an id, and another at all other places."""
    if operation.type != "OneHot" or not operation.outputs[0].dtype.is_floating:
        return None
    ids, depth, *numbers = operation.inputs
    count = tf.get_static_value(depth)
    if count is None or not ids.shape.is_fully_defined():
        return None
    shape, axis = ids.shape.as_list(), operation.get_attr("axis")
    is_plain = [tf.get_static_value(number) for number in numbers] == [1, 0]

    def compute(source: Tensor, on_number: Tensor, off_number: Tensor) -> Tensor:
        zero, one = tf.zeros([], on_number.dtype), tf.ones([], on_number.dtype)
        found = tf.where(_is_elsewhere(source, shape, int(count), axis), zero, one)
        # 0 and 1 are whole steps of 8 bits, other numbers are rounded.
        return found if is_plain else found * (on_number - off_number) + off_number

    return Correction(compute, (_source_of_ids(ids), *numbers))


def _count(operation: Any) -> Correction | None:
    """How often each id is in the last axis, the sum of its weights, or whether it is there."""
    if operation.type != "DenseBincount":
        return None
    (ids, size, weights), is_binary = operation.inputs, operation.get_attr("binary_output")
    count = _static_size(size)
    if count is None or not ids.shape.is_fully_defined():
        return None
    shape, is_weighted = ids.shape.as_list(), weights.shape.num_elements() != 0

    def compute(source: Tensor, weights: Tensor) -> Tensor:
        on = tf.expand_dims(weights, -1) if is_weighted and not is_binary else tf.ones([], weights.dtype)
        found = tf.where(_is_elsewhere(source, shape, count, -1), tf.zeros([], weights.dtype), on)
        return tf.reduce_max(found, -2) if is_binary else tf.reduce_sum(found, -2)

    return Correction(compute, (_source_of_ids(ids), weights))


def _static_size(tensor: Any) -> int | None:
    """A size; None where it depends on samples, as it does between two limits that differ."""
    least, most = _limits(tensor)
    return int(most) if least == most < np.inf else None


def _limits(tensor: Any) -> tuple[float, float]:
    """What a number is between, as far as constants say."""
    value = tf.get_static_value(tensor)
    if value is not None:
        return value, value
    bounds = {"Minimum": min, "Maximum": max}.get(tensor.op.type)
    if bounds is None:
        return -np.inf, np.inf
    lower, upper = zip(*map(_limits, tensor.op.inputs), strict=True)
    return bounds(lower), bounds(upper)


def _is_elsewhere(source: Tensor, shape: Sequence[int], count: int, axis: int) -> Tensor:
    """Where the place along a new axis is not the id, of ids of that shape."""
    ids = tf.expand_dims(tf.reshape(tf.cast(source, tf.int32), shape), axis)
    sides = [1] * len(ids.shape)
    sides[axis] = count
    return tf.not_equal(ids, tf.reshape(tf.range(count), sides))


def _source_of_ids(ids: Any) -> Any:
    """The tensor that holds ids before they are cast and reshaped."""
    while ids.op.type in _RESHAPES or (ids.op.type == "Cast" and ids.dtype in _ID_TYPES):
        ids = ids.op.inputs[0]
    return ids


def _without_sign(operation: Any) -> Correction | None:
    """The least normal number in the place of -0."""
    if operation.type != "SelectV2" or operation.inputs[0].op.type != "LogicalAnd":
        return None
    condition, number, x = operation.inputs
    value = tf.get_static_value(number)
    reads_bits = any(each.op.type == "BitwiseAnd" for test in condition.op.inputs for each in test.op.inputs)
    if value is None or not reads_bits or np.any(value != -np.finfo(value.dtype).tiny):
        return None
    return Correction(tf.identity, (x,))


def _is_behind(tensor: Any, kind: str) -> bool:
    """Whether a tensor is the result of an operation of a kind, or of one that passes it on."""
    while tensor.op.type in _PASSING:
        tensor = max(tensor.op.inputs, key=lambda each: each.shape.num_elements() or 0)
    return bool(tensor.op.type == kind)


def is_constant(tensor: Any) -> bool:
    """Return whether a tensor depends on no input and no variable."""
    return all(operation.inputs or operation.type == "Const" for operation in _operations_behind(tensor))


def _operations_behind(tensor: Any) -> Iterator[Any]:
    """Yield the operations that compute a tensor."""
    waiting, seen = [tensor.op], {tensor.op.name}
    while waiting:
        yield (operation := waiting.pop())
        for each in operation.inputs:
            if each.op.name not in seen:
                seen.add(each.op.name)
                waiting.append(each.op)


def moved_from(tensor: Any, moves: Container[str]) -> Any:
    """Return the tensor whose numbers a tensor has, before operations of some types moved them."""
    while tensor.op.type in moves:
        tensor = tensor.op.inputs[0]
    return tensor


def constant_value(tensor: Any) -> np.ndarray | None:
    """Return what a tensor is; None where it depends on an input or a variable."""
    if not is_constant(tensor):
        return None
    # What computes it, and not the whole graph, which may hold gigabytes.
    graph = tf.compat.v1.GraphDef(node=[operation.node_def for operation in _operations_behind(tensor)])
    if any(value.func.name for node in graph.node for value in node.attr.values()):
        graph.library.CopyFrom(tensor.graph.as_graph_def().library)
    made = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    value: np.ndarray = made.prune([], tensor.name)().numpy()
    return value


def _splice(definition: Any, operation: Any, correction: Correction, renamed: dict[str, str]) -> None:
    """Put a correction in the place of an operation's result; `renamed` has the names of earlier ones."""
    own = operation.outputs[0]
    given = (*correction.inputs, own) if correction.behind else correction.inputs
    with tf.Graph().as_default() as graph:
        places = [tf.compat.v1.placeholder(tensor.dtype, tensor.shape) for tensor in given]
        result = tf.identity(correction.compute(*places))
    prefix, taken = f"{operation.name}/corrected", [node.name for node in definition.node]
    while any(name.startswith(f"{prefix}/") for name in taken):
        prefix += "_"
    names = [renamed.get(tensor.name, tensor.name) for tensor in given]
    sources = {place.op.name: name for place, name in zip(places, names, strict=True)}
    renamed[own.name] = f"{prefix}/{result.op.name}"
    for node in definition.node:
        for place, name in enumerate(node.input):
            if name in (operation.name, own.name):
                node.input[place] = renamed[own.name]
    for node in graph.as_graph_def().node:
        if node.name in sources:
            continue
        copy = definition.node.add()
        copy.CopyFrom(node)
        copy.name = f"{prefix}/{node.name}"
        for place, name in enumerate(node.input):
            copy.input[place] = sources.get(name, f"{prefix}/{name}")
