"""Primitive layers: the form that every definition expands to, which model builder and cost table read."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from tfsep.geometry import Pair

__all__ = ["LayerDef", "Place"]

LayerOp: TypeAlias = Literal["conv2d", "depthwise_conv2d", "add", "multiply", "global_average_pool"]
"""The operation of a primitive layer; `tfsep.models` and `tfsep.cost` have a case for each."""

DEFAULT_ACTIVATION = "default"
"""The activation of the network's family, or the one that the model builder is given in its place."""

SLIM_GATE = "slim_hard_sigmoid"
"""relu6(x + 3) · 0.16667, the gate of TF-slim's squeeze-and-excite, where Keras's hard sigmoid divides by 6."""

ACTIVATIONS = (
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh",
    "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu",
    "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus",
    "swish", "tanh", "tanh_shrink", "threshold",
)  # fmt: skip
"""The activations of Keras by name. They stand here because definitions are checked without Keras."""

GATES = (*ACTIVATIONS, SLIM_GATE)
"""The activations of a gate."""

INPUT = "input"
"""The name of the network's input in `LayerDef.inputs`."""


def check_activation(name: str | None, argument: str, allowed: Sequence[str | None] = ACTIVATIONS) -> None:
    """Raise unless this is the name of an activation.

    Args:
        name: the caller's argument.
        argument: name of the argument, which an error starts with.
        allowed: the names, None among them where there may be no activation.

    Raises:
        ValueError: for another name.
    """
    if not isinstance(name, str | None) or name not in allowed:
        raise ValueError(f"{argument}: expected the name of a Keras activation, such as 'relu6', got {name!r}")


class LayerDef(NamedTuple):
    """A primitive layer: one operation on named inputs, then normalization and activation.

    Attributes:
        name: unique in the network, TF-slim's variable scope: ``Conv2d_0``, ``expanded_conv_3/expand``.
        op: the operation.
        kernel: rows and columns of the window.
        stride: step of the window.
        rate: dilation of the window.
        depth: output channels; None for the number of input channels.
        inputs: names of the layers whose results are the inputs, `INPUT` for the network's input.
        activation: a name in `ACTIVATIONS`, `DEFAULT_ACTIVATION`, `SLIM_GATE`, or None for none.
        normalization: whether batch normalization follows the operation; a convolution without one has a bias.
        end_points: names under which the model builder returns the result.
    """

    name: str
    op: LayerOp
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    rate: Pair = (1, 1)
    depth: int | None = None
    inputs: tuple[str, ...] = (INPUT,)
    activation: str | None = None
    normalization: bool = False
    end_points: tuple[str, ...] = ()

    @property
    def is_convolution(self) -> bool:
        """Whether the layer has a kernel."""
        return self.op in ("conv2d", "depthwise_conv2d")


class Place(NamedTuple):
    """The names that a definition has in its network.

    Attributes:
        scope: prefix of the names of its layers.
        end_point: prefix of the names of its end points.
    """

    scope: str
    end_point: str


class Site(NamedTuple):
    """What a definition is told of its place in a network, for its expansion into layers.

    Attributes:
        scope: prefix of the names of its layers.
        end_point: prefix of the names of its end points.
        source: name of the layer whose result is the input.
        channels: input channels; None where they are not known.
    """

    scope: str
    end_point: str
    source: str
    channels: int | None

    def known_channels(self) -> int:
        """Return the input channels.

        Raises:
            ValueError: if they are not known.
        """
        if self.channels is None:
            raise ValueError(f"channels: expected the input channels of {self.scope}, got None")
        return self.channels


def convolution(
    name: str,
    depth: int,
    source: str,
    activation: str | None,
    end_point: str = "",
    window: tuple[Pair, Pair, Pair] = ((1, 1), (1, 1), (1, 1)),
    normalization: bool = True,
) -> LayerDef:
    """Return a standard convolution.

    Args:
        name: name of the layer.
        depth: output channels.
        source: name of the layer whose result is the input.
        activation: name of the activation, or None.
        end_point: name under which the result is returned; empty for none.
        window: kernel, stride and rate.
        normalization: whether batch normalization follows.
    """
    end_points = (end_point,) if end_point else ()
    return LayerDef(name, "conv2d", *window, depth, (source,), activation, normalization, end_points)


def depthwise(
    name: str, source: str, activation: str | None, end_point: str, window: tuple[Pair, Pair, Pair]
) -> LayerDef:
    """Return a depthwise convolution with batch normalization.

    Args:
        name: name of the layer.
        source: name of the layer whose result is the input.
        activation: name of the activation, or None.
        end_point: name under which the result is returned.
        window: kernel, stride and rate.
    """
    return LayerDef(name, "depthwise_conv2d", *window, None, (source,), activation, True, (end_point,))


def classifier(num_classes: int, source: str = INPUT) -> LayerDef:
    """Return the layer from pooled features to logits, a 1×1 convolution with a bias.

    Args:
        num_classes: length of the logits.
        source: name of the layer that pools the features.

    Examples:
        >>> classifier(10).name
        'Logits/Conv2d_1c_1x1'
    """
    return LayerDef("Logits/Conv2d_1c_1x1", "conv2d", depth=num_classes, inputs=(source,))
