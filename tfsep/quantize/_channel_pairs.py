"""Pairs of operations with weights between which each channel may have a scale of its own."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from tfsep._keras.model_graph import Call, NamedCall, calls_behind
from tfsep._keras.types import Layer, Model, Shape
from tfsep.layers._kernel_spec import DEPTHWISE_AXES, TRANSPOSED_AXES
from tfsep.layers._layer_kinds import LayerKind, kind_of
from tfsep.quantize._activation_quantizer import ActivationQuantizer
from tfsep.quantize._quantized_average_pooling import QuantizedAveragePooling
from tfsep.quantize._quantized_matmul import QuantizedMatmul
from tfsep.surgery._channel_affine import ChannelAffine, Obstacle, is_transparent, through
from tfsep.surgery._foldable import sees_zeros

_HOMOGENEOUS = ("rectifier", "leaky_relu", "mean", "bilinear", "requantize")
"""Operations that a positive factor of each channel passes, and a summand perhaps not."""


@dataclass(frozen=True)
class Path:
    """The way from a result to an operation with weights that takes it.

    Attributes:
        layer: the operation's layer.
        shape: the shape of its input.
        links: the layers on the way, each with its call; None in place of a layer for one of `_HOMOGENEOUS`.
    """

    layer: QuantizedMatmul
    shape: Shape = ()
    links: tuple[tuple[Layer | None, NamedCall], ...] = ()

    def arriving(self, affine: ChannelAffine) -> ChannelAffine:
        """Return what a scale and a shift of the result are at the operation.

        Raises:
            Obstacle: if they do not get there, or the shift would be another one in each result of the operation.
        """
        for layer, call in self.links:
            if layer is not None:
                affine = through(layer, call, affine, forward=True)
            elif np.any(affine.shift):
                raise Obstacle("the shift does not pass")
        if np.any(affine.shift):
            own, kind = self.layer.layer, _kind(self.layer)
            if kind.transposed or sees_zeros(own, kind, self.shape) or not _takes_constant(self.layer):
                raise Obstacle("the shift is no constant there")
        return affine


@dataclass(frozen=True)
class Member:
    """A quantized result whose channels have the scales of a pair.

    Attributes:
        first: the layer with weights that makes it; None for a sum.
        call: the call of the quantizer that has the result.
        limit: the upper end at which its rectifier saturates; None for none.
        is_rectified: whether there is a rectifier, below which all is 0.
    """

    first: QuantizedMatmul | None
    call: Call
    limit: float | None
    is_rectified: bool


@dataclass(frozen=True)
class ChannelPair:
    """Layers with weights, and all operations that take their results: also with weights.

    Attributes:
        members: the result of a layer; or those of several, and the sums that tie them, as residual blocks do.
        paths: to the operations that take the results.
    """

    members: tuple[Member, ...]
    paths: tuple[Path, ...]

    @property
    def producers(self) -> tuple[QuantizedMatmul, ...]:
        """The layers that make the results."""
        return tuple(member.first for member in self.members if member.first is not None)

    @property
    def first(self) -> QuantizedMatmul:
        """The first layer."""
        return self.producers[0]

    @property
    def call(self) -> Call:
        """The call of the first quantizer."""
        return self.members[0].call

    @property
    def takes_shift(self) -> bool:
        """Whether there is one rectified layer, with weights that add a number to each channel."""
        if len(self.members) > 1 or not self.members[0].is_rectified:
            return False
        normalization = self.first.normalization
        return bool(normalization.center) if normalization is not None else self.first.layer.bias is not None


def channel_pairs(model: Model) -> list[ChannelPair]:
    """Return the pairs of a prepared model, in its order.

    Results that are added are tied: one scale of each channel goes for all that are in a sum, for the sum, and for what
    that is added to. Left out are results that anything else takes, as a function that is no rectifier; outputs of the
    model; and layers that are called twice, have adapted kernels (LoRA), or normalization without a factor, which
    training would undo.
    """
    graph = _Graph(model)
    found, done = [], set[int]()
    for call in graph.calls:
        if graph.producer(call) is None or id(call.outputs[0]) in done:
            continue
        try:
            pair = graph.pair(call)
        except Obstacle:
            continue
        done |= {id(member.call.outputs[0]) for member in pair.members}
        found.append(pair)
    return found


class _Graph:
    """A prepared model's calls, and who takes their results."""

    def __init__(self, model: Model) -> None:
        self.calls = list(calls_behind(model.outputs))
        self._made_by = {id(tensor): call for call in self.calls for tensor in call.outputs}
        self._count = Counter(id(call.operation) for call in self.calls)
        self._outputs = {id(tensor) for tensor in model.outputs}
        self._users: dict[int, list[Call]] = {}
        for call in self.calls:
            for tensor in call.inputs:
                self._users.setdefault(id(tensor), []).append(call)

    def producer(self, call: Call) -> QuantizedMatmul | None:
        """Return the layer with weights whose result a call quantizes; None for another call."""
        if not isinstance(call.operation, ActivationQuantizer):
            return None
        source = self._made_by[id(call.inputs[0])].operation
        return source if isinstance(source, QuantizedMatmul) else None

    def pair(self, call: Call) -> ChannelPair:
        """Return the pair of a layer, of which this call quantizes the result.

        Raises:
            Obstacle: if anything keeps its channels from scales.
        """
        members: dict[int, Member] = {}
        paths: list[Path] = []
        waiting = [call]
        while waiting:
            own = waiting.pop(0)
            if id(own.outputs[0]) not in members:
                members[id(own.outputs[0])] = self._member(own)
                sums = [user for user in self._users.get(id(own.outputs[0]), []) if _is_sum(user)]
                summands = [self._made_by[id(tensor)] for tensor in own.inputs[::2]] if _is_sum(own) else []
                waiting += [*summands, *sums]
                paths += self.paths(own, ())
        return ChannelPair(tuple(members.values()), tuple(paths))

    def _member(self, call: Call) -> Member:
        """The result that a call quantizes, of a layer with weights or a sum."""
        first = self.producer(call)
        if first is not None:
            self.require_plain(first)
            if first.normalization is not None and not first.normalization.scale:
                raise Obstacle("its normalization has no factor")
        elif not _is_sum(call):
            raise Obstacle(f"{call.operation.name!r} is added")
        elif len({tensor.shape[-1] for tensor in (*call.inputs[::2], *call.outputs[:1])}) > 1:
            raise Obstacle(f"{call.operation.name!r} adds one number to all channels")
        fused = call.kwargs["fused_activation"]
        return Member(first, call, 6.0 if fused == "relu6" else call.operation.max_value, fused != "linear")

    def require_plain(self, layer: QuantizedMatmul) -> None:
        """Raise for a layer whose weights are not one call's alone."""
        if self._count[id(layer)] > 1 or getattr(layer.layer, "lora_enabled", False):
            raise Obstacle(f"{layer.name!r} is called twice, or adapted")

    def paths(self, call: Call, links: tuple[tuple[Layer | None, NamedCall], ...]) -> list[Path]:
        """Return the ways on from the first result of a call."""
        tensor = call.outputs[0]
        if id(tensor) in self._outputs:
            raise Obstacle("it is an output")
        found = []
        for user in self._users.get(id(tensor), []):
            layer = user.operation
            if isinstance(layer, QuantizedMatmul):
                self.require_plain(layer)
                found.append(Path(layer, tuple(tensor.shape), links))
                continue
            if _is_sum(user) and not links:
                continue  # a member
            if len([each for each in user.inputs if each.shape != (2,)]) > 1:
                raise Obstacle(f"{layer.name!r} takes others, too")
            named = NamedCall(None, shape=tuple(tensor.shape), result_shape=tuple(user.outputs[0].shape))
            found += self.paths(user, (*links, (self._link(user), named)))
        return found

    def _link(self, call: Call) -> Layer | None:
        """A layer that a scale may pass; None for an operation that only a scale passes."""
        layer = call.operation
        if isinstance(layer, ActivationQuantizer):
            options = call.kwargs["options"] or {}
            is_limited = call.kwargs["fused_activation"] == "relu6" or layer.max_value is not None
            over_channels = len(call.inputs[0].shape) - 1 in options.get("axes", ())
            if call.kwargs["operation"] in _HOMOGENEOUS and not is_limited and not over_channels:
                return None
        inner = layer.layer if isinstance(layer, QuantizedAveragePooling) else layer
        if not is_transparent(inner):
            raise Obstacle(f"{layer.name!r} takes it")
        return inner


