"""The layer in place of a cast of integers to float32."""

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="tfsep")
class ToFloat(keras.layers.Layer):
    """Cast to float32, as `keras.ops.cast` does; of quantized real numbers nothing changes.

    Args:
        **kwargs: arguments of `keras.layers.Layer`.

    Examples:
        >>> ToFloat()(np.array([[7]], "uint8")).numpy()
        array([[7.]], dtype=float32)
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Return the inputs as float32.

        Args:
            inputs: numbers of any shape and type.
        """
        return tf.cast(inputs, "float32")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the inputs.

        Args:
            input_shape: shape of the inputs.
        """
        return input_shape
