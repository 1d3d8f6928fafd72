"""Networks from images to images, boxes and maps."""

import keras
import tensorflow as tf
from keras import ops

from zoo.blocks import Network, conv, depthwise, image

L = keras.layers


def u_net(normalized: bool = True) -> keras.Model:
    """U-Net with skips, transposed convolutions and a mask."""
    x = inputs = image()
    skips = []
    for filters in (8, 16):
        x = (
            conv(conv(x, filters), filters)
            if normalized
            else L.Conv2D(filters, 3, padding="same", activation="relu")(x)
        )
        skips.append(x)
        x = L.MaxPooling2D()(x)
    x = conv(x, 32)
    for filters, skip in zip((16, 8), reversed(skips), strict=True):
        x = L.Conv2DTranspose(filters, 2, 2, padding="same")(x)
        x = conv(L.Concatenate()([x, skip]), filters)
    return keras.Model(inputs, L.Conv2D(1, 1, activation="sigmoid")(x))


def u_net_upsampling() -> keras.Model:
    """U-Net whose decoder repeats pixels or interpolates."""
    x = inputs = image()
    first = conv(x, 8)
    second = conv(L.MaxPooling2D()(first), 16)
    x = conv(L.MaxPooling2D()(second), 16)
    x = conv(L.Concatenate()([L.UpSampling2D()(x), second]), 16)
    x = conv(L.Concatenate()([L.UpSampling2D(interpolation="bilinear")(x), first]), 8)
    return keras.Model(inputs, L.Conv2D(4, 1, activation="softmax")(x))


def deeplab() -> keras.Model:
    """DeepLab's head: parallel rates, the mean of the image, and interpolation."""
    inputs = image(64)
    low = depthwise(conv(inputs, 8, stride=2))
    x = conv(depthwise(conv(low, 16, 1), 2), 16, 1)
    branches = [conv(x, 8, 1), *(conv(depthwise(x, rate=rate), 8, 1) for rate in (2, 4))]
    pooled = conv(L.GlobalAveragePooling2D(keepdims=True)(x), 8, 1)
    branches.append(L.UpSampling2D(16, interpolation="bilinear")(pooled))
    x = conv(L.Concatenate()(branches), 16, 1)
    x = L.Concatenate()([L.UpSampling2D(2, interpolation="bilinear")(x), conv(low, 8, 1)])
    return keras.Model(inputs, L.UpSampling2D(2, interpolation="bilinear")(L.Conv2D(5, 1)(conv(x, 8))))


def lraspp() -> keras.Model:
    """MobileNet v3's segmentation head."""
    inputs = image(64)
    low = conv(inputs, 8, stride=4)
    x = conv(depthwise(low, 2), 16, 1, activation="hard_silu")
    gate = L.Conv2D(16, 1, activation="sigmoid")(L.AveragePooling2D(8, padding="same")(x))
    x = L.Multiply()([conv(x, 16, 1), L.Resizing(8, 8)(gate)])
    return keras.Model(
        inputs,
        L.Add()([L.Conv2D(3, 1)(L.UpSampling2D(2, interpolation="bilinear")(x)), L.Conv2D(3, 1)(low)]),
    )


def ssd() -> keras.Model:
    """Boxes and scores of anchors at three scales."""
    x = inputs = image(64)
    boxes, scores = [], []
    for filters in (8, 16, 24, 32):
        x = conv(depthwise(conv(x, filters, 1), 2), filters, 1, activation="relu6")
        if filters > 8:
            boxes.append(L.Reshape((-1, 4))(L.Conv2D(12, 3, padding="same")(x)))
            scores.append(L.Reshape((-1, 5))(L.Conv2D(15, 3, padding="same")(x)))
    return keras.Model(
        inputs,
        {"boxes": L.Concatenate(1)(boxes), "scores": L.Activation("sigmoid")(L.Concatenate(1)(scores))},
    )


def yolo() -> keras.Model:
    """YOLO: leaky rectifiers, two scales, boxes and scores of one convolution."""
    inputs = image(64)
    x = inputs
    for filters in (8, 16, 32):
        x = L.LeakyReLU(0.1)(conv(x, filters, stride=2, activation=None))
    small = L.LeakyReLU(0.1)(conv(x, 32, stride=2, activation=None))
    up = L.UpSampling2D()(conv(small, 16, 1))
    heads = [L.Conv2D(3 * 9, 1)(small), L.Conv2D(3 * 9, 1)(L.Concatenate()([up, x]))]
    return keras.Model(inputs, heads)


def yolo_decoded() -> keras.Model:
    """YOLO v8's kind of head: SiLU, split channels, distances and scores in one tensor."""
    x = inputs = image(32)
    x = conv(x, 8, stride=2, activation="silu")
    x = conv(x, 16, stride=2, activation="silu")
    left, right = ops.split(x, 2, axis=-1)
    x = conv(L.Concatenate()([left, right, conv(conv(right, 8, activation="silu"), 8, activation="silu")]), 16, 1)
    boxes = L.Reshape((64, 4))(L.Conv2D(4, 1, activation="relu")(x))
    scores = L.Reshape((64, 3))(L.Conv2D(3, 1, activation="sigmoid")(x))
    return keras.Model(inputs, L.Concatenate()([boxes, scores]))


