"""Preparation of images: one rule for all commands, by the record beside a model or by its first layers."""

import json

import keras
import numpy as np
import pytest
from checks import assert_unchanged, state_of
from keras import layers as L
from PIL import Image
from typer.testing import CliRunner

from tfsep._utils.messages import messages_to
from tfsep.cli import app
from tfsep.data import (
    DEFAULT,
    Preprocessing,
    known_preprocessing,
    leading_preprocessing,
    read_class_names,
    read_preprocessing,
    write_preprocessing,
)
from tfsep.data._model_preprocessing import warn_of_other_pixels

PIXELS, UNIT = Preprocessing(scale=1.0, offset=0.0), Preprocessing(scale=255.0, offset=0.0)


def network(*first, channels=3, dtype="float32"):
    return keras.Sequential([keras.Input((8, 8, channels), dtype=dtype), *first, L.Conv2D(2, 3), L.Flatten()])


def functional(function):
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, L.Conv2D(2, 3)(function(inputs)))


def normalization(mean, deviation):
    return L.Normalization(mean=[mean] * 3, variance=[deviation**2] * 3)


def trained_normalization(mean, deviation, factor):
    layer = L.BatchNormalization()
    layer.build((None, 8, 8, 3))
    layer.set_weights(np.float32([[factor] * 3, [0.5] * 3, [mean] * 3, [deviation**2] * 3]))
    return layer


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.scale, self.head = L.Rescaling(1 / 255), L.Conv2D(2, 3)

    def call(self, x):
        return self.head(self.scale(x))


def subclass():
    model = Subclass()
    model(np.zeros((1, 8, 8, 3), "float32"))
    return model


def torch_form(x):
    return (x / 255.0 - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])


CASES = {
    "a share": (lambda: network(L.Rescaling(1 / 255)), PIXELS),
    "a share of 256": (lambda: network(L.Rescaling(1 / 256)), PIXELS),
    "[-1, 1]": (lambda: network(L.Rescaling(1 / 127.5, -1)), PIXELS),
    "inverted": (lambda: network(L.Rescaling(-1 / 255, 1.0)), PIXELS),
    "behind augmentation": (
        lambda: network(keras.Sequential([L.RandomFlip(), L.RandomZoom(0.1)]), L.Resizing(6, 6), L.Rescaling(1 / 255)),
        PIXELS,
    ),
    "nested": (lambda: network(keras.Sequential([L.Rescaling(1 / 255), normalization(0.45, 0.25)])), PIXELS),
    "subclass": (subclass, PIXELS),
    "Lambda": (lambda: network(L.Lambda(lambda x: x / 255)), PIXELS),
    "arithmetic": (lambda: functional(torch_form), PIXELS),
    "preprocess_input": (lambda: functional(keras.applications.mobilenet_v2.preprocess_input), PIXELS),
    "blue first": (lambda: functional(keras.applications.resnet.preprocess_input), PIXELS),
    "grey": (lambda: network(L.Rescaling(1 / 255), channels=1), PIXELS),
    "whole numbers": (lambda: network(L.Rescaling(1 / 255), dtype="uint8"), PIXELS),
    "statistics of pixels": (lambda: network(normalization(120, 60)), PIXELS),
    "statistics of [0, 1]": (lambda: network(normalization(0.485, 0.229)), UNIT),
    "dark statistics of [0, 1]": (lambda: network(normalization(0.13, 0.308)), UNIT),
    "statistics of [-1, 1]": (lambda: network(normalization(0.1, 0.5)), DEFAULT),
    "from [0, 1]": (lambda: network(L.Rescaling(2.0, -1.0)), UNIT),
    "trained on pixels": (lambda: network(trained_normalization(110, 60, 0.1)), PIXELS),
    "trained on [-1, 1]": (lambda: network(trained_normalization(-0.1, 0.5, 3.0)), DEFAULT),
    "none": (network, None),
    "a new normalization": (lambda: network(L.BatchNormalization()), None),
    "a rectifier": (lambda: network(L.ReLU(6.0)), None),
    "weights of one pixel": (lambda: network(L.DepthwiseConv2D(1)), None),
    "no images": (lambda: keras.Sequential([keras.Input((4,)), L.Rescaling(0.1), L.Dense(2)]), None),
}


@pytest.mark.parametrize("case", CASES)
def test_first_layers_say_what_a_model_takes(case):
    make, expected = CASES[case]
    model = make()
    before = state_of(model)
    found = leading_preprocessing(model)
    assert (found and found.preprocessing) == expected
    assert_unchanged(model, before)