def _is_sum(call: Call) -> bool:
    """Whether a call adds two quantized results, or subtracts them."""
    return isinstance(call.operation, ActivationQuantizer) and call.kwargs["operation"] in ("add", "subtract")


def _kind(layer: QuantizedMatmul) -> LayerKind:
    kind = kind_of(layer.layer)
    assert kind is not None
    return kind


def _takes_constant(layer: QuantizedMatmul) -> bool:
    """Whether a constant summand of each result has a weight."""
    return layer.normalization is not None or layer.layer.bias is not None


def change_results(layer: QuantizedMatmul, scale: np.ndarray, shift: np.ndarray) -> None:
    """Multiply a layer's results by factors (F,), and add numbers (F,), in its weights or its normalization's.

    Where the numbers are not all 0, there is a bias, or the normalization's.
    """
    inner, normalization = layer.layer, layer.normalization
    if normalization is None:
        kernel = np.asarray(inner.kernel, "float64")
        inner.kernel.assign(np.asarray(_kind(layer).kernels[0].scaled(kernel, scale)))
        offset = inner.bias
    else:
        normalization.gamma.assign(np.asarray(normalization.gamma, "float64") * scale)
        offset = normalization.beta if normalization.center else None
    if offset is not None:
        offset.assign(np.asarray(offset, "float64") * scale + shift)


