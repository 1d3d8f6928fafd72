"""Composite layers of any maker, and models with a call of their own: what is inside is folded and quantized."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_sentence, in_part
from keras import layers as L
from keras import ops

from tfsep import quantize, surgery, tflite
from tfsep._keras.dtype_policy import dtype_policy

X = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")


class Block(L.Layer):
    """A residual block with a branch in training, whose layers are built where they are first called."""

    def __init__(self, filters=3, **options):
        super().__init__(**options)
        self.convolution = L.Conv2D(filters, 3, padding="same", name="c")
        self.normalization, self.dropout = L.BatchNormalization(name="n"), L.Dropout(0.5, name="d")

    def call(self, x, training=None):
        y = ops.relu(self.normalization(self.convolution(x), training=training))
        if training:
            y = self.dropout(y)
        return x + y if x.shape[-1] == y.shape[-1] else y


class WithTensorFlow(Block):
    def call(self, x):
        y = tf.nn.relu(self.normalization(self.convolution(x)))
        return tf.concat([2.0 * y, tf.reduce_mean(y, [1, 2], keepdims=True) + tf.math.sigmoid(x)], axis=-1)


class Scaled(Block):
    """A block that computes with weights of its own."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(3,), name="scale")
        self.offset = self.add_weight(shape=(), name="offset", trainable=False)

    def call(self, x):
        return x + self.scale * self.normalization(self.convolution(x)) + self.offset


class TrainingByDefault(Block):
    def call(self, x, training=True):
        return self.dropout(self.normalization(self.convolution(x), training=training), training=training)


class Reusing(Block):
    def call(self, inputs):
        x, skip = inputs["x"], inputs["skip"]
        return x + self.convolution(skip), self.normalization(self.convolution(x + skip))


class Stage(L.Layer):
    """Blocks within a block, a nested model, a tensor by name, and layers that are made in the call."""

    def __init__(self, **options):
        super().__init__(**options)
        self.blocks = [Block(4), Block(4)]
        self.head = keras.Sequential([L.Conv2D(4, 1), L.BatchNormalization(), L.ReLU()])

    def call(self, x, skip=None, training=None):
        for block in self.blocks:
            x = block(x, training=training)
        return L.AveragePooling2D(2)(self.head(x) + skip)


