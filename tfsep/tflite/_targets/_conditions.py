"""Conditions of rules: each is true of an operator that meets it."""

from math import prod

from tfsep.tflite._targets._node import Condition, Node


def where(fits: Condition, holds: Condition) -> Condition:
    """`holds`, for operators that `fits` is true of; true for others."""
    return lambda node: not fits(node) or holds(node)


def types_among(*types: str) -> Condition:
    """Activations of these types only."""
    return lambda node: node.types <= set(types)


def version_at_most(version: int) -> Condition:
    """An operator version of at most this."""
    return lambda node: node.row.version <= version


def strides_at_most(most: int) -> Condition:
    """Strides of at most this in rows and columns."""
    return lambda node: max(node.strides) <= most


def strides_at_most_or_valid(most: int) -> Condition:
    """Strides of at most this, or neither padding nor dilation."""
    return lambda node: max(node.strides) <= most or (node.rates == (1, 1) and node.is_valid)


def pool_at_most_or_valid(most: int) -> Condition:
    """A pool of at most this in rows and columns, or no padding."""
    return lambda node: max(node.pair("filterHeight", "filterWidth")) <= most or node.is_valid


def constants_at(*places: int) -> Condition:
    """Constants as inputs at these places."""
    return lambda node: all(node.is_constant(place) for place in places)


def inputs_between(least: int, most: int) -> Condition:
    """So many inputs."""
    return lambda node: least <= len(node.inputs) <= most


def outputs_between(least: int, most: int) -> Condition:
    """So many outputs."""
    return lambda node: least <= len(node.outputs) <= most


def rank_at_most(most: int) -> Condition:
    """Inputs and outputs of at most so many dimensions."""
    return lambda node: all(len(tensor.shape) <= most for tensor in (*node.inputs, *node.outputs) if tensor is not None)


def sizes_given(place: int) -> Condition:
    """Positive numbers, where the file stores sizes at this place."""
    return lambda node: min(node.settings.get(place, ()), default=1) > 0


def option_is(name: str, value: float) -> Condition:
    """An option of this value."""
    return lambda node: node.row.options.get(name, value) == value


def product_within(least: float, most: float) -> Condition:
    """A product of the scales of quantized inputs within these multiples of the output's scale."""

    def holds(node: Node) -> bool:
        out = node.outputs[0].scales if node.outputs else ()
        steps = [tensor.scales[0] for tensor in node.inputs if tensor is not None and tensor.scales]
        return not out or least <= prod(steps) / out[0] < most

    return holds


def slopes_within(least: float, most: float) -> Condition:
    """Scales of a quantized leaky rectifier, on both sides of zero, within these multiples of the output's."""

    def holds(node: Node) -> bool:
        if not node.quantized or node.image is None or not (node.image.scales and node.outputs[0].scales):
            return True
        ratio = node.image.scales[0] / node.outputs[0].scales[0]
        return all(least <= abs(slope) <= most for slope in (ratio, ratio * node.row.options.get("alpha", 1.0)))

    return holds


def scales_within(least: float, most: float) -> Condition:
    """Scales of quantized inputs within these multiples of the output's."""

    def holds(node: Node) -> bool:
        out = node.outputs[0].scales if node.outputs else ()
        steps = [tensor.scales[0] for tensor in node.inputs if tensor is not None and tensor.scales]
        return not out or all(least <= step / out[0] < most for step in steps)

    return holds


def rank_among(*ranks: int) -> Condition:
    """A first input of one of these numbers of dimensions."""
    return lambda node: (tensor := node.tensor(0)) is None or len(tensor.shape) in ranks


