"""Trained weights from elsewhere as a model of this library in a file, with how its images are prepared beside it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tfsep import models, weights
from tfsep._utils.arguments import as_path
from tfsep._utils.atomic_files import atomic_file
from tfsep.data import CENTRAL, Preprocessing, save_with_preprocessing

_logger = logging.getLogger(__name__)

IMAGENET_STATISTICS = Preprocessing.standardizing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), crop=0.875)
"""How torchvision, and much of timm, prepares images."""


@dataclass(frozen=True)
class _Source:
    """What is known of the models of one kind of source.

    Attributes:
        load: (model, source, options) → nothing.
        padding: how they pad, a rule's name.
        classes: how many they have where nobody says.
        preprocessing: that they were trained with; None where that differs.
    """

    load: Callable[[Any, str, dict[str, Any]], None]
    padding: str
    classes: int
    preprocessing: Preprocessing | None


def _load_slim(model: Any, source: str, options: dict[str, Any]) -> None:
    weights.load_slim_checkpoint(model, source, use_ema=options["use_ema"])


_SLIM = _Source(_load_slim, "same", 1001, CENTRAL)
_KERAS = _Source(lambda model, source, _: weights.load_keras_applications(model, source), "keras", 1000, CENTRAL)
_TORCH = _Source(
    lambda model, source, options: weights.load_torch(model, source, options["epsilon"]), "explicit", 1000, None
)
_SOURCES = {".keras": _KERAS, ".h5": _KERAS, ".safetensors": _TORCH, ".pt": _TORCH, ".pth": _TORCH}
"""By a file's suffix; a slim checkpoint's prefix may have any."""


def import_model(
    source: str | PathLike[str],
    out: str | PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    alpha: float | None = None,
    classes: int | None = None,
    ranges: bool = False,
    use_ema: bool = False,
    epsilon: float = 1e-5,
    preprocessing: Preprocessing | None = None,
) -> Any:
    """Make a MobileNet v1 of trained weights, and write it as a ``.keras`` file, whole or not at all.

    Args:
        source: a ``.tflite`` file, see `tfsep.models.from_tflite`; a ``.keras`` or ``.weights.h5`` file or
            ``"imagenet"``, see `tfsep.weights.load_keras_applications`; a ``.safetensors`` or ``.pt`` file, see
            `load_torch`; or the prefix of a checkpoint, see `load_slim_checkpoint`.
        out: the ``.keras`` file; the JSON beside it records the preprocessing.
        size, alpha, classes: of the model; None for 224×224, 1, and 1000 classes, slim's 1001. A ``.tflite`` file says
            them itself.
        ranges: whether to keep a quantized ``.tflite`` file's ranges, in a model of `tfsep.quantize`.
        use_ema: of a checkpoint, its moving averages.
        epsilon: of PyTorch's batch normalizations.
        preprocessing: to record; None for slim's and Keras's, [-1, 1]. PyTorch's models differ, so none is recorded.

    Returns:
        The model.

    Raises:
        TypeError: for what is no path.
        FileNotFoundError, ConnectionError, ImportError: if there is nothing to load by.
        ValueError: if the source is damaged, or no MobileNet v1 of this width, size and classes.
        OSError: if the file cannot be written.

    Examples:
        >>> import_model("missing.tflite", "model.keras")
        Traceback (most recent call last):
        FileNotFoundError: path: expected a .tflite file, got missing.tflite, which does not exist
    """
    out = as_path(out, "out")
    if out.suffix != ".keras" or not out.parent.is_dir():
        raise ValueError(f"out: expected a .keras file in a folder that exists, got {out}")
    name = str(as_path(source, "source"))
    how: Preprocessing | None
    if name.endswith(".tflite"):
        said = {"size": size, "alpha": alpha, "classes": classes}
        given = [argument for argument, value in said.items() if value is not None]
        if given:
            raise ValueError(
                f"{given[0]}: expected None for a .tflite file, which says it itself, got {said[given[0]]}"
            )
        model, how = models.from_tflite(name, "from_file" if ranges else None), preprocessing or CENTRAL
    else:
        if ranges:
            raise ValueError(f"ranges: expected none for a source that is no .tflite file, got {name}")
        kind = _KERAS if name == "imagenet" else _SOURCES.get(Path(name).suffix, _SLIM)
        model = models.MobileNetV1(
            (*(size or (224, 224)), 3),
            kind.classes if classes is None else classes,
            1.0 if alpha is None else alpha,
            padding=kind.padding,
        )
        kind.load(model, name, {"use_ema": use_ema, "epsilon": epsilon})
        how = preprocessing or kind.preprocessing
    if how is None:
        # First of the two: without a record beside it, no model is prepared for by another one's.
        out.with_suffix(".json").unlink(missing_ok=True)
        with atomic_file(out, "out") as partial:
            model.save(partial)
    else:
        save_with_preprocessing(model, how, out, "out")
    _logger.info(
        f"{out}: {model.count_params():,} parameters, input {model.input_shape[1:]}, output {model.output_shape[1:]}"
    )
    if how is None:
        _logger.info("preprocessing: not recorded, as the source does not say; predict takes its default")
    else:
        _logger.info(f"preprocessing: {how.describe()}, recorded in {out.with_suffix('.json').name}")
    return model
