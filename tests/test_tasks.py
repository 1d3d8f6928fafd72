"""Training for segmentation and detection: losses by formulas, runs that resume to the bit, files, what is found."""

import functools
import json
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_refused, assert_sentence, assert_unchanged, state_of
from PIL import Image
from test_scenes import SOURCE
from test_train import stopping_at
from typer.testing import CliRunner

from tfsep import Conv, DepthSepConv, boxes, data, defs, models, plots, saved, tflite, train
from tfsep.boxes import Decoding, PostProcessing
from tfsep.cli import app
from tfsep.data import _open_data, read_class_names, read_decoding
from tfsep.demo import _scene_fragments
from tfsep.locate import Picture
from tfsep.losses import BoxLoss, ClassLoss
from tfsep.quantize._prepared_model import is_prepared
from tfsep.saved import _saved_folder, _saved_scenes
from tfsep.train._backbone_start import BackboneStart
from tfsep.train._batches import epoch_batches
from tfsep.train._run_directory import RunDirectory
from tfsep.train._scene_models import build_scene_model, scene_task
from tfsep.train._tasks import Detection, Segmentation

NETWORK = "scenes"
defs.NETWORKS[NETWORK] = defs.Network((Conv(3, 8, 8), DepthSepConv(3, 2, 16)), defs.MOBILENET_V1, "a network of scenes")
SCENES = data.fashion_scenes(1, 24, 4, 4, size=48, garments=(1, 2), scale=(0.7, 1.0), source=SOURCE)
TINY = {"network": NETWORK, "epochs": 2, "batch_size": 8, "warmup_epochs": 0, "patience": 2, "average": 0.5}
CONFIGS = {
    "segmentation": train.SceneConfig(**TINY, task="segmentation", head="lraspp", strides=(8, 16), filters=8),
    "detection": train.SceneConfig(**TINY, task="detection", strides=(8,)),
}
SCORES = {"segmentation": ("mean IoU", "validation_mean_iou"), "detection": ("mAP@0.5", "validation_map50")}
ONE = Decoding(boxes.Anchors((boxes.AnchorGrid(1, 2, ((0.5, 0.5),)),)), PostProcessing(3))
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A function that returns the run of a task, whose backbone begins with a classifier's layers."""
    return functools.cache(lambda task: train_scenes(CONFIGS[task], tmp_path_factory.mktemp("run") / task))


def train_scenes(config, folder, **options):
    keras.utils.set_random_seed(4)
    start = models.from_definitions(defs.NETWORKS[NETWORK], (28, 28, 1), 10)
    return train.train(config, SCENES, folder, start=start, **options)


@pytest.mark.parametrize("task", CONFIGS)
def test_runs_are_scored_by_their_task(task, runs):
    config, result = CONFIGS[task], runs(task)
    title, key = SCORES[config.task]
    records = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2]
    assert result.score == title
    assert result.validation_score == max(record[key] for record in records)
    assert (result.folder / "curves.png").is_file()
    assert read_class_names(result.folder / "model.keras") == SCENES.class_names
    decoding = read_decoding(result.folder / "model.keras")
    assert decoding == result.decoding
    if config.task == "segmentation":
        assert decoding is None
        scored = train.segmentation_score(result.model, SCENES.test, 11).mean_iou
    else:
        assert decoding.anchors.count == sum(grid.count for grid in decoding.anchors.grids) == 216
        scored = train.detection_score(result.model, SCENES.test, decoding.anchors, decoding.settings).at(0.5)
    assert result.test_score == scored
    images = next(iter(SCENES.test.batches(2)))[0]
    output = tf.nest.flatten(result.model(images))[0]
    assert 0 <= np.min(output) <= np.max(output) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("task", CONFIGS)
def test_resumed_runs_reach_identical_weights(task, runs, tmp_path, monkeypatch):
    config, result = CONFIGS[task], runs(task)
    monkeypatch.setattr(RunDirectory, "write_arrays", stopping_at(3))
    with pytest.raises(KeyboardInterrupt):
        train_scenes(config, tmp_path / "cut")
    monkeypatch.undo()
    resumed = train_scenes(config, tmp_path / "cut", resume=True)
    for ours, theirs in zip(resumed.model.get_weights(), result.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_backbones_begin_with_the_layers_of_a_network():
    keras.utils.set_random_seed(3)
    start = models.from_definitions(defs.NETWORKS[NETWORK], (28, 28, 1), 10)
    model = build_scene_model(CONFIGS["detection"], SCENES)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    BackboneStart(start).copy_to(model)
    same = [layer.name for layer in start.layers if layer.weights and layer.name in before]
    assert len(same) == 2  # the first convolution and its normalization: the map of stride 8 is behind them
    for layer in model.layers:
        expected = start.get_layer(layer.name).get_weights() if layer.name in same else before[layer.name]
        for ours, theirs in zip(layer.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    other = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)])
    assert_refused(lambda: BackboneStart(other).copy_to(model), "start")


