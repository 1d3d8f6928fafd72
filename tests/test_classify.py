"""Preprocessing as one record; what a model says of images; models of weights from elsewhere, in files."""

import json

import numpy as np
import pytest
import tensorflow as tf
from checks import assert_sentence
from typer.testing import CliRunner

from tfsep import Conv, DepthSepConv, models, tflite, train
from tfsep._keras.backend import keras
from tfsep.classify import classify
from tfsep.cli import app
from tfsep.data import (
    CENTRAL,
    DEFAULT,
    Preprocessing,
    image_folder,
    open_batches,
    read_preprocessing,
    save_with_preprocessing,
    write_preprocessing,
)
from tfsep.importing import import_model
from tfsep.train._batches import BatchPreparation, epoch_batches

DEFS = [Conv(3, 2, 8), DepthSepConv(3, 1, 8)]


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that names an image's brightest channel, as a Keras file and as two files with and without integers."""
    place = tmp_path_factory.mktemp("classify")
    inputs = keras.Input((16, 16, 3), name="image")
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    model.save(place / "m.keras")
    # Images of one colour each, so that their means are of the whole range.
    x = np.tile(np.linspace(-1, 1, 48, dtype="float32").reshape(16, 1, 1, 3), (1, 16, 16, 1))
    tflite.export(model, place / "float.tflite")
    tflite.export(model, place / "int8.tflite", "int8", calibration=x)
    for name, encode in (("jpg", tf.io.encode_jpeg), ("png", tf.io.encode_png)):
        tf.io.write_file(str(place / f"green.{name}"), encode(picture()))
    (place / "green.bmp").write_bytes(bmp(picture()))
    (place / "labels.txt").write_text("red\ngreen\nblue\n")
    (place / "text.png").write_text("no image")
    return place


def picture():
    """Green in the middle, red at the edge, which a crop cuts off; no 16×16 pixels, JPEG's blocks, have both."""
    image = np.zeros((128, 128, 3), "uint8")
    image[:, :, 0] = 250
    image[16:112, 16:112] = (0, 200, 100)
    return image


def bmp(image):
    """The bytes of a BMP file: a header, and rows from below in blue, green, red."""
    rows, columns, _ = image.shape
    pixels = image[::-1, :, ::-1].tobytes()
    numbers = [(54 + len(pixels), 4), (0, 4), (54, 4), (40, 4), (columns, 4), (rows, 4), (1, 2), (24, 2)]
    numbers += [(0, 4), (len(pixels), 4), (2835, 4), (2835, 4), (0, 4), (0, 4)]
    return b"BM" + b"".join(number.to_bytes(size, "little") for number, size in numbers) + pixels


@pytest.mark.parametrize("model", ["m.keras", "float.tflite", "int8.tflite"])
@pytest.mark.parametrize("image", ["green.jpg", "green.png", "green.bmp"])
def test_all_kinds_of_models_and_images(model, image, folder):
    found = classify(folder / model, [folder / image], folder / "labels.txt", Preprocessing(crop=0.75))
    assert [guess.label for guess in found.guesses[0]] == ["green", "blue", "red"]
    expected = np.array([200, 100, 0]) / 127.5 - 1
    tolerance = 0.05 if image.endswith("jpg") else 0.01
    assert np.abs([guess.score for guess in found.guesses[0]] - expected).max() < tolerance


def test_default_is_a_reported_central_crop(folder):
    found = classify(folder / "m.keras", [folder / "green.png"])
    assert found.preprocessing == CENTRAL
    assert "central crop 0.875, bilinear, pixel / 127.5 - 1 (the default)" in str(found)
    whole = classify(folder / "m.keras", [folder / "green.png"], None, DEFAULT)
    assert "(as given)" in str(whole)
    red = {guess.number: guess.score for guess in whole.guesses[0]}[0]
    assert red > {guess.number: guess.score for guess in found.guesses[0]}[0], "the crop cuts red off"


