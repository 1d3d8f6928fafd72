"""Damaged files are taken or refused in a sentence: no crash, no hang, no gigabyte."""

import contextlib
import shutil
import zipfile

import mutations
import numpy as np
import pytest
import slim_reference
from conftest import ROOT
from processes import run_forked

from tfsep import Conv, DepthSepConv, models, tflite, weights

DEFS = [Conv(3, 2, 8), DepthSepConv(3, 1, 16)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small network in every kind of file that is loaded."""
    from safetensors.numpy import save_file

    place = tmp_path_factory.mktemp("mutations")
    model = models.MobileNetV1((32, 32, 3), 4, conv_defs=DEFS)
    model.save(place / "m.keras")
    x = np.random.default_rng(0).normal(size=(16, 32, 32, 3)).astype("float32")
    tflite.export(model, place / "m.tflite", "int8", calibration=x)
    slim_reference.save(place / "m.ckpt", {n: v.numpy() for n, v in weights.slim_variables(model).items()})
    (place / "m.ckpt.index").rename(place / "m.index")
    shutil.copy(place / "m.ckpt.data-00000-of-00001", place / "scratch.data-00000-of-00001")
    arrays = {}
    for number, variable in enumerate(v for v in model.weights if v.name == "kernel"):
        order = (2, 3, 0, 1) if variable.shape[3] == 1 else (3, 2, 0, 1)
        kernel = np.ascontiguousarray(variable.numpy().transpose(order))
        arrays[f"{2 * number}.weight"] = kernel
        if number < 3:
            channels = kernel.shape[0]
            names = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
            arrays |= {f"{2 * number + 1}.{n}": np.full(channels, v, "float32") for n, v in names.items()}
    arrays["6.bias"] = np.zeros(4, "float32")
    save_file(arrays, place / "m.safetensors")
    return place


def read(kind, folder, count, seconds):
    program, scratch = ROOT / "tests" / "mutations.py", folder / f"scratch.{kind}"
    done = run_forked(program, kind, folder / f"m.{kind}", scratch, count, timeout=seconds)
    assert done.returncode == 0, done.stderr[-2000:]
    taken, refused, megabytes = map(int, done.stdout.split())
    assert taken + refused == count * (3 if kind == "tflite" else 1)
    return taken, refused, megabytes


@pytest.mark.parametrize(("kind", "count"), [("tflite", 200), ("safetensors", 60), ("index", 40), ("keras", 8)])
def test_damaged_files(kind, count, folder):
    _, refused, megabytes = read(kind, folder, count, 600)
    assert refused > count / 4
    assert megabytes < 1600, "TensorFlow alone takes some 600"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "count"), [("tflite", 10_000), ("safetensors", 10_000), ("index", 10_000), ("keras", 10_000)]
)
def test_ten_thousand_damaged_files(kind, count, folder):
    _, refused, megabytes = read(kind, folder, count, 3600)
    assert refused > count / 4
    assert megabytes < 1600


def test_mutations_change_or_shorten_a_file():
    content, rng = bytes(range(256)) * 8, np.random.default_rng(0)
    damaged = [mutations.mutated(content, rng) for _ in range(50)]
    assert all(each != content for each in damaged if len(each) == len(content)) or len(set(damaged)) > 40
    assert {len(each) < len(content) for each in damaged} == {True, False}


def test_archive_with_outside_paths_writes_nothing_outside(folder, tmp_path):
    evil = tmp_path / "deep" / "m.keras"
    evil.parent.mkdir()
    shutil.copy(folder / "m.keras", evil)
    with zipfile.ZipFile(evil, "a") as archive:
        archive.writestr("../evil.txt", "written")
        archive.writestr("assets/../../evil.txt", "written")
    with contextlib.suppress(ValueError):
        models.load_model(evil)
    assert not list(tmp_path.rglob("evil.txt"))


def test_archive_that_unpacks_to_much_is_refused(tmp_path):
    path, target = tmp_path / "bomb.keras", models.MobileNetV1((32, 32, 3), 4, padding="keras")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", " " * 2**27)
    for load in (models.load_model, lambda path: weights.load_keras_applications(target, path)):
        with pytest.raises(ValueError, match="that unpack to 134,217,728"):
            load(path)


def test_no_pickle_is_loaded(tmp_path):
    """A file whose loading would run code is refused, whoever reads it."""
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "evil.txt"), "w"))

    model = models.MobileNetV1((32, 32, 3), 4, conv_defs=DEFS, padding="explicit")
    for suffix in ("pt", "safetensors"):
        path = tmp_path / f"m.{suffix}"
        path.write_bytes(pickle.dumps({"weight": Evil()}))
        with pytest.raises((ValueError, ImportError), match="source: expected"):
            weights.load_torch(model, path)
    assert not (tmp_path / "evil.txt").exists()
