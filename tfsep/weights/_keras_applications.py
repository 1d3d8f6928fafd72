"""Weights of ``keras.applications.MobileNet`` into a model."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.model_graph import leaf_layers
from tfsep._utils.arguments import as_path
from tfsep._utils.zip_limits import check_unpacked_size
from tfsep.defs import MOBILENETV1_CONV_DEFS
from tfsep.weights._conv_bn_stages import Normalization, Stage, fill, require_padding, targets_of

_NORMALIZATION = ("gamma", "beta", "moving_mean", "moving_variance")

_DEPTHS = tuple(each.depth for each in MOBILENETV1_CONV_DEFS)

SIZES = (128, 160, 192, 224)
"""Rows and columns of the images that Keras's ImageNet weights were trained on."""


def load_keras_applications(model: Any, source: Any) -> None:
    """Load the weights of a ``keras.applications.MobileNet`` into a model of its layers.

    The model has to pad as that one does, ``MobileNetV1(..., padding="keras")``; on images whose sides are multiples of
    32 that is what ``padding="same"`` does too. Nothing is changed in the model unless everything fits.

    Args:
        model: whose convolutions are the source's, in order.
        source: a ``keras.applications.MobileNet``, its ``.keras`` file, its ``.weights.h5`` file, or ``"imagenet"`` for
            the weights that Keras downloads, of the model's own width, and size where it is one of theirs. One of a
            width under 0.25 has layers of under 8 filters, as ``MobileNetV1(..., min_depth=1)`` has.

    Raises:
        TypeError: if `model` is no Keras model, or `source` none of these.
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
    targets = targets_of(model)
    require_padding(targets, "keras", "keras.applications.MobileNet")
    if isinstance(source, keras.Model):
        theirs, name = source, repr(source.name)
    elif isinstance(source, str) and source == "imagenet":
        theirs, name = _downloaded(model, targets), "Keras's ImageNet weights"
    else:
        path = as_path(source, "source")
        theirs, name = _opened(path, targets), str(path)
    fill(model, targets, _stages(theirs), "source", name)


def _stages(theirs: Any) -> list[Stage]:
    """The stages of a Keras model, of Keras's own layers."""
    found: list[Stage] = []
    for layer in leaf_layers(theirs):
        weights = {weight.name: weight.numpy() for weight in layer.weights}
        match layer:
            case keras.layers.BatchNormalization() if found and {"gamma", "beta"} <= weights.keys():
                gamma, beta, mean, variance = (weights[name] for name in _NORMALIZATION)
                own = Normalization(gamma, beta, mean, variance, layer.epsilon)
                found[-1] = found[-1]._replace(normalization=own)
            case keras.layers.Conv2D() | keras.layers.DepthwiseConv2D():
                depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
                found.append(Stage(layer.name, weights["kernel"], depthwise, weights.get("bias")))
            case _ if weights:
                raise ValueError(
                    "source: expected a keras.applications.MobileNet, got a model with "
                    f"{type(layer).__name__} {layer.name!r}"
                )
    return found


def _like(targets: Any, **options: Any) -> Any:
    """A ``keras.applications.MobileNet`` of the width and classes of a model."""
    last = targets[-1]
    classes = last.definition.depth if last.normalization is None else None
    # Keras rounds down, layer by layer: this is the least width of which all layers have the model's filters.
    depths = [target.definition.depth for target in targets if not target.depthwise]
    alpha = max(own / whole for own, whole in zip(depths, _DEPTHS, strict=False))
    return keras.applications.MobileNet(
        alpha=alpha, include_top=classes is not None, classes=classes or 1000, **options
    )


def _downloaded(model: Any, targets: Any) -> Any:
    rows, columns = model.input_shape[1:3]
    size = rows if rows == columns and rows in SIZES else SIZES[-1]
    try:
        return _like(targets, weights="imagenet", input_shape=(size, size, 3))
    except ValueError as error:
        raise ValueError(
            "source: expected 'imagenet' for a model of a width and of classes that Keras has such weights for, "
            f"got {model.name!r} ({error})"
        ) from error
    except Exception as error:  # a download that fails is a bare one
        raise ConnectionError(
            f"source: expected a network to download Keras's ImageNet weights by, or a file of them, got none ({error})"
        ) from error


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """While open, whatever a damaged archive makes the loaders underneath raise is one sentence."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"source: expected a whole {''.join(path.suffixes[-2:])} file of the model's width and classes, got {path} "
            f"({reason})"
        ) from error


def _opened(path: Path, targets: Any) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"source: expected a file, got {path}, which does not exist")
    if path.suffix == ".keras":
        with _whole(path):
            check_unpacked_size(path)
            return keras.models.load_model(path, compile=False)
    if path.suffix != ".h5":
        raise ValueError(f"source: expected a .keras or .weights.h5 file, or 'imagenet', got {path}")
    theirs = _like(targets, weights=None)
    # Keras warns of each layer that does not fit before it fails.
    with _whole(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.load_weights(path)
    return theirs
