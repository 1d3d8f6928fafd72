"""The commands cost, inspect, bench and predict: what a network or file holds, takes, and says."""

import itertools
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from tfsep._utils.installed import install_command
from tfsep._utils.table import Table
from tfsep.cli._app import (
    TARGET_HELP,
    Format,
    command,
    input_shape_of,
    parse_size,
    parse_targets,
    parse_thread_counts,
)
from tfsep.cli._models import CustomOption, UnsafeOption, custom_objects, open_model
from tfsep.cli._preparation import MeanOption, StdOption, preparation_for
from tfsep.defs import NETWORKS


@command("cost")
def cost(
    network: Annotated[
        str | None, typer.Argument(help=f"{', '.join(NETWORKS)}, a model of Keras or a .tflite file.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Input rows and columns: 224, or 224x160.")] = None,
    channels: Annotated[
        int | None, typer.Option(help="Input channels; the model's own, or 3, where not given.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Width multiplier.")] = 1.0,
    min_depth: Annotated[int, typer.Option(help="Fewest channels of a layer.")] = 8,
    output_stride: Annotated[int | None, typer.Option(help="Total stride to hold by growing rates.")] = None,
    classes: Annotated[int | None, typer.Option(help="Count a classifier of so many classes.")] = None,
    flops: Annotated[bool, typer.Option("--flops", help="Show FLOPs, 2 per MAC, as well.")] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="In place of a network: all of them, with published accuracies.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="With --compare: draw accuracy against MACs and parameters: a .png or .svg.")
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
    custom: CustomOption = None,
    unsafe: UnsafeOption = False,
) -> None:
    """Count parameters and MACs, row by row."""
    from tfsep.cost import cost as count

    if compare:
        for name, value in (("network", network), ("channels", channels), ("output_stride", output_stride)):
            if value is not None:
                raise ValueError(f"{name}: expected none with --compare, got {value!r}")
        _compare(size, alpha, classes, plot, format)
        return
    if network is None:
        raise ValueError("network: expected one, or --compare for all of them, got none")
    if plot is not None:
        raise ValueError(f"plot: expected none without --compare, got {plot}")
    options = alpha, min_depth, output_stride, classes
    if network in NETWORKS:
        *sides, own = NETWORKS[network].input_shape()
        shape = (*(sides if size is None else parse_size(size)), own if channels is None else channels)
        report = count(NETWORKS[network], shape, *options)
    elif channels is not None and size is None:
        raise ValueError(f"channels: expected none without --size for a file, got {channels}")
    elif network.endswith(".tflite"):
        report = count(Path(network), None if size is None else (*parse_size(size), channels or 3), *options)
    elif Path(network).suffix in (".keras", ".h5", ".hdf5") or Path(network).is_dir():
        from tfsep._utils.native_stderr import silence_native_stderr

        with silence_native_stderr():
            model = open_model(network, custom, unsafe)
            report = count(model, None if size is None else input_shape_of(model, size, channels), *options)
    else:
        raise ValueError(f"network: expected {', '.join(NETWORKS)}, a .keras file or a .tflite file, got {network!r}")
    forms = {Format.TABLE: report.to_text, Format.MARKDOWN: report.to_markdown, Format.CSV: report.to_csv}
    print(forms[format](flops))


def _compare(size: str | None, alpha: float, classes: int | None, plot: Path | None, format: Format) -> None:
    """Print the networks side by side, and draw them."""
    from tfsep.cost import compare
    from tfsep.plots import family

    _require_picture(plot)
    report = compare(None, None if size is None else parse_size(size), alpha, 1000 if classes is None else classes)
    print(_format_table(report.table(), format))
    if plot is not None:
        _save_figure(family(report.rows), plot)
        print(f"\nplot: {plot}")


