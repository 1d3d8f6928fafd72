"""Files that end with TFLite_Detection_PostProcess: their detections are the model's, and libraries read them."""

import subprocess
import sys
import zipfile

import box_oracles as oracle
import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from checks import assert_close, assert_refused, in_part, places
from flatbuffers import flexbuffers
from test_heads import SCOPE, SMALLEST, backbone, randomize

from tfsep import boxes, models, quantize, tflite
from tfsep._flatbuffer.reader import pack, read_tflite
from tfsep.boxes import PostProcessing
from tfsep.data import Preprocessing
from tfsep.tflite import _add_detections
from tfsep.tflite._convert import _metadata

ANCHORS = boxes.multibox_anchors([4, 2])
NAMES = ("shirt", "boot", "bag")
SETTINGS = {
    "per class": PostProcessing(3, max_detections=12, per_class=True, detections_per_class=6),
    "all": PostProcessing(3, score_threshold=0.01),
    "two classes a box": PostProcessing(3, max_detections=5, max_classes_per_detection=2, iou_threshold=0.3),
    "nothing": PostProcessing(3, score_threshold=1.0),
}


def images(count=3):
    return np.random.default_rng(2).uniform(-1, 1, (count, 32, 32, 3)).astype("float32")


def detector():
    keras.utils.set_random_seed(0)
    return randomize(models.ssdlite(backbone(8, 16, layers=SMALLEST), 3, ANCHORS, arg_scope=SCOPE))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A detector prepared for int8, and its file, with integers as inputs and outputs."""
    path = tmp_path_factory.mktemp("detector") / "int8.tflite"
    prepared = quantize.prepare(detector())
    quantize.observe(prepared, images())
    report = tflite.export(prepared, path, recipe="int8", data=images(), io="uint8")
    assert (report.verification.differing, report.verification.elements) == (0, 3 * ANCHORS.count * 7)
    return prepared, path


@pytest.fixture(scope="module")
def made_in_floats(tmp_path_factory):
    """A detector, and its file in floats."""
    model, path = detector(), tmp_path_factory.mktemp("detector") / "float32.tflite"
    tflite.export(model, path, data=images())
    return model, path


@pytest.fixture
def source(request):
    """A model and its file, by the name of their fixture."""
    return request.getfixturevalue(request.param)


FLOATS = pytest.param("made_in_floats", marks=pytest.mark.slow)


def run(path, image):
    """The operator's results of one image, real numbers or pixels as they are, by LiteRT alone."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    if entry["dtype"] != image.dtype:
        scale, zero = entry["quantization"]
        image = np.clip(np.round(image / scale) + zero, 0, 255).astype(entry["dtype"])
    interpreter.set_tensor(entry["index"], image)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def rank(row):
    """Of a row of box, class and score: equal scores of several classes have no order."""
    box, name, score = row
    return -round(float(score), 5), name, tuple(np.round(box, 4))


@pytest.mark.parametrize("source", ["made", FLOATS], indirect=True)
@pytest.mark.parametrize("kind", in_part(SETTINGS, 4))
def test_detections_of_the_file_are_those_of_the_model(source, kind, tmp_path):
    model, file = source
    settings = SETTINGS[kind]
    path = tmp_path / "detector.tflite"
    report = tflite.add_detections(file, path, ANCHORS, settings, data=images())
    outputs = {name: np.asarray(part) for name, part in model(images(), training=False).items()}
    total = 0
    for number, image in enumerate(images()):
        offsets, scores = outputs["offsets"][number], outputs["classes"][number]
        expected = oracle.detections(offsets, scores, np.float32(ANCHORS.centers()), settings, 0)
        edges, classes, numbers, count = run(path, image[None])
        assert int(count[0]) * settings.max_classes_per_detection == len(expected)
        found = list(zip(edges[0], classes[0], numbers[0], strict=True))[: len(expected)]
        for (box, name, score), right in zip(sorted(found, key=rank), sorted(expected, key=rank), strict=True):
            assert_close(box, right[0], 1e-5)
            assert (int(name), round(float(score), 5)) == (right[1], round(right[2], 5))
        total += len(expected)
    assert report.detections == total
    assert (total == 0) == (kind == "nothing")
    assert str(report).endswith(f"{total} detections on 3 images, all as computed from the outputs")


def test_the_operator_stands_last_with_its_options_and_anchors(made, tmp_path):
    path = tmp_path / "detector.tflite"
    settings = PostProcessing(3, max_detections=7, iou_threshold=0.25, scales=(9, 8, 7, 6))
    tflite.add_detections(made[1], path, ANCHORS, settings, labels=NAMES, preprocessing=Preprocessing())
    content, model = read_tflite(path)
    graph = model.subgraphs[0]
    assert flexbuffers.Loads(graph.operators[-1].customOptions.tobytes()) == pytest.approx(settings.options())
    stored = model.buffers[graph.tensors[graph.operators[-1].inputs[2]].buffer].data
    np.testing.assert_array_equal(np.frombuffer(stored, "<f4").reshape(-1, 4), np.float32(ANCHORS.centers()))
    rows = tflite.inspect(path).operators
    assert [row.name for row in rows[-3:]] == ["DEQUANTIZE", "DEQUANTIZE", "TFLite_Detection_PostProcess"]
    assert set(places(content)) == {0}
    signature = Interpreter(str(path)).get_signature_runner()
    shapes = {name: tuple(each["shape"]) for name, each in signature.get_output_details().items()}
    assert shapes == {"boxes": (1, 7, 4), "classes": (1, 7), "scores": (1, 7), "count": (1,)}
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode().splitlines() == list(NAMES)
    for target in ("edgetpu", "gpu"):
        findings = tflite.check_targets(path, target)[target].findings
        last = next(each for each in findings if each.operator == "TFLite_Detection_PostProcess")
        assert "may run on the CPU" in last.change


