"""Batch normalization folded into the layers in front of it."""

import warnings
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

from tfsep import layers
from tfsep._keras.backend import keras
from tfsep._keras.layer_copies import copy_state, layer_copy
from tfsep._keras.model_copies import rebuilt
from tfsep._keras.model_graph import Graph, opened, plain_model
from tfsep._keras.model_io import layers_in
from tfsep._keras.types import Layer, Model
from tfsep.surgery._foldable import (
    assign_folded,
    foldable_base,
    has_foldable_class,
    is_normalization,
    mismatches,
    overrides,
    uses_moving_statistics,
)


def fold_batch_norm(model: Model) -> Model:
    """Return a model without batch normalization that computes the same at inference.

    A batch normalization directly behind a convolution (depthwise, separable, transposed and deformable ones too) or a
    dense layer multiplies its channels and adds to them, so it folds into the kernel and the bias:
    ``w' = w·γ / sqrt(v + ε)`` and ``b' = (b − m)·γ / sqrt(v + ε) + β``, with the moving statistics m and v. Nested
    models and `tfsep.layers.DepthwiseSeparableConv` are opened. The given model stays as it is, and the result shares
    no weight with it. Training the result is training another network.

    The results agree to 1e-5 of their size in float32. In half precision they agree to the rounding of that dtype,
    about 5e-3 in bfloat16, as the folded weights are rounded to it where the normalization computed in float32.

    A normalization that cannot be folded stays, and a warning lists it with the reason: no convolution or dense layer
    is in front of it; that layer has an activation, an overriding class, quantized weights, another dtype or other
    channels, or another user; the normalization is called with ``training=True``; or it is inside a layer that
    is not opened, such as `keras.layers.TimeDistributed` or a custom one.

    Layers keep their names, except where a folded normalization is an output of the model: the layer in front of it
    takes over its name, so that the names of outputs, by which losses and metrics are given, stay as they are.

    Args:
        model: a built Functional or Sequential model of any layers, compiled or not.

    Returns:
        A Functional or Sequential model, not compiled; of a subclass, the plain model of its layers.

    Raises:
        TypeError: if `model` is no Functional or Sequential model, or overrides their call.
        ValueError: if it is not built.

    Source: B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference" (arXiv 1712.05877), section 3.2.

    Examples:
        >>> from tfsep.models import MobileNetV1
        >>> model = MobileNetV1((32, 32, 3), 10, alpha=0.25)
        >>> folded, image = fold_batch_norm(model), np.ones((1, 32, 32, 3), "float32")
        >>> len(model.layers) - len(folded.layers), bool(np.allclose(model(image), folded(image), atol=1e-6))
        (27, True)
    """
    kept: list[str] = []
    folded = _Folding(plain_model(model), kept).folded()
    if kept:
        warnings.warn(f"model: left {len(kept)} batch normalizations as they are: {'; '.join(kept)}", stacklevel=2)
    return folded


