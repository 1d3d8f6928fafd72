"""Inference means inference: functions that take a model compute what `predict` does, and leave the model as it was."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_unchanged, state_of
from keras import layers as L

from tfsep import quantize, surgery, tflite, train
from tfsep._keras.foreign_state import foreign_state_kept
from tfsep._keras.inference_identities import INFERENCE_IDENTITIES
from tfsep.cost import cost
from tfsep.data import Split

X = np.random.default_rng(0).normal(size=(32, 16, 16, 3)).astype("float32")


@keras.saving.register_keras_serializable("tests")
class TrainsByDefault(L.Layer):
    """A layer whose own default is to train, as Keras's layers that resize and augment have it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.normalization = L.BatchNormalization()

    def call(self, x, training=True):
        return self.normalization(x, training=training)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.stack = [
            L.Resizing(8, 8),
            L.Conv2D(4, 3, activity_regularizer="l2"),
            L.BatchNormalization(),
            L.GlobalAveragePooling2D(),
            L.Dense(3),
        ]

    def call(self, x):
        for layer in self.stack:
            x = layer(x)
        return x


def functional(body):
    inputs = keras.Input((16, 16, 3))
    return keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(body(inputs))))


def subclassed():
    model = Subclassed()
    model(X[:1], training=False)
    return model


def normalized(x, **options):
    return L.BatchNormalization()(L.Conv2D(4, 3, activity_regularizer="l2")(x), **options)


MODELS = {
    "resized": lambda: functional(lambda x: normalized(L.Resizing(8, 8)(x))),
    "center crop": lambda: functional(lambda x: normalized(L.CenterCrop(8, 8)(x))),
    "flipped at random": lambda: functional(lambda x: normalized(L.RandomFlip(seed=1)(x))),
    "noisy": lambda: functional(lambda x: normalized(L.GaussianNoise(1.0)(L.RandomBrightness(0.5, seed=1)(x)))),
    "a layer that trains by default": lambda: functional(lambda x: TrainsByDefault()(L.Conv2D(4, 3)(x))),
    "training=True": lambda: functional(lambda x: L.Dropout(0.5)(normalized(x, training=True), training=True)),
    "nested": lambda: functional(functional_inside),
    "sequential": lambda: keras.Sequential(
        [keras.Input((16, 16, 3)), L.RandomZoom(0.5), L.Resizing(8, 8), L.Conv2D(4, 3), L.BatchNormalization()]
    ),
    "subclassed": subclassed,
}


BATCHES = ("a layer that trains by default", "training=True")
"""Those that would compute another result in another batch, if they trained."""
REGULARIZED = MODELS.keys() - {"a layer that trains by default", "sequential"}
"""Those with a loss of their own."""


def functional_inside(x):
    inputs = keras.Input((16, 16, 3))
    return keras.Model(inputs, normalized(L.Resizing(8, 8)(inputs)))(x)


def made(name):
    """A model whose moving statistics are not those of its data, so that it matters which are used."""
    model = MODELS[name]()
    rng = np.random.default_rng(1)
    for variable in model.variables:
        if variable.name.startswith("moving"):
            variable.assign(rng.uniform(0.5, 2.0, variable.shape))
    return model


@pytest.mark.parametrize("name", MODELS)
def test_state_is_seen(name):
    """Called as Keras's layers default to, most of these models change: the comparison would see it."""
    model = made(name)
    before = state_of(model)
    model(X, training=True)
    with pytest.raises(AssertionError):
        assert_unchanged(model, before)


