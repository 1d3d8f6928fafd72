"""A function of 8-bit numbers, as a table of 256."""

from typing import Any

from tfsep._keras.backend import keras, tf
from tfsep._keras.model_graph import operation_of
from tfsep._keras.types import Layer, Model, Shape, Tensor
from tfsep.quantize._inference_mode import computes_in_float, rounds_nothing
from tfsep.quantize._qparams import INT8_MAX, INT8_MIN, to_integers


@keras.saving.register_keras_serializable(package="tfsep")
class FunctionTable(keras.layers.Layer):
    """A function of each number of a quantized tensor, looked up in a table of its 256 values.

    An exported model has the table as a constant, which the converter stores in integers.

    Args:
        function: a model of one input that computes the function.
        **kwargs: arguments of `keras.layers.Layer`.

    Input: a quantized tensor, and its quantization parameters (2,).

    Output: the function of the tensor, real numbers.

    Examples:
        >>> x = keras.Input((None,))
        >>> table = FunctionTable(keras.Model(x, keras.ops.square(x)))
        >>> table([np.array([[0.5, -1.0]], "float32"), np.array([0.5, 0.0], "float32")]).numpy().tolist()
        [[0.25, 1.0]]
    """

    def __init__(self, function: Model, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.function = function

    @property
    def computation(self) -> Layer:
        """The layer or operation that computes the function."""
        return operation_of(self.function.outputs[0])

    def call(self, inputs: list[Tensor], training: bool | None = None) -> Tensor:
        """Return the function of a tensor.

        Args:
            inputs: a quantized tensor, and its quantization parameters (2,).
            training: whether to compute it without the table, with gradients.
        """
        x, qparams = inputs
        if training or rounds_nothing():
            return self.function(x)
        scale, zero = qparams[0], qparams[1]
        stored = tf.range(INT8_MIN, INT8_MAX + 1, dtype="float32")
        grid = tf.reshape((stored - zero) * scale, (-1, *(1,) * (len(x.shape) - 1)))
        table = tf.reshape(self.function(grid), [-1])
        if computes_in_float():
            # Casts truncate.
            return tf.gather(table, tf.cast(x * (1.0 / scale) + (zero - INT8_MIN + 0.5), "int32"))
        return tf.gather(table, tf.cast(to_integers(x, qparams) + zero - INT8_MIN, "int32"))

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        """Return the shape of the tensor.

        Args:
            input_shape: the shapes of the tensor and of its quantization parameters.
        """
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "function": keras.saving.serialize_keras_object(self.function)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FunctionTable":
        """Make a layer of its config.

        Args:
            config: what `get_config` returned.
        """
        return cls(**{**config, "function": keras.saving.deserialize_keras_object(config["function"])})
