"""The application: errors as sentences, and the arguments that several commands share."""

import os
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from tfsep._utils.messages import messages_to

if TYPE_CHECKING:
    from tfsep._keras.types import Data, Model
    from tfsep.data import Preprocessing

app = typer.Typer(
    name="tfsep",
    help="Efficient convolutions for Keras: from a network as data to a .tflite file proven to compute the same.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class Format(StrEnum):
    """Formats of a printed table."""

    TABLE = "table"
    MARKDOWN = "markdown"
    CSV = "csv"


RECIPE_HELP = "How numbers are stored and computed: {recipes}."
TARGET_HELP = "{targets}; several with commas, or 'all'."
SAMPLES_HELP = "Most samples to calibrate and to verify on; {samples} if not given."
"""Names and number stand in `tfsep.tflite`, whose import takes NumPy: they are filled in when help is shown."""
SET_HELP = "'fashion_mnist', a folder of its IDX files, of images by class, or of records"
DATA_HELP = f"{SET_HELP}, a folder of images alone, or a .npy or .npz file (x, y; or arrays named as the inputs)."
IO_HELP = "Type of the file's inputs and outputs: int8, uint8, int16 or float32; the recipe's if not given."
STRICT_HELP = (
    "Refuse a file whose rounding, and nothing else, makes outputs differ by more than the recipe's tolerance."
)
TOLERANCE_HELP = "Largest relative RMS error; the recipe's if not given."


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _once(receive: Callable[[str], None]) -> Callable[[str], None]:
    """A function that hands each message on the first time: two options may name one folder."""
    told: set[str] = set()

    def hand_on(text: str) -> None:
        if text not in told:
            told.add(text)
            receive(text)

    return hand_on


def _report_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Print the library's messages, and its errors as one sentence with an exit code."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            with messages_to(_once(print_line)):
                command(*args, **kwargs)
        except BrokenPipeError:
            # The reader of the output, such as `head`, has closed the pipe.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            # The work is stopped by now, and a message has said so.
            raise typer.Exit(130) from None
        except (ValueError, TypeError, OSError, ImportError) as error:
            failed = type(error).__name__ == "VerificationError"
            print(f"tfsep: {_one_line(error)}", file=sys.stderr)
            raise typer.Exit(1 if failed else 2) from None

    return run


class _Command(TyperCommand):
    """A command whose options' help may have `{recipes}`, `{targets}` and `{samples}` in it."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Fill in the facts and print the help."""
        options = [option for option in self.params if isinstance(option, TyperOption) and "{" in (option.help or "")]
        if options:
            from tfsep.tflite import RECIPES, TARGETS
            from tfsep.tflite._recipes import MAX_CALIBRATION_SAMPLES

            facts = {"recipes": ", ".join(RECIPES), "targets": ", ".join(TARGETS), "samples": MAX_CALIBRATION_SAMPLES}
            for option in options:
                option.help = (option.help or "").format(**facts)
        super().format_help(ctx, formatter)


def command(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command."""
    return lambda command: app.command(name, cls=_Command)(_report_errors(command))


def _print_version(wanted: bool) -> None:
    if wanted:
        from tfsep import __version__

        print(f"tfsep {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version  # handled by its callback
    # Suppress TensorFlow's start-up messages.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def print_line(text: str) -> None:
    """Print a line and flush it, so that a long run can be followed in a file."""
    print(text, flush=True)


def open_samples(
    argument: str,
    source: str | None,
    model: "Model",
    shape: "tuple[int, ...] | dict[str, tuple[int | None, ...]] | None",
    split: str,
    samples: int | None,
    preprocessing: "Preprocessing | None" = None,
) -> "Data | None":
    """Return samples for a model, by the name or path of an option; None where it is not given.

    Args:
        argument: name of the option, for errors.
        source: value of the option.
        model: model of one input, or of several.
        shape: shape of the one input, where the model leaves it open; None for the model's own.
        split: split of a data set, ``"train"`` or ``"test"``.
        samples: largest number of samples; None for all.
        preprocessing: preprocessing of images; None for the default.
    """
    from tfsep._keras.model_io import inputs_of
    from tfsep.data import open_arrays, open_batches

    if source is None:
        return None
    inputs = inputs_of(model)
    if isinstance(inputs, dict | list | tuple) and len(inputs) > 1:
        names = list(inputs) if isinstance(inputs, dict) else [each.name for each in inputs]
        given = open_arrays(source, names, samples)
        arrays, targets = given if isinstance(given, tuple) else (given, None)
        # In the model's order where it has one: a .tflite file may name its inputs differently.
        ordered = arrays if isinstance(inputs, dict) else tuple(arrays.values())
        return ordered if targets is None else [(ordered, targets)]
    wanted = shape if isinstance(shape, tuple) else _single_input_shape(model, argument)
    if len(wanted) != 3 and Path(source).suffix not in (".npy", ".npz"):
        raise ValueError(f"{argument}: expected a .npy or .npz file for a model of inputs {wanted}, got {source!r}")
    opened = open_batches(source, wanted, split, samples, preprocessing, class_count(model))
    return _as_input(opened, str(getattr(inputs, "dtype", "float32")))


def _as_input(samples: "Data", dtype: str) -> "Data":
    """Batches of images as an input of whole numbers takes them; arrays as they are, for a check of their own type."""
    from tfsep._keras.backend import tf

    if not isinstance(samples, tf.data.Dataset) or tf.as_dtype(dtype).is_floating:
        return samples

    def cast(images: Any, *labels: Any) -> Any:
        whole = tf.cast(tf.round(images), dtype)
        return (whole, *labels) if labels else whole

    return samples.map(cast)


def class_count(model: "Model") -> int:
    """The number of classes in a model's first output; 0 where it is not of shape (N, classes), or not known."""
    from tfsep._keras.backend import tf
    from tfsep._keras.model_io import inputs_of, outputs_of

    if inputs_of(model) is None:
        return 0
    shape = tuple(getattr(tf.nest.flatten(outputs_of(model))[0], "shape", ()))
    return int(shape[1] or 0) if len(shape) == 2 else 0


def _single_input_shape(model: "Model", argument: str) -> tuple[int | None, ...]:
    """The shape of a model's single input, without the batch; of a subclassed one, that on which it was built."""
    from tfsep._keras.call_form import Given, built_tree
    from tfsep._keras.model_io import inputs_of

    inputs = inputs_of(model)
    if inputs is None and isinstance(built := built_tree(model), Given):
        return built.shape
    if not hasattr(inputs, "shape"):
        raise ValueError(f"{argument}: expected a model that was built on one input, got {model.name!r}")
    return tuple(inputs.shape[1:])


def input_shape_of(model: "Model", size: str, channels: int | None = None) -> tuple[int, ...]:
    """(H, W, C) of rows and columns in an option, and of channels that are given or the model's own."""
    own = channels if channels is not None else _single_input_shape(model, "size")[-1]
    if own is None:
        raise ValueError(f"size: expected a model of known channels, got {model.name!r}, which leaves them open")
    return (*parse_size(size), own)


def image_shape_of(model: "Model", size: str | None) -> tuple[int | None, ...] | None:
    """(H, W, C) of the images for a model: rows and columns in an option, or the model's own; None for no images."""
    from tfsep._keras.model_io import inputs_of

    if size is not None:
        return input_shape_of(model, size)
    shape = getattr(inputs_of(model), "shape", ())
    return tuple(shape[1:]) if len(shape) == 4 else None


def input_shapes_of(model: "Model", size: str) -> tuple[int, ...] | dict[str, tuple[int | None, ...]]:
    """The shape of a model's one input, as `input_shape_of`; of several, those of images of open rows and columns."""
    from tfsep._keras.backend import tf
    from tfsep._keras.model_io import inputs_of

    tensors = tf.nest.flatten(inputs_of(model))
    if len(tensors) < 2:
        return input_shape_of(model, size)
    shapes = {tensor.name: tuple(tensor.shape[1:]) for tensor in tensors}
    return {
        name: (*parse_size(size), shape[2])
        for name, shape in shapes.items()
        if len(shape) == 3 and shape[:2] == (None, None)
    }


def parse_size(text: str) -> tuple[int, int]:
    """Rows and columns from ``224`` or ``224x160``."""
    from tfsep.geometry._sizes import pair

    parts = text.lower().split("x")
    if not 1 <= len(parts) <= 2 or not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"size: expected rows and columns such as 224 or 224x160, got {text!r}")
    numbers = [int(part) for part in parts]
    return pair(numbers * (3 - len(numbers)), "size")


def parse_targets(text: str) -> tuple[str, ...]:
    """Names of targets from an option, with commas; for 'all' those that this machine can check, the others named."""
    from tfsep import tflite

    if text != "all":
        return tuple(part.strip() for part in text.split(","))
    names = []
    for name, target in tflite.TARGETS.items():
        try:
            if target.require is not None:
                target.require()
            names.append(name)
        except ImportError as error:
            print_line(f"{name} is left out: {error}")
    return tuple(names)


def parse_thread_counts(text: str) -> list[int]:
    """Numbers of threads from an option, with commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"threads: expected numbers such as 1,2, got {text!r}")
    return [int(part) for part in parts]
