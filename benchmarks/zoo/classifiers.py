"""Classifiers: those of `keras.applications`, and others as people write them."""

from collections.abc import Callable
from typing import Any

import keras
from keras import applications, ops

from tfsep import models
from tfsep.defs import NETWORKS
from zoo.blocks import PIXELS, Network, classify, conv, depthwise, image

L = keras.layers


def application(name: str, size: int = 32, **options: Any) -> Callable[[], keras.Model]:
    """A network of `keras.applications`, untrained."""
    return lambda: getattr(applications, name)(
        weights=None, input_shape=(size, size, 3), include_top=True, classes=10, **options
    )


def definitions(name: str, size: int = 64) -> Callable[[], keras.Model]:
    """A network of `tfsep.defs`."""
    return lambda: models.from_definitions(NETWORKS[name], (size, size, 3), 10, 0.25)


def ds_cnn() -> keras.Model:
    """Keyword spotting of MLPerf Tiny."""
    inputs = L.Input((49, 10, 1))
    x = L.Conv2D(16, (10, 4), 2, padding="same", use_bias=False)(inputs)
    x = L.Activation("relu")(L.BatchNormalization()(x))
    for _ in range(4):
        x = conv(depthwise(x), 16, 1)
    x = L.AveragePooling2D((25, 5))(L.Dropout(0.4)(x))
    return keras.Model(inputs, L.Dense(12, activation="softmax")(L.Flatten()(x)))


def shuffle_net() -> keras.Model:
    """ShuffleNet: grouped 1×1 convolutions and a shuffle of channels."""
    inputs = image()
    x = conv(inputs, 16, stride=2)
    for _ in range(2):
        y = conv(x, 16, 1, groups=4)
        y = L.Reshape((16, 16, 16))(L.Permute((1, 2, 4, 3))(L.Reshape((16, 16, 4, 4))(y)))
        x = L.Activation("relu")(L.Add()([x, conv(depthwise(y, activation=None), 16, 1, activation=None, groups=4)]))
    return keras.Model(inputs, classify(x))


def shuffle_net_v2() -> keras.Model:
    """ShuffleNet v2: half of the channels pass."""
    inputs = image()
    x = conv(inputs, 16, stride=2)
    for _ in range(2):
        kept, y = ops.split(x, 2, axis=-1)
        y = conv(depthwise(conv(y, 8, 1), activation=None), 8, 1)
        x = L.Reshape((16, 16, 16))(L.Permute((1, 2, 4, 3))(L.Reshape((16, 16, 2, 8))(L.Concatenate()([kept, y]))))
    return keras.Model(inputs, classify(x))


def ghost() -> keras.Model:
    """GhostNet: half of the channels by cheap depthwise filters."""
    inputs = image()
    x = conv(inputs, 16, stride=2)
    for _ in range(2):
        y = conv(x, 8, 1)
        x = L.Add()([x, L.Concatenate()([y, depthwise(y, activation=None)])])
    return keras.Model(inputs, classify(x))


def fire() -> keras.Model:
    """SqueezeNet's modules."""
    inputs = image()
    x = L.Conv2D(16, 3, 2, activation="relu")(inputs)
    for filters in (4, 8):
        y = L.Conv2D(filters, 1, activation="relu")(x)
        branches = [L.Conv2D(2 * filters, size, padding="same", activation="relu")(y) for size in (1, 3)]
        x = L.MaxPooling2D(3, 2)(L.Concatenate()(branches))
    return keras.Model(inputs, L.Activation("softmax")(L.GlobalAveragePooling2D()(L.Conv2D(10, 1)(x))))


def conv_mixer() -> keras.Model:
    """ConvMixer: normalizations behind activations."""
    inputs = image()
    x = L.BatchNormalization()(L.Activation("gelu")(L.Conv2D(16, 4, 4)(inputs)))
    for _ in range(3):
        y = L.BatchNormalization()(L.Activation("gelu")(L.DepthwiseConv2D(5, padding="same")(x)))
        x = L.BatchNormalization()(L.Activation("gelu")(L.Conv2D(16, 1)(L.Add()([x, y]))))
    return keras.Model(inputs, classify(x))


