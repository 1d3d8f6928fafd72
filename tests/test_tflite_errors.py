"""Bad models, data, files and folders: one sentence each, and nothing left behind."""

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_sentence
from processes import run_forked

from tfsep import layers, tflite
from tfsep._utils.foreign_errors import cause_of
from tfsep.tflite._model_signature import _output_places

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
    "recipe is a number": (ValueError, "recipe", {"recipe": 8}),
    "no calibration for a recipe of one's own": (
        ValueError,
        "calibration",
        {"recipe": replace(tflite.RECIPES["int8"], name="own", interface="float32")},
    ),
    "no calibration": (ValueError, "calibration", {"recipe": "int8"}),
    "no calibration for int16": (ValueError, "calibration", {"recipe": "int16x8"}),
    "calibration is a name": (TypeError, "calibration", {"recipe": "int8", "calibration": "images"}),
    "calibration is a number": (TypeError, "calibration", {"recipe": "int8", "calibration": 3}),
    "calibration has NaN": (ValueError, "calibration", {"recipe": "int8", "calibration": with_nan()}),
    "calibration has infinity": (ValueError, "calibration", {"recipe": "int8", "calibration": np.full_like(X, np.inf)}),
    "calibration has another shape": (ValueError, "calibration", {"recipe": "int8", "calibration": X[:, :4]}),
    "calibration has another rank": (ValueError, "calibration", {"recipe": "int8", "calibration": X[0, 0]}),
    "calibration has complex numbers": (
        TypeError,
        "calibration",
        {"recipe": "int8", "calibration": X.astype("complex64")},
    ),
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
    "data of a type": (TypeError, "data", {"data": X.astype("complex64")}),
    "batch": (ValueError, "batch_size", {"batch_size": 0}),
    "tolerance": (ValueError, "tolerance", {"tolerance": 0}),
    "labels": (ValueError, "data", {"data": (X, np.zeros(3))}),
    "labels of a type": (TypeError, "data", {"data": (X, np.zeros(16))}),
    "tolerance is text": (ValueError, "tolerance", {"tolerance": "a"}),
    "input_shape is a number": (ValueError, "input_shape", {"input_shape": 28}),
    "input_shape is another": (ValueError, "input_shape", {"input_shape": (32, 32, 3)}),
    "input_shape is open": (ValueError, "input_shape", {"input_shape": (None, 8, 2)}),
    "calibration is empty batches without end": (
        tflite.CalibrationError,
        "calibration",
        {"recipe": "int8", "calibration": lambda: itertools.repeat(X[:0])},
    ),
}


@pytest.mark.parametrize("case", EXPORT)
def test_refused_export_leaves_no_file(case, model, tmp_path):
    kind, argument, options = EXPORT[case]
    options = {name: value() if callable(value) else value for name, value in options.items()}
    with pytest.raises(kind) as error:
        tflite.export(model, tmp_path / "m.tflite", **options)
    assert_sentence(error.value, argument)
    assert not list(tmp_path.iterdir())


def test_failed_verification_keeps_no_file(model, tmp_path):
    with pytest.raises(tflite.VerificationError) as error:
        tflite.export(model, tmp_path / "m.tflite", "int8", calibration=X, tolerance=1e-9)
    assert error.value.report.samples == 16
    assert not list(tmp_path.iterdir())


