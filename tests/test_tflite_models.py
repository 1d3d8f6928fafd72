"""Models as people have them: hidden variables, states, batches of their own, several inputs, and any form of data."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_refused
from keras import layers as L
from keras import ops

from tfsep import models, quantize, tflite

RNG = np.random.default_rng(0)
X = RNG.normal(size=(21, 5, 3)).astype("float32")
SCALE, SHIFT = tf.Variable([1.0, -2.0, 3.0]), keras.Variable([0.5, 1.0, -1.0])
NESTED = {"scales": [[SCALE]]}


class Holder(L.Layer):
    """Variables that Keras does not see: in a list of lists, and TensorFlow's in a dict."""

    def __init__(self):
        super().__init__()
        self.shifts = ((SHIFT,),)
        self.scales = NESTED

    def call(self, x):
        return x * self.scales["scales"][0][0] + self.shifts[0][0]


class Counter(L.Layer):
    """A state of its own: the number of the batch."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def call(self, x):
        self.count.assign_add(1.0)
        return x * self.count


class Reshaped(L.Layer):
    """A layer that takes one batch only."""

    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def call(self, x):
        return ops.reshape(x, (self.batch, 15))


class Centred(L.Layer):
    """A layer whose samples depend on each other."""

    def call(self, x):
        return x - ops.mean(x, axis=0, keepdims=True)


def with_slow(cases, *names):
    """The names of the cases; those of these names, which differ little from others, are slow tests."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in names else name for name in cases]


def sequential(*stack, batch=None, shape=(5, 3)):
    return keras.Sequential([keras.Input(shape, batch_size=batch), *stack])


def with_state(layer, batch):
    """A recurrent layer that has seen something, so that its state is not zero."""
    model = sequential(layer, L.Dense(3), batch=batch)
    model.predict(X[:batch], batch_size=batch, verbose=0)
    return model


HIDDEN = {
    "TensorFlow's, in a closure": lambda: sequential(L.Lambda(lambda x: x * SCALE)),
    "Keras's, in a closure": lambda: sequential(L.Lambda(lambda x: x + SHIFT)),
    "behind a kernel": lambda: sequential(L.Conv1D(3, 2), L.Lambda(lambda x: x * NESTED["scales"][0][0])),
    "in a layer": lambda: sequential(Holder()),
}
STATEFUL = {
    "GRU in a loop": (lambda: with_state(L.GRU(4, stateful=True), 1), 1),
    "LSTM": (lambda: with_state(L.LSTM(4, stateful=True), 4), 4),
    "two directions": (lambda: with_state(L.Bidirectional(L.SimpleRNN(2, stateful=True, unroll=True)), 2), 2),
    "SimpleRNN": (lambda: with_state(L.SimpleRNN(2, stateful=True, unroll=True), 4), 4),
    "a counter of TensorFlow": (lambda: sequential(Counter(tf.Variable(2.0, trainable=False))), 1),
    "a counter of Keras": (lambda: sequential(Counter(keras.Variable(2.0, trainable=False))), 1),
}


@pytest.mark.parametrize("name", with_slow(HIDDEN, "Keras's, in a closure"))
def test_variables_that_keras_does_not_track(name, tmp_path):
    model = HIDDEN[name]()
    report = tflite.export(model, tmp_path / "m.tflite", data=X)
    assert not any("VAR" in operator for operator in report.ops), "constants"
    assert_close(tflite.predict(report.path, X), model.predict(X, verbose=0))
    if name == "behind a kernel":
        assert tflite.export(model, tmp_path / "m.tflite", "int8", X).inputs[0].dtype == "int8"
        assert tflite.verify(model, report.path, X).passed


def states_of(model):
    """Every state, those that Keras lists nowhere too."""
    inner = [*model.layers, getattr(model.layers[0], "forward_layer", None)]
    lists = [getattr(layer, "states", None) or [getattr(layer, "count", None)] for layer in inner]
    return [np.array(state) for states in lists for state in states if state is not None]


