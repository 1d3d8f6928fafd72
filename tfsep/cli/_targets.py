"""The commands about running a file: its contents, its targets, its speed."""

import itertools
from pathlib import Path
from typing import Annotated, Any

import typer

from tfsep._utils.table import Table
from tfsep.cli._app import (
    DATA_HELP,
    MEAN_HELP,
    RECIPE_HELP,
    STD_HELP,
    TARGET_HELP,
    TOLERANCE_HELP,
    Format,
    class_count,
    command,
    input_shape_of,
    known_preprocessing,
    open_samples,
    preprocessing_for,
)


def parse_targets(text: str) -> tuple[str, ...]:
    """Targets by their names, with commas; all of them for 'all'."""
    from tfsep import tflite

    return tuple(tflite.TARGETS) if text == "all" else tuple(part.strip() for part in text.split(","))


@command("inspect")
def inspect(
    file: Annotated[Path, typer.Argument(help="A .tflite file.")],
    target: Annotated[str | None, typer.Option(help=f"Check the file for: {TARGET_HELP}")] = None,
) -> None:
    """List a file's operators, tensors and quantization; or say whether targets take it, and exit with 1 if not."""
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from tfsep import tflite

        if target is None:
            print(tflite.inspect(file))
            return
        report = tflite.check_targets(file, parse_targets(target))
        print(report)
    if not report.passed:
        raise typer.Exit(1)


@command("convert")
def convert(
    model: Annotated[Path, typer.Argument(help="A .keras file, of any Keras model.")],
    out: Annotated[Path, typer.Option(help="Folder for the files.")],
    recipe: Annotated[str, typer.Option(help=RECIPE_HELP)] = "int8",
    calibration: Annotated[str | None, typer.Option(help=f"For integers: {DATA_HELP}")] = None,
    target: Annotated[str | None, typer.Option(help=f"Check the file for: {TARGET_HELP}")] = None,
    data: Annotated[str | None, typer.Option(help=f"To verify the file on: {DATA_HELP}")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Names of the classes, a line each; those of the data where not given.")
    ] = None,
    mean: Annotated[str | None, typer.Option(help=MEAN_HELP)] = None,
    std: Annotated[str | None, typer.Option(help=STD_HELP)] = None,
    name: Annotated[str, typer.Option(help="Name of the files.")] = "model",
    threads: Annotated[str, typer.Option(help="Numbers of threads to time with, with commas.")] = "1",
    samples: Annotated[int, typer.Option(min=1, help="Most samples to calibrate and to verify on.")] = 500,
    size: Annotated[
        str | None, typer.Option(help="Rows and columns that the model leaves open: 224, or 224x160.")
    ] = None,
    tolerance: Annotated[float | None, typer.Option(help=TOLERANCE_HELP)] = None,
) -> None:
    """Make a folder for devices: verified file, reports, labels, C array, snippets; exit with 1 if a target refuses."""
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from tfsep import tflite
        from tfsep.models import load_model
        from tfsep.tflite._recipes import get_recipe

        chosen = get_recipe(recipe)
        loaded, how = load_model(model), preprocessing_for(model, mean, std)
        shape = None if size is None else input_shape_of(loaded, size)
        report = tflite.convert(
            loaded,
            out,
            chosen,
            open_samples("calibration", calibration, loaded, shape, "train", samples, how),
            targets=() if target is None else parse_targets(target),
            data=open_samples("data", data, loaded, shape, "test", samples, how),
            labels=_read_labels(labels, (data, calibration), class_count(loaded)),
            preprocessing=known_preprocessing(model, mean, std, how, (calibration, data)),
            name=name,
            threads=_parse_thread_counts(threads),
            input_shape=shape,
            tolerance=tolerance,
        )
        print(report)
    if not report.passed:
        raise typer.Exit(1)


def _read_labels(path: Path | None, sources: tuple[str | None, ...], classes: int) -> tuple[str, ...] | None:
    """The lines of a file, or the class names of the first data set with as many classes as the model."""
    from tfsep.data._open_data import class_names_of

    if path is not None:
        if not path.is_file():
            raise FileNotFoundError(f"labels: expected a file with a line per class, got {path}, which does not exist")
        return tuple(path.read_text(errors="replace").rstrip("\n").split("\n"))
    named = (class_names_of(source) for source in sources if source is not None)
    return next((names for names in named if names and len(names) == classes), None)


@command("bench")
def bench(
    files: Annotated[list[Path], typer.Argument(help=".tflite files, or folders of them.")],
    threads: Annotated[str, typer.Option(help="Numbers of threads, with commas.")] = "1",
    runs: Annotated[int, typer.Option(min=1, help="Timed runs.")] = 50,
    warmup: Annotated[int, typer.Option(min=0, help="Runs before them.")] = 10,
    profile: Annotated[bool, typer.Option("--profile", help="Time each operator, beside its MACs.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the accuracy in the files' reports against time and size: a .png or .svg.")
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
) -> None:
    """Time files side by side, one run of each in turn: median, spread and memory."""
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from tfsep import tflite
        from tfsep.tflite._accuracy_points import files_of, points_of

        if plot is not None and plot.suffix not in (".png", ".svg"):
            raise ValueError(f"plot: expected a name that ends in .png or .svg, got {plot}")
        paths = [path for file in files for path in files_of(file)]
        counts = _parse_thread_counts(threads)
        times = tflite.benchmark_all(paths, counts, runs=runs, warmup=warmup)
        print(_format_table(times.table(), format))
        for path, count in itertools.product(paths, counts) if profile else ():
            table = tflite.profile(path, count, runs=runs, warmup=warmup).table()
            table = Table(("file", "threads", *table.headers), [(path, count, *row) for row in table.rows])
            print(f"\n{_format_table(table, format)}")
        if plot is not None:
            points = points_of(times)
            _save_plot(points, plot)
            left = len(paths) - len(points)
            lacking = f"; {left} without a report of an accuracy left out" if left else ""
            print(f"\nplot: {plot}, each file at its fastest{lacking}")


def _parse_thread_counts(text: str) -> list[int]:
    """Numbers of threads, with commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"threads: expected numbers such as 1,2, got {text!r}")
    return [int(part) for part in parts]


def _format_table(table: Table, format: Format) -> str:
    return {Format.TABLE: table.text, Format.MARKDOWN: table.markdown, Format.CSV: table.csv}[format]()


def _save_plot(points: Any, path: Path) -> None:
    from tfsep._utils.atomic_files import atomic_file
    from tfsep.plots import pareto

    with atomic_file(path, "plot") as file:
        pareto(points).savefig(file, dpi=150, format=path.suffix[1:])