def test_preprocessing_record_beside_the_model_is_used(folder, tmp_path):
    path = tmp_path / "m.keras"
    path.write_bytes((folder / "m.keras").read_bytes())
    how = Preprocessing.standardizing((0.4, 0.5, 0.6), (0.1, 0.2, 0.3), crop=0.5, size=(16, 16))
    write_preprocessing(how, path)
    assert read_preprocessing(path) == how
    found = classify(path, [folder / "green.png"], top=1)
    assert "as recorded beside the model" in str(found)
    assert found.guesses[0][0].number == 1
    assert found.guesses[0][0].score == pytest.approx((200 / 255 - 0.5) / 0.2, abs=1e-3)
    path.with_suffix(".json").write_text('{"preprocessing": {"crop": 2}}')
    for damaged in ('{"preprocessing": {"crop": 2}}', '{"preprocessing": {"zoom": 2}}', "{", "[" * 100_000):
        path.with_suffix(".json").write_text(damaged)
        with pytest.raises(ValueError) as error:  # noqa: PT011
            classify(path, [folder / "green.png"])
        assert_sentence(error.value, "model")


def test_preprocessing_by_hand():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype("uint8")
    np.testing.assert_array_equal(Preprocessing(crop=0.5).crop_and_resize(image, (4, 4)), image[2:6, 2:6])
    how = Preprocessing.standardizing((0.1, 0.2, 0.3), 0.5)
    np.testing.assert_allclose(how(image), (image / 255 - (0.1, 0.2, 0.3)) / 0.5, atol=1e-5)
    assert Preprocessing.from_dict(json.loads(json.dumps(how.to_dict()))) == how


@pytest.mark.parametrize(
    "options",
    [
        {"crop": 0},
        {"crop": 1.5},
        {"crop": None},
        {"size": 0},
        {"size": (1, 2, 3)},
        {"interpolation": "cubic"},
        {"scale": 0},
        {"scale": []},
        {"scale": (1, 0)},
        {"offset": (1, 2, 3), "scale": (1, 2)},
        {"offset": "one"},
        {"offset": np.nan},
    ],
)
def test_preprocessing_refuses_wrong_values(options):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        Preprocessing(**options)
    assert_sentence(error.value, next(iter(options)))


def test_training_calibration_and_verification_share_one_record(tmp_path):
    for name, grey in (("dark", 20), ("light", 200)):
        (tmp_path / name).mkdir()
        for i in range(8):
            image = np.full((12, 12, 3), 255, "uint8")
            image[3:9, 3:9] = grey + i
            tf.io.write_file(str(tmp_path / name / f"{i}.png"), tf.io.encode_png(image))
    how = Preprocessing(crop=0.5, scale=1.0, offset=0.0)
    data = image_folder(tmp_path, (6, 6), preprocessing=how)
    config = train.TrainConfig(batch_size=2, flip=False, shift=0, erase=0.0)
    seen = [
        np.concatenate([np.asarray(x) for x, _ in batches])
        for batches in (
            epoch_batches(data.train, config, BatchPreparation(config, data.train.preprocessing, 2), 0),
            data.train.batches(),
            open_batches(tmp_path, (6, 6, 3), "test", preprocessing=how),
        )
    ]
    for images in seen:
        assert images.shape[1:] == (6, 6, 3)
        assert images.max() < 255, "the white edge is cropped away"
        assert images.min() >= 20


def test_labels(folder, tmp_path):
    image = [folder / "green.png"]
    (tmp_path / "l.txt").write_text("background\nred\ngreen\nblue\n")
    found = classify(folder / "m.keras", image, tmp_path / "l.txt", Preprocessing(crop=0.5))
    assert found.guesses[0][0].label == "green"
    assert "background, is left out" in str(found)
    for content in (b"red\ngreen\n", b"class\nred\ngreen\nblue\n", b"\xff\xfe\xff"):
        (tmp_path / "l.txt").write_bytes(content)
        with pytest.raises(ValueError) as error:  # noqa: PT011
            classify(folder / "m.keras", image, tmp_path / "l.txt")
        assert_sentence(error.value, "labels")


