"""Bad models, data, files and folders: one sentence each, and nothing left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_sentence
from conftest import ROOT

from tfsep import layers, tflite
from tfsep.tflite import _export

X = np.random.default_rng(0).normal(size=(16, 8, 8, 2)).astype("float32")


@pytest.fixture(scope="module")
def model():
    return keras.Sequential([keras.Input((8, 8, 2), name="image"), layers.Conv2D(4, 3), keras.layers.Flatten()])


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    return tflite.export(model, tmp_path_factory.mktemp("file") / "m.tflite").path


def same_image():
    while True:
        yield X[:1]


def with_nan():
    bad = X.copy()
    bad[3, 0, 0, 0] = np.nan
    return bad


EXPORT = {
    "recipe": (ValueError, "recipe", {"recipe": "int4"}),
    "no calibration": (ValueError, "calibration", {"recipe": "int8"}),
    "no calibration for int16": (ValueError, "calibration", {"recipe": "int16x8"}),
    "calibration is a name": (TypeError, "calibration", {"recipe": "int8", "calibration": "images"}),
    "calibration is a number": (TypeError, "calibration", {"recipe": "int8", "calibration": 3}),
    "calibration has NaN": (ValueError, "calibration", {"recipe": "int8", "calibration": with_nan()}),
    "calibration has infinity": (ValueError, "calibration", {"recipe": "int8", "calibration": np.full_like(X, np.inf)}),
    "calibration has another shape": (ValueError, "calibration", {"recipe": "int8", "calibration": X[:, :4]}),
    "calibration has another rank": (ValueError, "calibration", {"recipe": "int8", "calibration": X[0, 0]}),
    "calibration has pixels": (TypeError, "calibration", {"recipe": "int8", "calibration": X.astype("uint8")}),
    "calibration is empty": (tflite.CalibrationError, "calibration", {"recipe": "int8", "calibration": X[:0]}),
    "calibration is one image": (tflite.CalibrationError, "calibration", {"recipe": "int8", "calibration": X[:1]}),
    "calibration repeats": (tflite.CalibrationError, "calibration", {"recipe": "int8", "calibration": same_image}),
    "calibration is constant": (
        tflite.CalibrationError,
        "calibration",
        {"recipe": "int8", "calibration": np.ones_like(X) * np.arange(16).reshape(-1, 1, 1, 1).astype("float32")},
    ),
    "calibration has another range": (
        tflite.CalibrationError,
        "calibration",
        {"recipe": "int8", "calibration": 100 * X, "data": X, "tolerance": 10.0},
    ),
    "data": (ValueError, "data", {"data": X[:, :4]}),
    "data is empty": (ValueError, "data", {"data": X[:0]}),
    "data of a type": (TypeError, "data", {"data": X.astype("int32")}),
    "batch": (ValueError, "batch_size", {"batch_size": 0}),
    "tolerance": (ValueError, "tolerance", {"tolerance": 0}),
    "labels": (ValueError, "data", {"data": (X, np.zeros(3))}),
}


@pytest.mark.parametrize("case", EXPORT)
def test_export_refuses_and_leaves_nothing(case, model, tmp_path):
    kind, argument, options = EXPORT[case]
    options = {name: value() if callable(value) else value for name, value in options.items()}
    with pytest.raises(kind) as error:
        tflite.export(model, tmp_path / "m.tflite", **options)
    assert_sentence(error.value, argument)
    assert not list(tmp_path.iterdir())


def test_a_file_that_fails_verification_is_not_kept(model, tmp_path):
    with pytest.raises(tflite.VerificationError) as error:
        tflite.export(model, tmp_path / "m.tflite", "int8", calibration=X, tolerance=1e-9)
    assert error.value.report.samples == 16
    assert not list(tmp_path.iterdir())


def test_an_older_file_survives_a_failed_export(model, tmp_path):
    path = tflite.export(model, tmp_path / "m.tflite").path
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(tflite.VerificationError):
        tflite.export(model, path, "int8", calibration=X, tolerance=1e-9)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_paths(model, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        tflite.export(model, tmp_path / "none" / "m.tflite")
    assert_sentence(error.value, "path")
    with pytest.raises(ValueError, match=r"path: expected a name that ends in \.tflite"):
        tflite.export(model, tmp_path / "m.bin")


def test_a_read_only_folder(model, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError) as error:
        tflite.export(model, tmp_path / "m.tflite")
    assert_sentence(error.value, "path")


@pytest.mark.parametrize("failing", ["write_bytes", "write_text", "replace"])
def test_a_full_disk_leaves_nothing(model, tmp_path, monkeypatch, failing):
    original = getattr(Path, failing)

    def full(self, *args, **kwargs):
        if failing != "replace":
            original(self, *args, **kwargs)  # what was written before the disk was full
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, failing, full)
    with pytest.raises(OSError, match="No space left on device") as error:
        tflite.export(model, tmp_path / "m.tflite")
    assert_sentence(error.value, "path")
    assert not list(tmp_path.iterdir())


def test_models(tmp_path):
    with pytest.raises(TypeError) as error:
        tflite.export(lambda x: x, tmp_path / "m.tflite")
    assert_sentence(error.value, "model")
    with pytest.raises(ValueError) as unbuilt:  # noqa: PT011
        tflite.export(keras.Sequential([layers.Conv2D(2, 3)]), tmp_path / "m.tflite")
    assert_sentence(unbuilt.value, "model")


class Determinant(keras.layers.Layer):
    def call(self, x):
        return tf.linalg.det(x)[:, None]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1)


def test_an_operator_without_a_builtin_needs_flex(tmp_path):
    model = keras.Sequential([keras.Input((3, 3)), Determinant()])
    with pytest.raises(ValueError) as error:  # noqa: PT011
        tflite.export(model, tmp_path / "m.tflite")
    assert_sentence(error.value, "model")
    assert not list(tmp_path.iterdir())
    report = tflite.export(model, tmp_path / "m.tflite", allow_flex=True)
    assert "FlexMatrixDeterminant" in report.ops
    assert report.notes == ("not verified: FlexMatrixDeterminant need TensorFlow on the device, and do not run here",)
    assert (report.verification, report.max_error, report.samples, report.data) == (None, None, None, None)
    assert [i.shape for i in report.inputs] == [(1, 3, 3)]
    assert "verified on" in str(report)
    assert json.loads(report.to_json())["verification"] is None
    with pytest.raises(ValueError, match="path: expected a file that LiteRT runs"):
        tflite.benchmark(report.path)


@pytest.mark.parametrize("use", [tflite.inspect, tflite.benchmark, lambda p: tflite.predict(p, X)])
def test_missing_and_foreign_files(use, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        use(tmp_path / "none.tflite")
    assert_sentence(error.value, "path")
    for content in (b"", b"TFL3", b"\0" * 100, b"\x1c\0\0\0TFL3" + b"\xff" * 64, os.urandom(500)):
        (tmp_path / "bad.tflite").write_bytes(content)
        with pytest.raises(ValueError) as damaged:  # noqa: PT011
            use(tmp_path / "bad.tflite")
        assert_sentence(damaged.value, "path")


DAMAGE = """
import sys, numpy as np
from pathlib import Path
from tfsep import tflite
whole, scratch = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
refused = 0
for kept in range(0, len(whole), max(1, len(whole) // 150)):
    scratch.write_bytes(whole[:kept])
    try:
        tflite.predict(scratch, np.zeros((1, 8, 8, 2), "float32"))
    except (ValueError, FileNotFoundError):
        refused += 1
print(refused)
"""


def test_truncated_files_never_crash(file, tmp_path):
    """In a process of its own, which would die of a crash: cut at 150 places, every one is refused."""
    done = subprocess.run(
        [sys.executable, "-c", DAMAGE, str(file), str(tmp_path / "cut.tflite")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 150


VERIFY = {
    "shape": (ValueError, "data", X[:, :4]),
    "type": (TypeError, "data", X.astype("uint8")),
    "NaN": (ValueError, "data", with_nan()),
    "nothing": (ValueError, "data", []),
    "None": (TypeError, "data", None),
    "an object": (TypeError, "data", object()),
    "names": (ValueError, "data", {"picture": X}),
}


@pytest.mark.parametrize("case", VERIFY)
def test_verify_refuses(case, model, file):
    kind, argument, data = VERIFY[case]
    with pytest.raises(kind) as error:
        tflite.verify(model, file, data)
    assert_sentence(error.value, argument)


def test_verify_refuses_another_interface(model, file, tmp_path):
    other = keras.Sequential([keras.Input((6, 8, 2)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match=r"path: expected a file with input \(6, 8, 2\)"):
        tflite.verify(other, file, X)


def test_verify_refuses_a_tolerance(model, file):
    with pytest.raises(ValueError, match="tolerance: expected a number greater than zero, got -1"):
        tflite.verify(model, file, X, tolerance=-1)


@pytest.mark.parametrize(
    ("options", "argument"), [({"threads": 0}, "threads"), ({"runs": 0}, "runs"), ({"warmup": -1}, "warmup")]
)
def test_benchmark_refuses(file, options, argument):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        tflite.benchmark(file, **options)
    assert_sentence(error.value, argument)


def test_an_endless_generator_of_good_images_ends(model, tmp_path):
    def endless():
        rng = np.random.default_rng(0)
        while True:
            yield rng.normal(size=(1, 8, 8, 2)).astype("float32")

    report = tflite.export(model, tmp_path / "m.tflite", "int8", calibration=endless(), max_calibration_samples=40)
    assert report.calibration["samples"] == report.calibration["distinct"] == 40


def test_few_samples_are_noted(model, tmp_path):
    report = tflite.export(model, tmp_path / "m.tflite", "int8", calibration=X)
    assert report.notes == ("calibrated on 16 samples; 32 or more give steadier ranges",)


def test_inputs_out_of_range_are_noted(model, tmp_path):
    report = tflite.export(model, tmp_path / "m.tflite", "int8", calibration=X, data=1.5 * X, tolerance=1.0)
    assert "outside the range that the file stores" in report.notes[-1]


def test_recipes_are_frozen_and_refuse_nonsense():
    with pytest.raises(ValueError, match="tolerance: expected a number greater than zero, got 0"):
        tflite.Recipe("x", "", "float32", "float32", "float32", False, 0)
    with pytest.raises(AttributeError):
        tflite.RECIPES["int8"].tolerance = 1.0


def test_the_converter_reason_is_one_line():
    assert _export._reason(Exception("a\nfoo error: bad op\nb")) == "foo error: bad op"
    assert _export._reason(Exception("")) == "Exception"
