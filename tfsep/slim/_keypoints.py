"""Slim's spatial softmax: where in an image each channel is largest."""

from typing import Any

from tf_slim import add_arg_scope

from tfsep._keras.backend import keras
from tfsep._keras.tf_functions import channels
from tfsep._keras.types import Shape, Tensor
from tfsep._utils.arguments import number_in_range
from tfsep.slim._arguments import require_channels
from tfsep.slim._scope import layer_scope
from tfsep.slim._types import ScopeLike, VariablesCollections


@keras.saving.register_keras_serializable(package="tfsep")
class SpatialSoftmax(keras.layers.Layer):
    """The expected place of each channel under the softmax of its pixels.

    Args:
        temperature: the first temperature.
        data_format: ``"channels_last"`` or ``"channels_first"``.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, temperature: float = 1.0, data_format: str = "channels_last", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first_temperature, self.data_format = temperature, data_format

    @property
    def _channels(self) -> int:
        return 3 if self.data_format == "channels_last" else 1

    def build(self, input_shape: Shape) -> None:
        """Make the temperature."""
        self.temperature = self.add_weight(
            name="temperature", shape=(), initializer=keras.initializers.Constant(self.first_temperature)
        )
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={self._channels: input_shape[self._channels]})

    def call(self, inputs: Tensor) -> Tensor:
        """Return rows and columns between -1 and 1, of one channel after the other."""
        ops, space = keras.ops, (1, 2) if self._channels == 3 else (2, 3)
        weights = ops.softmax(inputs / self.temperature, axis=space)
        places = []
        for axis, other in (space, space[::-1]):
            steps = ops.cast(ops.arange(ops.shape(inputs)[axis]), inputs.dtype)
            scale = ops.cast(ops.maximum(ops.shape(inputs)[axis] - 1, 1), inputs.dtype)
            of_axis = ops.sum(weights, axis=other, keepdims=True)
            steps = ops.reshape(2.0 * steps / scale - 1.0, [-1 if i == axis else 1 for i in range(4)])
            places.append(ops.sum(of_axis * steps, axis=space))
        return ops.reshape(ops.stack(places, axis=-1), (-1, 2 * places[0].shape[-1]))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return (N, 2·C)."""
        return (input_shape[0], 2 * int(input_shape[self._channels] or 0))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "temperature": self.first_temperature, "data_format": self.data_format}


@add_arg_scope
def spatial_softmax(
    features: Tensor,
    temperature: float | None = None,
    name: ScopeLike = None,
    variables_collections: VariablesCollections = None,
    trainable: bool = True,
    data_format: str = "NHWC",
) -> Tensor:
    """Return where each channel is largest: its mean place under the softmax of its pixels.

    Args:
        features: Keras tensor (N, H, W, C), or (N, C, H, W) with ``"NCHW"``.
        temperature: what the features are divided by at first; None for 1.
        name: scope of the layer; None for ``spatial_softmax``, ``spatial_softmax_1`` and so on.
        variables_collections: names of collections for the temperature, or a dict of them by ``"temperature"``.
        trainable: whether the temperature is trained.
        data_format: ``"NHWC"`` or ``"NCHW"``.

    Returns:
        Keras tensor (N, 2·C): row and column of one channel after the other, from -1 to 1.

    Raises:
        TypeError: if `features` is no Keras tensor.
        ValueError: for inputs of another rank, an argument out of range, or a scope that is taken.

    Source: C. Finn et al., "Deep Spatial Autoencoders for Visuomotor Learning" (arXiv 1509.06113).

    Examples:
        >>> from tfsep import slim
        >>> slim.spatial_softmax(keras.Input((8, 8, 16))).shape
        (None, 32)
    """
    with layer_scope(features, name, "spatial_softmax") as opened:
        require_channels(features, data_format, rank=4)
        layer = SpatialSoftmax(
            1.0 if temperature is None else number_in_range(temperature, "temperature", float, 0),
            channels(data_format),
            trainable=trainable,
            name=opened.layer_name,
        )
        return opened.call(layer, features, variables_collections)
