"""What `prepare` says of a layer that it does not quantize."""

from tfsep._keras.types import Layer
from tfsep.quantize._decompositions import layer_format
from tfsep.quantize._operations import overridden


def unsupported(layer: Layer, details: str = "") -> ValueError:
    """The error about a layer that is not quantized, or not with these numbers."""
    words = overridden(layer) or type(layer).__name__
    return ValueError(
        f"model: expected layers that can be quantized, got {layer.name!r} ({words}{details}): float_layers leaves it "
        "in float32"
    )


def require_channels_last(layer: Layer) -> None:
    """Refuse a layer that computes channels first."""
    if layer_format(layer) != "channels_last":
        raise ValueError(f"model: expected channels last, which integer kernels have, got {layer.name!r}")
