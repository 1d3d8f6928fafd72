"""The depthwise separable block: two convolutions, each with normalization and an activation of its own."""

from typing import Any

from tfsep._keras.backend import keras
from tfsep._utils.arguments import positive_int
from tfsep.geometry._padding import choose_rate, normalize_data_format
from tfsep.layers._batch_normalization import BatchNormalization
from tfsep.layers._conv2d import Conv2D, DepthwiseConv2D
from tfsep.layers._convolution_base import Shape


@keras.saving.register_keras_serializable(package="tfsep")
def leaky_relu(x: Any) -> Any:
    """Return ``max(x, 0.1·x)``: LeakyReLU with the slope that depthwise separable blocks are usually written with.

    Examples:
        >>> [round(float(v), 1) for v in leaky_relu(np.array([-1.0, 2.0], "float32"))]
        [-0.1, 2.0]
    """
    return keras.activations.leaky_relu(x, negative_slope=0.1)


@keras.saving.register_keras_serializable(package="tfsep")
class DepthwiseSeparableConv(keras.layers.Layer):
    """Depthwise convolution, normalization, activation; 1×1 convolution, normalization, activation.

    Args:
        filters: output channels F.
        kernel_size, strides, padding, depth_multiplier, data_format, dilation_rate, rate: the depthwise convolution's,
            as in `DepthwiseConv2D`.
        activation: applied twice, after each normalization: a name, a function, or None for none.
        depthwise_normalization, pointwise_normalization: whether each convolution is followed by batch normalization;
            one without it has a bias instead.
        momentum, epsilon: of the batch normalizations.
        depthwise_initializer, pointwise_initializer: of the two kernels.
        depthwise_regularizer, pointwise_regularizer: of the two kernels.

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

    def __init__(
        self,
        filters: int,
        kernel_size: Any = 3,
        strides: Any = 1,
        padding: Any = "same",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = leaky_relu,
        depthwise_normalization: bool = True,
        pointwise_normalization: bool = True,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        rate: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = positive_int(filters, "filters")
        self.data_format = normalize_data_format(data_format or keras.config.image_data_format())
        self.activation = keras.activations.get(activation)
        self.momentum, self.epsilon = float(momentum), float(epsilon)
        self.depthwise_normalization = bool(depthwise_normalization)
        self.pointwise_normalization = bool(pointwise_normalization)
        self.depthwise = DepthwiseConv2D(
            kernel_size,
            strides,
            padding,
            depth_multiplier,
            self.data_format,
            choose_rate(rate, dilation_rate),
            use_bias=not self.depthwise_normalization,
            depthwise_initializer=depthwise_initializer,
            depthwise_regularizer=depthwise_regularizer,
            dtype=self.dtype_policy,
            name="depthwise",
        )
        self.pointwise = Conv2D(
            self.filters,
            1,
            data_format=self.data_format,
            use_bias=not self.pointwise_normalization,
            kernel_initializer=pointwise_initializer,
            kernel_regularizer=pointwise_regularizer,
            dtype=self.dtype_policy,
            name="pointwise",
        )
        self.depthwise_bn = self._normalization("depthwise_bn") if self.depthwise_normalization else None
        self.pointwise_bn = self._normalization("pointwise_bn") if self.pointwise_normalization else None

    def _normalization(self, name: str) -> BatchNormalization:
        axis = -1 if self.data_format == "channels_last" else 1
        return BatchNormalization(axis, self.momentum, self.epsilon, dtype=self.dtype_policy, name=name)

    def build(self, input_shape: Shape) -> None:
        """Build the parts, in the order in which they are applied."""
        self.depthwise.build(input_shape)
        between = self.depthwise.compute_output_shape(input_shape)
        self.pointwise.build(between)
        if self.depthwise_bn is not None:
            self.depthwise_bn.build(between)
        if self.pointwise_bn is not None:
            self.pointwise_bn.build(self.pointwise.compute_output_shape(between))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Apply the two convolutions, each with what follows it."""
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
        """Return the shape of the result, None where the input's is not known."""
        return self.pointwise.compute_output_shape(self.depthwise.compute_output_shape(input_shape))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this block again."""
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
        }
