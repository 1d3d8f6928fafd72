"""Networks of convolutions one behind the other: what a source has of each, and what of a model takes it.

A stage is a convolution or dense layer with the batch normalization behind it. Sources and models say the same in
different ways: a source may have its normalization folded into a bias, and count another epsilon into the variance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tfsep._keras.backend import keras
from tfsep._keras.model_graph import leaf_layers, require_model
from tfsep.defs import LayerDef
from tfsep.defs._layer_def import LayerKind
from tfsep.defs._padding import padding_of
from tfsep.geometry import Padding, Window
from tfsep.layers import Conv2D, DepthwiseConv2D
from tfsep.layers._batch_normalization import scale_and_shift

Array = np.ndarray


class Normalization(NamedTuple):
    """A batch normalization: ``gamma · (x − mean) / √(variance + epsilon) + beta``, each (F,)."""

    gamma: Array
    beta: Array
    mean: Array
    variance: Array
    epsilon: float


class Stage(NamedTuple):
    """What a source has of one stage.

    Attributes:
        name: in the source.
        kernel: (kh, kw, C, F), a dense layer's (1, 1, C, F), or a depthwise one (kh, kw, C, M).
        depthwise: which of the two.
        bias: (F,), or None.
        normalization: or None, where there is none or it is folded in.
    """

    name: str
    kernel: Array
    depthwise: bool
    bias: Array | None = None
    normalization: Normalization | None = None

    @property
    def channels(self) -> int:
        """The number of results, F or C·M."""
        return self.kernel.shape[2] * self.kernel.shape[3] if self.depthwise else self.kernel.shape[3]


@dataclass(frozen=True)
class Target:
    """What a model has of one stage: a convolution or dense layer, and what stands behind it."""

    layer: Any
    normalization: Any = None
    activation: Any = None

    @property
    def depthwise(self) -> bool:
        """Whether each channel has filters of its own."""
        return isinstance(self.layer, DepthwiseConv2D)

    @property
    def definition(self) -> LayerDef:
        """The layer as a definition has it."""
        if isinstance(self.layer, keras.layers.Dense):
            return LayerDef(self.layer.name, "conv2d", (1, 1), (1, 1), (1, 1), self.layer.units)
        kind: LayerKind = "depthwise_conv2d" if self.depthwise else "conv2d"
        depth = None if self.depthwise else self.layer.filters
        window = self.layer.window
        return LayerDef(self.layer.name, kind, window.kernel, window.strides, window.rate, depth)

    def pads_as(self, padding: Padding) -> bool:
        """Whether the layer pads so, on images of the size that it takes where that is known."""
        if isinstance(self.layer, keras.layers.Dense):
            return True
        window, shape = self.layer.window, self.layer.input.shape
        size = tuple(shape[1:3] if self.layer.channel_axis == -1 else shape[2:4])
        if None in size:
            if (1, 1) not in (window.strides, window.kernel):
                return bool(window.padding == padding)
            size = window.effective_kernel  # of which no padding depends then
        return bool(window.pads(size) == Window(window.kernel, window.strides, padding, window.rate).pads(size))


def targets_of(model: Any) -> list[Target]:
    """Return the stages of a model in their order.

    Raises:
        TypeError: if it is no Keras model.
        ValueError: for a layer with weights that is none of a stage.
    """
    require_model(model)
    found: list[Target] = []
    for layer in leaf_layers(model):
        match layer:
            case Conv2D() | DepthwiseConv2D() | keras.layers.Dense():
                found.append(Target(layer))
            case keras.layers.BatchNormalization() if found and found[-1].normalization is None:
                found[-1] = Target(found[-1].layer, layer)
            case keras.layers.Activation() | keras.layers.ReLU() if found and found[-1].activation is None:
                found[-1] = Target(found[-1].layer, found[-1].normalization, layer)
            case _ if layer.weights:
                raise ValueError(
                    "model: expected convolutions, depthwise ones, dense layers and a batch normalization behind each, "
                    f"got {type(layer).__name__} {layer.name!r}"
                )
    return found


def require_padding(targets: Sequence[Target], rule: str, source: str) -> None:
    """Raise unless a model pads by the rule of its weights' source.

    Raises:
        ValueError: if a layer pads otherwise.
    """
    for target in targets:
        if not target.pads_as(padding_of(target.definition, rule)):
            raise ValueError(
                f"model: expected one that pads as {source} does, MobileNetV1(padding={rule!r}), got padding "
                f"{target.layer.padding!r} in {target.layer.name!r}"
            )


def fill(model: Any, targets: Sequence[Target], stages: Sequence[Stage], argument: str, source: Any) -> None:
    """Give a model a source's weights, all of them or none.

    Args:
        model: of the targets.
        targets, stages: in the same order.
        argument: what brought the source, for errors.
        source: what they call it.

    Raises:
        ValueError: if the stages are not the model's; what does not fit is listed.
    """
    values: list[tuple[Any, Array]] = []
    problems = []
    if len(stages) != len(targets):
        problems.append(f"{len(stages)} layers with kernels for {len(targets)}")
    for stage, target in zip(stages, targets, strict=False):
        try:
            values += _values(stage, target)
        except _UnfitError as error:
            problems.append(f"{stage.name} for {target.layer.name}: {error}")
    if problems:
        listed = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
        raise ValueError(f"{argument}: expected weights of {model.name!r}, got {source} with {listed}")
    for variable, value in values:
        variable.assign(value)


class _UnfitError(Exception):
    """A stage that is not a target's."""


