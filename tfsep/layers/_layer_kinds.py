"""One row a kind of layer: its classes, op and kernels, and how it is quantized and exported.

To add a kind of layer, add its op, its layer and its row in `LAYER_KINDS`. These subpackages read the rows:

- `tfsep.cost` counts a layer by `LayerKind.kernels`;
- `tfsep.surgery` folds a batch normalization into the last kernel, by `Kernel.scaled`;
- `tfsep.quantize` computes a kind with ``quantized="operator"`` by `LayerKind.compute`, and shapes its scales, one an
  output channel, by `Kernel.channel_shape`; it replaces a kind with ``quantized="parts"`` by a chain of convolutions,
  one for each of `LayerKind.kernels`, behind zero insertion where it is `LayerKind.transposed`;
- `tfsep.tflite` replaces the method `LayerKind.keras_method` of the Keras class while a model is traced.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np

from tfsep import ops
from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Layer, Tensor, TensorLike
from tfsep.layers._batch_normalization import BatchNormalization
from tfsep.layers._conv1d import Conv1D, DepthwiseConv1D, SeparableConv1D
from tfsep.layers._conv2d import Conv2D, DepthwiseConv2D, SeparableConv2D
from tfsep.layers._conv_transpose import Conv1DTranspose, Conv2DTranspose
from tfsep.layers._convolution_base import Convolution
from tfsep.layers._deform_conv import DeformableConv2D
from tfsep.layers._depthwise_transpose import DepthwiseConv2DTranspose, SeparableConv2DTranspose

STANDARD = (-1,)
"""Channel axes of a kernel (..., C / groups, F), in which each filter sees all channels of its group."""

DEPTHWISE = (-2, -1)
"""Channel axes of a kernel (..., C, M), in which each channel has filters of its own."""

TRANSPOSED = (-2,)
"""Channel axes of a kernel (..., F / groups, C)."""


@dataclass(frozen=True)
class Kernel:
    """A kernel of a layer.

    Attributes:
        name: of the weight, and of the layer's attribute for it.
        channel_axes: axes of output channels: `STANDARD`, `DEPTHWISE` or `TRANSPOSED`.
        op: name of the op in reports of cost; None for the layer's own.
        part: suffix of the layer's name in reports of cost; None for no suffix.
        pointwise: whether it has one tap, and the strides and rate are those of another kernel.
        bias: name of a bias of its own; None if it has none, or the layer's.
    """

    name: str = "kernel"
    channel_axes: tuple[int, ...] = STANDARD
    op: str | None = None
    part: str | None = None
    pointwise: bool = False
    bias: str | None = None

    @property
    def weights(self) -> tuple[str, ...]:
        """The names of the kernel and of its own bias."""
        return (self.name,) if self.bias is None else (self.name, self.bias)

    def channels(self, shape: tuple[int, ...]) -> int:
        """Return the number of output channels, in one group, of a kernel of this shape."""
        return prod(shape[axis] for axis in self.channel_axes)

    def channel_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape in which a vector (F,) broadcasts over a kernel of this shape, in one group.

        Examples:
            >>> Kernel(channel_axes=TRANSPOSED).channel_shape((3, 3, 8, 4))
            (8, 1)
        """
        return tuple(int(shape[axis]) if axis in self.channel_axes else 1 for axis in range(min(self.channel_axes), 0))

    def scaled(self, kernel: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Return the kernel with each output channel multiplied by its element of `scale` (F,).

        Examples:
            >>> Kernel(channel_axes=TRANSPOSED).scaled(np.ones((1, 4)), np.array([1.0, 2.0])).tolist()  # two groups
            [[1.0, 1.0, 2.0, 2.0]]
        """
        if self.channel_axes != TRANSPOSED:
            return kernel * scale.reshape(self.channel_shape(kernel.shape))
        groups = len(scale) // kernel.shape[-2]
        grouped = kernel.reshape(*kernel.shape[:-1], groups, -1) * scale.reshape(groups, -1).T[..., np.newaxis]
        return grouped.reshape(kernel.shape)


@dataclass(frozen=True)
class LayerKind:
    """The facts about a kind of layer.

    Attributes:
        name: of its op in reports of cost.
        keras_class: its class in `keras.layers`, or None.
        tfsep_class: its class in `tfsep.layers`, or None.
        kernels: in the order of application; empty for a layer without matrix products. A batch normalization behind
            the layer folds into the last one.
        op: (x, kernels, strides, padding, rate) → the result, of the Keras class; None if that is never computed here.
        transposed: whether the first kernel is applied once an input position, in place of once an output position.
        corners: pixels that each tap interpolates between; 0 for taps on pixels.
        quantized: ``"operator"`` for one integer operator (of a transposed kind, if the operator has its window),
            ``"parts"`` for a chain of other layers, one a kernel; None for a kind that stays in float32.
        keras_method: the public method of the Keras class that an export replaces by `compute`: ``"convolution_op"``,
            without bias and activation, or ``"call"``; None if the Keras class is exported as it is.
    """

    name: str
    keras_class: type[Layer] | None = None
    tfsep_class: type[Layer] | None = None
    kernels: tuple[Kernel, ...] = ()
    op: Callable[..., Any] | None = None
    transposed: bool = False
    corners: int = 0
    quantized: Literal["operator", "parts"] | None = None
    keras_method: Literal["convolution_op", "call"] | None = None

    @property
    def classes(self) -> tuple[type[Layer], ...]:
        """The classes of this kind."""
        return tuple(each for each in (self.keras_class, self.tfsep_class) if each is not None)

    def compute(self, layer: Layer, x: Tensor, *kernels: TensorLike) -> Tensor:
        """Apply a layer of this kind with the given kernels, without its bias and activation.

        Args:
            layer: of `tfsep.layers`, or of `keras.layers` in channels_last.
            x: tensor of the layer's input shape.
            *kernels: of the shapes of the layer's own.
        """
        if isinstance(layer, Convolution):
            return layer.convolve(x, *kernels)
        if self.op is None:
            raise TypeError(f"layer: expected a kind with an op, got {layer.name!r} ({self.name})")
        options = {}
        if hasattr(layer, "kernel_size"):
            options = {"strides": layer.strides, "padding": layer.padding, "rate": layer.dilation_rate}
        if self.transposed:
            options["output_padding"] = layer.output_padding
        return self.op(x, *kernels, **options)


def _separable(op: str, pointwise_op: str) -> tuple[Kernel, Kernel]:
    return (
        Kernel("depthwise_kernel", DEPTHWISE, op, part="depthwise"),
        Kernel("pointwise_kernel", STANDARD, pointwise_op, part="pointwise", pointwise=True),
    )


_STANDARD, _DEPTHWISE, _TRANSPOSED = ((Kernel(channel_axes=axes),) for axes in (STANDARD, DEPTHWISE, TRANSPOSED))

LAYER_KINDS: tuple[LayerKind, ...] = (
    LayerKind("dense", keras_class=keras.layers.Dense, kernels=_STANDARD, op=tf.linalg.matmul, quantized="operator"),
    LayerKind(
        "conv1d",
        keras_class=keras.layers.Conv1D,
        tfsep_class=Conv1D,
        kernels=_STANDARD,
        op=ops.conv1d,
        quantized="operator",
    ),
    LayerKind(
        "conv2d",
        keras_class=keras.layers.Conv2D,
        tfsep_class=Conv2D,
        kernels=_STANDARD,
        op=ops.conv2d,
        quantized="operator",
        keras_method="convolution_op",
    ),
    LayerKind("conv3d", keras_class=keras.layers.Conv3D, kernels=_STANDARD),
    LayerKind(
        "depthwise_conv1d",
        keras_class=keras.layers.DepthwiseConv1D,
        tfsep_class=DepthwiseConv1D,
        kernels=_DEPTHWISE,
        op=ops.depthwise_conv1d,
        quantized="operator",
        keras_method="call",
    ),
    LayerKind(
        "depthwise_conv2d",
        keras_class=keras.layers.DepthwiseConv2D,
        tfsep_class=DepthwiseConv2D,
        kernels=_DEPTHWISE,
        op=ops.depthwise_conv2d,
        quantized="operator",
        keras_method="call",
    ),
    LayerKind(
        "separable_conv1d",
        keras_class=keras.layers.SeparableConv1D,
        tfsep_class=SeparableConv1D,
        kernels=_separable("depthwise_conv1d", "conv1d"),
        op=ops.separable_conv1d,
        quantized="parts",
        keras_method="call",
    ),
    LayerKind(
        "separable_conv2d",
        keras_class=keras.layers.SeparableConv2D,
        tfsep_class=SeparableConv2D,
        kernels=_separable("depthwise_conv2d", "conv2d"),
        op=ops.separable_conv2d,
        quantized="parts",
        keras_method="call",
    ),
    LayerKind(
        "conv1d_transpose",
        keras_class=keras.layers.Conv1DTranspose,
        tfsep_class=Conv1DTranspose,
        kernels=_TRANSPOSED,
        op=ops.conv1d_transpose,
        transposed=True,
        quantized="parts",
        keras_method="call",
    ),
    LayerKind(
        "conv2d_transpose",
        keras_class=keras.layers.Conv2DTranspose,
        tfsep_class=Conv2DTranspose,
        kernels=_TRANSPOSED,
        op=ops.conv2d_transpose,
        transposed=True,
        quantized="operator",
        keras_method="call",
    ),
    LayerKind("conv3d_transpose", keras_class=keras.layers.Conv3DTranspose, kernels=_TRANSPOSED, transposed=True),
    LayerKind(
        "depthwise_conv2d_transpose",
        tfsep_class=DepthwiseConv2DTranspose,
        kernels=_DEPTHWISE,
        transposed=True,
        quantized="parts",
    ),
    LayerKind(
        "separable_conv2d_transpose",
        tfsep_class=SeparableConv2DTranspose,
        kernels=_separable("depthwise_conv2d_transpose", "conv2d"),
        transposed=True,
        quantized="parts",
    ),
    LayerKind(
        "deformable_conv2d",
        tfsep_class=DeformableConv2D,
        kernels=(Kernel("offset_kernel", op="conv2d", part="offset", bias="offset_bias"), Kernel()),
        corners=4,
    ),
    LayerKind("batch_normalization", keras_class=keras.layers.BatchNormalization, tfsep_class=BatchNormalization),
    LayerKind("group_normalization", keras_class=keras.layers.GroupNormalization),
    LayerKind("layer_normalization", keras_class=keras.layers.LayerNormalization),
    LayerKind("normalization", keras_class=keras.layers.Normalization),
    LayerKind("prelu", keras_class=keras.layers.PReLU),
    LayerKind("embedding", keras_class=keras.layers.Embedding),
)
"""The kinds of layers, one row each."""

_BY_CLASS = {each: kind for kind in LAYER_KINDS for each in kind.classes}


def kind_of(layer: Layer) -> LayerKind | None:
    """Return the row of a layer's class or of its nearest base with a row; None if there is none.

    A class of another subpackage can have its row as the attribute ``layer_kind``.

    Examples:
        >>> kind_of(keras.layers.Conv2D(8, 3)).name, kind_of(keras.layers.Flatten())
        ('conv2d', None)
    """
    own: LayerKind | None = getattr(layer, "layer_kind", None)
    return own or next((_BY_CLASS[base] for base in type(layer).__mro__ if base in _BY_CLASS), None)
