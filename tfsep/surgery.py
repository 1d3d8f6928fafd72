"""Changes to a trained Keras model that leave what it computes as it is."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tfsep import layers
from tfsep._backend import keras

Scale = Callable[[np.ndarray, np.ndarray], np.ndarray]


class _Foldable(NamedTuple):
    """A kind of layer that takes a normalization in: its classes, its last kernel, and how channels scale that."""

    classes: tuple[type, ...]
    kernel: str
    scale: Scale


def _of_groups(scale: np.ndarray, per_group: int, channels: int) -> np.ndarray:
    """The scales (F,) as a transposed kernel (…, F / groups, C) has its filters: each group's on its own channels."""
    grouped = scale.reshape(-1, per_group)
    return np.repeat(grouped, channels // len(grouped), axis=0).T


_KINDS = (
    _Foldable(
        (
            *(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D),
            *(layers.DepthwiseConv1D, layers.DepthwiseConv2D, layers.DepthwiseConv2DTranspose),
        ),
        "kernel",
        lambda kernel, scale: kernel * scale.reshape(kernel.shape[-2:]),
    ),
    _Foldable(
        (
            *(keras.layers.SeparableConv1D, keras.layers.SeparableConv2D),
            *(layers.SeparableConv1D, layers.SeparableConv2D, layers.SeparableConv2DTranspose),
        ),
        "pointwise_kernel",
        lambda kernel, scale: kernel * scale,
    ),
    _Foldable(
        (
            *(keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose),
            layers.Conv2DTranspose,
        ),
        "kernel",
        lambda kernel, scale: kernel * _of_groups(scale, *kernel.shape[-2:]),
    ),
    _Foldable(
        (
            *(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D, keras.layers.Dense),
            *(layers.Conv1D, layers.Conv2D),
        ),
        "kernel",
        lambda kernel, scale: kernel * scale,
    ),
)


def fold_batch_norm(model: Any) -> Any:
    """Return a model without batch normalization that computes the same at inference.

    A normalization right behind a convolution, a depthwise, separable or transposed one, or a dense layer multiplies
    its channels and adds to them, so it goes into the kernel and the bias: ``w' = w·γ / sqrt(v + ε)`` and
    ``b' = (b − m)·γ / sqrt(v + ε) + β``, with the moving statistics m and v. Nested models and
    `tfsep.layers.DepthwiseSeparableConv` are opened. The given model is not changed; what is returned shares no weight
    with it, and training it is training another network.

    A normalization that cannot be folded stays, and a warning lists it with the reason: what is in front of it is no
    such layer, has an activation of its own, is normalized over another axis, or is used elsewhere too.

    Args:
        model: a Functional or Sequential model that was built, of any layers.

    Raises:
        TypeError: if `model` is no Functional or Sequential model.
        ValueError: if it was not built.

    Source: B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference" (arXiv 1712.05877), section 3.2.

    Example:
        >>> from tfsep.models import MobileNetV1
        >>> model = MobileNetV1((32, 32, 3), 10, alpha=0.25)
        >>> folded, image = fold_batch_norm(model), np.ones((1, 32, 32, 3), "float32")
        >>> len(model.layers) - len(folded.layers), bool(np.allclose(model(image), folded(image), atol=1e-6))
        (27, True)
    """
    kept: list[str] = []
    folded = _fold(model, kept)
    if kept:
        warnings.warn(f"model: left {len(kept)} batch normalizations as they are: {'; '.join(kept)}", stacklevel=2)
    return folded


def _fold(model: Any, kept: list[str]) -> Any:
    require_graph(model)
    merged, reasons = _pairs(model)
    kept += [f"{model.name}/{name} ({reason})" for name, reason in reasons.items()]
    absorbed = {normalization.name for normalization in merged.values()}

    def clone(layer: Any) -> Any:
        if isinstance(layer, keras.Model):
            return _fold(layer, kept)
        config = layer.get_config()
        if layer.name in merged:
            config["use_bias"] = True
        elif isinstance(layer, layers.DepthwiseSeparableConv):
            config |= {"depthwise_normalization": False, "pointwise_normalization": False}
        return type(layer).from_config(config)

    if isinstance(model, keras.Sequential):
        stack = [clone(layer) for layer in model.layers if layer.name not in absorbed]
        given = model.inputs[0]
        folded = keras.Sequential([keras.Input(batch_shape=given.shape, dtype=given.dtype), *stack], name=model.name)
    else:
        folded = keras.models.clone_model(
            model,
            clone_function=clone,
            call_function=lambda layer, *args, **kwargs: args[0] if layer.name in absorbed else layer(*args, **kwargs),
        )
    for layer in model.layers:
        if layer.name in absorbed or isinstance(layer, keras.Model) or not layer.weights:
            continue
        folded.get_layer(layer.name).set_weights(_weights(layer, merged.get(layer.name)))
    return folded


def require_graph(model: Any) -> None:
    """Raise unless a model is Functional or Sequential, and was built.

    Example:
        >>> require_graph(keras.Sequential([keras.layers.Dense(2)]))
        Traceback (most recent call last):
        ValueError: model: expected one that was built, got 'sequential', which has no weights yet
    """
    functional = isinstance(model, keras.Model) and hasattr(model, "operations")
    if not functional and not isinstance(model, keras.Sequential):
        raise TypeError(f"model: expected a Functional or Sequential model, got {type(model).__name__}")
    if not model.built:
        raise ValueError(f"model: expected one that was built, got {model.name!r}, which has no weights yet")


def _pairs(model: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Each layer that takes a normalization in, by name, with that; and each normalization that stays, with why."""
    sources = _chain(model) if isinstance(model, keras.Sequential) else _graph(model)
    taken: dict[str, Any] = {}
    kept: dict[str, str] = {}
    named = {operation.name: operation for operation in getattr(model, "operations", model.layers)}
    for layer in model.layers:
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        before = sources.get(layer.name)
        reason = "it, or what it follows, is used more than once" if before is None else obstacle(named[before], layer)
        if reason:
            kept[layer.name] = reason
        else:
            taken[str(before)] = layer
    return taken, kept


def obstacle(layer: Any, normalization: Any) -> str | None:
    """Return why the normalization of a layer's output cannot go into its kernel; None if it can.

    Example:
        >>> obstacle(keras.layers.ReLU(name="relu"), keras.layers.BatchNormalization())
        "it follows 'relu', no convolution or dense layer"
    """
    if _kind(layer) is None:
        return f"it follows {layer.name!r}, no convolution or dense layer"
    if layer.activation is not keras.activations.linear:
        return f"{layer.name!r} has an activation"
    if getattr(layer, "quantization_mode", None):
        return f"{layer.name!r} is quantized"
    channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
    rank = normalization.input_spec.ndim
    axis = normalization.axis % rank if isinstance(normalization.axis, int) else None
    if axis != (rank - 1 if channels_last else 1):
        return f"it normalizes axis {normalization.axis}, not the channels of {layer.name!r}"
    return None


def _kind(layer: Any) -> _Foldable | None:
    """How a layer takes a normalization in; None if it does not."""
    return next((kind for kind in _KINDS if isinstance(layer, kind.classes)), None)


def _chain(model: Any) -> dict[str, str]:
    """The layer in front of each, in a Sequential model."""
    names = [layer.name for layer in model.layers]
    return {after: before for before, after in pairwise(names) if names.count(before) == 1}


def _graph(model: Any) -> dict[str, str]:
    """The layer in front of each that is called once, on the output of a layer called once and used nowhere else."""
    config = model.get_config()
    calls = {record["name"]: record["inbound_nodes"] for record in config["layers"]}
    uses = Counter(name for name, _, _ in origins(calls))
    uses.update(name for name, _, _ in origins([config["output_layers"]]))
    result = {}
    for name, nodes in calls.items():
        sources = [name for name, _, _ in origins(nodes)]
        if len(nodes) == 1 and len(sources) == 1:
            before = sources[0]
            if uses[before] == 1 and len(calls[before]) <= 1:
                result[name] = before
    return result


def origins(value: Any) -> Iterator[tuple[str, int, int]]:
    """Yield where the tensors in a part of a Functional model's config come from: layer, its call, which result.

    Example:
        >>> list(origins({"args": [["dense", 0, 0], 2]}))
        [('dense', 0, 0)]
    """
    match value:
        case {"class_name": "__keras_tensor__", "config": {"keras_history": [name, call, result]}}:
            yield name, call, result
        case [str(name), int(call), int(result)]:
            yield name, call, result
        case dict():
            for part in value.values():
                yield from origins(part)
        case list() | tuple():
            for part in value:
                yield from origins(part)


def _weights(layer: Any, normalization: Any) -> list[np.ndarray]:
    """The weights of a layer, with its normalization folded in where it has one, in the order of the folded layer."""
    if isinstance(layer, layers.DepthwiseSeparableConv):
        parts = (layer.depthwise, layer.depthwise_bn), (layer.pointwise, layer.pointwise_bn)
        return [weight for part, own in parts for weight in _weights(part, own)]
    if normalization is None:
        return layer.get_weights()
    kind = _kind(layer)
    assert kind is not None
    scale, shift = _affine(normalization)
    bias = 0.0 if layer.bias is None else _float64(layer.bias)
    values = {weight.name: _float64(weight) for weight in layer.weights if weight is not layer.bias}
    values[kind.kernel] = kind.scale(values[kind.kernel], scale)
    return [*values.values(), bias * scale + shift]


def _affine(normalization: Any) -> tuple[np.ndarray, np.ndarray]:
    """What a normalization multiplies each channel by, and what it adds then."""
    mean, variance = _float64(normalization.moving_mean), _float64(normalization.moving_variance)
    scale = 1.0 / np.sqrt(variance + normalization.epsilon)
    if normalization.scale:
        scale = scale * _float64(normalization.gamma)
    shift = -mean * scale
    return scale, shift + _float64(normalization.beta) if normalization.center else shift


def _float64(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.cast(variable, "float64"))
