"""Networks whose files are right, in every recipe that takes them: none may be refused.

Weights are random and statistics of normalizations too: rounding adds up in such networks more than in trained ones.
"""

import keras
import numpy as np
from keras import layers as L


def _image(*layers, shape=(16, 16, 3)):
    return keras.Sequential([keras.Input(shape), *layers])


def classifier():
    return _image(
        L.Conv2D(8, 3, use_bias=False),
        L.BatchNormalization(),
        L.ReLU(6.0),
        L.DepthwiseConv2D(3, strides=2),
        L.Conv2D(12, 1, activation="swish"),
        L.GlobalAveragePooling2D(),
        L.Dense(12, activation="softmax"),
    )


def perceptron():
    return _image(L.Dense(16, activation="tanh"), L.Dense(16, activation="elu"), L.Dense(3), shape=(12,))


def residual():
    image = keras.Input((16, 16, 3))
    x = L.Conv2D(8, 3, padding="same")(image)
    for _ in range(3):
        y = L.Conv2D(8, 3, padding="same", activation="relu")(x)
        x = L.ReLU()(L.Add()([x, L.Conv2D(8, 3, padding="same")(y)]))
    x = L.MaxPooling2D()(x)
    return keras.Model(
        image,
        [L.Dense(4, name="classes")(L.Flatten()(x)), L.Conv2D(2, 1, activation="sigmoid", name="map")(x)],
    )


def squeeze_excite():
    image = keras.Input((16, 16, 3))
    x = L.Conv2D(8, 3, padding="same", activation="relu6")(image)
    for _ in range(3):
        gate = L.Conv2D(4, 1, activation="relu")(L.GlobalAveragePooling2D(keepdims=True)(x))
        x = L.Multiply()([x, L.Conv2D(8, 1, activation="hard_sigmoid")(gate)])
        x = L.Conv2D(8, 3, activation="hard_swish")(x)
    return keras.Model(image, L.Dense(3)(L.Flatten()(x)))


