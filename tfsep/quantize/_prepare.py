"""From a float model to the one that is trained with fake quantization."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.composite_layers import calls_forgotten, traced_model
from tfsep._keras.dtype_policy import dtype_policy
from tfsep._keras.foreign_state import foreign_state_kept
from tfsep._keras.layer_copies import config_of as config_of_layer
from tfsep._keras.layer_copies import copy_state, layer_copy
from tfsep._keras.model_copies import float32_copy, other_dtypes
from tfsep._keras.model_graph import require_model
from tfsep._keras.model_io import inputs_of, output_names, outputs_of
from tfsep._keras.types import Layer, Model, Tensor
from tfsep.quantize._activation_quantizer import ActivationQuantizer
from tfsep.quantize._call_list import call_list_of
from tfsep.quantize._config import Config, config_of
from tfsep.quantize._coverage import coverage
from tfsep.quantize._dequantize import OFF_HALVES, Dequantize
from tfsep.quantize._float_operators import may_average, may_keep_scale
from tfsep.quantize._function_table import FunctionTable
from tfsep.quantize._operations import OPERATIONS
from tfsep.quantize._plan import Plan, plan_of
from tfsep.quantize._planned_op import PlannedOp
from tfsep.quantize._prepared_model import is_prepared
from tfsep.quantize._quantized_average_pooling import QuantizedAveragePooling
from tfsep.quantize._quantized_matmul import QuantizedMatmul
from tfsep.quantize._quantized_slopes import QuantizedSlopes

_logger = logging.getLogger(__name__)

_SHOWN = 5


def prepare(model: Model, config: Config | None = None, **options: Any) -> Model:
    """Return a copy of a model that trains with fake quantization, and infers what its int8 file will.

    The batch normalization behind a convolution (standard, depthwise, separable, transposed) or dense layer, and the
    rectifier behind that, are fused into it. Weights are quantized symmetrically, per output channel; biases to
    multiples of the accumulator scale; activations per tensor, with ranges that training tracks. Concatenated results
    share a range; pooling and reshaping keep the quantization parameters of their input. Inference, ``model(x)`` and
    ``model.predict``, computes the integers of the runtime's kernels; its gradient is zero nearly everywhere. The
    gradient of training goes straight through the rounding.

    Inputs of another type than float32 stay as they are, in the file too. Integers of 8 bits are quantized at scale 1,
    which rounds nothing, others by the range of the data: where they are cast, rescaled by `keras.layers.Rescaling`
    or normalized by `keras.layers.Normalization`, also behind layers that only move numbers.

    The model is not changed, and shares no weight with the copy. Nested models and composite layers of any maker are
    opened, where Keras can trace their call; one that `Config.float_layers` names is not.

    Crops and resizes by the nearest pixel move integers; `keras.layers.Normalization` and `Rescaling` are convolutions
    of one tap.

    What has no integer kernel here stays in float32, with DEQUANTIZE in front and QUANTIZE behind, and nothing else in
    the model changes; so does what `Config.float_layers` names. `coverage` lists these islands and why they are, and
    the logger ``tfsep`` does once. With ``unsupported="error"`` they are refused, all in one sentence, but for what
    prepares the input in front of all quantized layers, as a bilinear resize. Up to the first island the file has the
    model's results bit by bit; in it, file and model add float32 numbers in different orders, and so may round a result
    halfway between two steps to either side. Behind it all is what integers make of that.

    Args:
        model: a Functional or Sequential model that was built, trained or fresh, channels last, or one of another call
            that Keras can trace. Of one in half precision the float32 copy is prepared, as `tfsep.tflite.export` does,
            and the logger ``tfsep`` says so.
        config: the settings; None for `Config`'s defaults.
        **options: fields of `Config`, in place of those of `config`.

    Returns:
        A Functional model with the inputs and outputs of `model`. Train it, or show it data by `observe`, before it
        infers or is exported: until then it has no ranges.

    Raises:
        TypeError: for another kind of model, a config of another type, or an unknown option.
        ValueError: for a model that was not built, has weights that are NaN or infinite, or is prepared already; for
            one with nothing in integers; for layers without an integer kernel, all by name, if `Config.unsupported` is
            ``"error"``; for a value that `Config` refuses.

    Source: B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference" (arXiv 1712.05877); R. Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference"
    (arXiv 1806.08342).

    Examples:
        >>> from tfsep.quantize import observe
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.ReLU()])
        >>> images = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype("float32")
        >>> quantized = observe(prepare(model), images)
        >>> bool(np.abs(quantized(images) - model(images)).max() < 0.1)
        True
    """
    chosen = config_of(config, options)
    if is_prepared(model):
        raise ValueError(f"model: expected one that is not prepared yet, got {model.name!r}, which is")
    require_model(model)
    with dtype_policy("float32"), calls_forgotten(model), foreign_state_kept(model):
        model = traced_model(model)
        if half := other_dtypes(model):
            _logger.info("%s computes in %s: what is prepared is its float32 copy", model.name, ", ".join(half))
            model = float32_copy(model)
        calls = call_list_of(model, chosen.float_layers)
        _require_finite(model)
        plan = plan_of(calls, chosen)
        _require_integers(plan, model.name)
        prepared = _Builder(model, plan, chosen).model()
    _log_islands(prepared)
    return prepared


def _log_islands(prepared: Model) -> None:
    """Say once what stays in float32, and why."""
    if _logger.isEnabledFor(logging.INFO) and (islands := coverage(prepared)).islands:
        found = ", ".join(f"{row.name} ({row.reason})" for row in islands.islands)
        _logger.info("%s is in int8 for %s; in float32 stay %s", prepared.name, islands.summary, found)


class NothingInIntegersError(ValueError):
    """A model of which all would stay in float32."""


def _require_integers(plan: Plan, name: str) -> None:
    """Raise for a plan with nothing in integers, of which there would be no int8 file."""
    if not any(op.has_range for op in plan.ops):
        reasons = dict.fromkeys(f"{op.name!r} ({op.reason})" for op in plan.ops if op.reason)
        listed = f", as {', '.join(list(reasons)[:_SHOWN])}" if reasons else ""
        raise NothingInIntegersError(
            f"model: expected one with an operation in integers, got {name!r}, of which all stays in float32{listed}: "
            "export it as it is, in recipe 'float32'"
        )


def _require_finite(model: Model) -> None:
    """Raise for weights that are NaN or infinite, from which no range would come."""
    for weight in model.weights:
        if weight.dtype == "float32" and not np.isfinite(weight).all():
            raise ValueError(f"model: expected weights that are numbers, got NaN or infinity in {weight.path!r}")


_Made = TypeVar("_Made", bound=Layer)


class _Builder:
    """Calls the layers of a plan on symbolic inputs, and copies the weights."""

    def __init__(self, model: Model, plan: Plan, config: Config) -> None:
        self._source, self._plan, self._config = model, plan, config
        self._layers: dict[tuple[int, str], Any] = {}
        """By layer of the model and role, the layer that replaces it."""
        self._weights: list[tuple[Layer, Layer]] = []
        """Layers with the weights of others: the copy and the original."""
        self._results: dict[int, list[Tensor]] = {}
        """By operation of a layer that is itself called, all results of it."""
        self._quantizers: dict[int, ActivationQuantizer] = {}
        self._sharing = Counter(plan.ranges)
        self._uses = Counter(source for op in plan.ops for source in op.sources)
        self._output_names = self._kept_names()
        self._names_used = Counter(self._output_names.values())

    def _kept_names(self) -> dict[int, str]:
        """By range, the name of the output that has it, by which losses, metrics and the file know that output."""
        names: dict[int, str] = {}
        if not isinstance(outputs_of(self._source), dict):
            for number, name in zip(self._plan.outputs, output_names(self._source), strict=True):
                if self._plan.ops[number].has_range:
                    names.setdefault(self._plan.ranges[number], name)
        return names if len(set(names.values())) == len(names) else {}

    def model(self) -> Model:
        """Return the prepared model."""
        inputs = tf.nest.map_structure(
            lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name),
            inputs_of(self._source),
        )
        given = iter(tf.nest.flatten(inputs))
        # The result of each operation, with its quantization parameters where it is quantized.
        results: list[tuple[Tensor, ...]] = []
        for number, op in enumerate(self._plan.ops):
            sources = [results[source] for source in op.sources]
            results.append(self._call(number, op, sources) if sources else (next(given),))
        made = [results[number][0] for number in self._plan.outputs]
        outputs = tf.nest.pack_sequence_as(outputs_of(self._source), made)
        prepared = keras.Model(inputs, outputs, name=self._source.name)
        for copy, original in self._weights:
            copy_state(original, copy)
        return prepared

    def _call(self, number: int, op: PlannedOp, sources: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        match op.kind:
            case "float":
                return (self._float(number, op, sources),)
            case "same_qparams":
                if not op.result:
                    self._results[number] = self._call_copy(op, sources)
                return self._results[number if not op.result else op.sources[0]][op.result], sources[0][1]
            case "place":
                return (self._call_copy(op, sources)[0],)
            case "slopes":
                return tuple(self._around(op, QuantizedSlopes)(sources[0][0]))
            case "average_pooling":
                return self._around(op, QuantizedAveragePooling)(list(sources[0])), sources[0][1]
            case "operation" if op.operation == "table":
                tensors = [self._table(op, sources[0][0])(list(sources[0]))]
            case "matmul":
                tensors = self._matmul(number, op)(list(sources[0]))
            case _:
                tensors = [part for result in sources for part in result]
        return tuple(
            self._quantizer(number, op)(
                tensors,
                operation=op.operation,
                fused_activation=op.fused_activation,
                options=op.options,
                layer_name=op.layer_name,
            )
        )

    def _float(self, number: int, op: PlannedOp, sources: list[tuple[Tensor, ...]]) -> Tensor:
        """The result of an operation in float32."""
        if op.layer is None:
            return Dequantize(name=self._unique(op.name))(sources[0][0])
        if op.result:
            result = self._results[op.sources[0]][op.result]
        else:
            sources = [self._to_float(op, place, *source) for place, source in enumerate(sources)]
            self._results[number] = self._call_copy(op, sources)
            result = self._results[number][0]
        # Else the converter may quantize in front of the layer, by the range of its result: what is averaged there,
        # what others take too, or what comes from float32 itself, at another size.
        before = [self._plan.ops[source] for source in op.sources]
        moved = may_keep_scale(op.layer) and any(each.kind == "float" and each.sources for each in before)
        apart = op.result or moved or may_average(op.layer) or any(self._uses[source] > 1 for source in op.sources)
        if not (op.feeds_quantized and apart and result.dtype == "float32"):
            return result
        return Dequantize(factor=OFF_HALVES, name=self._unique(f"{op.name}_float"))(result)

    def _to_float(self, op: PlannedOp, place: int, tensor: Tensor, *qparams: Tensor) -> tuple[Tensor, ...]:
        """A tensor as a layer in float32 takes it; the first one says why the layer does."""
        # Also where nothing quantized follows: operators that keep a scale, or have a fixed one, need no other range.
        negates = bool(qparams)
        if place and not negates:
            return (tensor,)
        before = [self._plan.ops[source] for source in op.sources]
        leads = op.feeds_quantized and any(each.kind != "float" or not each.sources for each in before)
        name = self._unique(f"{op.name}_float")
        return (Dequantize(op.name, 1.0, op.reason, leads, negates, name=name, dtype=tensor.dtype)(tensor),)

    def _call_copy(self, op: PlannedOp, sources: list[tuple[Tensor, ...]]) -> list[Tensor]:
        """The results of a copy of an operation's layer."""
        tensors = [source[0] for source in sources]
        given = iter(tensors)
        positional = op.positional or (tensors if len(tensors) > 1 else tensors[0],)
        args, kwargs = keras.tree.map_structure(
            lambda leaf: next(given) if isinstance(leaf, keras.KerasTensor) else leaf, (positional, dict(op.arguments))
        )
        results: list[Tensor] = keras.tree.flatten(self._copy(op.layer)(*args, **kwargs))
        return results

    def _once(self, layer: Layer, role: str, make: Callable[[], _Made]) -> _Made:
        """The layer that replaces a layer in a role, made for the first call."""
        if (id(layer), role) not in self._layers:
            self._layers[id(layer), role] = make()
        made: _Made = self._layers[id(layer), role]
        return made

    def _copy(self, layer: Layer) -> Layer:
        """A layer of the same config."""

        def make() -> Layer:
            copy = layer_copy(layer)
            copy.name = self._unique(copy.name)
            return self._with_weights_of(layer, copy)

        return self._once(layer, "copy", make)

    def _with_weights_of(self, original: Layer, copy: Layer) -> Layer:
        # A layer that stands in for an activation draws its numbers when its copy is built.
        if isinstance(original, keras.layers.Layer) and original.built:
            self._weights.append((copy, original))
        return copy

    def _around(self, op: PlannedOp, replacement: Callable[..., _Made]) -> _Made:
        """The layer that replaces that of an operation, which it has inside."""

        def make() -> _Made:
            return replacement(self._inner(op.layer), name=self._unique(op.name), dtype="float32")

        return self._once(op.layer, "around", make)

    def _table(self, op: PlannedOp, tensor: Tensor) -> FunctionTable:
        def make() -> FunctionTable:
            given = keras.Input((None,) * (len(tensor.shape) - 1))
            [result] = self._call_copy(op, [(given,)])
            return FunctionTable(keras.Model(given, result), name=self._unique(f"{op.name}_table"), dtype="float32")

        return self._once(op.layer, "table", make)

    def _matmul(self, number: int, op: PlannedOp) -> QuantizedMatmul:
        def make() -> QuantizedMatmul:
            inner = self._inner(op.layer, activation="linear")
            normalization = None if op.normalization is None else self._inner(op.normalization)
            name = f"{op.name}_sums" if op.name in self._output_names.values() else op.name
            return QuantizedMatmul(
                inner, normalization, self._plan.places[number], name=self._unique(name), dtype="float32"
            )

        return self._once(op.layer, "matmul", make)

    def _inner(self, layer: Layer, **changes: Any) -> Layer:
        """A layer of the same config, except for changes, inside of one that replaces it."""
        return self._with_weights_of(layer, type(layer).from_config({**config_of_layer(layer), **changes}))

    def _unique(self, name: str) -> str:
        """A name that no layer has: the same, or numbered, as nested models may have layers of one name."""
        self._names_used[name] += 1
        again = self._names_used[name] - 1
        return self._unique(f"{name}_{again}") if again else name

    def _quantizer(self, number: int, op: PlannedOp) -> ActivationQuantizer:
        """The layer that tracks an operation's range, under the operation's own name where that is free."""
        ranges, shared = self._plan.ranges, self._plan.ranges[number]
        if shared not in self._quantizers:
            settings = asdict(self._config)
            del settings["float_layers"], settings["unsupported"]
            is_alone = op.kind == "operation" and self._sharing[shared] == 1
            name = op.name if is_alone else f"{op.name}_range"
            self._quantizers[shared] = ActivationQuantizer(
                **settings,
                fixed_range=OPERATIONS[op.operation].fixed_range,
                max_value=op.max_value,
                calls=sum(other.has_range and own == shared for other, own in zip(self._plan.ops, ranges, strict=True)),
                name=self._output_names.get(shared) or self._unique(name),
                dtype="float32",
            )
        return self._quantizers[shared]
