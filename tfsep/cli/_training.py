"""The commands that train."""

from pathlib import Path
from typing import Annotated

import typer

from tfsep.cli._app import SET_HELP, command, line, size_of
from tfsep.defs import NETWORKS


@command("train")
def train(
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/fashion_mnist"),
    data: Annotated[str, typer.Option(help=f"{SET_HELP}.")] = "fashion_mnist",
    network: Annotated[str, typer.Option(help=f"{' or '.join(NETWORKS)}.")] = "fashion_mnist",
    alpha: Annotated[float, typer.Option(help="Width multiplier.")] = 1.0,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 30,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="Peak of the schedule.")] = 3e-3,
    warmup: Annotated[
        int | None, typer.Option(help="Epochs up to that peak; 2, or fewer in a short run, if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    size: Annotated[str | None, typer.Option(help="Rows and columns that a folder's images are brought to.")] = None,
    validation: Annotated[int, typer.Option(help="Training images that are held out to watch the run.")] = 5000,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    publish: Annotated[Path | None, typer.Option(help="Also put a folder to ship together here.")] = None,
) -> None:
    """Train a network; stop it at any time and go on with --resume."""
    from tfsep._quiet import quiet

    with quiet():
        from tfsep import saved
        from tfsep.data import open_data
        from tfsep.train import TrainConfig
        from tfsep.train import train as run

        config = TrainConfig(
            network=network,
            alpha=alpha,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            warmup_epochs=warmup,
            validation=validation,
            seed=seed,
        )
        images = open_data(data, None if size is None else (*size_of(size), 3))
        result = run(config, images, out, resume=resume, log=line)
        line(f"test accuracy {result.test_accuracy:.4f}, {result.seconds:.0f} s, {result.folder / 'model.keras'}")
        if publish is not None:
            line(f"published in {saved.publish(result, config, images, publish, log=line)}")
