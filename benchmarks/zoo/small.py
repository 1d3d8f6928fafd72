"""Small networks of kinds that people use, for `prepare` as they are."""

import keras
import numpy as np
import tensorflow as tf

from zoo.blocks import Network

L, K = keras.layers, keras.ops
SHAPE = (16, 16, 3)
VALUES = (-1.0, 1.0)


def block(x, channels, strides=1, activation="silu", kind=L.Conv2D):
    """A convolution, its normalization, and an activation."""
    window = {"padding": "same", "use_bias": False}
    x = L.DepthwiseConv2D(3, strides, **window)(x) if channels is None else kind(channels, 3, strides, **window)(x)
    return L.Activation(activation)(L.BatchNormalization()(x))


def squeeze_excite(x, channels):
    """Gates of channels."""
    gate = L.Conv2D(channels // 2, 1, activation="silu")(L.GlobalAveragePooling2D(keepdims=True)(x))
    return L.Multiply()([x, L.Conv2D(channels, 1, activation="sigmoid")(gate)])


def functional(build):
    """A builder from the input to the outputs as one of a model."""

    def make():
        inputs = L.Input(SHAPE)
        return keras.Model(inputs, build(inputs), name=build.__name__)

    return make


@functional
def efficient(x):
    """EfficientNet's block behind its preprocessing."""
    x = L.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])(L.Rescaling(0.5)(x))
    x = block(x, 8, 2)
    y = squeeze_excite(block(block(x, 16), None), 16)
    x = L.Add()([x, L.Dropout(0.2)(L.BatchNormalization()(L.Conv2D(8, 1)(y)))])
    return L.Dense(4, activation="softmax")(L.GlobalAveragePooling2D()(x))


@functional
def hard_swish(x):
    """Hard swish and hard sigmoid as `keras.applications` writes them."""
    x = L.Conv2D(8, 3, 2)(x)
    x = x * (L.ReLU(6.0)(x + 3.0) * (1.0 / 6.0))
    x = L.Multiply()([x, L.ReLU(6.0)(L.GlobalAveragePooling2D(keepdims=True)(x) + 3.0) * (1.0 / 6.0)])
    return L.Dense(4)(L.Flatten()(L.Conv2D(4, 1)(x)))


@functional
def unet(x):
    """U-Net with interpolation."""
    skips = []
    for channels in (4, 8):
        x = block(x, channels, activation="relu")
        skips.append(x)
        x = L.MaxPooling2D()(x)
    for channels in (8, 4):
        x = L.UpSampling2D(2, interpolation="bilinear")(x)
        x = block(L.Concatenate()([x, skips.pop()]), channels, activation="relu")
    return L.Conv2D(2, 1, activation="sigmoid")(x)


@functional
def deeplab(x):
    """DeepLab's head."""
    x = block(x, 8, 2)
    branches = [L.Conv2D(4, 3, padding="same", dilation_rate=rate, activation="relu")(x) for rate in (1, 2, 4)]
    pooled = L.Conv2D(4, 1, activation="relu")(L.GlobalAveragePooling2D(keepdims=True)(x))
    branches.append(L.UpSampling2D(8, interpolation="bilinear")(pooled))
    return L.Conv2D(3, 1)(L.Resizing(16, 16)(L.Conv2D(8, 1, activation="relu")(L.Concatenate()(branches))))


@functional
def ssd(x):
    """Two heads at two scales."""
    maps = [block(x, 8, 2, "relu6")]
    maps.append(block(maps[0], 8, 2, "relu"))
    heads = [
        L.Concatenate(axis=1)([L.Reshape((-1, size))(L.Conv2D(2 * size, 3, padding="same")(each)) for each in maps])
        for size in (3, 4)
    ]
    return [L.Activation("softmax")(heads[0]), heads[1]]


@functional
def yolo(x):
    """Split channels and two heads."""
    first, second = K.split(block(block(x, 8, 2), 8), 2, -1)
    x = block(L.Concatenate()([first, second, block(second, 4)]), 8)
    deeper = block(x, 16, 2)
    return [L.Conv2D(6, 1)(L.Concatenate()([L.UpSampling2D()(deeper), x])), L.Conv2D(6, 1)(deeper)]


