"""Folders as people have them: images of all kinds and sizes, other files among them, and what is said of those."""

import io
import json
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tfsep._utils.messages import messages_to
from tfsep._utils.progress import stage
from tfsep.cli import app
from tfsep.cli._app import _once
from tfsep.data import Preprocessing, image_folder, open_data, read_class_names, write_preprocessing
from tfsep.data._decode import decode_image

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype("uint8")
KINDS = "jpg", "webp", "JPG", "tif"
LOSSLESS = {"webp": {"lossless": True}, "tiff": {}, "ppm": {}, "tga": {}, "bmp": {}, "png": {}}


def written(folder, name, pixels=PIXELS, **options):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / name, **options)
    return folder / name


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_images_of_other_kinds_are_decoded(suffix, tmp_path):
    path = written(tmp_path, f"a.{suffix}", **LOSSLESS[suffix])
    np.testing.assert_array_equal(decode_image(path.read_bytes(), 3), PIXELS)
    assert decode_image(path.read_bytes(), 1).shape == (6, 9, 1)


def test_other_kinds_are_upright_whole_and_of_eight_bits(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = written(tmp_path, "turned.webp", lossless=True, exif=exif)
    np.testing.assert_array_equal(decode_image(turned.read_bytes(), 3), np.rot90(PIXELS, -1))
    deep = (np.arange(54).reshape(6, 9) * 1000).astype("uint16")
    path = written(tmp_path, "deep.tiff", deep)
    np.testing.assert_array_equal(decode_image(path.read_bytes(), 1)[..., 0], deep >> 8)


@pytest.fixture
def photos(tmp_path):
    """Two classes of images of several kinds, and other files."""
    for name in ("cats", "dogs"):
        for i, kind in enumerate(KINDS):
            written(tmp_path / "photos" / name, f"{i}.{kind}")
        (tmp_path / "photos" / name / "notes.txt").write_text("hello")
    (tmp_path / "photos" / "dogs" / "phone.heic").write_text("not read here")
    (tmp_path / "photos" / "dogs" / ".DS_Store").write_text("hidden")
    written(tmp_path / "photos", "loose.png")
    return tmp_path / "photos"


def test_files_that_are_left_out_are_counted(photos):
    lines = []
    with messages_to(lines.append):
        data = image_folder(photos, 8)
    assert data.train.size + data.test.size == 8
    assert lines == [f"{photos}: 4 files are left out (2 .txt, 1 .heic, 1 in no folder of a class)"]
    assert data.train.images().shape[1:] == (8, 8, 3)


def test_other_folders_beside_train_and_test_are_named(tmp_path):
    for part in ("train", "test", "val"):
        for name in ("cats", "dogs"):
            written(tmp_path / part / name, "a.png")
    lines = []
    with messages_to(lines.append):
        image_folder(tmp_path, 8)
    assert lines == [f"{tmp_path}: val left out: train and test are there"]


@pytest.mark.parametrize(
    ("sizes", "given", "expected"),
    [
        ([(6, 9)] * 4, None, (6, 9, 3)),
        ([(20, 30), (40, 10), (16, 16), (50, 50)], None, (18, 18, 3)),
        ([(300, 400)] * 4, None, (224, 224, 3)),
        ([(224, 224)] * 4, (None, None, 1), (224, 224, 1)),
        ([(300, 400)] * 4, (32, None, 3), (32, 224, 3)),
        ([(6, 9)] * 4, (12, 12, None), (12, 12, 3)),
    ],
)
def test_size_is_that_of_the_files(sizes, given, expected, tmp_path):
    for i, (rows, columns) in enumerate(sizes):
        written(tmp_path / "ab"[i % 2], f"{i}.png", np.zeros((rows, columns, 3), "uint8"))
    lines = []
    with messages_to(lines.append):
        data = open_data(tmp_path, given)
    assert data.image_shape == expected
    said = f"{tmp_path}: images are {'×'.join(map(str, expected))}; another size can be given"
    assert lines == ([said] if given in (None, (None, None, 1)) else [])


def run(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_predict_takes_folders_and_names_classes(photos, monkeypatch):
    monkeypatch.chdir(photos)
    common = ("../m.keras",)
    model = keras.Sequential(
        [keras.Input((6, 9, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")]
    )
    model.save(photos.parent / "m.keras")
    write_preprocessing(Preprocessing(), photos.parent / "m.keras", ("cats", "dogs"))
    assert read_class_names(photos.parent / "m.keras") == ("cats", "dogs")
    text = run("predict", *common, ".", "--top", 1)
    rows = [line.split() for line in text.splitlines()[3:]]
    files = [f"{name}/{i}.{kind}" for name in ("cats", "dogs") for i, kind in enumerate(KINDS)]
    rows = [row for row in rows if len(row) == 4 and row[0] != "image"]
    assert [row[0] for row in rows] == sorted([*files, "loose.png"])
    assert {row[2] for row in rows} <= {"cats", "dogs"}
    assert "3 files are left out (2 .txt, 1 .heic)" in text
    (photos.parent / "l.txt").write_text("A\nB\n")
    given = json.loads(run("predict", *common, "cats/0.jpg", "--labels", "../l.txt", "--json"))
    assert {guess["label"] for guess in given["images"][0]["top"]} == {"A", "B"}
    write_preprocessing(Preprocessing(), photos.parent / "m.keras", ("one", "two", "three"))
    assert "labels: 3 are recorded beside the model, which has 2 classes: left out" in run("predict", *common, "cats")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal, True), (io.StringIO, False)])
def test_work_without_steps_is_shown_on_a_terminal_alone(stream, shown, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setenv("TERM", "xterm")
    with stage("converting to int8"):
        pass
    assert ("converting to int8" in sys.stderr.getvalue()) == shown


def test_a_message_is_printed_once():
    lines = []
    tell = _once(lines.append)
    for text in ("a", "b", "a"):
        tell(text)
    assert lines == ["a", "b"]