def _values(stage: Stage, target: Target) -> list[tuple[Any, Array]]:
    """The variables of a target and what they become."""
    _require_fit(stage, target)
    layer, own = target.layer, target.normalization
    kernel, normalization = stage.kernel, stage.normalization
    bias = np.zeros(stage.channels) if stage.bias is None else stage.bias
    values: list[tuple[Any, Array]] = []
    if own is not None:
        if normalization is None:
            normalization = _identity(bias, own.epsilon)
        elif layer.bias is None:
            normalization = normalization._replace(mean=normalization.mean - bias)
        parts = _rescaled(normalization, own.epsilon)[:4]
        values += zip((own.gamma, own.beta, own.moving_mean, own.moving_variance), parts, strict=True)
    elif normalization is not None:
        kernel, bias = _folded(stage, normalization, bias)
    if layer.bias is not None:
        taken = own is not None and stage.normalization is None
        values.append((layer.bias, np.zeros_like(bias) if taken else bias))
    elif own is None and bias.any():
        raise _UnfitError("a bias, where the model has none")
    return [*values, (layer.kernel, kernel.reshape(layer.kernel.shape))]


def _require_fit(stage: Stage, target: Target) -> None:
    own = target.normalization
    if own is not None and stage.normalization is None and stage.bias is None:
        raise _UnfitError("neither a normalization nor a bias, where the model has a normalization")
    if own is not None and not (own.scale and own.center):
        raise _UnfitError(f"no normalization with gamma and beta in the model, but {own.name!r}")
    if stage.depthwise != target.depthwise:
        kinds = {True: "depthwise", False: "full"}
        raise _UnfitError(f"a {kinds[stage.depthwise]} kernel for a {kinds[target.depthwise]} one")
    wanted = tuple(target.layer.kernel.shape)
    wanted = (1, 1, *wanted) if len(wanted) == 2 else wanted
    if stage.kernel.shape != wanted:
        raise _UnfitError(f"kernel {stage.kernel.shape} for {wanted}")
    vectors = [v for v in (stage.bias, *(stage.normalization or ())[:4]) if v is not None]
    for vector in vectors:
        if vector.shape != (stage.channels,):
            raise _UnfitError(f"a vector of shape {vector.shape} for {stage.channels} channels")
    if not all(np.isfinite(array).all() for array in (stage.kernel, *vectors)):
        raise _UnfitError("NaN or infinity")
    if stage.normalization is not None and stage.normalization.variance.min(initial=0) < 0:
        raise _UnfitError("a variance under zero")


def _identity(bias: Array, epsilon: float) -> Normalization:
    """A normalization that adds a bias and changes nothing else; its variance is 1, which training may move from."""
    ones, zeros = np.ones(len(bias)), np.zeros(len(bias))
    return Normalization(ones * np.sqrt(1 + epsilon), bias, zeros, ones, epsilon)


def _rescaled(own: Normalization, epsilon: float) -> Normalization:
    """The same normalization with another epsilon, by another gamma."""
    if own.epsilon == epsilon:
        return own
    variance = own.variance.astype("float64")
    factor = np.sqrt((variance + epsilon) / (variance + own.epsilon))
    return own._replace(gamma=own.gamma * factor, epsilon=epsilon)


def _folded(stage: Stage, own: Normalization, bias: Array) -> tuple[Array, Array]:
    """Kernel and bias with the normalization behind them taken in."""
    scale, shift = scale_and_shift(own.gamma, own.beta, own.mean, own.variance.astype("float64"), own.epsilon)
    channel_scale = scale.reshape(stage.kernel.shape[2:]) if stage.depthwise else scale
    return stage.kernel * channel_scale, bias * scale + shift
