"""Layers that compute with a layer of the float model."""

from typing import Any, Self

from tfsep._keras.backend import keras
from tfsep._keras.types import Layer


class LayerWrapper(keras.layers.Layer):
    """A layer that computes with another one, which is in its config.

    Args:
        layer: the other layer.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, layer: Layer, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.layer = layer

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make a layer of its config.

        Args:
            config: what `get_config` returned.
        """
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})
