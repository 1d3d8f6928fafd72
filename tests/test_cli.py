"""The command: what it prints, its exit codes, and that bad use gives one sentence and leaves nothing."""

import csv
import html
import inspect
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from checks import in_part
from conftest import ROOT
from stripes import NETWORK
from typer.testing import CliRunner

from tfsep import MOBILENETV1_CONV_DEFS, Conv, layers, models, quantize, saved, tflite, train
from tfsep._keras.backend import keras
from tfsep.cli import app
from tfsep.cli._app import image_shape_of
from tfsep.cli._calibration import (
    BiasCorrection,
    RangeMethod,
    Rounding,
    Runtime,
    WeightScales,
    calibrate_arguments,
    part_arguments,
    with_latency,
)
from tfsep.cost import cost
from tfsep.data import read_preprocessing
from tfsep.defs import NETWORKS
from tfsep.models import load_model
from tfsep.quantize._calibration_settings import ROUNDINGS
from tfsep.quantize._range_choice import BEST, RANGE_METHODS
from tfsep.quantize._weight_scales import WEIGHT_SCALES
from tfsep.train._trainer import Trainer

X = np.random.default_rng(0).normal(size=(40, 12, 12, 1)).astype("float32")


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def assert_lines(text, *patterns):
    """Assert that a text's lines, from the first to the last, fit the patterns."""
    lines = text.splitlines()
    assert len(lines) == len(patterns), text
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), f"{line!r} for {pattern!r}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, data for it, and a folder of images by class."""
    place = tmp_path_factory.mktemp("cli")
    model = keras.Sequential(
        [
            keras.Input((12, 12, 1), name="image"),
            layers.DepthwiseSeparableConv(4),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    model.save(place / "m.keras")
    models.MobileNetV1((None, None, 3), 2, 0.25, conv_defs=[Conv(3, 2, 8)]).save(place / "open.keras")
    two = keras.Input((12, 12, 1), name="image"), keras.Input((12, 12, 1), name="aux")
    keras.Model(two, keras.layers.Flatten()(two[0] - two[1])).save(place / "two.keras")
    keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]).save(place / "vector.keras")
    np.save(place / "x.npy", X)
    np.savez(place / "xy.npz", x=X, y=np.argmax(model(X), axis=-1))
    for name, grey in (("dark", 20), ("light", 200)):
        (place / "images" / name).mkdir(parents=True)
        for i in range(24):
            noise = np.random.default_rng(i).integers(0, 50, (12, 12, 1)) + grey
            tf.io.write_file(str(place / "images" / name / f"{i}.png"), tf.io.encode_png(noise.astype("uint8")))
    return place


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["cost", "mobilenet_v1", "--alpha", "0.25", "--size", "128"], ["train", "--help"]],
)
def test_light_commands_do_not_import_tensorflow(arguments):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tfsep", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "tfsep.cli" in imported
    assert not {name for name in imported if name.split(".")[0] in ("tensorflow", "keras", "ai_edge_litert", "numpy")}
    assert done.stdout


@pytest.mark.parametrize("form", ["table", "markdown", "csv"])
def test_cost_of_definitions(form):
    done = run(
        "cost", "mobilenet_v1", "--alpha", 0.25, "--size", "128x96", "--classes", 10, "--flops", "--format", form
    )
    assert done.exit_code == 0
    report = cost(MOBILENETV1_CONV_DEFS, (128, 96, 3), 0.25, num_classes=10)
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert sum(int(row["MACs"]) for row in rows) == report.macs
        assert sum(int(row["FLOPs"]) for row in rows) == report.flops
    else:
        assert f"{report.macs:,}" in done.stdout
        assert f"{report.flops:,}" in done.stdout


def test_cost_of_files(folder):
    assert "depthwise_conv2d" in run("cost", folder / "m.keras").stdout
    run("export", folder / "m.keras", "--out", folder / "cost.tflite")
    assert "depthwise_conv2d" in run("cost", folder / "cost.tflite").stdout


