"""What users do to Keras's layers beyond calling them: set attributes again, override methods, adapt at low rank."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_refused, in_part
from layer_checks import OTHER_THAN_DEFAULT

from tfsep import layers, models, quantize, surgery, tflite
from tfsep.cost import cost

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 9, 8, 4)).astype("float32")

ROW = {"kernel_size": 2, "strides": 3, "padding": (1, 2), "output_padding": 1, "dilation_rate": 2}
BLOCK = {"depthwise_normalization": False, "pointwise_normalization": False, "momentum": 0.5, "epsilon": 0.25}
KINDS = [getattr(layers, name) for name in layers.__all__ if "Conv" in name and inspect.isclass(getattr(layers, name))]
SHAPING = ("filters", "kernel_size", "groups", "depth_multiplier", "use_bias", "data_format")
ALWAYS = ("strides", "padding", "dilation_rate", "rate", "output_padding", "activation", "epsilon")
OPTIONS = {
    f"{kind}_{option}": getattr(keras, f"{option}s")
    for kind in ("kernel", "depthwise", "pointwise", "offset", "bias", "activity")
    for option in ("initializer", "regularizer", "constraint")
}


def taken(kind):
    """The arguments of a class, with a value that is not the default."""
    values = {**OTHER_THAN_DEFAULT, **BLOCK, "rate": 2, **(ROW if "1D" in kind.__name__ else {})}
    names = [name for name in inspect.signature(kind).parameters if name in values and "lora" not in name]
    return {name: values[name] for name in names}


def basis(kind):
    """Arguments of a class with which any one of its arguments can be another."""
    values = {"filters": 4, "kernel_size": 3, "strides": 3 if "1D" in kind.__name__ else (2, 3)}
    return {name: value for name, value in values.items() if name in inspect.signature(kind).parameters}


def images_for(layer):
    """Images, or sequences, in the format of a layer."""
    x = X[:, 0] if "1D" in type(layer).__name__ else X
    return x if layer.data_format == "channels_last" else np.moveaxis(x, -1, 1)


def assert_same_layer(changed, made):
    """The two have the same weights, config, shape and, with equal weights, the same results."""
    x = images_for(made)
    y = made(x)
    if not changed.built:
        changed.build(x.shape)
    assert [w.shape for w in changed.weights] == [w.shape for w in made.weights]
    assert changed.get_config() == made.get_config()
    assert changed.compute_output_shape(x.shape) == y.shape
    changed.set_weights([RNG.uniform(0.5, 1, w.shape) for w in made.weights])
    made.set_weights(changed.get_weights())
    np.testing.assert_array_equal(changed(x), made(x))


QUICK = (layers.Conv2D, layers.DepthwiseConv1D, layers.Conv2DTranspose, layers.DepthwiseSeparableConv)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in KINDS],
    ids=[kind.__name__ for kind in KINDS],
)
def test_attributes_can_be_set_until_the_build(kind):
    for name, value in taken(kind).items():
        made, changed = kind(**{**basis(kind), name: value}, name="same"), kind(**basis(kind), name="same")
        setattr(changed, name, value if name not in OPTIONS else OPTIONS[name].get(value))
        assert_same_layer(changed, made)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_attributes_that_shape_no_weight_can_be_set_at_any_time(kind):
    for name in set(ALWAYS) & taken(kind).keys():
        made, changed = kind(**{**basis(kind), name: taken(kind)[name]}, name="same"), kind(**basis(kind), name="same")
        changed(images_for(changed))
        setattr(changed, name, taken(kind)[name])
        assert_same_layer(changed, made)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_attributes_that_shape_weights_are_fixed_by_the_build(kind):
    layer = kind(**basis(kind))
    layer(images_for(layer))
    for name in set(SHAPING) & taken(kind).keys():
        before = getattr(layer, name)
        assert_refused(lambda name=name: setattr(layer, name, taken(kind)[name]), name)
        setattr(layer, name, before)


KERAS = [kind for kind in KINDS if hasattr(keras.layers, kind.__name__)] + [layers.BatchNormalization]


def parameters_of(function):
    found = inspect.signature(function).parameters.values()
    return [(each.name, each.default) for each in found if each.kind != each.VAR_KEYWORD]


@pytest.mark.parametrize("ours", KERAS, ids=lambda kind: kind.__name__)
def test_layers_have_every_name_and_argument_of_keras(ours):
    theirs = getattr(keras.layers, ours.__name__)
    names = [name for name in dir(theirs) if name[0] != "_"]
    assert not [name for name in names if not hasattr(ours, name)]
    for name in ("__init__", *names):
        if callable(getattr(theirs, name)) and not inspect.isclass(getattr(theirs, name)):
            expected = parameters_of(getattr(theirs, name))
            assert parameters_of(getattr(ours, name))[: len(expected)] == expected, name
    arguments = {} if ours is layers.BatchNormalization else basis(ours)
    made, other = ours(**arguments), theirs(**arguments)
    x = X[:, 0] if "1D" in ours.__name__ else X
    made(x)
    other(x)
    assert not [name for name in vars(other) if name[0] != "_" and not hasattr(made, name)]
    assert other.get_config().keys() <= made.get_config().keys()


def test_rate_and_dilation_rate_are_one():
    for layer in (layers.Conv2D(4, 3), layers.DepthwiseConv1D(3), layers.DepthwiseSeparableConv(4)):
        layer.rate = 2
        assert set(layer.rate) == set(layer.dilation_rate) == {2}
        layer.dilation_rate = 3
        assert set(layer.rate) == set(layer.get_config()["dilation_rate"]) == {3}


@pytest.mark.parametrize(
    ("name", "value"),
    [("strides", 0), ("kernel_size", (1, 2, 3)), ("padding", "full"), ("rate", -1), ("filters", 2.5), ("groups", 0)],
)
def test_attributes_are_checked_when_they_are_set(name, value):
    assert_refused(lambda: setattr(layers.Conv2D(4, 3), name, value), name)


def test_attributes_that_contradict_each_other_are_refused_by_the_build():
    layer = layers.Conv2DTranspose(4, 3, strides=2, output_padding=1)
    layer.strides = 1
    assert_refused(lambda: layer.build(X.shape), "output_padding")
    grouped = layers.Conv2D(4, 3)
    grouped.groups = 3
    assert_refused(lambda: grouped.build((None, 9, 8, 3)), "groups")


@keras.saving.register_keras_serializable("tests")
class Ramp(keras.initializers.HeNormal):
    """A variance-scaling initializer whose numbers are its own."""

    def __call__(self, shape, dtype=None):
        return tf.reshape(tf.range(np.prod(shape), dtype=dtype or "float32"), shape)


class Halved(keras.initializers.GlorotUniform):
    def __call__(self, shape, dtype=None):
        return super().__call__(shape, dtype) / 2


class Inheriting(Ramp):
    pass


def own_function(shape, dtype=None):
    return tf.fill(shape, tf.constant(7.0, dtype))


DEPTHWISE = {
    "DepthwiseConv1D": lambda given: layers.DepthwiseConv1D(3, depthwise_initializer=given),
    "DepthwiseConv2D": lambda given: layers.DepthwiseConv2D(3, depthwise_initializer=given),
    "SeparableConv1D": lambda given: layers.SeparableConv1D(2, 3, depthwise_initializer=given),
    "SeparableConv2D": lambda given: layers.SeparableConv2D(2, 3, depthwise_initializer=given),
    "DepthwiseConv2DTranspose": lambda given: layers.DepthwiseConv2DTranspose(3, depthwise_initializer=given),
    "DepthwiseSeparableConv": lambda given: layers.DepthwiseSeparableConv(2, depthwise_initializer=given),
}


@pytest.mark.parametrize("name", DEPTHWISE)
def test_an_initializer_of_ones_own_draws_the_kernel(name):
    for given in (
        *(Ramp(), Ramp, Inheriting(), keras.saving.serialize_keras_object(Ramp())),
        *(Halved(seed=1), own_function, keras.initializers.RandomUniform(seed=1)),
        *(tf.constant_initializer(3.0), tf.ones_initializer(), keras.initializers.Constant(2.0)),
    ):
        layer = DEPTHWISE[name](given)
        layer(images_for(layer))
        kernel = np.asarray(layer.weights[0])
        expected = keras.initializers.get(given)(kernel.shape, dtype="float32")
        np.testing.assert_array_equal(kernel, expected)


def test_no_initializer_is_keras_default_with_the_true_fan_in():
    layer = layers.DepthwiseConv2D(3, depthwise_initializer=None)
    layer.build((None, 9, 8, 1024))
    assert np.var(np.asarray(layer.kernel)) == pytest.approx(2 / 18, rel=0.05)


class Tripled:
    """A convolution that adds one to three times the sum."""

    def convolution_op(self, inputs, *kernels):
        return super().convolution_op(inputs, *kernels) * 3 + 1


def tripled(base):
    return type(f"Tripled{base.__name__}", (Tripled, base), {})


class Standardized(layers.Conv2D):
    """Weight standardization, as Keras's documentation has it."""

    def convolution_op(self, inputs, kernel):
        mean, variance = keras.ops.moments(kernel, axes=(0, 1, 2), keepdims=True)
        kernel = (kernel - mean) / keras.ops.sqrt(variance + 1e-10)
        return keras.ops.conv(inputs, kernel, list(self.strides), self.padding, self.data_format, self.dilation_rate)