def test_older_file_survives_a_failed_export(model, tmp_path):
    path = tflite.export(model, tmp_path / "m.tflite").path
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(tflite.VerificationError):
        tflite.export(model, path, "int8", calibration=X, tolerance=1e-9)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_wrong_paths_are_refused(model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as error:
        tflite.export(model, tmp_path / "file" / "new" / "m.tflite")
    assert_sentence(error.value, "path")
    with pytest.raises(tflite.VerificationError):
        tflite.export(model, tmp_path / "new" / "deep" / "m.tflite", "float16", tolerance=1e-12, strict=True)
    assert {path.name for path in tmp_path.iterdir()} == {"file"}, "what is not kept leaves no folder"
    assert tflite.export(model, tmp_path / "new" / "deep" / "m.tflite").path.is_file()
    with pytest.raises(ValueError, match=r"path: expected a name that ends in \.tflite"):
        tflite.export(model, tmp_path / "m.bin")
    with pytest.raises(TypeError) as no_path:
        tflite.export(model, None)
    assert_sentence(no_path.value, "path")


def test_file_is_not_kept_without_its_report(model, tmp_path):
    (tmp_path / "m.json").mkdir()
    for before in (None, b"an older file"):
        if before is not None:
            (tmp_path / "m.tflite").write_bytes(before)
        with pytest.raises(OSError, match=r"path: expected a folder that takes m\.tflite, m\.json") as error:
            tflite.export(model, tmp_path / "m.tflite")
        assert_sentence(error.value, "path")
        left = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
        assert left == ({} if before is None else {"m.tflite": before})


def test_read_only_folder_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError) as error:
        tflite.export(model, tmp_path / "m.tflite")
    assert_sentence(error.value, "path")


@pytest.mark.parametrize("failing", ["write_bytes", "write_text", "replace"])
def test_full_disk_leaves_no_file(model, tmp_path, monkeypatch, failing):
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


def test_wrong_models_are_refused(tmp_path):
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


def test_operator_without_a_builtin_is_refused(tmp_path):
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
def test_missing_and_foreign_files_are_refused(use, tmp_path):
    for odd in (None, 3):
        with pytest.raises(TypeError) as no_path:
            use(odd)
        assert_sentence(no_path.value, "path")
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
    done = run_forked(DAMAGE, file, tmp_path / "cut.tflite")
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 150


VERIFY = {
    "shape": (ValueError, "data", X[:, :4]),
    "type": (TypeError, "data", X.astype("str")),
    "NaN": (ValueError, "data", with_nan()),
    "nothing": (ValueError, "data", []),
    "None": (TypeError, "data", None),
    "an object": (TypeError, "data", object()),
    "names": (ValueError, "data", {"picture": X}),
    "labels as text": (TypeError, "data", (X, np.array(["shoe"] * 16))),
    "labels between classes": (TypeError, "data", (X, np.arange(16) + 0.5)),
    "labels under zero": (ValueError, "data", (X, np.arange(16) - 100)),
    "labels past the classes": (ValueError, "data", (X, np.arange(16) + 10_000)),
}


@pytest.mark.parametrize("case", VERIFY)
def test_verify_refuses_wrong_data(case, model, file):
    kind, argument, data = VERIFY[case]
    with pytest.raises(kind) as error:
        tflite.verify(model, file, data)
    assert_sentence(error.value, argument)