def test_cost_compares_the_family(tmp_path):
    done = run("cost", "--compare", "--format", "csv", "--plot", tmp_path / "family.svg")
    table, _, said = done.stdout.partition("\n\n")
    rows = {row["network"]: row for row in csv.DictReader(io.StringIO(table))}
    assert set(rows) == {name for name, network in NETWORKS.items() if network.top1}
    assert rows["mobilenet_v2"]["M MACs"] == "300.8"
    assert rows["mobilenet_v2"]["published top-1, %"] == "71.8"
    assert said == f"plot: {tmp_path / 'family.svg'}\n"
    assert (tmp_path / "family.svg").read_text().count("efficientnet_lite") >= 5
    narrow = run("cost", "--compare", "--alpha", 0.5, "--size", 96, "--classes", 1001).stdout
    assert re.search(r"mobilenet_v2 +96×96×3 +0.5 +18\.\d +1.99", narrow)


def test_export_of_a_network_by_name(tmp_path):
    done = run("export", "fashion_mnist", "--alpha", 0.05, "--classes", 3, "--size", 16, "--out", tmp_path / "n.tflite")
    assert done.stdout.startswith("fashion_mnist: new weights, which are not trained\n")
    found = tflite.inspect(tmp_path / "n.tflite")
    assert (found.role("input")[0].shape[1:3], found.role("output")[0].shape) == ((16, 16), (1, 3))


def test_cost_uses_the_channels_of_the_model(folder):
    done = run("cost", folder / "m.keras", "--size", 12)
    assert done.exit_code == 0, done.output
    assert done.stdout == run("cost", folder / "m.keras").stdout


def test_size_option_sets_open_input_sizes(folder):
    done = run("export", folder / "open.keras")
    assert done.exit_code == 2
    common = ["--recipe", "int8", "--calibration", folder / "images", "--out", folder / "open.tflite"]
    done = run("export", folder / "open.keras", "--size", "12x10", *common)
    assert done.exit_code == 0, done.output
    assert "calibration data range from" in done.stdout
    assert "1×12×10×3" in done.stdout
    done = run("verify", folder / "open.keras", folder / "open.tflite", "--data", folder / "images")
    assert done.exit_code == 0, done.output
    assert "weights" in done.stdout
    assert (
        "weights"
        not in run(
            "verify", folder / "open.keras", folder / "open.tflite", "--data", folder / "images", "--no-weights"
        ).stdout
    )


def test_export_verify_bench_inspect(folder):
    done = run(
        "export", folder / "m.keras", "--recipe", "int8", "--calibration", folder / "x.npy", "--data", folder / "xy.npz"
    )
    assert done.exit_code == 0, done.output
    file = folder / "m_int8.tflite"
    assert file.is_file()
    assert file.with_suffix(".json").is_file()
    assert "accuracy of the file" in done.stdout
    stored = json.loads(file.with_suffix(".json").read_text())
    assert stored["preprocessing"] is None, "of arrays nobody says how they were prepared"

    done = run("verify", folder / "m.keras", file, "--data", folder / "x.npy")
    assert done.exit_code == 0
    assert "relative RMS error" in done.stdout
    done = run("verify", folder / "m.keras", file, "--data", folder / "x.npy", "--tolerance", 1e-9)
    assert done.exit_code == 1
    assert done.stderr.startswith("tfsep: m_int8.tflite: expected a relative RMS error of at most 1e-09")

    assert "median ms" in run("bench", file, "--runs", 5).stdout
    assert "DEPTHWISE_CONV_2D" in run("inspect", file).stdout


@pytest.mark.parametrize(("options", "samples"), [([], 500), (["--samples", 20], 20), (["--samples", 560], 560)])
@pytest.mark.parametrize("name", ["export", "convert"])
def test_samples_to_calibrate_and_to_verify_on(folder, tmp_path, name, options, samples):
    np.save(tmp_path / "many.npy", np.random.default_rng(0).normal(size=(600, 12, 12, 1)).astype("float32"))
    out = tmp_path / "m.tflite" if name == "export" else tmp_path
    data = ["--calibration", tmp_path / "many.npy", "--data", tmp_path / "many.npy"]
    # `convert` calibrates by itself, which takes longer on many samples.
    how = ["--calibrate", "converter"] if name == "convert" and samples > 20 else []
    done = run(name, folder / "m.keras", "--recipe", "int8", *data, *options, *how, "--out", out, "--tolerance", 0.9)
    assert done.exit_code == 0, done.output
    stored = json.loads((tmp_path / ("m.json" if name == "export" else "model.json")).read_text())
    assert (stored["calibration"]["samples"], stored["verification"]["samples"]) == (samples, samples)


