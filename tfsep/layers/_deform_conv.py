"""Deformable convolution as a layer: a convolution of the same image gives the offsets and the mask."""

from typing import Any

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import (
    ActivationLike,
    ConstraintLike,
    InitializerLike,
    RegularizerLike,
    Shape,
    Tensor,
    TensorLike,
)
from tfsep._utils.arguments import positive_int
from tfsep.geometry import PaddingLike, PairLike
from tfsep.layers._kernel_types import StandardConvolution
from tfsep.layers._layer_arguments import arguments_of
from tfsep.ops._conv import convolve
from tfsep.ops._deform_conv import convolve_deformable

__all__ = ["DeformableConv2D"]


@keras.saving.register_keras_serializable(package="tfsep")
class DeformableConv2D(StandardConvolution):
    """Deformable 2-D convolution, v1 or, `modulated`, v2: each tap is moved by an offset computed from the image.

    A convolution of the input, of the same kernel size, strides, padding and rate, gives each tap of each output its
    offset in pixels, and its mask through a sigmoid. Its kernel starts at zero, so a new layer of v1 computes what
    `Conv2D` does. A new layer of v2 computes half of that (but for the bias), as its mask starts at sigmoid(0) = 0.5:
    so it is in the paper, and in published weights.

    Args:
        filters: output channels F.
        kernel_size: rows and columns of the kernel, an int or a pair.
        strides: step of the window, an int or a pair (rows, columns), equal or not.
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``.
        rate: distance between neighbouring taps, an int or a pair; any stride goes with any rate. None for
            `dilation_rate`.
        groups: the input channels C and the filters are split into this many groups, each convolved on its own; the
            offsets are computed from all channels.
        offset_groups: OG, a divisor of C: the input channels are split into this many groups, each with offsets of its
            own.
        modulated: whether taps have a mask too.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: another name of rate.
        activation: applied to the result: a name, a function, or None for none.
        use_bias: whether a bias is added.
        kernel_initializer: initializer of the kernel (kh, kw, C / groups, F).
        offset_initializer: initializer of the kernel of the convolution that gives offsets and mask.
        bias_initializer: initializer of the bias (F,).
        kernel_regularizer: regularizer of the kernel; None for none.
        offset_regularizer: regularizer of the offsets' kernel; None for none.
        bias_regularizer: regularizer of the bias; None for none.
        activity_regularizer: regularizer of the result; None for none.
        kernel_constraint: constraint of the kernel; None for none.
        offset_constraint: constraint of the offsets' kernel; None for none.
        bias_constraint: constraint of the bias; None for none.
        lora_rank: rank of a low-rank adaptation of the kernel, see `enable_lora`; None for none.
        lora_alpha: the adaptation is scaled by ``lora_alpha / lora_rank``; None for the rank.
        **kwargs: arguments of `keras.layers.Layer`, such as ``name``, ``trainable`` and ``dtype``.

    Weights: `kernel` (kh, kw, C / groups, F), `bias`, `offset_kernel` (kh, kw, C, 2·OG·kh·kw, or 3·OG·kh·kw) and
    `offset_bias`. The channels of offsets are in the order of `tfsep.ops.deform_conv2d`, followed by those of the mask.

    Input shape: (N, H, W, C), or (N, C, H, W) with ``"channels_first"``.

    Output shape: (N, H', W', F), or (N, F, H', W').

    Source: J. Dai et al., "Deformable Convolutional Networks" (arXiv 1703.06211); v2, X. Zhu et al., "Deformable
    ConvNets v2" (arXiv 1811.11168), section 3.2.

    Raises:
        ValueError: for sizes under 1, groups or offset groups that do not divide, or another rank.

    Examples:
        >>> layer = DeformableConv2D(8, 3, strides=2, padding="same", modulated=True)
        >>> layer(np.ones((1, 8, 8, 4), "float32")).shape, layer.offset_kernel.shape
        (TensorShape([1, 4, 4, 8]), TensorShape([3, 3, 4, 27]))
    """

    _weight_kinds = ("bias", "kernel", "offset")

    def __init__(
        self,
        filters: int,
        kernel_size: PairLike,
        strides: PairLike = (1, 1),
        padding: PaddingLike = "valid",
        rate: PairLike | None = None,
        groups: int = 1,
        offset_groups: int = 1,
        modulated: bool = False,
        data_format: str | None = None,
        dilation_rate: PairLike = (1, 1),
        activation: ActivationLike = None,
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        offset_initializer: InitializerLike = "zeros",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        offset_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        activity_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        offset_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**arguments_of(locals(), "offset_groups", "modulated"))
        self.offset_groups = positive_int(offset_groups, "offset_groups")
        self.modulated = bool(modulated)

    @property
    def taps(self) -> int:
        """The number of taps with an offset: those of the kernel, in each offset group."""
        return self.offset_groups * self.kernel_size[0] * self.kernel_size[1]

    def build(self, input_shape: Shape) -> None:
        """Make the kernel, the bias (F,), and the offsets' kernel and bias.

        Args:
            input_shape: with the batch.
        """
        super().build(input_shape)
        channels = self._input_channels(input_shape)
        if channels % self.offset_groups:
            raise ValueError(
                f"offset_groups: expected a divisor of the {channels} input channels, got {self.offset_groups}"
            )
        each = (3 if self.modulated else 2) * self.taps
        self.offset_kernel = self._add_weight("offset", "offset_kernel", (*self.kernel_size, channels, each))
        self.offset_bias = self.add_weight(name="offset_bias", shape=(each,), initializer="zeros")

    def convolution_op(self, inputs: Tensor, kernel: TensorLike) -> Tensor:  # type: ignore[override]
        """Convolve once for the offsets, and once with moved taps, without bias and activation.

        Args:
            inputs: tensor of the layer's input shape.
            kernel: of the shape of the layer's own.
        """
        moves = self._biased(convolve(inputs, self.offset_kernel, *self._op_arguments()), self.offset_bias)
        mask = None
        if self.modulated:
            moves, mask = tf.split(moves, [2 * self.taps, self.taps], axis=self.channel_axis)
            mask = tf.sigmoid(mask)
        return convolve_deformable(inputs, moves, kernel, mask, self.window, self.data_format, self.groups)

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, under Keras's names."""
        return {**super().get_config(), "offset_groups": self.offset_groups, "modulated": self.modulated}
