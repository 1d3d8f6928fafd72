"""Ranges of a file beside the numbers of its model: a range that was cut is told from few samples of calibration."""

import json
from fractions import Fraction
from itertools import combinations

import keras
import numpy as np
import pytest
from keras import layers

from tfsep import tflite
from tfsep._flatbuffer.constants import scales_of
from tfsep._flatbuffer.reader import operator_name, pack, unpack
from tfsep.tflite import _litert_model
from tfsep.tflite._proof_report import Proof
from tfsep.tflite._stored_ranges import RangeFindings, _chance, _chances, reach

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("samples", "calibrated"), [(4, 3), (5, 1), (3, 5)])
def test_chance_is_that_of_samples_in_any_order(samples, calibrated):
    """All orders of the samples are as likely: those past the furthest of calibration are counted in each."""
    orders = [set(c) for c in combinations(range(samples + calibrated), calibrated)]
    for past in range(samples + 1):
        found = sum(samples + calibrated - 1 - max(order) >= past for order in orders)
        assert _chance(past, samples, calibrated) == pytest.approx(float(Fraction(found, len(orders))))


def test_reach():
    assert reach(-1.0, 3.0, -2.0, 4.0) == 0.75
    np.testing.assert_allclose(reach(np.array([-3.0, 0.0]), np.array([1.0, 8.0]), -2.0, 4.0), [1.5, 2.0])
    # A range on one side of zero: its other end is no measure.
    assert reach(-0.1, 1.0, 0.0, 4.0) == 0.25


def reaches(past, samples=8, tensors=20):
    """Reaches of tensors, of which so many samples go past each range."""
    counts = [past[number % len(past)] for number in range(tensors)]
    return {number: np.where(np.arange(samples) < count, 1.3, 0.8) for number, count in enumerate(counts)}


def test_few_samples_of_calibration_are_no_damage():
    """One tensor of which most samples go past the range is like the others, or it is not."""
    few, many = reaches([1, 2, 3]), reaches([0])
    few[0] = many[0] = np.where(np.arange(8) < 6, 1.3, 0.8)
    assert Proof(8, ranges=RangeFindings(chance=min(_chances(few, 1.0).values()))).difference == ""
    found = _chances(many, 1.0)
    assert "ranges of tensors" in Proof(8, ranges=RangeFindings(chance=min(found.values()))).difference
    assert min(found, key=found.__getitem__) == 0
    # Data that are as much larger go past all ranges.
    assert min(_chances(many, 1.3).values()) == 1.0


@pytest.fixture(scope="module")
def attention(tmp_path_factory):
    """A network of attention and its int8 file; no bias tells of the scales of most of its tensors."""
    keras.utils.set_random_seed(0)
    tokens = keras.Input((10, 12))
    x = layers.LayerNormalization()(layers.Add()([layers.MultiHeadAttention(2, 8)(tokens, tokens), tokens]))
    x = layers.Add()([layers.Dense(12)(layers.Dense(24, activation="gelu")(x)), x])
    model = keras.Model(tokens, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))
    data = RNG.normal(size=(64, 10, 12)).astype("float32")
    path = tmp_path_factory.mktemp("attention") / "m.tflite"
    tflite.export(model, path, "int8", data)
    return model, data, path


def test_ranges_cut_to_a_part_are_found(attention, monkeypatch):
    """Outputs within the recipe's tolerance do not tell; ranges do, in files that were calibrated on enough samples."""
    monkeypatch.setattr(_litert_model, "require_runnable", lambda *_: None)
    model, data, path = attention
    content, damaged = path.read_bytes(), path.with_name("damaged.tflite")
    graph = unpack(content, "m").subgraphs[0]
    sums = [op for op in graph.operators if operator_name(unpack(content, "m"), op) == "ADD"]
    tensors = [int(op.outputs[0]) for op in sums if tuple(graph.tensors[op.outputs[0]].shape) == (1, 10, 12)]
    assert len(tensors) >= 3
    for tensor in tensors:
        file = unpack(content, "m")
        quantization = file.subgraphs[0].tensors[tensor].quantization
        assert scales_of(file.subgraphs[0].tensors[tensor]).scale.size == 1
        quantization.scale = np.asarray(quantization.scale) * np.float32(0.6)
        damaged.write_bytes(pack(file))
        with pytest.raises(ValueError, match="expected"):
            tflite.verify(model, damaged, data)