def test_other_scenes_are_not_resumed(runs):
    config, result = CONFIGS["segmentation"], runs("segmentation")
    other = data.fashion_scenes(2, 24, 4, 4, size=48, garments=(1, 2), scale=(0.7, 1.0), source=SOURCE)
    with pytest.raises(ValueError, match=r"got other train, held_out, test$") as caught:
        train.train(config, other, result.folder, resume=True)
    assert_sentence(caught.value, "data")


@pytest.mark.parametrize("task", ["detection", pytest.param("segmentation", marks=pytest.mark.slow)])
def test_int8_computes_what_was_fine_tuned(task, runs, tmp_path):
    config, result = CONFIGS[task], runs(task)
    settings = train.QuantizeConfig(epochs=1, batch_size=8, observe=8, learning_rate=1e-3)
    tuned = train.finetune(result.model, settings, SCENES, tmp_path / "run", decoding=result.decoding)
    assert is_prepared(tuned.model)
    before = state_of(tuned.model)
    file = saved.export_scene_files(tuned.model, tmp_path, SCENES, tuned.decoding, ["int8"])["int8"]
    assert_unchanged(tuned.model, before)
    assert file.report.verification.differing == 0
    assert file.score == tuned.test_score
    assert file.score_title == tuned.score
    with pytest.raises(ValueError, match=r"model: expected one from .* as the data are, got") as caught:
        train.finetune(result.model, settings, data.fashion_scenes(size=96, source=SOURCE), tmp_path / "other")
    assert_sentence(caught.value, "model")
    shown = SCENES.test.scene(0).image
    Image.fromarray(np.tile(shown, (2, 3, 1))[..., 0]).save(tmp_path / "picture.png")
    names = ["model_int8.tflite"] if config.task == "segmentation" else ["detector_int8.tflite", "run/model.keras"]
    printed = [predicted(tmp_path / name, tmp_path) for name in names]
    assert printed.count(printed[0]) == len(names)  # objects of the file are those of the model
    found = printed[0]["images"][0]["found"]
    if config.task == "segmentation":
        assert_close(sum(each["score"] for each in found), 1, 1e-6)
        assert {each["label"] for each in found} <= {"background", *SCENES.class_names}
    else:
        assert file.objects.path == tmp_path / "detector_int8.tflite"


def predicted(model, folder):
    """What the command says of a picture, without the path of the model."""
    plot = folder / "drawn.png"
    given = ["predict", str(model), str(folder / "picture.png"), "--threshold", "0", "--json", "--draw", str(plot)]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert plot.read_bytes().startswith(b"\x89PNG")
    printed = json.loads(result.output[result.output.index("{") :])
    return {name: value for name, value in printed.items() if name != "model"}


def test_epochs_have_new_scenes():
    config = replace(CONFIGS["segmentation"], epochs=1)
    prepare = Segmentation().preparation(config, data.DEFAULT, None)
    for epoch in (0, 1):
        batches = list(epoch_batches(SCENES.train, config, prepare, epoch))
        seen = {image.tobytes() for images, _ in batches for image in np.asarray(images)}
        later = replace(SCENES.train, numbers=range(24 * epoch, 24 * (epoch + 1)))
        expected = {np.asarray(data.DEFAULT(later.scene(i).image)).tobytes() for i in range(24)}
        assert seen == expected
        masks = {mask.tobytes() for _, labels in batches for mask in np.asarray(labels)}
        assert masks == {later.scene(i).mask.tobytes() for i in range(24)}


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_losses_of_segmentation_by_their_formulas():
    logits, mask = RNG.normal(size=(2, 3, 4, 5)), RNG.integers(0, 5, (2, 3, 4))
    task, outputs = Segmentation(), tf.constant(logits, "float32")
    picked = np.take_along_axis(softmax(logits), mask[..., None], -1)[..., 0]
    assert_close(task.losses(tf.constant(mask), outputs), -np.log(picked).mean((1, 2)), 1e-5)
    assert_close(task.right(tf.constant(mask, "uint8"), outputs), (logits.argmax(-1) == mask).mean((1, 2)), 1e-6)
    taught = softmax(RNG.normal(size=logits.shape))
    expected = -(taught * np.log(softmax(logits))).sum(-1).mean((1, 2))
    assert_close(task.distillation(tf.constant(taught, "float32"), outputs), expected, 1e-5)