def test_verify_refuses_a_file_of_another_interface(model, file, tmp_path):
    other = keras.Sequential([keras.Input((6, 8, 2)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match=r"path: expected a file with input \(6, 8, 2\)"):
        tflite.verify(other, file, X)


def test_verify_refuses_a_file_of_other_input_names(tmp_path):
    def of(*names):
        inputs = [keras.Input((4,), name=name) for name in names]
        return keras.Model(inputs, keras.layers.Concatenate()(inputs))

    path = tflite.export(of("a", "b"), tmp_path / "m.tflite").path
    x = np.ones((2, 4), "float32")
    with pytest.raises(ValueError, match="path: expected a file with inputs") as error:
        tflite.verify(of("a", "c"), path, (x, x))
    assert_sentence(error.value, "path")


def _two_outputs(names, swapped=False):
    """Equal layers under these names, the second of other weights."""
    inputs = keras.Input((4,))
    kernels = np.random.default_rng(0).normal(size=(2, 4, 3))
    dense = [keras.layers.Dense(3, name=name) for name in names]
    outputs = [layer(inputs) for layer in dense]
    for layer, kernel in zip(dense, kernels, strict=True):
        layer.set_weights([kernel, np.zeros(3)])
    return keras.Model(inputs, outputs[::-1] if swapped else outputs)


def test_outputs_of_other_names_are_paired_by_position(tmp_path):
    """Also where the names of one of both sort the other way round, as ``dense_10`` comes before ``dense_9``."""
    x = np.random.default_rng(1).normal(size=(20, 4)).astype("float32")
    for own in (("dense_9", "dense_10"), ("dense", "dense_1")):
        path = tflite.export(_two_outputs(("dense_11", "dense_12")), tmp_path / "m.tflite", "float16").path
        assert tflite.verify(_two_outputs(own), path, x).rms_error < 1e-2
        with pytest.raises(tflite.VerificationError, match="relative RMS error"):
            tflite.verify(_two_outputs(own, swapped=True), path, x)
        # Its own names come with the model wherever its outputs are.
        path = tflite.export(_two_outputs(own, swapped=True), tmp_path / "m.tflite").path
        assert tflite.verify(_two_outputs(own), path, x).rms_error < 1e-6


def test_numbered_outputs_are_in_the_order_of_their_numbers():
    own = [f"dense_{i}" for i in range(12)]
    names = sorted(f"output_{i}" for i in range(12))
    assert _output_places(own, names, range(12)) == (0, 1, 10, 11, *range(2, 10))
    assert _output_places(["z", "a"], ["p", "q"], (1, 0)) == (1, 0)
    # One tensor may be two outputs.
    assert _output_places(["z", "a"], ["p", "q"], (0, 0)) == (0, 1)


def test_labels_may_be_a_list(model, file):
    labels = np.argmax(model(X), axis=-1)
    assert tflite.verify(model, file, (X, labels.tolist())).accuracy == 1.0


@pytest.mark.parametrize("tolerance", [-1, "a", np.nan, None])
def test_verify_refuses_wrong_tolerances_and_paths(model, file, tolerance):
    path = file if tolerance is not None else None
    with pytest.raises((ValueError, TypeError)) as error:
        tflite.verify(model, path, X, tolerance=tolerance)
    assert_sentence(error.value, "tolerance" if path else "path")


@pytest.mark.parametrize(
    ("options", "argument"), [({"threads": 0}, "threads"), ({"runs": 0}, "runs"), ({"warmup": -1}, "warmup")]
)
def test_benchmark_refuses_wrong_arguments(file, options, argument):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        tflite.benchmark(file, **options)
    assert_sentence(error.value, argument)


def test_endless_generators_are_cut_off(model, tmp_path):
    def endless():
        rng = np.random.default_rng(0)
        while True:
            yield rng.normal(size=(1, 8, 8, 2)).astype("float32")

    report = tflite.export(model, tmp_path / "m.tflite", "int8", calibration=endless(), max_calibration_samples=40)
    assert report.calibration["samples"] == report.calibration["distinct"] == 40


def test_few_samples_are_noted(model, tmp_path):
    report = tflite.export(model, tmp_path / "m.tflite", "int8", calibration=X)
    few, unchecked = report.notes
    assert few == "calibrated on 16 samples; 32 or more give steadier ranges"
    assert unchecked.startswith(f"calibration data range from {X.min():.4g} to {X.max():.4g}, and nothing else")
    given = tflite.export(model, tmp_path / "m.tflite", "int8", calibration=X, data=X)
    assert given.notes == (few,)


def test_unlikely_calibration_data_are_noted(tmp_path):
    """As far as a model tells: by what its first normalization has seen, however deep it is nested."""
    x = np.random.default_rng(0).uniform(-1, 1, (64, 8, 8, 2)).astype("float32")
    block = keras.Sequential([keras.Input((8, 8, 2)), layers.DepthwiseSeparableConv(4, momentum=0.5)])
    model = keras.Sequential([keras.Input((8, 8, 2), name="image"), block, keras.layers.Flatten()])
    pixels = (x + 1) * 127.5
    unlike = "were they prepared as the training data were?"
    assert unlike not in str(tflite.export(model, tmp_path / "m.tflite", "int8", pixels).notes), "it was never trained"
    for _ in range(20):
        model(x, training=True)
    assert unlike not in str(tflite.export(model, tmp_path / "m.tflite", "int8", x).notes)
    assert unlike in str(tflite.export(model, tmp_path / "m.tflite", "int8", pixels).notes)


def test_inputs_out_of_range_are_noted(model, tmp_path):
    report = tflite.export(model, tmp_path / "m.tflite", "int8", calibration=X, data=1.5 * X, tolerance=1.0)
    assert "outside the range that the file stores" in report.notes[-1]


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"tolerance": 0}, "tolerance"),
        ({"tolerance": "a"}, "tolerance"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"weights": "int4"}, "weights"),
        ({"weights": "float16"}, "activations"),
        ({"weights": "float32"}, "activations"),
        ({"activations": "float16"}, "activations"),
        ({"activations": "float32"}, "interface"),
        ({"activations": None}, "activations"),
        ({"interface": "int16"}, "interface"),
        ({"interface": "bfloat16"}, "interface"),
        ({"needs_calibration": False}, "needs_calibration"),
    ],
)
def test_recipes_refuse_nonsense(changes, argument):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        replace(tflite.RECIPES["int8"], **changes)
    assert_sentence(error.value, argument)


