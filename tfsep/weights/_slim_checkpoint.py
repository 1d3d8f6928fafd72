"""Loading of TF-slim checkpoints into models whose layers have slim's names."""

import itertools
import logging
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.model_graph import leaf_layers, require_model
from tfsep._keras.types import Model

_logger = logging.getLogger(__name__)

SLIM_VARIABLES: dict[str, dict[str, str]] = {
    **{
        name: {"kernel": "weights", "bias": "biases"}
        for name in ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "InPlaneConv2D", "Dense")
    },
    "DepthwiseConv2D": {"kernel": "depthwise_weights", "bias": "biases"},
    "SeparableConv2D": {
        "depthwise_kernel": "depthwise_weights",
        "pointwise_kernel": "pointwise_weights",
        "bias": "biases",
    },
    "BiasAdd": {"bias": "biases"},
    "SpatialSoftmax": {"temperature": "temperature"},
    "GroupNormalization": {"gamma": "gamma", "beta": "beta"},
    "BatchNormalization": {
        "gamma": "gamma",
        "beta": "beta",
        "moving_mean": "moving_mean",
        "moving_variance": "moving_variance",
    },
}
"""Slim's name of each weight, by the class of its layer."""

EMA_SUFFIX = "/ExponentialMovingAverage"
BATCH_STATISTICS = ("/moving_mean", "/moving_variance")
OPTIMIZER_SLOTS = (
    "/RMSProp",
    "/RMSProp_1",
    "/Momentum",
    "/Adam",
    "/Adam_1",
    "/Adagrad",
    "/Adadelta",
    "/Adadelta_1",
    "/Ftrl",
    "/Ftrl_1",
)
"""Suffixes of the names of optimizer variables, which are not part of the network."""

TRAINING_STATE = ("global_step", "beta1_power", "beta2_power")


def slim_variables(model: Model) -> dict[str, keras.Variable]:
    """Return a model's weights by slim's names.

    Args:
        model: a Keras model whose layers are named by their slim scopes, with dots for slashes.

    Raises:
        TypeError: if `model` is no Keras model.
        ValueError: for a layer or weight without a name in slim, or two layers with the same scope, as in nested
            models.

    Examples:
        >>> from tfsep.models import MobileNetV1
        >>> list(slim_variables(MobileNetV1((32, 32, 3), alpha=0.25)))[5]
        'MobilenetV1/Conv2d_1_depthwise/depthwise_weights'
    """
    require_model(model)
    variables: dict[str, keras.Variable] = {}
    for layer in leaf_layers(model):
        if not layer.weights:
            continue
        names = SLIM_VARIABLES.get(type(layer).__name__)
        if names is None:
            raise ValueError(
                f"model: expected layers that slim has names for ({', '.join(SLIM_VARIABLES)}), "
                f"got {type(layer).__name__} {layer.name!r}"
            )
        unnamed = [weight.name for weight in layer.weights if weight.name not in names]
        if unnamed:
            raise ValueError(
                f"model: expected weights that slim has names for ({', '.join(names)}), "
                f"got {', '.join(unnamed)} in {type(layer).__name__} {layer.name!r}"
            )
        scope = layer.name.replace(".", "/")
        if f"{scope}/{names[layer.weights[0].name]}" in variables:
            raise ValueError(f"model: expected one layer of each slim scope, got two of {scope!r}")
        variables.update({f"{scope}/{names[weight.name]}": weight for weight in layer.weights})
    return variables


def _open(path: str | PathLike[str]) -> Any:
    """Open a checkpoint by its prefix (``model.ckpt``) or by its ``.index`` file."""
    prefix = str(path).removesuffix(".index")
    if not Path(f"{prefix}.index").is_file():
        raise FileNotFoundError(f"path: expected a checkpoint with an index file {prefix}.index, got none")
    try:
        return tf.train.load_checkpoint(prefix)
    except (tf.errors.OpError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"path: expected a readable TensorFlow checkpoint, got {prefix}: {reason}") from error


