"""Training: the recipe refuses nonsense, batches are a function of seed and epoch, a resumed run is the same run."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import tensorflow as tf
from checks import assert_sentence

from tfsep import train as training
from tfsep.data import FASHION_MNIST_CLASSES, ImageData, Split, image_folder
from tfsep.train import TrainConfig, augment, epoch_batches, train

TINY = TrainConfig(alpha=0.25, epochs=3, batch_size=16, warmup_epochs=1, validation=16, shift=1, batch_norm_decay=0.5)


def stripes(count, seed):
    """Images of two classes, bright above or bright below, that a network learns in a few steps."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.integers(0, 60, (count, 28, 28, 1)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[14 * label : 14 * (label + 1)] += 150
    return Split.of(images, labels)


@pytest.fixture(scope="module")
def data():
    return ImageData("stripes", ("above", "below"), stripes(240, 0), stripes(40, 1))


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    lines = []
    folder = tmp_path_factory.mktemp("run") / "whole"
    return train(TINY, data, folder, log=lines.append), lines


def test_it_learns(whole):
    result, _ = whole
    assert result.test_accuracy > 0.9


def test_the_log_has_every_epoch(whole):
    result, lines = whole
    records = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    assert [r["epoch"] for r in records] == [1, 2, 3]
    assert records[-1]["learning_rate"] == pytest.approx(0.0, abs=1e-6)
    assert all(0 <= r["validation_accuracy"] <= 1 for r in records)
    assert len(lines) == 3


def test_the_model_gives_probabilities(whole, data):
    result, _ = whole
    probabilities = result.model(next(iter(data.test.batches(8)))[0])
    np.testing.assert_allclose(np.sum(probabilities, axis=-1), 1.0, rtol=1e-5)


def test_a_resumed_run_is_the_same_run(whole, data, tmp_path, monkeypatch):
    """A run that is killed around its second checkpoint goes on to the very same weights, and logs each epoch once."""
    real_save = training._save

    def save_once(model, path):
        if path.exists():
            raise KeyboardInterrupt
        real_save(model, path)

    monkeypatch.setattr(training, "_save", save_once)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, data, tmp_path / "cut", log=str)
    monkeypatch.setattr(training, "_save", real_save)
    resumed = train(TINY, data, tmp_path / "cut", resume=True, log=str)
    for ours, theirs in zip(resumed.model.get_weights(), whole[0].model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    records = [json.loads(line) for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()]
    assert [r["epoch"] for r in records] == [1, 2, 3]


def test_a_finished_run_resumes_to_itself(whole, data):
    result, _ = whole
    again = train(TINY, data, result.folder, resume=True, log=str)
    assert again.test_accuracy == result.test_accuracy


def test_epochs_differ_and_repeat(data):
    first, again, second = ([np.asarray(x) for x, _ in epoch_batches(data.train, TINY, epoch)] for epoch in (0, 0, 1))
    assert len(first) == 15
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)


def test_another_seed_gives_other_batches(data):
    one, other = (next(iter(epoch_batches(data.train, replace(TINY, seed=s), 0)))[0] for s in (0, 1))
    assert not np.array_equal(one, other)


def test_augment_moves_and_mirrors():
    image = np.zeros((5, 5, 1), np.uint8)
    image[2, 1] = 9
    seen = {tuple(np.argwhere(augment(image, (0, k), flip=True, shift=1)[..., 0].numpy() == 9)[0]) for k in range(200)}
    assert seen == {(r, c) for r in (1, 2, 3) for c in (0, 1, 2, 3, 4)}
    assert np.array_equal(augment(image, (0, 0), flip=False, shift=0), image)


