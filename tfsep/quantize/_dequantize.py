"""The layer in front of layers that stay in float32."""

from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.types import Shape, Tensor
from tfsep.ops import is_exporting


@keras.saving.register_keras_serializable(package="tfsep")
class Dequantize(keras.layers.Layer):
    """Pass quantized real numbers to a layer that stays in float32, and keep the converter from quantizing that layer.

    The converter quantizes everything between two quantized tensors, except where a negated number is taken. An
    exported model therefore negates twice, which changes no number.

    Args:
        to: the name of the layer that stays in float32.
        **kwargs: arguments of `keras.layers.Layer`.

    Examples:
        >>> Dequantize()(np.array([[0.5]], "float32")).numpy()
        array([[0.5]], dtype=float32)
    """

    def __init__(self, to: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.to = to

    def call(self, inputs: Tensor) -> Tensor:
        """Return the inputs.

        Args:
            inputs: real numbers of any shape.
        """
        return -inputs * -1.0 if is_exporting() else inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the inputs.

        Args:
            input_shape: shape of the inputs.
        """
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "to": self.to}