def change_inputs(layer: QuantizedMatmul, affine: ChannelAffine) -> None:
    """Multiply what a layer takes by factors (C,), and add numbers (C,), in its weights."""
    inner, kernel, normalization = layer.layer, _kind(layer).kernels[0], layer.normalization
    values = np.asarray(inner.kernel, "float64")
    if np.any(affine.shift):
        constant = kernel.response(values, affine.shift)
        if inner.bias is not None:
            inner.bias.assign(np.asarray(inner.bias, "float64") + constant)
        elif normalization is not None:
            normalization.moving_mean.assign(np.asarray(normalization.moving_mean, "float64") - constant)
    inner.kernel.assign(kernel.scaled_inputs(values, affine.scale))


def is_depthwise(layer: QuantizedMatmul) -> bool:
    """Return whether each channel of a layer's kernel has scales of its own."""
    return _kind(layer).kernels[0].channel_axes == DEPTHWISE_AXES


def input_weights(layer: QuantizedMatmul, factors: np.ndarray) -> np.ndarray:
    """Return for each input channel the largest share that a weight of it has of the largest of its filter.

    Shares, as each filter has a scale of its own.

    Args:
        layer: the layer, with C input channels.
        factors: (C,) or, for flattened pixels, those of each pixel's channels: numbers by which the weights are
            multiplied among which the largest is; 0 for channels that are left out there.
    """
    inner = layer.layer
    kernel = np.abs(np.asarray(inner.kernel, "float64"))
    largest = kernel.max(tuple(range(kernel.ndim - 2)))
    groups = getattr(inner, "groups", 1)
    grouped = largest.reshape(len(largest), groups, -1)
    if _kind(layer).kernels[0].channel_axes == TRANSPOSED_AXES:
        # (F / groups, groups, C / groups)
        return _shares(grouped, np.resize(factors, grouped.shape[1:]), 2).max(0).ravel()
    # (C / groups, groups, F / groups)
    return _shares(grouped, np.resize(factors, (groups, len(grouped))).T[..., None], 0).max(2).T.ravel()


def _shares(numbers: np.ndarray, factors: np.ndarray, axis: int) -> np.ndarray:
    """Each number divided by the largest one along an axis, after factors; itself where all of these are 0."""
    largest = (numbers * factors).max(axis, keepdims=True)
    return numbers / np.where(largest > 0, largest, 1)