@functional
def shuffle(x):
    """Shuffled channels, and slices of them."""
    x = L.Conv2D(8, 3, padding="same", activation="relu")(x)
    y = L.Reshape((16, 16, 2, 4))(L.Conv2D(8, 1, groups=2)(x))
    y = block(L.Reshape((16, 16, 8))(L.Permute((1, 2, 4, 3))(y)), None, activation="linear")
    x = L.Add()([x, y])
    x = L.Concatenate()([x[..., :4], L.Conv2D(4, 1)(x[..., 4:])])
    return L.Dense(4)(L.GlobalAveragePooling2D()(x))


@functional
def keyword_spotter(x):
    """A separable convolution behind one of uneven sides."""
    x = L.Conv2D(8, (5, 3), 2, padding="same", activation="relu")(x)
    x = L.SeparableConv2D(8, 3, padding="same", activation="relu")(x)
    return L.Dense(4, activation="softmax")(L.Dropout(0.2)(L.GlobalAveragePooling2D()(x)))


@functional
def temporal(x):
    """Causal convolutions of which the last step counts."""
    x = L.Reshape((16, 48))(x)
    for rate in (1, 2):
        y = L.Conv1D(8, 3, padding="causal", dilation_rate=rate, activation="relu")(x)
        x = L.Add()([L.Conv1D(8, 1)(x), y])
    return L.Dense(3)(x[:, -1])


