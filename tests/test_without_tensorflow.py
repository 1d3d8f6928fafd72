"""What works on files, where TensorFlow, Keras, matplotlib and `tflite-micro` are not installed."""

import json
import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
from checks import assert_close
from conftest import ROOT
from PIL import Image

from tfsep import classify, data, tflite
from tfsep.data._decode import decode_image
from tfsep.data._pictures import decode_picture, picture_input, resize_picture

SHIPPED = ROOT / "saved_models" / "fashion_mnist"
INT8 = SHIPPED / "model_int8.tflite"

PROGRAM = """
import contextlib, io, json, sys

# None is a module that is not found; `resource` is not there on Windows.
for name in ("tensorflow", "keras", "tf_slim", "h5py", "matplotlib", "tflite_micro", "resource"):
    sys.modules[name] = None
from tfsep.cli import app
answers = []
for arguments in json.load(sys.stdin):
    out, error, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            app(arguments)
        except SystemExit as end:
            code = end.code
    answers.append((code, out.getvalue(), error.getvalue()))
print(json.dumps(answers))
"""


class Answer(NamedTuple):
    code: int
    out: str
    error: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of the shipped model, and what its int8 file and the model say of them."""
    place = tmp_path_factory.mktemp("files")
    with np.load(SHIPPED / "samples.npz") as stored:
        images, labels = stored["images"][:40], stored["labels"][:40]
    x = images / np.float32(127.5) - np.float32(1)
    y = tflite.predict(SHIPPED / "model_float32.tflite", x)
    for name, outputs in (("y", y), ("other", y[::-1]), ("short", y[:-1])):
        np.savez(place / f"{name}.npz", x=x, y=outputs, labels=labels)
    np.savez(place / "named.npz", **{"inputs/image": x, "outputs/MobilenetV1_Predictions": y})
    np.savez(place / "nothing.npz", z=x)
    (place / "text.npz").write_text("hello")
    Image.fromarray(images[0, ..., 0]).save(place / "boot.png")
    return place


@pytest.fixture(scope="module")
def run(folder):
    """The answers of a process without TensorFlow to all commands of this file, asked at once."""
    asked = {
        "inspect": ["inspect", INT8],
        "targets": ["inspect", INT8, "--target", "all"],
        "tflm": ["inspect", INT8, "--target", "tflm"],
        "bench": ["bench", INT8, "--runs", 2, "--warmup", 0, "--format", "csv"],
        "plot": ["bench", INT8, "--plot", folder / "a.png"],
        "cost": ["cost", INT8, "--format", "csv"],
        "network": ["cost", "mobilenet_v2", "--format", "csv"],
        "compare": ["cost", "--compare", "--format", "csv"],
        "predict": ["predict", INT8, folder / "boot.png", "--json"],
        "verify": ["verify", INT8, folder / "y.npz"],
        "named": ["verify", SHIPPED / "model_float32.tflite", folder / "y.npz"],
        "other": ["verify", INT8, folder / "other.npz"],
        "short": ["verify", INT8, folder / "short.npz"],
        "nothing": ["verify", INT8, folder / "nothing.npz"],
        "text": ["verify", INT8, folder / "text.npz"],
        "gone": ["verify", INT8, folder / "gone.npz"],
        "with data": ["verify", INT8, folder / "y.npz", "--data", "fashion_mnist"],
        "settings": ["settings"],
        "keras": ["predict", SHIPPED / "model.keras", folder / "boot.png"],
        "demo": ["demo"],
        "version": ["--version"],
        "help": ["export", "--help"],
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        input=json.dumps([list(map(str, arguments)) for arguments in asked.values()]),
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: Answer(*each) for name, each in zip(asked, json.loads(done.stdout), strict=True)}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("inspect", "DEPTHWISE_CONV_2D"),
        ("targets", "tflm is left out: target: expected the package tflite-micro"),
        ("bench", "model_int8"),
        ("cost", "depthwise_conv2d"),
        ("network", "Conv"),
        ("compare", "efficientnet_lite4"),
        ("verify", "samples"),
        ("named", "accuracy"),
        ("version", "tfsep "),
        ("help", "--calibration"),
    ],
)
def test_commands_on_files(run, command, said):
    assert run[command].code == 0 or (command == "targets" and run[command].code == 1), run[command]
    assert said.lower() in run[command].out.lower()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("tflm", "target: expected the package tflite-micro for 'tflm', got none: pip install"),
        ("plot", "plot: expected the package matplotlib, got none: pip install '"),
        ("short", "reference: expected outputs as numbers of shape (40, 10), got (39, 10)"),
        ("nothing", "reference: expected arrays named x, got z"),
        ("text", "reference: expected a whole .npz file of arrays, got"),
        ("gone", "which does not exist"),
        ("with data", "data: expected none with the outputs in"),
        *((name, "expected the packages tensorflow and keras, got no") for name in ("settings", "keras", "demo")),
    ],
)
def test_what_is_lacking_is_a_sentence(run, command, said):
    assert run[command].code == 2, run[command]
    assert said in run[command].error
    assert run[command].error.count("\n") == 1
    assert run[command].out == ""


def test_other_outputs_fail(run):
    assert run["other"].code == 1
    assert "expected a relative RMS error of at most" in run["other"].error


def test_the_same_classes_with_and_without_tensorflow(run, folder):
    found = json.loads(run["predict"].out)["images"][0]["top"]
    here = classify.classify(INT8, [folder / "boot.png"])
    assert [(guess["class"], guess["score"]) for guess in found] == [(g.number, g.score) for g in here.guesses[0]]
    assert found[0]["class"] == 9


def test_verification_by_names_and_of_several_tensors(folder, tmp_path):
    report = tflite.verify_reference(INT8, folder / "named.npz")
    assert (report.samples, report.accuracy) == (40, None)
    assert tflite.verify_reference(INT8, folder / "y.npz").accuracy == 0.9
    own = tflite.verify_reference(SHIPPED / "model_float32.tflite", folder / "y.npz")
    assert (own.max_error, own.top1_agreement) == (0.0, 1.0)
    with pytest.raises(tflite.VerificationError):
        tflite.verify_reference(INT8, folder / "y.npz", tolerance=1e-6)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest", "bicubic", "area", "lanczos3"])
@pytest.mark.parametrize(("rows", "columns", "crop"), [(9, 5, 1.0), (40, 50, 0.6), (31, 23, 0.875)])
def test_images_are_prepared_as_by_tensorflow(interpolation, rows, columns, crop):
    image = np.random.default_rng(rows).integers(0, 256, (31, 23, 3)).astype("uint8")
    how = data.Preprocessing.standardizing((0.4, 0.5, 0.6), (0.1, 0.2, 0.3), crop=crop, interpolation=interpolation)
    expected = np.asarray(how(how.crop_and_resize(image, (rows, columns))))
    found = picture_input(resize_picture(image, how, (rows, columns)), how)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    # A number next to a half may be rounded to either side.
    step = 1 / np.array(how.scale)
    assert (np.abs(found - expected) < 1.01 * step).all()
    assert np.mean(np.abs(found - expected) > 1e-5) < 0.01


def test_a_wrong_crop_would_show():
    image = np.random.default_rng(0).integers(0, 256, (31, 23, 3)).astype("uint8")
    one, other = (resize_picture(image, data.Preprocessing(crop=crop), (9, 9)) for crop in (0.8, 0.9))
    assert np.mean(one != other) > 0.9


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp"])
def test_files_decode_as_by_tensorflow(tmp_path, suffix, channels):
    smooth = np.linspace(0, 255, 24 * 20 * 3).reshape(24, 20, 3).astype("uint8")
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(smooth).save(path)
    expected = np.asarray(decode_image(path.read_bytes(), channels)).astype(float)
    found = decode_picture(path.read_bytes(), channels)
    assert_close(found, expected, 1 if suffix == "png" and channels == 1 else 4 if suffix == "jpg" else 1)