def test_losses_of_detection_by_their_formulas():
    logits, offsets = RNG.normal(size=(4, 2, 3)), RNG.normal(size=(4, 2, 4))
    classes = np.array([[1, 0], [3, -1], [2, 2], [0, 0]])
    wanted = np.concatenate([RNG.normal(size=(4, 2, 4)), (classes > 0)[..., None]], -1)
    outputs = {"classes": tf.constant(logits, "float32"), "offsets": tf.constant(offsets, "float32")}
    targets = {"classes": tf.constant(classes, "int32"), "offsets": tf.constant(wanted, "float32")}
    task = Detection(ONE, ClassLoss("hard_negatives"), box_weight=0.5)
    parts = ClassLoss("hard_negatives").call(classes, outputs["classes"]), BoxLoss().call(wanted, outputs["offsets"])
    assert_close(task.losses(targets, outputs), parts[0] + 0.5 * parts[1], 1e-5)
    hits = (classes > 0) & (logits.argmax(-1) + 1 == classes)
    assert_close(task.right(targets, outputs), hits.sum(1) / np.maximum((classes > 0).sum(1), 1), 1e-6)
    scores, boxes_taught = sigmoid(RNG.normal(size=(4, 2, 3)) * 3), RNG.normal(size=(4, 2, 4)) * 3
    entropy = -(scores * np.log(sigmoid(logits)) + (1 - scores) * np.log(sigmoid(-logits))).sum((1, 2))
    distance = np.abs(boxes_taught - offsets)
    smooth = np.where(distance < 1, distance**2 / 2, distance - 0.5).sum(-1)
    weights = scores.max(-1)
    expected = (entropy + 0.5 * (weights * smooth).sum(1)) / np.maximum(weights.sum(1), 1)
    taught = {"classes": tf.constant(scores, "float32"), "offsets": tf.constant(boxes_taught, "float32")}
    assert_close(task.distillation(taught, outputs), expected, 1e-5)


def test_pixels_without_boxes_are_named():
    mask = np.zeros((10, 10), int)
    mask[:3, :4], mask[9, 9] = 2, 1
    picture = Picture(np.zeros((10, 10, 1), "uint8"), np.zeros((0, 4)), np.zeros(0, int), mask)
    [axes] = plots.scenes([picture, picture._replace(mask=mask * 0)], ("boot", "bag")).axes[:1]
    assert [(text.get_text(), text.get_position()) for text in axes.texts] == [("boot", (9, 9)), ("bag", (1.5, 1))]


def test_decoding_is_a_record():
    record = json.loads(json.dumps(ONE.to_dict()))
    assert Decoding.from_dict(record) == ONE
    found = ONE(np.zeros((2, 4)), [[0.9, 0, 0], [0, 0, 0.2]])
    assert found.classes.tolist() == [0, 2]
    for wrong in ({}, [], {**record, "grids": 3}, {**record, "settings": {"classes": 3}}):
        assert_refused(lambda wrong=wrong: Decoding.from_dict(wrong), "detection")
    assert_refused(lambda: Decoding(ONE.anchors, None), "settings", TypeError)


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("task", {"task": "classification"}),
        ("task", {"task": "pose"}),
        ("head", {"head": "ssdlite"}),
        ("head", {"task": "detection", "head": "lraspp"}),
        ("strides", {"strides": (16, 8)}),
        ("strides", {"strides": 8}),
        ("strides", {"strides": (8, 16)}),
        ("strides", {"head": "lraspp", "strides": (8,)}),
        ("rates", {"rates": "2"}),
        ("filters", {"filters": 0}),
        ("scales", {"task": "detection", "scales": (0.5, 0.2)}),
        ("scales", {"task": "detection", "scales": 0.2}),
        ("mining", {"task": "detection", "mining": "all"}),
        ("box_weight", {"task": "detection", "box_weight": -1}),
        ("dropout", {"head": "lraspp", "dropout": 0.1}),
        ("mixup", {"mixup": 0.2}),
        ("label_smoothing", {"label_smoothing": 0.1}),
        ("flip", {"task": "detection", "flip": True}),
        ("shift", {"shift": 1}),
        ("erase", {"erase": 0.5}),
        ("freeze", {"freeze": 1}),
        ("stage_rate", {"task": "detection", "stage_rate": 0.5}),
    ],
)
def test_settings_of_scenes_that_are_refused(field, given):
    assert_refused(lambda: train.SceneConfig(**given), field)


