"""The layer in front of layers that stay in float32."""

from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.types import Shape, Tensor
from tfsep.ops import is_exporting
from tfsep.quantize._inference_mode import rounds_nothing

OFF_HALVES = 1.0 + 2.0**-20
"""A factor that moves numbers from the middle between two steps, by more than float32 sums in another order differ.

Means of numbers in whole steps are often there, as both ends of their range are such means. LiteRT, which adds in an
order of its own, would round them to the other side than TensorFlow.
"""


@keras.saving.register_keras_serializable(package="tfsep")
class Dequantize(keras.layers.Layer):
    """Pass numbers to a layer that stays in float32, and keep the converter from quantizing that layer.

    The converter quantizes everything between two quantized tensors, except where a negated number is taken. An
    exported model therefore negates twice, which changes no number.

    Args:
        to: the name of the layer that stays in float32; empty behind that layer.
        factor: what the numbers are multiplied by; `OFF_HALVES` behind that layer.
        reason: why the layer stays in float32.
        leads: whether that layer is the first one of those in float32 in front of quantized ones.
        negates: whether the exported model negates twice: not where either side is not quantized.
        **kwargs: arguments of `keras.layers.Layer`.

    Examples:
        >>> Dequantize()(np.array([[0.5]], "float32")).numpy()
        array([[0.5]], dtype=float32)
    """

    def __init__(
        self,
        to: str = "",
        factor: float = 1.0,
        reason: str = "",
        leads: bool = True,
        negates: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.to = to
        self.factor = factor
        self.reason = reason
        self.leads = leads
        self.negates = negates
        self.supports_masking = True

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return the inputs, at inference times the factor: ranges are those of the numbers without it.

        Args:
            inputs: real numbers of any shape.
            training: whether ranges are tracked.
        """
        if not self.negates:
            return inputs
        if is_exporting():
            return -inputs * -self.factor
        return inputs if training or rounds_nothing() else inputs * self.factor

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the inputs.

        Args:
            input_shape: shape of the inputs.
        """
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {
            **super().get_config(),
            "to": self.to,
            "factor": self.factor,
            "reason": self.reason,
            "negates": self.negates,
        }
