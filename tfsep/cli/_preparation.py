"""How the images of a command are prepared, and what its reports say of that: one rule for all commands."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tfsep.cli._app import print_line

if TYPE_CHECKING:
    from tfsep._keras.types import Model
    from tfsep.data import Preprocessing

MeanOption = Annotated[
    str | None,
    typer.Option(
        help="Of pixels in [0, 255], one, or one for each channel with commas; as known of the model, or 127.5."
    ),
]
StdOption = Annotated[str | None, typer.Option(help="And their standard deviation; as known of the model, or 127.5.")]


class Preparation(NamedTuple):
    """How images are prepared.

    Attributes:
        how: the record.
        is_known: whether options, the JSON beside the model or the model itself say it.
        note: what the user should know of it; None where the options or the JSON say it.
    """

    how: "Preprocessing"
    is_known: bool
    note: str | None = None

    def tell(self, *sources: str | None) -> None:
        """Print the note, if images are to be prepared."""
        if self.note is not None and any(map(_has_images, sources)):
            print_line(f"preprocessing: {self.note}")

    def recorded(self, *sources: str | None) -> "Preprocessing | None":
        """The record for reports: where it is known, or images were prepared by it; else None."""
        return self.how if self.is_known or any(map(_has_images, sources)) else None


def preparation_for(
    path: Path, model: "Model | None", mean: str | None, std: str | None, default: "Preprocessing | None" = None
) -> Preparation:
    """How the images for a model are prepared.

    That is recorded beside it, or said by its first layers, or a default; mean and deviation of options come first.

    Args:
        path: path of the model.
        model: the model, as loaded; None for a file that Keras does not load.
        mean: value of the option.
        std: value of the option.
        default: where neither is there; None for [-1, 1].
    """
    from tfsep.data import DEFAULT, known_preprocessing, read_preprocessing

    known = known_preprocessing(path, model)
    how = known.preprocessing if known else default or DEFAULT
    if mean is not None or std is not None:
        return Preparation(standardized(how, mean, std), True)
    if known is None:
        unknown = "the default, as nothing is recorded beside the model; --mean and --std set another"
        return Preparation(how, False, f"{how.describe()}, {unknown}")
    if read_preprocessing(path) is None:
        return Preparation(how, True, f"{how.describe()}, {known.source}")
    return Preparation(how, True)


def _has_images(source: str | None) -> bool:
    """Whether an option names images, which are prepared, and not arrays."""
    return source is not None and Path(source).suffix not in (".npy", ".npz")


def standardized(how: "Preprocessing", mean: str | None, std: str | None) -> "Preprocessing":
    """Return a record with the mean and the deviation of the options.

    Args:
        how: the record.
        mean: value of the option; None for that of the record.
        std: value of the option, likewise.

    Raises:
        ValueError: for values that are no numbers, or a deviation of zero.
    """
    if mean is None and std is None:
        return how
    means = how.mean if mean is None else _parse_numbers("mean", mean)
    scales = how.std if std is None else _parse_numbers("std", std)
    if not all(scales):
        raise ValueError(f"std: expected numbers other than zero, got {std}")
    if len(scales) != len(means) and 1 not in (len(scales), len(means)):
        raise ValueError(f"mean, std: expected as many numbers, got {len(means)} and {len(scales)}")
    many = max(len(means), len(scales))
    means, scales = (each * many if len(each) == 1 else each for each in (means, scales))
    offsets = tuple(mean / scale for mean, scale in zip(means, scales, strict=True))
    return replace(how, scale=scales, offset=offsets)


def _parse_numbers(option: str, text: str) -> tuple[float, ...]:
    """The numbers of an option, with commas."""
    from tfsep._utils.arguments import number_in_range

    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{option}: expected a number, or one for each channel with commas, got {text!r}") from error
    return tuple(number_in_range(each, option, float, -1e6, 1e6) for each in numbers)
