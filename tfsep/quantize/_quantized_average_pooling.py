"""Average pooling on 8-bit integers, the same in both runtimes."""

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Shape, Tensor
from tfsep.quantize._inference_mode import computes_in_float
from tfsep.quantize._layer_wrapper import LayerWrapper
from tfsep.quantize._qparams import to_integers


@keras.saving.register_keras_serializable(package="tfsep")
class QuantizedAveragePooling(LayerWrapper):
    """Average pooling of quantized tensors: the mean of each window, rounded to an integer, halves away from zero.

    Args:
        layer: the average pooling of Keras.
        **kwargs: arguments of `keras.layers.Layer`.

    Input: a quantized tensor, and its quantization parameters (2,).

    Output: a tensor with the same quantization parameters.

    Examples:
        >>> layer = QuantizedAveragePooling(keras.layers.AveragePooling1D(2))
        >>> layer([np.array([[[1.0], [2.0]]], "float32"), np.array([1.0, 0.0], "float32")]).numpy().ravel()
        array([2.], dtype=float32)
    """

    def build(self, input_shape: list[Shape]) -> None:
        """Build the pooling.

        Args:
            input_shape: the shapes of the tensor and of its quantization parameters.
        """
        if not self.layer.built:
            self.layer.build(input_shape[0])

    def call(self, inputs: list[Tensor], training: bool | None = None) -> Tensor:
        """Pool, and round where the integer kernel does.

        Args:
            inputs: a quantized tensor, and its quantization parameters (2,).
            training: whether to leave out the rounding.
        """
        x, qparams = inputs
        if training or computes_in_float():
            return self.layer(x)
        # Integer kernels average stored numbers, which are larger by the zero point, and round that.
        stored, count = to_integers(x, qparams) + qparams[1], self._count(x)
        sums = tf.cast(tf.round(self.layer(stored) * tf.cast(count, "float32")), "int32")
        mean = tf.sign(sums) * ((tf.abs(sums) + count // 2) // count)
        return (tf.cast(mean, "float32") - qparams[1]) * qparams[0]

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        """Return the shape of the result.

        Args:
            input_shape: the shapes of the tensor and of its quantization parameters.
        """
        shape: Shape = self.layer.compute_output_shape(input_shape[0])
        return shape

    def _count(self, x: Tensor) -> Tensor:
        """The numbers of the image in each window: fewer at the edges with ``padding="same"``."""
        rank = len(x.shape) - 2
        result = tf.ones((1,) * (rank + 2), "int32")
        for axis in range(rank):
            window, stride = self.layer.pool_size[axis], self.layer.strides[axis]
            size = tf.shape(x)[axis + 1]
            if self.layer.padding == "valid":
                inside = tf.fill([(size - window) // stride + 1], window)
            else:
                length = (size + stride - 1) // stride
                padding = tf.maximum((length - 1) * stride + window - size, 0)
                start = tf.range(length) * stride - padding // 2
                inside = tf.minimum(start + window, size) - tf.maximum(start, 0)
            result *= tf.reshape(inside, [-1 if a == axis + 1 else 1 for a in range(rank + 2)])
        return result
