"""Networks with inputs, outputs and layers of other kinds."""

import keras
import tensorflow as tf
from keras import Sequential, applications, ops

from tfsep import layers as own
from zoo.blocks import PIXELS, Network, classify, conv, depthwise, image

L = keras.layers


def dense_autoencoder() -> keras.Model:
    """Anomaly detection of MLPerf Tiny."""
    x = inputs = L.Input((640,))
    for units in (32, 32, 8, 32, 32):
        x = L.Activation("relu")(L.BatchNormalization()(L.Dense(units)(x)))
    return keras.Model(inputs, L.Dense(640)(x))


def siamese() -> keras.Model:
    """Distance of two images by one shared network."""
    tower_input = image(28, 1)
    tower = keras.Model(tower_input, L.Dense(8)(L.GlobalAveragePooling2D()(conv(conv(tower_input, 8, stride=2), 16))))
    left, right = image(28, 1, name="left"), image(28, 1, name="right")
    distance = ops.sqrt(ops.sum(ops.square(tower(left) - tower(right)), axis=1, keepdims=True) + 1e-6)
    return keras.Model([left, right], distance)


def with_lambda() -> keras.Model:
    """Lambda layers around a convolution."""
    inputs = image()
    x = L.Lambda(lambda y: (y - 0.5) * 2)(inputs)
    x = L.Lambda(tf.nn.relu6)(conv(x, 8, activation=None))
    return keras.Model(inputs, classify(x))


def preprocessed() -> keras.Model:
    """Resizing, scaling and augmentation inside the model."""
    inputs = L.Input((40, 40, 3))
    x = L.RandomFlip()(L.Resizing(32, 32)(inputs))
    x = L.RandomRotation(0.1)(L.Rescaling(1 / 127.5, -1)(x))
    return keras.Model(inputs, classify(conv(conv(x, 8, stride=2), 16)))


def normalized_input() -> keras.Model:
    """A L.Normalization layer in front."""
    normalization = L.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.04, 0.05, 0.06])
    return Sequential(
        [
            image(),
            normalization,
            L.Conv2D(8, 3),
            L.BatchNormalization(),
            L.Activation("relu"),
            L.Flatten(),
            L.Dense(3),
        ]
    )


def two_inputs() -> keras.Model:
    """An image and a vector."""
    picture, vector = image(name="picture"), L.Input((6,), name="vector")
    x = L.Concatenate()([L.GlobalAveragePooling2D()(conv(picture, 8, stride=2)), L.Dense(8, activation="relu")(vector)])
    return keras.Model({"picture": picture, "vector": vector}, L.Dense(3)(x))


def dict_outputs() -> keras.Model:
    """Two heads by name."""
    inputs = image()
    x = conv(inputs, 8, stride=2)
    return keras.Model(inputs, {"classes": classify(x), "age": L.Dense(1)(L.Flatten()(x))})


def integer_input() -> keras.Model:
    """Bytes as they are, scaled inside."""
    inputs = image(dtype="uint8")
    return keras.Model(inputs, classify(conv(L.Rescaling(1 / 255)(inputs), 8, stride=2)))


def fixed_batch() -> keras.Model:
    """A batch of one, which a reshape needs."""
    inputs = L.Input((16, 16, 3), batch_size=1)
    x = ops.reshape(conv(inputs, 8, stride=2), (1, 512))
    return keras.Model(inputs, L.Dense(4)(x))


def embedding() -> keras.Model:
    """Unit vectors of faces."""
    inputs = image()
    x = L.PReLU(shared_axes=(1, 2))(conv(inputs, 16, stride=2, activation=None))
    x = L.PReLU(shared_axes=(1, 2))(depthwise(x, 2, activation=None))
    return keras.Model(inputs, L.UnitNormalization()(L.Dense(16)(L.Flatten()(x))))


def normalized_by_operation() -> keras.Model:
    """Unit vectors by `keras.ops`."""
    inputs = image()
    return keras.Model(
        inputs, ops.normalize(L.Dense(16)(L.GlobalAveragePooling2D()(conv(inputs, 16, stride=2))), axis=-1)
    )


def nested() -> keras.Model:
    """A model as a layer of a model."""
    backbone = applications.MobileNetV2((32, 32, 3), 0.35, include_top=False, weights=None)
    inputs = image()
    return keras.Model(inputs, L.Dense(4)(L.GlobalAveragePooling2D()(backbone(inputs))))


def separable() -> keras.Model:
    """Separable convolutions of Keras and of this library."""
    inputs = image()
    x = L.Activation("relu")(L.BatchNormalization()(L.SeparableConv2D(8, 3, 2, use_bias=False)(inputs)))
    x = own.DepthwiseSeparableConv(16, strides=2)(x)
    x = own.Conv2D(16, 3, strides=2, rate=2, padding="same", groups=4)(x)
    return keras.Model(inputs, classify(own.Conv2DTranspose(8, 3, strides=2, rate=2, padding="same")(x)))


def deformable() -> keras.Model:
    """A deformable convolution with offsets of its own."""
    inputs = image(16)
    x = conv(inputs, 8, stride=2)
    return keras.Model(inputs, classify(own.DeformableConv2D(8, 3, padding="same")(x)))


def regression() -> keras.Model:
    """A table's columns to three numbers of very different size."""
    inputs = L.Input((8,))
    x = L.Dense(16, activation="tanh")(inputs)
    return keras.Model(inputs, L.Dense(3)(x) * ops.array([100.0, 1.0, 0.2]))


def c3() -> keras.Model:
    """The same layer at two places, and an input that reaches the end."""
    inputs = image(16, 8)
    shared = L.Conv2D(8, 3, padding="same")
    x = shared(L.Activation("relu")(shared(inputs)))
    return keras.Model(inputs, [L.GlobalAveragePooling2D()(L.Add()([x, inputs])), x])


ROWS = (
    Network("autoencoder, dense", dense_autoencoder),
    Network("siamese", siamese),
    Network("Lambda", with_lambda),
    Network("preprocessing inside", preprocessed, values=PIXELS),
    Network("Normalization in front", normalized_input),
    Network("two inputs", two_inputs),
    Network("dict outputs", dict_outputs),
    Network("uint8 input", integer_input),
    Network("fixed batch", fixed_batch),
    Network("face embedding", embedding),
    Network("ops.normalize", normalized_by_operation),
    Network("nested model", nested),
    Network("our layers", separable),
    Network("deformable", deformable),
    Network("outputs of other sizes", regression, refused=("int8",)),  # two of three outputs would be constant
    Network("shared layer", c3),
)