@pytest.mark.parametrize("name", with_slow(STATEFUL, "two directions", "SimpleRNN", "GRU in a loop"))
def test_state_starts_as_it_is_and_goes_on(name, tmp_path):
    """The file's runs in turn are the model's in turn, from the model's present state, which the proof leaves alone."""
    made, batch = STATEFUL[name]
    model = made()
    before = states_of(model)
    assert before
    assert np.any(before[0])
    report = tflite.export(model, tmp_path / "m.tflite", data=X)
    assert report.ops["ASSIGN_VARIABLE"] >= 1
    assert report.inputs[0].shape[0] == batch
    assert tflite.verify(model, report.path, X).passed
    assert len(tflite.compare_layers(model, report.path, X[:12]).rows) >= 1
    assert all(map(np.array_equal, states_of(model), before))
    actual = tflite.predict(report.path, X[: 5 * batch])
    expected = model.predict(X[: 5 * batch], batch_size=batch, verbose=0)
    assert_close(actual, expected)
    assert not all(map(np.array_equal, states_of(model), before)), "the model's own predict goes on too"


def test_another_state_is_found(tmp_path):
    model = with_state(L.SimpleRNN(4, stateful=True, unroll=True), 1)
    path = tflite.export(model, tmp_path / "m.tflite", data=X).path
    model.layers[0].states[0].assign([[3.0, -3.0, 3.0, -3.0]])
    with pytest.raises(tflite.VerificationError):
        tflite.verify(model, path, X[:3])


def test_state_of_a_saved_model_stays(tmp_path):
    """Its graphs assign it themselves; neither an export nor a comparison of layers changes the user's model."""
    module = tf.Module()
    module.count = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([1, 4])])
    def step(x):
        module.count.assign_add(1.0)
        return {"product": x * module.count}

    tf.saved_model.save(module, tmp_path / "saved", signatures=step.get_concrete_function())
    model, x = models.load_model(tmp_path / "saved"), X[:6, :, 0][:, :4]
    assert tflite.export(model, tmp_path / "m.tflite", data=x).verification.max_error < 1e-5
    assert model.variables[0].numpy() == 0.0
    tflite.verify(model, tmp_path / "m.tflite", x)
    tflite.compare_layers(model, tmp_path / "m.tflite", x)
    assert model.variables[0].numpy() == 0.0


def test_state_in_integers(tmp_path):
    model = with_state(L.SimpleRNN(4, stateful=True, unroll=True), 2)
    assert tflite.export(model, tmp_path / "m.tflite", "int8", X).rms_error < 0.1


BATCHES = {
    "its own batch": (lambda: sequential(Reshaped(4), L.Dense(3), batch=4), None, 4),
    "its own batch, given": (lambda: sequential(Reshaped(4), L.Dense(3), batch=4), 4, 4),
    "of one": (lambda: sequential(Reshaped(1), L.Dense(3), batch=1), None, 1),
    "of one that the input leaves open": (lambda: sequential(Reshaped(1), L.Dense(3)), None, 1),
    "samples that depend on each other": (lambda: sequential(Centred(), L.Flatten(), L.Dense(3)), 4, 4),
    "samples on their own": (lambda: sequential(L.Flatten(), L.Dense(3), batch=4), None, 4),
    "another batch": (lambda: sequential(L.Flatten(), L.Dense(3), batch=4), 1, 1),
}


