"""The commands about where a file runs: what is in it, and whether a target takes it."""

from pathlib import Path
from typing import Annotated

import typer

from tfsep.cli._app import command

TARGET_HELP = "xnnpack, tflm, gpu, nnapi, edgetpu, ethos-u or cmsis-nn; several with commas, or 'all'."


def targets_named(text: str) -> tuple[str, ...]:
    """The targets that a user names."""
    from tfsep import tflite

    return tflite.TARGETS if text == "all" else tuple(part.strip() for part in text.split(","))


@command("inspect")
def inspect(
    file: Annotated[Path, typer.Argument(help="A .tflite file.")],
    target: Annotated[str | None, typer.Option(help=f"Check the file for: {TARGET_HELP}")] = None,
) -> None:
    """List a file's operators, tensors and quantization; or say whether targets take it, and exit with 1 if not."""
    from tfsep._quiet import quiet

    with quiet():
        from tfsep import tflite

        if target is None:
            print(tflite.inspect(file))
            return
        report = tflite.check_targets(file, targets_named(target))
        print(report)
    if not report.passed:
        raise typer.Exit(1)
