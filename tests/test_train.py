"""Runs: what is kept of them, a resumed one is the same run, and a damaged or another one is refused."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from checks import assert_sentence
from stripes import NETWORK, stripes, stripes_data

from tfsep._utils.messages import messages_to
from tfsep.data import ImageData, image_folder
from tfsep.train import TrainConfig, _run_directory, train
from tfsep.train._run_directory import CHECKPOINT, RunDirectory

TINY = TrainConfig(
    network=NETWORK,
    epochs=3,
    batch_size=16,
    warmup_epochs=1,
    validation=16,
    shift=1,
    mixup=0.2,
    average=0.9,
    batch_norm_decay=0.5,
)


@pytest.fixture(scope="module")
def data():
    return stripes_data()


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    lines = []
    folder = tmp_path_factory.mktemp("run") / "whole"
    with messages_to(lines.append):
        return train(TINY, data, folder), lines


def test_accuracy_after_training(whole):
    result, _ = whole
    assert result.test_accuracy > 0.9


def test_log_has_every_epoch(whole):
    result, lines = whole
    records = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    assert [r["epoch"] for r in records] == [1, 2, 3]
    assert records[-1]["learning_rate"] == pytest.approx(0.0, abs=1e-6)
    assert all(0 <= r["validation_accuracy"] <= 1 for r in records)
    assert lines[0] == (
        "CPU: xla off (the step is not on a GPU), augmentation host (the step is not compiled for a GPU), "
        "precision float32 (as set), batch_size 16 (as set)"
    )
    assert len(lines) == 5
    assert re.fullmatch(r"epoch \d of 3 is kept, the best by 16 held-out images", lines[-1])
    assert all(r["skipped_steps"] == 0 <= r["data_wait"] <= 1 for r in records)


def test_curves_are_drawn_now_and_then_and_at_the_end(whole, tmp_path, monkeypatch):
    curves = whole[0].folder / "curves.png"
    assert curves.read_bytes().startswith(b"\x89PNG")
    records = [json.loads(line) for line in (curves.parent / "log.jsonl").read_text().splitlines()]
    directory = RunDirectory(tmp_path, TINY, {})
    directory.write_log(records)
    assert not (tmp_path / "curves.png").exists()
    monkeypatch.setattr(_run_directory, "_CURVES_INTERVAL", 0.0)
    directory.write_log(records)
    assert (tmp_path / "curves.png").is_file()


def test_trained_model_gives_probabilities(whole, data):
    result, _ = whole
    probabilities = result.model(next(iter(data.test.batches(8)))[0])
    np.testing.assert_allclose(np.sum(probabilities, axis=-1), 1.0, rtol=1e-5)


def stopping_at(count):
    """`RunDirectory.write_arrays` as a user stops it, at the checkpoint whose number `count` is."""
    real, calls = RunDirectory.write_arrays, iter(range(1, count + 1))

    def write_arrays(self, name, arrays):
        if name == CHECKPOINT and next(calls) == count:
            raise KeyboardInterrupt
        real(self, name, arrays)

    return write_arrays


def test_resumed_run_reaches_identical_weights(whole, data, tmp_path, monkeypatch):
    """A run that is killed around its second checkpoint goes on to the very same weights, and logs each epoch once."""
    lines = []
    monkeypatch.setattr(RunDirectory, "write_arrays", stopping_at(3))
    with pytest.raises(KeyboardInterrupt), messages_to(lines.append):
        train(TINY, data, tmp_path / "cut")
    monkeypatch.undo()
    assert lines[-1] == "stopped after 2 of 3 epochs; resume to go on from there"
    assert (tmp_path / "cut" / "curves.png").is_file()
    resumed = train(TINY, data, tmp_path / "cut", resume=True)
    for ours, theirs in zip(resumed.model.get_weights(), whole[0].model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    records = [json.loads(line) for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()]
    assert [r["epoch"] for r in records] == [1, 2, 3]


PROGRAM = """
import sys
from stripes import stripes_data
from test_train import TINY
from tfsep._utils.messages import messages_to
from tfsep.train import train
with messages_to(lambda line: print(line, flush=True)):
    train(TINY, stripes_data(), sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("wait", [0.0, 0.2, 0.7])
def test_killed_run_resumes_to_identical_weights(whole, data, tmp_path, wait):
    """`kill -9`, some time after the first epoch was reported, as often in a step as in a checkpoint."""
    here = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, tmp_path / "run"],
        env={**os.environ, "PYTHONPATH": f"{here}:{here.parent}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline().startswith("CPU: xla off")
        assert process.stdout.readline().startswith("epoch 1/3")
        time.sleep(wait)
        process.kill()
    resumed = train(TINY, data, tmp_path / "run", resume=True)
    for ours, theirs in zip(resumed.model.get_weights(), whole[0].model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_resuming_a_finished_run_changes_nothing(whole, data):
    result, _ = whole
    again = train(TINY, data, result.folder, resume=True)
    assert again.test_accuracy == result.test_accuracy


def test_existing_run_is_not_overwritten(whole, data):
    with pytest.raises(ValueError, match="folder: expected one without a run"):
        train(TINY, data, whole[0].folder)


def test_resume_needs_the_same_settings(whole, data):
    with pytest.raises(ValueError, match=r"config: expected that of the run in .*, got another epochs, seed"):
        train(replace(TINY, epochs=4, seed=1), data, whole[0].folder, resume=True)


def test_resume_needs_a_run(data, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a run to resume"):
        train(TINY, data, tmp_path, resume=True)


@pytest.fixture
def copy(whole, tmp_path):
    """A folder with a run that may be damaged."""
    return shutil.copytree(whole[0].folder, tmp_path / "copy")


@pytest.mark.parametrize("name", ["checkpoint.npz", "config.json", "data.json", "computation.json"])
def test_resume_needs_all_files_of_a_run(data, copy, name):
    (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"got .* without {name}") as caught:
        train(TINY, data, copy, resume=True)
    assert_sentence(caught.value, "folder")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("checkpoint.npz", lambda content: content[:20000]),
        ("checkpoint.npz", lambda content: b""),
        ("checkpoint.npz", lambda content: content[:9000] + bytes(500) + content[9500:]),
        ("config.json", lambda content: content[:40]),
        ("config.json", lambda content: b"\xff\xfe{"),
        ("config.json", lambda content: b"[1, 2]"),
        ("config.json", lambda content: content.replace(b"alpha", b"foo")),
        ("config.json", lambda content: content.replace(b'"shift": 1', b'"shift": 1.5')),
        ("data.json", lambda content: content[:40]),
        ("computation.json", lambda content: content[:40]),
        ("computation.json", lambda content: content.replace(b"16", b"true")),
    ],
)
def test_resume_refuses_a_damaged_run(data, copy, name, damage):
    (copy / name).write_bytes(damage((copy / name).read_bytes()))
    before = {p: p.read_bytes() for p in copy.iterdir()}
    with pytest.raises(ValueError, match=name) as caught:
        train(TINY, data, copy, resume=True)
    assert_sentence(caught.value, "folder")
    assert {p: p.read_bytes() for p in copy.iterdir()} == before


@pytest.mark.parametrize(
    ("train_split", "test_split", "classes", "changed"),
    [
        (stripes(240, 0), stripes(40, 1), ("above", "below", "beside"), "class_names"),
        (stripes(240, 2), stripes(40, 1), ("above", "below"), "train_sha256"),
        (stripes(240, 0), stripes(41, 1), ("above", "below"), "test_images, test_sha256"),
    ],
)
def test_resume_needs_the_same_data(whole, train_split, test_split, classes, changed):
    other = ImageData("stripes", classes, train_split, test_split)
    with pytest.raises(ValueError, match=f"got other {changed}$") as caught:
        train(TINY, other, whole[0].folder, resume=True)
    assert_sentence(caught.value, "data")


def test_undecodable_image_leaves_no_files(tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(20):
            pixels = np.full((28, 28, 1), 10 * i, np.uint8)
            tf.io.write_file(str(tmp_path / "images" / name / f"{i}.png"), tf.io.encode_png(pixels))
    (tmp_path / "images" / "cats" / "1.png").write_text("junk")
    with pytest.raises(ValueError, match=r"cats/1\.png") as caught:
        train(TINY, image_folder(tmp_path / "images", 28, 1), tmp_path / "run")
    assert_sentence(caught.value, "data")
    assert not (tmp_path / "run").exists()


def test_train_refuses_arguments_of_other_types(data, tmp_path):
    for arguments, name in (
        ((None, data, tmp_path / "run"), "config"),
        ((TINY, None, tmp_path / "run"), "data"),
        ((TINY, data, None), "folder"),
    ):
        with pytest.raises(TypeError) as caught:
            train(*arguments)
        assert_sentence(caught.value, name)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validation": 240}, "validation: expected fewer than the 240"),
        ({"batch_size": 225}, "batch_size: expected at most"),
    ],
)
def test_too_few_images(data, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        train(replace(TINY, **arguments), data, tmp_path / "none")
    assert not (tmp_path / "none").exists()