def center_net() -> keras.Model:
    """Heat map, size and offset of objects as three outputs."""
    inputs = image(32)
    x = conv(conv(inputs, 8, stride=2), 16)
    x = L.Activation("relu")(L.BatchNormalization()(L.Conv2DTranspose(8, 4, 2, padding="same", use_bias=False)(x)))
    return keras.Model(
        inputs,
        [
            L.Conv2D(3, 1, activation="sigmoid")(x),
            L.Conv2D(2, 1, activation="softplus")(x),
            L.Conv2D(2, 1)(x),
        ],
    )


def pose() -> keras.Model:
    """Heat maps of joints from stacked hourglasses."""
    inputs = image()
    x = conv(inputs, 8, stride=2)
    maps = []
    for _ in range(2):
        down = conv(L.MaxPooling2D()(x), 8)
        x = L.Add()([x, L.UpSampling2D()(conv(down, 8))])
        maps.append(L.Conv2D(5, 1)(x))
        x = L.Add()([x, L.Conv2D(8, 1)(maps[-1])])
    return keras.Model(inputs, maps)


def autoencoder() -> keras.Model:
    """Images to a code and back."""
    x = inputs = image(28, 1)
    for filters in (8, 16):
        x = conv(x, filters, stride=2)
    x = L.Reshape((7, 7, 8))(L.Dense(7 * 7 * 8, activation="relu")(L.Dense(12, name="code")(L.Flatten()(x))))
    for filters in (16, 8):
        x = L.Activation("relu")(L.BatchNormalization()(L.Conv2DTranspose(filters, 3, 2, padding="same")(x)))
    return keras.Model(inputs, L.Conv2D(1, 3, padding="same", activation="sigmoid")(x))


def super_resolution() -> keras.Model:
    """ESPCN: channels to pixels."""
    x = inputs = image(16)
    for filters in (16, 16):
        x = L.Conv2D(filters, 3, padding="same", activation="relu")(x)
    x = L.Conv2D(12, 3, padding="same")(x)
    return keras.Model(inputs, L.Lambda(lambda y: tf.nn.depth_to_space(y, 2), output_shape=(32, 32, 3))(x))


def super_resolution_residual() -> keras.Model:
    """EDSR: scaled residual sums, no normalization."""
    inputs = image(16)
    x = first = L.Conv2D(16, 3, padding="same")(inputs)
    for _ in range(3):
        y = L.Conv2D(16, 3, padding="same")(L.Conv2D(16, 3, padding="same", activation="relu")(x))
        x = x + 0.1 * y
    x = L.Conv2DTranspose(16, 4, 2, padding="same")(L.Add()([first, x]))
    return keras.Model(inputs, L.Conv2D(3, 3, padding="same")(x))


def denoise() -> keras.Model:
    """DnCNN on images of any size: the noise, subtracted."""
    inputs = L.Input((None, None, 1))
    x = L.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    for _ in range(3):
        x = conv(x, 8)
    return keras.Model(inputs, inputs - L.Conv2D(1, 3, padding="same")(x))


def pix2pix() -> keras.Model:
    """Generator: leaky rectifiers down, transposed convolutions up, tanh."""
    x = inputs = image()
    skips = []
    for filters in (8, 16, 16):
        x = L.Conv2D(filters, 4, 2, padding="same", use_bias=False)(x)
        x = L.LeakyReLU(0.2)(L.BatchNormalization()(x))
        skips.append(x)
    for filters, skip in ((16, skips[1]), (8, skips[0])):
        x = L.Dropout(0.5)(L.BatchNormalization()(L.Conv2DTranspose(filters, 4, 2, padding="same", use_bias=False)(x)))
        x = L.Concatenate()([L.Activation("relu")(x), skip])
    return keras.Model(inputs, L.Conv2DTranspose(3, 4, 2, padding="same", activation="tanh")(x))


def generator() -> keras.Model:
    """DCGAN: noise to images."""
    x = inputs = L.Input((16,))
    x = L.Reshape((4, 4, 16))(L.Dense(256, use_bias=False)(x))
    for filters in (8, 8):
        x = L.Conv2DTranspose(filters, 5, 2, padding="same", use_bias=False)(L.LeakyReLU()(L.BatchNormalization()(x)))
    return keras.Model(inputs, L.Conv2D(1, 3, padding="same", activation="tanh")(x))


def style_transfer() -> keras.Model:
    """Instance normalization and explicit padding."""
    inputs = image()
    x = L.Conv2D(8, 5)(L.ZeroPadding2D(2)(inputs))
    for stride in (2, 1):
        x = L.Activation("relu")(L.GroupNormalization(-1)(L.Conv2D(8, 3, stride, padding="same")(x)))
    x = L.Conv2D(3, 3, padding="same", activation="tanh")(L.UpSampling2D()(x))
    return keras.Model(inputs, x)


ROWS = (
    Network("U-Net", u_net),
    Network("U-Net, no normalization", lambda: u_net(normalized=False)),
    Network("U-Net, upsampling", u_net_upsampling),
    Network("DeepLab head", deeplab),
    Network("LR-ASPP head", lraspp),
    Network("SSD heads", ssd),
    Network("YOLO", yolo),
    Network("YOLO, decoded", yolo_decoded),
    Network("CenterNet", center_net),
    Network("autoencoder", autoencoder),
    Network("super-resolution, ESPCN", super_resolution),
    Network("super-resolution, EDSR", super_resolution_residual),
    Network("denoising, any size", denoise, (24, 32, 1)),
    Network("pix2pix", pix2pix),
    Network("DCGAN", generator),
    Network("style transfer", style_transfer),
    Network("hourglasses", pose),
)