@functional
def conv_mixer(x):
    """Normalizations behind gelu."""
    x = L.BatchNormalization()(L.Conv2D(8, 4, 4, activation="gelu")(x))
    x = L.Add()([x, L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same", activation="gelu")(x))])
    return L.Dense(4)(L.GlobalAveragePooling2D()(L.BatchNormalization()(L.Conv2D(8, 1, activation="gelu")(x))))


class Positions(L.Layer):
    """A layer of one's own with a weight of its own."""

    def build(self, shape):
        """Make the positions."""
        self.positions = self.add_weight(shape=(1, *shape[1:]), initializer="random_normal", name="positions")

    def call(self, x):
        """Return tensors with the positions added."""
        return x + self.positions


@functional
def transformer(x):
    """Patches, positions and a block of attention."""
    x = Positions()(L.Reshape((16, 16))(L.Conv2D(16, 4, 4)(x)))
    y = L.LayerNormalization()(x)
    x = L.Add()([x, L.MultiHeadAttention(2, 8)(y, y)])
    x = L.Add()([x, L.Dense(16)(L.Dense(32, activation="gelu")(L.LayerNormalization()(x)))])
    return L.Dense(4)(L.GlobalAveragePooling1D()(L.LayerNormalization()(x)))


@functional
def mixer(x):
    """Dense layers over patches."""
    x = L.Reshape((16, 16))(L.Conv2D(16, 4, 4)(x))
    y = L.Dense(16, activation="gelu")(L.Permute((2, 1))(L.LayerNormalization()(x)))
    return L.Dense(4)(L.GlobalAveragePooling1D()(L.Add()([x, L.Permute((2, 1))(L.Dense(16)(y))])))


@functional
def recurrent(x):
    """An LSTM in two directions and a GRU behind a convolution."""
    x = L.Reshape((8, 64))(L.Conv2D(8, 3, 2, padding="same")(x))
    return L.Dense(3, activation="softmax")(L.GRU(8)(L.Bidirectional(L.LSTM(4, return_sequences=True))(x)))


@functional
def siamese(x):
    """One network on an image and its reflection."""
    base = keras.Sequential([L.Input(SHAPE), L.Conv2D(8, 3, 2, activation="relu"), L.Flatten(), L.Dense(8)])
    return L.Dense(1, activation="sigmoid")(K.abs(base(x) - base(K.flip(x, 2))))


@functional
def super_resolution(x):
    """Channels to pixels behind slopes that are learned."""
    x = L.Conv2D(8, 3, padding="same", activation=L.PReLU(shared_axes=(1, 2), alpha_initializer="uniform"))(x)
    return L.Lambda(lambda t: tf.nn.depth_to_space(t, 2))(L.Conv2D(12, 3, padding="same")(x))


@functional
def autoencoder(x):
    """Five activations."""
    x = L.Dense(8, activation="tanh")(L.Flatten()(L.Conv2D(8, 3, 2, padding="same", activation="selu")(x)))
    x = L.Reshape((4, 4, 8))(L.Dense(128, activation="mish")(x))
    x = L.Conv2DTranspose(8, 3, 2, padding="same", activation="elu")(x)
    return L.Conv2DTranspose(3, 3, 2, padding="same", activation="sigmoid")(x)


@functional
def embedding(x):
    """Unit vectors of largest values."""
    x = L.Conv2D(8, 3, activation="softplus")(x)
    x = L.EinsumDense("bhwc,cd->bhwd", (None, None, 6), bias_axes="d")(x)
    return L.UnitNormalization()(L.Dense(4)(K.max(x, (1, 2))))


@functional
def fine_tuned(x):
    """Normalizations behind pooling, as tutorials of fine-tuning have them."""
    x = keras.Sequential([L.Input(SHAPE), L.Conv2D(8, 3, activation="relu")])(x)
    x = L.Dense(8, activation="relu")(L.BatchNormalization()(L.GlobalMaxPooling2D()(x)))
    return L.Dense(3, activation="softmax")(L.BatchNormalization()(x))


@functional
def over_time(x):
    """A network on each row, and an LSTM."""
    each = keras.Sequential([L.Input((16, 3)), L.Conv1D(4, 3, activation="relu"), L.GlobalMaxPooling1D()])
    return L.Dense(2)(L.LSTM(4)(L.TimeDistributed(each)(x)))


class Subclassed(keras.Model):
    """A convolution, a normalization, and a gate by half of the channels."""

    def __init__(self):
        super().__init__(name="subclassed")
        self.convolution = L.Conv2D(8, 3, activation="silu")
        self.normalization = L.GroupNormalization(2)
        self.head = L.Dense(3)

    def call(self, x):
        """Return three numbers an image."""
        first, second = K.split(self.normalization(self.convolution(x)), 2, -1)
        return self.head(K.mean(first * K.sigmoid(second), (1, 2)))


def subclassed():
    """A model of its own class."""
    model = Subclassed()
    model(np.zeros((1, *SHAPE), "float32"))
    return model


def in_half_precision():
    """The first network under the policy of half precision."""
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return efficient()
    finally:
        keras.config.set_dtype_policy(usual)


ROWS = (
    Network("small EfficientNet-like", efficient, values=VALUES),
    Network("small hard swish by operations", hard_swish, values=VALUES),
    Network("small U-Net", unet, values=VALUES),
    Network("small DeepLab", deeplab, values=VALUES),
    Network("small SSD", ssd, values=VALUES),
    Network("small YOLO", yolo, values=VALUES),
    Network("small ShuffleNet", shuffle, values=VALUES),
    Network("small DS-CNN", keyword_spotter, values=VALUES),
    Network("small TCN", temporal, values=VALUES),
    Network("small ConvMixer", conv_mixer, values=VALUES),
    Network("small ViT", transformer, values=VALUES),
    Network("small MLP-Mixer", mixer, values=VALUES),
    Network("small recurrent", recurrent, values=VALUES),
    Network("small siamese", siamese, values=VALUES),
    Network("small super-resolution", super_resolution, values=VALUES),
    Network("small autoencoder", autoencoder, values=VALUES),
    Network("small embedding", embedding, values=VALUES),
    Network("small fine-tuned", fine_tuned, values=VALUES),
    Network("small TimeDistributed", over_time, values=VALUES),
    Network("small subclassed", subclassed, SHAPE, values=VALUES),
    Network("small half precision", in_half_precision, values=VALUES),
)
