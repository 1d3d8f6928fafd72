"""The commands for importing trained weights and for classifying images."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tfsep.cli._app import MEAN_HELP, STD_HELP, command, parse_size, preprocessing_for


@command("import")
def import_weights(
    source: Annotated[
        str,
        typer.Argument(
            help="A MobileNet v1: a .tflite file; a .keras or .weights.h5 file of keras.applications, or 'imagenet', "
            "which Keras downloads; a .safetensors or .pt file of PyTorch; or the prefix of a slim checkpoint."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The .keras file.")],
    size: Annotated[
        str | None, typer.Option(help="Rows and columns; 224 if not given. A .tflite file has its own.")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Width multiplier; 1 if not given. A .tflite file has its own.")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(help="Classes; ImageNet's if not given. A .tflite file has its own.")
    ] = None,
    ranges: Annotated[
        bool,
        typer.Option("--ranges", help="Of a quantized .tflite file: keep its ranges, for an int8 file of the same."),
    ] = False,
    ema: Annotated[bool, typer.Option("--ema", help="Of a slim checkpoint: take the moving averages.")] = False,
    epsilon: Annotated[float, typer.Option(help="Of PyTorch's batch normalizations.")] = 1e-5,
    imagenet_statistics: Annotated[
        bool, typer.Option("--imagenet-statistics", help="Record torchvision's mean and deviation, not [-1, 1].")
    ] = False,
) -> None:
    """Make a Keras model of trained weights, and record how its images are prepared beside it."""
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from tfsep.importing import IMAGENET_STATISTICS, import_model

        import_model(
            source,
            out,
            size=None if size is None else parse_size(size),
            alpha=alpha,
            classes=classes,
            ranges=ranges,
            use_ema=ema,
            epsilon=epsilon,
            preprocessing=IMAGENET_STATISTICS if imagenet_statistics else None,
        )


@command("predict")
def predict(
    model: Annotated[Path, typer.Argument(help="A .keras or .tflite file.")],
    images: Annotated[list[Path], typer.Argument(help="JPEG, PNG, BMP or GIF files.")],
    labels: Annotated[Path | None, typer.Option(help="A text file with one line per class.")] = None,
    crop: Annotated[
        float | None,
        typer.Option(help="Central share of rows and columns to keep; as recorded, or 0.875, if not given."),
    ] = None,
    size: Annotated[str | None, typer.Option(help="Rows and columns, for a model that leaves them open.")] = None,
    mean: Annotated[str | None, typer.Option(help=MEAN_HELP)] = None,
    std: Annotated[str | None, typer.Option(help=STD_HELP)] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes of each image.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which classes a model finds most likely in images, and how these were prepared for it."""
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from dataclasses import replace

        from tfsep.classify import classify
        from tfsep.data import CENTRAL

        given: dict[str, Any] = {"crop": crop, "size": None if size is None else parse_size(size)}
        changed = {name: value for name, value in given.items() if value is not None}
        how = None
        if changed or mean is not None or std is not None:
            how = replace(preprocessing_for(model, mean, std, CENTRAL), **changed)
        result = classify(model, images, labels, how, top)
        print(result.to_json() if json else result)