@pytest.mark.slow
def test_what_was_calibrated_on_few_samples_passes(tmp_path):
    """Tensors of few numbers, each of which goes past the range of four samples now and then."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5, 4)), layers.GRU(6, unroll=True), layers.Dense(3)])
    data = RNG.normal(size=(32, 5, 4)).astype("float32")
    report = tflite.export(model, tmp_path / "m.tflite", "int8", data[:4], data=data[4:])
    assert report.verification.saturated > 0


def pooled_twice(largest, activation=None):
    """The largest and the mean of a convolution, or of two, beside each other: TFLite has one scale for all of them."""
    x = keras.Input((12, 12, 3))
    y = layers.Conv2D(4, 3, activation=activation, kernel_initializer=keras.initializers.GlorotUniform(1))(x)
    z = y if largest == "one" else layers.Conv2D(4, 3, kernel_initializer=keras.initializers.GlorotUniform(2))(x)
    joined = layers.Concatenate()([layers.GlobalMaxPooling2D()(y), layers.GlobalAveragePooling2D()(z)])
    return keras.Model(x, layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(3))(joined))


@pytest.mark.parametrize(
    ("largest", "activation", "is_lossy"), [("another", None, False), ("one", None, True), ("one", "relu", False)]
)
def test_ranges_that_a_concatenation_prescribes(largest, activation, is_lossy, tmp_path):
    """What is never the largest may be cut off; what a mean reads, too, is a loss, with what to do."""
    x = np.random.default_rng(0).normal(size=(32, 12, 12, 3)).astype("float32")
    model, path = pooled_twice(largest, activation), tmp_path / "m.tflite"
    report = tflite.export(model, path, "int8", calibration=x, data=x)
    stored = json.loads(path.with_suffix(".json").read_text())["verification"]["proof"]
    ranges = report.verification.proof.ranges._asdict()
    assert {name: stored[name] for name in ranges} == ranges
    assert report.verification.rms_error < (0.4 if is_lossy else 0.02)
    assert report.verification.lossy == is_lossy
    said = [note for note in report.notes if note.startswith("LOSSY: ")]
    assert bool(said) == is_lossy
    if is_lossy:
        assert "LOSSY: REDUCE_MAX gives its range to" in said[0]
        assert "a rectifier or a number to multiply by between the two" in said[0]
        with pytest.raises(tflite.VerificationError, match="REDUCE_MAX gives its range to"):
            tflite.export(model, path, "int8", calibration=x, data=x, strict=True)


def test_a_range_on_one_side_of_zero_cuts_the_other_off(tmp_path):
    """Sums of squares, beside the largest of what is squared: no negative number of it is left, as the note says."""
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    inputs = keras.Input((8,))
    y = layers.Dense(8, kernel_initializer=keras.initializers.GlorotUniform(1))(inputs)
    largest, squares = keras.ops.max(y, -1, keepdims=True), keras.ops.sum(y * y, -1, keepdims=True)
    model = keras.Model(inputs, keras.ops.concatenate([largest, squares], -1))
    report = tflite.export(model, tmp_path / "m.tflite", "int8", calibration=x, data=x)
    assert report.verification.lossy
    assert any(note.startswith("LOSSY: REDUCE_MAX gives its range to") for note in report.notes)


def test_what_a_maximum_cuts_off_may_lie_past_the_range_of_an_input(tmp_path):
    """The converter gives an input the range of its maximum; one that cuts off what counts is refused."""
    inputs = keras.Input((4, 3))
    model = keras.Model(inputs, keras.ops.maximum(inputs, 0.1))
    data = RNG.normal(size=(24, 4, 3)).astype("float32")
    path = tflite.export(model, tmp_path / "m.tflite", "int8", data, data=data).path
    np.testing.assert_allclose(tflite.predict(path, data), np.maximum(data, 0.1), 0, 0.01 * data.max())
    with pytest.raises(tflite.VerificationError, match="data in the range of the file's inputs"):
        tflite.verify(model, path, 4 * data)