def inverted_residual():
    image = keras.Input((16, 16, 3))
    x = L.Conv2D(8, 3, strides=2, padding="same")(image)
    for _ in range(4):
        y = L.ReLU(6.0)(L.BatchNormalization()(L.Conv2D(24, 1, use_bias=False)(x)))
        y = L.ReLU(6.0)(L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same", use_bias=False)(y)))
        x = L.Add()([x, L.BatchNormalization()(L.Conv2D(8, 1, use_bias=False)(y))])
    return keras.Model(image, L.Dense(5)(L.GlobalAveragePooling2D()(x)))


def deep():
    """Twenty layers, whose normalizations have the statistics of their own inputs."""
    blocks = [
        [L.Conv2D(8, 3, padding="same", use_bias=False), L.BatchNormalization(momentum=0.0), L.ReLU()]
        for _ in range(20)
    ]
    model = _image(*(layer for block in blocks for layer in block), L.Flatten(), L.Dense(6))
    model(samples(model, 64, 5), training=True)
    return model


def u_net():
    image = keras.Input((16, 16, 3))
    a = L.Conv2D(8, 3, padding="same", activation="relu")(image)
    b = L.Conv2D(16, 3, padding="same", activation="relu")(L.MaxPooling2D()(a))
    c = L.Conv2DTranspose(8, 3, strides=2, padding="same")(b)
    x = L.UpSampling2D()(L.Concatenate()([a, c]))
    return keras.Model(image, L.Conv2D(4, 3, padding="same", activation="softmax")(x))


def dense_net():
    image = keras.Input((16, 16, 3))
    x = L.Conv2D(8, 3, padding="same")(image)
    for _ in range(4):
        y = L.Conv2D(4, 3, padding="same")(L.ReLU()(L.BatchNormalization()(x)))
        x = L.Concatenate()([x, y])
    return keras.Model(image, L.Dense(5)(L.GlobalAveragePooling2D()(L.AveragePooling2D(2)(x))))


def conv_next():
    image = keras.Input((16, 16, 3))
    x = L.Conv2D(8, 4, strides=4)(image)
    for _ in range(2):
        y = L.LayerNormalization(epsilon=1e-6)(L.DepthwiseConv2D(3, padding="same")(x))
        y = L.Dense(8)(L.Dense(32, activation="gelu")(y))
        x = L.Add()([x, L.Rescaling(0.5)(y)])
    return keras.Model(image, L.Dense(5)(L.LayerNormalization()(L.GlobalAveragePooling2D()(x))))


def shuffle_net():
    image = keras.Input((16, 16, 4))
    x = L.Conv2D(8, 3, padding="same")(image)
    y = L.Conv2D(8, 1, groups=2, activation="relu")(x)
    y = L.Reshape((16, 16, 8))(L.Permute((1, 2, 4, 3))(L.Reshape((16, 16, 2, 4))(y)))
    return keras.Model(image, L.GlobalMaxPooling2D()(L.Concatenate()([x, L.DepthwiseConv2D(3, padding="same")(y)])))


def transformer():
    tokens = keras.Input((10, 16))
    x = L.LayerNormalization()(L.Add()([tokens, L.MultiHeadAttention(2, 8)(tokens, tokens)]))
    return keras.Model(tokens, L.Dense(4)(L.Dense(8, activation="gelu")(x)))


def masked_attention():
    tokens = keras.Input((6, 8))
    return keras.Model(tokens, L.MultiHeadAttention(2, 4)(tokens, tokens, use_causal_mask=True))


def recurrent():
    return _image(L.LSTM(8, unroll=True, return_sequences=True), L.GRU(6, unroll=True), L.Dense(3), shape=(5, 4))


def recurrent_loop():
    return _image(L.Bidirectional(L.LSTM(6)), L.Dense(3), shape=(6, 4))


def embedding():
    return keras.Sequential(
        [
            keras.Input((8,), dtype="int32"),
            L.Embedding(2, 8),
            L.Conv1D(8, 3, activation="relu"),
            L.Flatten(),
            L.Dense(3),
        ]
    )


def activations():
    image = keras.Input((12, 12, 4))
    x = L.PReLU(shared_axes=[1, 2], alpha_initializer="uniform")(L.Conv2D(8, 3, padding="same")(image))
    x = L.ELU()(L.LeakyReLU()(x))
    x = L.Cropping2D(1)(L.ZeroPadding2D(2)(L.AveragePooling2D(2)(x)))
    x = L.SeparableConv2D(8, 3, activation="softplus")(x)
    return keras.Model(image, L.GroupNormalization(2)(x))


def clipped():
    image = keras.Input((12, 12, 3))
    x = L.ReLU(6.0)(L.MaxPooling2D()(L.Conv2D(8, 3)(image)))
    x = L.ReLU(max_value=0.5)(L.Conv2D(8, 1)(x))
    return keras.Model(image, keras.ops.clip(L.Conv2D(4, 1)(x), -0.25, 0.25))


def unit_normalization():
    image = keras.Input((8, 8, 3))
    x = L.Dense(16)(L.GlobalAveragePooling2D()(L.Conv2D(8, 3, activation="relu")(image)))
    return keras.Model(image, L.UnitNormalization()(x))


def normalize():
    image = keras.Input((8, 8, 3))
    x = L.Lambda(lambda t: keras.ops.normalize(t, axis=-1))(L.Conv2D(8, 3)(image))
    return keras.Model(image, L.Lambda(lambda t: keras.ops.normalize(t, order=1))(L.Flatten()(L.Conv2D(2, 3)(x))))


def temporal():
    return _image(
        L.Conv1D(8, 3, dilation_rate=2, padding="causal", activation="relu"),
        L.Conv1D(8, 3, groups=2),
        L.GlobalMaxPooling1D(),
        shape=(20, 4),
    )


def two_inputs():
    a, b = keras.Input((8,), name="a"), keras.Input((8,), name="b")
    x = L.Subtract()([L.Dense(6)(a), L.Dense(6)(b)])
    return keras.Model([a, b], L.Dense(2)(L.Concatenate()([x, L.Dot(1)([a, b])])))


def siamese():
    tower = _image(L.Conv2D(4, 3, activation="relu"), L.Flatten(), L.Dense(6), shape=(8, 8, 3))
    a, b = keras.Input((8, 8, 3), name="a"), keras.Input((8, 8, 3), name="b")
    return keras.Model([a, b], L.Dense(1, activation="sigmoid")(abs(tower(a) - tower(b))))


def detector():
    image = keras.Input((16, 16, 3))
    x = L.Conv2D(8, 3, strides=2, activation="relu")(image)
    boxes = L.Rescaling(640.0)(L.Reshape((-1, 4))(L.Conv2D(4, 1, activation="sigmoid")(x)))
    scores = L.Reshape((-1, 2))(L.Conv2D(2, 1, activation="sigmoid")(x))
    return keras.Model(image, {"boxes": boxes, "scores": scores})


def dead_channel():
    """One channel is zero in the model too, and one constant."""
    model = _image(L.Conv2D(8, 3, strides=2), L.Conv2D(6, 1, activation="relu"))
    kernel, bias = (variable.numpy() for variable in model.layers[-1].weights)
    kernel[..., 2:4], bias[2:4] = 0.0, (-3.0, 0.7)
    model.layers[-1].set_weights([kernel, bias])
    return model


def large_means():
    """Outputs that vary by some hundredths of their size."""
    model = _image(L.Conv2D(4, 3, activation="relu"), L.GlobalAveragePooling2D(), L.Dense(3))
    model.layers[-1].bias.assign([2.0, 2.1, -2.0])
    return model


SMALL = (
    classifier, perceptron, residual, squeeze_excite, inverted_residual, deep, u_net, dense_net, conv_next, shuffle_net,
    transformer, masked_attention, recurrent, recurrent_loop, embedding, activations, clipped, unit_normalization,
    normalize, temporal, two_inputs, siamese, detector, dead_channel, large_means,
)  # fmt: skip

APPLICATIONS = {
    "ResNet50": 64,
    "MobileNet": 64,
    "MobileNetV2": 64,
    "MobileNetV3Large": 64,
    "MobileNetV3Small": 64,
    "EfficientNetB0": 64,
    "EfficientNetV2B0": 64,
    "DenseNet121": 64,
    "NASNetMobile": 64,
    "ConvNeXtTiny": 64,
    "Xception": 72,
    "InceptionV3": 80,
}
"""Sizes of the images for networks of ``keras.applications``."""


def application(name):
    """An untrained network of ``keras.applications``."""
    size = APPLICATIONS[name]
    return getattr(keras.applications, name)(
        input_shape=(size, size, 3), weights=None, classes=10, classifier_activation=None
    )


def built(make, seed=0, statistics=True):
    """A network with seeded weights and statistics of its normalizations."""
    keras.utils.set_random_seed(seed)
    rng, model = np.random.default_rng(seed), make()
    for layer in model._flatten_layers() if statistics else ():
        if isinstance(layer, L.BatchNormalization) and not np.any(layer.moving_mean):
            size = layer.moving_mean.shape
            layer.moving_mean.assign(rng.normal(0, 0.3, size))
            layer.moving_variance.assign(rng.uniform(0.5, 1.5, size))
            if layer.scale:
                layer.gamma.assign(rng.uniform(0.5, 1.5, size))
            if layer.center:
                layer.beta.assign(rng.normal(0, 0.3, size))
    return model


def samples(model, count, seed, low=None):
    """Random inputs of a model: normal, or uniform from `low`, or 0 and 1 where they are ints."""
    rng = np.random.default_rng(seed)

    def array(tensor):
        shape = (count, *tensor.shape[1:])
        if tensor.dtype != "float32":
            return rng.integers(0, 2, shape).astype(tensor.dtype)
        return (rng.normal(size=shape) if low is None else rng.uniform(low, 255, shape)).astype("float32")

    arrays = tuple(map(array, model.inputs))
    return arrays if len(arrays) > 1 else arrays[0]
