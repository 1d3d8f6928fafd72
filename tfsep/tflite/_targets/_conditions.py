"""What rules ask of an operator, by name: each is true of an operator that the rule does not stop."""

from tfsep.tflite._targets._node import Condition, Node


def where(fits: Condition, holds: Condition) -> Condition:
    """It holds, of operators that this fits; of others nothing is asked."""
    return lambda node: not fits(node) or holds(node)


def types_among(*types: str) -> Condition:
    """It computes in these types only."""
    return lambda node: node.types <= set(types)


def version_at_most(version: int) -> Condition:
    """Its version is no later."""
    return lambda node: node.row.version <= version


def strides_at_most(most: int) -> Condition:
    """Its strides are no larger, in rows and columns."""
    return lambda node: max(node.strides) <= most


def strides_at_most_or_valid(most: int) -> Condition:
    """Its strides are no larger, or it has neither padding nor gaps."""
    return lambda node: max(node.strides) <= most or (node.rates == (1, 1) and node.is_valid)


def pool_at_most_or_valid(most: int) -> Condition:
    """Its pool is no larger in rows and columns, or it has no padding."""
    return lambda node: max(node.pair("filterHeight", "filterWidth")) <= most or node.is_valid


def constants_at(*places: int) -> Condition:
    """These inputs are the file's own."""
    return lambda node: all(node.is_constant(place) for place in places)


def inputs_at_most(most: int) -> Condition:
    """It joins no more tensors."""
    return lambda node: len(node.inputs) <= most


def scales_within(least: float, most: float) -> Condition:
    """Its inputs' steps, where it has any, are within these multiples of its output's."""

    def holds(node: Node) -> bool:
        out = node.outputs[0].scales if node.outputs else ()
        steps = [tensor.scales[0] for tensor in node.inputs if tensor is not None and tensor.scales]
        return not out or all(least <= step / out[0] < most for step in steps)

    return holds


def rank_among(*ranks: int) -> Condition:
    """Its first input has so many dimensions."""
    return lambda node: (tensor := node.tensor(0)) is None or len(tensor.shape) in ranks


def channels_per_group_of(multiple: int) -> Condition:
    """The channels of a group, in and out, are multiples of this, where there are groups."""

    def holds(node: Node) -> bool:
        weights, groups = node.tensor(1), node.groups
        if weights is None or groups == 1:
            return True
        return weights.shape[-1] % multiple == 0 and (weights.shape[0] // groups) % multiple == 0

    return holds


def has_bias(node: Node) -> bool:
    """It has a bias."""
    return node.tensor(2) is not None


def one_rate(node: Node) -> bool:
    """Its rates in rows and columns are equal."""
    return node.rates[0] == node.rates[1]


def no_rate(node: Node) -> bool:
    """It has no gaps."""
    return node.rates == (1, 1)


def no_multiplier(node: Node) -> bool:
    """A depthwise convolution makes one channel of each."""
    return node.row.options.get("depthMultiplier", 1) == 1


def batch_of_one(node: Node) -> bool:
    """What goes in and what comes out have a batch of one, as far as they are images."""
    images = (tensor for tensor in (node.image, *node.outputs) if tensor is not None and len(tensor.shape) == 4)
    return all(tensor.shape[0] == 1 for tensor in images)


def not_dynamic(node: Node) -> bool:
    """Its weights are floats where its activations are."""
    weights = node.tensor(1)
    return node.quantized or weights is None or weights.dtype not in ("int8", "uint8", "int4")


def mixed(node: Node) -> bool:
    """Its weights are of another type than its activations, or float16."""
    return not not_dynamic(node) or any(tensor is not None and tensor.dtype == "float16" for tensor in node.inputs)


def not_quantized(node: Node) -> bool:
    """It does not compute in 8-bit integers."""
    return not node.quantized


def grid_kept(node: Node) -> bool:
    """What goes in and what comes out are on one grid."""
    return node.image is None or not node.outputs or node.image.scales == node.outputs[0].scales


def strides_one_or_two(node: Node) -> bool:
    """Its strides are 1×1 or 2×2."""
    return node.strides in ((1, 1), (2, 2))


def plain_slice(node: Node) -> bool:
    """It takes a range of each axis, without steps, and keeps all axes."""
    masks = ("shrinkAxisMask", "newAxisMask", "ellipsisMask")
    return not any(node.row.options.get(mask, 0) for mask in masks) and set(node.settings.get(3, ())) <= {1}


def over_image(node: Node) -> bool:
    """It goes over all of an image or a sequence, and leaves its channels."""
    rank = 0 if node.image is None else len(node.image.shape)
    return rank in (3, 4) and {axis % rank for axis in node.settings.get(1, ())} == set(range(1, rank - 1))


def in_real_numbers(node: Node) -> bool:
    """It computes floats or numbers on a grid, not indices, shapes or conditions alone."""
    return bool(node.types)


def left_in_floats(node: Node) -> bool:
    """It has floats in a file of 8-bit integers: the converter has no integer form of it, or of one beside it."""
    return node.in_integers and "float32" in node.types


def is_output(node: Node) -> bool:
    """What it computes leaves the file."""
    return node.is_output


def ranks_alike(node: Node) -> bool:
    """Its output is flattened but for the last axis."""
    return not node.row.options.get("keepNumDims", False)


def activation_among(*numbers: int) -> Condition:
    """Its fused activation is one of these of the schema's; 0 is none."""
    return lambda node: node.row.options.get("fusedActivationFunction", 0) in numbers


def never(node: Node) -> bool:
    """No operator of this name."""
    del node
    return False


def always(node: Node) -> bool:
    """Every operator of this name."""
    del node
    return True