def test_predict_refuses_wrong_arguments(folder, tmp_path):
    keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]).save(tmp_path / "vector.keras")
    models.MobileNetV1((None, None, 3), 2, conv_defs=DEFS).save(tmp_path / "open.keras")
    good, image = folder / "m.keras", folder / "green.png"
    for arguments, word in (
        ((tmp_path / "none.keras", image), "model"),
        ((folder / "labels.txt", image), "model"),
        ((tmp_path / "vector.keras", image), "model"),
        ((tmp_path / "open.keras", image), "preprocessing"),
        ((good, tmp_path / "none.png"), "images"),
        ((good, folder / "text.png"), "images"),
        ((good, image, "--labels", tmp_path / "none.txt"), "labels"),
        ((good, image, "--crop", "2"), "crop"),
        ((good, image, "--size", "0"), "size"),
        ((good, image, "--std", "0"), "std"),
        ((good, image, "--mean", "one"), "mean"),
        ((good, image, "--mean", "nan"), "mean"),
        ((good, image, "--mean", "1,2", "--std", "3,4"), "preprocessing"),
    ):
        done = run("predict", *arguments)
        assert done.exit_code == 2, arguments
        assert done.output.startswith(f"tfsep: {word}: "), done.output
        assert done.output.count("\n") == 1
    assert run("predict", tmp_path / "open.keras", image, "--size", 16).exit_code == 0


def test_predict_prints_a_table_or_json(folder):
    arguments = ("predict", folder / "int8.tflite", folder / "green.png", folder / "green.jpg", "--crop", 0.75)
    text = run(*arguments, "--labels", folder / "labels.txt", "--top", 2).stdout
    assert "central crop 0.75" in text
    assert text.count("green.") == 2
    found = json.loads(run(*arguments, "--json").stdout)
    assert found["preprocessing"]["crop"] == 0.75
    found = json.loads(run(*arguments, "--json", "--mean", "0", "--std", "255").stdout)
    assert (found["preprocessing"]["scale"], found["preprocessing"]["offset"]) == (255.0, 0.0)
    assert [image["top"][0]["class"] for image in found["images"]] == [1, 1]


def test_import_tflite_file(tmp_path):
    model = models.MobileNetV1((16, 16, 3), 3, conv_defs=DEFS)
    # Images of one colour each, so that their means are of the whole range.
    x = np.tile(np.linspace(-1, 1, 48, dtype="float32").reshape(16, 1, 1, 3), (1, 16, 16, 1))
    path = tflite.export(model, tmp_path / "m.tflite", "int8", calibration=x).path
    done = run("import", path, "--out", tmp_path / "again.keras")
    assert done.exit_code == 0, done.output
    assert "recorded in again.json" in done.stdout
    assert read_preprocessing(tmp_path / "again.keras") == CENTRAL
    assert np.abs(models.load_model(tmp_path / "again.keras")(x) - model(x)).max() < 0.05
    assert run("import", path, "--ranges", "--out", tmp_path / "exact.keras").exit_code == 0
    again = models.load_model(tmp_path / "exact.keras")
    report = tflite.export(again, tmp_path / "exact.tflite", "int8", data=x, preprocessing=CENTRAL)
    assert report.max_error == 0
    assert read_preprocessing(tmp_path / "exact.tflite") == CENTRAL


def test_import_other_sources(tmp_path):
    keras.applications.MobileNet((32, 32, 3), alpha=0.25, weights=None, classes=5).save_weights(
        tmp_path / "k.weights.h5"
    )
    common = "--alpha", 0.25, "--size", 32, "--classes", 5
    done = run("import", tmp_path / "k.weights.h5", *common, "--out", tmp_path / "k.keras")
    assert done.exit_code == 0, done.output
    assert "output (5,)" in done.stdout


