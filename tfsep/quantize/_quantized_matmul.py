"""Convolutions and dense layers on 8-bit numbers, with the normalization behind them folded in."""

from math import prod
from typing import Any

from tfsep._keras.backend import keras, tf
from tfsep.layers._batch_normalization import scale_and_shift_of
from tfsep.layers._layer_kinds import kind_of
from tfsep.quantize._inference_mode import in_real_numbers, is_observing
from tfsep.quantize._qparams import WEIGHT_LIMIT, rounded, steps, weight_scale

_EXACT = 2**24
"""Whole numbers under this are exact in float32, and so are their sums."""

_LARGEST_BIAS = 2**30 - 1
"""What the converter lets a bias be in 32 bits; it widens the scale of a channel's kernel until the bias is no more."""


@keras.saving.register_keras_serializable(package="tfsep")
class QuantizedLinear(keras.layers.Layer):
    """A convolution, depthwise or transposed one, or dense layer with its normalization, as integer kernels have them.

    It holds the layer and the normalization as they were, in float32. Inference folds the moving statistics into
    kernel and bias, quantizes the kernel (symmetric, −127 to 127, a scale an output channel) and the bias (multiples
    of input scale × kernel scale), and sums products of whole numbers, exactly.

    Training computes the same in real numbers. Quantization an output channel commutes with the normalization's
    scale, so the kernel is quantized as it is and normalized behind the convolution, by the batch's statistics; once
    `frozen`, by the moving ones, and with the rounded bias. Gradients go straight through the rounding.

    Args:
        layer: a layer of `tfsep.quantize`'s table of kinds, without activation.
        normalization: the batch normalization behind it, or None.

    Input: a tensor on a grid, and the grid (2,), see `tfsep.quantize`.

    Output: sums (N, ..., F), and what one of each is worth (F,), float64.

    Source: B. Jacob et al. (arXiv 1712.05877), section 3.2; R. Krishnamoorthi, "Quantizing deep convolutional networks
    for efficient inference" (arXiv 1806.08342), section 3.2.2.

    Examples:
        >>> layer = QuantizedLinear(keras.layers.Dense(2, kernel_initializer="ones"))
        >>> sums, worth = layer([np.ones((1, 3), "float32"), np.array([0.5, 0.0], "float32")])
        >>> sums.numpy().tolist(), round(float(sums[0, 0]) * float(worth[0]), 6)  # 3 products of 2 and 127
        ([[762.0, 762.0]], 3.0)
    """

    def __init__(self, layer: Any, normalization: Any = None, **kwargs: Any) -> None:
        # What sums are worth is float64, which Keras would cast.
        super().__init__(autocast=False, **kwargs)
        self.layer = layer
        self.normalization = normalization
        self.supports_jit = False

    @property
    def counted_layer(self) -> Any:
        """The layer whose cost this one has."""
        return self.layer

    def build(self, input_shape: Any) -> None:
        """Make the weights of both layers, and whether the statistics are frozen."""
        shape = input_shape[0]
        # Layers that come out of a file are built already.
        if not self.layer.built:
            self.layer.build(shape)
        kind = kind_of(self.layer)
        assert kind is not None
        self._kind = kind
        self._channels = kind.kernels[-1].channel_shape(self.layer.kernel.shape)
        if self.normalization is not None:
            if not self.normalization.built:
                self.normalization.build((*shape[:-1], prod(self._channels)))
            self.frozen = self.add_weight(name="frozen", shape=(), initializer="zeros", trainable=False)
            if getattr(self.normalization, "frozen", False):
                self.frozen.assign(1.0)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Sum products, and say what a sum is worth."""
        x, grid = inputs
        if in_real_numbers():
            kernel, bias = self.folded()
            # An input that the converter is to round has a grid already; one that is just observed may have none.
            bias = bias if is_observing() else self._rounded_bias(bias, kernel, grid)
            return self._unit(tf.nn.bias_add(self._linear(x, kernel), bias))
        if training:
            return self._unit(self._train(x, grid))
        kernel, bias, scale = self._stored(grid[0])
        return [self._sums(steps(x, grid), kernel) + tf.cast(bias, "float32"), self._worth(grid, scale)]

    def stored(self, input_scale: Any) -> tuple[Any, Any, Any]:
        """Return what a file stores: kernel (F, fan-in) and bias (F,) as whole numbers, and the scales (F,)."""
        kernel, bias, scale = self._stored(input_scale)
        spread = (1,) * (len(kernel.shape) - len(self._channels)) + self._channels
        order = sorted(range(len(spread)), key=lambda axis: spread[axis] == 1)
        by_channel = tf.reshape(tf.transpose(kernel, order), [prod(self._channels), -1])
        return by_channel, bias, tf.reshape(scale, [-1])

    def folded(self) -> tuple[Any, Any]:
        """Return kernel and bias (F,), with the moving statistics folded in."""
        kernel, bias = tf.cast(self.layer.kernel, "float64"), self._bias("float64")
        if self.normalization is not None:
            factor, shift = scale_and_shift_of(self.normalization)
            kernel *= tf.reshape(factor, self._channels)
            bias = bias * factor + shift
        return tf.cast(kernel, "float32"), tf.cast(bias, "float32")

    def _bias(self, dtype: str) -> Any:
        bias = self.layer.bias
        return tf.zeros(prod(self._channels), dtype) if bias is None else tf.cast(bias, dtype)

    def _stored(self, input_scale: Any) -> tuple[Any, Any, Any]:
        """Kernel (float32) and bias (float64) as whole numbers, and the kernel's scale in float32."""
        kernel, bias = (tf.cast(part, "float64") for part in self.folded())
        scale = weight_scale(kernel, self._channels)
        # How many times too large a bias is, in the converter's order of roundings to float32.
        narrow = tf.cast(tf.cast(scale, "float32"), "float64")
        worth = tf.cast(tf.cast(self._worth([input_scale], narrow), "float32"), "float64")
        excess = tf.abs(bias) / worth / (_LARGEST_BIAS + 0.5)
        widened = excess > 1.0
        scale = tf.where(tf.reshape(widened, self._channels), narrow * tf.reshape(excess, self._channels), scale)
        # The converter divides by the scale as it is before it is kept in float32.
        whole = tf.clip_by_value(tf.round(kernel / scale), -WEIGHT_LIMIT, WEIGHT_LIMIT)
        bias = tf.where(widened, tf.sign(bias) * _LARGEST_BIAS, tf.round(bias / self._worth([input_scale], scale)))
        return tf.cast(whole, "float32"), bias, tf.cast(scale, "float32")

    def _worth(self, grid: Any, scale: Any) -> Any:
        return tf.cast(grid[0], "float64") * tf.cast(tf.reshape(scale, [-1]), "float64")

    def _rounded_bias(self, bias: Any, kernel: Any, grid: Any) -> Any:
        worth = self._worth(grid, weight_scale(kernel, self._channels))
        return tf.cast(rounded(tf.cast(bias, "float64"), worth), "float32")

    def _linear(self, x: Any, kernel: Any) -> Any:
        return self._kind.compute(self.layer, x, kernel)

    def _sums(self, x: Any, kernel: Any) -> Any:
        """Sums of products of whole numbers; in float64 where float32 may not hold them."""
        fan_in = prod(kernel.shape) // prod(self._channels)
        if fan_in * 255 * WEIGHT_LIMIT < _EXACT:
            return self._linear(x, kernel)
        return tf.cast(self._linear(tf.cast(x, "float64"), tf.cast(kernel, "float64")), "float32")

    def _unit(self, sums: Any) -> list[Any]:
        return [sums, tf.ones(prod(self._channels), "float64")]

    def _train(self, x: Any, grid: Any) -> Any:
        kernel = tf.convert_to_tensor(self.layer.kernel)
        scale = tf.cast(tf.stop_gradient(weight_scale(kernel, self._channels)), "float32")
        y = self._linear(x, rounded(kernel, scale))
        if self.normalization is None:
            worth = tf.cast(self._worth(tf.stop_gradient(grid), scale), "float32")
            return y + rounded(self._bias("float32"), worth)
        return self._normalize(y, tf.stop_gradient(grid), scale)

    def _normalize(self, y: Any, grid: Any, scale: Any) -> Any:
        """Normalize as batch normalization in training does, or as the folded layer does."""
        own = self.normalization
        mean, variance = (tf.convert_to_tensor(v) for v in (own.moving_mean, own.moving_variance))

        def frozen() -> tuple[Any, Any, Any]:
            factor, shift = (tf.cast(part, "float32") for part in scale_and_shift_of(self.normalization))
            worth = tf.cast(self._worth(grid, scale), "float32") * tf.abs(tf.stop_gradient(factor))
            return y * factor + rounded(self._bias("float32") * factor + shift, worth), mean, variance

        def by_batch() -> tuple[Any, Any, Any]:
            return self._by_batch(y + self._bias("float32"), mean, variance)

        if not (self.trainable and own.trainable):
            return frozen()[0]
        result, mean, variance = tf.cond(tf.convert_to_tensor(self.frozen) > 0, frozen, by_batch)
        own.moving_mean.assign(mean)
        own.moving_variance.assign(variance)
        return result

    def _by_batch(self, y: Any, moving_mean: Any, moving_variance: Any) -> tuple[Any, Any, Any]:
        """y normalized by its own statistics, and the moving ones after it."""
        own, channels = self.normalization, prod(self._channels)
        images = tf.reshape(y, [-1, 1, 1, channels])
        count = tf.cast(tf.shape(images)[0], "float32")
        result, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=images,
            scale=tf.convert_to_tensor(own.gamma) if own.scale else tf.ones(channels),
            offset=tf.convert_to_tensor(own.beta) if own.center else tf.zeros(channels),
            mean=tf.constant([]),
            variance=tf.constant([]),
            epsilon=own.epsilon,
            is_training=True,
        )
        # The kernel reports the variance with Bessel's correction; Keras's moving variance is without it.
        variance *= tf.maximum(count - 1.0, 1.0) / count
        keep = own.momentum
        moving = moving_mean * keep + mean * (1 - keep), moving_variance * keep + variance * (1 - keep)
        return tf.reshape(result, tf.shape(y)), *moving

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {
            **super().get_config(),
            "layer": keras.saving.serialize_keras_object(self.layer),
            "normalization": keras.saving.serialize_keras_object(self.normalization),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "QuantizedLinear":
        """Make a layer of its config."""
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("layer", "normalization")}
        return cls(**{**config, **parts})
