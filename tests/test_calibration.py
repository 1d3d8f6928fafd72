"""Data for calibration: what says nothing of ranges, and what only looks like it."""

import keras
import numpy as np
import pytest
from keras import layers as L

from tfsep import tflite

RNG = np.random.default_rng(0)


def test_samples_of_one_number(tmp_path):
    """A table's row, and an id of five: each sample is constant, and some are alike."""
    age, city = keras.Input((1,), name="age"), keras.Input((1,), dtype="int32", name="city")
    joined = L.Concatenate()([age, L.Flatten()(L.Embedding(5, 3)(city))])
    cities = RNG.integers(0, 5, (64, 1)).astype("int32")
    ages = RNG.normal(size=(64, 1)).astype("float32")
    table = keras.Model([age, city], L.Dense(4)(joined))
    report = tflite.export(table, tmp_path / "table.tflite", "int8", calibration=(ages, cities))
    assert report.calibration["distinct"] == 64
    alone = keras.Model(city, L.Dense(4)(L.Flatten()(L.Embedding(5, 3)(city))))
    report = tflite.export(alone, tmp_path / "id.tflite", "int8", calibration=cities)
    assert report.calibration["distinct"] == 5
    with pytest.raises(tflite.CalibrationError, match="expected samples that differ, got 1 distinct of 64"):
        tflite.export(
            table, tmp_path / "no.tflite", "int8", calibration=(ages[:1].repeat(64, 0), cities[:1].repeat(64, 0))
        )
    assert not (tmp_path / "no.tflite").exists()


def test_images_of_integers_and_the_statistics_of_training(tmp_path):
    """The note on unlike data is found where predict has a graph, as for integers, and only where data are unlike."""
    images = RNG.integers(0, 256, (48, 8, 8, 3)).astype("uint8")
    x = keras.Input((8, 8, 3), dtype="uint8")
    normalization = L.BatchNormalization()
    y = normalization(L.Conv2D(4, 3)(L.Rescaling(1 / 127.5, -1)(x)))
    model = keras.Model(x, L.Dense(3)(L.GlobalAveragePooling2D()(y)))
    before = keras.Model(x, normalization.input).predict(images, verbose=0)
    for factor, is_noted in ((1.0, False), (1e4, True)):
        normalization.moving_mean.assign(before.mean((0, 1, 2)))
        normalization.moving_variance.assign(before.var((0, 1, 2)) / factor)
        report = tflite.export(model, tmp_path / "m.tflite", "int8", calibration=images)
        assert any("times the variance of its training" in note for note in report.notes) is is_noted