TASK = """
import sys
import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision
options = vision.ObjectDetectorOptions(BaseOptions(model_asset_path=sys.argv[1]))
detector = vision.ObjectDetector.create_from_options(options)
image = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.load(sys.argv[2]))
for found in detector.detect(image).detections:
    box, best = found.bounding_box, found.categories[0]
    print(best.category_name, best.score, box.origin_x, box.origin_y, box.width, box.height, sep="\\t")
detector.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("source", ["made", FLOATS], indirect=True)
def test_task_library_finds_the_objects(source, tmp_path):
    """MediaPipe's own detector, given nothing but the file and pixels: names, scores and boxes are the file's."""
    pytest.importorskip("mediapipe", reason="needs the extra metadata", exc_type=ImportError)
    path = tmp_path / "detector.tflite"
    how = Preprocessing()
    tflite.add_detections(source[1], path, ANCHORS, SETTINGS["all"], labels=NAMES, preprocessing=how)
    pixels = np.random.default_rng(5).integers(0, 256, (32, 32, 3), np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    command = [sys.executable, "-c", TASK, str(path), str(tmp_path / "pixels.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    # It hands pixels to inputs in uint8 as they are.
    in_floats = tflite.inspect(path).role("input")[0].dtype == "float32"
    given = (pixels[None] / 127.5 - 1).astype("float32") if in_floats else pixels[None]
    edges, classes, scores, count = run(path, given)
    count = int(count[0])
    assert len(rows) == count > 3
    expected = [(NAMES[int(k)], float(s)) for k, s in zip(classes[0, :count], scores[0, :count], strict=True)]
    assert [name for name, *_ in rows] == [name for name, _ in expected]
    assert_close([float(score) for _, score, *_ in rows], [score for _, score in expected])
    found = np.array([[int(number) for number in (h, w)] for *_, w, h in rows])
    sizes = 32 * np.minimum(edges[0, :count, 2:] - edges[0, :count, :2], 1)
    assert np.abs(found - sizes).max() <= 1  # whole pixels


def test_without_the_package_of_metadata_the_report_says_so(made, tmp_path, monkeypatch):
    monkeypatch.setattr(_metadata, "find_spec", lambda name: None)
    report = tflite.add_detections(made[1], tmp_path / "d.tflite", ANCHORS, SETTINGS["all"])
    assert not report.described
    assert any("pip install 'mediapipe" in note for note in report.notes)


def test_a_file_with_other_detections_is_refused(made, tmp_path, monkeypatch):
    right = _add_detections.append_detection_operator
    wrong = PostProcessing(3, scales=(10, 10, 5, 4.9))
    monkeypatch.setattr(_add_detections, "append_detection_operator", lambda *given: right(*given[:4], wrong))
    path = tmp_path / "d.tflite"
    assert_refused(lambda: tflite.add_detections(made[1], path, ANCHORS, PostProcessing(3)), "path")
    assert not list(tmp_path.iterdir())


def test_bad_input_is_refused_and_leaves_no_file(made, tmp_path):
    source = made[1]
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(source.read_bytes()[:5000])
    settings = SETTINGS["all"]
    out = tmp_path / "out" / "d.tflite"
    out.parent.mkdir()
    cases = [
        ("path", FileNotFoundError, (tmp_path / "none.tflite", out, ANCHORS, settings), {}),
        ("path", ValueError, (damaged, out, ANCHORS, settings), {}),
        ("path", TypeError, (None, out, ANCHORS, settings), {}),
        ("out", TypeError, (source, None, ANCHORS, settings), {}),
        ("anchors", TypeError, (source, out, ANCHORS.centers(), settings), {}),
        ("settings", TypeError, (source, out, ANCHORS, {"num_classes": 3}), {}),
        ("path", ValueError, (source, out, boxes.multibox_anchors([4]), settings), {}),
        ("path", ValueError, (source, out, ANCHORS, PostProcessing(5)), {}),
        ("data", ValueError, (source, out, ANCHORS, settings), {"data": np.zeros((1, 30, 32, 3))}),
        ("data", ValueError, (source, out, ANCHORS, settings), {"data": np.zeros((0, 32, 32, 3))}),
        *(
            ("labels", ValueError, (source, out, ANCHORS, settings), {"labels": words})
            for words in (("a", "b"), "abc", ("a", "", "c"), ("a", "b\nc", "d"))
        ),
        ("preprocessing", TypeError, (source, out, ANCHORS, settings), {"preprocessing": 1}),
    ]
    for argument, kind, arguments, options in cases:
        assert_refused(lambda: tflite.add_detections(*arguments, **options), argument, kind)  # noqa: B023
    _, model = read_tflite(source)
    model.subgraphs[0].outputs = model.subgraphs[0].outputs[:1]
    model.signatureDefs = None
    damaged.write_bytes(pack(model))
    assert_refused(lambda: tflite.add_detections(damaged, out, ANCHORS, settings), "path")
    assert not list(out.parent.iterdir())
