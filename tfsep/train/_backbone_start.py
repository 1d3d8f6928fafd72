"""A trained network as the beginning of the backbone of a segmentation network or a detector."""

from os import PathLike
from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.types import Model
from tfsep.models import load_model
from tfsep.train._model_setup import weights_sha256


class BackboneStart:
    """A trained network whose layers a backbone begins with: those that both have, by name and shapes.

    Args:
        model: the network, or its path.
    """

    def __init__(self, model: Model | str | PathLike[str]) -> None:
        self._model = model if isinstance(model, keras.Model) else load_model(model)
        self._weights = {layer.name: layer.get_weights() for layer in self._model.layers if layer.weights}

    def identity(self) -> dict[str, Any]:
        """Return what tells this start from others, for JSON."""
        return {"start_sha256": weights_sha256(self._model)}

    def copy_to(self, model: Model) -> Model:
        """Return a model, of whose layers those that both have are set to the weights of the network.

        Args:
            model: a new model.

        Raises:
            ValueError: if they have no layer in common.
        """
        copied = 0
        for layer in model.layers:
            weights = self._weights.get(layer.name)
            if weights and [each.shape for each in weights] == [tuple(own.shape) for own in layer.weights]:
                layer.set_weights(weights)
                copied += 1
        if not copied:
            raise ValueError(
                f"start: expected a model with layers of {model.name!r}, got {self._model.name!r} without any"
            )
        return model