@pytest.mark.parametrize("kind", [k for k in KINDS if k is not layers.DepthwiseSeparableConv], ids=lambda k: k.__name__)
def test_convolution_op_can_be_overridden(kind):
    plain, own = kind(**basis(kind)), tripled(kind)(**basis(kind))
    x = images_for(plain)
    expected = plain(x)
    own.build(x.shape)
    own.set_weights(plain.get_weights())
    assert_close(own(x), 3 * np.asarray(expected) + 1)


def test_convolution_op_of_keras_documentation(tmp_path):
    layer = Standardized(6, 3, strides=2, padding="same", bias_initializer="ones")
    model = keras.Sequential([keras.Input(X.shape[1:]), layer])
    kernel = np.asarray(layer.kernel, "float64")
    kernel = (kernel - kernel.mean((0, 1, 2))) / kernel.std((0, 1, 2))
    expected = 1 + np.asarray(keras.ops.conv(X, kernel.astype("float32"), 2, "same"))
    assert_close(model(X), expected)
    path = tflite.export(model, tmp_path / "m.tflite", data=X).path
    assert_close(tflite.predict(path, X), expected)


@pytest.mark.parametrize("base", [keras.layers.Conv2D, layers.Conv2D])
def test_kernel_can_be_a_property(base, tmp_path):
    """Of a layer that computes its kernel of the variable, as a normalized or masked one."""

    class Halved(base):
        @property
        def kernel(self):
            return self._kernel * 0.5

    layer = Halved(6, 3, kernel_initializer=keras.initializers.HeNormal(0))
    model = keras.Sequential([keras.Input(X.shape[1:]), layer])
    expected = np.asarray(keras.ops.conv(X, 0.5 * np.asarray(layer._kernel), 1, "valid"))
    assert_close(model(X), expected)
    assert_close(tflite.predict(tflite.export(model, tmp_path / "m.tflite", data=X).path, X), expected)


