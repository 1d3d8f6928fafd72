"""Models that compute NaN or infinite numbers on their calibration data."""

import keras
import numpy as np
import pytest
from checks import assert_sentence

from tfsep import tflite

ops = keras.ops
DATA = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
DATA[::4] = 0


def model(function):
    inputs = keras.Input((6,))
    return keras.Model(inputs, function(inputs))


REFUSED = {
    "NaN": (ops.log, "log"),
    "NaN inside": (lambda x: ops.where(x > 0, ops.log(x), 0.0), "Log"),
    "infinite inside": (lambda x: 1 / (1 + ops.exp(ops.exp(ops.abs(x) * 4))), "Exp"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_layer_is_named_before_the_converter_crashes(case, tmp_path):
    function, name = REFUSED[case]
    with pytest.raises(tflite.CalibrationError, match=f"got NaN or infinity of '.*{name}") as error:
        tflite.export(model(function), tmp_path / "m.tflite", "int8", DATA)
    assert_sentence(error.value, "calibration")
    assert not list(tmp_path.iterdir())


def test_infinite_numbers_that_do_no_harm_pass(tmp_path):
    made = model(lambda x: ops.maximum(ops.log(ops.abs(x)), -5.0))
    assert tflite.export(made, tmp_path / "m.tflite", "int8", DATA).verification.passed
