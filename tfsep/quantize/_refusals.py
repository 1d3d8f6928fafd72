"""Why a layer has no integer kernel: the reason of a float32 island, or a part of the error that lists all of them."""

from collections.abc import Sequence

from tfsep._keras.types import Layer
from tfsep.quantize._decompositions import layer_format
from tfsep.quantize._operations import overridden

FASTER_IN_FLOAT = ", which XNNPACK computes in a fraction of a table's time in float32"
"""Behind the kind of a function that is planned as a table where integers are asked for."""


class Refusal(ValueError):
    """A layer or an activation that is not quantized.

    Args:
        name: the name under which `Config.float_layers` leaves it in float32.
        kind: its class, or the function that it computes.
        details: what there is no kernel for, as words behind the kind; empty where the kind says it.
    """

    def __init__(self, name: str, kind: str, details: str = "") -> None:
        self.name, self.kind, self.details = name, kind, details
        super().__init__(str(refused([self])))

    @property
    def reason(self) -> str:
        """The reason, in words of its own."""
        if self.details.startswith(", which "):
            return self.details.removeprefix(", which ")
        return f"no integer kernel of {self.kind}{self.details}"


def refused(refusals: Sequence[Refusal]) -> ValueError:
    """Return the error that lists refusals, each once."""
    layers = dict.fromkeys(f"{refusal.name!r} ({refusal.kind}{refusal.details})" for refusal in refusals)
    them = "it" if len(layers) == 1 else "them"
    return ValueError(
        f"model: expected layers that can be quantized, got {', '.join(layers)}: float_layers leaves {them} in "
        "float32, and unsupported='float' whatever it is"
    )


def unsupported(layer: Layer, details: str = "") -> Refusal:
    """The refusal of a layer that is not quantized, or not with these numbers."""
    return Refusal(layer.name, overridden(layer) or type(layer).__name__, details)


def require_channels_last(layer: Layer) -> None:
    """Refuse a layer that computes channels first."""
    if layer_format(layer) != "channels_last":
        raise unsupported(layer, " with channels first")
