"""Fine-tuning for int8: the file computes what was trained, a resumed run is the same run, bad use is refused."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from checks import assert_sentence, assert_unchanged, state_of
from stripes import stripes, stripes_data

from tfsep import tflite
from tfsep.data import ImageData
from tfsep.quantize._prepared_model import is_prepared
from tfsep.train import QuantizeConfig, finetune
from tfsep.train._run_directory import RunDirectory

TINY = QuantizeConfig(
    epochs=3, batch_size=16, validation=16, observe=32, freeze_epoch=1, patience=3, learning_rate=1e-3
)


def network(side=28, classes=2):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((side, side, 1)),
            keras.layers.Conv2D(4, 3, strides=4, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(6.0),
            keras.layers.GlobalAveragePooling2D(keepdims=True),
            keras.layers.Conv2D(classes, 1),
            keras.layers.Flatten(),
            keras.layers.Softmax(),
        ]
    )


@pytest.fixture(scope="module")
def data():
    return stripes_data()


@pytest.fixture(scope="module")
def float_model(data):
    model = network()
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    model.fit(data.train.batches(16), epochs=3, shuffle=False, verbose=0)
    return model


@pytest.fixture(scope="module")
def whole(float_model, data, tmp_path_factory):
    before = state_of(float_model)
    result = finetune(float_model, TINY, data, tmp_path_factory.mktemp("int8") / "whole")
    assert_unchanged(float_model, before)
    return result


def test_int8_file_equals_the_trained_model(whole, data, tmp_path):
    report = tflite.export(whole.model, tmp_path / "m.tflite", "int8", data=data.test.batches())
    assert (report.verification.differing, report.verification.elements) == (0, 80)
    assert report.accuracy == whole.test_accuracy > 0.8


def test_best_epoch_is_kept(whole):
    records = [json.loads(line) for line in (whole.folder / "log.jsonl").read_text().splitlines()]
    assert whole.validation_accuracy == max(record["validation_accuracy"] for record in records)


@pytest.mark.slow
def test_statistics_are_frozen_after_the_given_epoch(float_model, data, tmp_path, whole):
    assert is_prepared(whole.model)
    early = finetune(float_model, replace(TINY, epochs=1, freeze_epoch=0), data, tmp_path / "a")
    late = finetune(float_model, replace(TINY, epochs=1, freeze_epoch=1), data, tmp_path / "b")
    mean = float_model.layers[1].moving_mean.numpy()

    def moved(result):
        means = [w.numpy() for w in result.model.weights if w.path.endswith("moving_mean")]
        return len(means) == 1 and not np.array_equal(means[0], mean)

    assert (moved(early), moved(late)) == (False, True)


@pytest.mark.slow
def test_resumed_run_reaches_identical_weights(whole, float_model, data, tmp_path, monkeypatch):
    real, calls = RunDirectory.write_log, iter((False, True))

    def write_log(self, records):
        if next(calls):
            raise KeyboardInterrupt
        real(self, records)

    monkeypatch.setattr(RunDirectory, "write_log", write_log)
    with pytest.raises(KeyboardInterrupt):
        finetune(float_model, TINY, data, tmp_path / "cut")
    monkeypatch.undo()
    resumed = finetune(float_model, TINY, data, tmp_path / "cut", resume=True)
    for ours, theirs in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_run_of_another_model_is_not_resumed(whole, data):
    with pytest.raises(ValueError, match=r"data: expected those of the run in .*, got other model_sha256") as caught:
        finetune(network(), TINY, data, whole.folder, resume=True)
    assert_sentence(caught.value, "data")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (network(classes=3), r"model: expected one from \(None, 28, 28, 1\) to \(None, 2\), as the data are, got"),
        (network(side=20), r"model: expected one from \(None, 28, 28, 1\) to \(None, 2\), as the data are, got"),
    ],
)
def test_model_for_other_data_is_refused(model, message, data, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        finetune(model, TINY, data, tmp_path / "run")
    assert_sentence(caught.value, "model")
    assert not (tmp_path / "run").exists()


def test_prepared_model_is_refused(whole, data, tmp_path):
    with pytest.raises(ValueError, match="model: expected one that is not prepared yet") as caught:
        finetune(whole.model, TINY, data, tmp_path / "run")
    assert_sentence(caught.value, "model")


def test_arguments_of_other_types(float_model, data, tmp_path):
    for arguments, name in (
        ((None, TINY, data, tmp_path / "run"), "model"),
        ((float_model, {}, data, tmp_path / "run"), "config"),
        ((float_model, TINY, None, tmp_path / "run"), "data"),
    ):
        with pytest.raises(TypeError) as caught:
            finetune(*arguments)
        assert_sentence(caught.value, name)
    assert not (tmp_path / "run").exists()


def test_resume_needs_the_same_data(whole, float_model):
    other = ImageData("stripes", ("above", "below"), stripes(240, 5), stripes(40, 1))
    with pytest.raises(ValueError, match="got other train_sha256") as caught:
        finetune(float_model, TINY, other, whole.folder, resume=True)
    assert_sentence(caught.value, "data")
