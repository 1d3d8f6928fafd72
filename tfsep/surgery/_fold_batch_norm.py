"""Batch normalization folded into the layers in front of it."""

import warnings
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

from tfsep import layers
from tfsep._keras.backend import keras
from tfsep._keras.composite_layers import Unopened, body_inputs, body_of, calls_forgotten, is_composite, traced_model
from tfsep._keras.foreign_state import foreign_state_kept
from tfsep._keras.layer_copies import config_of, copy_state, layer_copy
from tfsep._keras.model_copies import rebuilt
from tfsep._keras.model_graph import calls_behind, opened, require_model
from tfsep._keras.model_io import layers_in
from tfsep._keras.types import Layer, Model
from tfsep.surgery._channel_affine import ChannelAffine
from tfsep.surgery._foldable import assign_folded, foldable_base, is_normalization, mismatches, overrides
from tfsep.surgery._folding_plan import FoldingPlan


def fold_batch_norm(model: Model) -> Model:
    """Return a model without batch normalization that computes the same at inference.

    A batch normalization behind a convolution (depthwise, separable, transposed and deformable ones too) or a dense
    layer multiplies its channels and adds to them, so it folds into the kernel and the bias: ``w' = w·s`` and
    ``b' = b·s + t``, with ``s = γ / sqrt(v + ε)`` and ``t = β − m·s`` from the moving statistics m and v.

    One that has no such layer in front folds into all convolutions and dense layers behind it, along their input
    channels: ``w' = w·s`` and ``b' = b + Σ w·t``. That is exact only where each result sees as many pixels as any
    other, so not in front of padding with zeros, unless all t are 0, nor in front of a sum. Results of a transposed
    convolution see the same only by a kernel of one tap, or of equal taps that do not overlap.

    Between the two may be layers that a scale and a shift pass: dropout, pooling, upsampling, cropping, `Flatten`,
    `Reshape`, and other normalizations that fold. Nested models, `tfsep.layers.DepthwiseSeparableConv` and composite
    layers of any maker are opened: these, and models with a call of their own, become models of the layers inside them,
    where Keras can trace their call, and where random numbers show that the result computes the same at inference.

    The given model stays as it is, and the result shares no weight with it: each layer is copied. A layer that its
    config does not describe (its `get_config` lacks an argument, say) runs the code of the given one on weights of its
    own; what such a layer holds beside Keras variables is shared. Training the result is training another network.

    The results agree to 1e-5 of their size in float32. In half precision they agree to the rounding of that dtype,
    about 5e-3 in bfloat16, as the folded weights are rounded to it where the normalization computed in float32.

    A normalization that cannot be folded stays, and a warning lists it with the reasons, in front and ahead: no
    convolution or dense layer is there; that layer has an activation (in front) or pads with zeros (ahead), an
    overriding class, quantized weights, another dtype or other channels, or another user; the normalization is called
    with ``training=True``; or it is inside a layer that is not opened, such as `keras.layers.TimeDistributed`, or a
    composite one that Keras cannot trace.

    Layers keep their names, except where a folded normalization is an output of the model: the layer in front of it
    takes over its name, so that the names of outputs, by which losses and metrics are given, stay as they are.

    Args:
        model: a built Functional or Sequential model of any layers, compiled or not; or of a class of its own, as those
            of keras-hub, whose call Keras can trace.

    Returns:
        A Functional or Sequential model, not compiled; of a subclass, the plain model of its layers.

    Raises:
        TypeError: if `model` is no Functional or Sequential model, and has a call that Keras cannot trace.
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
    require_model(model)
    kept: list[str] = []
    with calls_forgotten(model), foreign_state_kept(model):
        folded = _Folding(traced_model(model), kept).folded()
    if kept:
        warnings.warn(f"model: left {len(kept)} batch normalizations as they are: {'; '.join(kept)}", stacklevel=2)
    return folded


class _Folding:
    """The folding of one model.

    Attributes:
        source: the plain model.
        kept: the list to which each normalization that stays is appended, with the reason.
        barred: the reason why nothing in this model may be folded, or None.
        plan: which normalization folds into which layers.
        absorbed: the normalizations that fold.
        fills: functions that set the weights of the new layers, once these are built.
        bodies: the names of the composite layers that became models of the layers inside them.
    """

    def __init__(self, source: Model, kept: list[str], barred: str | None = None) -> None:
        self.source, self.kept, self.barred = source, kept, barred
        self.plan = FoldingPlan(source, barred)
        self.absorbed = [layer for layer in source.layers if layer.name in self.plan.absorbed]
        self.fills: list[Callable[[], None]] = []
        self.bodies: set[str] = set()
        for name, reason in self.plan.kept.items():
            self._keep(reason, name)

    def folded(self) -> Model:
        """Return the folded model."""
        model = rebuilt(self.source, self._copy, self._call, self.absorbed)
        for fill in self.fills:
            fill()
        return model

    def _keep(self, reason: str, *names: str) -> None:
        self.kept.append(f"{'/'.join((self.source.name, *names))} ({reason})")

    def _call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a layer of the folded model; a folded normalization passes on its input."""
        if layer in self.absorbed:
            return args[0] if args else kwargs["inputs"]
        if layer.name in self.bodies:
            return layer(body_inputs(args, kwargs))
        return layer(*args, **kwargs)

    def _copy(self, layer: Any) -> Any:
        """The folded model's version of a layer; of a folded normalization itself, which is never called."""
        if layer in self.absorbed:
            return layer
        if (inner := opened(layer)) is not None:
            return _Folding(inner, self.kept, self._bar(layer)).folded()
        if layer.name in self.plan.behind or layer.name in self.plan.ahead:
            return self._with_bias(layer)
        if isinstance(layer, layers.DepthwiseSeparableConv):
            return self._block(layer)
        if isinstance(layer, keras.layers.Layer) and any(map(is_normalization, layers_in(layer)[1:])):
            return self._composite(layer)
        return self._same(layer)

    def _composite(self, layer: Layer) -> Layer:
        """A composite layer with normalizations inside: the folded model of the layers inside it, if there is one."""
        try:
            if not is_composite(layer):
                raise Unopened("which is not opened")
            if bar := self._bar(layer):
                raise Unopened(f"and {bar}")
            calls = [call for call in calls_behind(self.source.outputs) if call.operation is layer]
            body = body_of(layer, calls)
        except Unopened as reason:
            self._keep_inner(layer, f"it is inside a layer of class {type(layer).__name__}, {reason}")
            return self._same(layer)
        self.bodies.add(layer.name)
        return _Folding(body, self.kept).folded()

    def _bar(self, layer: Layer) -> str | None:
        """The reason why nothing inside a layer may be folded, or None."""
        told = any(call.training for call in self.plan.graph.calls[layer.name])
        return self.barred or (f"{layer.name!r} is called with training=True" if told else None)

    def _same(self, layer: Any) -> Any:
        """A copy of a layer, or of an operation, which has no weights."""
        copy = layer_copy(layer)
        copy.name = self.plan.names.get(layer.name, layer.name)
        if isinstance(layer, keras.layers.Layer):
            self.fills.append(partial(copy_state, layer, into=copy))
        return copy

    def _with_bias(self, layer: Layer) -> Layer:
        """A layer that normalizations fold into: of the plain class, as a subclass may have no bias."""
        plain: Any = foldable_base(layer)
        name = self.plan.names.get(layer.name, layer.name)
        changes: dict[str, Any] = {"use_bias": True, "name": name}
        if getattr(layer, "lora_rank", None):
            changes["lora_rank"] = None
        copy = plain.from_config({**config_of(layer, plain), **changes})
        behind, ahead = self.plan.behind[layer.name], self.plan.ahead[layer.name]
        self.fills.append(partial(assign_folded, layer, behind, ahead, into=copy))
        return copy

    def _block(self, block: Any) -> Any:
        """A depthwise separable block, without its normalizations if all of them can be folded."""
        plain = layers.DepthwiseSeparableConv
        parts = {"depthwise": block.depthwise_bn, "pointwise": block.pointwise_bn}
        if reason := self._obstacle_in_block(block, parts):
            self._keep_inner(block, reason)
            return self._same(block)
        changes = {f"{part}_normalization": False for part in parts} | {"lora_rank": None, "lora_alpha": None}
        copy = plain.from_config({**plain.get_config(block), **changes})
        for part, own in parts.items():
            behind = [] if own is None else [ChannelAffine.of(own)]
            self.fills.append(partial(assign_folded, getattr(block, part), behind, [], into=getattr(copy, part)))
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
