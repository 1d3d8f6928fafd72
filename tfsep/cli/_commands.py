"""The commands about models and files: the demo, counting, export, verification."""

from pathlib import Path
from typing import Annotated

import typer

from tfsep.cli._app import (
    DATA_HELP,
    MEAN_HELP,
    RECIPE_HELP,
    STD_HELP,
    TOLERANCE_HELP,
    Format,
    command,
    input_shape_of,
    known_preprocessing,
    open_samples,
    parse_size,
    preprocessing_for,
)
from tfsep.defs import NETWORKS


@command("demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the files and the report.")] = Path("tfsep-demo"),
    threads: Annotated[int, typer.Option(min=1, help="Threads for the timing.")] = 1,
    images: Annotated[int | None, typer.Option(min=1, help="Test images to verify on; all if not given.")] = None,
) -> None:
    """Run the main job: the worked example, every recipe exported and proven on real images, one HTML report."""
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from tfsep.demo import demo as run

        run(out, threads=threads, images=images)


@command("examples")
def examples() -> None:
    """Compute and print the worked examples."""
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from tfsep.examples import blocks

        for block in blocks():
            print(block + "\n")


@command("cost")
def cost(
    network: Annotated[str, typer.Argument(help=f"{', '.join(NETWORKS)}, a .keras file or a .tflite file.")],
    size: Annotated[str | None, typer.Option(help="Input rows and columns: 224, or 224x160.")] = None,
    channels: Annotated[
        int | None, typer.Option(help="Input channels; the model's own, or 3, where not given.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Width multiplier.")] = 1.0,
    min_depth: Annotated[int, typer.Option(help="Fewest channels of a layer.")] = 8,
    output_stride: Annotated[int | None, typer.Option(help="Total stride to hold by growing rates.")] = None,
    classes: Annotated[int | None, typer.Option(help="Count a classifier of so many classes.")] = None,
    flops: Annotated[bool, typer.Option("--flops", help="Show FLOPs, 2 a MAC, as well.")] = False,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
) -> None:
    """Count parameters and MACs, row by row."""
    from tfsep.cost import cost as count

    options = alpha, min_depth, output_stride, classes
    if network in NETWORKS:
        *sides, own = NETWORKS[network].input_shape()
        shape = (*(sides if size is None else parse_size(size)), own if channels is None else channels)
        report = count(NETWORKS[network], shape, *options)
    elif channels is not None and size is None:
        raise ValueError(f"channels: expected none without --size for a file, got {channels}")
    elif network.endswith(".tflite"):
        report = count(Path(network), None if size is None else (*parse_size(size), channels or 3), *options)
    elif network.endswith(".keras"):
        from tfsep._utils.native_stderr import silence_native_stderr

        with silence_native_stderr():
            from tfsep.models import load_model

            model = load_model(network)
            report = count(model, None if size is None else input_shape_of(model, size, channels), *options)
    else:
        raise ValueError(f"network: expected {', '.join(NETWORKS)}, a .keras file or a .tflite file, got {network!r}")
    forms = {Format.TABLE: report.to_text, Format.MARKDOWN: report.to_markdown, Format.CSV: report.to_csv}
    print(forms[format](flops))


@command("export")
def export(
    model: Annotated[Path, typer.Argument(help="A .keras file.")],
    out: Annotated[Path | None, typer.Option(help="The .tflite file; beside the model where not given.")] = None,
    recipe: Annotated[str, typer.Option(help=RECIPE_HELP)] = "float32",
    calibration: Annotated[str | None, typer.Option(help=f"For integers: {DATA_HELP}")] = None,
    data: Annotated[str | None, typer.Option(help=f"To verify the file on: {DATA_HELP}")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Most samples to calibrate and to verify on.")] = 500,
    mean: Annotated[str | None, typer.Option(help=MEAN_HELP)] = None,
    std: Annotated[str | None, typer.Option(help=STD_HELP)] = None,
    size: Annotated[
        str | None, typer.Option(help="Rows and columns that the model leaves open: 224, or 224x160.")
    ] = None,
    tolerance: Annotated[float | None, typer.Option(help=TOLERANCE_HELP)] = None,
    allow_flex: Annotated[bool, typer.Option("--allow-flex", help="Allow operators that need TensorFlow.")] = False,
) -> None:
    """Export a model, verify the file against it, and keep the file only if it computes the same."""
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from tfsep import tflite
        from tfsep.models import load_model
        from tfsep.tflite._recipes import get_recipe

        chosen = get_recipe(recipe)
        loaded, how = load_model(model), preprocessing_for(model, mean, std)
        shape = None if size is None else input_shape_of(loaded, size)
        report = tflite.export(
            loaded,
            out or model.with_name(f"{model.stem}_{recipe}.tflite"),
            chosen,
            calibration=open_samples("calibration", calibration, loaded, shape, "train", samples, how),
            data=open_samples("data", data, loaded, shape, "test", samples, how),
            preprocessing=known_preprocessing(model, mean, std, how, (calibration, data)),
            input_shape=shape,
            tolerance=tolerance,
            allow_flex=allow_flex,
        )
        print(report)


@command("verify")
def verify(
    model: Annotated[Path, typer.Argument(help="A .keras file.")],
    file: Annotated[Path, typer.Argument(help="A .tflite file.")],
    data: Annotated[str, typer.Option(help=DATA_HELP)],
    tolerance: Annotated[float | None, typer.Option(help=TOLERANCE_HELP)] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Most samples to verify on; all if not given.")] = None,
    mean: Annotated[str | None, typer.Option(help=MEAN_HELP)] = None,
    std: Annotated[str | None, typer.Option(help=STD_HELP)] = None,
    weights: Annotated[bool, typer.Option(help="Compare the stored weights too.")] = True,
) -> None:
    """Run a file beside its model and compare; exit with 1 if outputs differ by more than the tolerance, or weights."""
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from tfsep import tflite
        from tfsep.models import load_model

        loaded, how = load_model(model), preprocessing_for(model, mean, std)
        inputs = tflite.inspect(file).role("input")
        shape = inputs[0].shape[1:] if len(inputs) == 1 else None
        given = open_samples("data", data, loaded, shape, "test", samples, how)
        print(tflite.verify(loaded, file, given, tolerance=tolerance, weights=weights))
