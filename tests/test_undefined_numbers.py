"""Operators that make no numbers, or other ones than arithmetic does: each is named with its cause."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tfsep import tflite
from tfsep.tflite._channel_errors import OutputErrors
from tfsep.tflite._tensor_info import TensorInfo

DATA = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")


def network(*made):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((8,)), *made])


def test_epsilon_under_float16_is_named(tmp_path):
    """A variance of 0 and an epsilon of 0: the cause is a constant, which rounding alone makes 0."""
    model = network(layers.LayerNormalization(epsilon=1e-12, name="norm"), layers.Dense(2))
    data = DATA.copy()
    data[20] = 1.0  # behind the samples of which operators are proven one by one
    with pytest.raises(tflite.VerificationError, match="infinity of RSQRT of 'norm', as 1e-12 in it") as error:
        tflite.export(model, tmp_path / "m.tflite", "float16", data=data)
    assert "nan" not in str(error.value)
    # Of other samples it is right.
    assert tflite.export(model, tmp_path / "m.tflite", "float16", data=DATA).verification.undefined == ""


def test_model_that_makes_no_numbers(tmp_path):
    model = network(layers.Lambda(ops.log))
    with pytest.raises(tflite.VerificationError, match="data of which the model makes numbers") as error:
        tflite.export(model, tmp_path / "m.tflite", data=DATA)
    assert " nan" not in str(error.value)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_output_of_zeros_has_no_infinite_error(channels):
    """Where the model is 0 throughout, the error is as it is."""
    errors = OutputErrors(TensorInfo("y", (1, *channels), "int8", 1e-3, 0), 1e-3)
    errors.add(np.zeros((4, *channels)), np.full((4, *channels), 2e-3))
    assert errors.relative_rms() == pytest.approx(2e-3)
    assert errors.relative_rounding() == pytest.approx(5e-4)


def test_coarse_operator_is_a_loss(tmp_path):
    """RSQRT in int16 is straight lines: a loss where one number is small, wrong where many are."""
    path, model = tmp_path / "m.tflite", network(layers.Lambda(lambda x: ops.rsqrt(ops.abs(x) + 0.005)))
    data = np.abs(DATA) + 0.3
    assert not tflite.export(model, path, "int16x8", data, data=data).verification.lossy
    data[20, 0] = 0.006  # behind the samples of which errors are averaged
    report = tflite.export(model, path, "int16x8", data, data=data)
    assert report.verification.lossy
    (note,) = [note for note in report.notes if note.startswith("LOSSY")]
    assert "RSQRT of" in note
    assert "table of 513 numbers" in note
    # The operator is the last: what it is off by, the output is.
    off = float(note.split("off by up to ")[1].split()[0])
    assert off == pytest.approx(report.verification.max_error, rel=0.05)
    with pytest.raises(tflite.VerificationError, match="RSQRT"):
        tflite.verify(model, path, data, strict=True)
    data[:8, 0] = 0.006
    with pytest.raises(tflite.VerificationError, match="operators in integers that round to a step, got RSQRT"):
        tflite.verify(model, path, data)
