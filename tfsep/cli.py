"""The command ``tfsep``: arguments and printing. Everything it does is in the other rooms, loaded when it is needed.

Exit codes: 0 fine, 1 a check failed, 2 wrong use.
"""

import os
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from tfsep.defs import NETWORKS

app = typer.Typer(
    name="tfsep",
    help="Efficient convolutions for Keras: from a network as data to a .tflite file proven to compute the same.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class Format(StrEnum):
    """How a table is printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    CSV = "csv"


class Recipe(StrEnum):
    """The names of the export recipes; `tfsep.tflite.RECIPES` has their meaning."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC_INT8 = "dynamic_int8"
    INT8 = "int8"
    INT16X8 = "int16x8"


DATA_HELP = "'fashion_mnist', a folder of its IDX files, a folder of images by class, or a .npy or .npz file (x, y)."


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _checked(command: Callable[..., None]) -> Callable[..., None]:
    """Turn the library's errors into one sentence and an exit code."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except BrokenPipeError:
            # Whoever read our output has had enough, as `head` has; there is nobody left to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (ValueError, TypeError, OSError, ImportError) as error:
            failed = type(error).__name__ == "VerificationError"
            print(f"tfsep: {_sentence(error)}", file=sys.stderr)
            raise typer.Exit(1 if failed else 2) from None

    return run


def _command(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return lambda command: app.command(name)(_checked(command))


def _print_version(wanted: bool) -> None:
    if wanted:
        from tfsep import __version__

        print(f"tfsep {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version  # its callback has done what it asks for
    # TensorFlow's start-up lines say nothing about what the user asked for.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@_command("demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the files and the report.")] = Path("tfsep-demo"),
    threads: Annotated[int, typer.Option(min=1, help="Threads for the timing.")] = 1,
) -> None:
    """Run the main job: the worked example, every recipe exported and proven on real images, one HTML report."""
    from tfsep._quiet import quiet

    with quiet():
        from tfsep.demo import demo as run

        run(out, threads=threads, log=_line)


@_command("examples")
def examples() -> None:
    """Compute and print the worked examples."""
    from tfsep._quiet import quiet

    with quiet():
        from tfsep import examples as room

        for block in room.blocks():
            print(block + "\n")


@_command("cost")
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
        shape = (*_size(size or "224"), 3 if channels is None else channels)
        report = count(NETWORKS[network], shape, *options)
    elif channels is not None and size is None:
        raise ValueError(f"channels: expected none without --size for a file, got {channels}")
    elif network.endswith(".tflite"):
        report = count(Path(network), None if size is None else (*_size(size), channels or 3), *options)
    elif network.endswith(".keras"):
        from tfsep._quiet import quiet

        with quiet():
            from tfsep.models import load_model

            model = load_model(network)
            report = count(model, None if size is None else _shape(model, size, channels), *options)
    else:
        raise ValueError(f"network: expected {', '.join(NETWORKS)}, a .keras file or a .tflite file, got {network!r}")
    forms = {Format.TABLE: report.to_text, Format.MARKDOWN: report.to_markdown, Format.CSV: report.to_csv}
    print(forms[format](flops))


@_command("train")
def train(
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/fashion_mnist"),
    data: Annotated[
        str, typer.Option(help="'fashion_mnist', a folder of its IDX files, or of images by class.")
    ] = "fashion_mnist",
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
        images = open_data(data, None if size is None else (*_size(size), 3))
        result = run(config, images, out, resume=resume, log=_line)
        _line(f"test accuracy {result.test_accuracy:.4f}, {result.seconds:.0f} s, {result.folder / 'model.keras'}")
        if publish is not None:
            _line(f"published in {saved.publish(result, config, images, publish, log=_line)}")


@_command("export")
def export(
    model: Annotated[Path, typer.Argument(help="A .keras file.")],
    out: Annotated[Path | None, typer.Option(help="The .tflite file; beside the model where not given.")] = None,
    recipe: Annotated[Recipe, typer.Option(help="How numbers are stored and computed.")] = Recipe.FLOAT32,
    calibration: Annotated[str | None, typer.Option(help=f"For integers: {DATA_HELP}")] = None,
    data: Annotated[str | None, typer.Option(help=f"To verify the file on: {DATA_HELP}")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Most samples to calibrate and to verify on.")] = 500,
    size: Annotated[
        str | None, typer.Option(help="Rows and columns that the model leaves open: 224, or 224x160.")
    ] = None,
    allow_flex: Annotated[bool, typer.Option("--allow-flex", help="Allow operators that need TensorFlow.")] = False,
) -> None:
    """Export a model, verify the file against it, and keep the file only if it computes the same."""
    from tfsep._quiet import quiet

    with quiet():
        from tfsep import tflite
        from tfsep.models import load_model

        loaded = load_model(model)
        shape = None if size is None else _shape(loaded, size)
        report = tflite.export(
            loaded,
            out or model.with_name(f"{model.stem}_{recipe.value}.tflite"),
            recipe.value,
            calibration=_batches("calibration", calibration, loaded, shape, "train", samples),
            data=_batches("data", data, loaded, shape, "test", samples),
            input_shape=shape,
            allow_flex=allow_flex,
        )
        print(report)


@_command("verify")
def verify(
    model: Annotated[Path, typer.Argument(help="A .keras file.")],
    file: Annotated[Path, typer.Argument(help="A .tflite file.")],
    data: Annotated[str, typer.Option(help=DATA_HELP)],
    tolerance: Annotated[
        float | None, typer.Option(help="Largest relative RMS error; the recipe's if not given.")
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Most samples to verify on; all if not given.")] = None,
    weights: Annotated[bool, typer.Option(help="Compare the stored weights too.")] = True,
) -> None:
    """Run a file beside its model and compare; exit with 1 if outputs differ by more than the tolerance, or weights."""
    from tfsep._quiet import quiet

    with quiet():
        from tfsep import tflite
        from tfsep.models import load_model

        loaded = load_model(model)
        inputs = tflite.inspect(file).role("input")
        shape = inputs[0].shape[1:] if len(inputs) == 1 else None
        given = _batches("data", data, loaded, shape, "test", samples)
        print(tflite.verify(loaded, file, given, tolerance=tolerance, weights=weights))


@_command("bench")
def bench(
    file: Annotated[Path, typer.Argument(help="A .tflite file.")],
    threads: Annotated[int, typer.Option(min=1, help="Threads.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs.")] = 50,
    warmup: Annotated[int, typer.Option(min=0, help="Runs before them.")] = 10,
) -> None:
    """Time a file: median and spread after a warm-up."""
    from tfsep._quiet import quiet

    with quiet():
        from tfsep import tflite

        print(tflite.benchmark(file, threads=threads, runs=runs, warmup=warmup))


@_command("inspect")
def inspect(file: Annotated[Path, typer.Argument(help="A .tflite file.")]) -> None:
    """List a file's operators, tensors and quantization."""
    from tfsep._quiet import quiet

    with quiet():
        from tfsep import tflite

        print(tflite.inspect(file))


def _line(text: str) -> None:
    print(text, flush=True)


def _batches(
    argument: str, source: str | None, model: Any, shape: tuple[int, ...] | None, split: str, samples: int | None
) -> Any:
    """What a user names as data for a model, of this shape where the model leaves it open; None for nothing."""
    from tfsep.data import open_batches

    if source is None:
        return None
    wanted = _only_input(model, argument) if shape is None else shape
    if len(wanted) != 3 and Path(source).suffix not in (".npy", ".npz"):
        raise ValueError(f"{argument}: expected a .npy or .npz file for a model of inputs {wanted}, got {source!r}")
    return open_batches(source, wanted, split, samples)


def _only_input(model: Any, argument: str) -> tuple[int | None, ...]:
    """The shape of a model's one input, without the batch."""
    from tfsep._symbolic import inputs_of

    inputs = inputs_of(model)
    if not hasattr(inputs, "shape"):
        raise ValueError(f"{argument}: expected a model that was built on one input, got {model.name!r}")
    return tuple(inputs.shape[1:])


def _shape(model: Any, size: str, channels: int | None = None) -> tuple[int, ...]:
    """Rows and columns as the user gives them, and channels: those given, or the model's own."""
    own = channels if channels is not None else _only_input(model, "size")[-1]
    if own is None:
        raise ValueError(f"size: expected a model of known channels, got {model.name!r}, which leaves them open")
    return (*_size(size), own)


def _size(text: str) -> tuple[int, int]:
    """Rows and columns from ``224`` or ``224x160``."""
    from tfsep.geometry import pair

    parts = text.lower().split("x")
    if not 1 <= len(parts) <= 2 or not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"size: expected rows and columns such as 224 or 224x160, got {text!r}")
    numbers = [int(part) for part in parts]
    return pair(numbers * (3 - len(numbers)), "size")


def main() -> None:
    """Run the command."""
    app()
