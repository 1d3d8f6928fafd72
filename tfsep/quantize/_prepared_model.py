"""What a prepared model is, and what it says about itself."""

from typing import Any

from tfsep._keras.model_graph import calls_behind, require_model
from tfsep.quantize._activation_quantizer import ActivationQuantizer
from tfsep.quantize._dequantize import Dequantize


def is_prepared(model: object) -> bool:
    """Return whether `prepare` made a model.

    Examples:
        >>> is_prepared(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
        False
    """
    return runtime_of(model) is not None


def runtime_of(model: object) -> str | None:
    """Return the runtime whose rounding a prepared model emulates; None for another model.

    Examples:
        >>> runtime_of(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])) is None
        True
    """
    quantizers = (layer for layer in getattr(model, "layers", ()) if isinstance(layer, ActivationQuantizer))
    return next((quantizer.settings.runtime for quantizer in quantizers), None)


def float_layers_of(model: object) -> tuple[str, ...]:
    """Return the names of a prepared model's float32 layers in front of quantized ones, the first one of each island.

    Examples:
        >>> float_layers_of(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
        ()
    """
    dequantizing = (layer for layer in getattr(model, "layers", ()) if isinstance(layer, Dequantize))
    return tuple(dict.fromkeys(layer.to for layer in dequantizing if layer.to and layer.leads))


def require_prepared(model: Any) -> None:
    """Raise unless `prepare` made a model.

    Raises:
        TypeError: for anything but a Keras model.
        ValueError: for another model.

    Examples:
        >>> require_prepared(None)
        Traceback (most recent call last):
        TypeError: model: expected a Keras model, got NoneType
    """
    require_model(model)
    if is_prepared(model):
        return
    raise ValueError(f"model: expected one that quantize.prepare made, got {model.name!r}")


def require_input_ranges(model: Any) -> None:
    """Raise for an input of a prepared model that was zero in all data that it has seen.

    Other results may be, as those behind a rectifier.
    """
    for call in calls_behind(model.outputs):
        layer = call.operation
        if isinstance(layer, ActivationQuantizer) and call.kwargs["operation"] == "quantize" and layer.is_zero():
            raise ValueError(f"data: expected samples that give each input a range, got only zeros in {layer.name!r}")
