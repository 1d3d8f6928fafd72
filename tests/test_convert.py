"""Folders for devices: what is in them is right for the file, compiles and runs, and is all there or not at all."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_sentence, in_part, places
from typer.testing import CliRunner

from tfsep import quantize, tflite
from tfsep._flatbuffer.reader import read_tflite
from tfsep.cli import app
from tfsep.data import Preprocessing, write_preprocessing
from tfsep.tflite._convert import _convert, _metadata
from tfsep.tflite._convert._header import c_header
from tfsep.tflite._convert._snippets import snippets
from tfsep.tflite._targets import targets_named
from tfsep.tflite._tensor_info import TensorInfo

L = keras.layers
X = np.random.default_rng(0).uniform(-1, 1, (40, 16, 16, 3)).astype("float32")
NAMES = ("tabby", "tiger cat", "Egyptian cat")


@pytest.fixture(scope="module")
def model():
    """A model of Keras's own layers."""
    image = keras.Input((16, 16, 3), name="image")
    net = L.Conv2D(8, 3, 2, activation="relu")(image)
    net = L.DepthwiseConv2D(3, 2, padding="same", dilation_rate=2, name="gaps")(net)
    return keras.Model(image, L.Dense(3, activation="softmax")(L.GlobalAveragePooling2D()(net)))


@pytest.fixture(scope="module")
def made(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("convert")
    return {
        recipe: tflite.convert(
            model, folder / recipe, recipe, X, targets=targets, labels=NAMES, threads=(1, 2), name="cats"
        )
        for recipe, targets in (("int8", ("tflm", "ethos-u")), ("float32", "edgetpu"))
    }


PLAIN = {
    "depthwise": (lambda: L.DepthwiseConv2D(3, 2, padding="same", dilation_rate=2), ["DEPTHWISE_CONV_2D"]),
    "no bias": (
        lambda: L.DepthwiseConv2D(3, 2, "valid", 2, dilation_rate=2, use_bias=False, activation="relu"),
        ["DEPTHWISE_CONV_2D"],
    ),
    "separable": (
        lambda: L.SeparableConv2D(6, 3, 2, "same", dilation_rate=2, activation="relu6"),
        ["DEPTHWISE_CONV_2D", "CONV_2D"],
    ),
    "convolution": (lambda: L.Conv2D(6, 3, padding="same", dilation_rate=3, groups=3), ["CONV_2D"]),
    "sequence": (
        lambda: keras.Sequential([L.Reshape((15, 48)), L.SeparableConv1D(4, 3, dilation_rate=2)]),
        ["RESHAPE", "DEPTHWISE_CONV_2D", "CONV_2D", "RESHAPE"],
    ),
}


@pytest.mark.parametrize("layer", PLAIN)
def test_keras_layers_become_one_operator(layer, tmp_path):
    make, operators = PLAIN[layer]
    plain = keras.Sequential([keras.Input((15, 16, 3), name="image"), make()])
    rng = np.random.default_rng(1)
    plain.set_weights([rng.normal(0, 0.4, weight.shape) for weight in plain.weights])
    x = X[:, :15]
    for recipe in ("float32", "int8"):
        path = tflite.export(plain, tmp_path / "m.tflite", recipe, x).path
        assert [op.name for op in tflite.inspect(path).operators] == operators
        if recipe == "float32":
            assert_close(tflite.predict(path, x), plain(x))


def test_keras_classes_are_restored_and_overrides_kept(tmp_path):
    class Halved(L.DepthwiseConv2D):
        def call(self, inputs):
            return super().call(inputs) / 2

    class Doubled(L.Conv2D):
        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, 2 * kernel)

    before = [dict(vars(kind)) for kind in (L.Conv2D, L.DepthwiseConv2D, L.SeparableConv2D)]
    odd = keras.Sequential([keras.Input((15, 16, 3)), Halved(3, 2, dilation_rate=2), Doubled(4, 1)])
    path = tflite.export(odd, tmp_path / "m.tflite").path
    assert_close(tflite.predict(path, X[:, :15]), odd(X[:, :15]))
    with pytest.raises(ValueError, match="data:"):
        tflite.export(odd, tmp_path / "m.tflite", data=X)
    assert [dict(vars(kind)) for kind in (L.Conv2D, L.DepthwiseConv2D, L.SeparableConv2D)] == before