def test_source_names_the_layers(tmp_path):
    model = network(L.Rescaling(1 / 255, name="scale"), normalization(0.5, 0.25), L.Dropout(0.5))
    assert known_preprocessing(tmp_path / "m.keras", model).source == (
        f"as scale and {model.layers[1].name} of the model prepare them"
    )
    write_preprocessing(UNIT, tmp_path / "m.keras")
    assert known_preprocessing(tmp_path / "m.keras", model) == (UNIT, "as recorded beside the model")
    assert known_preprocessing(tmp_path / "none.tflite") is None


def test_quite_other_pixels_are_a_warning():
    for model, how, said in (
        (network(L.Rescaling(1 / 255, name="scale")), DEFAULT, True),
        (network(L.Rescaling(1 / 255)), PIXELS, False),
        (network(normalization(0.485, 0.229)), DEFAULT, False),
        (network(normalization(0.485, 0.229)), PIXELS, True),
        (network(), PIXELS, False),
    ):
        lines = []
        with messages_to(lines.append):
            warn_of_other_pixels(model, how)
        assert len(lines) == said
    assert lines == []


def run(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Images of two classes with all levels of grey, and models of them."""
    folder = tmp_path_factory.mktemp("preparation")
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 256, (8, 8, 3)).astype("uint8")
            pixels[0, 0], pixels[0, 1] = 0, 255
            Image.fromarray(pixels).save(folder / "photos" / name / f"{i}.png")
    keras.utils.set_random_seed(0)
    for name, first, dtype in (("own", [L.Rescaling(1 / 255, name="scale")], "float32"), ("plain", [], "float32")):
        head = [L.Conv2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(2, activation="softmax")]
        keras.Sequential([keras.Input((8, 8, 3), dtype=dtype), *first, *head]).save(folder / f"{name}.keras")
    return folder


def input_of(file):
    """Smallest and largest number that the input of an int8 file stores."""
    info = json.loads(file.with_suffix(".json").read_text())["inputs"][0]
    return info["scale"] * (-128 - info["zero_point"]), info["scale"] * (127 - info["zero_point"])


COMMANDS = {
    "export": (("export", "--recipe", "int8", "--calibration"), "m.tflite"),
    "quantize": (("quantize", "--calibrate-only", "--set", "observe=20", "--data"), "model_int8.tflite"),
    "convert": (("convert", "--threads", "1", "--calibration"), "model.tflite"),
}


@pytest.mark.parametrize(
    "name", ["export", *(pytest.param(name, marks=pytest.mark.slow) for name in ("quantize", "convert"))]
)
@pytest.mark.parametrize(
    ("model", "record", "options", "low", "high", "said"),
    [
        ("own", None, [], 0, 255, "preprocessing: bilinear, pixels in [0, 255], as scale of the model prepares them"),
        ("plain", UNIT, [], 0, 1, None),
        ("plain", None, ["--mean", "0", "--std", "51"], 0, 5, None),
        ("plain", None, [], -1, 1, "pixel / 127.5 - 1, the default, as nothing is recorded beside the model"),
    ],
    ids=["layers", "record", "options", "default"],
)
def test_data_are_what_the_model_takes(place, tmp_path, name, model, record, options, low, high, said):
    (command, *arguments), file = COMMANDS[name]
    path = tmp_path / "given.keras"
    path.write_bytes((place / f"{model}.keras").read_bytes())
    if record:
        write_preprocessing(record, path)
    out = tmp_path / file if name == "export" else tmp_path
    text = run(command, path, *arguments, place / "photos", *options, "--out", out)
    np.testing.assert_allclose(input_of(tmp_path / file), (low, high), atol=0.02 * (high - low))
    assert text.startswith("preprocessing: ") == (said is not None)
    assert said is None or said in text
    assert read_preprocessing(tmp_path / file) == (Preprocessing(scale=255 / high, offset=0.0) if low == 0 else DEFAULT)
    assert read_class_names(tmp_path / file) == ("cats", "dogs")


def test_quantize_takes_the_pixels_of_the_model(place, tmp_path):
    run("quantize", place / "own.keras", "--calibrate-only", "--data", place / "photos", "--out", tmp_path)
    np.testing.assert_allclose(input_of(tmp_path / "model_int8.tflite"), (0, 255), atol=5)
