"""Loading of weights from the MobileNets of ``keras.applications``."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any, NamedTuple

from tfsep._keras.backend import keras
from tfsep._keras.model_graph import leaf_layers
from tfsep._keras.types import Model
from tfsep._utils.arguments import as_found, as_path
from tfsep._utils.foreign_errors import cause_of
from tfsep._utils.zip_limits import check_unpacked_size
from tfsep.defs import NETWORKS
from tfsep.defs._layer_def import LayerDef
from tfsep.weights._conv_bn_stages import (
    ModelStage,
    Normalization,
    SourceStage,
    assign_stages,
    require_padding,
    stages_of_model,
)

_NORMALIZATION = ("gamma", "beta", "moving_mean", "moving_variance")


class _Application(NamedTuple):
    """A network of ``keras.applications``.

    Attributes:
        name: its function there.
        network: the same network's key in `NETWORKS`.
        sizes: rows and columns of the images that Keras's ImageNet weights were trained on.
        rule: how it pads images whose size is known when it is built, a key of `tfsep.defs.PADDING_RULES`.
        min_depth: fewest filters of a layer.
        options: arguments of the function that make this network.
    """

    name: str
    network: str
    sizes: tuple[int, ...]
    rule: str = "same"
    min_depth: int = 8
    options: Mapping[str, Any] = MappingProxyType({})

    @property
    def title(self) -> str:
        """Its name in Python."""
        return f"keras.applications.{self.name}"

    def convolutions(self, alpha: float = 1.0) -> list[LayerDef]:
        """Return the convolutions of its body."""
        layers = NETWORKS[self.network].layers(3, alpha, self.min_depth)
        return [layer for layer in layers if layer.op in ("conv2d", "depthwise_conv2d")]

    def pads_by(self, source: Model) -> str:
        """Return how a model of this network pads, a key of `tfsep.defs.PADDING_RULES`."""
        return "keras" if None in source.input_shape[1:3] else self.rule

    def make(self, **options: Any) -> Model:
        """Return a model of this network."""
        return getattr(keras.applications, self.name)(**self.options, **options)


_APPLICATIONS = (
    _Application("MobileNet", "mobilenet_v1", (128, 160, 192, 224), "keras", min_depth=1),
    _Application("MobileNetV2", "mobilenet_v2", (96, 128, 160, 192, 224)),
    *(
        _Application(
            f"MobileNetV3{size.title()}",
            f"mobilenet_v3_{size}{'_minimalistic' * minimalistic}",
            (224,),
            options={"minimalistic": minimalistic},
        )
        for size in ("large", "small")
        for minimalistic in (False, True)
    ),
)


def padding_of_application(network: str) -> str:
    """Return how ``keras.applications`` pads a network on images of a known size, a key of `PADDING_RULES`.

    Args:
        network: a key of `tfsep.defs.NETWORKS`.

    Raises:
        ValueError: if it is not there.
    """
    rules = {application.network: application.rule for application in _APPLICATIONS}
    if network not in rules:
        raise ValueError(f"network: expected {', '.join(rules)} for weights of keras.applications, got {network!r}")
    return rules[network]


def load_keras_applications(model: Model, source: Model | str | PathLike[str]) -> None:
    """Load the weights of a MobileNet of ``keras.applications`` into a model of the same network.

    The model must have the same padding: ``MobileNetV1(..., padding="keras")``, and ``padding="same"`` for the others.
    Both are equal on images whose sides are multiples of 32. A source that takes images of any size pads by the rule
    ``"keras"``, whichever network it is. The model stays unchanged unless everything fits.

    Args:
        model: model of MobileNet v1, v2 or v3, by `tfsep.models`; v3 at widths of 0.75 and 1, those that Keras has
            weights of: at others, its first convolution is not scaled.
        source: a ``keras.applications.MobileNet``, ``MobileNetV2``, ``MobileNetV3Large`` or ``MobileNetV3Small``, its
            ``.keras`` or ``.weights.h5`` file, or ``"imagenet"`` for the weights that Keras downloads: those of the
            model's width, and of its image size if they exist for it. For a MobileNet v1 of a width under 0.25, build
            the model by ``MobileNetV1(..., min_depth=1)``: the source has layers of less than 8 filters. Where a
            MobileNet v3 has its preprocessing inside, the model takes what that makes of an image, in [-1, 1].

    Raises:
        TypeError: if `model` is no Keras model, or `source` has another type.
        FileNotFoundError: if there is no such file.
        ConnectionError: if the weights cannot be downloaded.
        ValueError: if the model is of another network or pads otherwise; if a file is not whole, or weights are missing
            or wrongly shaped.

    Examples:
        >>> from tfsep.models import MobileNetV1
        >>> theirs = keras.applications.MobileNet((64, 64, 3), alpha=0.25, weights=None, classes=10)
        >>> ours = MobileNetV1((64, 64, 3), 10, 0.25, padding="keras")
        >>> load_keras_applications(ours, theirs)
        >>> x = np.ones((1, 64, 64, 3), "float32")
        >>> bool(np.abs(ours(x) - theirs(x)).max() < 1e-5)
        True
    """
    model_stages = stages_of_model(model)
    application = _application_of(model, model_stages)
    if isinstance(source, keras.Model):
        source_model, name = source, repr(source.name)
    elif isinstance(source, str) and source == "imagenet":
        source_model, name = _download(application, model, model_stages), "Keras's ImageNet weights"
    else:
        path = as_path(source, "source")
        source_model, name = _open(path, application, model_stages), str(path)
    stages = _stages(source_model, application)
    require_padding(model_stages, application.pads_by(source_model), application.title)
    assign_stages(model, model_stages, stages, "source", name)


def _application_of(model: Model, model_stages: Sequence[ModelStage]) -> _Application:
    """The network of a model, by the kinds and kernels of its convolutions; a classifier may follow, or not."""
    own = [_kind(stage.definition) for stage in model_stages]
    for application in _APPLICATIONS:
        body = [_kind(layer) for layer in application.convolutions()]
        if own[: len(body)] == body and own[len(body) :] in ([], [("conv2d", (1, 1))]):
            return application
    titles = ", ".join(NETWORKS[application.network].title for application in _APPLICATIONS)
    raise ValueError(f"model: expected the layers of {titles}, got {model.name!r}")


def _kind(layer: LayerDef) -> tuple[str, tuple[int, int]]:
    return layer.op, layer.kernel


def _stages(source_model: Model, application: _Application) -> list[SourceStage]:
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
            case keras.layers.Dense():
                kernel = weights["kernel"][None, None]
                found.append(SourceStage(layer.name, kernel, False, weights.get("bias")))
            case _ if weights:
                raise ValueError(
                    f"source: expected a {application.title}, got a model with {type(layer).__name__} {layer.name!r}"
                )
    return found


def _counterpart(
    application: _Application, model_stages: Sequence[ModelStage], size: int, weights: str | None = None
) -> Model:
    """A network of ``keras.applications`` with the width and classes of a model, for images of a size."""
    own = [stage.definition.depth for stage in model_stages if not stage.depthwise]
    whole = [layer.depth for layer in application.convolutions() if layer.depth]
    classes = own[len(whole)] if len(own) > len(whole) else None
    return application.make(
        alpha=_alpha(application, own[: len(whole)], whole),
        include_top=classes is not None,
        classes=classes or 1000,
        input_shape=(size, size, 3),
        weights=weights,
    )


def _alpha(application: _Application, own: Sequence[int | None], whole: Sequence[int]) -> float:
    """The width multiplier that rounds the filters of a whole network to those of a model."""
    ratios = [(depth or 0) / full for depth, full in zip(own, whole, strict=True)]
    candidates, middle = {*ratios, *(hundredths / 100 for hundredths in range(1, 301))}, median(ratios)
    for alpha in sorted(candidates, key=lambda alpha: abs(alpha - middle)):
        if [layer.depth for layer in application.convolutions(alpha) if layer.depth] == own:
            return alpha
    raise ValueError(
        f"model: expected numbers of filters that {application.title} has at some width, got {', '.join(map(str, own))}"
    )


def _download(application: _Application, model: Model, model_stages: Sequence[ModelStage]) -> Model:
    rows, columns = model.input_shape[1:3]
    size = rows if rows == columns and rows in application.sizes else application.sizes[-1]
    try:
        return _counterpart(application, model_stages, size, "imagenet")
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
def _reading(path: Path, application: _Application) -> Iterator[None]:
    """Temporarily turn whatever Keras raises for a damaged archive, or one of another network, into one sentence."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"source: expected a {application.title} of the model's width and classes, in a whole "
            f"{''.join(path.suffixes[-2:])} file, got {path} ({cause_of(error)})"
        ) from error


def _open(path: Path, application: _Application, model_stages: Sequence[ModelStage]) -> Model:
    if not path.is_file():
        raise FileNotFoundError(f"source: expected a file, got {as_found(path)}")
    if path.suffix == ".keras":
        with _reading(path, application):
            check_unpacked_size(path)
            return keras.models.load_model(path, compile=False)
    if path.suffix != ".h5":
        raise ValueError(f"source: expected a .keras or .weights.h5 file, or 'imagenet', got {path}")
    source_model = _counterpart(application, model_stages, application.sizes[-1])
    # Before it fails, Keras warns of each layer that does not fit.
    with _reading(path, application), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source_model.load_weights(path)
    return source_model