class Network(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.stage, self.convolution, self.dense = Stage(name="stage"), L.Conv2D(4, 1), L.Dense(3)

    def call(self, x, training=None):
        return {"class": self.dense(self.stage(x, skip=self.convolution(x), training=training))}


class OfSeveral(Network):
    def call(self, inputs):
        return super().call(inputs["a"] + inputs["b"])


class Doubled(keras.Model):
    """A Functional model with a call of its own."""

    def __init__(self, **options):
        inputs = L.Input((8, 8, 3), name="images")
        super().__init__(inputs, L.BatchNormalization()(L.Conv2D(4, 3)(inputs)), **options)

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


def around(build):
    """A Functional model of what a function makes of its input."""
    inputs = L.Input((8, 8, 3), name="images")
    return keras.Model(inputs, build(inputs), name="model")


def called(model, *data):
    model(*data)
    return model


def at_two_sizes(x):
    shared = Block(name="shared")
    first = shared(shared(x))
    return [first, shared(L.AveragePooling2D(2)(first))]


def in_bfloat16():
    with dtype_policy("mixed_bfloat16"):
        return around(Scaled())


def of_two_results(x):
    first, second = Reusing(name="block")({"x": x, "skip": L.ReLU()(x)})
    return L.Concatenate()([first, L.ReLU()(second)])


FOLDED = {
    "a block": lambda: around(Block()),
    "of another width": lambda: around(Block(4)),
    "TensorFlow's functions": lambda: around(WithTensorFlow()),
    "weights of its own": lambda: around(Scaled()),
    "training by default": lambda: around(TrainingByDefault()),
    "at two sizes": lambda: around(at_two_sizes),
    "within a block": lambda: around(lambda x: Stage()(x, skip=L.Conv2D(4, 1)(x))),
    "in a Sequential model": lambda: keras.Sequential([L.Input((8, 8, 3)), Block(4), L.Flatten(), L.Dense(2)]),
    "of open sizes": lambda: keras.Model(inputs := L.Input((None, None, 3)), Block()(inputs)),
    "in bfloat16": in_bfloat16,
    "a subclassed model": lambda: called(Network(), X),
    "of inputs by name": lambda: called(OfSeveral(), {"a": X, "b": X}),
    "a subclassed model inside": lambda: around(Network()),
    "a call of its own": Doubled,
    "a call of its own inside": lambda: around(Doubled()),
}


def filled(model):
    rng = np.random.default_rng(1)
    for weight in model.weights:
        positive = weight.name in ("gamma", "moving_variance")
        weight.assign(rng.uniform(0.5, 2, weight.shape) if positive else rng.normal(0, 0.3, weight.shape))
    return model


def state(model):
    nodes = [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in model._flatten_layers()]
    return nodes, [np.array(variable) for variable in model.variables]


def assert_unchanged(model, before):
    nodes, values = state(model)
    assert nodes == before[0]
    for value, old in zip(values, before[1], strict=True):
        np.testing.assert_array_equal(value, old)


def predicted(model, data=X):
    if isinstance(model, OfSeveral) or len(getattr(model, "inputs", [X])) > 1:
        data = {"a": data, "b": data}
    return tf.nest.flatten(model.predict(data, verbose=0))


def normalizations(model):
    return sum(isinstance(layer, L.BatchNormalization) for layer in model._flatten_layers())


@pytest.mark.parametrize("case", in_part(FOLDED, 2))
def test_normalizations_inside_are_folded(case, tmp_path):
    model = filled(FOLDED[case]())
    before, expected = state(model), predicted(model)
    folded = surgery.fold_batch_norm(model)
    assert normalizations(folded) == 0
    assert_unchanged(model, before)
    assert not {id(own) for own in model.variables} & {id(own) for own in folded.variables}
    folded.save(tmp_path / "m.keras")  # without the classes of the blocks
    for other in (folded, keras.saving.load_model(tmp_path / "m.keras")):
        for actual, wanted in zip(predicted(other), expected, strict=True):
            assert_close(actual, wanted, 5e-3 if case == "in bfloat16" else 1e-5)


def test_one_layer_inside_that_is_called_twice_keeps_its_normalization():
    model = filled(around(of_two_results))
    expected = predicted(model)
    with pytest.warns(UserWarning, match=r"block/n \('c' is called more than once\)"):
        folded = surgery.fold_batch_norm(model)
    assert_close(predicted(folded)[0], expected[0], 1e-5)


def test_folded_blocks_train():
    """What they hold in training alone, as dropout, they have still."""
    model = filled(around(TrainingByDefault()))
    folded = surgery.fold_batch_norm(model)
    outputs = np.array(folded(X, training=True))
    assert 0.3 < np.mean(outputs == 0) < 0.7
    assert np.mean(np.array(folded(X, training=False)) == 0) == 0
    before = folded.get_weights()
    folded.compile("sgd", "mse")
    folded.train_on_batch(X, np.zeros_like(outputs))
    assert all(np.any(old != new) for old, new in zip(before, folded.get_weights(), strict=True))


class Rolling(Block):
    """A block with a function of TensorFlow's that Keras has no operation for."""

    def call(self, x):
        return tf.roll(self.normalization(self.convolution(x)), 1, axis=1)


class Lying(Block):
    def call(self, x):
        return (1 if isinstance(x, keras.KerasTensor) else 2) * self.normalization(self.convolution(x))


class Drawing(Block):
    def __init__(self, **options):
        super().__init__(**options)
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, x):
        return self.normalization(self.convolution(x)) + keras.random.normal(x.shape[1:], seed=self.seeds)


class Tied(Block):
    def call(self, x):
        return ops.conv(self.normalization(self.convolution(x)), self.convolution.kernel, padding="same")


class Standardized(Block):
    """A kernel of a layer that is not called."""

    def build(self, shape):
        self.convolution.build(shape)

    def call(self, x):
        kernel = self.convolution.kernel - ops.mean(self.convolution.kernel)
        return self.normalization(ops.conv(x, kernel, padding="same"))


class Counting(Scaled):
    def call(self, x):
        self.offset.assign(self.offset + 1.0)
        return super().call(x)


