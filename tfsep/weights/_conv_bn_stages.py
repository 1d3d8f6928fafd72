"""Networks as lists of conv–bn stages, and the assignment of a source's stages to a model's.

A stage is a convolution or dense layer, and the batch normalization after it. The list is in the order of computation:
residual additions and the products of gates have no weights, and the convolutions of a gate stand behind the one whose
result it scales. The same stage has different forms: a source may have folded its normalization into a bias, or may add
another epsilon to the variance than the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import NamedTuple

import numpy as np

from tfsep._keras.backend import keras
from tfsep._keras.model_graph import leaf_layers, require_model
from tfsep._keras.types import Layer, Model
from tfsep.defs import LayerDef
from tfsep.defs._layer_def import LayerOp
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


class SourceStage(NamedTuple):
    """The weights of one stage, from any source.

    Attributes:
        name: name of the stage in the source.
        kernel: (kh, kw, C, F); of a dense layer (1, 1, C, F); of a depthwise convolution (kh, kw, C, M).
        depthwise: whether the convolution is depthwise.
        bias: (F,), or None.
        normalization: None if there is none, or if it is folded into kernel and bias.
    """

    name: str
    kernel: Array
    depthwise: bool
    bias: Array | None = None
    normalization: Normalization | None = None

    @property
    def channels(self) -> int:
        """The number of output channels, F or C·M."""
        return self.kernel.shape[2] * self.kernel.shape[3] if self.depthwise else self.kernel.shape[3]


@dataclass(frozen=True)
class ModelStage:
    """The Keras layers of one stage of a model.

    Attributes:
        layer: a convolution or dense layer.
        normalization: the batch normalization after it, or None.
        activation: the activation after them, or None.
    """

    layer: Layer
    normalization: Layer | None = None
    activation: Layer | None = None

    @property
    def depthwise(self) -> bool:
        """Whether the convolution is depthwise."""
        return isinstance(self.layer, DepthwiseConv2D)

    @property
    def definition(self) -> LayerDef:
        """The convolution as a primitive layer of a definition."""
        if isinstance(self.layer, keras.layers.Dense):
            return LayerDef(self.layer.name, "conv2d", (1, 1), (1, 1), (1, 1), self.layer.units)
        op: LayerOp = "depthwise_conv2d" if self.depthwise else "conv2d"
        depth = None if self.depthwise else self.layer.filters
        window = self.layer.window
        return LayerDef(self.layer.name, op, window.kernel, window.strides, window.rate, depth)

    def pads_like(self, padding: Padding) -> bool:
        """Whether the layer pads like this, on images of its input's size if that is known."""
        if isinstance(self.layer, keras.layers.Dense):
            return True
        window, shape = self.layer.window, self.layer.input.shape
        size = tuple(shape[1:3] if self.layer.channel_axis == -1 else shape[2:4])
        if None in size:
            if (1, 1) not in (window.strides, window.kernel):
                return bool(window.padding == padding)
            size = window.effective_kernel  # at stride 1 or with a 1×1 kernel no padding depends on it
        return bool(window.pads(size) == Window(window.kernel, window.strides, padding, window.rate).pads(size))


def stages_of_model(model: Model) -> list[ModelStage]:
    """Return the stages of a model, in order.

    Raises:
        TypeError: if it is no Keras model.
        ValueError: for a layer with weights that belongs to no stage.
    """
    require_model(model)
    found: list[ModelStage] = []
    for layer in leaf_layers(model):
        match layer:
            case Conv2D() | DepthwiseConv2D() | keras.layers.Dense():
                found.append(ModelStage(layer))
            case keras.layers.BatchNormalization() if found and found[-1].normalization is None:
                found[-1] = ModelStage(found[-1].layer, layer)
            case keras.layers.Activation() | keras.layers.ReLU() if found and found[-1].activation is None:
                found[-1] = ModelStage(found[-1].layer, found[-1].normalization, layer)
            case _ if layer.weights:
                raise ValueError(
                    "model: expected convolutions, depthwise ones, dense layers and a batch normalization behind each, "
                    f"got {type(layer).__name__} {layer.name!r}"
                )
    return found


def require_padding(stages: Sequence[ModelStage], rule: str, source: str) -> None:
    """Raise a ValueError for a layer of a model that does not pad by a rule.

    Args:
        stages: stages of the model.
        rule: a key of `tfsep.defs.PADDING_RULES`.
        source: whose weights need this padding, for the message.
    """
    for stage in stages:
        if not stage.pads_like(padding_of(stage.definition, rule)):
            raise ValueError(
                f"model: expected one that pads as {source} does, by padding={rule!r}, got padding "
                f"{stage.layer.padding!r} in {stage.layer.name!r}"
            )


