"""Data that are not prepared as in training are noted, as far as a model tells, by all that looks at data."""

import logging

import keras
import numpy as np
import pytest

from tfsep import quantize, tflite

L = keras.layers
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (16, 8, 8, 3))
UNLIKE = "were they prepared as the training data were?"


def network(*front, normalized=False):
    model = keras.Sequential([keras.Input((8, 8, 3)), *front, L.Conv2D(4, 3, name="first"), L.ReLU(), L.Flatten()])
    if not normalized:
        return model
    x = model.layers[-3].output
    model = keras.Model(model.inputs[0], L.ReLU()(L.BatchNormalization(momentum=0.5, name="bn")(x)))
    for _ in range(20):
        model((PIXELS / 127.5 - 1).astype("float32"), training=True)
    return model


def observed(model, data, folder):
    quantize.observe(quantize.prepare(model), data)


def calibrated(model, data, folder):
    quantize.calibrate(model, data, method="minmax", equalize=False, correct_bias=False)


def exported(model, data, folder):
    logging.getLogger("tfsep").warning("%s", tflite.export(model, folder / "m.tflite", "int8", data).notes)


MODELS = {
    "none": (network, "reach 'first', the first convolution, as whole numbers up to 255"),
    "batch normalization": (lambda: network(normalized=True), "give the first batch normalization, 'bn'"),
    "rescaled": (lambda: network(L.Rescaling(1 / 127.5, -1)), None),
    "normalized in front": (lambda: network(L.Normalization(mean=[9.0] * 3, variance=[9.0] * 3)), None),
}


@pytest.mark.parametrize(
    ("look", "names"),
    [(observed, MODELS), (calibrated, ["none"]), pytest.param(exported, ["none"], marks=pytest.mark.slow)],
)
def test_pixels_in_place_of_prepared_images_are_noted(look, names, tmp_path, caplog):
    for name in names:
        make, note = MODELS[name]
        shown = {"pixels": (PIXELS, note)}
        if note is not None:
            shown |= {"prepared": (PIXELS / 127.5 - 1, None)}
        for data, expected in shown.values():
            caplog.clear()
            look(make(), data.astype("float32"), tmp_path)
            assert (UNLIKE in caplog.text) == (expected is not None), (name, caplog.text)
            assert expected is None or expected in caplog.text
