"""The package as a whole: light to import, documented by examples that run, with imports that point one way."""

import ast
import dataclasses
import doctest
import graphlib
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

SUBPACKAGES = [
    *(
        "geometry",
        "boxes",
        "metrics",
        "losses",
        "plots",
        "defs",
        "cost",
        "ops",
        "layers",
        "surgery",
        "quantize",
        "models",
        "weights",
        "slim",
    ),
    *("tflite", "data", "train", "importing", "classify", "locate", "examples", "saved", "demo"),
]

# Functions whose example would be a whole run of training or export; `mobilenet_v1`'s example serves its three widths.
WITHOUT_EXAMPLE = {
    *("saved.export_all", "saved.export_scene_files", "saved.publish"),
    *("models.mobilenet_v1_075", "models.mobilenet_v1_050", "models.mobilenet_v1_025"),
    *("models.mobilenet_v2_140", "models.mobilenet_v2_050", "models.mobilenet_v2_035"),
    *("models.mobilenet_v3_large", "models.mobilenet_v3_small", "models.mobilenet_edgetpu_075"),
    *("models.mobilenet_v3_large_minimalistic", "models.mobilenet_v3_small_minimalistic", "models.mobilenet_edgetpu"),
    # `models.from_definitions` of a network that has a name.
    *("models.MobileNetV2", "models.MobileNetEdgeTPU"),
    *(f"models.MobileNetV4Conv{size}" for size in ("Small", "Medium", "Large")),
    *(f"models.EfficientNetLite{number}" for number in range(5)),
    # tf_slim's own, which our functions' examples use.
    *("slim.add_arg_scope", "slim.current_arg_scope", "slim.has_arg_scope"),
    *("slim.arg_scope_func_key", "slim.arg_scoped_arguments"),
    # `slim.fully_connected` with an activation.
    *("slim.relu", "slim.relu6", "slim.elu", "slim.linear"),
}


def public(subpackage):
    """Name and object of everything public in a subpackage, except records and errors, which its functions return."""
    module = importlib.import_module(f"tfsep.{subpackage}")
    own = [n for n, t in vars(module).items() if n[0] != "_" and getattr(t, "__module__", None) == module.__name__]
    for name in getattr(module, "__all__", own):
        thing = getattr(module, name)
        if not callable(thing) or typing.get_origin(thing):  # a type alias, such as tuple[int, int], is callable
            continue
        record = dataclasses.is_dataclass(thing) or hasattr(thing, "_fields")
        if not record and not (inspect.isclass(thing) and issubclass(thing, Exception)):
            yield f"{subpackage}.{name}", thing


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


@pytest.mark.parametrize("subpackage", SUBPACKAGES)
def test_public_names_have_examples(subpackage):
    lacking = {name for name, thing in public(subpackage) if ">>>" not in (inspect.getdoc(thing) or "")}
    assert lacking == {name for name in WITHOUT_EXAMPLE if name.startswith(f"{subpackage}.")}


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
    "subpackage",
    ["ops", "layers", "quantize", "models", "weights", "slim", "tflite._export", "data", "train", "saved", "demo"],
)
def test_another_backend_is_refused(subpackage):
    done = subprocess.run(
        [sys.executable, "-c", f"import tfsep.{subpackage}"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.strip().splitlines()[-1] == "ValueError: KERAS_BACKEND: expected 'tensorflow', got 'torch'"


@pytest.mark.slow
def test_files_need_no_tensorflow():
    """Recipes, targets and what works on files alone come without TensorFlow; the rest loads it on first use."""
    code = """
import sys
from tfsep import tflite
print(len(tflite.inspect("saved_models/fashion_mnist/model_int8.tflite").operators), "tensorflow" in sys.modules)
print([name for name in tflite.__all__ if not hasattr(tflite, name)], "tensorflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["21 False", "[] True"]


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


# Each imports only what stands before it.
ORDER = [
    *("_version", "_utils", "_flatbuffer", "_workers", "geometry", "boxes", "metrics", "_keras"),
    *("plots", "defs", "losses", "ops", "layers", "cost", "surgery", "quantize", "weights", "models"),
    *(
        "slim",
        "data",
        "tflite",
        "train",
        "importing",
        "classify",
        "locate",
        "examples",
        "saved",
        "demo",
        "cli",
        "__main__",
    ),
]


def imports_of_modules():
    """The modules of the package that each of its modules imports when it is loaded."""
    paths = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sources()}
    modules = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    graph = {}
    for name, path in modules.items():
        imported = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {alias.name for node in imported if isinstance(node, ast.Import) for alias in node.names}
        for node in imported:
            if isinstance(node, ast.ImportFrom) and node.module:
                inner = (f"{node.module}.{alias.name}" for alias in node.names)
                names |= {each if each in modules else node.module for each in inner}
        graph[name] = names & modules.keys()
    return graph


def subpackage_of(module):
    return module.split(".")[1] if "." in module else None


def test_imports_point_one_way():
    """Between subpackages, helpers among them; the package's face imports the names that it exports."""
    graph = imports_of_modules()
    assert {subpackage_of(module) for module in graph} == {None, *ORDER}
    for module, imported in graph.items():
        for other in imported:
            place, found = subpackage_of(module), subpackage_of(other)
            if place and place != found:
                assert found, f"{module} imports tfsep itself"
                assert ORDER.index(found) < ORDER.index(place), f"{module} imports {other}"


def test_no_modules_import_each_other():
    graph = imports_of_modules()
    assert sum(map(len, graph.values())) > 400
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules of a cycle


def test_no_file_is_too_long():
    for path in sources():
        assert len(path.read_text().splitlines()) <= 400, path