@command("inspect")
def inspect(
    file: Annotated[Path, typer.Argument(help="A .tflite file.")],
    target: Annotated[str | None, typer.Option(help=f"Check the file for: {TARGET_HELP}")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="With --target, exit with 1 if one leaves operators to others, too.")
    ] = False,
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
    if not (report.complete if strict else report.passed):
        raise typer.Exit(1)


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
        from tfsep.plots import pareto
        from tfsep.tflite._accuracy_points import files_of, points_of

        _require_picture(plot)
        paths = [path for file in files for path in files_of(file)]
        counts = parse_thread_counts(threads)
        times = tflite.benchmark_all(paths, counts, runs=runs, warmup=warmup)
        print(_format_table(times.table(), format))
        for note in times.notes() if format is not Format.CSV else ():
            print(f"\n{note}")
        for path, count in itertools.product(paths, counts) if profile else ():
            table = tflite.profile(path, count, runs=runs, warmup=warmup).table()
            table = Table(("file", "threads", *table.headers), [(path, count, *row) for row in table.rows])
            print(f"\n{_format_table(table, format)}")
        if plot is not None:
            points = points_of(times)
            _save_figure(pareto(points), plot)
            left = len(paths) - len(points)
            lacking = f"; {left} without a report of an accuracy left out" if left else ""
            print(f"\nplot: {plot}, each file at its fastest{lacking}")


def _format_table(table: Table, format: Format) -> str:
    return {Format.TABLE: table.text, Format.MARKDOWN: table.markdown, Format.CSV: table.csv}[format]()


def _require_picture(plot: Path | None, option: str = "plot") -> None:
    if plot is not None and plot.suffix not in (".png", ".svg"):
        raise ValueError(f"{option}: expected a name that ends in .png or .svg, got {plot}")
    if plot is not None:
        from tfsep._utils.atomic_files import require_place

        require_place(plot, option)
        if find_spec("matplotlib") is None:
            raise ImportError(f"{option}: expected the package matplotlib, got none: {install_command('plots')}")


def _save_figure(figure: Any, path: Path, option: str = "plot") -> None:
    from tfsep._utils.atomic_files import atomic_file, parents_made

    with parents_made(path, option), atomic_file(path, option) as file:
        figure.savefig(file, dpi=150, format=path.suffix[1:])


@command("predict")
def predict(
    model: Annotated[Path, typer.Argument(help="A .keras, .h5 or .tflite file, or the folder of a SavedModel.")],
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    labels: Annotated[
        Path | None, typer.Option(help="A text file with a line for each class; as recorded, if not given.")
    ] = None,
    crop: Annotated[
        float | None,
        typer.Option(help="Central share of rows and columns to keep; as recorded, or 0.875, if not given."),
    ] = None,
    size: Annotated[str | None, typer.Option(help="Rows and columns, for a model that leaves them open.")] = None,
    mean: MeanOption = None,
    std: StdOption = None,
    top: Annotated[int, typer.Option(min=1, help="Classes of each image.")] = 5,
    threshold: Annotated[
        float | None, typer.Option(help="Least score of an object that a detector finds; 0.5 if not given.")
    ] = None,
    draw: Annotated[
        Path | None, typer.Option(help="Draw the boxes or masks that are found on the images: a .png or .svg.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    custom: CustomOption = None,
    unsafe: UnsafeOption = False,
) -> None:
    """Say which classes a model finds most likely in images, or which objects or pixels, and how they were prepared."""
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from dataclasses import replace

        from tfsep.classify import classify, open_image_model
        from tfsep.data import CENTRAL
        from tfsep.locate import locate

        if draw is not None:
            _require_picture(draw, "draw")
        opened = open_image_model(model, custom_objects(custom), not unsafe)

        given: dict[str, Any] = {"crop": crop, "size": None if size is None else parse_size(size)}
        changed = {name: value for name, value in given.items() if value is not None}
        how = None
        if changed or mean is not None or std is not None:
            how = replace(preparation_for(model, opened.loaded, mean, std, CENTRAL).how, **changed)
        if opened.is_classifier:
            for option, value in (("threshold", threshold), ("draw", draw)):
                if value is not None:
                    raise ValueError(f"{option}: expected none for a classifier, got {value}")
            classified = classify(opened, images, labels, how, top)
            print(classified.to_json() if json else classified)
            return
        located = locate(opened, images, labels, how, 0.5 if threshold is None else threshold)
        print(located.to_json() if json else located)
        if draw is not None:
            _save_figure(located.figure(), draw, "draw")
