"""Float32 islands whose noise rounds a few elements to the other side: those pass, counted, and nothing else does."""

from math import prod
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tfsep import quantize, tflite
from tfsep._flatbuffer.constants import stored_numbers
from tfsep._flatbuffer.reader import pack, type_name, unpack
from tfsep.tflite import _litert_model

L = keras.layers
SHAPE = (16, 16, 8)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A network with an island of numbers for each channel, and one of numbers for each element; its file."""
    keras.utils.set_random_seed(0)
    inputs = L.Input((16, 16, 3))
    x = L.Conv2D(SHAPE[-1], 3, padding="same", activation="relu")(inputs)
    x = L.LayerNormalization(name="normalization", gamma_initializer=keras.initializers.RandomUniform(0.5, 1.5))(x)
    # The converter would quantize in front of it.
    x = L.MaxPooling2D(2, 1, "same", name="pooled")(x)
    x = L.Conv2D(SHAPE[-1], 3, padding="same")(x)
    x = L.PReLU(name="slopes", alpha_initializer=keras.initializers.RandomUniform(0.1, 0.9))(x)
    model = keras.Model(inputs, L.Conv2D(4, 3)(x))
    data = np.random.default_rng(0).normal(size=(32, 16, 16, 3)).astype("float32")
    prepared = quantize.observe(quantize.prepare(model, float_layers=["pooled", "slopes"]), data)
    folder = tmp_path_factory.mktemp("edges")
    report = tflite.export(prepared, folder / "m.tflite", "int8", data=data)
    assert report.verification.float_layers == ("normalization", "slopes")
    return SimpleNamespace(model=prepared, data=data, content=report.path.read_bytes(), path=folder / "damaged.tflite")


@pytest.fixture
def verified(made, monkeypatch):
    """A function that changes the island's constants of as many numbers in the file, and verifies it."""
    monkeypatch.setattr(_litert_model, "require_runnable", lambda *_: None)

    def verify(size, change):
        file = unpack(made.content, "m")
        found = [(t, stored_numbers(file, t)) for t in file.subgraphs[0].tensors if type_name(t) == "float32"]
        constants = [(t, numbers) for t, numbers in found if numbers is not None and numbers.size == size]
        assert constants
        for tensor, numbers in constants:
            changed = change(numbers).astype("float32")
            file.buffers[tensor.buffer].data = np.frombuffer(changed.tobytes(), np.uint8)
        made.path.write_bytes(pack(file))
        return tflite.verify(made.model, made.path, made.data)

    return verify


def test_elements_at_an_edge_pass_and_are_counted(verified):
    """Numbers of the island off by some last places of float32."""
    report = verified(SHAPE[-1], lambda numbers: numbers * (1 + 2.0**-18))
    assert 0 < report.edges < 100
    assert 0 < report.edge_noise < 0.001
    assert 0 < report.differing < 0.1 * report.elements
    assert report.unexplained == 0
    [note] = [note for note in report.notes() if "normalization, slopes" in note]
    assert f"{report.differing:,} of {report.elements:,} output elements differ" in note
    assert f"and 0 if the model rounds {report.edges} of their results at an edge as LiteRT" in note


def moved(numbers):
    """Slopes with a few that make a number one step or more another."""
    changed = numbers.copy()
    changed.reshape(SHAPE)[5, 6:9] += 0.05
    return changed


@pytest.mark.parametrize(
    ("size", "change"),
    [
        (SHAPE[-1], lambda numbers: numbers * 1.01),
        (SHAPE[-1], lambda numbers: numbers * np.where(np.arange(SHAPE[-1]) == 3, 1.01, 1.0)),
        (prod(SHAPE), moved),
    ],
    ids=["all", "one", "few elements"],
)
def test_what_no_edge_explains_is_refused(size, change, verified):
    with pytest.raises(tflite.VerificationError, match=r"elements that differ, .* results of float32 at an edge") as e:
        verified(size, change)
    report = e.value.report
    assert report.edges <= 2
    # Less than were allowed of all.
    assert 0 < report.unexplained <= report.differing