@pytest.mark.parametrize("name", with_slow(BATCHES, "its own batch, given", "of one"))
def test_batches(name, tmp_path):
    """21 samples are no multiple of 4: the last batch is filled up in the model as in the file."""
    make, given, batch = BATCHES[name]
    model = make()
    report = tflite.export(model, tmp_path / "m.tflite", data=X, batch_size=given)
    assert report.inputs[0].shape == (batch, 5, 3)
    assert report.samples == len(X)
    assert ("the model's own batch is 4, the file's is 1" in " ".join(report.notes)) is (name == "another batch")
    whole = X[: len(X) // batch * batch]
    expected = np.concatenate([model(part, training=False) for part in np.split(whole, len(whole) // batch)])
    assert_close(tflite.predict(report.path, whole), expected)
    assert tflite.verify(model, report.path, X).passed
    assert tflite.compare_layers(model, report.path, X).samples == len(X)


def test_batch_that_the_model_does_not_take(tmp_path):
    model = sequential(Reshaped(4), batch=4)
    text = assert_refused(lambda: tflite.export(model, tmp_path / "m.tflite", batch_size=1), "model")
    assert "batches of 1" in text
    assert f"where {model.layers[-1].name!r} fails: Cannot reshape" in text
    assert not list(tmp_path.iterdir())


IMAGES, DEPTHS = (RNG.normal(size=(16, side, side, 3)).astype("float32") for side in (8, 6))


def two_open_inputs():
    inputs = [keras.Input((None, None, 3), name=name) for name in ("image", "depth")]
    pooled = [L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(each)) for each in inputs]
    return keras.Model(inputs, L.Subtract()(pooled))


class OfOne(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv, self.pool = L.Conv2D(4, 3), L.GlobalAveragePooling2D()

    def pooled(self, x):
        return self.pool(self.conv(x))

    def call(self, x):
        return self.pooled(x)


class OfList(OfOne):
    def call(self, x):
        image, depth = x
        return self.pooled(image) - 2 * self.pooled(depth)


class OfDict(OfOne):
    def call(self, x):
        return {"first": self.pooled(x["image"]), "second": self.pooled(x["depth"])}


class OfArguments(OfOne):
    def call(self, depth, image, training=False):
        del training
        return self.pooled(image) - 2 * self.pooled(depth)


def built(model, *inputs):
    model(*inputs)
    return model


BY_NAME = {"image": IMAGES, "depth": DEPTHS}
SEVERAL = {
    "open sizes as a list": (two_open_inputs, (IMAGES, DEPTHS), [(8, 8, 3), (6, 6, 3)]),
    "open sizes by name": (two_open_inputs, BY_NAME, {"depth": (6, 6, 3), "image": (8, 8, 3)}),
    "one, built": (lambda: built(OfOne(), IMAGES), IMAGES, None),
    "one, built on other sizes": (lambda: built(OfOne(), IMAGES), DEPTHS, (6, 6, 3)),
    "a list": (OfList, (IMAGES, DEPTHS), [(8, 8, 3), (6, 6, 3)]),
    "a tuple, built": (lambda: built(OfList(), (IMAGES, DEPTHS)), (IMAGES, DEPTHS), None),
    "a dict": (OfDict, BY_NAME, {"depth": (6, 6, 3), "image": (8, 8, 3)}),
    "a dict, built": (lambda: built(OfDict(), BY_NAME), BY_NAME, None),
    "arguments": (OfArguments, (DEPTHS, IMAGES), ((6, 6, 3), (8, 8, 3))),
    "arguments by name": (OfArguments, BY_NAME, {"image": (8, 8, 3), "depth": (6, 6, 3)}),
}


@pytest.mark.parametrize(
    "name", with_slow(SEVERAL, "open sizes by name", "a tuple, built", "a dict, built", "arguments by name")
)
def test_inputs_of_every_form(name, tmp_path):
    """Verified with the file's shapes, and against the network by hand."""
    make, data, shape = SEVERAL[name]
    model = make()
    report = tflite.export(model, tmp_path / "m.tflite", data=data, input_shape=shape)
    assert report.rms_error < 1e-5
    assert tflite.verify(model, report.path, data).passed
    assert tflite.compare_layers(model, report.path, data).worst.cosine > -2
    if isinstance(model, OfArguments):
        expected = model(DEPTHS, IMAGES)
    else:
        expected = model(list(data) if isinstance(data, tuple) else data)
    actual = tflite.predict(report.path, data)
    for ours, theirs in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("make", "shape", "said"),
    [
        (two_open_inputs, None, r"image (None, None, 3), depth (None, None, 3), got None"),
        (two_open_inputs, (8, 8, 3), "a shape for each of 2 inputs (image, depth)"),
        (two_open_inputs, [(8, 8, 3)], "a shape for each of 2 inputs (image, depth)"),
        (two_open_inputs, {"image": (8, 8, 3)}, "leaves open, depth (None, None, 3)"),
        (two_open_inputs, {"picture": (8, 8, 3)}, "inputs image, depth, got picture"),
        (two_open_inputs, [(8, 8, 3), (8, 8, 4)], "(None, None, 3)"),
        (OfOne, (None, None, 3), "input (None, None, 3)"),
    ],
)
def test_shapes_that_do_not_fit(make, shape, said, tmp_path):
    text = assert_refused(lambda: tflite.export(make(), tmp_path / "m.tflite", input_shape=shape), "input_shape")
    assert said in text


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool", "float16"])
def test_inputs_of_every_type(dtype, tmp_path):
    """An input of a type takes numbers of any type that keep their values in it; a float input takes all."""
    model = keras.Sequential([keras.Input((4, 4, 3), dtype=dtype), L.Rescaling(0.5, -1.0), L.Conv2D(2, 3)])
    x = RNG.integers(0, 2 if dtype == "bool" else 100, (32, 4, 4, 3))
    report = tflite.export(model, tmp_path / "m.tflite", "int8", x, data=x.astype(dtype))
    assert report.inputs[0].dtype == dtype
    np.testing.assert_array_equal(tflite.predict(report.path, x.astype("float64")), tflite.predict(report.path, x))
    if dtype != "float16":
        assert_refused(lambda: tflite.predict(report.path, x + 0.5), "data", TypeError)
        assert_refused(lambda: tflite.predict(report.path, x.astype("complex64")), "data", TypeError)


def test_pixels_for_a_network_of_floats(tmp_path):
    """Cast as Keras casts them, by every function that takes data."""
    model = keras.Sequential([keras.Input((4, 4, 3)), L.Rescaling(1 / 127.5, -1.0), L.Conv2D(2, 3), L.Flatten()])
    x = RNG.integers(0, 256, (32, 4, 4, 3)).astype("uint8")
    report = tflite.export(model, tmp_path / "m.tflite", "int8", x, data=x)
    assert tflite.verify(model, report.path, x).samples == 32
    assert tflite.compare_layers(model, report.path, x).samples == 32
    expected = model.predict(x, verbose=0)
    assert_close(tflite.predict(report.path, x), expected, 0.05)
    assert_close(tflite.predict(tflite.export(model, tmp_path / "m.tflite", data=x).path, x), expected)


def test_functions_without_arguments_are_data(tmp_path):
    """The converter's forms: lists of batches of one, dicts, also with the signature's name in front, its record."""

    def listed():
        for image, depth in zip(IMAGES, DEPTHS, strict=True):
            yield [image[None], depth[None]]

    def named():
        for image, depth in zip(IMAGES, DEPTHS, strict=True):
            yield {"image": image[None], "depth": depth[None]}

    def signed():
        yield from (("serving_default", inputs) for inputs in named())

    model, shapes = two_open_inputs(), [(8, 8, 3), (6, 6, 3)]
    path = tmp_path / "m.tflite"
    expected = tflite.export(model, path, "int8", (IMAGES, DEPTHS), input_shape=shapes).sha256
    assert_refused(lambda: tflite.verify(model, path, [("other", {"image": IMAGES, "depth": DEPTHS})]), "data")
    for data in (listed, named, signed, tf.lite.RepresentativeDataset(listed)):
        assert tflite.export(model, path, "int8", data, data=listed, input_shape=shapes).sha256 == expected
        assert tflite.verify(model, path, data).samples == len(IMAGES)
        assert len(tflite.predict(path, data)) == len(IMAGES)
    single = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(2, 3), L.Flatten()])
    ranges = [
        quantize.observe(quantize.prepare(single), data).layers[1].range()
        for data in (IMAGES, lambda: ([image[None]] for image in IMAGES))
    ]
    assert ranges[0] == ranges[1]


def test_dynamic_int8_says_which_layers_stay_in_float32(tmp_path):
    """And why: the converter leaves small kernels, and LiteRT has no such kernel for some operators."""
    stack = [
        L.Conv2D(2, 1, name="small"),
        keras.Sequential([L.Conv2D(40, 5, name="large")], name="inner"),
        L.DepthwiseConv2D(6, name="depthwise"),
        L.Reshape((4, 4, 4, 10)),
        L.Conv3D(16, 3, name="volume"),
    ]
    model = keras.Sequential([keras.Input((13, 13, 3)), *stack])
    notes = " ".join(tflite.export(model, tmp_path / "m.tflite", "dynamic_int8").notes)
    assert "fewer than 1,024 numbers: small (6)" in notes
    assert "volume (CONV_3D)" in notes
    assert "large" not in notes
    assert "depthwise" not in notes
    assert "1,024" not in " ".join(tflite.export(model, tmp_path / "m.tflite", "float16").notes)


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_inputs_of_integers_are_those_of_predict(dtype, tmp_path):
    """Eager, Keras rounds a resized image of integers; ``predict`` and the file do not."""
    model = keras.Sequential([keras.Input((7, 7, 3), dtype=dtype), L.Resizing(10, 10), L.Rescaling(1 / 255)])
    data = np.random.default_rng(0).integers(0, 256, (5, 7, 7, 3)).astype(dtype)
    report = tflite.export(model, tmp_path / "m.tflite", data=data)
    expected = model.predict(data, verbose=0)
    assert np.abs(expected - np.asarray(model(data))).max() > 1e-3
    assert report.rms_error <= 1e-5
    assert_close(tflite.predict(report.path, data), expected)
    [*_, last] = tflite.compare_layers(model, report.path, data).rows
    assert last.shape == (10, 10, 3)


def test_a_state_beside_inputs_of_integers_goes_on(tmp_path):
    inputs = keras.Input((4,), dtype="int32", batch_size=1)
    model = keras.Model(inputs, L.GRU(3, stateful=True, unroll=True)(L.Embedding(9, 2)(inputs)))
    data = np.random.default_rng(0).integers(0, 9, (6, 4)).astype("int32")
    assert tflite.export(model, tmp_path / "m.tflite", data=data).rms_error < 1e-5


def test_dynamic_int8_tells_layers_of_like_names_apart(tmp_path):
    """The scope of a call of conv3d is conv3d_1, which is another layer's name."""
    stack = [L.Conv3D(14, 3, name="conv3d"), L.Conv3D(6, 3, name="conv3d_1"), L.Conv3DTranspose(7, 3, name="volume")]
    model = keras.Sequential([keras.Input((5, 5, 5, 3)), *stack])
    notes = " ".join(tflite.export(model, tmp_path / "m.tflite", "dynamic_int8").notes)
    assert "conv3d (CONV_3D), conv3d_1 (CONV_3D), volume (CONV_3D_TRANSPOSE)" in notes


def merged(x, *, back=None):
    """The axis of samples merged with the next one, for a layer or for good."""
    x = L.Dense(5, activation="tanh", name="b")(keras.ops.reshape(L.Dense(6, name="a")(x), (-1, 6)))
    return L.Dense(3, name="c")(x if back is None else keras.ops.reshape(x, (-1, back, 5)))


def rescaled(x):
    return L.Conv2D(3, 3, name="c")(L.Rescaling(1 / 255, name="b")(L.Resizing(5, 5, name="a")(x)))


ROWS = {
    "an output merged with samples": (merged, (4, 8), "float32", "abc"),
    "inside": (lambda x: merged(x, back=4), (4, 8), "float32", "abc"),
    "the mean of samples": (
        lambda x: L.Dense(3, name="b")(keras.ops.mean(L.Dense(6, name="a")(x), 0)),
        (4, 8),
        "float32",
        "ab",
    ),
    "integers, which are not rounded": (rescaled, (9, 9, 3), "uint8", "ac"),
}


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("case", ROWS)
def test_layers_are_compared_in_the_batches_of_the_file(case, batch_size, tmp_path):
    build, shape, dtype, names = ROWS[case]
    inputs = L.Input(shape, dtype=dtype)
    model = keras.Model(inputs, build(inputs))
    x = np.random.default_rng(0).uniform(0, 255, (10, *shape)).astype(dtype)
    report = tflite.export(model, tmp_path / "m.tflite", data=x, batch_size=batch_size)
    rows = tflite.compare_layers(model, report.path, x).rows
    assert [row.name for row in rows] == list(names)
    assert min(row.sqnr for row in rows) > 110
    weights = model.get_layer(names[-1]).kernel
    weights.assign(-1.0 * weights)
    assert names[-1] not in [row.name for row in tflite.compare_layers(model, report.path, x).rows]
