"""Places of the largest and smallest numbers, in integers; and outputs that are another result as well."""

import keras
import numpy as np
import pytest
from checks import assert_sentence, in_part

from tfsep import quantize, tflite

L, K = keras.layers, keras.ops
X = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype("float32")
INPUT = keras.Input((8, 8, 3))
LOGITS = L.Conv2D(5, 3, name="logits", bias_initializer="random_normal")(INPUT)
SHORT = L.Dense(6, name="short")(L.GlobalAveragePooling2D()(LOGITS))


PLACES = {
    "largest channels": K.argmax(LOGITS, -1),
    "smallest rows, kept": K.argmin(LOGITS, 1, keepdims=True),
    "of a softmax": K.argmax(L.Softmax()(LOGITS), -1),
    "rows of a softmax": K.argmax(L.Softmax()(LOGITS), 1),
    "of a vector": K.argmax(SHORT, -1),
    "in a convolution": L.Conv2D(2, 1)(K.cast(K.argmax(LOGITS, -1, keepdims=True), "float32")),
}


@pytest.mark.parametrize("runtime", in_part(["xnnpack", "reference"], 2))
def test_places_are_found_in_integers(runtime, tmp_path):
    model = keras.Model(INPUT, list(PLACES.values()))
    prepared = quantize.observe(quantize.prepare(model, runtime=runtime), X)
    assert {row.dtype for row in quantize.coverage(prepared).rows} == {"int8"}
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X)
    assert (report.verification.differing, report.verification.elements) == (0, sum(map(np.size, prepared(X))))
    assert not {"DEQUANTIZE", "NEG"} & report.ops.keys()
    assert report.ops["SOFTMAX"] == 1  # the converter leaves out the one that moves no place
    for name, actual, expected in zip(PLACES, prepared(X), model(X), strict=True):
        if "convolution" not in name:
            assert np.mean(np.asarray(actual) == np.asarray(expected)) > 0.9, name
            assert actual.dtype == expected.dtype == "int32"
            assert actual.shape == expected.shape


def test_places_beside_their_numbers(tmp_path):
    """The converter hands an output on as integers, and leaves nothing of the tensor to others."""
    flat = L.Flatten()(SHORT)
    outputs = [LOGITS, K.argmax(LOGITS, -1), L.Dropout(0.1)(SHORT), flat, K.argmin(flat, -1), K.softplus(SHORT)]
    prepared = quantize.observe(quantize.prepare(keras.Model(INPUT, outputs)), X)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X)
    assert (report.verification.differing, report.verification.elements) == (0, sum(map(np.size, prepared(X)[:5])))


NOTHING = {
    "flat": L.Flatten(),
    "reshaped": lambda x: K.reshape(x, (-1, 6)),
    "a part": lambda x: x[:, :],
    "joined": lambda x: L.Concatenate()([x]),
    "dropped": L.Dropout(0.5),
    "cropped": lambda x: L.Cropping1D(0)(K.expand_dims(x, 1)),
    "mean": lambda x: K.mean(K.expand_dims(x, 1), 1, keepdims=True),
}


@pytest.mark.parametrize("name", in_part(NOTHING, 7))
def test_what_the_converter_drops_is_an_output_beside_floats(name, tmp_path):
    """The file of such a network ended the interpreter."""
    given = SHORT if name not in ("cropped", "mean") else K.expand_dims(SHORT, 1)
    outputs = [NOTHING[name](SHORT), K.softplus(given)]
    prepared = quantize.observe(quantize.prepare(keras.Model(INPUT, outputs)), X)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X)
    assert (report.verification.differing, report.verification.elements) == (0, 16 * 6)


def test_places_without_a_kernel_stay_in_float32():
    outputs = {
        "of all": K.argmax(LOGITS),
        "of floats": K.argmax(K.softplus(LOGITS), -1),
        "of integers": K.argmax(K.argmax(LOGITS, -1), -1),
    }
    rows = quantize.coverage(quantize.prepare(keras.Model(INPUT, list(outputs.values())))).islands
    reasons = [row.reason for row in rows if row.kind == "Argmax"]
    assert len(reasons) == 3
    assert all(reason.startswith("no integer kernel of Argmax") for reason in reasons)


def test_a_budget_that_is_not_met_leaves_numbers_in_integers():
    """Not the places alone, which integers of nothing would decide."""
    model = keras.Model(INPUT, {"places": K.argmax(LOGITS, -1), "logits": LOGITS})
    options = {"method": "minmax", "equalize": False, "correct_bias": False}
    with pytest.raises(ValueError, match="budget: expected at most") as error:
        quantize.calibrate(model, X, budget=0.9999999, **options)
    assert_sentence(error.value, "budget")


def test_calibration_judges_places_by_the_numbers_in_front():
    model = keras.Model(INPUT, K.argmax(LOGITS, -1))
    reports = []
    quantize.calibrate(model, X, method="mse", report=reports.append)
    logits = []
    quantize.calibrate(keras.Model(INPUT, LOGITS), X, method="mse", report=logits.append)
    assert [row.after for row in reports[0].rows] == [row.after for row in logits[0].rows]
    assert (reports[0].agreement_unit, 0.9 < reports[0].agreement <= 1) == ("the same class", True)
