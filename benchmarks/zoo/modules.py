"""Modules of published networks, each in a small network of its own."""

from typing import Any

import keras
from keras import ops

from zoo.blocks import Network, classify, conv, image

L = keras.layers


def asymmetric() -> keras.Model:
    """Inception blocks with kernels of one row and one column."""
    inputs = image()
    x = conv(inputs, 8, stride=2)
    for _ in range(2):
        rows = conv(conv(conv(x, 8, 1), 8, (1, 7)), 8, (7, 1))
        halves = conv(x, 8, 1)
        both = [conv(halves, 4, (1, 3)), conv(halves, 4, (3, 1))]
        pooled = conv(L.AveragePooling2D(3, 1, padding="same")(x), 8, 1)
        x = L.Concatenate()([rows, *both, pooled])
    x = L.Concatenate()([conv(x, 8, 3, stride=2), L.MaxPooling2D(3, 2, padding="same")(x)])
    return keras.Model(inputs, classify(x))


def triplet() -> keras.Model:
    """Three images by one network, as unit vectors, and the distances of the first to the others."""
    tower = keras.Sequential(
        [image(), L.Conv2D(8, 3, 2, activation="relu"), L.Conv2D(16, 3, 2), L.GlobalMaxPooling2D(), L.Dense(8)]
    )
    inputs = [image(name=name) for name in ("anchor", "positive", "negative")]
    units = [ops.normalize(tower(each), axis=-1) for each in inputs]
    near, far = (ops.sum(ops.square(units[0] - other), -1, keepdims=True) for other in units[1:])
    return keras.Model(inputs, L.Concatenate()([near, far]))


def cosine() -> keras.Model:
    """The angle of two vectors of one network."""
    tower = keras.Sequential(
        [image(), L.Conv2D(8, 3, 2, activation="relu"), L.Flatten(), L.Dense(8, activation="tanh")]
    )
    left, right = image(name="left"), image(name="right")
    return keras.Model([left, right], L.Dot(axes=1, normalize=True)([tower(left), tower(right)]))


