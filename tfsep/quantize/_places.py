"""Places of extremes among numbers that stand for integers, as layers."""

from typing import Any

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="tfsep")
class Argmax(keras.layers.Layer):
    """The first place of the largest number along an axis, int32.

    That of `keras.ops` has −0 below 0, which integers do not tell apart.

    Args:
        axis: the axis.
        keepdims: whether it stays, with one place.
        **kwargs: arguments of `keras.layers.Layer`.

    Examples:
        >>> Argmax(1)(np.array([[1.0, -0.0, 3.0]], "float32")).numpy().tolist()
        [2]
    """

    place = staticmethod(tf.argmax)

    def __init__(self, axis: int, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.axis, self.keepdims = axis, keepdims

    def call(self, inputs: Tensor) -> Tensor:
        """Return the places.

        Args:
            inputs: real numbers of any shape.
        """
        found = self.place(inputs, self.axis, output_type="int32")
        return tf.expand_dims(found, self.axis) if self.keepdims else found

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Return the shape of the places, and their type.

        Args:
            inputs: a symbolic tensor.
        """
        kept: Shape = (1,) if self.keepdims else ()
        axis = self.axis % len(inputs.shape)
        return keras.KerasTensor((*inputs.shape[:axis], *kept, *inputs.shape[axis + 1 :]), "int32")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "axis": self.axis, "keepdims": self.keepdims}


@keras.saving.register_keras_serializable(package="tfsep")
class Argmin(Argmax):
    """The first place of the smallest number along an axis, likewise.

    Args:
        axis: the axis.
        keepdims: whether it stays, with one place.
        **kwargs: arguments of `keras.layers.Layer`.

    Examples:
        >>> Argmin(1)(np.array([[1.0, -0.0, 3.0]], "float32")).numpy().tolist()
        [1]
    """

    place = staticmethod(tf.argmin)
