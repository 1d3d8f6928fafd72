"""The demo, end to end on a shipped model: worked example, cost, verified export with every recipe, a report."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfsep import examples, plots, saved, tflite
from tfsep._keras.backend import keras, tf
from tfsep._utils import html
from tfsep._utils.arguments import positive_int
from tfsep._utils.atomic_files import make_folder
from tfsep._utils.table import Table
from tfsep._version import __version__
from tfsep.cost import CostReport, cost
from tfsep.data import preprocess
from tfsep.locate import Picture, picture_of
from tfsep.metrics import DetectionMetric, SegmentationMetric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_logger = logging.getLogger(__name__)

REPORT = "report.html"
SHOWN, SHOWN_SCENES = 24, 8
_LEAST_SCORE = 0.5
"""Of an object that is drawn."""

_INK, _SOFT, _LINE, _ACCENT = "#1c2330", "#5c6675", "#d9dee6", "#2f6fde"


@dataclass(frozen=True)
class RecipeResult:
    """Results of one recipe.

    Attributes:
        export: report of the verified export.
        benchmark: time of an image.
        classes: predictions of the file for the first images.
    """

    export: tflite.ExportReport
    benchmark: tflite.BenchmarkReport
    classes: np.ndarray


@dataclass(frozen=True)
class DemoResult:
    """Results of the demo.

    Attributes:
        report: path of the HTML page.
        results: results by recipe.
    """

    report: Path
    results: dict[str, RecipeResult]


def demo(
    folder: str | PathLike[str] = "tfsep-demo",
    name: str = "fashion_mnist",
    threads: int = 1,
    images: int | None = None,
) -> DemoResult:
    """Export a shipped model with every recipe, verify and time each file on test images, and write one HTML report.

    Args:
        folder: for the ``.tflite`` files, their reports as JSON, and ``report.html``; made if it does not exist.
        name: name of the shipped model.
        threads: for the timing.
        images: number of test images to verify on; None for all thousand.

    Returns:
        The path of the report, and the results.

    Raises:
        VerificationError: for a file whose outputs differ from the model's.
        ValueError: if `images` or `threads` is not a positive int.

    Examples:
        >>> demo("tfsep-demo").report  # doctest: +SKIP
        PosixPath('tfsep-demo/report.html')
    """
    count = None if images is None else positive_int(images, "images")
    folder = make_folder(folder, "folder")
    _logger.info("worked example")
    steps = examples.worked_example()
    for step in steps:
        _logger.info(f"  {step.title}: {examples.compact(step.value)}")

    shipped = saved.load(name)
    split = shipped.test_split() if count is None else shipped.test_split().take(0, count)
    _logger.info(f"{name}: {shipped.model.count_params():,} parameters, {split.size:,} test images")
    exports = saved.export_all(shipped.model, folder, preprocess(shipped.calibration), split.batches)
    results = {}
    for recipe, report in exports.items():
        path = folder / f"model_{recipe}.tflite"
        timing = tflite.benchmark(path, threads=threads)
        _logger.info(f"{recipe}: {timing.median_ms:.2f} ms an image, {threads} thread{'s' * (threads > 1)}")
        classes = np.argmax(tflite.predict(path, preprocess(shipped.images[:SHOWN]).numpy()), axis=-1)
        results[recipe] = RecipeResult(report, timing, classes)
    target = folder / REPORT
    target.write_text(_page(shipped, split.size, cost(shipped.model), steps, results), encoding="utf-8")
    _logger.info(f"report: {target}")
    return DemoResult(target, results)


def _page(
    shipped: saved.SavedModel,
    images: int,
    counted: CostReport,
    steps: list[examples.Step],
    results: dict[str, RecipeResult],
) -> str:
    accuracy = next(iter(results.values())).export.model_accuracy
    smallest = results["int8"].export
    return html.page(
        f"tfsep: {shipped.name}, from definitions to verified .tflite files",
        [
            html.paragraph(
                f"A MobileNet of {shipped.model.count_params():,} parameters and {counted.macs:,} "
                "multiply-accumulates an image names the right class of "
                f"{accuracy:.1%} of {images:,} Fashion-MNIST test images in Keras, and of "
                f"{smallest.accuracy:.1%} as an int8 file of {smallest.size_bytes / 1000:.0f} kB. Each file below was "
                "run on all of these images beside the Keras model before it was kept."
            ),
            html.paragraph(f"tfsep {__version__}, TensorFlow {tf.__version__}, Keras {keras.__version__}.", soft=True),
            html.heading("Files, proven on real images"),
            html.table(_file_table(results)),
            html.paragraph(
                "Each output channel is judged, relative to its own deviation. In the int8 file these differ most:"
            ),
            html.table(_channel_table(smallest)),
            html.figure(
                _plot(results),
                "Accuracy (the dashed line is the Keras model), size, and time of one image: median, with the tenth "
                "and ninetieth percentile.",
            ),
            html.heading("Images and what the int8 file says"),
            html.cards(_image_cards(shipped, results["int8"].classes)),
            *_scene_fragments(),
            html.heading("What the network costs"),
            html.table(counted.table()),
            html.heading("The worked example"),
            html.paragraph(
                "A 4×4 image of two channels, a 3×3 filter with a depth multiplier of two, VALID, stride 1: convolved "
                "fully, depthwise, and separably in two steps and in one."
            ),
            html.table(examples.step_table(steps)),
        ],
    )


def _scene_fragments() -> list[str]:
    """The section of the page about segmentation and detection, of the shipped models for it."""
    fragments = []
    for name in saved.scene_models():
        shipped = saved.load_scene_model(name)
        path = shipped.folder / "model_int8.tflite"
        if not path.is_file():
            continue
        outputs = [_output_of(path, shipped, scene.image) for scene in shipped.scenes]
        pictures = [
            picture_of(scene.image, output, shipped.decoding, _LEAST_SCORE, path)[0]
            for scene, output in zip(shipped.scenes, outputs, strict=True)
        ]
        score = _score_of(shipped, outputs, pictures)
        _logger.info(f"{name}: {path.stat().st_size / 1000:.0f} kB, {score} on {len(pictures)} test scenes")
        fragments += [
            html.paragraph(
                f"{name}: {shipped.model.count_params():,} parameters, an int8 file of "
                f"{path.stat().st_size / 1000:.0f} kB, {score} on {len(pictures)} test scenes."
            ),
            html.figure(plots.scenes(pictures[:SHOWN_SCENES], shipped.class_names), f"What {name} finds in scenes."),
        ]
    return [html.heading("Scenes, and what the int8 files find in them"), *fragments] if fragments else []


def _output_of(path: Path, shipped: saved.SavedSceneModel, image: np.ndarray) -> Any:
    return tflite.predict(path, np.asarray(shipped.preprocessing(image))[None])


def _score_of(shipped: saved.SavedSceneModel, outputs: list[Any], pictures: list[Picture]) -> str:
    """The score of a file on the shipped scenes, in words."""
    if shipped.decoding is None:
        masks = SegmentationMetric(len(shipped.class_names) + 1)
        for scene, picture in zip(shipped.scenes, pictures, strict=True):
            masks.update(scene.mask, picture.mask)
        return f"mean IoU {masks.result().mean_iou:.3f}"
    found = DetectionMetric(len(shipped.class_names))
    for scene, output in zip(shipped.scenes, outputs, strict=True):
        found.update(scene.boxes, scene.classes, shipped.decoding(output["offsets"][0], output["classes"][0]))
    return f"mAP@0.5 {found.result().at(0.5):.3f}"


def _channel_table(export: tflite.ExportReport) -> Table:
    return Table((), ()) if export.verification is None else export.verification.channel_table()


def _file_table(results: dict[str, RecipeResult]) -> Table:
    headers = (
        "recipe",
        "size, kB",
        "accuracy",
        "same class as Keras",
        "largest error",
        "relative RMS error",
        "ms an image",
        "nodes delegated",
    )
    rows = [
        (
            recipe,
            f"{r.export.size_bytes / 1000:.1f}",
            f"{r.export.accuracy:.4f}",
            f"{r.export.top1_agreement:.4f}",
            f"{r.export.max_error:.2g}",
            f"{r.export.rms_error:.2g}",
            f"{r.benchmark.median_ms:.3f}",
            f"{r.export.delegated} of {r.export.nodes}",
        )
        for recipe, r in results.items()
    ]
    return Table(headers, rows)


def _plot(results: dict[str, RecipeResult]) -> "Figure":
    """Accuracy, size and time of each recipe, side by side, drawn without a display."""
    from matplotlib.figure import Figure

    names = list(results)[::-1]
    ordered = [results[name] for name in names]
    figure = Figure(figsize=(10.5, 2.9), layout="constrained")
    accuracy, size, latency = panels = figure.subplots(1, 3, sharey=True)
    for axes in panels:
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(_LINE)
        axes.tick_params(colors=_SOFT, labelcolor=_INK, labelsize=9, length=0)
        axes.xaxis.label.set_color(_SOFT)
        axes.set_axisbelow(True)
        axes.grid(axis="x", color=_LINE, linewidth=0.6)
        axes.margins(x=0.25)

    values = [r.export.accuracy for r in ordered]
    accuracy.axvline(ordered[0].export.model_accuracy, color=_SOFT, linewidth=1, linestyle=(0, (4, 3)))
    accuracy.scatter(values, names, s=55, color=_ACCENT, zorder=3)
    _annotate(accuracy, values, [f"{value:.4f}" for value in values])
    accuracy.set_xlabel("accuracy")
    accuracy.locator_params(axis="x", nbins=4)

    sizes = [r.export.size_bytes / 1000 for r in ordered]
    size.barh(names, sizes, color=_ACCENT, height=0.55)
    _annotate(size, sizes, [f"{value:,.0f}" for value in sizes])
    size.set_xlabel("size, kB")

    timings = [r.benchmark for r in ordered]
    medians = [t.median_ms for t in timings]
    spread = [[t.median_ms - t.p10_ms for t in timings], [t.p90_ms - t.median_ms for t in timings]]
    latency.barh(names, medians, color=_ACCENT, height=0.55, xerr=spread, error_kw={"ecolor": _INK, "elinewidth": 1})
    _annotate(latency, [t.p90_ms for t in timings], [f"{value:.2f}" for value in medians])
    latency.set_xlabel("ms an image")
    return figure


def _annotate(axes: "Axes", ends: Sequence[float | None], texts: list[str]) -> None:
    """Write the value of each row at the end of its bar."""
    for row, (end, text) in enumerate(zip(ends, texts, strict=True)):
        axes.annotate(text, (end, row), xytext=(7, 0), textcoords="offset points", va="center", fontsize=9, color=_INK)


def _image_cards(shipped: saved.SavedModel, classes: np.ndarray) -> list[str]:
    made = []
    for image, label, named in zip(shipped.images, shipped.labels, classes, strict=False):
        truth, said = shipped.class_names[label], shipped.class_names[named]
        made.append(html.image_card(image, (f"is {truth}", f"named {said}"), good=bool(label == named)))
    return made
