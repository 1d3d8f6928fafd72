"""Modules of attention, and of steps in time, in small convolutional networks."""

import keras
from keras import ops

from zoo.blocks import Network, classify, conv, image

L = keras.layers


def block_attention() -> keras.Model:
    """CBAM: gates of channels by mean and maximum, then a gate of places by both over the channels."""
    inputs = image()
    x = conv(inputs, 16, stride=2)
    first, second = L.Dense(4, activation="relu"), L.Dense(16)
    pooled = [L.GlobalAveragePooling2D()(x), L.GlobalMaxPooling2D()(x)]
    gate = L.Activation("sigmoid")(L.Add()([second(first(each)) for each in pooled]))
    x = L.Multiply()([x, L.Reshape((1, 1, 16))(gate)])
    places = L.Concatenate()([ops.mean(x, -1, keepdims=True), ops.max(x, -1, keepdims=True)])
    x = L.Multiply()([x, L.Conv2D(1, 7, padding="same", activation="sigmoid")(places)])
    return keras.Model(inputs, classify(x))


def coordinate_attention() -> keras.Model:
    """Gates of rows and of columns, from means over the other."""
    inputs = image()
    x = conv(inputs, 16, stride=2)
    rows = ops.mean(x, 2, keepdims=True)
    columns = ops.transpose(ops.mean(x, 1, keepdims=True), (0, 2, 1, 3))
    both = conv(L.Concatenate(1)([rows, columns]), 8, 1, activation="hard_silu")
    rows, columns = ops.split(both, 2, axis=1)
    rows = L.Conv2D(16, 1, activation="sigmoid")(rows)
    columns = L.Conv2D(16, 1, activation="sigmoid")(L.Permute((2, 1, 3))(columns))
    return keras.Model(inputs, classify(x * rows * columns))


def efficient_channels() -> keras.Model:
    """ECA: gates by a convolution over the channels."""
    inputs = image()
    x = conv(inputs, 16, stride=2)
    gate = L.Reshape((16, 1))(L.GlobalAveragePooling2D()(x))
    gate = L.Reshape((1, 1, 16))(L.Conv1D(1, 3, padding="same", activation="sigmoid", use_bias=False)(gate))
    return keras.Model(inputs, classify(L.Multiply()([x, gate])))


def selective_kernels() -> keras.Model:
    """SKNet: branches by shares that softmax makes over them."""
    inputs = image()
    x = conv(inputs, 8, stride=2)
    branches = [conv(x, 8), conv(x, 8, dilation_rate=2)]
    pooled = L.GlobalAveragePooling2D(keepdims=True)(L.Add()(branches))
    hidden = L.Conv2D(4, 1, activation="relu")(pooled)
    shares = ops.softmax(ops.stack([L.Conv2D(8, 1)(hidden) for _ in branches], 1), 1)
    x = L.Add()([L.Multiply()([each, shares[:, i]]) for i, each in enumerate(branches)])
    return keras.Model(inputs, classify(x))


def wave_net() -> keras.Model:
    """Gates of tanh and sigmoid in time, and the sum of all skips."""
    inputs = L.Input((64, 1))
    x = L.Conv1D(8, 2, padding="causal")(inputs)
    skips = []
    for rate in (1, 2, 4, 8):
        kernels = [L.Conv1D(8, 2, padding="causal", dilation_rate=rate, activation=f) for f in ("tanh", "sigmoid")]
        y = L.Multiply()([kernel(x) for kernel in kernels])
        skips.append(L.Conv1D(8, 1)(y))
        x = L.Add()([x, L.Conv1D(8, 1)(y)])
    x = L.Conv1D(8, 1, activation="relu")(L.Activation("relu")(L.Add()(skips)))
    return keras.Model(inputs, L.Conv1D(16, 1, activation="softmax")(x))


def captions() -> keras.Model:
    """An image's vector and words in front of it: a GRU between convolutions and a dense layer."""
    picture, words = image(name="picture"), L.Input((6,), dtype="int32", name="words")
    state = L.Dense(12, activation="tanh")(L.GlobalAveragePooling2D()(conv(conv(picture, 8, stride=2), 12, stride=2)))
    x = L.GRU(12, return_sequences=True)(L.Embedding(50, 12)(words), initial_state=state)
    return keras.Model([picture, words], L.Dense(50, activation="softmax")(x))


def speech() -> keras.Model:
    """Convolutions, a GRU in two directions, and convolutions again."""
    inputs = L.Input((32, 16, 1))
    x = L.Reshape((16, 64))(conv(inputs, 8, stride=2))
    x = L.Bidirectional(L.GRU(8, return_sequences=True))(x)
    x = L.Conv1D(8, 3, padding="same", activation="relu")(x)
    return keras.Model(inputs, L.Dense(6, activation="softmax")(x))


def clips() -> keras.Model:
    """A network on each frame, and an LSTM over the vectors."""
    tower = keras.Sequential(
        [image(16), L.Conv2D(8, 3, 2), L.BatchNormalization(), L.ReLU(), L.GlobalAveragePooling2D()]
    )
    inputs = L.Input((4, 16, 16, 3))
    return keras.Model(inputs, L.Dense(3, activation="softmax")(L.LSTM(8)(L.TimeDistributed(tower)(inputs))))


def convolved_attention() -> keras.Model:
    """CoAtNet and MobileViT: attention over the pixels between convolutions."""
    inputs = image()
    x = conv(conv(inputs, 16, stride=2, activation="silu"), 16, stride=2, activation="silu")
    y = L.Reshape((64, 16))(x)
    normal = L.LayerNormalization(epsilon=1e-6)(y)
    y = L.Add()([y, L.MultiHeadAttention(2, 8)(normal, normal)])
    x = conv(L.Concatenate()([x, L.Reshape((8, 8, 16))(y)]), 16, activation="silu")
    return keras.Model(inputs, classify(x))


def non_local() -> keras.Model:
    """A non-local block: products of all pixels with all."""
    inputs = image(16)
    x = conv(inputs, 8, stride=2)
    query, key, value = (L.Reshape((64, 4))(L.Conv2D(4, 1)(x)) for _ in range(3))
    weights = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 2, 1))))
    y = L.Conv2D(8, 1)(L.Reshape((8, 8, 4))(ops.matmul(weights, value)))
    return keras.Model(inputs, classify(L.Add()([x, y])))


ROWS = (
    Network("CBAM", block_attention),
    Network("coordinate attention", coordinate_attention),
    Network("ECA", efficient_channels),
    Network("selective kernels", selective_kernels),
    Network("WaveNet", wave_net),
    Network("captions", captions),
    Network("speech", speech),
    Network("clips", clips),
    Network("CoAtNet", convolved_attention),
    Network("non-local", non_local),
)
