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

L = keras.layers


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
_SEPARABLE_1D = _separable("depthwise_conv1d", "conv1d")
_SEPARABLE_2D = _separable("depthwise_conv2d", "conv2d")


def _kind(op: Callable[..., Any], own: type[Layer], kernels: tuple[KernelSpec, ...], **facts: Any) -> LayerKind:
    """The row of a class of the same name in `keras.layers` and here; the op has the name of the kind."""
    return LayerKind(op.__name__, getattr(L, own.__name__), own, kernels, op, **facts)


LAYER_KINDS: tuple[LayerKind, ...] = (
    LayerKind("dense", L.Dense, None, _STANDARD, tf.linalg.matmul, quantized="operator"),
    _kind(ops.conv1d, Conv1D, _STANDARD, quantized="operator"),
    _kind(ops.conv2d, Conv2D, _STANDARD, quantized="operator", keras_method="convolution_op"),
    LayerKind("conv3d", L.Conv3D, None, _STANDARD),
    _kind(ops.depthwise_conv1d, DepthwiseConv1D, _DEPTHWISE, quantized="operator", keras_method="call"),
    _kind(ops.depthwise_conv2d, DepthwiseConv2D, _DEPTHWISE, quantized="operator", keras_method="call"),
    _kind(ops.separable_conv1d, SeparableConv1D, _SEPARABLE_1D, quantized="parts", keras_method="call"),
    _kind(ops.separable_conv2d, SeparableConv2D, _SEPARABLE_2D, quantized="parts", keras_method="call"),
    _kind(ops.conv1d_transpose, Conv1DTranspose, _TRANSPOSED, transposed=True, quantized="parts", keras_method="call"),
    _kind(
        ops.conv2d_transpose, Conv2DTranspose, _TRANSPOSED, transposed=True, quantized="operator", keras_method="call"
    ),
    LayerKind("conv3d_transpose", L.Conv3DTranspose, None, _TRANSPOSED, transposed=True),
    LayerKind(
        "depthwise_conv2d_transpose", None, DepthwiseConv2DTranspose, _DEPTHWISE, transposed=True, quantized="parts"
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
    LayerKind("batch_normalization", L.BatchNormalization, BatchNormalization),
    LayerKind("group_normalization", L.GroupNormalization),
    LayerKind("layer_normalization", L.LayerNormalization),
    LayerKind("normalization", L.Normalization),
    LayerKind("prelu", L.PReLU),
    LayerKind("embedding", L.Embedding),
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