class LouderRectifier(keras.layers.ReLU):
    def call(self, inputs):
        return 3 * super().call(inputs)


class LouderNormalization(keras.layers.BatchNormalization):
    def call(self, inputs, **options):
        return 3 * super().call(inputs, **options)


class LouderDense(keras.layers.Dense):
    def call(self, inputs):
        return 3 * super().call(inputs)


class LouderBlock(layers.DepthwiseSeparableConv):
    def call(self, inputs, training=None):
        return 3 * super().call(inputs, training=training)


class LouderPooling(keras.layers.MaxPooling2D):
    def call(self, inputs):
        return 3 * super().call(inputs)


class Initialized(layers.Conv2D):
    """A subclass that computes what its base does."""

    def __init__(self, filters, **options):
        super().__init__(**{"filters": filters, "kernel_size": 1, **options})

    def build(self, input_shape):
        super().build(input_shape)


OVERRIDING = {
    "Conv2D of Keras": lambda: tripled(keras.layers.Conv2D)(4, 3),
    "Conv2D": lambda: tripled(layers.Conv2D)(4, 3),
    "SeparableConv2D": lambda: tripled(layers.SeparableConv2D)(4, 3),
    "Conv2DTranspose": lambda: tripled(layers.Conv2DTranspose)(4, 3),
    "Dense": lambda: LouderDense(4),
    "rectifier": LouderRectifier,
    "normalization": LouderNormalization,
    "pooling": LouderPooling,
}


@pytest.mark.parametrize("case", OVERRIDING)
def test_prepare_refuses_layers_that_override_what_it_computes(case):
    model = keras.Sequential([keras.Input(X.shape[1:]), keras.layers.Conv2D(4, 1), OVERRIDING[case]()])
    text = assert_refused(lambda: quantize.prepare(model, unsupported="error"), "model")
    assert "which overrides" in text