def test_bundle_folder(made):
    for recipe, report in made.items():
        assert {path.name for path in report.folder.iterdir()} == set(report.files)
        assert set(report.files) == {"cats.tflite", "cats.json", "cats.h", "README.md", "labels.txt"}
        assert (report.folder / "labels.txt").read_text().splitlines() == list(NAMES)
        stored = json.loads((report.folder / "cats.json").read_text())
        assert stored["recipe"] == recipe
        assert stored["size_bytes"] == (report.folder / "cats.tflite").stat().st_size
        assert [row["threads"] for row in stored["benchmark"]] == [1, 2]
        assert stored["verification"]["rms_error"] <= stored["verification"]["tolerance"]
        assert stored["preprocessing"] is None
        assert "as the network takes them" in (report.folder / "README.md").read_text()
        assert report.export.ops["DEPTHWISE_CONV_2D"] == 1
        assert not {"PAD", "STRIDED_SLICE", "SPACE_TO_BATCH_ND"} & set(report.export.ops)
    assert made["int8"].passed
    assert not made["float32"].passed
    assert stored["targets"]["edgetpu"]["findings"]
    assert "needs 8-bit integers" in (made["float32"].folder / "README.md").read_text()


def block(report, language):
    return re.search(rf"```{language}\n(.*?)```", (report.folder / "README.md").read_text(), re.DOTALL)[1]


