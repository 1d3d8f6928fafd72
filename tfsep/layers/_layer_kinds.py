"""One row a kind of layer: what counting, folding, quantizing and exporting know about it.

To add a kind of layer, add its op, its layer and its row in `LAYER_KINDS`. These read the rows:

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
        name: of the weight, and of the layer's attribute that holds it.
        channel_axes: the kernel's axes that are output channels: `STANDARD`, `DEPTHWISE` or `TRANSPOSED`.
        op: in reports of cost; None for the op of the layer.
        part: suffix of the layer's name in reports of cost; None for the part that has the layer's own name.
        pointwise: whether it has one tap and leaves the layer's strides and rate to another kernel.
        bias: the name of the weight that is added behind it; None if the layer's own bias is, or none.
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
        """Return the number of output channels of a kernel of this shape, in one group."""
        return prod(shape[axis] for axis in self.channel_axes)

    def channel_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape in which one number an output channel broadcasts over a kernel of this shape, in one group.

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
    """What is known about a kind of layer.

    Attributes:
        name: of its op, in reports of cost.
        keras_class: its class in `keras.layers`; None where Keras has none.
        tfsep_class: its class in `tfsep.layers`; None where there is none.
        kernels: in the order in which they are applied; none of a layer that takes no products of its input. A batch
            normalization behind the layer folds into the last one.
        op: (x, kernels, window's arguments) → the result; None where no Keras layer of this kind is computed by it.
        transposed: whether its first kernel is applied at each input position, and not for each output.
        corners: pixels that each tap interpolates between, 0 where taps see pixels themselves.
        quantized: ``"operator"`` if one integer operator computes it (a transposed one where the operator has its
            window), ``"parts"`` if a chain of other layers does, a layer for each kernel; None if it stays in float32.
        keras_method: the public method of the Keras class that an export replaces by `compute`: ``"convolution_op"``,
            to which Keras's own ``call`` adds bias and activation, or ``"call"``; None if Keras's is left.
    """

    name: str
    keras_class: type | None = None
    tfsep_class: type | None = None
    kernels: tuple[Kernel, ...] = ()
    op: Callable[..., Any] | None = None
    transposed: bool = False
    corners: int = 0
    quantized: Literal["operator", "parts"] | None = None
    keras_method: Literal["convolution_op", "call"] | None = None

    @property
    def classes(self) -> tuple[type, ...]:
        """The classes of this kind."""
        return tuple(each for each in (self.keras_class, self.tfsep_class) if each is not None)

    def compute(self, layer: Any, x: Any, *kernels: Any) -> Any:
        """Return what a layer of this kind makes of x with the given kernels, without its bias and activation.

        Args:
            layer: of `tfsep.layers`, or of Keras, built or not.
            x: of the layer's input shape.
            *kernels: of the shapes of the layer's own.
        """
        if isinstance(layer, Convolution):
            return layer.convolve(x, *kernels)
        if self.op is None:
            raise TypeError(f"layer: expected a kind that an op computes, got {self.name}")
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
"""All kinds that are told apart."""

_BY_CLASS = {each: kind for kind in LAYER_KINDS for each in kind.classes}


def kind_of(layer: Any) -> LayerKind | None:
    """Return the row of the class of a layer, or of the nearest of its bases that has one; None where none has.

    A class of another subpackage can bring its row along, as the attribute ``layer_kind``.

    Examples:
        >>> kind_of(keras.layers.Conv2D(8, 3)).name, kind_of(keras.layers.Flatten())
        ('conv2d', None)
    """
    own: LayerKind | None = getattr(layer, "layer_kind", None)
    return own or next((_BY_CLASS[base] for base in type(layer).__mro__ if base in _BY_CLASS), None)