class _Folding:
    """The folding of one model.

    Attributes:
        source: the plain model.
        kept: the list to which each normalization that stays is appended, with the reason.
        barred: the reason why nothing in this model may be folded, or None.
        absorbed: the normalizations that are folded.
        taken: the same normalizations, by the name of the layer that each folds into.
        fills: functions that set the weights of the new layers, once these are built.
    """

    def __init__(self, source: Model, kept: list[str], barred: str | None = None) -> None:
        self.source, self.kept, self.barred = source, kept, barred
        self.graph = Graph.of(source)
        self.absorbed: set[Layer] = set()
        self.taken: dict[str, Layer] = {}
        self.fills: list[Callable[[], None]] = []
        named = {layer.name: layer for layer in source.layers}
        for layer in filter(is_normalization, source.layers):
            if reason := self._obstacle(named, layer):
                self._keep(reason, layer.name)
            else:
                self.absorbed.add(layer)
                self.taken[str(self.graph.calls[layer.name][0].source)] = layer

    def folded(self) -> Model:
        """Return the folded model."""
        model = rebuilt(self.source, self._copy, self._call, self.absorbed)
        for fill in self.fills:
            fill()
        return model

    def _keep(self, reason: str, *names: str) -> None:
        self.kept.append(f"{'/'.join((self.source.name, *names))} ({reason})")

    def _obstacle(self, named: dict[str, Layer], normalization: Layer) -> str | None:
        """The reason against folding a normalization into the layer in front of it, or None."""
        if self.barred:
            return self.barred
        call, *others = self.graph.calls[normalization.name]
        if others:
            return "it is called more than once"
        if call.training and not uses_moving_statistics(normalization):
            return "it is called with training=True"
        if call.source is None:
            return "nothing is in front of it"
        return self._obstacle_in_front(str(call.source), named, call.masked) or next(
            mismatches(named[str(call.source)], normalization), None
        )

    def _obstacle_in_front(self, before: str, named: dict[str, Layer], masked: bool) -> str | None:
        """The reason against folding that lies in the layer in front, or in its other uses; None for none."""
        layer = named.get(before)
        if layer is None or not has_foldable_class(layer):
            kind = "" if layer is None else f" of class {type(layer).__name__}"
            return f"it follows {before!r}{kind}, no convolution or dense layer"
        if len(self.graph.calls[before]) > 1:
            return f"{before!r} is called more than once"
        if self.graph.uses[before] > 1:
            return f"{before!r} is used elsewhere too"
        if masked and not layer.supports_masking:
            return f"it hands on a mask, which {before!r} does not"
        return None

    def _call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a layer of the folded model; a folded normalization passes on its input."""
        if layer in self.absorbed:
            return args[0] if args else kwargs["inputs"]
        return layer(*args, **kwargs)

    def _copy(self, layer: Any) -> Any:
        """The folded model's version of a layer; of a folded normalization itself, which is never called."""
        if layer in self.absorbed:
            return layer
        if (inner := opened(layer)) is not None:
            return _Folding(inner, self.kept, self._bar(layer)).folded()
        if layer.name in self.taken:
            return self._with_bias(layer, self.taken[layer.name])
        if isinstance(layer, layers.DepthwiseSeparableConv):
            return self._block(layer)
        if isinstance(layer, keras.layers.Layer):
            self._keep_inner(layer, f"it is inside a layer of class {type(layer).__name__}, which is not opened")
        return self._same(layer)

    def _bar(self, layer: Layer) -> str | None:
        """The reason why nothing inside a layer may be folded, or None."""
        told = any(call.training for call in self.graph.calls[layer.name])
        return self.barred or (f"{layer.name!r} is called with training=True" if told else None)

    def _same(self, layer: Any) -> Any:
        """A copy of a layer, or of an operation, which has no weights."""
        copy = layer_copy(layer)
        if isinstance(layer, keras.layers.Layer):
            self.fills.append(partial(copy_state, layer, into=copy))
        return copy

    def _with_bias(self, layer: Layer, normalization: Layer) -> Layer:
        """A layer that a normalization folds into: of the plain class, as a subclass may have no bias."""
        plain: Any = foldable_base(layer)
        name = normalization.name if normalization.name in self.graph.outputs else layer.name
        changes: dict[str, Any] = {"use_bias": True, "name": name}
        if getattr(layer, "lora_rank", None):
            changes["lora_rank"] = None
        copy = plain.from_config({**plain.get_config(layer), **changes})
        self.fills.append(partial(assign_folded, layer, normalization, into=copy))
        return copy

    def _block(self, block: Any) -> Any:
        """A depthwise separable block, without its normalizations if all of them can be folded."""
        plain = layers.DepthwiseSeparableConv
        parts = {"depthwise": block.depthwise_bn, "pointwise": block.pointwise_bn}
        if reason := self._obstacle_in_block(block, parts):
            self._keep_inner(block, reason)
            return self._same(block)
        copy = plain.from_config({**plain.get_config(block), **{f"{part}_normalization": False for part in parts}})
        for part, own in parts.items():
            fill = copy_state if own is None else partial(assign_folded, normalization=own)
            self.fills.append(partial(fill, getattr(block, part), into=getattr(copy, part)))
        return copy

    def _obstacle_in_block(self, block: Any, parts: dict[str, Any]) -> str | None:
        """The reason against folding a block's normalizations, or None."""
        if bar := self._bar(block):
            return bar
        if overridden := overrides(block, [layers.DepthwiseSeparableConv]):
            return f"it is inside a block of {overridden}"
        pairs = ((getattr(block, part), own) for part, own in parts.items() if own is not None)
        return next(chain.from_iterable(mismatches(*pair) for pair in pairs), None)

    def _keep_inner(self, layer: Layer, reason: str) -> None:
        for inner in filter(is_normalization, layers_in(layer)[1:]):
            self._keep(reason, layer.name, inner.name)