@pytest.mark.parametrize("recipe", ["int8", "float32"])
def test_python_snippet_runs_and_agrees(made, recipe, monkeypatch, capsys):
    report = made[recipe]
    monkeypatch.chdir(report.folder)
    code = block(report, "python")
    given = "np.zeros((1, 16, 16, 3), np.float32)"
    assert code.count(given) == 1
    names = {"GIVEN": X[3:4]}
    exec(code.replace(given, "GIVEN"), names)
    np.testing.assert_array_equal(names["y0"], tflite.predict("cats.tflite", X[3:4]))
    assert capsys.readouterr().out.startswith("[[")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[[")


KINDS = [
    TensorInfo("a", (1, 4, 5, 3), "float32", 0.0, 0),
    TensorInfo("b", (1, 7), "int8", 0.017, -3),
    TensorInfo("c", (1, 6), "int16", 0.0003, 0),
    TensorInfo("d", (2, 6), "uint8", 0.004, 128),
    TensorInfo("e", (1, 9), "int32", 0.0, 0),
    TensorInfo("f", (1, 2), "int64", 0.0, 0),
]


@pytest.mark.parametrize("info", KINDS, ids=[info.dtype for info in KINDS])
def test_other_snippets_state_the_numbers_of_the_file(info):
    made = snippets("m.tflite", (KINDS[0], info), (info,), Preprocessing(scale=60.0, offset=2.0))
    size, count = np.dtype(info.dtype).itemsize, int(np.prod(info.shape))
    kotlin, swift = made["Kotlin"], made["Swift"]
    assert f"val input1 = bytes({count * size})" in kotlin
    assert f"val output0 = bytes({count * size})" in kotlin
    assert "arrayOf<Any>(input0, input1), mapOf<Int, Any>(0 to output0)" in kotlin
    assert f"count: {count})" in swift
    assert 'forResource: "m", ofType: "tflite"' in swift
    assert "(pixel - 120) / 60" in kotlin
    if info.scale:
        scale, limits = repr(float(np.float32(info.scale))), np.iinfo(info.dtype)
        assert kotlin.count(f"{scale}f") == 2
        assert swift.count(scale) == 2
        assert f"+ ({info.zero_point})).coerceIn({limits.min}, {limits.max})" in kotlin
        assert f"- ({info.zero_point}))" in kotlin
        assert f"- ({info.zero_point}))" in swift
        assert {"int8": "Int8", "int16": "Int16", "uint8": "UInt8"}[info.dtype] + "(clamping:" in swift


def test_types_without_a_snippet_are_refused():
    with pytest.raises(ValueError) as error:  # noqa: PT011
        snippets("m.tflite", (KINDS[0]._replace(dtype="complex64"),), (), Preprocessing())
    assert_sentence(error.value, "model")


C_PROGRAM = """
#include <stdio.h>
#include <stdint.h>
#include "cats.h"
int main(void) {
    uint32_t crc = 0xffffffffu;
    for (unsigned int i = 0; i < g_cats_length; i++) {
        crc ^= g_cats[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
    }
    printf("%u %u %u %u", g_cats_length, (unsigned int)((uintptr_t)g_cats % 16), crc ^ 0xffffffffu, g_cats_arena_bytes);
    return 0;
}
"""


@pytest.mark.parametrize(("compiler", "suffix", "standard"), [("gcc", "c", "c11"), ("g++", "cc", "c++11")])
def test_c_array_equals_the_file(made, compiler, suffix, standard, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    report = made["int8"]
    source, program = tmp_path / f"main.{suffix}", tmp_path / "main"
    source.write_text(C_PROGRAM)
    flags = [f"-std={standard}", "-Wall", "-Wextra", "-Werror", f"-I{report.folder}"]
    subprocess.run([compiler, *flags, str(source), "-o", str(program)], check=True)
    length, rest, crc, arena = map(int, subprocess.run([str(program)], capture_output=True, check=True).stdout.split())
    content = (report.folder / "cats.tflite").read_bytes()
    assert (length, rest, crc) == (len(content), 0, zlib.crc32(content))
    assert arena == report.targets["tflm"].facts["arena_bytes"]


def test_array_names_are_identifiers():
    assert "static const unsigned char g_2nd_model[]" in c_header("2nd-model", b"\1\2", None)
    assert "arena" not in c_header("model", b"\1\2", None)


TASK = """
import sys
import numpy as np, mediapipe as mp
from mediapipe.tasks.python import vision
from mediapipe.tasks.python.core.base_options import BaseOptions
options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=sys.argv[1]))
with vision.ImageClassifier.create_from_options(options) as classifier:
    image = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.load(sys.argv[2]))
    for category in classifier.classify(image).classifications[0].categories:
        print(category.category_name, category.score, sep="\\t")
"""


@pytest.mark.slow
def test_task_library_reads_the_metadata(model, tmp_path):
    """MediaPipe's own classifier, given nothing but the file and pixels: names and scores are the model's."""
    pytest.importorskip("mediapipe", reason="needs the extra metadata", exc_type=ImportError)
    how = Preprocessing.standardizing(0.4, 0.3)
    report = tflite.convert(model, tmp_path, "float32", labels=NAMES, name="cats", preprocessing=how)
    assert not any("MediaPipe" in note for note in report.notes)
    path = tmp_path / "cats.tflite"
    pixels = np.random.default_rng(5).integers(0, 256, (16, 16, 3), np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    done = subprocess.run(
        [sys.executable, "-c", TASK, str(path), str(tmp_path / "pixels.npy")],
        capture_output=True,
        text=True,
        check=True,
    )
    named = dict(line.split("\t") for line in done.stdout.splitlines())
    expected = tflite.predict(path, ((pixels[None] / 255 - 0.4) / 0.3).astype("float32"))[0]
    assert set(named) == set(NAMES)
    assert_close([float(named[name]) for name in NAMES], expected)


def test_labels_are_packed_and_buffers_stay_aligned(made):
    for report in made.values():
        if not report.described:
            pytest.skip("needs the extra metadata")
        path = report.folder / "cats.tflite"
        with zipfile.ZipFile(path) as archive:
            assert archive.read("labels.txt").decode().splitlines() == list(NAMES)
        content, model = read_tflite(path)
        assert [entry.name for entry in model.metadata].count(b"TFLITE_METADATA") == 1
        assert set(places(content)) == {0}


def test_file_changed_by_metadata_is_refused(model, tmp_path, monkeypatch, made):
    other = (made["float32"].folder / "cats.tflite").read_bytes()
    stranger = keras.models.clone_model(model)
    stranger.set_weights([weight + 0.1 for weight in model.get_weights()])
    monkeypatch.setattr(_convert, "can_describe", lambda: True)
    monkeypatch.setattr(_convert, "with_metadata", lambda *args: other)
    with pytest.raises(ValueError, match="computes the same with metadata in it") as error:
        tflite.convert(stranger, tmp_path / "out", "float32")
    assert_sentence(error.value, "model")
    assert not list(tmp_path.iterdir())


def test_missing_metadata_package_is_noted(model, tmp_path, monkeypatch):
    monkeypatch.setattr(_metadata, "find_spec", lambda name: None)
    report = tflite.convert(model, tmp_path / "out", "float32")
    assert not report.described
    assert any("pip install 'mediapipe" in note for note in report.notes)
    assert any("numbers the classes" in note for note in report.notes)
    assert (tmp_path / "out" / "labels.txt").read_text() == "0\n1\n2\n"
    assert b"TFLITE_METADATA" not in (tmp_path / "out" / "model.tflite").read_bytes()


def test_outputs_other_than_class_scores_have_no_labels(tmp_path):
    image = keras.Input((6, 6, 2), name="image")
    heads = [L.Dense(3, name="z")(L.Flatten()(image)), L.Conv2D(2, 3, name="a")(image)]
    report = tflite.convert(keras.Model(image, heads[1]), tmp_path / "one", "float32")
    assert "labels.txt" not in report.files
    both = tflite.convert(keras.Model(image, heads), tmp_path / "two", "float32")
    names, given = {}, "np.zeros((1, 6, 6, 2), np.float32)"
    code = block(both, "python").replace('"model.tflite"', repr(str(tmp_path / "two" / "model.tflite")))
    exec(code.replace(given, "GIVEN"), names | {"GIVEN": X[:1, :6, :6, :2]}, names)
    expected = tflite.predict(tmp_path / "two" / "model.tflite", X[:1, :6, :6, :2])
    assert sorted(names[f"y{i}"].shape for i in (0, 1)) == sorted(array.shape for array in expected.values())


REFUSED = {
    "recipe": (ValueError, {"recipe": "int4"}),
    "calibration": (ValueError, {"recipe": "int8", "calibration": None}),
    "target": (ValueError, {"targets": "tpu"}),
    "labels": (ValueError, {"labels": ["one"]}),
    "labels ": (ValueError, {"labels": "abc"}),
    "labels  ": (ValueError, {"labels": ["a", "", "c"]}),
    "name": (ValueError, {"name": "../m"}),
    "preprocessing": (TypeError, {"preprocessing": (0, 1)}),
    "threads": (ValueError, {"threads": [0]}),
    "threads ": (ValueError, {"threads": []}),
    "folder": (TypeError, {"folder": None}),
    "model": (FileNotFoundError, {"model": "missing.keras"}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_convert_leaves_no_file(case, model, tmp_path):
    kind, options = REFUSED[case]
    call = {"model": model, "folder": tmp_path / "out", "recipe": "float32", **options}
    with pytest.raises(kind) as error:
        tflite.convert(**call)
    assert_sentence(error.value, case.strip())
    assert not list(tmp_path.iterdir())


def test_failed_verification_or_existing_file_leaves_no_bundle(model, tmp_path):
    with pytest.raises(tflite.VerificationError):
        tflite.convert(model, tmp_path / "out", "int8", X, tolerance=1e-9)
    assert not list(tmp_path.iterdir())
    (tmp_path / "out").write_text("mine")
    with pytest.raises(NotADirectoryError) as error:
        tflite.convert(model, tmp_path / "out", "float32")
    assert_sentence(error.value, "folder")
    assert (tmp_path / "out").read_text() == "mine"


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_calibration_is_for_the_runtime_of_the_targets():
    tflm, ethos, xnnpack, gpu = targets_named(("tflm", "ethos-u", "xnnpack", "gpu"))
    assert _convert._with_runtime("mse", (tflm, ethos, gpu)) == {"method": "mse", "runtime": "reference"}
    assert _convert._with_runtime({}, (xnnpack,)) == {"runtime": "xnnpack"}
    for stays in (None, {"runtime": "xnnpack"}, {"config": quantize.Config()}):
        assert _convert._with_runtime(stays, (tflm,)) == stays
    assert _convert._with_runtime("mse", (gpu,)) == _convert._with_runtime("mse", (tflm, xnnpack)) == "mse"
    (note,) = _convert._runtime_notes("xnnpack", (tflm, xnnpack, gpu))
    assert "those of tflm round otherwise" in note
    assert _convert._runtime_notes("reference", (tflm, gpu)) == _convert._runtime_notes(None, (tflm, xnnpack)) == []


def test_convert_command(model, tmp_path):
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", x=X, y=np.zeros(40, int))
    (tmp_path / "names.txt").write_text("\n".join(NAMES))

    common = ("convert", tmp_path / "m.keras", "--calibration", tmp_path / "x.npz", "--labels", tmp_path / "names.txt")
    done = run(*common, "--target", "tflm, ethos-u", "--out", tmp_path / "good")
    assert done.exit_code == 0, done.output
    for text in ("arena bytes", "median ms", "relative RMS error", "model.h"):
        assert text in done.stdout
    exported = json.loads((tmp_path / "good" / "model.json").read_text())
    assert exported["calibration"]["runtime"] == "reference"
    assert (exported["verification"]["differing"], "round otherwise" in done.stdout) == (0, False)
    done = run(*common, "--recipe", "float32", "--target", "edgetpu", "--out", tmp_path / "other")
    assert done.exit_code == 1
    assert (tmp_path / "other" / "model.tflite").is_file()
    done = run("inspect", tmp_path / "good" / "model.tflite", "--target", "ethos-u")
    assert done.exit_code == 0
    assert run("inspect", tmp_path / "other" / "model.tflite", "--target", "ethos-u").exit_code == 1
    for wrong in (
        (*common, "--target", "tpu", "--out", tmp_path / "w"),
        (*common[:4], "--labels", tmp_path / "none", "--out", tmp_path / "w"),
        (*common, "--threads", "one", "--out", tmp_path / "w"),
        ("inspect", tmp_path / "good" / "model.tflite", "--target", "tpu"),
    ):
        done = run(*wrong)
        assert done.exit_code == 2, done.output
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("tfsep: ")
        assert not (tmp_path / "w").exists()


def test_calibrating_a_model_with_loops_is_refused(tmp_path):
    """The converter would crash."""
    model = keras.Sequential([keras.Input((5, 3)), L.LSTM(4)])
    given = np.random.default_rng(0).normal(size=(40, 5, 3)).astype("float32")
    with pytest.raises(ValueError, match=r"unroll=True, or take another recipe$") as error:
        tflite.convert(model, tmp_path / "out", "int8", given)
    assert_sentence(error.value, "model")
    assert not list(tmp_path.iterdir())
    unrolled = keras.Sequential([keras.Input((5, 3)), L.LSTM(4, unroll=True)])
    unrolled.set_weights(model.get_weights())
    assert tflite.export(unrolled, tmp_path / "m.tflite", "int8", given).verification.rms_error < 0.1


@pytest.mark.parametrize(("name", "source"), in_part(product(("five", "pixels"), (".", f"train/{NAMES[0]}")), 4))
def test_calibration_on_images_of_other_classes(name, source, tmp_path, images):
    """Their labels are not the model's, whatever it computes."""
    head = [L.Conv2D(4, 3), L.Flatten(), L.Dense(5)] if name == "five" else [L.Conv2D(2, 1)]
    keras.Sequential([keras.Input((16, 16, 3)), *head]).save(tmp_path / "m.keras")
    done = run("convert", tmp_path / "m.keras", "--calibration", images / source, "--out", tmp_path / name)
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / name / "model.json").read_text())
    assert report["verification"]["accuracy"] is None
    assert report["labels"] == (5 if name == "five" else None)


def test_several_inputs_are_calibrated_by_name(tmp_path):
    image, place = keras.Input((8, 8, 1), name="an image"), keras.Input((3,), name="place")
    keras.Model([image, place], L.Dense(2)(L.Concatenate()([L.Flatten()(image), place]))).save(tmp_path / "m.keras")
    rng = np.random.default_rng(0)
    arrays = {"an image": rng.normal(size=(40, 8, 8, 1)), "place": 10 * rng.normal(size=(40, 3))}
    np.savez(tmp_path / "x.npz", **arrays)
    np.savez(tmp_path / "xy.npz", **arrays, y=np.zeros(40, int))
    done = run("convert", tmp_path / "m.keras", "--calibration", tmp_path / "x.npz", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    checked = ("--data", tmp_path / "xy.npz", "--out", tmp_path / "again")
    done = run("convert", tmp_path / "m.keras", "--calibration", tmp_path / "xy.npz", *checked)
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "again" / "model.json").read_text())["verification"]["accuracy"] is not None
    np.save(tmp_path / "x.npy", arrays["an image"])
    done = run("convert", tmp_path / "m.keras", "--calibration", tmp_path / "x.npy", "--out", tmp_path / "wrong")
    assert done.exit_code == 2
    assert done.stderr.startswith("tfsep: data: expected a .npz file with arrays an image, place")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of images by class, each with black and with white."""
    place = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(18):
        image = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
        image[0, :2] = [[0], [255]]
        for part in ("train", "test"):
            folder = place / part / NAMES[number % 3]
            folder.mkdir(parents=True, exist_ok=True)
            tf.io.write_file(str(folder / f"{number}.png"), tf.io.encode_png(image))
    return place


def test_command_prepares_images_by_the_record_of_the_model(model, tmp_path, images):
    """By this record black is 0.0 and white 1.0, the ends of the input's grid."""
    model.save(tmp_path / "m.keras")
    write_preprocessing(Preprocessing(scale=255.0, offset=0.0), tmp_path / "m.keras")
    done = run("convert", tmp_path / "m.keras", "--calibration", images, "--out", tmp_path / "record")
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "record" / "model.json").read_text())
    assert Preprocessing.from_dict(report["preprocessing"]) == Preprocessing(scale=255.0, offset=0.0)
    (given,) = report["inputs"]
    assert (given["scale"], given["zero_point"]) == (pytest.approx(1 / 255), -128)


@pytest.mark.slow
def test_command_prepares_channels_by_their_own_record(model, tmp_path, images):
    model.save(tmp_path / "m.keras")
    write_preprocessing(Preprocessing(scale=[255.0, 250.0, 245.0], offset=0.0), tmp_path / "m.keras")
    done = run("convert", tmp_path / "m.keras", "--calibration", images, "--out", tmp_path / "channels")
    assert done.exit_code == 0, done.output
    assert "(pixel - (0, 0, 0)) / (255, 250, 245)" in (tmp_path / "channels" / "README.md").read_text()
    assert "MediaPipe's tasks take one mean and deviation for all channels" in done.stdout


@pytest.mark.slow
def test_command_options_override_the_preprocessing_record(model, tmp_path, images):
    """With these means black is -2 and white 0 in all channels, which is what the input's grid is for."""
    model.save(tmp_path / "m.keras")
    common = ("convert", tmp_path / "m.keras", "--calibration", images, "--out")
    done = run(*common, tmp_path / "told", "--mean", "255", "--std", "127.5,127.5,127.5")
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "told" / "model.json").read_text())
    assert Preprocessing.from_dict(report["preprocessing"]) == Preprocessing(scale=127.5, offset=2.0)
    (given,) = report["inputs"]
    assert (given["scale"], given["zero_point"]) == (pytest.approx(2 / 255), 127)
    exported = ("export", tmp_path / "m.keras", "--calibration", images, "--recipe", "int8", "--mean", "255")
    assert run(*exported, "--std", "127.5", "--out", tmp_path / "e.tflite").exit_code == 0
    assert json.loads((tmp_path / "e.json").read_text())["inputs"] == report["inputs"]
    for mean, std in (("1,2", "3,4,5"), ("one", "1"), ("0", "0"), ("0", ""), ("1,2", "3,4")):
        done = run(*common, tmp_path / "wrong", "--mean", mean, "--std", std)
        assert done.exit_code == 2, done.output
        assert re.match("tfsep: (mean|std|mean, std|preprocessing): expected ", done.stderr)
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize(("spread", "said"), [(1.0, False), (0.5, True)])
def test_pixels_that_a_task_library_hands_over_as_they_are(spread, said, model, tmp_path):
    """A file of inputs in uint8 that was calibrated on half the range stores other numbers than pixels."""
    pytest.importorskip("mediapipe", reason="needs the extra metadata", exc_type=ImportError)
    images = np.random.default_rng(0).uniform(-spread, spread, (32, 16, 16, 3)).astype("float32")
    images[0, 0, 0] = spread, -spread, 0
    report = tflite.convert(model, tmp_path, "int8", images, io="uint8", labels=NAMES, preprocessing=Preprocessing())
    assert any("hand pixels to inputs in uint8 as they are" in note for note in report.notes) is said
    readme = (tmp_path / "README.md").read_text()
    assert "UInt8(clamping:" in readme
    assert ".coerceIn(0, 255).toByte()" in readme
    assert ".astype(np.uint8)" in readme
