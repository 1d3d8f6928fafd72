"""The depthwise separable block: a depthwise and a 1×1 convolution, each with normalization and an activation."""

from typing import Any

from tfsep._keras.activations import activation_function
from tfsep._keras.backend import keras
from tfsep._keras.types import ActivationLike, InitializerLike, RegularizerLike, Shape, Tensor
from tfsep.geometry import PaddingLike, PairLike
from tfsep.geometry._padding import choose_rate
from tfsep.layers._activations import leaky_relu
from tfsep.layers._batch_normalization import BatchNormalization
from tfsep.layers._conv2d import Conv2D, DepthwiseConv2D
from tfsep.layers._layer_arguments import Argument, PartArgument
from tfsep.layers._low_rank import Adaptable

__all__ = ["DepthwiseSeparableConv"]


def _normalization(part: str, doc: str) -> property:
    """Whether a part has a normalization, as an attribute that can be set again."""

    def wanted(block: "DepthwiseSeparableConv") -> bool:
        return getattr(block, f"{part}_bn") is not None

    def want(block: "DepthwiseSeparableConv", value: bool) -> None:
        block._set_normalization(part, value)

    return property(wanted, want, doc=doc)


@keras.saving.register_keras_serializable(package="tfsep")
class DepthwiseSeparableConv(Adaptable):
    """Depthwise convolution, normalization, activation; 1×1 convolution, normalization, activation.

    Args:
        filters: output channels F.
        kernel_size: rows and columns of the depthwise kernel, an int or a pair.
        strides: step of the depthwise window, an int or a pair (rows, columns), equal or not.
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``; of the depthwise
            convolution.
        depth_multiplier: depthwise filters per channel, M.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps of the depthwise convolution, an int or a pair; any stride
            goes with any rate.
        activation: applied twice, after each normalization: a name, a function, or None for none.
        depthwise_normalization: whether batch normalization follows the depthwise convolution; without it, that has a
            bias.
        pointwise_normalization: whether batch normalization follows the 1×1 convolution; without it, that has a bias.
        momentum: momentum of the moving statistics of both batch normalizations.
        epsilon: added to the variance in both batch normalizations.
        depthwise_initializer: initializer of the depthwise kernel (kh, kw, C, M); the fan-in is kh·kw.
        pointwise_initializer: initializer of the 1×1 kernel (1, 1, C·M, F).
        depthwise_regularizer: regularizer of the depthwise kernel; None for none.
        pointwise_regularizer: regularizer of the 1×1 kernel; None for none.
        rate: another name of dilation_rate.
        lora_rank: rank of a low-rank adaptation (LoRA) of the 1×1 kernel; None for none.
        lora_alpha: numerator of its scale; None for the rank.
        **kwargs: arguments of `keras.layers.Layer`, such as ``name``, ``trainable`` and ``dtype``.

    Input shape: (N, H, W, C), or (N, C, H, W) with ``"channels_first"``.

    Output shape: (N, H', W', F), or (N, F, H', W').

    Source: A. G. Howard et al., "MobileNets" (arXiv 1704.04861), Figure 3.

    Raises:
        ValueError: for sizes under 1, or another rank.

    Examples:
        >>> block = DepthwiseSeparableConv(32, strides=2)
        >>> block(np.ones((1, 8, 8, 16), "float32")).shape, block.count_params()
        (TensorShape([1, 4, 4, 32]), 848)
    """

    filters = PartArgument("pointwise")
    kernel_size = PartArgument("depthwise")
    strides = PartArgument("depthwise")
    padding = PartArgument("depthwise")
    depth_multiplier = PartArgument("depthwise")
    dilation_rate = PartArgument("depthwise")
    rate = PartArgument("depthwise")
    activation = Argument(lambda layer, value, name: activation_function(value, name))  # noqa: ARG005
    momentum = PartArgument("depthwise_bn", "pointwise_bn")
    epsilon = PartArgument("depthwise_bn", "pointwise_bn")
    depthwise_initializer = PartArgument("depthwise")
    pointwise_initializer = PartArgument("pointwise", attribute="kernel_initializer")
    depthwise_regularizer = PartArgument("depthwise")
    pointwise_regularizer = PartArgument("pointwise", attribute="kernel_regularizer")

    depthwise_normalization = _normalization(
        "depthwise", "Whether batch normalization follows the depthwise convolution."
    )
    pointwise_normalization = _normalization("pointwise", "Whether batch normalization follows the 1×1 convolution.")

    def __init__(
        self,
        filters: int,
        kernel_size: PairLike = 3,
        strides: PairLike = 1,
        padding: PaddingLike = "same",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: PairLike = 1,
        activation: ActivationLike = leaky_relu,
        depthwise_normalization: bool = True,
        pointwise_normalization: bool = True,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        depthwise_initializer: InitializerLike = "glorot_uniform",
        pointwise_initializer: InitializerLike = "glorot_uniform",
        depthwise_regularizer: RegularizerLike = None,
        pointwise_regularizer: RegularizerLike = None,
        rate: PairLike | None = None,
        *,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.activation = activation
        self.momentum, self.epsilon = float(momentum), float(epsilon)
        self.depthwise = DepthwiseConv2D(
            kernel_size,
            strides,
            padding,
            depth_multiplier,
            data_format,
            choose_rate(rate, dilation_rate),
            use_bias=not depthwise_normalization,
            depthwise_initializer=depthwise_initializer,
            depthwise_regularizer=depthwise_regularizer,
            dtype=self.dtype_policy,
            name="depthwise",
        )
        self.pointwise = Conv2D(
            filters,
            1,
            data_format=data_format,
            use_bias=not pointwise_normalization,
            kernel_initializer=pointwise_initializer,
            kernel_regularizer=pointwise_regularizer,
            lora_rank=lora_rank,
            lora_alpha=lora_alpha,
            dtype=self.dtype_policy,
            name="pointwise",
        )
        self.depthwise_bn = self._normalization("depthwise") if depthwise_normalization else None
        self.pointwise_bn = self._normalization("pointwise") if pointwise_normalization else None

    @property
    def lora_enabled(self) -> bool:
        """Whether the 1×1 kernel has a low-rank adaptation."""
        return self.pointwise.lora_enabled

    def _adapt(self, rank: int, alpha: float, a_initializer: InitializerLike, b_initializer: InitializerLike) -> None:
        self.pointwise._adapt(rank, alpha, a_initializer, b_initializer)

    @property
    def data_format(self) -> str:
        """``"channels_last"`` or ``"channels_first"``."""
        return self.depthwise.data_format

    @data_format.setter
    def data_format(self, value: str | None) -> None:
        self.depthwise.data_format = self.pointwise.data_format = value
        for normalization in filter(None, (self.depthwise_bn, self.pointwise_bn)):
            normalization.axis = self.depthwise.channel_axis

    def _set_normalization(self, part: str, wanted: bool) -> None:
        getattr(self, part).use_bias = not wanted
        if wanted != (getattr(self, f"{part}_bn") is not None):
            delattr(self, f"{part}_bn")
            setattr(self, f"{part}_bn", self._normalization(part) if wanted else None)

    def _normalization(self, part: str) -> BatchNormalization:
        axis, policy = self.depthwise.channel_axis, self.dtype_policy
        return BatchNormalization(axis, self.momentum, self.epsilon, dtype=policy, name=f"{part}_bn")

    def build(self, input_shape: Shape) -> None:
        """Build the parts, in the order in which they are applied.

        Args:
            input_shape: with the batch.
        """
        self.depthwise.build(input_shape)
        between = self.depthwise.compute_output_shape(input_shape)
        self.pointwise.build(between)
        if self.depthwise_bn is not None:
            self.depthwise_bn.build(between)
        if self.pointwise_bn is not None:
            self.pointwise_bn.build(self.pointwise.compute_output_shape(between))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Apply the two convolutions, each with its normalization and the activation.

        Args:
            inputs: tensor of the block's input shape.
            training: whether the normalizations use the batch's statistics.
        """
        y = inputs
        for convolution, normalization in (
            (self.depthwise, self.depthwise_bn),
            (self.pointwise, self.pointwise_bn),
        ):
            y = convolution(y)
            if normalization is not None:
                y = normalization(y, training=training)
            y = self.activation(y)
        return y

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the result, None where the input's is not known.

        Args:
            input_shape: with the batch.
        """
        return self.pointwise.compute_output_shape(self.depthwise.compute_output_shape(input_shape))

    def get_config(self) -> dict[str, Any]:
        """Return the block's arguments."""
        depthwise, pointwise = self.depthwise.get_config(), self.pointwise.get_config()
        return {
            **super().get_config(),
            "filters": self.filters,
            **{
                name: depthwise[name]
                for name in (
                    "kernel_size",
                    "strides",
                    "padding",
                    "depth_multiplier",
                    "data_format",
                    "dilation_rate",
                    "depthwise_initializer",
                    "depthwise_regularizer",
                )
            },
            "activation": keras.activations.serialize(self.activation),
            "depthwise_normalization": self.depthwise_normalization,
            "pointwise_normalization": self.pointwise_normalization,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "pointwise_initializer": pointwise["kernel_initializer"],
            "pointwise_regularizer": pointwise["kernel_regularizer"],
            **{name: pointwise[name] for name in ("lora_rank", "lora_alpha") if name in pointwise},
        }
