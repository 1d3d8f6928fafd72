"""The networks of the calibration table: a small one of each kind that people use, as data.

They are built of layers that Keras 2 has too, since toolkits that are bound to it quantize the same weights.
"""

from typing import Any, NamedTuple

IMAGE_SHAPE = (28, 28, 1)
CLASSES = 10


class Inverted(NamedTuple):
    """An inverted residual: expanded, filtered channel by channel, projected, and added to its input where it can be.

    Attributes:
        kernel: side of the depthwise filter.
        expand: channels between, as a multiple of the input's.
        channels: of the result.
        stride: of the filter.
        squeeze: channels of the squeeze-excite, as a share of the input's; 0 for none.
        activation: "relu", "relu6", "silu" or "hard_silu".
    """

    kernel: int
    expand: int
    channels: int
    stride: int
    squeeze: float
    activation: str


class Separable(NamedTuple):
    """A depthwise and a pointwise convolution.

    Attributes:
        channels: of the result.
        stride: of the depthwise filter.
        activation: behind both.
    """

    channels: int
    stride: int
    activation: str = "relu6"


class TrainedNetwork(NamedTuple):
    """A network of the table.

    Attributes:
        title: what it is like.
        stem: channels of the first convolution, which has the activation of the first block.
        blocks: its blocks.
        head: channels of the last convolution, which has the activation of the last block; 0 for none.
        gate: function of a squeeze-excite's gate.
        epochs: length of its training; 0 for the weights of the model that ships with the package.
        halvings: most halvings by which a channel of an even network is made smaller; 0 leaves it as it is trained.
    """

    title: str
    stem: int
    blocks: tuple[Inverted | Separable, ...]
    head: int = 0
    gate: str = "sigmoid"
    epochs: int = 18
    halvings: int = 0


NETWORKS = {
    "silu": TrainedNetwork(
        "like EfficientNet: silu, squeeze-excite",
        16,
        (
            Inverted(3, 1, 16, 2, 0.25, "silu"),
            Inverted(3, 4, 24, 1, 0.25, "silu"),
            Inverted(3, 4, 24, 1, 0.25, "silu"),
            Inverted(5, 4, 48, 2, 0.25, "silu"),
            Inverted(5, 4, 48, 1, 0.25, "silu"),
            Inverted(3, 4, 64, 1, 0.25, "silu"),
            Inverted(3, 4, 64, 1, 0.25, "silu"),
        ),
        192,
        epochs=18,
    ),
    "hard-swish": TrainedNetwork(
        "like MobileNet v3: ReLU, then hard-swish with squeeze-excite",
        16,
        (
            Inverted(3, 1, 16, 2, 0, "relu"),
            Inverted(3, 4, 24, 1, 0, "relu"),
            Inverted(3, 3, 24, 1, 0, "relu"),
            Inverted(5, 4, 48, 2, 0.25, "hard_silu"),
            Inverted(5, 4, 48, 1, 0.25, "hard_silu"),
            Inverted(5, 4, 64, 1, 0.25, "hard_silu"),
            Inverted(5, 4, 64, 1, 0.25, "hard_silu"),
        ),
        192,
        gate="hard_sigmoid",
        epochs=18,
    ),
    "inverted-residual": TrainedNetwork(
        "like MobileNet v2: inverted residuals, ReLU6",
        16,
        (
            Inverted(3, 1, 16, 2, 0, "relu6"),
            Inverted(3, 4, 24, 1, 0, "relu6"),
            Inverted(3, 4, 24, 1, 0, "relu6"),
            Inverted(3, 4, 48, 2, 0, "relu6"),
            Inverted(3, 4, 48, 1, 0, "relu6"),
            Inverted(3, 4, 64, 1, 0, "relu6"),
            Inverted(3, 4, 64, 1, 0, "relu6"),
        ),
        192,
    ),
    "uneven": TrainedNetwork(
        "MobileNet v1, ReLU6, channels of unlike sizes",
        32,
        (
            Separable(64, 1),
            *(Separable(160, stride) for stride in (2, 1, 1)),
            *(Separable(256, stride) for stride in (2, 1, 1)),
            Separable(320, 1),
        ),
        epochs=0,
        halvings=8,
    ),
}
"""The networks, by name."""


def build(network: TrainedNetwork, keras: Any) -> Any:
    """Return a network from prepared images to logits.

    Args:
        network: its record.
        keras: the module with `Input`, `Model` and `layers`, of Keras 2 or 3.
    """
    make = _Builder(keras.layers, network.gate)
    inputs = keras.Input(IMAGE_SHAPE)
    x = make.convolved(inputs, network.stem, 3, network.blocks[0].activation)
    for block in network.blocks:
        x = make.inverted(x, block) if isinstance(block, Inverted) else make.separable(x, block)
    if network.head:
        x = make.convolved(x, network.head, 1, network.blocks[-1].activation)
    x = keras.layers.Dropout(0.1)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(x))


class _Builder(NamedTuple):
    """The layers of a network.

    Attributes:
        layers: the module of layers.
        gate: function of a squeeze-excite's gate.
    """

    layers: Any
    gate: str

    def convolved(self, x: Any, channels: int, kernel: int, activation: str, stride: int = 1) -> Any:
        """Return a convolution, depthwise for 0 channels, its normalization and its activation."""
        options = {"strides": stride, "padding": "same", "use_bias": False}
        layer = self.layers.Conv2D(channels, kernel, **options) if channels else None
        x = (layer or self.layers.DepthwiseConv2D(kernel, **options))(x)
        return self._activated(self.layers.BatchNormalization(momentum=0.99)(x), activation)

    def inverted(self, x: Any, block: Inverted) -> Any:
        """Return an inverted residual."""
        entered, channels = x, x.shape[-1]
        if block.expand > 1:
            x = self.convolved(x, block.expand * channels, 1, block.activation)
        x = self.convolved(x, 0, block.kernel, block.activation, block.stride)
        if block.squeeze:
            x = self._excited(x, max(8, int(block.squeeze * channels)), block.activation)
        x = self.convolved(x, block.channels, 1, "linear")
        return self.layers.Add()([entered, x]) if x.shape == entered.shape else x

    def separable(self, x: Any, block: Separable) -> Any:
        """Return a depthwise and a pointwise convolution."""
        x = self.convolved(x, 0, 3, block.activation, block.stride)
        return self.convolved(x, block.channels, 1, block.activation)

    def _excited(self, x: Any, squeezed: int, activation: str) -> Any:
        """Each channel times a gate, computed of the means of all channels."""
        gate = self.layers.GlobalAveragePooling2D(keepdims=True)(x)
        gate = self.layers.Conv2D(squeezed, 1)(gate)
        gate = self._activated(gate, "relu" if activation == "hard_silu" else activation)
        gate = self.layers.Conv2D(x.shape[-1], 1)(gate)
        return self.layers.Multiply()([x, self._activated(gate, self.gate)])

    def _activated(self, x: Any, activation: str) -> Any:
        if activation == "linear":
            return x
        return (self.layers.ReLU(6.0) if activation == "relu6" else self.layers.Activation(activation))(x)