def _read(reader: Any, name: str, path: str | PathLike[str]) -> np.ndarray:
    try:
        return reader.get_tensor(name)
    except (tf.errors.OpError, ValueError, IndexError) as error:
        raise ValueError(f"path: expected a whole checkpoint, got {path} with unreadable {name}") from error


def load_slim_checkpoint(
    model: Model,
    path: str | PathLike[str],
    use_ema: bool = False,
    background: Literal["keep", "drop"] = "keep",
    *,
    scope: str | None = None,
    log: Callable[[str], None] | None = None,
) -> None:
    """Load a TF-slim checkpoint into a model whose layers have slim's names.

    Each variable of the network is used once; optimizer variables, moving averages and the step are ignored. The model
    stays unchanged unless everything fits.

    Args:
        model: model from `tfsep.models`, or any Keras model whose layer names are slim scopes with dots for slashes.
        path: prefix of the checkpoint, ``.../model.ckpt``, or its ``.index`` file.
        use_ema: whether to load ``…/ExponentialMovingAverage`` of each trained variable. Batch statistics are averages
            already, and may have none.
        background: ``"keep"`` loads the classifier as it is; ``"drop"`` leaves class 0 out, slim's background class, so
            that a checkpoint of 1001 classes fits a model of 1000.
        scope: where the checkpoint has the network, such as ``"FeatureExtractor/MobilenetV1"`` of a detection model;
            the variables of the checkpoint that the model lacks are left out then. None for the model's own scope, or,
            where the checkpoint lacks that, for the only other one with all of the model's variables.
        log: called with one line about the decisions: raw or averaged weights, the scope, the background class, and the
            model's padding, of which a checkpoint says nothing; None logs it, at level INFO.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        TypeError: if `model` is no Keras model.
        ValueError: if variables are missing, unused, of another type or shape (the message names some), if the file is
            damaged, for another `background`, a `scope` without variables, or several scopes that fit.

    Examples:
        >>> from tfsep.models import MobileNetV1
        >>> load_slim_checkpoint(MobileNetV1((32, 32, 3)), "missing/model.ckpt")
        Traceback (most recent call last):
        FileNotFoundError: path: expected a checkpoint with an index file missing/model.ckpt.index, got none
    """
    if background not in ("keep", "drop"):
        raise ValueError(f"background: expected 'keep' or 'drop', got {background!r}")
    own = slim_variables(model)
    reader = _open(path)
    stored = reader.get_variable_to_shape_map()
    network = {name for name in stored if _is_network(name)}
    names = _stored_names(own, network, scope)
    wanted = {names[name]: variable for name, variable in own.items()}
    elsewhere = [name for name in own if names[name] != name][:1]

    sources = {name: name + EMA_SUFFIX if use_ema and name + EMA_SUFFIX in stored else name for name in wanted}
    raw = [name for name in wanted if name in stored and sources[name] == name and not name.endswith(BATCH_STATISTICS)]
    if use_ema and raw:
        raise ValueError(
            f"use_ema: expected …{EMA_SUFFIX} of every trained variable, got a checkpoint without that of {_some(raw)}"
        )
    missing = sorted(name for name, source in sources.items() if source not in stored)
    unused = sorted(network - set(wanted)) if scope is None and not elsewhere else []
    for name in stored:  # unused ones too: a checkpoint that is cut short is not to be trusted
        _read(reader, name, path)
    types = reader.get_variable_to_dtype_map()
    values: dict[str, np.ndarray] = {}
    wrong, mistyped = [], []
    for name, source in sources.items():
        if source not in stored:
            continue
        if not types[source].is_floating:
            mistyped.append(f"{name} {types[source].name}")
            continue
        value = _read(reader, source, path)
        if background == "drop" and _is_classifier(name):
            value = value[..., 1:]
        if value.shape != tuple(wanted[name].shape):
            wrong.append(f"{name} {value.shape} for {tuple(wanted[name].shape)}")
        values[name] = value
    problems = {"missing": missing, "unused": unused, "wrongly typed": mistyped, "wrongly shaped": wrong}
    if any(problems.values()):
        listed = "; ".join(f"{kind}: {_some(names)}" for kind, names in problems.items() if names)
        raise ValueError(f"path: expected a checkpoint of {model.name!r}, got one with {listed}")
    for name, value in values.items():
        wanted[name].assign(value)
    (log or _logger.info)(
        f"{Path(path).name}: {len(values)} variables, {'averaged' if use_ema else 'raw'} weights; "
        f"{_place(names, elsewhere, len(network - set(wanted)))}"
        f"{_classes(stored, wanted, background)}; padding {_paddings(model)}, which is the model's own"
    )


