"""The kinds of layers, one row each: classes, op and kernels, and how a kind is quantized and exported.

To add a kind of layer, add its op, its layer and its row in `LAYER_KINDS`. These subpackages read the rows:

- `tfsep.cost` counts the weights and products of each of `LayerKind.kernels`;
- `tfsep.surgery` folds a batch normalization into the last kernel, along `KernelSpec.channel_axes`;
- `tfsep.quantize` computes a kind with ``quantized="operator"`` by `LayerKind.compute`, with one scale for each output
  channel of its kernel; it replaces a kind with ``quantized="parts"`` by a chain of convolutions, one for each of
  `LayerKind.kernels`, behind zero insertion where it is `LayerKind.transposed`;
- `tfsep.tflite` replaces the method `LayerKind.keras_method` of the Keras class while a model is traced.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tfsep import ops
from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Layer, Tensor, TensorLike
from tfsep.layers._batch_normalization import BatchNormalization
from tfsep.layers._conv1d import Conv1D, DepthwiseConv1D, SeparableConv1D
from tfsep.layers._conv2d import Conv2D, DepthwiseConv2D, SeparableConv2D
from tfsep.layers._conv_transpose import (
    Conv1DTranspose,
    Conv2DTranspose,
    DepthwiseConv2DTranspose,
    SeparableConv2DTranspose,
)
from tfsep.layers._convolution_base import Convolution
from tfsep.layers._deform_conv import DeformableConv2D
from tfsep.layers._kernel_spec import DEPTHWISE_AXES, STANDARD_AXES, TRANSPOSED_AXES, KernelSpec


@dataclass(frozen=True)
class LayerKind:
    """The facts about a kind of layer.

    Attributes:
        name: name of the op in reports of cost.
        keras_class: the class in `keras.layers`; None if Keras has none.
        tfsep_class: the class in `tfsep.layers`; None if there is none.
        kernels: the kernels, in the order of application; empty for a layer without matrix products. A batch
            normalization behind the layer folds into the last one, along its `KernelSpec.channel_axes`.
        op: the op that computes the Keras class, (x, kernels, strides, padding, rate) → result; None for a kind whose
            Keras class is only counted and folded.
        transposed: whether the first kernel is applied at each input position, not at each output position.
        quantized: how `tfsep.quantize` computes it: ``"operator"``, as one integer operator (a transposed kind whose
            window no operator has, as a chain of other layers); ``"parts"``, as a chain of other layers, one for each
            kernel; None for a kind that stays in float32.
        keras_method: the public method of the Keras class that an export replaces by `compute`: ``"convolution_op"``,
            without bias and activation, or ``"call"``; None if the Keras class is exported as it is.
    """

    name: str
    keras_class: type[Layer] | None = None
    tfsep_class: type[Layer] | None = None
    kernels: tuple[KernelSpec, ...] = ()
    op: Callable[..., Any] | None = None
    transposed: bool = False
    quantized: Literal["operator", "parts"] | None = None
    keras_method: Literal["convolution_op", "call"] | None = None

    @property
    def classes(self) -> tuple[type[Layer], ...]:
        """The classes of this kind."""
        return tuple(each for each in (self.keras_class, self.tfsep_class) if each is not None)

    def compute(self, layer: Layer, x: Tensor, *kernels: TensorLike) -> Tensor:
        """Apply a layer of this kind with the given kernels, without its bias and activation.

        Args:
            layer: a layer of `tfsep.layers`, or one of `keras.layers` in channels_last.
            x: a tensor of the layer's input shape.
            *kernels: tensors of the shapes of the layer's own kernels.
        """
        if isinstance(layer, Convolution):
            return layer.convolution_op(x, *kernels)
        if self.op is None:
            raise TypeError(f"layer: expected a kind with an op, got {layer.name!r} ({self.name})")
        options = {}
        if hasattr(layer, "kernel_size"):
            options = {"strides": layer.strides, "padding": layer.padding, "rate": layer.dilation_rate}
        if self.transposed:
            options["output_padding"] = layer.output_padding
        return self.op(x, *kernels, **options)


def _separable(op: str, pointwise_op: str) -> tuple[KernelSpec, KernelSpec]:
    return (
        KernelSpec("depthwise_kernel", DEPTHWISE_AXES, op, part="depthwise"),
        KernelSpec("pointwise_kernel", STANDARD_AXES, pointwise_op, part="pointwise", pointwise=True),
    )


_STANDARD = (KernelSpec(channel_axes=STANDARD_AXES),)
_DEPTHWISE = (KernelSpec(channel_axes=DEPTHWISE_AXES),)
_TRANSPOSED = (KernelSpec(channel_axes=TRANSPOSED_AXES),)

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
        kernels=(KernelSpec("offset_kernel", op="conv2d", part="offset", bias="offset_bias"), KernelSpec()),
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