def test_export_on_a_folder_of_images(folder):
    images = ["--calibration", folder / "images", "--data", folder / "images"]
    done = run("export", folder / "m.keras", "--recipe", "int8", *images, "--out", folder / "images.tflite")
    assert done.exit_code == 0, done.output


def test_failed_verification_leaves_no_file(folder, monkeypatch):
    strict = replace(tflite.RECIPES["float16"], tolerance=1e-12)
    monkeypatch.setitem(tflite.RECIPES, "float16", strict)
    options = ["export", folder / "m.keras", "--recipe", "float16", "--out", folder / "no.tflite"]
    done = run(*options, "--strict")
    assert done.exit_code == 1
    assert "as strict asks for, got a lossy file" in done.output
    assert not (folder / "no.tflite").exists()
    done = run(*options)
    assert done.exit_code == 0
    assert "LOSSY" in done.output


EPOCH = r"loss \d+\.\d{4}, accuracy \d\.\d{4}, validation \d\.\d{4}, \d+ s \(\d+% waiting for images\), \d+ images/s"
HOW = (
    r"CPU: xla off \(the step is not on a GPU\), augmentation host \(the step is not compiled for a GPU\), "
    r"precision float32 \(as set\), batch_size 8 \(as set\)"
)
KEPT = "epoch [12] of 2 is kept, the best by 4 held-out images"


def test_train_and_quantize(folder, tmp_path):
    """A run that is resumed and published, and its int8 version."""
    (tmp_path / "c.toml").write_text(f"epochs = 3\nbatch_size = 8\nvalidation = 4\nnetwork = '{NETWORK}'\n")
    data = ["--data", folder / "images", "--size", 12, "--config", tmp_path / "c.toml"]
    common = ["train", *data, "--out", tmp_path / "run", "--epochs", 2, "--set", "mixup=0.1"]
    done = run(*common)
    assert done.exit_code == 0, done.output
    epochs = (rf"epoch {number}/2: {EPOCH}" for number in (1, 2))
    assert_lines(done.stdout, HOW, *epochs, KEPT, r"held-out accuracy .*model\.keras")
    assert "\x1b" not in done.output, "no bar where nobody looks"
    for other, what in ((["--size", 14], "image_shape"), (["--set", "warmup_epochs=0"], "warmup_epochs")):
        done = run(*common, "--resume", *other)
        assert done.exit_code == 2
        assert done.stderr.endswith(f"{what}\n")
    assert run(*common).exit_code == 2
    done = run(*common, "--resume", "--publish", tmp_path / "shipped")
    assert done.exit_code == 0, done.output
    told = {"model.keras", "model.json", "README.md", "samples.npz", "log.jsonl", "curves.png", "config.toml"}
    files = {f"model_{recipe}.{kind}" for recipe in tflite.RECIPES for kind in ("tflite", "json")}
    assert {p.name for p in (tmp_path / "shipped").iterdir()} == told | files, "no NOTICE: that is another data set's"
    stored = train.TrainConfig.of(train.read_config(tmp_path / "shipped" / "config.toml"))
    assert (stored.epochs, stored.mixup, stored.batch_size) == (2, 0.1, 8)

    settings = ["--set", "batch_size=8", "--set", "validation=4", "--epochs", 1]
    model, out = tmp_path / "run" / "model.keras", tmp_path / "int8"
    done = run("quantize", model, *data[:4], "--out", out, *settings, "--publish", tmp_path / "shipped_int8")
    assert done.exit_code == 0, done.output
    assert "epoch 1/1" in done.stdout
    assert (out / "model_int8.tflite").is_file()
    covered = json.loads((out / "coverage.json").read_text())
    assert covered["share"] == 1.0
    assert all(row["name"] in done.stdout for row in covered["rows"])
    assert (out / "coverage.md").read_text().count("int8") > len(covered["rows"])
    published = {p.name for p in (tmp_path / "shipped_int8").iterdir()}
    assert published == told | {"model_int8.tflite", "model_int8.json"}

    calibrated = ["quantize", model, *data[:4], "--out", tmp_path / "calibrated", "--calibrate-only"]
    done = run(*calibrated, "--set", "observe=8", "--sensitivity")
    assert done.exit_code == 0, done.output
    assert "epoch" not in done.stdout
    written = {p.name for p in (tmp_path / "calibrated").iterdir()}
    reports = {f"{name}.{kind}" for name in ("calibration", "coverage", "sensitivity") for kind in ("json", "md")}
    assert written == {"model.keras", "model.json", "model_int8.tflite", "model_int8.json", "sensitivity.svg", *reports}
    assert read_preprocessing(tmp_path / "calibrated" / "model.keras") == read_preprocessing(model) is not None
    rows = json.loads((tmp_path / "calibrated" / "calibration.json").read_text())["rows"]
    assert [row["part"].split(":")[0] for row in rows] == ["ranges", "equalization", "ranges", "bias correction"]
    assert all(row["part"] in done.stdout for row in rows)
    shown = ["--calibration", folder / "images", "--samples", 8]
    assert run("export", model, "--calibrate", "best", *shown, "--out", tmp_path / "one.tflite").exit_code == 0
    assert (tmp_path / "one.tflite").read_bytes() == (tmp_path / "calibrated" / "model_int8.tflite").read_bytes()
    done = run(*calibrated, "--epochs", 1, "--resume")
    assert done.exit_code == 2
    assert "--calibrate-only: expected no options of training, got --epochs, --resume" in done.stderr