def squeeze_excite() -> keras.Model:
    """Gates of channels."""
    inputs = image()
    x = conv(inputs, 16, stride=2)
    for _ in range(3):
        gate = L.Dense(16, activation="sigmoid")(L.Dense(4, activation="relu")(L.GlobalAveragePooling2D()(x)))
        x = L.Add()([x, conv(L.Multiply()([x, L.Reshape((1, 1, 16))(gate)]), 16)])
    return keras.Model(inputs, classify(x))


def inception() -> keras.Model:
    """Parallel kernels, concatenated."""
    inputs = image()
    x = conv(inputs, 8, stride=2)
    for _ in range(2):
        pooled = conv(L.MaxPooling2D(3, 1, padding="same")(x), 8, 1)
        x = L.Concatenate()([conv(x, 8, 1), conv(conv(x, 8, 1), 8, 3), conv(conv(x, 4, 1), 8, 5), pooled])
    return keras.Model(inputs, classify(x))


def dense_block() -> keras.Model:
    """DenseNet's block: normalization and activation in front of each convolution."""
    inputs = image()
    x = L.Conv2D(8, 3, 2, padding="same", use_bias=False)(inputs)
    for _ in range(4):
        y = L.Conv2D(8, 3, padding="same", use_bias=False)(L.Activation("relu")(L.BatchNormalization()(x)))
        x = L.Concatenate()([x, y])
    return keras.Model(inputs, classify(L.Activation("relu")(L.BatchNormalization()(x))))


def res_net_v2() -> keras.Model:
    """Pre-activation residual blocks."""
    inputs = image()
    x = L.Conv2D(16, 3, 2, padding="same")(inputs)
    for _ in range(3):
        y = L.Conv2D(16, 3, padding="same", use_bias=False)(L.Activation("relu")(L.BatchNormalization()(x)))
        y = L.Conv2D(16, 3, padding="same")(L.Activation("relu")(L.BatchNormalization()(y)))
        x = L.Add()([x, y])
    return keras.Model(inputs, classify(L.Activation("relu")(L.BatchNormalization()(x))))


def res_net_8() -> keras.Model:
    """Image classification of MLPerf Tiny."""
    inputs = image()
    x = conv(inputs, 8)
    for filters, stride in ((8, 1), (16, 2), (32, 2)):
        y = conv(conv(x, filters, stride=stride), filters, activation=None)
        x = x if stride == 1 else L.Conv2D(filters, 1, stride)(x)
        x = L.Activation("relu")(L.Add()([x, y]))
    return keras.Model(inputs, L.Dense(10, activation="softmax")(L.Flatten()(L.AveragePooling2D(8)(x))))


ROWS = (
    Network("ConvNeXt tiny", application("ConvNeXtTiny"), values=PIXELS),
    Network("DenseNet 121", application("DenseNet121")),
    Network("EfficientNet B0", application("EfficientNetB0"), values=PIXELS),
    Network("EfficientNet V2 B0", application("EfficientNetV2B0"), values=PIXELS),
    Network("Inception v3", application("InceptionV3", 75)),
    Network("Inception-ResNet v2", application("InceptionResNetV2", 75)),
    Network("MobileNet", application("MobileNet", alpha=0.25)),
    Network("MobileNet v2", application("MobileNetV2", alpha=0.35)),
    Network("MobileNet v3 small", application("MobileNetV3Small", alpha=0.75), values=PIXELS),
    Network("MobileNet v3 large", application("MobileNetV3Large", alpha=0.75), values=PIXELS),
    Network("MobileNet v3 minimalistic", application("MobileNetV3Small", minimalistic=True), values=PIXELS),
    Network("NASNet mobile", application("NASNetMobile")),
    Network("ResNet 50", application("ResNet50")),
    Network("ResNet 50 v2", application("ResNet50V2")),
    Network("VGG 16", application("VGG16")),
    Network("Xception", application("Xception", 71)),
    Network("slim's MobileNet v1", definitions("mobilenet_v1")),
    Network("Fashion-MNIST's network", lambda: models.from_definitions(NETWORKS["fashion_mnist"], num_classes=10)),
    Network("DS-CNN", ds_cnn),
    Network("ShuffleNet", shuffle_net),
    Network("ShuffleNet v2", shuffle_net_v2),
    Network("GhostNet", ghost),
    Network("SqueezeNet", fire),
    Network("ConvMixer", conv_mixer),
    Network("squeeze-excite", squeeze_excite),
    Network("Inception block", inception),
    Network("dense block", dense_block),
    Network("ResNet v2 block", res_net_v2),
    Network("ResNet 8", res_net_8),
)