def assign_stages(
    model: Model,
    model_stages: Sequence[ModelStage],
    stages: Sequence[SourceStage],
    argument: str,
    source: str | PathLike[str],
) -> None:
    """Assign the weights of a source to a model: all of them, or none if any does not match.

    Args:
        model: model to assign to.
        model_stages: stages of the model, in order.
        stages: stages of the source, in the same order.
        argument: name of the argument that gave the source, for the message.
        source: name of the source, for the message.

    Raises:
        ValueError: if a stage does not match; the message lists up to three.
    """
    values: list[tuple[keras.Variable, Array]] = []
    problems = []
    if len(stages) != len(model_stages):
        problems.append(f"{len(stages)} layers with kernels for {len(model_stages)}")
    for stage, model_stage in zip(stages, model_stages, strict=False):
        try:
            values += _new_values(stage, model_stage)
        except _MismatchError as error:
            problems.append(f"{stage.name} for {model_stage.layer.name}: {error}")
    if problems:
        listed = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
        raise ValueError(f"{argument}: expected weights of {model.name!r}, got {source} with {listed}")
    for variable, value in values:
        variable.assign(value)


class _MismatchError(Exception):
    """The difference between a stage of the source and the model's."""


def _new_values(stage: SourceStage, model_stage: ModelStage) -> list[tuple[keras.Variable, Array]]:
    """The variables of a stage, each with its new value."""
    _require_match(stage, model_stage)
    layer, own = model_stage.layer, model_stage.normalization
    kernel, normalization = stage.kernel, stage.normalization
    bias = np.zeros(stage.channels) if stage.bias is None else stage.bias
    values: list[tuple[keras.Variable, Array]] = []
    if own is not None:
        if normalization is None:
            normalization = _bias_as_normalization(bias, own.epsilon)
        elif layer.bias is None:
            normalization = normalization._replace(mean=normalization.mean - bias)
        parts = _with_epsilon(normalization, own.epsilon)[:4]
        values += zip((own.gamma, own.beta, own.moving_mean, own.moving_variance), parts, strict=True)
    elif normalization is not None:
        kernel, bias = _fold(stage, normalization, bias)
    if layer.bias is not None:
        taken = own is not None and stage.normalization is None
        values.append((layer.bias, np.zeros_like(bias) if taken else bias))
    elif own is None and bias.any():
        raise _MismatchError("a bias, where the model has none")
    return [*values, (layer.kernel, kernel.reshape(layer.kernel.shape))]


def _require_match(stage: SourceStage, model_stage: ModelStage) -> None:
    own = model_stage.normalization
    if own is not None and stage.normalization is None and stage.bias is None:
        raise _MismatchError("neither a normalization nor a bias, where the model has a normalization")
    if own is not None and not (own.scale and own.center):
        raise _MismatchError(f"no normalization with gamma and beta in the model, but {own.name!r}")
    if stage.depthwise != model_stage.depthwise:
        kinds = {True: "depthwise", False: "standard"}
        raise _MismatchError(f"a {kinds[stage.depthwise]} kernel for a {kinds[model_stage.depthwise]} one")
    wanted = tuple(model_stage.layer.kernel.shape)
    wanted = (1, 1, *wanted) if len(wanted) == 2 else wanted
    if stage.kernel.shape != wanted:
        raise _MismatchError(f"kernel {stage.kernel.shape} for {wanted}")
    vectors = [v for v in (stage.bias, *(stage.normalization or ())[:4]) if v is not None]
    for vector in vectors:
        if vector.shape != (stage.channels,):
            raise _MismatchError(f"a vector of shape {vector.shape} for {stage.channels} channels")
    if not all(np.isfinite(array).all() for array in (stage.kernel, *vectors)):
        raise _MismatchError("NaN or infinity")
    if stage.normalization is not None and stage.normalization.variance.min(initial=0) < 0:
        raise _MismatchError("a variance under zero")


def _bias_as_normalization(bias: Array, epsilon: float) -> Normalization:
    """A normalization that only adds a bias. Its variance is 1, a starting point for further training."""
    ones, zeros = np.ones(len(bias)), np.zeros(len(bias))
    return Normalization(ones * np.sqrt(1 + epsilon), bias, zeros, ones, epsilon)


def _with_epsilon(own: Normalization, epsilon: float) -> Normalization:
    """An equal normalization with another epsilon, and a gamma that makes up for it."""
    if own.epsilon == epsilon:
        return own
    variance = own.variance.astype("float64")
    factor = np.sqrt((variance + epsilon) / (variance + own.epsilon))
    return own._replace(gamma=own.gamma * factor, epsilon=epsilon)


def _fold(stage: SourceStage, own: Normalization, bias: Array) -> tuple[Array, Array]:
    """Kernel and bias with the normalization folded in."""
    scale, shift = scale_and_shift(own.gamma, own.beta, own.mean, own.variance.astype("float64"), own.epsilon)
    channel_scale = scale.reshape(stage.kernel.shape[2:]) if stage.depthwise else scale
    return stage.kernel * channel_scale, bias * scale + shift
