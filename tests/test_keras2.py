"""Files that Keras 2 itself writes, the extra ``keras2``: what is loaded computes what Keras 2 computed."""

import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close

from tfsep import models, tflite

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def k2():
    return pytest.importorskip("tf_keras")


def image_model(k2, *stack, shape=(16, 16, 3)):
    return k2.Sequential([k2.Input(shape), *stack])


def mobilenet(k2):
    """Depthwise convolutions, normalizations, ReLU6, padding, a mean that keeps its axes, Reshape."""
    return k2.applications.MobileNet((32, 32, 3), alpha=0.25, weights=None, classes=5)


def tutorial(k2):
    """TensorFlow's image classification: augmentation and scaling inside."""
    layers = k2.layers
    flips = k2.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.1)])
    blocks = [
        part for n in (4, 8) for part in (layers.Conv2D(n, 3, padding="same", activation="relu"), layers.MaxPooling2D())
    ]
    head = [layers.Dropout(0.2), layers.Flatten(), layers.Dense(8, activation="relu"), layers.Dense(3)]
    return image_model(k2, flips, layers.Rescaling(1.0 / 255), *blocks, *head)


def u_net(k2):
    layers = k2.layers
    inputs = k2.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    y = layers.SeparableConv2D(8, 3, strides=2, padding="same", depth_multiplier=2)(x)
    y = layers.BatchNormalization()(layers.LeakyReLU(0.2)(y))
    up = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(y)
    both = layers.Concatenate()([x, up, layers.UpSampling2D(2, interpolation="bilinear")(y)])
    return k2.Model(inputs, layers.Conv2D(2, 1, activation="softmax")(both))


def recurrent(k2):
    layers = k2.layers
    inputs = k2.Input((6, 4))
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(inputs)
    x = layers.GRU(3, recurrent_activation="hard_sigmoid", return_sequences=True, go_backwards=True)(x)
    return k2.Model(inputs, layers.TimeDistributed(layers.Dense(2))(layers.SimpleRNN(3, return_sequences=True)(x)))


def text(k2):
    layers = k2.layers
    inputs = k2.Input((8,), dtype="int32")
    x = layers.Conv1D(4, 3, padding="causal", dilation_rate=2)(layers.Embedding(20, 6)(inputs))
    return k2.Model(inputs, layers.Dense(1, activation="sigmoid")(layers.GlobalMaxPooling1D()(x)))


def transformer(k2):
    layers = k2.layers
    inputs = k2.Input((5, 8))
    x = layers.LayerNormalization()(inputs + layers.MultiHeadAttention(2, 4)(inputs, inputs))
    y = layers.Dense(8)(layers.Dense(16, activation="gelu")(x))
    return k2.Model(inputs, layers.LayerNormalization(epsilon=1e-5)(layers.Add()([x, layers.Dropout(0.1)(y)])))


def siamese(k2):
    """A shared, nested model and a distance, by functions of TensorFlow."""
    layers = k2.layers
    tower = image_model(k2, layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(3), shape=(8, 8, 1))
    a, b = k2.Input((8, 8, 1)), k2.Input((8, 8, 1))
    apart = tf.math.squared_difference(tower(a), tower(b))
    return k2.Model([a, b], tf.sqrt(tf.reduce_sum(apart, 1, keepdims=True) + 1e-6))


def functions(k2):
    """Arithmetic, slices, a list with a constant, a resize."""
    inputs = k2.Input((16, 16, 3))
    x = inputs / 127.5 - 1.0
    x = k2.layers.Conv2D(4, 3)(tf.image.resize(x, (12, 12)))
    x = tf.concat([tf.nn.relu6(x), x[:, :, :, 1:3], 2.0 * x[:, ::1, ::1, -1:]], -1)
    return k2.Model(inputs, tf.reduce_mean(tf.clip_by_value(x, -1.0, 1.0), [1, 2]))


def volumes(k2):
    layers = k2.layers
    stack = [
        layers.Conv3D(3, 2),
        layers.Conv3D(4, 3, strides=2),
        layers.LeakyReLU(0.2),
        layers.ConvLSTM2D(2, 2),
        layers.Flatten(),
    ]
    return image_model(k2, *stack, layers.Dense(2), shape=(6, 8, 8, 2))


def statistics(k2):
    """Normalizations of every kind, an adapted one too, and activations with options."""
    layers = k2.layers
    adapted = layers.Normalization()
    adapted.adapt(np.random.default_rng(0).normal(3, 2, (50, 8, 8, 4)).astype("float32"))
    stack = [adapted, layers.GroupNormalization(2), layers.UnitNormalization(), layers.ELU(0.5), layers.Softmax(1)]
    return image_model(k2, *stack, layers.Resizing(6, 6), layers.CenterCrop(4, 4), shape=(8, 8, 4))


def several(k2):
    """Inputs and outputs by name, masks, merging layers."""
    layers = k2.layers
    a, b = k2.Input((4,), name="left"), k2.Input((4,), name="right")
    joined = layers.Average()([layers.Maximum()([a, b]), layers.Multiply()([a, b]), layers.Subtract()([a, b])])
    return k2.Model({"left": a, "right": b}, {"first": layers.Dense(2)(joined), "second": layers.Dot(1)([a, b])})