def test_images_get_the_size_of_the_model():
    model = keras.Sequential([keras.Input((20, 16, 1)), keras.layers.Conv2D(2, 3)])
    assert (image_shape_of(model, None), image_shape_of(model, "24x8")) == ((20, 16, 1), (24, 8, 1))
    rows = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    assert image_shape_of(rows, None) is None


def test_times_of_a_budget_are_a_files_or_measured(tmp_path):
    (tmp_path / "times.json").write_text('{"head": 0.5}')
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="head"), keras.layers.Softmax(name="last")])
    given = calibrate_arguments("mse", "last", 0.9, str(tmp_path / "times.json"), Runtime.REFERENCE)
    assert with_latency(given, model)["latency"] == {"head": 0.5}
    measured = with_latency({**given, "latency": "measured"}, model, (4,))["latency"]
    assert measured.keywords == {"input_shape": (4,), "runtime": "reference", "float_layers": ("last",)}
    assert list(measured(["head"])) == ["head"]
    assert given.keys() <= {*inspect.signature(quantize.calibrate).parameters, "runtime"}
    assert with_latency(None, model) is None
    (tmp_path / "bad.json").write_text("{")
    for name, error in (("none.json", FileNotFoundError), ("bad.json", ValueError)):
        with pytest.raises(error, match="latency: expected "):
            with_latency({"latency": str(tmp_path / name)}, model)


def test_options_of_parts_are_arguments_of_calibrate():
    """Each name and value is one that `quantize.calibrate` takes, and switches what it says."""
    for correct, expected in ((BiasCorrection.NONE, False), (BiasCorrection.ANALYTIC, "analytic"), (None, None)):
        found = part_arguments(None, correct, None, None)
        assert found == ({} if expected is None else {"correct_bias": expected})
    every = part_arguments(False, BiasCorrection.EMPIRICAL, WeightScales.MOMENTS, Rounding.ADAPTIVE)
    assert every == {
        "equalize": False,
        "correct_bias": "empirical",
        "weight_scales": "moments",
        "rounding": "adaptive",
    }
    assert every.keys() <= inspect.signature(quantize.calibrate).parameters.keys()
    for kind, known in ((RangeMethod, (BEST, *RANGE_METHODS)), (WeightScales, WEIGHT_SCALES), (Rounding, ROUNDINGS)):
        assert tuple(each.value for each in kind) == known


@pytest.mark.parametrize(("options", "config"), [([], train.TrainConfig()), (["--quantize"], train.QuantizeConfig())])
def test_printed_settings_are_a_valid_config_file(options, config, tmp_path):
    (tmp_path / "c.toml").write_text(run("settings", *options).stdout)
    assert type(config).of(train.read_config(tmp_path / "c.toml")) == config


def test_stopped_run_says_how_to_resume(folder, tmp_path, monkeypatch):
    def stop(self, batches, after_step=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "epoch", stop)
    common = ["train", "--data", folder / "images", "--size", 12, "--out", tmp_path / "run", "--epochs", 1]
    done = run(*common, "--set", "batch_size=8", "--validation", 4)
    assert done.exit_code == 130
    assert done.output.splitlines()[1:] == ["stopped after 0 of 1 epochs; resume to go on from there"]


