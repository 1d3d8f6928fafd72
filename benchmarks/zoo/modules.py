"""Modules of published networks, each in a small network of its own."""

from typing import Any

import keras
from keras import ops

from zoo.blocks import Network, classify, conv, depthwise, image

L = keras.layers


def attention_u_net() -> keras.Model:
    """U-Net whose skips pass gates of attention."""
    x = inputs = image()
    skips = []
    for filters in (8, 16):
        x = conv(x, filters)
        skips.append(x)
        x = L.MaxPooling2D()(x)
    x = conv(x, 16)
    for filters, skip in zip((16, 8), reversed(skips), strict=True):
        x = L.UpSampling2D(interpolation="bilinear")(x)
        both = L.Activation("relu")(L.Add()([L.Conv2D(filters, 1)(x), L.Conv2D(filters, 1)(skip)]))
        x = conv(L.Concatenate()([L.Multiply()([skip, L.Conv2D(1, 1, activation="sigmoid")(both)]), x]), filters)
    return keras.Model(inputs, L.Conv2D(1, 1, activation="sigmoid")(x))


def pyramid() -> keras.Model:
    """FPN and PAN: features downwards and upwards again, and shared heads."""
    x = inputs = image(64)
    maps = []
    for filters in (8, 16, 24):
        x = conv(x, filters, stride=2, activation="silu")
        maps.append(L.Conv2D(12, 1)(x))
    for deep in (1, 0):
        maps[deep] = L.Add()([maps[deep], L.UpSampling2D()(maps[deep + 1])])
    for shallow in (0, 1):
        down = conv(maps[shallow], 12, stride=2, activation="silu")
        maps[shallow + 1] = conv(L.Concatenate()([maps[shallow + 1], down]), 12, 1, activation="silu")
    hidden, head = L.Conv2D(12, 3, padding="same", activation="relu"), L.Conv2D(5, 1)
    return keras.Model(inputs, [head(hidden(each)) for each in maps])


def fused_pyramid() -> keras.Model:
    """BiFPN: sums by weights that are learned, of which none is negative."""

    class Weighted(L.Layer):
        def build(self, shapes: Any) -> None:
            self.shares = self.add_weight(shape=(len(shapes),), initializer="ones", name="shares")

        def call(self, tensors: Any) -> Any:
            shares = ops.relu(self.shares)
            return sum(shares[i] * each for i, each in enumerate(tensors)) / (ops.sum(shares) + 1e-4)

    x = inputs = image()
    maps = []
    for filters in (8, 16):
        x = conv(x, filters, stride=2, activation="silu")
        maps.append(L.Conv2D(8, 1)(x))
    shallow = conv(Weighted()([maps[0], L.UpSampling2D()(maps[1])]), 8, activation="silu")
    deep = conv(Weighted()([maps[1], L.MaxPooling2D(3, 2, padding="same")(shallow)]), 8, activation="silu")
    return keras.Model(inputs, [L.Conv2D(4, 1)(shallow), L.Conv2D(4, 1)(deep)])


def spatial_pyramid() -> keras.Model:
    """SPP: largest values of three windows, beside what they come from, as in YOLO."""
    inputs = image()
    x = conv(inputs, 16, stride=2)
    pooled = [L.MaxPooling2D(size, 1, padding="same")(x) for size in (3, 5, 9)]
    x = conv(L.Concatenate()([x, *pooled]), 16, 1)
    y = L.MaxPooling2D(5, 1, padding="same")(x)
    x = conv(L.Concatenate()([x, y, L.MaxPooling2D(5, 1, padding="same")(y)]), 16, 1)
    return keras.Model(inputs, classify(x))


def pyramid_pooling() -> keras.Model:
    """PSPNet: means of parts of the image, interpolated to its size."""
    inputs = image()
    x = conv(inputs, 16, stride=2)
    parts = [x]
    for size in (1, 2, 4):
        pooled = conv(L.AveragePooling2D(16 // size)(x), 4, 1)
        parts.append(L.Resizing(16, 16)(pooled))
    return keras.Model(inputs, L.Conv2D(4, 1, activation="softmax")(conv(L.Concatenate()(parts), 16)))


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


def rates() -> keras.Model:
    """ASPP with separable convolutions and the mean of the image, repeated."""
    inputs = image()
    x = conv(inputs, 16, stride=2)
    branches = [conv(x, 8, 1)]
    branches += [
        L.Activation("relu")(L.BatchNormalization()(L.SeparableConv2D(8, 3, padding="same", dilation_rate=rate)(x)))
        for rate in (2, 4)
    ]
    mean = conv(ops.mean(x, (1, 2), keepdims=True), 8, 1)
    branches.append(L.UpSampling2D((16, 16))(mean))
    x = L.Dropout(0.5)(conv(L.Concatenate()(branches), 16, 1))
    return keras.Model(inputs, L.Resizing(32, 32)(L.Conv2D(3, 1)(x)))


def pixel_shuffle() -> keras.Model:
    """Channels to pixels by reshapes and a transpose, beside the interpolated image."""
    inputs = image(16)
    x = L.Conv2D(16, 3, padding="same", activation=keras.layers.PReLU(shared_axes=[1, 2]))(inputs)
    for _ in range(2):
        y = L.Conv2D(16, 3, padding="same", activation="relu")(x)
        x = x + L.Conv2D(16, 3, padding="same")(y)
    x = ops.reshape(L.Conv2D(12, 3, padding="same")(x), (-1, 16, 16, 2, 2, 3))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 32, 32, 3))
    return keras.Model(inputs, ops.clip(x + L.UpSampling2D(interpolation="bilinear")(inputs), 0.0, 1.0))


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