def test_a_block_with_a_call_of_its_own_is_traced():
    """Its operations are those of its call: what is quantized is never its base's."""
    model = keras.Sequential([keras.Input(X.shape[1:]), keras.layers.Conv2D(4, 1), LouderBlock(4, name="louder")])
    for options in ({"unsupported": "error"}, {"float_layers": ["louder"]}):
        prepared = quantize.observe(quantize.prepare(model, **options), X)
        assert_close(prepared(X), model(X), 0.05)


def test_prepare_takes_subclasses_that_compute_what_their_base_does():
    model = keras.Sequential([keras.Input(X.shape[1:]), Initialized(4)])
    prepared = quantize.observe(quantize.prepare(model), X)
    assert_close(prepared(X), model(X), 0.05)


ADAPTED = {
    "Conv1D": lambda **k: layers.Conv1D(4, 3, **k),
    "Conv2D": lambda **k: layers.Conv2D(4, 3, groups=2, strides=2, rate=2, padding="same", **k),
    "SeparableConv2D": lambda **k: layers.SeparableConv2D(4, 3, **k),
    "Conv2DTranspose": lambda **k: layers.Conv2DTranspose(4, 3, **k),
    "DeformableConv2D": lambda **k: layers.DeformableConv2D(4, 3, **k),
}


def adapted(name, **options):
    """A model with an adapted layer, and images for it."""
    layer = ADAPTED[name](**options)
    x = images_for(layer)
    normalized = [keras.Input(x.shape[1:]), layer, keras.layers.BatchNormalization(), keras.layers.Flatten()]
    return keras.Sequential([*normalized, keras.layers.Dense(2)]), x


def trained(model, x):
    model.compile("sgd", "mse")
    model.fit(x, np.ones((len(x), 2)), verbose=0)
    return model


@pytest.mark.parametrize("given", [pytest.param(True, marks=pytest.mark.slow), False])
def test_low_rank_adaptation_of_a_block(given, tmp_path):
    """Of its 1×1 convolution, given at the start or later: trained, saved, folded, quantized, exported."""
    options = {"lora_rank": 2, "lora_alpha": 3.0}
    block = layers.DepthwiseSeparableConv(4, **(options if given else {}))
    model = keras.Sequential([keras.Input(X.shape[1:]), block, keras.layers.Flatten(), keras.layers.Dense(2)])
    if not given:
        block.enable_lora(2, 3.0)
    assert block.lora_enabled
    assert options.items() <= block.get_config().items()
    frozen = np.array(block.pointwise.weights[0])
    trained(model, X)
    np.testing.assert_array_equal(block.pointwise.weights[0], frozen)
    assert np.abs(block.pointwise.lora_kernel_b).max() > 1e-4
    expected = model.predict(X, verbose=0)
    model.save(tmp_path / "m.keras")
    folded = surgery.fold_batch_norm(model)
    for other in (models.load_model(tmp_path / "m.keras"), folded):
        assert_close(other.predict(X, verbose=0), expected, 1e-5)
    assert not folded.layers[0].lora_enabled
    prepared = quantize.observe(quantize.prepare(model), X)
    assert_close(prepared(X), expected, 0.05)
    assert tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X).verification.differing == 0


@pytest.mark.parametrize("name", in_part(ADAPTED, 5))
def test_low_rank_adaptation_trains_its_factors_only(name):
    model, x = adapted(name, lora_rank=2)
    layer = model.layers[0]
    assert layer.lora_enabled
    frozen = next(weight for weight in layer.weights if weight.name == layer._adapted[0])
    before, loose = np.array(frozen), np.array(layer.lora_kernel_b)
    assert not any(np.abs(loose).ravel()), "the layer begins as it is without adaptation"
    trained(trained(model, x), x)
    np.testing.assert_array_equal(frozen, before)
    update = np.asarray(layer.lora_kernel_a) @ np.asarray(layer.lora_kernel_b)
    assert np.abs(update).max() > 1e-4
    assert_close(getattr(layer, layer._adapted[0]), before + update, 1e-6)


def test_low_rank_adaptation_is_that_of_keras(tmp_path):
    ours, theirs = (kind(6, 3, lora_rank=2, lora_alpha=4) for kind in (layers.Conv2D, keras.layers.Conv2D))
    expected = theirs(X)
    ours.build(X.shape)
    described = [[(w.name, w.shape, w.trainable, w.dtype) for w in each.weights] for each in (ours, theirs)]
    assert described[0] == described[1]
    theirs.lora_kernel_b.assign(np.ones((2, 6)))
    ours.set_weights(theirs.get_weights())
    expected = theirs(X)
    assert_close(ours(X), expected)
    copy = layers.Conv2D.from_config({**theirs.get_config(), "name": "copy"})
    assert (copy.lora_rank, copy.lora_alpha) == (2, 4)
    models = [keras.Sequential([keras.Input(X.shape[1:]), each]) for each in (theirs, copy, layers.Conv2D(6, 3))]
    models[0].save_weights(tmp_path / "w.weights.h5")
    for model in models[1:]:  # their file in our layers, with adaptation and without
        model.load_weights(tmp_path / "w.weights.h5")
        assert_close(model(X), expected)


