"""What rules ask of an operator, by name: each is true of an operator that the rule does not stop."""

from tfsep.tflite._targets._node import Condition, Node


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


def not_quantized(node: Node) -> bool:
    """It does not compute in 8-bit integers."""
    return not node.quantized


def grid_kept(node: Node) -> bool:
    """What goes in and what comes out are on one grid."""
    return node.image is None or not node.outputs or node.image.scales == node.outputs[0].scales


def strides_one_or_two(node: Node) -> bool:
    """Its strides are 1×1 or 2×2."""
    return node.strides in ((1, 1), (2, 2))


def activation_among(*numbers: int) -> Condition:
    """Its fused activation is one of these of the schema's; 0 is none."""
    return lambda node: node.row.options.get("fusedActivationFunction", 0) in numbers


def never(node: Node) -> bool:
    """No operator of this name."""
    del node
    return False
