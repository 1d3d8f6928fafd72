"""Models of every form of call, ids in floats, batches of a model's own, and samples under every name."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_refused
from keras import layers as L
from keras import ops

from tfsep import quantize, tflite
from tfsep._keras.call_form import candidates
from tfsep._keras.id_inputs import id_inputs
from tfsep._keras.input_spec import InputSpec
from tfsep._keras.sample_reader import SampleReader
from tfsep.cost import cost
from tfsep.importing import import_model

RNG = np.random.default_rng(0)
A, B = (RNG.normal(size=(9, size)).astype("float32") for size in (4, 5))
IDS = RNG.integers(0, 400, (40, 6))


class Base(keras.Model):
    """A sum of two projections, so that no argument can be left out or swapped unseen."""

    def __init__(self):
        super().__init__()
        self.first, self.second = L.Dense(3), L.Dense(3)

    def joined(self, a, b):
        return self.first(a) - 2 * self.second(b)


class Two(Base):
    def call(self, a, b):
        return self.joined(a, b)


class Optional(Base):
    def call(self, a, b=None):
        return self.first(a) if b is None else self.joined(a, b)


class Rest(Base):
    def call(self, *parts):
        return self.joined(*parts)


class Keyword(Base):
    def call(self, a, *, b):
        return self.joined(a, b)


class AnyKeyword(Base):
    def call(self, a, **others):
        return self.joined(a, others["b"])


class Nested(Base):
    def call(self, inputs):
        return self.joined(inputs["image"], inputs["meta"]["age"])


class NestedTuple(Base):
    def call(self, inputs):
        return self.joined(inputs[0], inputs[1][0])


class NestedArgument(Base):
    def call(self, a, others):
        return self.joined(a, others["age"][0])


class WithBuild(Two):
    def build(self, a_shape, b_shape):
        self.first.build(a_shape)
        self.second.build(b_shape)


LABELS = RNG.integers(0, 3, 9)
FORMS = {
    "arguments": (Two, (A, B), None, ["a", "b"]),
    "arguments by name": (Two, {"b": B, "a": A}, None, ["a", "b"]),
    "arguments as a list": (Two, [A, B], None, ["a", "b"]),
    "arguments in batches": (Two, tf.data.Dataset.from_tensor_slices((A, B)).batch(4), None, ["a", "b"]),
    "arguments by shapes": (Two, None, [(4,), (5,)], ["a", "b"]),
    "arguments that Keras keeps": (WithBuild, None, None, ["a", "b"]),
    "an argument with a default": (Optional, (A, B), None, ["a", "b"]),
    "an argument with a default, by shapes": (Optional, None, {"b": (5,), "a": (4,)}, ["a", "b"]),
    "any arguments": (Rest, (A, B), None, ["parts_0", "parts_1"]),
    "a keyword": (Keyword, {"a": A, "b": B}, None, ["a", "b"]),
    "any keywords": (AnyKeyword, {"a": A, "b": B}, None, ["a", "b"]),
    "a nested dict": (Nested, {"image": A, "meta": {"age": B}}, None, ["image", "meta_age"]),
    "a nested dict by shapes": (Nested, None, {"meta": {"age": (5,)}, "image": (4,)}, ["image", "meta_age"]),
    "a nested tuple": (NestedTuple, (A, (B, A)), None, ["input_0", "input_1_0", "input_1_1"]),
    "a nested argument": (NestedArgument, [((A, {"age": [B]}), LABELS)], None, ["a", "others_age_0"]),
}
SLOW = ("arguments by name", "an argument with a default, by shapes", "a nested dict by shapes", "any keywords")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in FORMS])
@pytest.mark.filterwarnings("ignore:.*unbuilt state")
def test_every_form_of_call(name, tmp_path):
    make, data, shapes, names = FORMS[name]
    model, path = make(), tmp_path / "m.tflite"
    if make is WithBuild:
        model(A, B)
    report = tflite.export(model, path, data=data, input_shape=shapes)
    assert [info.name for info in report.inputs] == names
    assert report.rms_error < 1e-6
    by_file = dict(zip(names, (A, B, A), strict=False))
    assert_close(tflite.predict(path, by_file), model.joined(A, B))
    assert tflite.verify(model, path, by_file if data is None else data).passed
    if name in ("arguments", "a nested dict"):
        assert len(tflite.compare_layers(model, path, data).rows) >= 2
        assert cost(model, [(4,), (5,)] if shapes is None and make is Two else None).macs == 27


def test_no_argument_is_left_out_in_silence(tmp_path):
    model = Optional()
    model(A, B)
    notes = tflite.export(model, tmp_path / "m.tflite").notes
    assert any("no inputs: b; give samples of them" in note for note in notes)
    two = Two()
    two(A, B)
    for shapes in (None, [(4,)], {"a": (4,), "c": (5,)}):
        text = assert_refused(
            lambda shapes=shapes: tflite.export(two, tmp_path / "n.tflite", input_shape=shapes), "input_shape"
        )
        assert "each of the arguments a, b of 'two" in text
    assert_refused(lambda: cost(two), "input_shape")
    assert not (tmp_path / "n.tflite").exists()


def test_iterators_lose_nothing(tmp_path):
    """The first batch tells how the model is called, and is verified all the same."""
    parts = ((A[i : i + 2], B[i : i + 2]) for i in range(0, 9, 2))
    assert tflite.export(Two(), tmp_path / "m.tflite", data=parts).samples == 9


def test_candidates_are_what_the_call_takes():
    assert [each.names for each in candidates(Two(), [(4,), (5,)])] == [["a", "b"]]
    assert [each.names for each in candidates(Optional(), [(4,), (5,)])] == [["input_0", "input_1"], ["a", "b"]]
    assert candidates(Two(), {"a": (4,)}) == []


class Table(keras.Model):
    def __init__(self):
        super().__init__()
        self.table = L.Embedding(400, 3)
        self.dense = L.Dense(3)

    def call(self, inputs):
        return self.dense(inputs["x"]) + 9 * self.table(inputs["id"])[:, 0]


@pytest.mark.parametrize("recipe", ["float32", "int8"])
def test_types_of_a_dict_are_those_of_the_samples(recipe, tmp_path):
    data = {"x": RNG.normal(size=(40, 4)), "id": IDS[:, :1].astype("int32")}
    report = tflite.export(Table(), tmp_path / "m.tflite", recipe, calibration=data, data=data)
    types = {info.name: info.dtype for info in report.inputs}
    assert types == {"id": "int32", "x": recipe}
    assert report.rms_error < 0.05


class Selected(Base):
    def call(self, inputs):
        return tf.where(inputs["keep"], tf.gather(tf.eye(3), inputs["id"][:, 0]), self.first(inputs["x"]))


def test_types_that_the_model_needs(tmp_path):
    data = {"x": A, "keep": RNG.integers(0, 2, (9, 3)).astype(bool), "id": RNG.integers(0, 3, (9, 1)).astype("int64")}
    report = tflite.export(Selected(), tmp_path / "m.tflite", data=data)
    assert {info.name: info.dtype for info in report.inputs} == {"id": "int64", "keep": "bool", "x": "float32"}


def embedded(x):
    return L.GlobalAveragePooling1D()(L.Embedding(400, 8)(x))


def columns(x):
    return ops.concatenate([L.Flatten()(L.Embedding(400, 4)(x[:, :2])), x[:, 2:]], -1)


@tf.function
def whole(x):
    return tf.cast(x, "int32")


READS_IDS = {
    "an embedding": embedded,
    "in a nested model": keras.Sequential([keras.Input((6,)), L.Embedding(400, 4), L.Flatten()]),
    "a gather": lambda x: L.Flatten()(ops.take(np.eye(400, 3, dtype="float32"), ops.cast(x, "int32"), axis=0)),
    "in a function": lambda x: embedded(L.Lambda(whole, output_shape=(6,), dtype="int32")(x)),
    "bins": lambda x: L.Flatten()(L.Embedding(3, 2)(L.Discretization([100.0, 101.0])(x))),
}


@pytest.mark.parametrize("name", READS_IDS)
def test_ids_in_floats_are_not_quantized(name, tmp_path):
    keras.utils.set_random_seed(0)  # of a kernel near 0 an output is constant in 8 bits
    inputs = keras.Input((6,), name="ids")
    model = keras.Model(inputs, L.Dense(3)(READS_IDS[name](inputs)))
    io = "uint8" if name == "an embedding" else None
    report = tflite.export(model, tmp_path / "m.tflite", "int8", IDS, data=IDS, io=io)
    assert (report.inputs[0].dtype, report.outputs[0].dtype) == ("float32", io or "int8")
    assert report.rms_error < 0.1
    assert any(f"inputs in float32, not {io or 'int8'}: the model reads ids" in note for note in report.notes)


def test_ids_beside_other_numbers_in_one_input(tmp_path):
    inputs = keras.Input((6,), name="table")
    model = keras.Model(inputs, L.Dense(3)(columns(inputs)))
    data = IDS / np.array([1, 1, 200, 200, 200, 200])
    assert tflite.export(model, tmp_path / "m.tflite", data=data).rms_error < 1e-6
    report = tflite.export(model, tmp_path / "n.tflite", "int8", data, data=data)
    assert report.rms_error < 0.02
    assert not report.verification.lossy
    assert any("the model reads table as whole numbers" in note for note in report.notes)


@pytest.mark.parametrize("layer", [L.Rescaling(0.5), L.Masking(), L.BatchNormalization()])
def test_numbers_are_no_ids(layer):
    function = tf.function(lambda x: layer(x, training=False))
    graph = function.get_concrete_function(tf.TensorSpec((1, 4, 3), "float32", "x")).graph.as_graph_def()
    assert id_inputs(graph, ["x"]) == ()


def test_random_samples_of_ids_are_ids(tmp_path):
    model = keras.Sequential([keras.Input((6,)), L.Embedding(2, 3), L.Flatten(), L.Dense(2)])
    assert tflite.export(model, tmp_path / "m.tflite").rms_error < 1e-6


IMAGES = RNG.normal(size=(10, 6, 6, 2)).astype("float32")
OF_FOUR = {
    "an array": IMAGES,
    "a generator": lambda: (IMAGES[i : i + 3] for i in range(0, 10, 3)),
    "a function": lambda: lambda: ([image[None]] for image in IMAGES),
    "a data set with labels of any form": lambda: tf.data.Dataset.from_tensor_slices((IMAGES, np.eye(10))).batch(3),
}


def test_a_prepared_model_observes_in_its_own_batch():
    """As one of any batch does, but for steps of the ranges so far; the last part, of two, is filled up."""
    ranges = []
    for batch in (None, 4):
        inputs = keras.Input((6, 6, 2), batch_size=batch)
        keras.utils.set_random_seed(0)
        model = keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(inputs))))
        for data in OF_FOUR.values():
            prepared = quantize.observe(quantize.prepare(model), data() if callable(data) else data)
            found = [each.range() for each in prepared.layers if isinstance(each, quantize.ActivationQuantizer)]
            ranges.append(np.array(found))
    assert len(ranges[0]) >= 3
    for each in ranges[1:]:
        assert_close(each, ranges[0], 0.01)
    assert_refused(lambda: quantize.observe(prepared, lambda image: image), "data", TypeError)


@pytest.mark.parametrize(
    ("make", "macs"),
    [
        (L.GRU(4, stateful=True), 6 * 3 * 4 * (2 + 4)),
        (lambda x: ops.reshape(L.Dense(3)(x), (4, 18)), 36),
        (lambda x: L.Dense(3)(ops.reshape(x, (24, 2))), 36),
        (lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))), 72),
    ],
)
def test_cost_of_a_model_with_a_batch_of_its_own_is_that_of_one_sample(make, macs):
    inputs = keras.Input((6, 2), batch_size=4)
    assert cost(keras.Model(inputs, make(inputs))).macs == macs


def test_cost_of_several_inputs_of_open_sizes():
    inputs = [keras.Input((None, None, 3), name=name) for name in ("a", "b")]
    model = keras.Model(inputs, L.Conv2D(2, 1)(L.Add()(inputs)))
    assert cost(model, {"a": (4, 4, 3), "b": (4, 4, 3)}).macs == cost(model, [(4, 4, 3)] * 2).macs == 96
    assert_refused(lambda: cost(model), "input_shape")


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict:UserWarning")
@pytest.mark.filterwarnings("ignore:.*structure of `inputs`:UserWarning")
def test_samples_come_under_every_name(tmp_path):
    """Keys of the model's dict, names of its tensors, order, as ``predict`` and the converter take them."""
    inputs = {"left": keras.Input((4,), name="part-1"), "right": keras.Input((5,), name="part-2")}
    model = keras.Model(inputs, L.Dense(3)(inputs["left"]) - L.Dense(3)(inputs["right"]))
    path = tmp_path / "m.tflite"
    by_key = {"left": A, "right": B}
    expected = model.predict(by_key, verbose=0)
    assert [info.name for info in tflite.export(model, path, data=by_key).inputs] == ["part_1", "part_2"]
    assert_close(tflite.predict(path, (A, B)), expected)
    for data in ({"part-1": A, "part-2": B}, {"part_2": B, "part_1": A, "other": A}, (A, B), [A, B], (by_key, LABELS)):
        assert tflite.verify(model, path, data).passed
    assert_refused(lambda: tflite.verify(model, path, {"left": A, "other": B}), "data")
    assert_refused(lambda: tflite.verify(model, path, [A, B, A]), "data")


def test_forms_of_samples():
    reader = SampleReader(
        (InputSpec("a", (4,), "float32"), InputSpec("b", (5,), "float32")), structures=([0, {"x": 1}],)
    )
    for data in ([A, {"x": B}], ([A, {"x": B}], LABELS), {"a": A, "b": B}, [[A, B]], [{"a": A[0], "b": B[0]}]):
        [batch] = reader.batches(data)
        np.testing.assert_array_equal(batch.inputs[1], B[: len(batch.inputs[1])])
    assert_refused(lambda: list(reader.batches(A)), "data")
    text = assert_refused(lambda: list(reader.batches(lambda image, size: image)), "data", TypeError)
    assert text.endswith("one that takes image, size")


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, number):
        return A[3 * number : 3 * number + 3], LABELS[:3]


def test_data_sets_of_keras_are_data():
    reader = SampleReader((InputSpec("a", (4,), "float32"),))
    np.testing.assert_array_equal(np.concatenate([batch.inputs[0] for batch in reader.batches(Batches())]), A)


def test_a_folder_is_no_source_of_weights(tmp_path):
    assert "tfsep convert" in assert_refused(lambda: import_model(tmp_path, tmp_path / "m.keras"), "source")