def test_recipes_are_frozen():
    with pytest.raises(ValueError, match="tolerance: expected a number greater than zero, got 0"):
        tflite.Recipe("x", "", "float32", "float32", "float32", False, 0)
    with pytest.raises(AttributeError):
        tflite.RECIPES["int8"].tolerance = 1.0


def test_converter_errors_are_one_line():
    assert cause_of(Exception("a\nfoo error: bad op\nb")) == "foo error: bad op"
    assert cause_of(Exception("")) == "Exception"


def shut(layer):
    """A layer of one whose activations are all 0."""
    layer.build((None, 6, 6, 2))
    layer.bias.assign(np.full(layer.bias.shape, -100.0))
    return layer


def test_layers_of_zeros(tmp_path):
    """LiteRT refuses the one file and crashes on the other; where zeros have the scale of other numbers, it runs."""
    image = keras.Input((6, 6, 2))
    data = np.random.default_rng(0).normal(size=(32, 6, 6, 2)).astype("float32")
    zeros = shut(keras.layers.Conv2D(2, 3, activation="relu", name="zeros"))(image)
    other = keras.layers.Conv2D(2, 3)(image)
    added = keras.layers.ReLU(name="zeros")(shut(keras.layers.Conv2D(2, 3))(image) + other)
    for tensor in (zeros, added):
        with pytest.raises(
            ValueError, match=r"model: expected layers whose numbers reach 1e-06.*, got 'zeros'"
        ) as error:
            tflite.export(keras.Model(image, keras.layers.Flatten()(tensor)), tmp_path / "m.tflite", "int8", data)
        assert_sentence(str(error.value), "model")
        assert not list(tmp_path.iterdir())
    joined = keras.Model(image, keras.layers.Concatenate()([zeros, other]))
    assert tflite.export(joined, tmp_path / "m.tflite", "int8", data).verification.passed


def test_divisors_that_are_zero_in_integers(tmp_path):
    inputs = keras.Input((8,))
    model = keras.Model(inputs, 1.0 / (abs(keras.layers.Dense(8)(inputs)) + 1e-3))
    data = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    with pytest.raises(
        ValueError, match=r"does not compute DIV of .* there \(a divisor that is 0 in integers\)"
    ) as error:
        tflite.export(model, tmp_path / "m.tflite", "int8", data)
    assert_sentence(str(error.value), "model")