def nested_u() -> keras.Model:
    """U2-Net: small U-Nets as blocks of one, and an output at each depth."""

    def block(x: Any, filters: int, depth: int = 2) -> Any:
        first = x = conv(x, filters)
        skips = []
        for _ in range(depth):
            skips.append(conv(x, filters // 2))
            x = L.MaxPooling2D(2, padding="same")(skips[-1])
        x = conv(x, filters // 2, dilation_rate=2)
        for skip in reversed(skips):
            x = L.UpSampling2D(2, interpolation="bilinear")(x)
            x = conv(L.Concatenate()([x, skip]), filters if skip is skips[0] else filters // 2)
        return L.Add()([x, first])

    inputs = image()
    high = block(inputs, 8)
    low = block(L.MaxPooling2D()(high), 8)
    up = block(L.Concatenate()([high, L.UpSampling2D(2, interpolation="bilinear")(low)]), 8)
    sides = [L.Conv2D(1, 3, padding="same")(up)]
    sides.append(L.UpSampling2D(2, interpolation="bilinear")(L.Conv2D(1, 3, padding="same")(low)))
    fused = L.Conv2D(1, 1)(L.Concatenate()(sides))
    return keras.Model(inputs, [L.Activation("sigmoid")(each) for each in (fused, *sides)])


def high_resolution() -> keras.Model:
    """HRNet: two sizes side by side, each summed into the other."""
    inputs = image()
    high = conv(inputs, 8, stride=2)
    low = conv(high, 16, stride=2)
    for _ in range(2):
        high, low = conv(high, 8), conv(low, 16)
        up = L.UpSampling2D(2, interpolation="nearest")(conv(low, 8, 1, activation=None))
        down = conv(high, 16, stride=2, activation=None)
        high, low = (L.ReLU()(L.Add()(pair)) for pair in ([high, up], [low, down]))
    return keras.Model(inputs, L.Conv2D(5, 1)(high))


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


def decoded_boxes() -> keras.Model:
    """YOLO's boxes, decoded inside of the model: sigmoids, exponentials, and the grid added."""
    inputs = image()
    x = L.LeakyReLU(0.1)(conv(conv(inputs, 8, stride=2), 16, stride=2, activation=None))
    raw = L.Reshape((8, 8, 2, 7))(L.Conv2D(14, 1)(x))
    centres, sizes, scores = raw[..., :2], raw[..., 2:4], raw[..., 4:]
    places = ops.stack(ops.meshgrid(ops.arange(8.0), ops.arange(8.0)), -1)[None, :, :, None]
    boxes = (ops.sigmoid(centres) + places) / 8.0
    sizes = ops.exp(sizes) * ops.array([[0.1, 0.2], [0.3, 0.15]])
    return keras.Model(inputs, [L.Concatenate()([boxes, sizes]), L.Reshape((128, 3))(ops.sigmoid(scores))])


def soft_argmax() -> keras.Model:
    """Places of joints as means by heat maps."""
    inputs = image()
    x = L.Conv2D(5, 1)(conv(conv(inputs, 8, stride=2), 16, stride=2))
    maps = L.Softmax()(L.Permute((2, 1))(L.Reshape((64, 5))(x)))
    grid = ops.reshape(ops.stack(ops.meshgrid(ops.linspace(0, 1, 8), ops.linspace(0, 1, 8)), -1), (64, 2))
    return keras.Model(inputs, ops.matmul(maps, grid))


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


def dense_prediction() -> keras.Model:
    """A depth map: inverted residuals, interpolation, and a function of the results."""
    x = inputs = image()
    x = conv(x, 8, stride=2, activation="relu6")
    y = conv(depthwise(conv(x, 24, 1, activation="relu6"), activation="relu6"), 8, 1, activation=None)
    x = L.UpSampling2D(interpolation="bilinear")(L.Add()([x, y]))
    depth = L.Conv2D(1, 3, padding="same", activation="softplus")(x)
    return keras.Model(inputs, 1.0 / (depth + 0.1))


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
    Network("attention U-Net", attention_u_net),
    Network("FPN and PAN", pyramid),
    Network("BiFPN", fused_pyramid),
    Network("SPP", spatial_pyramid),
    Network("PSPNet", pyramid_pooling),
    Network("asymmetric kernels", asymmetric),
    Network("CBAM", block_attention),
    Network("coordinate attention", coordinate_attention),
    Network("ECA", efficient_channels),
    Network("selective kernels", selective_kernels),
    Network("ASPP", rates),
    Network("pixel shuffle", pixel_shuffle),
    Network("WaveNet", wave_net),
    Network("U2-Net", nested_u),
    Network("HRNet", high_resolution),
    Network("triplets", triplet),
    Network("cosine", cosine),
    Network("layers of one's own", of_layers),
    Network("model of one's own", of_classes, (32, 32, 3)),
    Network("captions", captions),
    Network("speech", speech),
    Network("clips", clips),
    Network("CoAtNet", convolved_attention),
    Network("non-local", non_local),
    Network("ConvNeXt blocks", conv_next),
    Network("group normalization", group_normalized),
    Network("maxout", max_out),
    Network("CoordConv", coordinates),
    Network("YOLO, boxes", decoded_boxes),
    Network("soft argmax", soft_argmax),
    Network("RepVGG", reparameterized),
    Network("octave convolutions", octave),
    Network("focus and CSP", focus),
    Network("depth map", dense_prediction),
    Network("variational autoencoder", generative),
    Network("wide and deep", wide_and_deep),
    Network("stochastic depth", stochastic_depth),
)