def test_import_of_another_network(tmp_path):
    """Of the network's own size, and padded as TensorFlow's weights in PyTorch's form want it."""
    from safetensors.numpy import save_file

    model = models.MobileNetV3Small((32, 32, 3), 5, 0.35, minimalistic=True)
    state, names = {}, {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "bias": "bias"}
    names |= {"moving_variance": "running_var", "kernel": "weight"}
    number = -1
    for layer in (each for each in model.layers if each.weights):
        number += 1
        for variable in layer.weights:
            value = variable.numpy()
            if variable.name == "kernel":
                axes = (2, 3, 0, 1) if "depthwise" in layer.name else (3, 2, 0, 1)
                value = np.ascontiguousarray(value.transpose(axes))
            state[f"model.{number}.{names[variable.name]}"] = value
    save_file(state, tmp_path / "m.safetensors")
    common = "--network", "mobilenet_v3_small_minimalistic", "--alpha", 0.35, "--classes", 5
    out = tmp_path / "m.keras"
    done = run("import", tmp_path / "m.safetensors", *common, "--padding", "same", "--epsilon", 1e-3, "--out", out)
    assert done.exit_code == 0, done.output
    assert "input (224, 224, 3), output (5,)" in done.stdout
    for old, new in zip(model.get_weights(), models.load_model(out).get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_import_of_a_checkpoint_reports_its_choices(tmp_path, fixtures):
    source = fixtures / "slim_mobilenet_v1_025_128" / "model.ckpt"
    done = run("import", source, "--alpha", 0.25, "--size", 128, "--out", tmp_path / "m.keras")
    assert done.exit_code == 0, done.output
    assert "137 variables, raw weights; all 1001 classes kept" in done.stdout
    assert "padding same, which is the model's own" in done.stdout


def test_import_refuses_wrong_arguments(tmp_path):
    good = tmp_path / "m.keras"
    for arguments, word in (
        (("none.tflite", "--out", good), "path"),
        (("none.tflite", "--out", good, "--alpha", 0.5), "alpha"),
        (("none.safetensors", "--out", good), "source"),
        (("none.safetensors", "--out", good, "--network", "vgg"), "network"),
        (("none.safetensors", "--out", good, "--padding", "reflect"), "padding"),
        (("imagenet", "--out", good, "--network", "efficientnet_lite0"), "network"),
        (("none.tflite", "--out", good, "--network", "mobilenet_v2"), "network"),
        (("none.tflite", "--out", good, "--padding", "same"), "padding"),
        (("none.ckpt", "--out", good), "path"),
        (("none.ckpt", "--out", good, "--ranges"), "ranges"),
        (("none.ckpt", "--out", tmp_path / "m.h5"), "out"),
        (("none.ckpt", "--out", tmp_path / "no" / "m.keras"), "path"),
    ):
        done = run("import", *arguments)
        assert done.exit_code == 2, arguments
        assert done.output.startswith(f"tfsep: {word}: "), done.output
    assert not list(tmp_path.iterdir())


def test_unwritable_import_leaves_no_file(tmp_path, monkeypatch):
    model = models.MobileNetV1((16, 16, 3), 3, conv_defs=DEFS)
    path = tflite.export(model, tmp_path / "m.tflite").path
    out = tmp_path / "out"
    out.mkdir()

    def full(self, target, *args, **kwargs):
        target.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full)
    with pytest.raises(OSError, match="No space left") as error:
        import_model(path, out / "m.keras")
    assert_sentence(error.value, "out")
    assert not list(out.iterdir())


def test_model_and_record_are_written_together(tmp_path):
    """What stops the writing of one leaves both as they were."""

    class Stopped:
        def save(self, path):
            path.write_text("half")
            raise KeyboardInterrupt

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    save_with_preprocessing(model, Preprocessing(crop=0.5), tmp_path / "m.keras")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == {"m.keras", "m.json"}
    with pytest.raises(KeyboardInterrupt):
        save_with_preprocessing(Stopped(), Preprocessing(), tmp_path / "m.keras")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(OSError, match="out: expected"):
        save_with_preprocessing(model, Preprocessing(), tmp_path / "none" / "m.keras", "out")