@pytest.mark.filterwarnings("ignore:model. left 1 batch normalization")
@pytest.mark.parametrize("name", MODELS)
def test_functions_compute_what_predict_does_and_leave_the_model_as_it_was(name, tmp_path, timed_once):
    model, shape = made(name), (16, 16, 3) if name == "subclassed" else None
    predicted = None if name == "subclassed" else model.predict(X, verbose=0)
    expected = np.asarray(model(X, training=False))
    before = state_of(model)
    assert any(path.startswith("loss") for path in before) == (name in REGULARIZED)
    path = tmp_path / "folder" / "model.tflite"  # of convert, whose conversion is export's
    tflite.convert(model, path.parent, "float32", data=X, input_shape=shape)
    np.testing.assert_allclose(tflite.predict(path, X), expected, atol=1e-5)
    if name in BATCHES:
        path = tflite.export(model, tmp_path / "m.tflite", data=X, batch_size=16).path
        np.testing.assert_allclose(tflite.predict(path, X), expected, atol=1e-5)
    if name in ("resized", "subclassed"):
        tflite.convert(model, path.parent, "int8", X, data=X, input_shape=shape)
    cost(model, shape)
    prepared = quantize.observe(quantize.prepare(model), X)
    np.testing.assert_allclose(prepared(X, training=False), expected, atol=0.1 * np.abs(expected).max())
    if name != "subclassed":  # Keras's own predict moves its statistics, and it says nothing of its inputs
        np.testing.assert_allclose(predicted, expected, atol=1e-5)
        tflite.verify(model, path, X)
        tflite.compare_layers(model, path, X[:16])
        surgery.fold_batch_norm(model)
    assert_unchanged(model, before)


def test_accuracy_leaves_a_model_as_it_was():
    model = keras.Sequential([made("resized"), L.Softmax()])
    before = state_of(model)
    train.accuracy(model, Split.of(np.zeros((8, 16, 16, 3), "uint8"), np.zeros(8, "int64")))
    assert_unchanged(model, before)


def test_prepare_takes_calls_that_were_told_to_train():
    """Keras's predict overrides training=True, and so the file has a normalization by moving statistics."""
    model = made("training=True")
    model(X)
    before = state_of(model)
    prepared = quantize.observe(quantize.prepare(model), X)
    assert_unchanged(model, before)
    np.testing.assert_allclose(prepared(X), model.predict(X, verbose=0), atol=0.05)
    seen = state_of(prepared)
    quantize.observe(prepared, X[:4])
    assert [p for p, value in state_of(prepared).items() if "moving" in p and value.tolist() != seen[p].tolist()] == []


GLOBAL, CALLS = tf.Variable(1.0), []


class Held:
    def __init__(self):
        self.calls, self.array = 0, np.zeros(2)


