"""The slopes of PReLU as a quantized tensor."""

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Shape, Tensor
from tfsep.quantize._inference_mode import computes_in_float
from tfsep.quantize._layer_wrapper import LayerWrapper
from tfsep.quantize._qparams import stored_weights, weight_scale


@keras.saving.register_keras_serializable(package="tfsep")
class QuantizedSlopes(LayerWrapper):
    """The slopes of a PReLU, quantized symmetrically, −127 to 127, by one scale.

    Args:
        layer: the PReLU of Keras.
        **kwargs: arguments of `keras.layers.Layer`.

    Input: a tensor that the PReLU takes.

    Output: the slopes, and their quantization parameters (2,).

    Examples:
        >>> layer = QuantizedSlopes(keras.layers.PReLU(alpha_initializer="ones"))
        >>> slopes, qparams = layer(np.zeros((1, 2), "float32"))
        >>> slopes.numpy().tolist(), [round(float(value), 4) for value in qparams]
        ([1.0, 1.0], [0.0079, 0.0])
    """

    def build(self, input_shape: Shape) -> None:
        """Build the PReLU.

        Args:
            input_shape: the shape of the tensor that it takes.
        """
        if not self.layer.built:
            self.layer.build(input_shape)

    def call(self, inputs: Tensor) -> list[Tensor]:
        """Return the slopes, and their quantization parameters.

        Args:
            inputs: a tensor that the PReLU takes, of which only the shape counts.
        """
        del inputs
        slopes = tf.convert_to_tensor(self.layer.alpha)
        scale = weight_scale(tf.stop_gradient(slopes), ())
        qparams = tf.stack([tf.cast(scale, "float32"), 0.0])
        if computes_in_float():
            return [slopes, qparams]
        rounded = stored_weights(slopes, scale) * qparams[0]
        return [slopes + tf.stop_gradient(rounded - slopes), qparams]

    def compute_output_spec(self, inputs: keras.KerasTensor) -> list[keras.KerasTensor]:
        """Return the shapes of the results.

        Args:
            inputs: what `call` takes.
        """
        self.build(inputs.shape)
        return [keras.KerasTensor(self.layer.alpha.shape, "float32"), keras.KerasTensor((2,), "float32")]