def test_tasks_and_data_that_do_not_fit():
    images = data.ImageData("greys", SOURCE.class_names, SOURCE.train, SOURCE.test)
    for given in ((CONFIGS["detection"], images), (train.TrainConfig(network=NETWORK), SCENES)):
        assert_refused(lambda given=given: train.train(*given, "never"), "data", TypeError)
    strides = replace(CONFIGS["detection"], strides=(8, 32))
    assert_refused(lambda: build_scene_model(strides, SCENES), "strides")
    model = SimpleNamespace(name="a model")
    changed = train.QuantizeConfig(mixup=0.3)
    assert_refused(lambda: train.finetune(model, changed, SCENES, "never"), "mixup")
    assert_refused(
        lambda: train.finetune(model, train.QuantizeConfig(), images, "never", decoding=ONE), "data", TypeError
    )
    assert_refused(lambda: train.config_of({"task": "pose"}), "task")
    assert_refused(lambda: train.TrainConfig(task="detection"), "task")
    assert_refused(lambda: data.open_scenes("fashion_scenes", (96, 64, 1)), "size")
    assert_refused(lambda: data.open_scenes("photographs"), "data")
    assert_refused(lambda: SCENES.with_preprocessing(data.Preprocessing(scale=(1.0, 2.0, 3.0))), "preprocessing")
    assert_refused(lambda: saved.load_scene_model("fashion_mnist"), "name")
    anchors = scene_task(CONFIGS["detection"], SCENES).decoding.anchors
    assert [(grid.rows, grid.columns) for grid in anchors.grids] == [(6, 6)]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["train", "--task", "detection", "--set", "mixup=0.2"], "mixup: expected 0.0 for detection"),
        (["train", "--task", "detection", "--data", "fashion_mnist"], "data: expected 'fashion_scenes'"),
        (["train", "--data", "fashion_scenes"], "task: expected segmentation or detection for fashion_scenes"),
        (["settings", "--quantize", "--task", "detection"], "task: expected none with --quantize"),
    ],
)
def test_commands_that_are_refused(given, says, monkeypatch):
    monkeypatch.setattr(_open_data, "fashion_scenes", lambda: SCENES)
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 2
    assert says in result.output
    assert "Traceback" not in result.output


def test_settings_of_a_task_are_read_again(tmp_path):
    printed = CliRunner().invoke(app, ["settings", "--task", "detection"]).output
    (tmp_path / "config.toml").write_text(printed)
    assert train.config_of(train.read_config(tmp_path / "config.toml")) == train.SceneConfig(task="detection")


@pytest.mark.slow
@pytest.mark.parametrize("task", CONFIGS)
def test_published_folder(task, runs, tmp_path, monkeypatch):
    config, result = CONFIGS[task], runs(task)
    folder = saved.publish(result, config, SCENES, tmp_path / "shown")
    card = (folder / "README.md").read_text()
    assert f"**Test {result.score}: {result.test_score:.4f}** on 4 test scenes" in card
    assert "`model_float16.tflite`" in card
    assert train.config_of(train.read_config(folder / "config.toml")) == config
    for recipe in ("float32", "float16"):
        assert tflite.inspect(folder / f"model_{recipe}.tflite")
    with np.load(folder / "samples.npz") as samples:
        np.testing.assert_array_equal(samples["mask"][3], SCENES.test.scene(3).mask)
    exported = CliRunner().invoke(app, ["export", str(folder / "model.keras"), "--out", str(tmp_path / "x.tflite")])
    assert exported.exit_code == 0, exported.output
    assert (tmp_path / "detector_x.tflite").is_file() == (task == "detection")
    monkeypatch.setattr(_saved_scenes, "saved_models", lambda: tmp_path)
    monkeypatch.setattr(_saved_folder, "saved_models", lambda: tmp_path)
    assert saved.scene_models() == ("shown",)
    shipped = saved.load_scene_model("shown")
    assert (shipped.decoding, shipped.class_names, len(shipped.scenes)) == (result.decoding, SCENES.class_names, 4)
    assert _scene_fragments() == []  # no int8 file
    (folder / "model_float32.tflite").rename(folder / "model_int8.tflite")
    heading, words, figure = _scene_fragments()
    assert result.score in words
    assert figure.count("<svg") == 1
    assert "find" in heading
