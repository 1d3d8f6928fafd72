"""Import of trained weights as a model file, with the record of its preprocessing beside it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tfsep import models, weights
from tfsep._keras.types import Model
from tfsep._utils.arguments import as_path
from tfsep._utils.atomic_files import atomic_file, parents_made, require_place
from tfsep.data import CENTRAL, Preprocessing, save_with_preprocessing
from tfsep.defs import NETWORKS
from tfsep.weights._keras_applications import padding_of_application

_logger = logging.getLogger(__name__)

IMAGENET_STATISTICS = Preprocessing.standardizing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), crop=0.875)
"""The preprocessing of torchvision, and of many models of timm."""


@dataclass(frozen=True)
class _Source:
    """The models of one kind of source.

    Attributes:
        load: loads weights; called with the model, the source and options.
        padding: rule of their convolutions, a key of `tfsep.defs.PADDING_RULES`, from a key of `tfsep.defs.NETWORKS`.
        classes: default number of classes.
        preprocessing: preprocessing of their training; None where it differs between models.
    """

    load: Callable[[Model, str, dict[str, Any]], None]
    padding: Callable[[str], str]
    classes: int
    preprocessing: Preprocessing | None


def _load_slim(model: Model, source: str, options: dict[str, Any]) -> None:
    weights.load_slim_checkpoint(model, source, use_ema=options["use_ema"], scope=options["scope"])


def _load_keras(model: Model, source: str, _: dict[str, Any]) -> None:
    try:
        weights.load_keras_applications(model, source)
    except ValueError as error:
        if source == "imagenet" or source.endswith(".weights.h5"):
            raise
        raise ValueError(f"{error}; whole models of other networks are for tfsep convert and export") from error


def _load_torch(model: Model, source: str, options: dict[str, Any]) -> None:
    weights.load_torch(model, source, options["epsilon"], options["padding"])


_SLIM = _Source(_load_slim, lambda _: "same", 1001, CENTRAL)
_KERAS = _Source(_load_keras, padding_of_application, 1000, CENTRAL)
_TORCH = _Source(_load_torch, lambda _: "explicit", 1000, None)
_SOURCES = {".keras": _KERAS, ".h5": _KERAS, ".safetensors": _TORCH, ".pt": _TORCH, ".pth": _TORCH}
"""By the suffix of a file; any other is the prefix of a slim checkpoint."""


def import_model(
    source: str | PathLike[str],
    out: str | PathLike[str],
    *,
    network: str | None = None,
    size: tuple[int, int] | None = None,
    alpha: float | None = None,
    classes: int | None = None,
    ranges: bool = False,
    use_ema: bool = False,
    scope: str | None = None,
    epsilon: float = 1e-5,
    padding: str | None = None,
    preprocessing: Preprocessing | None = None,
) -> Model:
    """Make a network of trained weights, and write it as a ``.keras`` file, completely or not at all.

    Args:
        source: a ``.tflite`` file (`tfsep.models.from_tflite`); a ``.keras`` or ``.weights.h5`` file or ``"imagenet"``
            (`tfsep.weights.load_keras_applications`); a ``.safetensors`` or ``.pt`` file (`tfsep.weights.load_torch`);
            or the prefix of a checkpoint (`tfsep.weights.load_slim_checkpoint`).
        out: the ``.keras`` file, in a folder that is made if it does not exist; the JSON beside it records the
            preprocessing.
        network: a key of `tfsep.defs.NETWORKS`; None for ``"mobilenet_v1"``. None for a ``.tflite`` file.
        size: rows and columns of the input; None for the network's, such as 224×224. None for a ``.tflite`` file, which
            has its own.
        alpha: width multiplier; None for 1. None for a ``.tflite`` file, which has its own.
        classes: number of classes; None for 1000, or 1001 of a checkpoint. None for a ``.tflite`` file, which has its
            own.
        ranges: whether to keep the ranges of a quantized ``.tflite`` file, in a model of `tfsep.quantize`.
        use_ema: whether to take the moving averages of a checkpoint.
        scope: where a checkpoint has the network, such as ``"FeatureExtractor/MobilenetV1"``; None for its own scope,
            or the only other one that fits.
        epsilon: epsilon of the batch normalizations of PyTorch.
        padding: how the network pads, a key of `tfsep.defs.PADDING_RULES`, see `tfsep.weights.load_torch`; None for
            that of the source's kind: slim's, Keras's or PyTorch's. None for a ``.tflite`` file, which has its own.
        preprocessing: to record; None for slim's and Keras's, [-1, 1]. The models of PyTorch differ: None records
            nothing.

    Returns:
        The model.

    Raises:
        TypeError: if `source` or `out` is no path.
        FileNotFoundError: if the source does not exist.
        ConnectionError: if ``"imagenet"`` cannot be downloaded.
        ImportError: if the package that reads the source is missing.
        ValueError: for an unknown network or padding, or a damaged source, or one that is no such network of this
            width, size and classes.
        OSError: if the file cannot be written.

    Examples:
        >>> import_model("missing.tflite", "model.keras")
        Traceback (most recent call last):
        FileNotFoundError: path: expected a .tflite file, got missing.tflite, which does not exist
    """
    out = as_path(out, "out")
    if out.suffix != ".keras":
        raise ValueError(f"out: expected a name that ends in .keras, got {out}")
    require_place(out, "out")
    name = str(as_path(source, "source"))
    how: Preprocessing | None
    if name.endswith(".tflite"):
        said = {"network": network, "size": size, "alpha": alpha, "classes": classes}
        said |= {"scope": scope, "padding": padding}
        given = [argument for argument, value in said.items() if value is not None]
        if given:
            raise ValueError(
                f"{given[0]}: expected None for a .tflite file, which says it itself, got {said[given[0]]}"
            )
        model, how = models.from_tflite(name, "from_file" if ranges else None), preprocessing or CENTRAL
    else:
        if ranges:
            raise ValueError(f"ranges: expected none for a source that is no .tflite file, got {name}")
        if Path(name).is_dir():
            raise ValueError(
                f"source: expected a file of weights, or the prefix of a checkpoint, got the folder {name}; a "
                "SavedModel is for tfsep convert"
            )
        kind = _KERAS if name == "imagenet" else _SOURCES.get(Path(name).suffix, _SLIM)
        network = "mobilenet_v1" if network is None else network
        if network not in NETWORKS:
            raise ValueError(f"network: expected one of {', '.join(NETWORKS)}, got {network!r}")
        padding = kind.padding(network) if padding is None else padding
        *sides, channels = NETWORKS[network].input_shape()
        model = models.from_definitions(
            NETWORKS[network],
            (*(size or sides), channels),
            kind.classes if classes is None else classes,
            1.0 if alpha is None else alpha,
            padding=padding,
        )
        if scope is not None and kind is not _SLIM:
            raise ValueError(f"scope: expected None for a source that is no slim checkpoint, got {scope!r} for {name}")
        kind.load(model, name, {"use_ema": use_ema, "scope": scope, "epsilon": epsilon, "padding": padding})
        how = preprocessing or kind.preprocessing
    if how is None:
        # Removed first, so that the new model never has the record of another one beside it.
        out.with_suffix(".json").unlink(missing_ok=True)
        with parents_made(out, "out"), atomic_file(out, "out") as partial:
            model.save(partial)
    else:
        with parents_made(out, "out"):
            save_with_preprocessing(model, how, out, "out")
    _logger.info(
        f"{out}: {model.count_params():,} parameters, input {model.input_shape[1:]}, output {model.output_shape[1:]}"
    )
    if how is None:
        _logger.info("preprocessing: not recorded, as the source does not say; predict takes its default")
    else:
        _logger.info(f"preprocessing: {how.describe()}, recorded in {out.with_suffix('.json').name}")
    return model
