"""Loading of weights from ``keras.applications.MobileNet``."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.model_graph import leaf_layers
from tfsep._keras.types import Model
from tfsep._utils.arguments import as_found, as_path
from tfsep._utils.foreign_errors import cause_of
from tfsep._utils.zip_limits import check_unpacked_size
from tfsep.defs import MOBILENETV1_CONV_DEFS
from tfsep.weights._conv_bn_stages import (
    ModelStage,
    Normalization,
    SourceStage,
    assign_stages,
    stages_padded_by,
)

_NORMALIZATION = ("gamma", "beta", "moving_mean", "moving_variance")

_DEPTHS = tuple(each.depth for each in MOBILENETV1_CONV_DEFS)

SIZES = (128, 160, 192, 224)
"""Rows and columns of the images that Keras's ImageNet weights were trained on."""


def load_keras_applications(model: Model, source: Model | str | PathLike[str]) -> None:
    """Load the weights of a ``keras.applications.MobileNet`` into a model with the same layers.

    The model must have the same padding, ``MobileNetV1(..., padding="keras")``, which equals ``padding="same"`` on
    images whose sides are multiples of 32. The model stays unchanged unless everything fits.

    Args:
        model: model with the same convolutions as the source, in the same order.
        source: a ``keras.applications.MobileNet``, its ``.keras`` or ``.weights.h5`` file, or ``"imagenet"`` for the
            weights that Keras downloads: those of the model's width, and of its image size if they exist for it. For a
            source of a width under 0.25, build the model by ``MobileNetV1(..., min_depth=1)``: the source has layers of
            less than 8 filters.

    Raises:
        TypeError: if `model` is no Keras model, or `source` has another type.
        FileNotFoundError: if there is no such file.
        ConnectionError: if the weights cannot be downloaded.
        ValueError: if a file is not whole, if weights are missing or wrongly shaped, or if the model pads otherwise.

    Examples:
        >>> from tfsep.models import MobileNetV1
        >>> theirs = keras.applications.MobileNet((64, 64, 3), alpha=0.25, weights=None, classes=10)
        >>> ours = MobileNetV1((64, 64, 3), 10, 0.25, padding="keras")
        >>> load_keras_applications(ours, theirs)
        >>> x = np.ones((1, 64, 64, 3), "float32")
        >>> bool(np.abs(ours(x) - theirs(x)).max() < 1e-5)
        True
    """
    model_stages = stages_padded_by(model, "keras", "keras.applications.MobileNet")
    if isinstance(source, keras.Model):
        source_model, name = source, repr(source.name)
    elif isinstance(source, str) and source == "imagenet":
        source_model, name = _download(model, model_stages), "Keras's ImageNet weights"
    else:
        path = as_path(source, "source")
        source_model, name = _open(path, model_stages), str(path)
    assign_stages(model, model_stages, _stages(source_model), "source", name)


def _stages(source_model: Model) -> list[SourceStage]:
    """The stages of a model of Keras's own layers."""
    found: list[SourceStage] = []
    for layer in leaf_layers(source_model):
        weights = {weight.name: weight.numpy() for weight in layer.weights}
        match layer:
            case keras.layers.BatchNormalization() if found and {"gamma", "beta"} <= weights.keys():
                gamma, beta, mean, variance = (weights[name] for name in _NORMALIZATION)
                own = Normalization(gamma, beta, mean, variance, layer.epsilon)
                found[-1] = found[-1]._replace(normalization=own)
            case keras.layers.Conv2D() | keras.layers.DepthwiseConv2D():
                depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
                found.append(SourceStage(layer.name, weights["kernel"], depthwise, weights.get("bias")))
            case _ if weights:
                raise ValueError(
                    "source: expected a keras.applications.MobileNet, got a model with "
                    f"{type(layer).__name__} {layer.name!r}"
                )
    return found


def _counterpart(model_stages: Sequence[ModelStage], **options: Any) -> Model:
    """A ``keras.applications.MobileNet`` with the width and classes of a model."""
    last = model_stages[-1]
    classes = last.definition.depth if last.normalization is None else None
    # Keras rounds down, layer by layer: this is the smallest width that gives all layers the model's filters.
    depths = [model_stage.definition.depth or 0 for model_stage in model_stages if not model_stage.depthwise]
    alpha = max(own / whole for own, whole in zip(depths, _DEPTHS, strict=False))
    return keras.applications.MobileNet(
        alpha=alpha, include_top=classes is not None, classes=classes or 1000, **options
    )


def _download(model: Model, model_stages: Sequence[ModelStage]) -> Model:
    rows, columns = model.input_shape[1:3]
    size = rows if rows == columns and rows in SIZES else SIZES[-1]
    try:
        return _counterpart(model_stages, weights="imagenet", input_shape=(size, size, 3))
    except ValueError as error:
        raise ValueError(
            "source: expected 'imagenet' for a model of a width and of classes that Keras has such weights for, "
            f"got {model.name!r} ({error})"
        ) from error
    except Exception as error:  # Keras raises a bare Exception for a failed download
        raise ConnectionError(
            f"source: expected a network to download Keras's ImageNet weights by, or a file of them, got none ({error})"
        ) from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Temporarily turn whatever Keras raises for a damaged archive, or one of another network, into one sentence."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"source: expected a keras.applications.MobileNet of the model's width and classes, in a whole "
            f"{''.join(path.suffixes[-2:])} file, got {path} ({cause_of(error)})"
        ) from error


def _open(path: Path, model_stages: Sequence[ModelStage]) -> Model:
    if not path.is_file():
        raise FileNotFoundError(f"source: expected a file, got {as_found(path)}")
    if path.suffix == ".keras":
        with _reading(path):
            check_unpacked_size(path)
            return keras.models.load_model(path, compile=False)
    if path.suffix != ".h5":
        raise ValueError(f"source: expected a .keras or .weights.h5 file, or 'imagenet', got {path}")
    source_model = _counterpart(model_stages, weights=None)
    # Before it fails, Keras warns of each layer that does not fit.
    with _reading(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source_model.load_weights(path)
    return source_model