def called_in_two_ways(x):
    class Flipping(Block):
        def call(self, x, flip):
            return (-1 if flip else 1) * self.normalization(self.convolution(x))

    block = Flipping()
    return block(x, flip=True) + block(x, flip=False)


class Masked(L.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.dense, self.normalization, self.supports_masking = L.Dense(3), L.BatchNormalization(name="n"), True

    def build(self, shape):
        self.dense.build(shape)
        self.normalization.build(shape)

    def call(self, x):
        return self.normalization(self.dense(x))


CLOSED = {
    "a function without an operation": (Rolling(), "which cannot be traced by Keras: "),
    "another call for Keras": (Lying(), "which computes something else than Keras traces of it"),
    "numbers drawn": (Drawing(), "which assigns 'seed_generator_state'"),
    "a kernel used elsewhere": (Tied(), "which computes with weights of other layers itself"),
    "a kernel of a layer not called": (
        Standardized(),
        "which may compute with weights of layers that it does not call",
    ),
    "a state": (Counting(), "which cannot be traced by Keras: "),
    "called in two ways": (called_in_two_ways, "which is called in several ways"),
    "a mask": (lambda x: Masked()(L.Masking()(x)), "which gets a mask"),
}


@pytest.mark.parametrize("case", CLOSED)
def test_blocks_that_stay_closed_are_named(case):
    build, reason = CLOSED[case]
    model = filled(around(build))
    expected, before = model(X, training=False), state(model)
    with pytest.warns(UserWarning, match="as they are") as caught:
        folded = surgery.fold_batch_norm(model)
    assert reason in str(caught[0].message)
    assert "/n (it is inside a layer of class " in str(caught[0].message)
    assert "\n" not in str(caught[0].message)
    assert_unchanged(model, before)
    if case not in ("numbers drawn", "a state"):
        assert_close(folded(X, training=False), expected, 1e-6)


class Untraceable(Network):
    def call(self, x):
        return super().call(tf.roll(x, 1, axis=1))


@pytest.mark.parametrize("make", [lambda: called(Untraceable(), X), Network])
def test_models_that_cannot_be_opened_are_refused(make):
    for function in (surgery.fold_batch_norm, quantize.prepare):
        with pytest.raises(TypeError) as error:
            function(make())
        assert_sentence(error.value, "model")


QUANTIZED = {
    "a block": (lambda: around(Block()), {"CONV_2D": 1, "ADD": 1}),
    "at two sizes": (lambda: around(at_two_sizes), {"CONV_2D": 3, "ADD": 3, "AVERAGE_POOL_2D": 1}),
    "within a model": (
        lambda: called(Network(), X),
        {"CONV_2D": 4, "ADD": 2, "AVERAGE_POOL_2D": 1, "FULLY_CONNECTED": 1},
    ),
}


@pytest.mark.parametrize("case", QUANTIZED)
def test_layers_inside_are_quantized(case, tmp_path):
    make, operators = QUANTIZED[case]
    model = filled(make())
    before, expected = state(model), predicted(model)
    prepared = quantize.observe(quantize.prepare(model), X)
    assert_unchanged(model, before)
    for actual, wanted in zip(predicted(prepared), expected, strict=True):
        assert np.sqrt(np.mean(np.square(actual - wanted))) < 0.05 * np.std(wanted)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X)
    assert report.verification.differing == 0
    assert report.ops == operators


def test_blocks_stay_in_float32_by_name(tmp_path):
    """Those that are not quantized say why, and their names are the same in each call."""
    model = filled(around(lambda x: L.Conv2D(2, 1)(Rolling(name="rolling")(Scaled(name="scaled")(x)))))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"got 'scaled_scale' \(Weight\), .*: float_layers leaves them"):
            quantize.prepare(model, unsupported="error")
    with pytest.raises(
        ValueError, match=r"'rolling' \(.*, which cannot be traced by Keras: .*\): float_layers"
    ) as error:
        quantize.prepare(model, float_layers=["scaled"], unsupported="error")
    assert_sentence(error.value, "model")
    prepared = quantize.observe(quantize.prepare(model, float_layers=["scaled", "rolling"]), X)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X)
    assert report.ops["CONV_2D"] == 3