def test_smoothed_crossentropy_against_the_formula():
    logits, labels, smoothing = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]]), np.array([1, 0]), 0.3
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    target = np.eye(3)[labels] * (1 - smoothing) + smoothing / 3
    expected = -(target * log_p).sum(-1).mean()
    loss = training.SmoothedCrossentropy(smoothing)
    assert float(loss(labels, logits.astype("float32"))) == pytest.approx(expected, rel=1e-5)
    assert training.SmoothedCrossentropy.from_config(loss.get_config()).label_smoothing == smoothing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "vgg"}, "network: expected one of mobilenet_v1, fashion_mnist, got 'vgg'"),
        ({"epochs": 0}, "epochs: expected a positive int, got 0"),
        ({"batch_size": -1}, "batch_size: expected a positive int, got -1"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a number in"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number greater than zero, got 0.0"),
        ({"alpha": 0}, "alpha: expected a number greater than zero, got 0.0"),
        ({"alpha": -1.0}, r"alpha: expected a number in \[0, 100\], got -1.0"),
        ({"label_smoothing": 1.0}, "label_smoothing: expected a number in"),
        ({"warmup_epochs": 31}, r"warmup_epochs: expected an int in \[0, 30\], got 31"),
        ({"warmup_epochs": 2, "epochs": 1}, r"warmup_epochs: expected an int in \[0, 1\], got 2"),
        ({"seed": -1}, r"seed: expected an int in \[0, 4294967295\], got -1"),
        ({"seed": 2**32}, "seed: expected an int in"),
        ({"seed": "a"}, "seed: expected an int in"),
        ({"learning_rate": "x"}, "learning_rate: expected a number in"),
        ({"alpha": None}, "alpha: expected a number in"),
        ({"network": ["a"]}, "network: expected one of"),
        ({"shift": 1.5}, "shift: expected an int in"),
        ({"validation": 1.5}, "validation: expected an int of at least 0, got 1.5"),
        ({"validation": 10.5}, "validation: expected an int of at least 0, got 10.5"),
        ({"dropout": True}, "dropout: expected a number in"),
        ({"flip": 1}, "flip: expected True or False, got 1"),
    ],
)
def test_the_recipe_refuses(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        TrainConfig(**arguments)
    assert_sentence(caught.value, next(iter(arguments)))


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 0), (2, 1), (3, 2), (30, 2)])
def test_the_warm_up_leaves_an_epoch(epochs, warmup):
    assert TrainConfig(epochs=epochs).warmup_epochs == warmup
    assert TrainConfig(epochs=epochs) == TrainConfig(epochs=epochs, warmup_epochs=warmup)


def test_the_recipe_takes_numpys_numbers():
    config = TrainConfig(epochs=np.int64(3), learning_rate=np.float32(0.5), seed=np.uint8(7))
    assert json.loads(json.dumps(asdict(config))) == asdict(TrainConfig(epochs=3, learning_rate=0.5, seed=7))


def test_a_run_is_not_overwritten(whole, data):
    with pytest.raises(ValueError, match="folder: expected one without a run"):
        train(TINY, data, whole[0].folder)


def test_resume_wants_the_same_recipe(whole, data):
    with pytest.raises(ValueError, match=r"config: expected that of the run in .*, got another epochs, seed"):
        train(replace(TINY, epochs=4, seed=1), data, whole[0].folder, resume=True)


def test_resume_wants_a_run(data, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a run to resume"):
        train(TINY, data, tmp_path, resume=True)


@pytest.fixture
def copy(whole, tmp_path):
    """A folder with a run that may be damaged."""
    return shutil.copytree(whole[0].folder, tmp_path / "copy")


@pytest.mark.parametrize("name", ["checkpoint.keras", "config.json", "data.json"])
def test_resume_wants_all_of_a_run(data, copy, name):
    (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"got .* without {name}") as caught:
        train(TINY, data, copy, resume=True)
    assert_sentence(caught.value, "folder")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("checkpoint.keras", lambda content: content[:20000]),
        ("checkpoint.keras", lambda content: b""),
        ("checkpoint.keras", lambda content: content[:9000] + bytes(500) + content[9500:]),
        ("config.json", lambda content: content[:40]),
        ("config.json", lambda content: b"\xff\xfe{"),
        ("config.json", lambda content: b"[1, 2]"),
        ("config.json", lambda content: content.replace(b"alpha", b"foo")),
        ("config.json", lambda content: content.replace(b'"shift": 1', b'"shift": 1.5')),
        ("data.json", lambda content: content[:40]),
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
def test_resume_wants_the_same_data(whole, train_split, test_split, classes, changed):
    other = ImageData("stripes", classes, train_split, test_split)
    with pytest.raises(ValueError, match=f"got other {changed}$") as caught:
        train(TINY, other, whole[0].folder, resume=True)
    assert_sentence(caught.value, "data")


def test_an_image_that_cannot_be_decoded_leaves_nothing(tmp_path):
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


def test_train_refuses_what_is_none_of_its_arguments(data, tmp_path):
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
def test_data_must_suffice(data, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        train(replace(TINY, **arguments), data, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_class_names_are_ten():
    assert len(set(FASHION_MNIST_CLASSES)) == 10
