"""The commands demo and examples: what the library does, on data of its own."""

from pathlib import Path
from typing import Annotated

import typer

from tfsep.cli._app import command


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
