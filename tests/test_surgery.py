"""Batch normalization folded away: the same numbers from fewer layers, and a word on what stays."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_sentence

from tfsep import layers, models, saved, surgery
from tfsep.surgery import _channel_affine

L = keras.layers


def randomized(model):
    """The model with weights, statistics included, that a folding could not get right by chance."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "seed_generator" not in weight.path:
            positive = weight.path.endswith(("variance", "gamma"))
            value = rng.uniform(0.5, 2, weight.shape) if positive else rng.normal(size=weight.shape) * 0.2
            weight.assign(value)
    return model


def normalizations(model):
    return sum(isinstance(layer, L.BatchNormalization) for layer in model._flatten_layers())


def assert_same(model, *inputs, tolerance=1e-5):
    """Fold it, and compare; returns what came of it."""
    before = [w.numpy().copy() for w in randomized(model).weights]
    folded = surgery.fold_batch_norm(model)
    outputs = tf.nest.flatten(model(*inputs)), tf.nest.flatten(folded(*inputs))
    for old, new in zip(*outputs, strict=True):
        assert float(tf.math.reduce_std(old)) > 1e-3, "a signal that vanished shows nothing"
        assert_close(new, old, tolerance)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new, "the given model was changed")
    assert not {id(w) for w in model.weights} & {id(w) for w in folded.weights}
    return folded


def image(*shape):
    return np.random.default_rng(1).normal(size=shape).astype("f")