class Bottleneck(L.Layer):
    """A residual block of its own class."""

    def __init__(self, filters: int, **options: Any) -> None:
        super().__init__(**options)
        self.filters = filters
        self.reduce, self.filter, self.expand = (
            L.Conv2D(filters // 2, 1),
            L.Conv2D(filters // 2, 3, padding="same"),
            None,
        )
        self.first, self.second = L.BatchNormalization(), L.BatchNormalization()

    def build(self, shape: Any) -> None:
        """Make the layers' weights."""
        self.expand = L.Conv2D(shape[-1], 1)
        half = (*shape[:-1], self.filters // 2)
        self.reduce.build(shape)
        self.first.build(half)
        self.filter.build(half)
        self.second.build(half)
        self.expand.build(half)

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Return the block's results."""
        y = ops.relu(self.first(self.reduce(x), training=training))
        y = ops.relu(self.second(self.filter(y), training=training))
        return ops.silu(x + self.expand(y))


def of_layers() -> keras.Model:
    """Blocks that are layers of their own class."""
    x = inputs = image()
    x = conv(x, 16, stride=2)
    for _ in range(2):
        x = Bottleneck(16)(x)
    return keras.Model(inputs, classify(x))


class Backbone(keras.Model):
    """A model of its own class, of parts that are such."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = keras.Sequential([L.Conv2D(8, 3, 2, padding="same"), L.BatchNormalization(), L.ReLU()])
        self.blocks = [Bottleneck(8), Bottleneck(8)]
        self.heads = {"boxes": L.Conv2D(4, 1), "scores": L.Conv2D(3, 1, activation="sigmoid")}

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Return the heads' results."""
        x = self.stem(x, training=training)
        for block in self.blocks:
            x = block(x, training=training)
        return {name: head(x) for name, head in self.heads.items()}


def of_classes() -> keras.Model:
    """A subclassed model with a dict of outputs."""
    model = Backbone()
    model(keras.ops.zeros((1, 32, 32, 3)))
    return model


def conv_next() -> keras.Model:
    """ConvNeXt's blocks: layer normalization, gelu and scales."""
    inputs = image()
    x = L.LayerNormalization(epsilon=1e-6)(L.Conv2D(16, 4, 4)(inputs))
    for _ in range(2):
        y = L.LayerNormalization(epsilon=1e-6)(L.DepthwiseConv2D(7, padding="same")(x))
        y = L.Dense(16)(L.Dense(64, activation="gelu")(y))
        x = L.Add()([x, 0.1 * y])
    return keras.Model(inputs, L.Dense(4)(L.LayerNormalization()(L.GlobalAveragePooling2D()(x))))


def group_normalized() -> keras.Model:
    """Residual blocks with group normalization and standardized weights out of the way."""
    inputs = image()
    x = L.Conv2D(16, 3, 2, padding="same")(inputs)
    for _ in range(2):
        y = L.Conv2D(16, 3, padding="same")(L.Activation("silu")(L.GroupNormalization(4)(x)))
        x = L.Add()([x, y])
    return keras.Model(inputs, classify(x))


def max_out() -> keras.Model:
    """Maxout: the largest of two halves of the channels; and the smallest of two convolutions."""
    inputs = image()
    halves = ops.split(L.Conv2D(16, 3, 2, padding="same")(inputs), 2, axis=-1)
    x = L.Maximum()(list(halves))
    x = L.Minimum()([conv(x, 8, activation=None), conv(x, 8, activation=None)])
    x = ops.max(ops.reshape(x, (-1, 16, 16, 4, 2)), -1)
    return keras.Model(inputs, L.Dense(4)(L.Flatten()(L.Average()([x, L.Conv2D(4, 1)(x)]))))


def coordinates() -> keras.Model:
    """CoordConv: places of the pixels as two more channels."""

    class Coordinates(L.Layer):
        def call(self, x: Any) -> Any:
            rows, columns = x.shape[1:3]
            grid = ops.stack(ops.meshgrid(ops.linspace(-1, 1, columns), ops.linspace(-1, 1, rows)), -1)
            grid = ops.broadcast_to(grid[None], (ops.shape(x)[0], rows, columns, 2))
            return ops.concatenate([x, ops.cast(grid, x.dtype)], -1)

    inputs = image()
    return keras.Model(inputs, classify(conv(Coordinates()(conv(inputs, 8, stride=2)), 16)))


def reparameterized() -> keras.Model:
    """RepVGG's three branches, normalized each, and blocks that add scaled ones."""
    inputs = image()
    x = conv(inputs, 8, stride=2)
    for _ in range(2):
        x = L.ReLU()(L.Add()([conv(x, 8, activation=None), conv(x, 8, 1, activation=None), L.BatchNormalization()(x)]))
    return keras.Model(inputs, classify(x))


def octave() -> keras.Model:
    """Two frequencies, the low one pooled, that exchange what they know."""
    inputs = image()
    high = conv(inputs, 8, stride=2)
    low = conv(L.AveragePooling2D(2)(high), 8)
    for _ in range(2):
        up = L.UpSampling2D()(L.Conv2D(8, 3, padding="same")(low))
        down = L.Conv2D(8, 3, padding="same")(L.AveragePooling2D(2)(high))
        high = L.ReLU()(L.BatchNormalization()(L.Add()([L.Conv2D(8, 3, padding="same")(high), up])))
        low = L.ReLU()(L.BatchNormalization()(L.Add()([L.Conv2D(8, 3, padding="same")(low), down])))
    return keras.Model(inputs, classify(L.Concatenate()([high, L.UpSampling2D()(low)])))


def focus() -> keras.Model:
    """YOLO v5's focus and CSP blocks: every second pixel of each kind as channels."""
    inputs = image()
    x = L.Concatenate()([inputs[:, ::2, ::2], inputs[:, 1::2, ::2], inputs[:, ::2, 1::2], inputs[:, 1::2, 1::2]])
    x = conv(x, 16, activation="silu")
    left, right = conv(x, 8, 1, activation="silu"), conv(x, 8, 1, activation="silu")
    right = L.Add()([right, conv(conv(right, 8, 1, activation="silu"), 8, activation="silu")])
    return keras.Model(inputs, classify(conv(L.Concatenate()([left, right]), 16, 1, activation="mish")))


def generative() -> keras.Model:
    """The encoder of a variational autoencoder, with chance at training alone, and its decoder."""

    class Sampling(L.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.seed = keras.random.SeedGenerator(0)

        def call(self, tensors: Any, training: bool | None = None) -> Any:
            mean, log_variance = tensors
            if not training:
                return mean
            return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.seed)

    inputs = image(28, 1)
    x = L.Flatten()(L.Conv2D(8, 3, 4, padding="same", activation="relu")(inputs))
    code = Sampling()([L.Dense(4)(x), L.Dense(4)(x)])
    x = L.Reshape((7, 7, 8))(L.Dense(392, activation="relu")(code))
    x = L.Conv2DTranspose(8, 3, 4, padding="same", activation="relu")(x)
    return keras.Model(inputs, L.Conv2D(1, 3, padding="same", activation="sigmoid")(x))


def wide_and_deep() -> keras.Model:
    """Columns, ids and an image to one number."""
    columns, ids = L.Input((8,), name="columns"), L.Input((2,), dtype="int32", name="ids")
    picture = image(16, name="picture")
    known = L.Flatten()(L.Embedding(50, 4)(ids))
    deep = L.Dense(16, activation="relu")(L.BatchNormalization()(L.Concatenate()([columns, known])))
    seen = L.GlobalMaxPooling2D()(conv(picture, 8, stride=2))
    both = L.Concatenate()([L.Dense(8, activation="selu")(deep), seen])
    return keras.Model([columns, ids, picture], L.Add()([L.Dense(1)(both), L.Dense(1)(columns)]))


def stochastic_depth() -> keras.Model:
    """Blocks that training leaves out by chance, noise and dropout of whole maps."""
    inputs = image()
    x = conv(L.GaussianNoise(0.1)(inputs), 8, stride=2)
    for _ in range(2):
        y = L.SpatialDropout2D(0.2)(conv(x, 8, activation=None))
        x = L.ELU()(L.Add()([x, L.Dropout(0.2, noise_shape=(None, 1, 1, 1))(y)]))
    return keras.Model(inputs, classify(x))


ROWS = (
    Network("asymmetric kernels", asymmetric),
    Network("triplets", triplet),
    Network("cosine", cosine),
    Network("layers of one's own", of_layers),
    Network("model of one's own", of_classes, (32, 32, 3)),
    Network("ConvNeXt blocks", conv_next),
    Network("group normalization", group_normalized),
    Network("maxout", max_out),
    Network("CoordConv", coordinates),
    Network("RepVGG", reparameterized),
    Network("octave convolutions", octave),
    Network("focus and CSP", focus),
    Network("variational autoencoder", generative),
    Network("wide and deep", wide_and_deep),
    Network("stochastic depth", stochastic_depth),
)
