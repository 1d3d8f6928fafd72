"""Networks of sequences: convolutions in time, recurrence, attention."""

from collections.abc import Callable
from typing import Any

import keras
from keras import Sequential

from zoo.blocks import Network, conv, image

L = keras.layers


def tcn() -> keras.Model:
    """Dilated causal convolutions in time, with residual sums."""
    x = inputs = L.Input((64, 6))
    x = L.Conv1D(16, 1)(x)
    for rate in (1, 2, 4, 8):
        y = L.Conv1D(16, 3, padding="causal", dilation_rate=rate)(x)
        x = L.Add()([x, L.Activation("relu")(L.BatchNormalization()(y))])
    return keras.Model(inputs, L.Dense(4)(L.GlobalAveragePooling1D()(x)))


def wave() -> keras.Model:
    """Separable convolutions of a wave."""
    x = inputs = L.Input((256, 1))
    for filters in (8, 16, 24):
        x = L.Activation("relu")(
            L.BatchNormalization()(L.SeparableConv1D(filters, 9, 4, padding="same", use_bias=False)(x))
        )
    return keras.Model(inputs, L.Dense(5, activation="softmax")(L.Flatten()(x)))


def crnn() -> keras.Model:
    """Text recognition: columns of an image as steps in time."""
    x = inputs = L.Input((32, 64, 1))
    for filters in (8, 16, 16):
        x = L.MaxPooling2D((2, 2))(conv(x, filters))
    x = L.Reshape((8, 64))(L.Permute((2, 1, 3))(x))
    x = L.Bidirectional(L.LSTM(16, return_sequences=True))(x)
    return keras.Model(inputs, L.Dense(11, activation="softmax")(x))


def recurrent(layer: type, **options: Any) -> Callable[[], keras.Model]:
    """A recurrent layer over 12 steps."""
    return lambda: Sequential([L.Input((12, 6)), layer(16, **options), L.Dense(4)])


def text() -> keras.Model:
    """An embedding of 50 words, an L.LSTM and a score."""
    return Sequential(
        [
            L.Input((12,), dtype="int32"),
            L.Embedding(50, 8),
            L.LSTM(8),
            L.Dense(1, activation="sigmoid"),
        ]
    )


def fast_text() -> keras.Model:
    """The mean of embeddings."""
    return Sequential([L.Input((12,), dtype="int32"), L.Embedding(50, 8), L.GlobalAveragePooling1D(), L.Dense(3)])


def transformer(x: Any, heads: int = 2, width: int = 16) -> Any:
    """A block of attention and a feed-forward network."""
    y = L.LayerNormalization()(x)
    x = L.Add()([x, L.MultiHeadAttention(heads, width // heads)(y, y)])
    y = L.Dense(width)(L.Dense(2 * width, activation="gelu")(L.LayerNormalization()(x)))
    return L.Add()([x, y])


def vit() -> keras.Model:
    """Vision transformer: patches, positions, attention."""
    inputs = image()
    x = L.Reshape((16, 16))(L.Conv2D(16, 8, 8)(inputs))
    x = L.EinsumDense("btw,wv->btv", (16, 16), bias_axes="tv")(x)  # positions, learned
    for _ in range(2):
        x = transformer(x)
    return keras.Model(inputs, L.Dense(10)(L.GlobalAveragePooling1D()(L.LayerNormalization()(x))))


def mlp_mixer() -> keras.Model:
    """MLP-Mixer: dense layers over patches and over channels."""
    inputs = image()
    x = L.Reshape((16, 16))(L.Conv2D(16, 8, 8)(inputs))
    for _ in range(2):
        y = L.Permute((2, 1))(L.LayerNormalization()(x))
        x = L.Add()([x, L.Permute((2, 1))(L.Dense(16)(L.Dense(32, activation="gelu")(y)))])
        x = L.Add()([x, L.Dense(16)(L.Dense(32, activation="gelu")(L.LayerNormalization()(x)))])
    return keras.Model(inputs, L.Dense(10)(L.GlobalAveragePooling1D()(x)))


def conv_lstm() -> keras.Model:
    """A convolutional L.LSTM of four frames."""
    return Sequential([L.Input((4, 8, 8, 2)), L.ConvLSTM2D(4, 3, padding="same"), L.Flatten(), L.Dense(3)])


def video() -> keras.Model:
    """3-D convolutions of a clip."""
    x = inputs = L.Input((8, 16, 16, 3))
    for filters in (8, 8):
        x = L.Activation("relu")(L.BatchNormalization()(L.Conv3D(filters, 3, 2, padding="same")(x)))
    return keras.Model(inputs, L.Dense(4)(L.Flatten()(x)))


def frames() -> keras.Model:
    """One network on each of several images."""
    tower = Sequential(
        [
            L.Input((16, 16, 3)),
            L.Conv2D(8, 3, 2),
            L.BatchNormalization(),
            L.Activation("relu"),
            L.Flatten(),
        ]
    )
    inputs = L.Input((4, 16, 16, 3))
    return keras.Model(inputs, L.Dense(3)(L.Flatten()(L.TimeDistributed(tower)(inputs))))


ROWS = (
    Network("TCN", tcn),
    Network("separable 1-D", wave),
    Network("CRNN", crnn),
    Network("GRU", recurrent(L.GRU)),
    Network("LSTM", recurrent(L.LSTM)),
    Network(
        "LSTM, two directions",
        lambda: Sequential([L.Input((12, 6)), L.Bidirectional(L.LSTM(8)), L.Dense(4)]),
    ),
    Network("SimpleRNN", recurrent(L.SimpleRNN)),
    # The first step's product with the state, which is zero.
    Network("GRU, unrolled", recurrent(L.GRU, unroll=True), other_macs=16 * 3 * 16),
    Network("ConvLSTM", conv_lstm),
    Network("text, LSTM", text),
    Network("text, mean", fast_text),
    Network("ViT", vit),
    Network("MLP-Mixer", mlp_mixer),
    Network("3-D convolutions", video),
    Network("TimeDistributed", frames),
)