def _stored_names(own: Iterable[str], network: set[str], scope: str | None) -> dict[str, str]:
    """The names of a model's variables in a checkpoint.

    Args:
        own: slim's names of the model's variables.
        network: names in the checkpoint.
        scope: where the checkpoint has them, or None.

    Raises:
        ValueError: if the scope has no variables, or if several scopes fit where it is None.
    """
    own = list(own)
    if scope is None:
        return _prefixed(own, _prefix(own, network))
    place = scope.strip("/") if isinstance(scope, str) else scope
    if not any(name.startswith(f"{place}/") for name in network):
        found = ", ".join(sorted({name.split("/")[0] for name in network}))
        raise ValueError(f"scope: expected one of the checkpoint, which has {found}, got {scope!r}")
    root = _common_scope(own)
    # Either the scope of the network itself or, with the network's own name inside, that of what is around it.
    ways = ({name: f"{place}/{name.removeprefix(f'{root}/')}" for name in own}, _prefixed(own, f"{place}/"))
    return max(ways, key=lambda names: sum(name in network for name in names.values()))


def _prefix(own: list[str], network: set[str]) -> str:
    """What comes before a model's names in a checkpoint.

    Raises:
        ValueError: if there are several places with all of them.
    """
    if network == set(own):
        return ""
    prefixes = {name.removesuffix(own[0]) for name in network if f"/{name}".endswith(f"/{own[0]}")}
    fitting = sorted(prefix for prefix in prefixes if network.issuperset(prefix + name for name in own))
    if len(fitting) > 1:
        choices = ", ".join(repr(_common_scope([prefix + name for name in own])) for prefix in fitting)
        raise ValueError(f"scope: expected one of {choices}, all of which the checkpoint has, got None")
    return fitting[0] if fitting else ""


def _prefixed(own: list[str], prefix: str) -> dict[str, str]:
    return {name: prefix + name for name in own}


def _common_scope(names: list[str]) -> str:
    """The scope that contains all variables, or an empty name."""
    scopes = [name.split("/")[:-1] for name in names]
    common = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*scopes, strict=False))
    return "/".join(level[0] for level in common)


def _place(names: dict[str, str], elsewhere: list[str], left_out: int) -> str:
    """The scope of the checkpoint's variables, in words, where it is not the model's own."""
    if not elsewhere and not left_out:
        return ""
    scope = _common_scope(list(names.values()))
    return f"from {scope}, {left_out} variables left out; "


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _classes(stored: dict[str, list[int]], wanted: dict[str, keras.Variable], background: str) -> str:
    """The treatment of the classes, in words."""
    counts = {stored[name][-1] for name in wanted if _is_classifier(name)}
    if not counts:
        return "no classifier"
    count = counts.pop()
    if background == "drop":
        return f"class 0, the background, left out of {count}"
    return f"all {count} classes kept, class 0 slim's background where it was trained with one"


def _paddings(model: Model) -> str:
    """The paddings of a model's convolutions, except 1×1."""
    windows = [layer.window for layer in leaf_layers(model) if hasattr(layer, "window")]
    names = {w.padding if isinstance(w.padding, str) else "explicit" for w in windows if w.kernel != (1, 1)}
    return " and ".join(sorted(names)) or "none"


def _is_network(name: str) -> bool:
    """Whether a stored variable is part of the network, not of its training."""
    return name not in TRAINING_STATE and not name.endswith((EMA_SUFFIX, *OPTIMIZER_SLOTS))


def _is_classifier(name: str) -> bool:
    return "/Logits/" in name
