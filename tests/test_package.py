"""The package as a whole: light to import, documented by examples that run, built of rooms that point one way."""

import dataclasses
import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import typing

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT

import tfsep

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(tfsep.__path__, "tfsep.")
    if not name.endswith("__main__") and "_saved_models" not in name
]

ROOMS = [
    *("geometry", "plots", "defs", "cost", "ops", "layers", "surgery", "quantize", "models", "weights", "slim"),
    *("tflite", "data", "train", "importing", "classify", "examples", "saved", "demo"),
]

# Functions whose example would be a whole run of training or export; `mobilenet_v1`'s example serves its three widths.
WITHOUT_EXAMPLE = {
    *("saved.export_all", "saved.publish"),
    *("models.mobilenet_v1_075", "models.mobilenet_v1_050", "models.mobilenet_v1_025"),
    # tf_slim's own, which our functions' examples use.
    *("slim.add_arg_scope", "slim.arg_scope", "slim.current_arg_scope", "slim.has_arg_scope"),
}


def public(room):
    """Name and thing of all that a room makes public, but for records and errors, which come out of its functions."""
    module = importlib.import_module(f"tfsep.{room}")
    own = [n for n, t in vars(module).items() if n[0] != "_" and getattr(t, "__module__", None) == module.__name__]
    for name in getattr(module, "__all__", own):
        thing = getattr(module, name)
        if not callable(thing) or typing.get_origin(thing):  # a type alias, such as tuple[int, int], is callable
            continue
        record = dataclasses.is_dataclass(thing) or hasattr(thing, "_fields")
        if not record and not (inspect.isclass(thing) and issubclass(thing, Exception)):
            yield f"{room}.{name}", thing


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name, tmp_path, monkeypatch):
    import tempfile

    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner()
    names = {**vars(module), "np": np, "tf": tf, "keras": keras, "tempfile": tempfile}
    for test in finder.find(module, name, globs=names):
        runner.run(test)
    assert runner.summarize().failed == 0


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_have_examples(room):
    lacking = {name for name, thing in public(room) if ">>>" not in (inspect.getdoc(thing) or "")}
    assert lacking == {name for name in WITHOUT_EXAMPLE if name.startswith(f"{room}.")}


def test_public_names_are_found():
    assert "ops.conv2d" in dict(public("ops"))
    assert "train.accuracy" in dict(public("train"))
    assert "demo.demo" in dict(public("demo"))


def test_import_is_light():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import tfsep"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "tfsep" in imported
    assert not imported & {"tensorflow", "keras", "numpy", "rich", "typer", "matplotlib", "ai_edge_litert"}


def test_subpackages_load_on_first_use():
    assert set(tfsep.__all__) <= set(dir(tfsep))
    for name in tfsep.__all__:
        assert getattr(tfsep, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tfsep.nothing  # noqa: B018


@pytest.mark.parametrize(
    "room", ["ops", "layers", "quantize", "models", "weights", "slim", "tflite", "data", "train", "saved", "demo"]
)
def test_another_backend_is_refused(room):
    done = subprocess.run(
        [sys.executable, "-c", f"import tfsep.{room}"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.strip().splitlines()[-1] == "ValueError: KERAS_BACKEND: expected 'tensorflow', got 'torch'"


def test_another_backend_in_keras_settings_is_refused():
    code = """
import sys, types
sys.modules["keras"] = types.SimpleNamespace(backend=types.SimpleNamespace(backend=lambda: "jax"))
import tfsep.ops
"""
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip().splitlines()[-1] == (
        "ValueError: Keras backend: expected 'tensorflow', got 'jax' from Keras's own settings"
    )


def sources():
    return [p for p in (ROOT / "tfsep").rglob("*.py") if "_saved_models" not in p.parts]


def test_no_private_modules_of_other_projects_are_imported():
    for path in sources():
        found = re.findall(r"(?:import|from)\s+(keras\.src|tensorflow\.python|tf_keras)\S*", path.read_text())
        assert not found, f"{path}: {found}"


def test_keras_and_tensorflow_are_imported_in_one_module():
    for path in sources():
        if path.name != "backend.py":
            assert not re.search(r"^\s*(import|from) (keras|tensorflow)\b", path.read_text(), re.M), path


ORDER = [
    *("geometry", "plots", "defs", "ops", "layers", "cost", "surgery", "quantize", "weights", "models"),
    *("slim", "data", "tflite", "train", "importing", "classify", "examples", "saved", "demo", "cli"),
]


def test_imports_point_one_way():
    """A room imports only rooms above it in the list; helpers (`_table` and the like) are above all."""
    for path in sources():
        room = path.relative_to(ROOT / "tfsep").parts[0].removesuffix(".py")
        if room not in ORDER:
            continue
        top_level = re.findall(r"^(?:from|import) tfsep(?:\.(\w+))?(?: import (.+))?$", path.read_text(), re.M)
        for module, names in top_level:
            for other in [module] if module else [n.strip() for n in names.strip("()").split(",")]:
                if other in ORDER and other != room:
                    assert ORDER.index(other) < ORDER.index(room), f"{path.name} imports {other}"


def test_no_file_is_too_long():
    for path in sources():
        assert len(path.read_text().splitlines()) <= 420, path
