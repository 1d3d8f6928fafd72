"""Bad input of every command: one sentence that names the argument, an exit code, no traceback, no file."""

import json
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_sentence
from keras import layers as L
from typer.testing import CliRunner

from tfsep import tflite
from tfsep.cli import app

X = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype("float32")


class Own(L.Layer):
    def call(self, x):
        return x


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with one right file of each kind, and wrong ones."""
    folder = tmp_path_factory.mktemp("errors")
    model = keras.Sequential([keras.Input((8, 8, 3), name="image"), L.DepthwiseConv2D(3, name="dw"), L.Flatten()])
    model.save(folder / "m.keras")
    model.save(folder / "m.h5")
    model.save_weights(folder / "w.weights.h5")
    tflite.export(model, folder / "m.tflite")
    keras.Sequential([keras.Input((8, 8, 3)), Own(), L.Flatten()]).save(folder / "own.keras")
    for suffix in ("keras", "h5", "tflite", "npy", "npz", "pt", "safetensors"):
        (folder / f"text.{suffix}").write_text("hello")
        (folder / f"zero.{suffix}").touch()
        whole = folder / f"m.{suffix}"
        if whole.exists():
            (folder / f"cut.{suffix}").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        (folder / f"folder.{suffix}").mkdir()
    changed = bytearray((folder / "m.tflite").read_bytes())
    changed[100:300] = bytes(255 - byte for byte in changed[100:300])
    (folder / "changed.tflite").write_bytes(changed)
    for name in ("empty", "no_graph", "no_variables", "no_images/a", "no_images/b"):
        (folder / name).mkdir(parents=True)
    (folder / "no_graph" / "saved_model.pb").touch()
    (folder / "no_variables" / "saved_model.pb").write_text("hello")
    (folder / "afile").touch()
    _archives(folder)
    _configs(folder)
    (folder / "mod.py").write_text("import keras\nclass Own(keras.layers.Layer):\n    pass\nvalue = 3\n")
    (folder / "no_layer.py").write_text("class Own:\n    pass\n")
    (folder / "raises.py").write_text("raise KeyError('nope')")
    (folder / "exits.py").write_text("raise SystemExit(3)")
    (folder / "syntax.py").write_text("def (")
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").touch()
    _data(folder)
    return folder


def _archives(folder):
    with zipfile.ZipFile(folder / "m.keras") as source:
        whole = {name: source.read(name) for name in source.namelist()}
    for name, content in {
        "other.keras": {"a.txt": "a"},
        "no_json.keras": {**whole, "config.json": "{"},
        "lists.keras": {**whole, "metadata.json": "[]"},
        "no_weights.keras": {key: value for key, value in whole.items() if "weights" not in key},
    }.items():
        with zipfile.ZipFile(folder / name, "w") as archive:
            for key, value in content.items():
                archive.writestr(key, value)


def _configs(folder):
    def unknown(config):
        config["config"]["layers"][1]["config"]["unknown_key"] = 1
        return config

    def no_size(config):
        config["config"]["layers"][1]["config"]["kernel_size"] = "big"
        return config

    changes = {"unknown.h5": unknown, "size.h5": no_size, "list.h5": lambda _: [], "null.h5": lambda _: None}
    for name, change in changes.items():
        shutil.copy(folder / "m.h5", folder / name)
        with h5py.File(folder / name, "r+") as file:
            file.attrs["model_config"] = json.dumps(change(json.loads(file.attrs["model_config"])))
    shutil.copy(folder / "m.h5", folder / "no_weights.h5")
    with h5py.File(folder / "no_weights.h5", "r+") as file:
        del file["model_weights"]


def _data(folder):
    arrays = {"rows": X[:, :4], "rank": X[0, 0], "nan": X * np.nan, "none": X[:0], "same": X * 0, "one": np.float32(3)}
    for name, array in {**arrays, "text_in": np.array(["a"]), "complex": X.astype("complex64")}.items():
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(folder / "x.npy", X)
    np.savez(folder / "several.npz", a=X, b=X)
    np.savez(folder / "labels.npz", x=X, y=np.arange(3))
    np.savez(folder / "nothing.npz")
    (folder / "bad_images").mkdir()
    (folder / "bad_images" / "a.png").write_text("hello")
    tf.io.write_file(str(folder / "a.png"), tf.io.encode_png(np.zeros((8, 8, 3), "uint8")))


MODELS = {
    "missing.keras": "expected a .keras file, got missing.keras, which does not exist",
    "missing.h5": "expected a .keras or .h5 file, or the folder of a SavedModel, got missing.h5, which does not exist",
    "text.keras": "expected a whole .keras file, got text.keras (File is not a zip file)",
    "zero.keras": "expected a whole .keras file, got zero.keras (File is not a zip file)",
    "cut.keras": "expected a whole .keras file, got cut.keras (File is not a zip file)",
    "folder.keras": "or the folder of a SavedModel, got folder.keras",
    "other.keras": "got other.keras (There is no item named 'metadata.json' in the archive)",
    "no_json.keras": "expected a whole .keras file, got no_json.keras",
    "lists.keras": "expected a whole .keras file, got lists.keras",
    "no_weights.keras": "expected a whole .keras file, got no_weights.keras",
    "text.h5": "expected a whole .h5 file of a model, got text.h5",
    "zero.h5": "expected a whole .h5 file of a model, got zero.h5",
    "cut.h5": "expected a whole .h5 file of a model, got cut.h5",
    "unknown.h5": "got unknown.h5: its DepthwiseConv2D 'dw' has unknown_key, which Keras 3 has not",
    "size.h5": "got size.h5 (its DepthwiseConv2D 'dw': The `kernel_size` argument must be a tuple of 2 integers.",
    "list.h5": "expected a whole .h5 file of a model, got list.h5",
    "null.h5": "expected a whole .h5 file of a model, got null.h5",
    "no_weights.h5": "got no_weights.h5 ('model_weights' is missing)",
    "w.weights.h5": "got w.weights.h5: it holds weights and no model",
    "own.keras": "got own.keras, which has 'Own': give it in custom_objects, or its module with --custom",
    "empty": "or the folder of a SavedModel, got empty",
    "no_graph": "got no_graph: it has to have one graph, and has none",
    "no_variables": "expected a whole SavedModel, got no_variables",
    "m.tflite": "or the folder of a SavedModel, got m.tflite",
    "a.png": "or the folder of a SavedModel, got a.png",
}
FILES = {
    "missing.tflite": "which does not exist",
    "folder.tflite": "which is a folder",
    "text.tflite": "without the identifier TFL3",
    "zero.tflite": "without the identifier TFL3",
    "m.keras": "without the identifier TFL3",
    "cut.tflite": "which is damaged",
    "changed.tflite": "which is damaged",
}
CUSTOM = {
    "mod.py:NOTACLASS": "the name of a class or function that mod.py has, got 'NOTACLASS'",
    "mod.py:value": "got 'value' of type int",
    "mod.py:": "got ''",
    "missing.py": "got missing.py, which does not exist",
    "folder.py": "got folder.py, which does not exist",
    "no_such_module": "got 'no_such_module' (ModuleNotFoundError: No module named 'no_such_module')",
    "package.missing": "got 'package.missing' (ModuleNotFoundError",
    "raises.py": "got 'raises.py' (KeyError: 'nope' is missing)",
    "raises": "got 'raises' (KeyError: 'nope' is missing)",
    "exits.py": "got 'exits.py' (SystemExit: 3)",
    "syntax.py": "got 'syntax.py' (SyntaxError: invalid syntax",
    "": "got ''",
}
DATA = {
    "missing.npy": "got missing.npy, which does not exist",
    "folder.npy": "got folder.npy, which is a folder",
    "text.npy": "expected a whole .npy file of numbers, got text.npy",
    "zero.npy": "expected a whole .npy file of numbers, got zero.npy",
    "text.npz": "expected a whole .npz file of numbers, got text.npz",
    "objects.npy": "expected a whole .npy file of numbers, got objects.npy",
    "rows.npy": "expected shape (N, 8, 8, 3) for image, got (8, 4, 8, 3)",
    "rank.npy": "expected shape (N, 8, 8, 3) for image, got (8, 3)",
    "text_in.npy": "for image, got (1,)",
    "complex.npy": "expected float32 for image, got complex64",
    "nan.npy": "for image, got NaN or infinity",
    "none.npy": "got ",
    "one.npy": "got a single float32",
    "several.npz": "expected an array x in several.npz, got a, b",
    "labels.npz": "expected one label y a sample x in labels.npz, got 3 and 8",
    "nothing.npz": "expected an array x in nothing.npz, got none",
    "empty": "expected images in at least two folders of classes, got none in empty",
    "no_images": "expected training images of every class, got none of a, b in no_images",
    "bad_images": "expected files that decode to (H, W, 3), got bad_images/a.png",
    "afile": "got afile, which is a file",
    "no_such_folder": "got no_such_folder, which does not exist",
}
FLOAT = ("--recipe", "float32")
OTHERS = {
    "no folder": (["export", "m.keras", "--out", "afile/new/o.tflite"], "path", "got afile/new in a file"),
    "a new folder, but no data": (
        ["export", "m.keras", "--data", "nan.npy", "--out", "new/o.tflite"],
        "data",
        "got NaN or infinity",
    ),
    "a folder with a bad image": (["predict", "m.keras", "bad_images"], "images", "got bad_images/a.png"),
    "a folder": (["export", "m.keras", "--out", "folder.tflite"], "path", "got folder.tflite, which is a folder"),
    "no file's name": (["export", "m.keras", "--out", "o.bin"], "path", "got o.bin"),
    "recipe": (["export", "m.keras", "--recipe", "int4"], "recipe", "got 'int4'"),
    "nothing to calibrate on": (["export", "m.keras", "--calibrate", "best"], "calibration", "got None"),
    "calibrated for float32": (
        ["export", "m.keras", "--calibrate", "best", "--calibration", "x.npy", *FLOAT],
        "recipe",
        "expected 'int8' with calibrate, got 'float32'",
    ),
    "method": (["export", "m.keras", "--calibrate", "bst", "--calibration", "x.npy"], "method", "nearest is 'best'"),
    "no such layer": (
        ["convert", "m.keras", "--keep-float", "dv", "--calibration", "x.npy", "--out", "o"],
        "keep_float",
        "got 'dv'; the nearest is 'dw'",
    ),
    "more than all": (
        ["export", "m.keras", "--budget", "1.5", "--calibration", "x.npy"],
        "budget",
        "expected a number in [0, 1], got 1.5",
    ),
    "parts of training": (
        ["quantize", "m.keras", "--rounding", "adaptive", "--no-equalize", "--out", "o"],
        "--equalize and --rounding",
        "expected --calibrate-only, got none",
    ),
    "a budget of training": (
        ["quantize", "m.keras", "--budget", "0.9", "--keep-float", "a", "--out", "o"],
        "--keep-float and --budget",
        "expected --calibrate-only, got none",
    ),
    "convert into a file": (["convert", "m.keras", *FLOAT, "--out", "afile"], "folder", "got afile, which is a file"),
    "labels": (["convert", "m.keras", *FLOAT, "--out", "o", "--labels", "empty"], "labels", "empty, which is a folder"),
    "import into no folder": (["import", "m.tflite", "--out", "afile/i.keras"], "out", "got afile in a file"),
    "import as another file": (["import", "m.tflite", "--out", "new/i.h5"], "out", "ends in .keras, got new/i.h5"),
    "import of a folder": (["import", "folder.tflite", "--out", "i.keras"], "path", "which is a folder"),
    "import of text": (["import", "text.keras", "--out", "i.keras"], "source", "(File is not a zip file)"),
    "import of a folder of tensors": (["import", "folder.pt", "--out", "i.keras"], "source", "got the folder"),
    "import of no tensors": (["import", "text.safetensors", "--out", "i.keras"], "source", "got text.safetensors"),
    "settings": (["train", "--config", "empty", "--out", "o"], "config", "got empty, which is a folder"),
    "data": (["train", "--data", "x.npy", "--out", "o"], "data", "got x.npy, which is a file"),
    "records": (["records", "--data", "afile", "--out", "o"], "data", "got afile, which is a file"),
    "records of nothing": (["records", "--data", "empty", "--out", "o"], "folder", "got none in empty"),
    "quantize": (["quantize", "text.keras", "--out", "o"], "model", "got text.keras"),
    "image": (["predict", "m.keras", "empty"], "images", "got empty, which is a folder"),
    "no image": (["predict", "m.keras", "text.h5"], "images", "got text.h5"),
    "labels of images": (
        ["predict", "m.keras", "a.png", "--labels", "empty"],
        "labels",
        "got empty, which is a folder",
    ),
    **{
        f"size {size!r}": (["export", "m.keras", "--out", "o.tflite", "--size", size], "size", ", got ")
        for size in ("", "0", "-1", "8x", "8x8x8", "big", "8.5", "9" * 20, "\u00b2")
    },
}
CASES = {
    **{f"export {name}": (["export", name, "--out", "o.tflite"], "model", said) for name, said in MODELS.items()},
    **{f"inspect {name}": (["inspect", name], "path", said) for name, said in FILES.items()},
    **{f"bench {name}": (["bench", name], "path", said) for name, said in FILES.items() if "folder" not in name},
    **{
        f"verify {name}": (["verify", "m.keras", name, "--data", "x.npy"], "path", said) for name, said in FILES.items()
    },
    **{
        f"custom {name}": (["export", "own.keras", "--out", "o.tflite", "--custom", name], "custom", said)
        for name, said in CUSTOM.items()
    },
    **{
        f"{option} {name}": (
            ["export", "m.keras", "--recipe", "int8", "--calibration", "x.npy", option, name, "--out", "o.tflite"],
            "calibration" if option == "--calibration" else "data",
            said,
        )
        for option in ("--calibration", "--data")
        for name, said in DATA.items()
    },
    **OTHERS,
}


@pytest.fixture
def inside(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused_in_one_sentence(case, inside):
    arguments, argument, said = CASES[case]
    before = {path: path.stat().st_mtime_ns for path in inside.rglob("*") if "__pycache__" not in str(path)}
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 2
    assert done.stderr.startswith("tfsep: ")
    assert done.stderr.endswith("\n")
    text = done.stderr.removeprefix("tfsep: ").rstrip("\n")
    # A file's or folder's own reader does not know which option named it.
    names = (argument, "data", "folder") if argument == "calibration" or case.startswith("--data") else (argument,)
    assert_sentence(text, text.split(":")[0])
    assert text.split(":")[0] in names
    assert said in text
    after = {path: path.stat().st_mtime_ns for path in inside.rglob("*") if "__pycache__" not in str(path)}
    assert after == before


def test_a_module_that_fails_is_not_imported_by_its_name(inside):
    for name in ("raises.py", "raises"):
        done = CliRunner().invoke(app, ["export", "own.keras", "--out", "o.tflite", "--custom", name])
        assert "KeyError" in done.stderr


def test_a_file_of_layers_imports_what_lies_beside_it(inside, tmp_path, monkeypatch):
    (inside / "package" / "base.py").write_text("import keras\nclass Base(keras.layers.Layer):\n    pass\n")
    (inside / "package" / "layers.py").write_text(
        "from base import Base\nclass Own(Base):\n    def call(self, x):\n        return x\n"
    )
    monkeypatch.chdir(tmp_path)
    for custom in ("layers.py", "layers.py:Own"):
        arguments = ["export", f"{inside}/own.keras", "--out", "o.tflite", "--custom", f"{inside}/package/{custom}"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output


SEVERAL = {
    "train": (
        ["train", "--epochs", "0", "--set", "seed=-1", "--data", "no_such_folder", "--size", "big", "--out", "afile"],
        ("seed: ", "epochs: ", "size: ", "data: ", "folder: "),
    ),
    "quantize": (
        ["quantize", "missing.keras", "--set", "observe=0", "--data", "missing", "--publish", "afile/p", "--out", "o"],
        ("observe: ", "data: ", "publish: ", "model: "),
    ),
    "export": (
        [
            "export",
            "missing.keras",
            "--recipe",
            "int4",
            "--calibration",
            "a.npy",
            "--data",
            "b",
            "--out",
            "afile/o.tflite",
        ],
        ("recipe: ", "path: ", "calibration: ", "data: ", "model: "),
    ),
    "convert": (
        ["convert", "missing.keras", "--io", "int3", "--target", "gpus", "--threads", "one", "--labels", "empty"],
        ("io: ", "target: ", "threads: ", "labels: ", "model: "),
    ),
}


@pytest.mark.parametrize("case", SEVERAL)
def test_all_problems_are_said_at_once(case, inside):
    arguments, names = SEVERAL[case]
    before = set(inside.rglob("*"))
    done = CliRunner().invoke(app, [*arguments, *(["--out", "o"] if case == "convert" else [])])
    assert done.exit_code == 2
    found = done.stderr.removeprefix("tfsep: ").rstrip("\n").split("; ")
    assert [text.split(": ")[0] + ": " for text in found] == list(names), done.stderr
    for text in found:
        assert_sentence(text, text.split(":")[0])
    assert set(inside.rglob("*")) == before
