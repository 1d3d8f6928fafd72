"""Networks of sequences: convolutions in time, recurrence, attention."""

from collections.abc import Callable
from typing import Any

import keras
from keras import Sequential
from keras.layers import (
    GRU,
    LSTM,
    Activation,
    Add,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Conv2D,
    Conv3D,
    Dense,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    Input,
    LayerNormalization,
    MaxPooling2D,
    MultiHeadAttention,
    Permute,
    Reshape,
    SeparableConv1D,
    TimeDistributed,
)

from zoo.blocks import Network, conv, image


def tcn() -> keras.Model:
    """Dilated causal convolutions in time, with residual sums."""
    x = inputs = Input((64, 6))
    x = Conv1D(16, 1)(x)
    for rate in (1, 2, 4, 8):
        y = Conv1D(16, 3, padding="causal", dilation_rate=rate)(x)
        x = Add()([x, Activation("relu")(BatchNormalization()(y))])
    return keras.Model(inputs, Dense(4)(GlobalAveragePooling1D()(x)))


def wave() -> keras.Model:
    """Separable convolutions of a wave."""
    x = inputs = Input((256, 1))
    for filters in (8, 16, 24):
        x = Activation("relu")(BatchNormalization()(SeparableConv1D(filters, 9, 4, padding="same", use_bias=False)(x)))
    return keras.Model(inputs, Dense(5, activation="softmax")(Flatten()(x)))


def crnn() -> keras.Model:
    """Text recognition: columns of an image as steps in time."""
    x = inputs = Input((32, 64, 1))
    for filters in (8, 16, 16):
        x = MaxPooling2D((2, 2))(conv(x, filters))
    x = Reshape((8, 64))(Permute((2, 1, 3))(x))
    x = Bidirectional(LSTM(16, return_sequences=True))(x)
    return keras.Model(inputs, Dense(11, activation="softmax")(x))


def recurrent(layer: type, **options: Any) -> Callable[[], keras.Model]:
    """A recurrent layer over 12 steps."""
    return lambda: Sequential([Input((12, 6)), layer(16, **options), Dense(4)])


def text() -> keras.Model:
    """An embedding of 50 words, an LSTM and a score."""
    return Sequential([Input((12,), dtype="int32"), Embedding(50, 8), LSTM(8), Dense(1, activation="sigmoid")])


def fast_text() -> keras.Model:
    """The mean of embeddings."""
    return Sequential([Input((12,), dtype="int32"), Embedding(50, 8), GlobalAveragePooling1D(), Dense(3)])


def transformer(x: Any, heads: int = 2, width: int = 16) -> Any:
    """A block of attention and a feed-forward network."""
    y = LayerNormalization()(x)
    x = Add()([x, MultiHeadAttention(heads, width // heads)(y, y)])
    y = Dense(width)(Dense(2 * width, activation="gelu")(LayerNormalization()(x)))
    return Add()([x, y])


def vit() -> keras.Model:
    """Vision transformer: patches, positions, attention."""
    inputs = image()
    x = Reshape((16, 16))(Conv2D(16, 8, 8)(inputs))
    x = keras.layers.EinsumDense("btw,wv->btv", (16, 16), bias_axes="tv")(x)  # positions, learned
    for _ in range(2):
        x = transformer(x)
    return keras.Model(inputs, Dense(10)(GlobalAveragePooling1D()(LayerNormalization()(x))))


def mlp_mixer() -> keras.Model:
    """MLP-Mixer: dense layers over patches and over channels."""
    inputs = image()
    x = Reshape((16, 16))(Conv2D(16, 8, 8)(inputs))
    for _ in range(2):
        y = Permute((2, 1))(LayerNormalization()(x))
        x = Add()([x, Permute((2, 1))(Dense(16)(Dense(32, activation="gelu")(y)))])
        x = Add()([x, Dense(16)(Dense(32, activation="gelu")(LayerNormalization()(x)))])
    return keras.Model(inputs, Dense(10)(GlobalAveragePooling1D()(x)))


def conv_lstm() -> keras.Model:
    """A convolutional LSTM of four frames."""
    return Sequential([Input((4, 8, 8, 2)), keras.layers.ConvLSTM2D(4, 3, padding="same"), Flatten(), Dense(3)])


def video() -> keras.Model:
    """3-D convolutions of a clip."""
    x = inputs = Input((8, 16, 16, 3))
    for filters in (8, 8):
        x = Activation("relu")(BatchNormalization()(Conv3D(filters, 3, 2, padding="same")(x)))
    return keras.Model(inputs, Dense(4)(Flatten()(x)))


def frames() -> keras.Model:
    """One network on each of several images."""
    tower = Sequential([Input((16, 16, 3)), Conv2D(8, 3, 2), BatchNormalization(), Activation("relu"), Flatten()])
    inputs = Input((4, 16, 16, 3))
    return keras.Model(inputs, Dense(3)(Flatten()(TimeDistributed(tower)(inputs))))


ROWS = (
    Network("TCN", tcn),
    Network("separable 1-D", wave),
    Network("CRNN", crnn),
    Network("GRU", recurrent(GRU)),
    Network("LSTM", recurrent(LSTM)),
    Network("LSTM, two directions", lambda: Sequential([Input((12, 6)), Bidirectional(LSTM(8)), Dense(4)])),
    Network("SimpleRNN", recurrent(keras.layers.SimpleRNN)),
    # The first step's product with the state, which is zero.
    Network("GRU, unrolled", recurrent(GRU, unroll=True), other_macs=16 * 3 * 16),
    Network("ConvLSTM", conv_lstm),
    Network("text, LSTM", text),
    Network("text, mean", fast_text),
    Network("ViT", vit),
    Network("MLP-Mixer", mlp_mixer),
    Network("3-D convolutions", video),
    Network("TimeDistributed", frames),
)
