"""The option --from of training: a trained classifier of any source, to begin with."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tfsep.cli._app import image_shape_of, parse_size
from tfsep.cli._models import open_model
from tfsep.cli._preparation import Preparation, preparation_for

if TYPE_CHECKING:
    from tfsep._keras.types import Model

_WHOLE_MODELS = (".keras", ".h5", ".hdf5")


class Start(NamedTuple):
    """What a run begins with.

    Attributes:
        model: the model, or its path, beside which the names of its classes are recorded.
        shape: (H, W, C) of its images.
        preparation: how its images are prepared.
    """

    model: "Model | Path"
    shape: tuple[int | None, ...] | None
    preparation: Preparation


def open_start(
    source: str,
    network: str | None,
    alpha: float | None,
    size: str | None,
    mean: str | None,
    std: str | None,
    custom: list[str] | None,
    unsafe: bool,
) -> Start:
    """Open what --from names, with the options of the command.

    Raises:
        FileNotFoundError: if there is no such model.
        ValueError: for a model that is none, or options that it does not take.
    """
    path = Path(source)
    if (path / "model.keras").is_file():
        path /= "model.keras"  # the folder of a run
    if (path.suffix in _WHOLE_MODELS and not source.endswith(".weights.h5")) or path.is_dir():
        for option, given in (("network", network), ("alpha", alpha)):
            if given is not None:
                raise ValueError(f"{option}: expected none with --from a whole model, which has its own, got {given}")
        model = open_model(path, custom, unsafe)
        prepared = preparation_for(path, model, mean, std)
        return Start(model if custom or unsafe else path, image_shape_of(model, size), prepared)
    from tfsep.importing import import_model

    with tempfile.TemporaryDirectory(prefix="tfsep-") as scratch:
        place = Path(scratch) / "start.keras"
        sides = None if size is None or source.endswith(".tflite") else parse_size(size)
        model = import_model(source, place, network=network, alpha=alpha, size=sides)
        return Start(model, image_shape_of(model, None), preparation_for(place, model, mean, std))