def test_examples():
    done = run("examples")
    assert done.exit_code == 0
    for text in (
        "[[72, 90], [72, 90]]",
        "[[9, 9], [9, 9]]",
        "[[63, 81], [63, 81]]",
        "6,912",
        "795",
        "1,184",
        "704",
        "16 parameters",
    ):
        assert text in done.stdout
    assert "[3, 7, 11, 15, 19, 23, 27, 31]" in done.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo, calibrated on fewer images: to measure 500 for each of two recipes takes longer than all else."""
    out, load = tmp_path_factory.mktemp("demo") / "out", saved.load

    def with_fewer(name):
        shipped = load(name)
        return replace(shipped, calibration=shipped.calibration[:60])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(saved, "load", with_fewer)
        return run("demo", "--out", out, "--images", 100), out


def test_demo(demo):
    done, out = demo
    assert done.exit_code == 0, done.output
    assert_lines(
        done.stdout,
        "worked example",
        *[r"  \S.*: \[\[.*\]\]"] * 12,
        r"fashion_mnist: [\d,]+ parameters, 100 test images",
        *(rf"{name}: \d+ kB, accuracy .* nodes delegated" for name in tflite.RECIPES),
        *(rf"{name}: \d+\.\d\d ms an image, 1 thread" for name in tflite.RECIPES),
        *(rf"{name}: \d+ kB, .* on \d+ test scenes" for name in saved.scene_models()),
        r"report: .*report\.html",
    )
    page = (out / "report.html").read_text()
    for recipe in tflite.RECIPES:
        assert (out / f"model_{recipe}.tflite").is_file()
        assert recipe in page
    assert page.count("<img") == 24
    assert page.count("<svg") == 1 + len(saved.scene_models())
    assert "[[72, 90], [72, 90]]" in page
    assert "% of 100 Fashion-MNIST test images" in page


def test_demo_report_has_the_worst_channels(demo):
    """Name, error, ranges in the model and in the file, and step, as the JSON beside the file has them."""
    page, stored = (demo[1] / "report.html").read_text(), json.loads((demo[1] / "model_int8.json").read_text())
    rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in page.split("<tr>")]
    first = 1 + rows.index(["channel", "error", "model from", "to", "file from", "to", "step"])
    figures = ("error", "model_low", "model_high", "file_low", "file_high", "step")
    channels = stored["verification"]["channels"]
    assert len(channels) >= 3
    for row, channel in zip(rows[first:], channels, strict=False):
        assert html.unescape(row[0]) == channel["output"] + channel["place"]
        np.testing.assert_allclose([float(cell) for cell in row[1:]], [channel[f] for f in figures], rtol=6e-3)
    assert len({row[1] for row in rows[first : first + len(channels)]}) > 1, "not one row again and again"


def test_demo_report_is_self_contained(demo):
    """Nothing in it is fetched: every source is data, and every link is inside the page."""
    page = (demo[1] / "report.html").read_text()
    for attribute in ("src=", "href="):
        for part in page.split(attribute)[1:]:
            assert part.startswith(('"data:', '"#')), part[:60]
    assert "<script" not in page
    assert "@import" not in page


def test_shipped_model_has_the_accuracy_on_its_card(demo):
    shipped = saved.load()
    assert len(shipped.images) == 1000
    assert (shipped.folder / "model_int8.tflite").stat().st_size < 500_000
    card = (shipped.folder / "README.md").read_text()
    assert "Copyright 2017 Zalando SE" in (shipped.folder / "NOTICE").read_text()
    stated = float(card.split("Test accuracy: ")[1].split("*")[0])
    assert stated > 0.93
    # The card speaks of ten thousand images, the samples are the first thousand of them.
    named = np.argmax(shipped.model.predict(shipped.test_split().batches(), verbose=0), axis=-1)
    assert abs(np.mean(named == shipped.labels) - stated) < 0.02


@pytest.mark.parametrize("recipe", in_part(["int8", "float16", "dynamic_int8", "int16x8", "float32"], 5))
def test_shipped_files_verify_against_the_shipped_model(recipe):
    shipped = saved.load()
    path, data = shipped.folder / f"model_{recipe}.tflite", shipped.test_split().take(0, 100).batches()
    assert tflite.verify(shipped.model, path, data).passed


def wrong_uses(folder):
    model, file, data = folder / "m.keras", folder / "m.tflite", folder / "x.npy"
    (folder / "cut.tflite").write_bytes(b"\x1c\0\0\0TFL3\0\0")
    (folder / "cut.keras").write_bytes(b"PK rubbish")
    vectors = tflite.export(load_model(folder / "vector.keras"), folder / "vectors.tflite").path
    pair = tflite.export(load_model(folder / "two.keras"), folder / "pair.tflite").path
    np.save(folder / "nan.npy", np.full_like(X, np.nan))
    np.save(folder / "small.npy", X[:, :5])
    np.save(folder / "zero.npy", np.float32(3))
    shutil.copytree(folder / "images", folder / "bad", dirs_exist_ok=True)
    for image in (folder / "bad" / "dark").iterdir():
        image.write_text("junk")
    return {
        "network": ["cost", "vgg16"],
        "alpha": ["cost", "mobilenet_v1", "--alpha", "0"],
        "size": ["cost", "mobilenet_v1", "--size", "0"],
        "size as text": ["cost", "mobilenet_v1", "--size", "big"],
        "output stride": ["cost", "mobilenet_v1", "--output-stride", "12"],
        "no network": ["cost"],
        "network beside all": ["cost", "mobilenet_v2", "--compare"],
        "plot of one": ["cost", "mobilenet_v2", "--plot", folder / "x.png"],
        "plot of another type": ["cost", "--compare", "--plot", folder / "x.pdf"],
        "plot without accuracies": ["cost", "--compare", "--size", "96", "--plot", folder / "x.png"],
        "width of a file": ["export", model, "--alpha", "0.5"],
        "classes of a network": ["export", "mobilenet_v2", "--classes", "-1"],
        "missing model": ["cost", folder / "none.keras"],
        "missing file": ["cost", folder / "none.tflite"],
        "cut file": ["cost", folder / "cut.tflite"],
        "cut model": ["export", folder / "cut.keras"],
        "alpha past all": ["cost", "mobilenet_v1", "--alpha", "1e308"],
        "alpha of a model": ["cost", model, "--alpha", "0.5"],
        "classes of a model": ["cost", model, "--classes", "3"],
        "size of another model": ["cost", model, "--size", "32"],
        "channels of a model": ["cost", model, "--channels", "3"],
        "size of two inputs": ["cost", folder / "two.keras", "--size", "12"],
        "alpha of a file": ["cost", folder / "m.tflite", "--alpha", "0.5"],
        "size of a file": ["cost", folder / "m.tflite", "--size", "12"],
        "classes of a file": ["cost", folder / "m.tflite", "--classes", "3"],
        "images for two inputs": ["export", folder / "two.keras", "--calibration", folder / "images"],
        "images for vectors": ["export", folder / "vector.keras", "--calibration", folder / "images"],
        "verify images for vectors": ["verify", folder / "vector.keras", vectors, "--data", folder / "images"],
        "verify images for two": ["verify", folder / "two.keras", pair, "--data", folder / "images"],
        "open sizes": ["export", folder / "open.keras"],
        "other sizes": ["export", model, "--size", "32", "--out", folder / "w.tflite"],
        "no calibration": ["export", model, "--recipe", "int8", "--out", folder / "w.tflite"],
        "NaN": ["export", model, "--recipe", "int8", "--calibration", folder / "nan.npy", "--out", folder / "w.tflite"],
        "shape": [
            "export",
            model,
            "--recipe",
            "int8",
            "--calibration",
            folder / "small.npy",
            "--out",
            folder / "w.tflite",
        ],
        "missing data": ["export", model, "--data", folder / "none.npy", "--out", folder / "w.tflite"],
        "folder": ["export", model, "--out", data / "new" / "w.tflite"],
        "verify": ["verify", model, folder / "none.tflite", "--data", data],
        "verify cut": ["verify", model, folder / "cut.tflite", "--data", data],
        "bench": ["bench", folder / "none.tflite"],
        "inspect": ["inspect", folder / "cut.tflite"],
        "train": ["train", "--data", folder / "none", "--out", folder / "w"],
        "train seed": ["train", "--data", folder / "images", "--seed", "-1", "--out", folder / "w"],
        "train warm-up": [
            *("train", "--data", folder / "images", "--epochs", "1", "--set", "warmup_epochs=2", "--out", folder / "w"),
        ],
        "train by a config that is none": ["train", "--config", folder / "x.npy", "--out", folder / "w"],
        "train by a config of another": ["train", "--set", "distill=0.5", "--out", folder / "w"],
        "a setting": ["train", "--set", "mixup", "--out", folder / "w"],
        "quantize": ["quantize", folder / "none.keras", "--out", folder / "w"],
        "quantize a model for other images": [
            *("quantize", model, "--data", folder / "images", "--size", "14", "--out", folder / "w"),
        ],
        "train on a bad image": [
            *("train", "--data", folder / "bad", "--size", "12", "--batch-size", "8", "--validation", "4"),
            *("--out", folder / "w"),
        ],
        "bad image": [
            *("export", model, "--recipe", "int8", "--calibration", folder / "bad", "--out", folder / "w.tflite"),
        ],
        "a number as data": ["export", model, "--data", folder / "zero.npy", "--out", folder / "w.tflite"],
        "train epochs": ["train", "--data", folder / "images", "--epochs", "0", "--out", folder / "w"],
        "train into a file": ["train", "--data", folder / "images", "--size", "12", "--out", data / "run"],
        "demo into a file": ["demo", "--out", data],
        "resume": ["train", "--data", folder / "images", "--resume", "--out", folder / "w"],
        "file of": ["verify", model, file, "--data", data, "--tolerance", "0"],
    }


def test_wrong_use_prints_one_sentence_and_exits_with_2(folder):
    for case, arguments in wrong_uses(folder).items():
        before = set(folder.rglob("*"))
        done = run(*arguments)
        assert done.exit_code == 2, f"{case}: {done.output}"
        assert done.stderr.startswith("tfsep: "), f"{case}: {done.stderr}"
        assert done.stderr.count("\n") == 1, f"{case}: {done.stderr}"
        assert "expected" in done.stderr, f"{case}: {done.stderr}"
        assert ", got" in done.stderr, f"{case}: {done.stderr}"
        assert set(folder.rglob("*")) == before, f"{case} left something behind"


@pytest.mark.parametrize(
    "arguments",
    [["exprot"], ["cost"], ["cost", "mobilenet_v1", "--alpha", "wide"], ["export", "m.keras", "--recipe", "int4"]],
)
def test_usage_errors(arguments):
    done = run(*arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.output


@pytest.mark.parametrize("name", ["export", "convert", "inspect"])
def test_help_names_recipes_and_targets(name):
    text = run(name, "--help").stdout
    assert all(recipe in text for recipe in tflite.RECIPES) == (name != "inspect")
    assert all(target in text for target in tflite.TARGETS) == (name != "export")


def test_help_without_tensorflow():
    done = subprocess.run(
        [sys.executable, "-m", "tfsep", "export", "--help"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "dynamic_int8" in done.stdout
    assert not done.stderr


def test_another_backend_is_refused_in_one_sentence():
    done = subprocess.run(
        [sys.executable, "-m", "tfsep", "examples"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "tfsep: KERAS_BACKEND: expected 'tensorflow', got 'jax'\n"


@pytest.mark.parametrize("variable", ["HOME", "KERAS_HOME"])
def test_another_backend_in_keras_settings_is_refused_in_one_sentence(tmp_path, variable):
    place = tmp_path if variable == "KERAS_HOME" else tmp_path / ".keras"
    place.mkdir(exist_ok=True)
    (place / "keras.json").write_text('{"backend": "torch"}')
    environment = {k: v for k, v in os.environ.items() if k not in ("KERAS_BACKEND", "KERAS_HOME")}
    done = subprocess.run(
        [sys.executable, "-m", "tfsep", "examples"],
        cwd=ROOT,
        env={**environment, variable: str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "tfsep: KERAS_BACKEND: expected 'tensorflow', got 'torch'\n"


@pytest.mark.slow
def test_export_prints_no_native_messages(folder):
    """Native code's chatter stays out of both streams."""
    done = subprocess.run(
        [sys.executable, "-m", "tfsep", "export", str(folder / "m.keras"), "--out", str(folder / "quiet.tflite")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert "size" in done.stdout
