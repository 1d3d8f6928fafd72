"""Networks whose results are maps of pixels, boxes or points: pyramids of sizes and what decodes them."""

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


def dense_prediction() -> keras.Model:
    """A depth map: inverted residuals, interpolation, and a function of the results."""
    x = inputs = image()
    x = conv(x, 8, stride=2, activation="relu6")
    y = conv(depthwise(conv(x, 24, 1, activation="relu6"), activation="relu6"), 8, 1, activation=None)
    x = L.UpSampling2D(interpolation="bilinear")(L.Add()([x, y]))
    depth = L.Conv2D(1, 3, padding="same", activation="softplus")(x)
    return keras.Model(inputs, 1.0 / (depth + 0.1))


ROWS = (
    Network("attention U-Net", attention_u_net),
    Network("FPN and PAN", pyramid),
    Network("BiFPN", fused_pyramid),
    Network("SPP", spatial_pyramid),
    Network("PSPNet", pyramid_pooling),
    Network("ASPP", rates),
    Network("pixel shuffle", pixel_shuffle),
    Network("U2-Net", nested_u),
    Network("HRNet", high_resolution),
    Network("YOLO, boxes", decoded_boxes),
    Network("soft argmax", soft_argmax),
    Network("depth map", dense_prediction),
)