class Counting(L.Layer):
    """A layer that holds what Keras does not track: a variable, numbers, containers, an object, its last result."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.variable, self.held, self.last, self.calls = tf.Variable(3.0), Held(), None, 0
        self.listed, self.named, self.members, self.inside = [0], {"calls": 0}, {0}, (tf.Variable(1.0),)

    def call(self, x):
        self.variable.assign_add(1.0)
        self.inside[0].assign_add(1.0)
        GLOBAL.assign_add(1.0)
        CALLS.append(0)
        self.calls += 1
        self.listed.append(self.calls)
        self.named[f"call {self.calls}"] = self.calls
        self.members.add(self.calls)
        self.held.calls += 1
        self.held.array += 1.0
        self.last = x * self.variable
        return self.last

    def state(self):
        tensors = [float(each) for each in (self.variable, self.inside[0], GLOBAL)]
        numbers = [self.calls, list(self.listed), dict(self.named), set(self.members), self.held.calls, len(CALLS)]
        return [*tensors, *numbers, self.held.array.tolist(), id(self.last)]


def counting_function():
    """A function with a variable and a number of its own, and its state."""
    variable, calls = tf.Variable(3.0), 0

    def function(x):
        nonlocal calls
        calls += 1
        variable.assign_add(1.0)
        return x * variable

    return function, lambda: [float(variable), calls]


class Calling(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.convolution, self.calls = layer, L.Conv2D(2, 3), 0

    def call(self, x):
        self.calls += 1
        return self.convolution(self.layer(x))


def counting(kind):
    """A model that counts its calls, its layer that does, and the state of both."""
    if kind in ("layer", "subclassed"):
        layer = Counting()
        state = layer.state
    else:
        function, state = counting_function()
        layer = L.Lambda(function) if kind == "lambda" else L.Dense(3, activation=function)
    if kind == "subclassed":
        model = Calling(layer)
        model(X[:1, :6, :6])
        return model, layer, lambda: [model.calls, *layer.state()]
    inputs = keras.Input((6, 6, 3))
    return keras.Model(inputs, L.Conv2D(2, 3)(layer(inputs))), layer, state


@pytest.mark.parametrize("kind", ["layer", "lambda", "activation", "subclassed"])
def test_what_keras_does_not_track_stays(kind, tmp_path):
    model, layer, state = counting(kind)
    x, path, shape = X[:4, :6, :6], tmp_path / "m.tflite", (6, 6, 3)
    before = state()
    calls = {
        "accuracy": lambda: train.accuracy(model, Split.of(np.zeros((4, 6, 6, 3), "uint8"), np.arange(4))),
        "export": lambda: tflite.export(model, path, data=x[:1], input_shape=shape),
        "verify": lambda: tflite.verify(model, path, x[:1], weights=False),
        "compare_layers": lambda: tflite.compare_layers(model, path, x[:1]),
        "cost": lambda: cost(model, shape),
        "fold_batch_norm": lambda: surgery.fold_batch_norm(model),
        "observe": lambda: quantize.observe(quantize.prepare(model, float_layers=[layer.name]), x),
    }
    for name in list(calls)[: 5 if kind == "subclassed" else None]:
        calls[name]()
        assert state() == before, name
    model(x)
    assert state() != before


def test_state_stays_where_a_call_fails():
    model, _, state = counting("layer")
    before = state()

    def failing():
        with foreign_state_kept(model):
            model(X[:1, :6, :6])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert state() == before


ARGUMENTS = {
    **dict.fromkeys(("RandomTranslation", "RandomShear"), (0.2, 0.2)),
    "RandomPosterization": (4,),
    "Solarization": (0.3,),
    **dict.fromkeys(("AugMix", "CutMix", "MixUp", "RandAugment"), ()),
    "RandomCrop": (8, 8),
}
OPTIONAL = {"RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale"}
OPTIONAL |= {"RandomColorJitter", "RandomInvert", "RandomPerspective"}
RANDOM = sorted({name for name in dir(L) if name.startswith("Random")} | ARGUMENTS.keys())
NOISES = ("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout2D")


class Counter(L.Layer):
    """A layer that counts its calls, and may tell."""

    def __init__(self, tells, **kwargs):
        super().__init__(**kwargs)
        self.tells, self.seeds = tells, keras.random.SeedGenerator(1)

    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.count.assign_add(1.0)
        self.seeds.next()
        return x + self.count if self.tells else x


def test_numbers_drawn_in_vain_leave_nothing_in_files(tmp_path):
    """Every layer of Keras that draws numbers, and one of somebody else's: predict's images, and one operator."""
    images = X[:8, :8, :8]
    layers = [getattr(L, name)(*ARGUMENTS.get(name, () if name in OPTIONAL else (0.3,))) for name in RANDOM]
    layers += [getattr(L, name)(0.3) for name in NOISES]
    layers += [L.Pipeline([L.RandomHue(0.3), L.RandomSaturation(0.3)]), Counter(tells=False)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers, L.Conv2D(2, 3, name="c")])
    expected = model.predict(images, verbose=0)
    before = state_of(model)
    np.testing.assert_allclose(expected, model.layers[-1](images), atol=1e-6)
    assert set(RANDOM) - {type(layer).__name__ for layer in layers if type(layer) in INFERENCE_IDENTITIES} == {
        "RandomCrop"
    }
    assert tflite.export(model, tmp_path / "m.tflite", data=images).ops == {"CONV_2D": 1}
    assert_unchanged(model, before)
    np.testing.assert_allclose(tflite.predict(tmp_path / "m.tflite", images), expected, atol=1e-5)


def test_numbers_drawn_in_vain_need_no_tensorflow(tmp_path):
    """Where operators of TensorFlow are allowed there is none: what draws numbers is not in the file."""
    images = X[:8, :8, :8]
    names = ("RandomFlip", "RandomRotation", "RandomZoom", "RandomContrast", "RandomCrop", "RandAugment")
    layers = [getattr(L, name)(*ARGUMENTS.get(name, () if name in OPTIONAL else (0.3,))) for name in names]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers, L.GaussianNoise(0.3), L.Conv2D(2, 3)])
    before = state_of(model)
    report = tflite.export(model, tmp_path / "m.tflite", data=images, allow_flex=True)
    assert report.ops == {"CONV_2D": 1}
    assert_unchanged(model, before)
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(tflite.predict(report.path, images), expected, atol=1e-5)


def test_counts_that_matter_are_a_state_of_the_file(tmp_path):
    model = keras.Sequential([keras.Input((3,)), Counter(tells=True)])
    report = tflite.export(model, tmp_path / "m.tflite", data=X[:4, 0, 0])
    assert report.ops["VAR_HANDLE"] == 1
    counted = tflite.predict(tmp_path / "m.tflite", X[:4, 0, 0]) - X[:4, 0, 0]
    np.testing.assert_allclose(counted, np.arange(1, 5)[:, None] * np.ones(3), atol=1e-6)


def image_classification():
    """TensorFlow's tutorial of this name: augmentation and scaling inside."""
    augmentation = keras.Sequential([L.RandomFlip("horizontal"), L.RandomRotation(0.1), L.RandomZoom(0.1)])
    blocks = [(L.Conv2D(n, 3, padding="same", activation="relu"), L.MaxPooling2D()) for n in (4, 8, 8)]
    head = [L.Dropout(0.2), L.Flatten(), L.Dense(16, activation="relu"), L.Dense(5, name="outputs")]
    stack = [augmentation, L.Rescaling(1.0 / 255), *(layer for block in blocks for layer in block), *head]
    return keras.Sequential([keras.Input((16, 16, 3)), *stack])