def efficientnet(k2):
    """Rescaling, Normalization, swish, squeeze and excitation, stochastic depth."""
    return k2.applications.EfficientNetV2B0(
        include_preprocessing=True, input_shape=(32, 32, 3), weights=None, classes=3
    )


NETWORKS = {
    make.__name__: make
    for make in (
        *(mobilenet, tutorial, u_net, recurrent, text, transformer, siamese, functions, volumes, statistics, several),
        efficientnet,
    )
}


def samples(model, count):
    """Numbers for each input, the same ones by name or in the model's order."""
    rng = np.random.default_rng(1)
    given = [
        rng.integers(0, 20, (count, *tensor.shape[1:])).astype("int32")
        if tensor.dtype == "int32"
        else rng.normal(size=(count, *tensor.shape[1:])).astype("float32")
        for tensor in tf.nest.flatten(model.inputs)
    ]
    return given[0] if len(given) == 1 else tf.nest.pack_sequence_as(model.input, given)


def assert_same(actual, expected):
    actual, expected = tf.nest.flatten(actual), tf.nest.flatten(expected)
    assert len(actual) == len(expected)
    for own, right in zip(actual, expected, strict=True):
        assert_close(own, right, 2e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_files_of_keras2_compute_what_keras2_computed(name, k2, tmp_path):
    """As ``.h5``, ``.keras`` and SavedModel; the ``.h5`` also as a file of an export."""
    k2.utils.set_random_seed(0)
    model = NETWORKS[name](k2)
    for variable in model.weights:
        if "gamma" in variable.name or "moving_variance" in variable.name:
            variable.assign(np.random.default_rng(2).uniform(0.5, 2, variable.shape))
    x = samples(model, 4)
    expected = model.predict(x, verbose=0)
    for suffix in (".h5", ".keras"):
        model.save(tmp_path / f"m{suffix}")
        loaded = models.load_model(tmp_path / f"m{suffix}")
        assert_same(loaded.predict(x, verbose=0), expected)
    report = tflite.export(models.load_model(tmp_path / "m.h5"), tmp_path / "m.tflite", data=x)
    assert report.verification.passed
    model.save(tmp_path / "saved", save_format="tf")
    saved = models.load_model(tmp_path / "saved")
    named = dict(zip(model.input_names, tf.nest.flatten(x), strict=True)) if len(model.input_names) > 1 else x
    found = saved.predict(named, verbose=0)
    assert_same(list(found.values()) if isinstance(found, dict) else found, expected)


LAYERS = {
    "GroupNormalization": {"groups": 2},
    "UnitNormalization": {"axis": [1, 3]},
    "LayerNormalization": {"axis": [1, 2]},
    "Softmax": {"axis": 1},
    "ELU": {"alpha": 0.5},
    "PReLU": {"shared_axes": [1, 2]},
    "ReLU": {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2},
    "Rescaling": {"scale": [1.0, 2.0, 3.0, 4.0], "offset": 1.0},
    "Resizing": {"height": 5, "width": 6, "interpolation": "bicubic"},
    "CenterCrop": {"height": 12, "width": 4},
    "RandomCrop": {"height": 3, "width": 4},
    "RandomContrast": {"factor": 0.3},
    "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
    "ZeroPadding2D": {"padding": ((1, 2), (0, 1))},
    "Cropping2D": {"cropping": 1},
    "Permute": {"dims": (2, 1, 3)},
    "GlobalAveragePooling2D": {"keepdims": True},
    "AveragePooling2D": {"pool_size": 3, "strides": 2, "padding": "same"},
    "UpSampling2D": {"size": 2, "interpolation": "bicubic"},
    "SpatialDropout2D": {"rate": 0.3},
    "GaussianNoise": {"stddev": 0.1},
    "AlphaDropout": {"rate": 0.1},
    "ActivityRegularization": {"l2": 0.1},
    "Masking": {},
    "Discretization": {"bin_boundaries": [0.0, 0.5]},
    "Conv2D": {"filters": 4, "kernel_size": 3, "dilation_rate": 2, "groups": 2},
    "DepthwiseConv2D": {"kernel_size": 3, "dilation_rate": 2, "depth_multiplier": 2},
    "SeparableConv2D": {"filters": 5, "kernel_size": 3, "dilation_rate": 2},
    "Conv2DTranspose": {"filters": 3, "kernel_size": 3, "strides": 2, "output_padding": 1},
    "ConvLSTM1D": {"filters": 3, "kernel_size": 2, "recurrent_activation": "hard_sigmoid"},
    **{f"Activation {name}": {"activation": name} for name in ("gelu", "hard_sigmoid", "swish", "selu", "mish")},
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_keras2_compute_what_keras2_computed(name, k2, tmp_path):
    layer = getattr(k2.layers, name.split()[0])(**LAYERS[name])
    model = image_model(k2, layer, shape=(8, 8, 4))
    for variable in model.weights:
        if variable.dtype == tf.float32:
            variable.assign(np.random.default_rng(2).uniform(0.5, 1, variable.shape))
    x = samples(model, 3)
    model.save(tmp_path / "m.h5")
    assert_same(models.load_model(tmp_path / "m.h5").predict(x, verbose=0), model.predict(x, verbose=0))
