"""The application: its errors as sentences, and what several commands share."""

import os
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from tfsep._utils.messages import messages_to

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


RECIPE_HELP = "How numbers are stored and computed: {recipes}."
TARGET_HELP = "{targets}; several with commas, or 'all'."
"""The names stand in `tfsep.tflite`, whose import takes NumPy: they are filled in when help is shown."""
SET_HELP = "'fashion_mnist', a folder of its IDX files, of images by class, or of records"
DATA_HELP = f"{SET_HELP}, a folder of images alone, or a .npy or .npz file (x, y; or arrays named as the inputs)."
MEAN_HELP = "Of pixels in [0, 255], one or one a channel with commas; as recorded beside the model, or 127.5."
STD_HELP = "And their standard deviation; as recorded beside the model, or 127.5."
TOLERANCE_HELP = "Largest relative RMS error; the recipe's if not given."


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _checked(command: Callable[..., None]) -> Callable[..., None]:
    """Turn the library's errors into one sentence and an exit code."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            with messages_to(line):
                command(*args, **kwargs)
        except BrokenPipeError:
            # Whoever read our output has had enough, as `head` has; there is nobody left to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            # By now what was in work is stopped, and has said so.
            raise typer.Exit(130) from None
        except (ValueError, TypeError, OSError, ImportError) as error:
            failed = type(error).__name__ == "VerificationError"
            print(f"tfsep: {_sentence(error)}", file=sys.stderr)
            raise typer.Exit(1 if failed else 2) from None

    return run


class _Command(TyperCommand):
    """A command whose options' help may have `{recipes}` and `{targets}` in it."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Fill in the names and print the help."""
        options = [option for option in self.params if isinstance(option, TyperOption) and "{" in (option.help or "")]
        if options:
            from tfsep.tflite import RECIPES, TARGETS

            for option in options:
                option.help = (option.help or "").format(recipes=", ".join(RECIPES), targets=", ".join(TARGETS))
        super().format_help(ctx, formatter)


def command(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function the command of this name."""
    return lambda command: app.command(name, cls=_Command)(_checked(command))


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


def line(text: str) -> None:
    """Print a line at once, as whoever follows a long run in a file wants it."""
    print(text, flush=True)


def batches_of(
    argument: str,
    source: str | None,
    model: Any,
    shape: tuple[int, ...] | None,
    split: str,
    samples: int | None,
    preprocessing: Any = None,
) -> Any:
    """What a user names as data for a model, of this shape where the model leaves it open; None for nothing."""
    from tfsep._keras.model_io import inputs_of
    from tfsep.data import open_arrays, open_batches

    if source is None:
        return None
    inputs = inputs_of(model)
    if isinstance(inputs, dict | list | tuple) and len(inputs) > 1:
        names = list(inputs) if isinstance(inputs, dict) else [each.name for each in inputs]
        given = open_arrays(source, names, samples)
        arrays, targets = given if isinstance(given, tuple) else (given, None)
        # By place where the model has an order: names that files cannot have are others there.
        ordered = arrays if isinstance(inputs, dict) else tuple(arrays.values())
        return ordered if targets is None else [(ordered, targets)]
    wanted = _only_input(model, argument) if shape is None else shape
    if len(wanted) != 3 and Path(source).suffix not in (".npy", ".npz"):
        raise ValueError(f"{argument}: expected a .npy or .npz file for a model of inputs {wanted}, got {source!r}")
    return open_batches(source, wanted, split, samples, preprocessing, classes_of(model))


def classes_of(model: Any) -> int:
    """How many classes a model's first output tells apart; 0 where it is no row of classes."""
    from tfsep._keras.backend import tf
    from tfsep._keras.model_io import outputs_of

    shape = tuple(getattr(tf.nest.flatten(outputs_of(model))[0], "shape", ()))
    return int(shape[1] or 0) if len(shape) == 2 else 0


def _only_input(model: Any, argument: str) -> tuple[int | None, ...]:
    """The shape of a model's one input, without the batch."""
    from tfsep._keras.model_io import inputs_of

    inputs = inputs_of(model)
    if not hasattr(inputs, "shape"):
        raise ValueError(f"{argument}: expected a model that was built on one input, got {model.name!r}")
    return tuple(inputs.shape[1:])


def preprocessing_of(model: Path, mean: str | None, std: str | None, otherwise: Any = None) -> Any:
    """The record beside a model, or another one, with the mean and standard deviation that are given in its place."""
    from dataclasses import replace

    from tfsep.data import DEFAULT, read_preprocessing

    how = read_preprocessing(model) or otherwise or DEFAULT
    if mean is None and std is None:
        return how
    means = how.mean if mean is None else _numbers_of("mean", mean)
    scales = how.std if std is None else _numbers_of("std", std)
    if not all(scales):
        raise ValueError(f"std: expected numbers other than zero, got {std}")
    if len(scales) != len(means) and 1 not in (len(scales), len(means)):
        raise ValueError(f"mean, std: expected as many numbers, got {len(means)} and {len(scales)}")
    many = max(len(means), len(scales))
    means, scales = (each * many if len(each) == 1 else each for each in (means, scales))
    offsets = tuple(mean / scale for mean, scale in zip(means, scales, strict=True))
    return replace(how, scale=scales, offset=offsets)


def stated_of(model: Path, mean: str | None, std: str | None, how: Any, sources: tuple[str | None, ...]) -> Any:
    """What is said of images: as told or recorded, or as those that the file was made on were prepared; None else."""
    from tfsep.data import read_preprocessing

    prepared = any(source is not None and Path(source).suffix not in (".npy", ".npz") for source in sources)
    told = mean is not None or std is not None or read_preprocessing(model) is not None
    return how if told or prepared else None


def _numbers_of(option: str, text: str) -> tuple[float, ...]:
    """The numbers, with commas, of an option."""
    from tfsep._utils.arguments import number_in_range

    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{option}: expected a number, or one a channel with commas, got {text!r}") from error
    return tuple(number_in_range(each, option, float, -1e6, 1e6) for each in numbers)


def shape_of(model: Any, size: str, channels: int | None = None) -> tuple[int, ...]:
    """Rows and columns as the user gives them, and channels: those given, or the model's own."""
    own = channels if channels is not None else _only_input(model, "size")[-1]
    if own is None:
        raise ValueError(f"size: expected a model of known channels, got {model.name!r}, which leaves them open")
    return (*size_of(size), own)


def size_of(text: str) -> tuple[int, int]:
    """Rows and columns from ``224`` or ``224x160``."""
    from tfsep.geometry._sizes import pair

    parts = text.lower().split("x")
    if not 1 <= len(parts) <= 2 or not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"size: expected rows and columns such as 224 or 224x160, got {text!r}")
    numbers = [int(part) for part in parts]
    return pair(numbers * (3 - len(numbers)), "size")