def channels_per_group_of(multiple: int) -> Condition:
    """Input and output channels of a group that are multiples of this, where there are groups."""

    def holds(node: Node) -> bool:
        weights, groups = node.tensor(1), node.groups
        if weights is None or groups == 1:
            return True
        return weights.shape[-1] % multiple == 0 and (weights.shape[0] // groups) % multiple == 0

    return holds


def has_bias(node: Node) -> bool:
    """A bias."""
    return node.tensor(2) is not None


def one_rate(node: Node) -> bool:
    """Equal rates in rows and columns."""
    return node.rates[0] == node.rates[1]


def no_rate(node: Node) -> bool:
    """No dilation."""
    return node.rates == (1, 1)


def no_multiplier(node: Node) -> bool:
    """A depth multiplier of one."""
    return node.row.options.get("depthMultiplier", 1) == 1


def batch_of_one(node: Node) -> bool:
    """A batch of one in inputs and outputs that are images."""
    images = (tensor for tensor in (node.image, *node.outputs) if tensor is not None and len(tensor.shape) == 4)
    return all(tensor.shape[0] == 1 for tensor in images)


def not_dynamic(node: Node) -> bool:
    """Weights in floats where activations are in floats."""
    weights = node.tensor(1)
    return node.quantized or weights is None or weights.dtype not in ("int8", "uint8", "int4")


def mixed(node: Node) -> bool:
    """Weights of another type than the activations, or of float16."""
    return not not_dynamic(node) or any(tensor is not None and tensor.dtype == "float16" for tensor in node.inputs)


def quantized(node: Node) -> bool:
    """Activations in 8-bit integers."""
    return node.quantized


def not_quantized(node: Node) -> bool:
    """No activations in 8-bit integers."""
    return not node.quantized


def same_scales(node: Node) -> bool:
    """The same scales of input and output."""
    return node.image is None or not node.outputs or node.image.scales == node.outputs[0].scales


def same_quantization(node: Node) -> bool:
    """The same scales and zero points of input and output."""
    return same_scales(node) and (
        node.image is None or not node.outputs or node.image.zero_points == node.outputs[0].zero_points
    )


def one_quantization(node: Node) -> bool:
    """The same scale and zero point of all quantized inputs and outputs."""
    tensors = (tensor for tensor in (*node.inputs, *node.outputs) if tensor is not None and tensor.scales)
    return len({(tensor.scales, tensor.zero_points) for tensor in tensors}) <= 1


def floats_or_one_type(node: Node) -> bool:
    """Floats, or integers of the same type, into 8-bit integers."""
    given = node.tensor(0)
    return given is None or given.dtype == "float32" or not node.outputs or given.dtype == node.outputs[0].dtype


def symmetric_second(node: Node) -> bool:
    """A second input whose zero point is 0, where it is quantized."""
    second = node.tensor(1)
    return second is None or not any(second.zero_points)


def dense_weights(node: Node) -> bool:
    """Weights that are not sparse."""
    weights = node.tensor(1)
    return weights is None or weights.density is None


def not_flattened(node: Node) -> bool:
    """A shape of more than one open size."""
    return node.settings.get(1) != (-1,)


def pools_touch(node: Node) -> bool:
    """A stride of at most the pool, and a pool of more than one pixel where there is a stride."""
    pool = node.pair("filterHeight", "filterWidth")
    within = all(stride <= side for stride, side in zip(node.strides, pool, strict=True))
    return within and (pool != (1, 1) or node.strides == (1, 1))


def strides_one_or_two(node: Node) -> bool:
    """Strides of 1×1 or 2×2."""
    return node.strides in ((1, 1), (2, 2))


def plain_slice(node: Node) -> bool:
    """A slice of each axis without steps that keeps all axes."""
    masks = ("shrinkAxisMask", "newAxisMask", "ellipsisMask")
    return not any(node.row.options.get(mask, 0) for mask in masks) and set(node.settings.get(3, ())) <= {1}


def over_image(node: Node) -> bool:
    """A reduction over all of an image or a sequence, but not its channels."""
    rank = 0 if node.image is None else len(node.image.shape)
    return rank in (3, 4) and {axis % rank for axis in node.settings.get(1, ())} == set(range(1, rank - 1))


def in_real_numbers(node: Node) -> bool:
    """Floats or quantized numbers, not only indices, shapes or booleans."""
    return bool(node.types)


def left_in_floats(node: Node) -> bool:
    """Floats in a file of 8-bit integers: the converter has no integer form of it, or of a neighbour."""
    return node.in_integers and "float32" in node.types


def is_output(node: Node) -> bool:
    """An output of the file."""
    return node.is_output


def ranks_alike(node: Node) -> bool:
    """An output that is flattened but for its last axis."""
    return not node.row.options.get("keepNumDims", False)


def activation_among(*numbers: int) -> Condition:
    """A fused activation with one of the schema's numbers; 0 is none."""
    return lambda node: node.row.options.get("fusedActivationFunction", 0) in numbers


def never(node: Node) -> bool:
    """No operator."""
    del node
    return False


def always(node: Node) -> bool:
    """Every operator."""
    del node
    return True