FAMILIES = {
    "mobilenet": lambda: keras.applications.MobileNet((64, 64, 3), 0.25, include_top=False, weights=None),
    "mobilenet v2": lambda: keras.applications.MobileNetV2((64, 64, 3), 0.35, include_top=False, weights=None),
    "ours": lambda: models.MobileNetV1((64, 64, 3), None, alpha=0.25),
    "ours, output stride": lambda: models.MobileNetV1((64, 64, 3), None, alpha=0.25, output_stride=8),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_folded_networks_compute_the_same(family):
    """In float64: random deep networks make a rounding of float32 larger than 1e-5, whichever way it is made."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        folded = assert_same(FAMILIES[family](), image(2, 64, 64, 3), tolerance=1e-11)
    finally:
        keras.config.set_dtype_policy(policy)
    assert normalizations(folded) == 0


def test_folded_trained_network_computes_the_same():
    trained = saved.load("fashion_mnist")
    model, images = trained.model, trained.images[:100] / np.float32(127.5) - 1
    folded = surgery.fold_batch_norm(model)
    assert normalizations(folded) == 0
    assert_close(folded(images), model(images), 1e-5)


KINDS = {
    "Conv1D": ((12, 3), lambda: L.Conv1D(4, 3)),
    "Conv2D": ((9, 8, 3), lambda: L.Conv2D(6, 3, 2, groups=3, use_bias=False)),
    "Conv3D": ((5, 6, 7, 2), lambda: L.Conv3D(4, 2)),
    "DepthwiseConv1D": ((12, 3), lambda: L.DepthwiseConv1D(3, depth_multiplier=2)),
    "DepthwiseConv2D": ((9, 8, 3), lambda: L.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)),
    "SeparableConv1D": ((12, 3), lambda: L.SeparableConv1D(5, 3)),
    "SeparableConv2D": ((9, 8, 3), lambda: L.SeparableConv2D(5, 3, depth_multiplier=2, use_bias=False)),
    "Conv1DTranspose": ((12, 3), lambda: L.Conv1DTranspose(4, 3, strides=2)),
    "Conv2DTranspose": ((9, 8, 3), lambda: L.Conv2DTranspose(4, 3, strides=2, use_bias=False)),
    "Conv3DTranspose": ((4, 5, 3, 2), lambda: L.Conv3DTranspose(4, 2)),
    "Dense": ((7,), lambda: L.Dense(5)),
    "Dense of images": ((4, 5, 7), lambda: L.Dense(5, use_bias=False)),
    "tfsep Conv2D": ((9, 8, 4), lambda: layers.Conv2D(6, 3, 2, "same", groups=2, rate=2)),
    "tfsep DepthwiseConv2D": ((9, 8, 3), lambda: layers.DepthwiseConv2D(3, 2, "same", 2, rate=2, use_bias=False)),
    "tfsep SeparableConv2D": ((9, 8, 3), lambda: layers.SeparableConv2D(5, 3, depth_multiplier=2)),
    "tfsep Conv1D": ((12, 4), lambda: layers.Conv1D(6, 3, 2, "causal", groups=2, rate=2)),
    "tfsep DepthwiseConv1D": ((12, 3), lambda: layers.DepthwiseConv1D(3, depth_multiplier=2, use_bias=False)),
    "tfsep SeparableConv1D": ((12, 3), lambda: layers.SeparableConv1D(5, 3, depth_multiplier=2)),
    "tfsep Conv2DTranspose": ((9, 8, 4), lambda: layers.Conv2DTranspose(6, 3, 2, groups=2, use_bias=False)),
    "tfsep DepthwiseConv2DTranspose": (
        (9, 8, 3),
        lambda: layers.DepthwiseConv2DTranspose(3, 2, "same", depth_multiplier=2),
    ),
    "tfsep SeparableConv2DTranspose": ((9, 8, 3), lambda: layers.SeparableConv2DTranspose(5, 3, 2, use_bias=False)),
    "DeformableConv2D": ((9, 8, 4), lambda: layers.DeformableConv2D(6, 3, 2, groups=2, modulated=True)),
    "DeformableConv2D, no bias": ((9, 8, 4), lambda: layers.DeformableConv2D(6, 3, use_bias=False, offset_groups=2)),
}
NORMALIZATIONS = {
    "keras": L.BatchNormalization,
    "tfsep, no scale": lambda: layers.BatchNormalization(scale=False, epsilon=1e-5),
    "no center": lambda: L.BatchNormalization(center=False),
}


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_layer_kind_folds(kind, normalization):
    shape, make = KINDS[kind]
    model = keras.Sequential([L.Input(shape), make(), NORMALIZATIONS[normalization](), L.ReLU()])
    folded = assert_same(model, image(2, *shape))
    assert isinstance(folded, keras.Sequential)
    assert normalizations(folded) == 0
    assert [layer.name for layer in folded.layers] == [model.layers[0].name, model.layers[2].name]


def test_channels_first():
    inputs = L.Input((3, 9, 8))
    y = layers.Conv2D(4, 3, data_format="channels_first")(inputs)
    model = keras.Model(inputs, L.BatchNormalization(axis=1)(y))
    assert normalizations(assert_same(model, image(2, 3, 9, 8))) == 0


def test_blocks_and_nested_models_fold():
    inputs = L.Input((16, 16, 3))
    inner = keras.Sequential([layers.Conv2D(5, 3), L.BatchNormalization(), L.ReLU()], name="inner")
    y = layers.DepthwiseSeparableConv(6, strides=2)(inputs)
    y = layers.DepthwiseSeparableConv(7, pointwise_normalization=False)(y)
    y = inner(y)
    twice = keras.Sequential([L.Dense(5), L.BatchNormalization()], name="twice")
    model = keras.Model(inputs, [twice(y), twice(y * 2)])
    folded = assert_same(model, image(2, 16, 16, 3))
    assert normalizations(folded) == 0
    assert not any("_bn" in weight.path for weight in folded.weights)


def test_folded_models_round_trip_and_train(tmp_path):
    model = models.MobileNetV1((32, 32, 3), 10, alpha=0.25)
    folded = assert_same(model, image(2, 32, 32, 3))
    folded.save(tmp_path / "folded.keras")
    loaded = keras.models.load_model(tmp_path / "folded.keras")
    np.testing.assert_array_equal(loaded(image(2, 32, 32, 3)), folded(image(2, 32, 32, 3)))
    folded.compile("sgd", "sparse_categorical_crossentropy")
    assert np.isfinite(folded.train_on_batch(image(2, 32, 32, 3), np.array([0, 1])))


@pytest.mark.parametrize(("policy", "rounding"), [("mixed_bfloat16", 0.02), ("mixed_float16", 0.003)])
def test_half_precision(policy, rounding):
    convolution, normalization = layers.Conv2D(4, 3, dtype=policy), L.BatchNormalization(dtype=policy)
    model = keras.Sequential([L.Input((9, 8, 3)), convolution, normalization])
    folded = assert_same(model, image(2, 9, 8, 3), tolerance=rounding)
    assert normalizations(folded) == 0
    assert folded(image(2, 9, 8, 3)).dtype == model(image(2, 9, 8, 3)).dtype == policy.removeprefix("mixed_")
    assert folded.layers[0].variable_dtype == "float32"


class Standardized(L.Conv2D):
    """Weight standardization: what it multiplies by is not its kernel."""

    def call(self, x):
        centred = self.kernel - keras.ops.mean(self.kernel, (0, 1, 2))
        return keras.ops.conv(x, centred / keras.ops.std(self.kernel, (0, 1, 2)), self.strides, self.padding)


class Squared(layers.Conv2D):
    def convolution_op(self, inputs, *kernels):
        return super().convolution_op(inputs, *kernels) ** 2


class Read(layers.Conv2D):
    """Weight standardization again, where the kernel is read."""

    @property
    def kernel(self):
        return self._kernel - keras.ops.mean(self._kernel, (0, 1, 2))


class Doubled(L.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


class DoubledBlock(layers.DepthwiseSeparableConv):
    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training=training)


class Holder(L.Layer):
    """A layer that holds others, whose config has not even its name."""

    def __init__(self, **options):
        super().__init__(**options)
        self.convolution, self.n = L.Conv2D(4, 3), L.BatchNormalization(name="n")

    def build(self, input_shape):
        self.convolution.build(input_shape)
        self.n.build(self.convolution.compute_output_shape(input_shape))

    def call(self, x):
        return self.n(self.convolution(x))


class Subclassed(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.convolution, self.n = L.Conv2D(4, 3), L.BatchNormalization(name="n")

    def call(self, x):
        return self.n(self.convolution(x))


class Given(keras.Model):
    """A Functional model that is built by its own constructor."""

    def __init__(self, **options):
        options.pop("dtype", None)
        inputs = L.Input((9, 8, 3))
        super().__init__(inputs, L.BatchNormalization(name="n")(L.Conv2D(4, 3)(inputs)), **options)


class GivenAndDoubled(Given):
    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


def kept(build, stay=1, shape=(9, 8, 3)):
    """The warning of a folding that leaves as many normalizations as are to stay."""
    inputs = L.Input(shape)
    model = keras.Model(inputs, build(inputs), name="model")
    with pytest.warns(UserWarning, match="as they are") as caught:
        folded = assert_same(model, image(2, *shape))
    (warning,) = caught
    assert normalizations(folded) == stay
    assert f"left {stay} batch normalizations" in str(warning.message)
    assert [output.dtype for output in folded.outputs] == [output.dtype for output in model.outputs]
    return str(warning.message)


def used_twice(inputs):
    y = L.Conv2D(4, 3, name="c")(inputs)
    return L.BatchNormalization(name="n")(y) + y


def called_twice(inputs):
    layer = L.Conv2D(3, 3, padding="same", name="c")
    return L.BatchNormalization(name="n")(layer(layer(inputs)))


def normalized_twice(inputs):
    normalization = L.BatchNormalization(name="n")
    return normalization(L.Conv2D(4, 3)(inputs)) + normalization(L.Conv2D(4, 3)(inputs))


def an_output_too(inputs):
    y = L.Conv2D(4, 3, name="c")(inputs)
    return [y, L.BatchNormalization(name="n")(y)]


def after(layer, *, training=None, **options):
    return lambda x: L.BatchNormalization(name="n", **options)(layer(x), training=training)


def handing_a_mask_on(inputs):
    return L.BatchNormalization(name="n")(L.Conv2D(4, 1, name="c")(inputs), mask=keras.ops.any(inputs > 0, -1))


REASONS = {
    "used twice": (used_twice, "'c' is used elsewhere too"),
    "called twice": (called_twice, "'c' is called more than once"),
    "normalized twice": (normalized_twice, "it is called more than once"),
    "an output too": (an_output_too, "'c' is used elsewhere too"),
    "an activation": (after(L.Conv2D(4, 3, activation="relu", name="c")), "'c' has an activation"),
    "another layer": (after(L.ReLU(name="r")), "it follows 'r' of class ReLU, no convolution or dense layer"),
    "an operation": (lambda x: L.BatchNormalization(name="n")(1.0 * x), "no convolution or dense layer"),
    "another axis": (after(L.Conv2D(4, 3, name="c"), axis=1), "it normalizes axis 1, not the channels of 'c'"),
    "a kernel of its own": (
        after(Standardized(4, 3, name="c")),
        "it follows 'c' of class Standardized, which overrides",
    ),
    "a product of its own": (after(Squared(4, 3, name="c")), "it follows 'c' of class Squared, which overrides convol"),
    "a reading of its own": (after(Read(4, 3, name="c")), "it follows 'c' of class Read, which overrides kernel"),
    "a formula of its own": (
        lambda x: Doubled(name="n")(L.Conv2D(4, 3)(x)),
        "it is of class Doubled, which overrides call",
    ),
    "bfloat16 before": (after(L.Conv2D(4, 3, name="c", dtype="mixed_bfloat16")), "it computes in float32, 'c' in bfl"),
    "bfloat16 behind": (after(L.Conv2D(4, 3, name="c"), dtype="mixed_bfloat16"), "it computes in bfloat16, 'c' in flo"),
    "float16 behind": (
        after(L.Conv2D(4, 3, name="c"), dtype="mixed_float16"),
        "it computes in float16, 'c' in float32",
    ),
    "float64 behind": (after(L.Conv2D(4, 3, name="c"), dtype="float64"), "it computes in float64, 'c' in float32"),
    "a mask of its own": (handing_a_mask_on, "it hands on a mask, which 'c' does not"),
}


@pytest.mark.parametrize("case", REASONS)
def test_unfolded_normalizations_are_reported(case):
    build, reason = REASONS[case]
    message = kept(build)
    assert "model/n (" in message
    assert reason in message


def test_normalization_without_a_convolution_stays():
    model = keras.Sequential(
        [L.Input((7,)), L.BatchNormalization(name="n"), L.ReLU(name="r"), L.Dense(5)], name="model"
    )
    reason = (
        r"model/n \(nothing is in front of it\), nor ahead \(it precedes 'r' of class ReLU, no convolution or dense"
    )
    with pytest.warns(UserWarning, match=reason):
        assert_same(model, image(2, 7))


HOLDERS = {
    "TimeDistributed": lambda: L.TimeDistributed(L.BatchNormalization(name="n"), name="h"),
    "TimeDistributed model": lambda: L.TimeDistributed(
        keras.Sequential([L.Input((8, 3)), L.Dense(4), L.BatchNormalization(name="n")]), name="h"
    ),
}
OPENED = (Holder, lambda: Subclassed(name="h"), lambda: GivenAndDoubled(name="h"))


@pytest.mark.parametrize("case", HOLDERS)
def test_normalizations_inside_other_layers_are_reported(case):
    layer = HOLDERS[case]()
    reason = f"it is inside a layer of class {type(layer).__name__}, which is not opened"
    assert f"model/{layer.name}/n ({reason})" in kept(layer)


@pytest.mark.parametrize("make", OPENED)
def test_normalizations_inside_layers_with_a_call_of_their_own_fold(make):
    folds(make())


def test_block_with_its_own_call_stays():
    message = kept(DoubledBlock(4, name="b"), stay=2)
    for name in ("depthwise_bn", "pointwise_bn"):
        assert f"model/b/{name} (it is inside a block of class DoubledBlock, which overrides call)" in message


def test_block_with_a_low_rank_part_stays():
    block = layers.DepthwiseSeparableConv(4, name="b")
    block.build((None, 9, 8, 3))
    block.pointwise.activation = keras.activations.relu
    inputs = L.Input((9, 8, 3))
    model = keras.Model(inputs, block(inputs), name="model")
    with pytest.warns(
        UserWarning, match=r"model/b/depthwise_bn \('pointwise' has an activation\); model/b/pointwise_bn"
    ):
        surgery.fold_batch_norm(model)


INNER = keras.Sequential([L.Input((9, 8, 3)), L.Conv2D(4, 3), L.BatchNormalization(name="n")], name="inner")
TRAINING = {
    "normalization": (after(L.Conv2D(4, 3), training=True), ["model/n (it is"]),
    "model": (lambda x: INNER(x, training=True), ["inner/n ('inner' is"]),
    "block": (
        lambda x: layers.DepthwiseSeparableConv(4, name="b")(x, training=True),
        ["model/b/depthwise_bn ('b' is", "model/b/pointwise_bn ('b' is"],
    ),
}


@pytest.mark.parametrize("case", TRAINING)
def test_normalization_that_infers_by_batch_statistics_stays(case):
    build, names = TRAINING[case]
    inputs = L.Input((9, 8, 3))
    model = randomized(keras.Model(inputs, build(inputs), name="model"))
    with pytest.warns(UserWarning, match=f"left {len(names)} ") as caught:
        folded = surgery.fold_batch_norm(model)
    message = str(caught[0].message)
    assert all(f"{name} called with training=True)" in message for name in names)
    data = image(2, 9, 8, 3)
    statistics = np.abs(model(data) - model(data, training=False)).max()  # the latter reads the moving ones
    assert statistics > 0.1
    assert_close(folded(data), model(data), 1e-5)


def folds(build, shape=(9, 8, 3)):
    inputs = L.Input(shape)
    folded = assert_same(keras.Model(inputs, build(inputs)), image(2, *shape))
    assert normalizations(folded) == 0
    return folded


@pytest.mark.parametrize("training", [None, False, True])
def test_frozen_statistics(training):
    frozen = layers.BatchNormalization(frozen=True)
    folds(lambda x: frozen(L.Conv2D(4, 3)(x), training=training))
    untrained = L.BatchNormalization(trainable=False)
    folds(lambda x: untrained(L.Conv2D(4, 3)(x), training=training))


def test_masks_are_passed_on():
    """The mask of a normalization is for its statistics in training; what is behind gets the same."""
    model = folds(lambda x: L.LSTM(5)(L.BatchNormalization()(L.Dense(4)(L.Masking(0.5)(x)))), (12, 3))
    data = image(2, 12, 3)
    data[:, 6:] = 0.5
    longer = data.copy()
    longer[:, 9:] = 0.5
    np.testing.assert_array_equal(model(data), model(longer))
    assert np.abs(model(data) - model(image(2, 12, 3))).max() > 1e-3


def test_inputs_given_by_name():
    folds(lambda x: L.BatchNormalization()(inputs=L.Conv2D(4, 3)(x)))


class Named(L.Conv2D):
    """A convolution of the usual kind: it computes what Keras's does, and its constructor takes no padding."""

    def __init__(self, filters, kernel_size=3, **options):
        super().__init__(filters, kernel_size, padding="same", **options)

    @classmethod
    def from_config(cls, config):
        return cls(config["filters"], config["kernel_size"], name=config["name"])

    def describe(self):
        return "a convolution"


class Renamed(layers.BatchNormalization):
    def get_config(self):
        return super().get_config()


def test_subclasses_without_own_call_fold():
    folds(lambda x: Renamed()(Named(4)(x)))


def test_functional_subclass_models():
    folded = assert_same(Given(name="own"), image(2, 9, 8, 3))
    assert normalizations(folded) == 0
    assert folded.name == "own"
    folds(Given())


@pytest.mark.parametrize(
    "layer",
    [
        lambda: L.Dense(6),
        lambda: L.Conv2D(6, 3),
        lambda: layers.Conv2D(6, 3, groups=2),
        lambda: layers.SeparableConv2D(6, 3),
        lambda: layers.Conv2DTranspose(6, 3, groups=2),
        lambda: layers.DeformableConv2D(6, 3),
    ],
)
def test_low_rank_adaptations_are_added_to_the_kernel(layer):
    adapted = layer()
    model = keras.Sequential([L.Input((9, 8, 4)), adapted, L.BatchNormalization(), L.Dense(4)])
    adapted.enable_lora(2, b_initializer="ones")
    model.layers[-1].enable_lora(2, b_initializer="ones")
    folded = assert_same(model, image(2, 9, 8, 4))
    assert normalizations(folded) == 0
    assert not any("lora" in weight.name for weight in folded.layers[0].weights)


def test_keras_quantized_layers_stay():
    model = keras.Sequential([L.Input((7,)), L.Dense(5, name="c"), L.BatchNormalization(name="n")], name="model")
    model.layers[0].quantize("int8")
    with pytest.warns(UserWarning, match=r"model/n \('c' is quantized\)"):
        folded = surgery.fold_batch_norm(model)
    np.testing.assert_array_equal(folded(image(2, 7)), model(image(2, 7)))


def test_adapted_preprocessing_layers_keep_their_state():
    """What Keras's own `set_weights` leaves out, on top and inside a layer."""
    data = 3 * image(20, 7) + 5
    model = keras.Sequential([L.Input((7,)), L.Normalization(), L.Dense(5), L.BatchNormalization()])
    model.layers[0].adapt(data)
    assert_close(surgery.fold_batch_norm(model)(data), model(data), 1e-5)
    outer = keras.Sequential([L.Input((4, 7)), L.TimeDistributed(model.layers[0]), L.Dense(5), L.BatchNormalization()])
    assert_close(surgery.fold_batch_norm(outer)(data.reshape(5, 4, 7)), outer(data.reshape(5, 4, 7)), 1e-5)


def test_layers_shared_between_models_fold():
    inputs = L.Input((9, 8, 3))
    y = L.Conv2D(4, 3)(inputs)
    z = L.BatchNormalization()(y)
    whole = keras.Model(inputs, L.BatchNormalization()(L.Conv2D(4, 3)(z)))
    keras.Model(inputs, whole(inputs))
    part = keras.Model(y, whole.output)  # has calls of its own of the same layers
    assert normalizations(assert_same(whole, image(2, 9, 8, 3))) == 0
    assert normalizations(assert_same(part, image(2, 7, 6, 4))) == 0


def test_output_names_are_kept():
    inputs = L.Input((9, 8, 3), name="x")
    p = L.BatchNormalization(name="p")(L.Conv2D(4, 3, name="c")(inputs))
    q = L.BatchNormalization(name="q")(L.Conv2D(4, 3)(L.BatchNormalization()(L.Conv2D(4, 3, name="d")(inputs))))
    model = keras.Model(inputs, [p, q])
    folded = assert_same(model, image(2, 9, 8, 3))
    assert folded.output_names == model.output_names == ["p", "q"]
    assert folded.inputs[0].name == "x"
    assert {layer.name for layer in folded.layers} >= {"p", "q", "d"}
    folded.compile("sgd", loss={"p": "mse", "q": "mae"})
    targets = {"p": np.zeros((2, 7, 6, 4), "f"), "q": np.zeros((2, 5, 4, 4), "f")}
    assert np.isfinite(folded.train_on_batch(image(2, 9, 8, 3), targets)).all()


def test_names_of_sequential_inputs_and_outputs_are_kept():
    model = keras.Sequential([L.Input((7,), name="x"), L.Dense(5, name="d"), L.BatchNormalization(name="p")])
    folded = assert_same(model, image(2, 7))
    assert [folded.inputs[0].name, *(layer.name for layer in folded.layers)] == ["x", "p"]


def test_compiled_model_is_folded():
    model = keras.Sequential([L.Input((7,)), L.Dense(5), L.BatchNormalization()])
    inputs = L.Input((7,))
    for given in (model, keras.Model(inputs, model(inputs))):
        given.compile("sgd", loss=lambda true, found: keras.ops.mean((true - found) ** 2))
        assert not assert_same(given, image(2, 7)).compiled


APPLICATIONS = {
    "MobileNet": ((32, 32, 3), 0),
    "MobileNetV2": ((32, 32, 3), 0),
    "ResNet50V2": ((32, 32, 3), 17),
    "Xception": ((71, 71, 3), 0),
    "DenseNet121": ((32, 32, 3), 62),
    "EfficientNetB0": ((32, 32, 3), 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_keras_applications_fold(name):
    shape, stay = APPLICATIONS[name]
    model = getattr(keras.applications, name)(input_shape=shape, weights=None)
    rng = np.random.default_rng(0)
    spread = {"moving_variance": (0.5, 2), "moving_mean": (-0.5, 0.5), "gamma": (0.7, 1.3), "beta": (-0.5, 0.5)}
    for weight in model.weights:
        if weight.name in spread:
            weight.assign(rng.uniform(*spread[weight.name], weight.shape))
    with warnings.catch_warnings(record=True, action="always") as caught:
        folded = surgery.fold_batch_norm(model)
    left = [layer.name for layer in folded.layers if isinstance(layer, L.BatchNormalization)]
    said = "".join(str(warning.message) for warning in caught)
    assert len(left) == stay == said.count(f"{model.name}/")
    assert all(f"{model.name}/{each} (" in said for each in left)
    x = rng.uniform(0, 255 if name == "EfficientNetB0" else 1, (2, *shape)).astype("f")
    inner = [keras.Model(each.input, each.layers[-2].output) for each in (model, folded)]  # not yet a softmax
    assert_close(inner[1](x), inner[0](x), 1e-5)
    assert_close(folded(x), model(x), 1e-5)


def test_assert_same_fails_on_other_models(monkeypatch):
    right = _channel_affine.scale_and_shift_of
    monkeypatch.setattr(_channel_affine, "scale_and_shift_of", lambda n: tuple(1.001 * part for part in right(n)))
    with pytest.raises(AssertionError):
        assert_same(keras.Sequential([L.Input((7,)), L.Dense(5), L.BatchNormalization()]), image(2, 7))


@pytest.mark.parametrize("given", [None, [], L.Dense(3), Subclassed()])
def test_non_models_are_refused(given):
    with pytest.raises(TypeError) as error:
        surgery.fold_batch_norm(given)
    assert_sentence(error.value, "model")


def test_unbuilt_model_is_refused():
    with pytest.raises(ValueError) as error:  # noqa: PT011
        surgery.fold_batch_norm(keras.Sequential([L.Dense(3), L.BatchNormalization()]))
    assert_sentence(error.value, "model")
