"""Convolutions and dense layers on 8-bit integers, with the batch normalization behind them folded in."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Layer, Shape, Tensor
from tfsep.layers._batch_normalization import scale_and_shift_of
from tfsep.layers._layer_kinds import kind_of
from tfsep.quantize._inference_mode import computes_in_float, rounds_nothing
from tfsep.quantize._qparams import WEIGHT_MAX, round_straight_through, stored_weights, to_integers, weight_scale

_EXACT = 2**24
"""Integers below this are exact in float32, and so are their sums."""

_BIAS_MAX = 2**30 - 1
"""The largest bias of 32 bits that the converter writes; it widens the scale of a channel's kernel for larger ones."""

_ALMOST_ZERO = 2.0**-126
"""The smallest number of float32. The converter drops a bias of zeros, and does not quantize a transposed convolution
without one in front of a rectifier; a bias of this number it rounds to zeros."""

_LAST_PLACE = 2.0**-23
"""The distance from 1 to the next number of float32."""


@keras.saving.register_keras_serializable(package="tfsep")
class QuantizedMatmul(keras.layers.Layer):
    """A convolution, also depthwise or transposed, or a dense layer, computed with its batch normalization on integers.

    It holds the layer and the normalization as they were, in float32. Inference folds the moving statistics into
    kernel and bias, quantizes the kernel (symmetric, −127 to 127, one scale per output channel) and the bias (multiples
    of input scale × kernel scale), and sums integer products, exactly.

    Training computes the same in real numbers. Quantization per output channel commutes with the normalization's
    scale, so the kernel is quantized as it is and normalized behind the convolution: by the batch's statistics, and
    once `frozen` by the moving ones, with the rounded bias. Gradients go straight through the rounding.

    Args:
        layer: a layer whose row in the table of layer kinds has ``quantized="operator"``, without activation.
        normalization: the batch normalization behind it, or None.
        place: how many other such layers come before it on the same input. At inference its kernel is smaller by as
            many last places of float32: the converter would merge products of equal kernels in front of their biases
            and rectifiers, and leave what it merged in float32.
        kernel_scales: the scale of each output channel (F,), with the normalization folded in, as of kernels that were
            integers before; None for that of its largest weight, which the converter takes. In a file they stand in
            the place of the converter's.
        **kwargs: arguments of `keras.layers.Layer`.

    Input: a quantized tensor, and its quantization parameters (2,).

    Output: sums (N, ..., F), and their scale, the accumulator scale (F,), float64.

    Source: B. Jacob et al. (arXiv 1712.05877), section 3.2; R. Krishnamoorthi, "Quantizing deep convolutional networks
    for efficient inference" (arXiv 1806.08342), section 3.2.2.

    Examples:
        >>> layer = QuantizedMatmul(keras.layers.Dense(2, kernel_initializer="ones"))
        >>> sums, scale = layer([np.ones((1, 3), "float32"), np.array([0.5, 0.0], "float32")])
        >>> sums.numpy().tolist(), round(float(sums[0, 0]) * float(scale[0]), 6)  # 3 products of 2 and 127
        ([[762.0, 762.0]], 3.0)
    """

    def __init__(
        self,
        layer: Layer,
        normalization: Layer | None = None,
        place: int = 0,
        kernel_scales: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        # The accumulator scale is float64, which Keras would cast.
        super().__init__(autocast=False, **kwargs)
        self.layer = layer
        self.normalization = normalization
        self.place = place
        self.kernel_scales = kernel_scales

    @property
    def counted_layer(self) -> Layer:
        """The layer whose cost this one has."""
        return self.layer

    def build(self, input_shape: list[Shape]) -> None:
        """Make the weights of both layers, and the flag of frozen statistics.

        Args:
            input_shape: the shapes of the tensor and of its quantization parameters.
        """
        shape = input_shape[0]
        # Layers that come out of a file are built already.
        if not self.layer.built:
            self.layer.build(shape)
        kind = kind_of(self.layer)
        assert kind is not None
        self._kind = kind
        (self._spec,) = kind.kernels
        self._channels = self._spec.channel_shape(self.layer.kernel.shape)
        if self.normalization is not None:
            if not self.normalization.built:
                self.normalization.build((*shape[:-1], prod(self._channels)))
            self.frozen = self.add_weight(name="frozen", shape=(), initializer="zeros", trainable=False)
            if getattr(self.normalization, "frozen", False):
                self.frozen.assign(1.0)

    def call(self, inputs: list[Tensor], training: bool | None = None) -> list[Tensor]:
        """Return sums of products, and their scale.

        Args:
            inputs: a quantized tensor, and its quantization parameters (2,).
            training: whether to compute real numbers, whose scale is 1, with gradients.
        """
        x, qparams = inputs
        if computes_in_float():
            # The converter rounds an input that has a range already; an input that is observed may have none yet.
            kernel, bias = self.folded() if rounds_nothing() else self._folded_and_rounded(qparams[0])
            return self._real(tf.nn.bias_add(self._product(x, kernel), bias))
        if training:
            return self._real(self._train(x, qparams[0]))
        kernel, bias, scale = self._stored(qparams[0])
        sums = self._integer_product(to_integers(x, qparams), kernel) + tf.cast(bias, "float32")
        return [sums, self._accumulator_scale(qparams[0], scale)]

    def compute_output_spec(
        self,
        inputs: list[keras.KerasTensor],
        training: bool | None = None,  # noqa: ARG002
    ) -> list[keras.KerasTensor]:
        """Return shapes and types of the results, without a trace of the integers' computation.

        Args:
            inputs: what `call` takes.
            training: not used: the shapes are the same.
        """
        sums = self.layer.compute_output_shape(inputs[0].shape)
        return [keras.KerasTensor(sums, "float32"), keras.KerasTensor((prod(self._channels),), "float64")]

    def stored(self, input_scale: Tensor, by_converter: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return what a file stores: kernel (F, fan-in) and bias (F,) as whole numbers, and the kernel's scales (F,).

        Args:
            input_scale: scale of the layer's input, a scalar.
            by_converter: whether to return what the converter writes, whatever `kernel_scales` are.
        """
        kernel, bias, scale = self._stored(input_scale, by_converter)
        broadcast = (1,) * (len(kernel.shape) - len(self._channels)) + self._channels
        order = sorted(range(len(broadcast)), key=lambda axis: broadcast[axis] == 1)
        by_channel = tf.reshape(tf.transpose(kernel, order), [prod(self._channels), -1])
        return by_channel, bias, tf.reshape(scale, [-1])

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return kernel and bias (F,), with the moving statistics folded in; the kernel moved by its place."""
        if not self._is_folded:
            return tf.convert_to_tensor(self.layer.kernel), self._bias("float32")
        kernel, bias = self._kernel(), self._bias("float64")
        if self.normalization is not None:
            factor, shift = scale_and_shift_of(self.normalization)
            kernel = self._spec.scaled(kernel, factor)
            bias = bias * factor + shift
        kernel = kernel * (1.0 - self.place * _LAST_PLACE) + self.place * _ALMOST_ZERO
        return tf.cast(kernel, "float32"), tf.cast(bias, "float32")

    def set_whole(self, kernel: np.ndarray, scale: np.ndarray) -> None:
        """Make the kernel whole numbers times scales, so that these numbers, with these scales, are what is stored.

        Filters of which no number is ±127 stay as they are: they would get another scale.

        Args:
            kernel: whole numbers in the kernel's shape, −127 to 127.
            scale: positive scales (F,), of the kernel with the normalization folded in.
        """
        shape = self._channels
        factor = np.ones(scale.shape) if self.normalization is None else scale_and_shift_of(self.normalization)[0]
        factor = np.asarray(factor, "float64") * (1.0 - self.place * _LAST_PLACE)
        axes = tuple(axis for axis in range(-kernel.ndim, 0) if axis not in self._spec.channel_axes)
        changed = (np.abs(kernel).max(axes).ravel() == WEIGHT_MAX) & (factor != 0)
        unit = np.where(changed, scale / np.where(factor, factor, 1.0), 1.0)
        own = np.asarray(self.layer.kernel, "float64")
        self.layer.kernel.assign(np.where(changed.reshape(shape), kernel * unit.reshape(shape), own))

    @property
    def _is_folded(self) -> bool:
        """Whether the file's kernel and bias are others than the layer's, before they are rounded."""
        return self.normalization is not None or self.place > 0 or self.is_adapted

    @property
    def is_adapted(self) -> bool:
        """Whether the kernel is a sum with a low-rank adaptation (LoRA)."""
        return bool(getattr(self.layer, "lora_enabled", False))

    def _folded_and_rounded(self, input_scale: Tensor) -> tuple[Tensor, Tensor]:
        """The kernel, which the converter rounds, and the bias, rounded."""
        kernel, bias, scale = self._folded_ahead()
        return kernel, self._rounded_bias(bias, scale, input_scale)

    def _folded_ahead(self) -> tuple[Tensor, Tensor, Tensor]:
        """What `folded` returns, and the kernel's scale: as constants where a trace has the weights as constants.

        The converter does not fold operands of 256 MiB and more, a kernel of 2²⁵ weights in float64.
        """
        eager = tf.executing_eagerly()
        known = [] if eager else [(w, tf.get_static_value(tf.convert_to_tensor(w))) for w in self.weights]
        if eager or any(value is None for _, value in known):
            return self._folded_and_scale()
        with tf.init_scope(), keras.StatelessScope([(weight, tf.constant(value)) for weight, value in known]):
            parts = [part.numpy() for part in self._folded_and_scale()]
        # One constant of a kernel is enough.
        kernel, bias = map(tf.constant, parts[:2]) if self._is_folded else self.folded()
        return kernel, bias, tf.constant(parts[2])

    def _folded_and_scale(self) -> tuple[Tensor, Tensor, Tensor]:
        kernel, bias = self.folded()
        return kernel, bias, self._scale(kernel)

    def _scale(self, kernel: Tensor) -> Tensor:
        """The scale of each output channel of the folded kernel, float64."""
        if self.kernel_scales is None:
            return weight_scale(kernel, self._channels)
        return tf.reshape(tf.constant(self.kernel_scales, "float64"), self._channels)

    def _kernel(self) -> Tensor:
        """The layer's kernel in float64; that of a low-rank adaptation (LoRA) is summed so.

        The converter adds a sum up itself. In float64 it rounds to the same numbers there.
        """
        if not self.is_adapted:
            return tf.cast(self.layer.kernel, "float64")
        frozen = next(weight for weight in self.layer.weights if weight.name == self._spec.name)
        kernel, *factors = (
            tf.cast(each, "float64") for each in (frozen, self.layer.lora_kernel_a, self.layer.lora_kernel_b)
        )
        return kernel + tf.linalg.matmul(*factors) * (self.layer.lora_alpha / self.layer.lora_rank)

    def _bias(self, dtype: str) -> Tensor:
        bias = self.layer.bias
        return tf.zeros(prod(self._channels), dtype) if bias is None else tf.cast(bias, dtype)

    def _stored(self, input_scale: Tensor, by_converter: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Kernel (float32) and bias (float64) as whole numbers, and the kernel's scale in float32."""
        kernel, bias = (tf.cast(part, "float64") for part in self.folded())
        scale = weight_scale(kernel, self._channels) if by_converter else self._scale(kernel)
        # The excess of a bias over the largest, in the converter's order of roundings to float32.
        narrow = tf.cast(tf.cast(scale, "float32"), "float64")
        accumulator_scale = tf.cast(tf.cast(self._accumulator_scale(input_scale, narrow), "float32"), "float64")
        excess = tf.abs(bias) / accumulator_scale / (_BIAS_MAX + 0.5)
        widened = excess > 1.0
        scale = tf.where(tf.reshape(widened, self._channels), narrow * tf.reshape(excess, self._channels), scale)
        whole = stored_weights(kernel, scale)
        rounded = tf.round(bias / self._accumulator_scale(input_scale, scale))
        bias = tf.where(widened, tf.sign(bias) * _BIAS_MAX, rounded)
        # The scale is stored in float32.
        return whole, bias, tf.cast(scale, "float32")

    def _accumulator_scale(self, input_scale: Tensor, scale: Tensor) -> Tensor:
        """The real value of one unit of the sums (F,), float64."""
        return tf.cast(input_scale, "float64") * tf.cast(tf.reshape(scale, [-1]), "float64")

    def _rounded_bias(self, bias: Tensor, scale: Tensor, input_scale: Tensor) -> Tensor:
        accumulator_scale = self._accumulator_scale(input_scale, scale)
        rounded = tf.cast(round_straight_through(tf.cast(bias, "float64"), accumulator_scale), "float32")
        # A bias of equal numbers the converter quantizes by the first channel's scale alone.
        apart = tf.concat([rounded[:1] * (1.0 + _LAST_PLACE), rounded[1:]], 0)
        rounded = tf.where(tf.reduce_all(tf.equal(rounded, rounded[0])), apart, rounded)
        return tf.where(tf.equal(rounded, 0.0), _ALMOST_ZERO, rounded) if self._kind.transposed else rounded

    def _product(self, x: Tensor, kernel: Tensor) -> Tensor:
        return self._kind.compute(self.layer, x, kernel)

    def _integer_product(self, x: Tensor, kernel: Tensor) -> Tensor:
        """Sums of products of whole numbers; in float64 where float32 may not hold them."""
        fan_in = prod(kernel.shape) // prod(self._channels)
        if fan_in * 255 * WEIGHT_MAX < _EXACT:
            return self._product(x, kernel)
        return tf.cast(self._product(tf.cast(x, "float64"), tf.cast(kernel, "float64")), "float32")

    def _real(self, result: Tensor) -> list[Tensor]:
        """A result in real numbers, and its scale, 1."""
        return [result, tf.ones(prod(self._channels), "float64")]

    def _train(self, x: Tensor, input_scale: Tensor) -> Tensor:
        kernel = tf.convert_to_tensor(self.layer.kernel)
        scale = tf.cast(tf.stop_gradient(self._scale_in_training(kernel)), "float32")
        y = self._product(x, round_straight_through(kernel, scale))
        accumulator_scale = tf.cast(self._accumulator_scale(tf.stop_gradient(input_scale), scale), "float32")
        if self.normalization is None:
            return y + round_straight_through(self._bias("float32"), accumulator_scale)
        return self._normalize(y, self.normalization, accumulator_scale)

    def _scale_in_training(self, kernel: Tensor) -> Tensor:
        """The scale of each output channel of the kernel as it is, float64."""
        if self.kernel_scales is None or self.normalization is None:
            return self._scale(kernel)
        factor = tf.abs(tf.cast(scale_and_shift_of(self.normalization)[0], "float64"))
        return self._scale(kernel) / tf.reshape(tf.where(factor > 0, factor, 1.0), self._channels)

    def _normalize(self, y: Tensor, normalization: Layer, accumulator_scale: Tensor) -> Tensor:
        """Normalize as batch normalization in training does, or as the folded layer does."""
        mean, variance = (tf.convert_to_tensor(v) for v in (normalization.moving_mean, normalization.moving_variance))

        def frozen() -> tuple[Tensor, Tensor, Tensor]:
            factor, shift = (tf.cast(part, "float32") for part in scale_and_shift_of(normalization))
            folded_scale = accumulator_scale * tf.abs(tf.stop_gradient(factor))
            bias = round_straight_through(self._bias("float32") * factor + shift, folded_scale)
            return y * factor + bias, mean, variance

        def by_batch() -> tuple[Tensor, Tensor, Tensor]:
            return _normalized_by_batch(y + self._bias("float32"), normalization, mean, variance)

        if not (self.trainable and normalization.trainable):
            return frozen()[0]
        result, mean, variance = tf.cond(tf.convert_to_tensor(self.frozen) > 0, frozen, by_batch)
        normalization.moving_mean.assign(mean)
        normalization.moving_variance.assign(variance)
        return result

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {
            **super().get_config(),
            "layer": keras.saving.serialize_keras_object(self.layer),
            "normalization": keras.saving.serialize_keras_object(self.normalization),
            "place": self.place,
            "kernel_scales": None if self.kernel_scales is None else list(map(float, self.kernel_scales)),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "QuantizedMatmul":
        """Make a layer of its config.

        Args:
            config: what `get_config` returned.
        """
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("layer", "normalization")}
        return cls(**{**config, **parts})


def _normalized_by_batch(
    y: Tensor, normalization: Layer, moving_mean: Tensor, moving_variance: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """y normalized by its own statistics, and the moving statistics updated by them."""
    channels = y.shape[-1]
    images = tf.reshape(y, [-1, 1, 1, channels])
    count = tf.cast(tf.shape(images)[0], "float32")
    result, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=images,
        scale=tf.convert_to_tensor(normalization.gamma) if normalization.scale else tf.ones(channels),
        offset=tf.convert_to_tensor(normalization.beta) if normalization.center else tf.zeros(channels),
        mean=tf.constant([]),
        variance=tf.constant([]),
        epsilon=normalization.epsilon,
        is_training=True,
    )
    # The kernel reports the variance with Bessel's correction; Keras's moving variance is without it.
    variance *= tf.maximum(count - 1.0, 1.0) / count
    keep = normalization.momentum
    moving = moving_mean * keep + mean * (1 - keep), moving_variance * keep + variance * (1 - keep)
    return tf.reshape(result, tf.shape(y)), *moving