def transfer_learning():
    """TensorFlow's tutorial of this name: a network of Keras's that was told not to train, behind its own scaling."""
    inputs = keras.Input((32, 32, 3))
    x = keras.Sequential([L.RandomFlip("horizontal"), L.RandomRotation(0.2)])(inputs)
    x = keras.applications.mobilenet_v2.preprocess_input(x)
    whole = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)
    base = keras.Model(whole.input, whole.get_layer("block_3_project_BN").output)
    base.trainable = False
    for scale in (variable for variable in base.variables if "gamma" in variable.path):
        scale.assign(3 * scale)  # without training, numbers shrink from layer to layer
    x = L.Dropout(0.2)(L.GlobalAveragePooling2D()(base(x, training=False)))
    return keras.Model(inputs, L.Dense(1, activation="sigmoid")(x))


@pytest.mark.slow
@pytest.mark.parametrize("make", [image_classification, transfer_learning])
def test_networks_of_tutorials(make, tmp_path):
    """Their random layers leave nothing in files, also where TensorFlow's operators are allowed."""
    keras.utils.set_random_seed(0)
    model = make()
    pixels = np.random.default_rng(0).uniform(0, 255, (32, *model.input_shape[1:])).astype("float32")
    before, expected = state_of(model), model.predict(pixels, verbose=0)
    for options in ({"allow_flex": True}, {"recipe": "int8", "calibration": pixels}):
        report = tflite.export(model, tmp_path / "m.tflite", data=pixels, **options)
        assert report.verification.passed
        assert not [name for name in report.ops if name.startswith("Flex")]
    prepared = quantize.observe(quantize.prepare(model), pixels)
    assert tflite.export(prepared, tmp_path / "q.tflite", "int8", data=pixels).verification.differing == 0
    assert_close(prepared.predict(pixels, verbose=0), expected, 0.1)
    assert_unchanged(model, before)
