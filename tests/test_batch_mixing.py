"""Models whose samples depend on each other: what a file computes in its own batch, and ``predict`` in others."""

import keras
import numpy as np
import pytest
from checks import assert_sentence
from keras import layers, ops

from tfsep import tflite
from tfsep.tflite._batch_mixing import batch_mixing
from tfsep.tflite._model_run import model_run
from tfsep.tflite._model_signature import signature_of

DATA = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")


class TrainingStatistics(layers.Layer):
    """A normalization by the batch, at inference too."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.BatchNormalization()

    def call(self, x):
        return self.norm(x, training=True)


class InferenceDropout(layers.Layer):
    """Numbers drawn at inference."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed = keras.random.SeedGenerator(1)

    def call(self, x):
        return keras.random.dropout(x, 0.5, seed=self.seed)


def centred(x):
    return x - ops.mean(x, axis=0, keepdims=True)


def standardized(x):
    return centred(x) / ops.sqrt(ops.var(x, axis=0, keepdims=True) + 1e-3)


def network(*calls):
    """A layer, what mixes or does not, and nothing behind it that may hide a constant."""
    keras.utils.set_random_seed(0)
    made = [each if isinstance(each, layers.Layer) else layers.Lambda(each) for each in calls]
    return keras.Sequential([keras.Input((6,)), layers.Dense(5, activation="tanh"), *made])


CONSTANT = {
    "mean": lambda: network(centred),
    "softmax": lambda: network(lambda x: ops.exp(x) / ops.sum(ops.exp(x), axis=0)),
    "standardized": lambda: network(standardized, layers.Dense(3)),
    "largest": lambda: network(lambda x: x - ops.max(x, axis=0, keepdims=True)),
    "training": lambda: network(TrainingStatistics()),
}
MIXED = {
    "sum": lambda: network(lambda x: x + ops.max(x, axis=0, keepdims=True)),
    "similarity": lambda: network(lambda x: ops.matmul(x, ops.transpose(x))),
    "running sum": lambda: network(lambda x: ops.cumsum(x, axis=0)),
    "first": lambda: network(lambda x: x + x[:1]),
    "last": lambda: network(lambda x: x + x[-1:]),
    "one before": lambda: network(lambda x: x + ops.concatenate([x[:1], x[:-1]], axis=0)),
}
APART = {
    "dense": lambda: network(layers.Dense(3)),
    "constant": lambda: network(lambda x: 0 * x),
    "dropout": lambda: network(InferenceDropout()),
    "whole": lambda: network(layers.LayerNormalization(), layers.BatchNormalization()),
}


def mixing(model, batch_size=1):
    with model_run(signature_of(model, None, batch_size)) as run:
        run([DATA])
        return run.mixing


@pytest.mark.parametrize("name", CONSTANT)
def test_what_is_constant_in_a_batch_of_one(name):
    found = mixing(CONSTANT[name]())
    assert found is not None
    assert found.constant
    assert not mixing(CONSTANT[name](), batch_size=4).constant


def test_file_of_constants_is_refused(tmp_path):
    path = tmp_path / "m.tflite"
    with pytest.raises(tflite.VerificationError, match="mixes the samples of a batch") as error:
        tflite.export(CONSTANT["standardized"](), path, data=DATA)
    assert "give batch_size=" in str(error.value)
    assert not path.exists()


def test_what_varies_there_is_noted_with_its_difference(tmp_path):
    """The difference by hand: batches of four beside one of eight."""
    model = CONSTANT["mean"]()
    note = next(n for n in tflite.export(model, tmp_path / "m.tflite", data=DATA, batch_size=4).notes if "mixes" in n)
    hidden = np.asarray(model.layers[0](DATA[:8]), np.float64)
    apart = np.concatenate([hidden[:4] - hidden[:4].mean(axis=0), hidden[4:] - hidden[4:].mean(axis=0)])
    together = hidden - hidden.mean(axis=0)
    off = np.sqrt(np.mean((apart - together) ** 2)) / together.std()
    assert f"in batches of 4, as in the file, outputs are off by {off:.2g} of the deviation in batches of 8" in note


@pytest.mark.parametrize("name", MIXED)
def test_mixing(name):
    found = mixing(MIXED[name]())
    assert found is not None
    assert not found.constant
    assert (found.batch, found.among) == (1, 8)


def test_samples_that_owe_to_those_before_alone(tmp_path):
    """A running sum leaves the first samples of a batch what they are: its file is right, and noted."""
    model = MIXED["running sum"]()
    report = tflite.export(model, tmp_path / "m.tflite", data=DATA, batch_size=4)
    assert any("mixes the samples of a batch" in note for note in report.notes)
    hidden = np.asarray(model.layers[0](DATA), np.float64).reshape(4, 4, 5)
    np.testing.assert_allclose(tflite.predict(report.path, DATA), hidden.cumsum(axis=1).reshape(16, 5), atol=1e-5)


@pytest.mark.parametrize("name", APART)
def test_samples_on_their_own(name):
    assert mixing(APART[name]()) is None


def test_ranges_that_a_batch_of_one_leaves_empty(tmp_path):
    """Files in integers fail sooner, for numbers that are all zero: the cause is named all the same."""
    with pytest.raises(ValueError, match="mixes the samples of a batch") as error:
        tflite.export(CONSTANT["training"](), tmp_path / "m.tflite", "int8", DATA)
    assert_sentence(error.value, "batch_size")


def test_other_order_of_sums_is_no_mixing():
    """Batches of two sizes may differ by rounding that a network amplifies: those of one size do not."""

    def step(arrays):
        return (arrays[0] * (1 + 1e-2 * len(arrays[0])),)

    assert batch_mixing(step, [DATA], 1) is None
    assert batch_mixing(lambda arrays: (arrays[0] + arrays[0].max(),), [DATA], 1) is not None
