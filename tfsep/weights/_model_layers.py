"""The layers of a model that hold weights."""

from typing import Any

from tfsep._keras.backend import keras


def require_model(model: Any) -> None:
    """Raise unless this is a Keras model.

    Raises:
        TypeError: if it is none.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"model: expected a keras.Model, got {type(model).__name__}")


def leaf_layers(model: Any) -> list[Any]:
    """Return the layers of a model in their order, nested models opened, each once."""
    found: dict[int, Any] = {}
    for layer in model.layers:
        for leaf in leaf_layers(layer) if isinstance(layer, keras.Model) else [layer]:
            found[id(leaf)] = leaf
    return list(found.values())