def test_low_rank_adaptation_begins_where_it_is_enabled():
    model, x = adapted("Conv2D")
    layer = model.layers[0]
    expected = model(x)
    layer.enable_lora(1, lora_alpha=3.0)
    assert_close(model(x), expected)
    assert {"lora_rank": 1, "lora_alpha": 3.0}.items() <= layer.get_config().items()
    assert len(layer.trainable_weights) == 3


def test_low_rank_adaptation_survives_every_way_out(tmp_path):
    """Saved, counted, folded, exported and quantized: the sum of kernel and factors."""
    model, x = adapted("Conv2D", lora_rank=2)
    trained(model, x)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), expected)
    before = np.array(again.layers[0].lora_kernel_b)
    trained(again, x)
    assert np.abs(np.asarray(again.layers[0].lora_kernel_b) - before).max() > 1e-5, "it cannot be trained further"
    assert cost(model).params == model.count_params()
    folded = surgery.fold_batch_norm(model)
    assert_close(folded(x), expected)
    path = tflite.export(model, tmp_path / "m.tflite", data=x).path
    assert_close(tflite.predict(path, x), expected)
    assert [op.name for op in tflite.inspect(path).operators] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]


def test_low_rank_adaptation_of_a_prepared_model(tmp_path):
    model, x = adapted("Conv2DTranspose", lora_rank=2)
    trained(model, x)
    prepared = quantize.observe(quantize.prepare(model), x)
    assert_close(prepared(x), model(x), 0.1)
    trained(prepared, x)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=x)
    assert report.verification.differing == 0


@pytest.mark.parametrize(
    ("argument", "run"),
    [
        ("lora_rank", lambda: layers.Conv2D(4, 3, lora_rank=0)),
        ("lora_alpha", lambda: layers.Conv2D(4, 3, lora_rank=2, lora_alpha="2")),
        ("enable_lora", lambda: layers.Conv2D(4, 3).enable_lora(2)),
        ("enable_lora", lambda: adapted("Conv2D", lora_rank=2)[0].layers[0].enable_lora(2)),
        ("rank", lambda: adapted("Conv2D")[0].layers[0].enable_lora(1.5)),
        ("kernel_constraint", lambda: adapted("Conv1D", lora_rank=2, kernel_constraint="non_neg")),
        ("pointwise_constraint", lambda: adapted("SeparableConv2D", lora_rank=2, pointwise_constraint="non_neg")),
        ("store", lambda: adapted("Conv2D", lora_rank=2)[0].layers[0].load_own_variables({"0": 1.0})),
    ],
)
def test_low_rank_adaptation_errors(argument, run):
    assert_refused(run, argument)


@pytest.mark.parametrize("ranks", [(None, 2), (2, None), (2, 2), (2, 3)])
@pytest.mark.parametrize("name", ["Conv1D", "Conv2D"])
def test_weights_load_into_adapted_layers_as_keras_does(name, ranks, tmp_path):
    """Beside Keras's own layer, and from its files: the loaded one computes the same."""
    x = np.random.default_rng(0).normal(size=(2, 6, 3) if name == "Conv1D" else (2, 6, 6, 3)).astype("float32")
    stored, made = [], []
    for place, library in enumerate((keras.layers, layers)):
        first, second = (
            keras.Sequential([keras.Input(x.shape[1:]), getattr(library, name)(4, 3, lora_rank=rank, name="c")])
            for rank in ranks
        )
        rng = np.random.default_rng(1)
        for weight in first.weights:
            weight.assign(rng.normal(size=weight.shape))
        first.save_weights(tmp_path / f"{place}.weights.h5")
        stored.append(np.asarray(first(x)))
        made.append(second)
    np.testing.assert_allclose(stored[1], stored[0], atol=1e-5)
    for model in made:
        for place in range(2):
            model.load_weights(tmp_path / f"{place}.weights.h5")
            np.testing.assert_allclose(model(x), stored[0], atol=1e-5)
