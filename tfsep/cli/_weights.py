"""The command import: a Keras model of trained weights from elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from tfsep.cli._app import command, parse_size
from tfsep.defs import NETWORKS, PADDING_RULES


@command("import")
def import_weights(
    source: Annotated[
        str,
        typer.Argument(
            help="A .tflite file; a .keras or .weights.h5 file of keras.applications, or 'imagenet', "
            "which Keras downloads; a .safetensors or .pt file of PyTorch; or the prefix of a slim checkpoint."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The .keras file.")],
    network: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(NETWORKS)}; mobilenet_v1 if not given. A .tflite file says it itself."),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Rows and columns; the network's if not given. A .tflite file has its own.")
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
    scope: Annotated[
        str | None,
        typer.Option(help="Of a slim checkpoint: where it has the network, such as FeatureExtractor/MobilenetV1."),
    ] = None,
    epsilon: Annotated[float, typer.Option(help="Of PyTorch's batch normalizations.")] = 1e-5,
    padding: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(PADDING_RULES)}: how the network pads, if otherwise than its source's kind."),
    ] = None,
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
            network=network,
            size=None if size is None else parse_size(size),
            alpha=alpha,
            classes=classes,
            ranges=ranges,
            use_ema=ema,
            scope=scope,
            epsilon=epsilon,
            padding=padding,
            preprocessing=IMAGENET_STATISTICS if imagenet_statistics else None,
        )
