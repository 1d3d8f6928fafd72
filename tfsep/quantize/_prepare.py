"""From a float model to the one that is trained with fake quantization."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.dtype_policy import dtype_policy
from tfsep._keras.model_io import inputs_of, output_names, outputs_of
from tfsep._utils.arguments import short_repr
from tfsep.quantize._activation_quantizer import Dequantized, QuantizedAveragePooling, QuantizedOutput
from tfsep.quantize._call_list import Graph, graph_of
from tfsep.quantize._config import Config
from tfsep.quantize._integer_kernels import KERNELS
from tfsep.quantize._operations import OPERATIONS
from tfsep.quantize._plan import Plan, plan_of
from tfsep.quantize._planned_op import Step
from tfsep.quantize._prepared_model import is_prepared
from tfsep.quantize._quantized_matmul import QuantizedLinear


def prepare(model: Any, config: Config | None = None, **options: Any) -> Any:
    """Return a copy of a model that trains with fake quantization, and infers what its int8 file will.

    Convolutions (full, depthwise, separable, transposed) and dense layers take the batch normalization behind them in,
    and the rectifier behind that. Weights are quantized symmetrically, an output channel at a time, biases to the grid
    of the sums; activations per tensor, with ranges that training follows. Results that are concatenated share a
    range; pooling and reshaping keep that of what they take. Inference, ``model(x)`` and ``model.predict``, computes
    the integers of the runtime's kernels; its gradient is zero nearly everywhere, that of training goes straight
    through.

    The model is not changed, and shares no weight with the copy. Nested models and composite layers are opened.
    Layers that are not quantized are refused, or stay in float32 if `Config.float_layers` names them, between quantized
    ones too, with DEQUANTIZE in front and QUANTIZE behind. Up to the first of them the file is the model's, bit by bit;
    behind it as far as sums in float32, which both round in an order of their own, fall on the same side of a step.

    Args:
        model: a Functional or Sequential model that was built, trained or fresh, in float32, channels last.
        config: how; None for `Config`'s defaults.
        **options: fields of `Config`, in place of the config's.

    Returns:
        A Functional model with the inputs and outputs of `model`. It has to be trained, or shown data by `observe`,
        before it infers or is exported: until then it knows no ranges.

    Raises:
        TypeError: for another kind of model, a config of another kind, or an argument of no such name.
        ValueError: for a model that was not built, computes in another type than float32, holds NaN, or is prepared
            already; for a layer that is not quantized, by name; for an activation that the runtime's kernels compute
            otherwise than is emulated; for nonsense in the config.

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
    chosen = _chosen(config, options)
    if is_prepared(model):
        raise ValueError(f"model: expected one that is not prepared yet, got {model.name!r}, which is")
    with dtype_policy("float32"):
        graph = graph_of(model)
        _require_float32(graph)
        _require_numbers(model)
        plan = plan_of(graph, chosen.float_layers)
        _require_kernels(plan, chosen.runtime)
        return _Builder(model, plan, chosen).model()


def _chosen(config: Config | None, options: dict[str, Any]) -> Config:
    if not isinstance(config, Config | None):
        raise TypeError(f"config: expected a Config or None, got {short_repr(config)}")
    known = [field.name for field in fields(Config)]
    if unknown := [name for name in options if name not in known]:
        raise TypeError(f"{unknown[0]}: expected an argument that is one of {', '.join(known)}, got {unknown[0]!r}")
    return replace(config or Config(), **options)


def _require_numbers(model: Any) -> None:
    """Raise for weights that are no numbers, from which no range would come."""
    for weight in model.weights:
        if weight.dtype == "float32" and not np.isfinite(weight).all():
            raise ValueError(f"model: expected weights that are numbers, got NaN or infinity in {weight.path!r}")


def _require_float32(graph: Graph) -> None:
    """Raise for a layer that computes in another type."""
    for layer in (call.layer for call in graph.calls if call.layer is not None):
        dtype = getattr(layer, "compute_dtype", "float32")
        if dtype != "float32":
            raise ValueError(f"model: expected layers that compute in float32, got {layer.name!r} in {dtype}")


def _require_kernels(plan: Plan, runtime: str) -> None:
    """Raise for an operation whose kernel in the runtime is not emulated."""
    for step in plan.steps:
        own = OPERATIONS[step.operation]
        if step.kind == "operation" and own.function and own.function not in KERNELS[runtime].functions:
            raise ValueError(
                f"runtime: expected one whose {step.operation} is emulated, as xnnpack's, got {runtime!r} for "
                f"{step.layer_name!r}: float_layers leaves that layer in float32"
            )


class _Builder:
    """Calls the quantized layers of a plan on symbolic inputs, and brings the weights over."""

    def __init__(self, model: Any, plan: Plan, config: Config) -> None:
        self._source, self._plan, self._config = model, plan, config
        self._copies: dict[tuple[int, str], Any] = {}
        self._weights: list[tuple[Any, Any]] = []
        self._outputs: dict[int, QuantizedOutput] = {}
        self._times: Counter[str] = Counter()
        self._sizes = Counter(plan.groups)
        self._output_names = self._kept_names()
        self._times.update(self._output_names.values())

    def _kept_names(self) -> dict[int, str]:
        """By group, the name of the output whose grid it is, by which losses, metrics and the file know it."""
        names: dict[int, str] = {}
        if not isinstance(outputs_of(self._source), dict):
            for number, name in zip(self._plan.outputs, output_names(self._source), strict=True):
                if self._plan.steps[number].kind in ("operation", "linear"):
                    names.setdefault(self._plan.groups[number], name)
        return names if len(set(names.values())) == len(names) else {}

    def model(self) -> Any:
        """Return the quantized model."""
        inputs = tf.nest.map_structure(
            lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name),
            inputs_of(self._source),
        )
        given = iter(tf.nest.flatten(inputs))
        # Each step's result, with its grid where it has one.
        results: list[tuple[Any, ...]] = []
        for number, step in enumerate(self._plan.steps):
            taken = [results[source] for source in step.sources]
            results.append(self._call(number, step, taken) if taken else (next(given),))
        made = [results[number][0] for number in self._plan.outputs]
        outputs = tf.nest.pack_sequence_as(outputs_of(self._source), made)
        prepared = keras.Model(inputs, outputs, name=self._source.name)
        for copy, original in self._weights:
            copy.set_weights(original.get_weights())
        return prepared

    def _call(self, number: int, step: Step, taken: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        match step.kind:
            case "float":
                if step.leaves:
                    taken = [self._off_grid(step, *result) for result in taken]
                return (self._moved(step, taken),)
            case "keep":
                return self._moved(step, taken), taken[0][1]
            case "average":
                return self._average(step)(list(taken[0])), taken[0][1]
            case "linear":
                tensors = self._linear(step)(list(taken[0]))
            case _:
                tensors = [part for result in taken for part in result]
        options = {"operation": step.operation, "clip": step.clip, "options": step.options, "of": step.layer_name}
        return tuple(self._output(number, step)(tensors, **options))

    def _off_grid(self, step: Step, tensor: Any, *grid: Any) -> tuple[Any]:
        """A tensor as a float layer with quantized ones behind it takes it."""
        return (Dequantized(step.name, name=self._named(f"{step.name}_float"))(tensor) if grid else tensor,)

    def _moved(self, step: Step, taken: list[tuple[Any, ...]]) -> Any:
        tensors = [result[0] for result in taken]
        return self._copy(step.layer)(tensors if len(tensors) > 1 else tensors[0], **step.arguments)

    def _once(self, layer: Any, what: str, make: Callable[[], Any]) -> Any:
        """What takes a layer's place, made when that is called first."""
        if (id(layer), what) not in self._copies:
            self._copies[id(layer), what] = make()
        return self._copies[id(layer), what]

    def _copy(self, layer: Any) -> Any:
        """The layer of the same config that takes a layer's place."""

        def make() -> Any:
            copy = type(layer).from_config(layer.get_config())
            copy.name = self._named(copy.name)
            return self._bring(copy, layer)

        return self._once(layer, "copy", make)

    def _bring(self, copy: Any, original: Any) -> Any:
        if original.weights:
            self._weights.append((copy, original))
        return copy

    def _average(self, step: Step) -> Any:
        return self._once(
            step.layer,
            "average",
            lambda: QuantizedAveragePooling(self._inner(step.layer), name=self._named(step.name), dtype="float32"),
        )

    def _linear(self, step: Step) -> Any:
        def make() -> Any:
            inner = self._inner(step.layer, activation="linear")
            normalization = None if step.normalization is None else self._inner(step.normalization)
            name = f"{step.name}_sums" if step.name in self._output_names.values() else step.name
            return QuantizedLinear(inner, normalization, name=self._named(name), dtype="float32")

        return self._once(step.layer, "linear", make)

    def _inner(self, layer: Any, **changes: Any) -> Any:
        """The layer of the same config, but for changes, inside of one that takes its place."""
        return self._bring(type(layer).from_config({**layer.get_config(), **changes}), layer)

    def _named(self, name: str) -> str:
        """A name that no layer has: the same, or numbered, as nested models may have layers of one name."""
        self._times[name] += 1
        again = self._times[name] - 1
        return self._named(f"{name}_{again}") if again else name

    def _output(self, number: int, step: Step) -> QuantizedOutput:
        """The layer that has the range of a step's group, under the step's own name where that is free."""
        group = self._plan.groups[number]
        if group not in self._outputs:
            own = asdict(self._config)
            del own["float_layers"]
            alone = step.kind == "operation" and self._sizes[group] == 1
            self._outputs[group] = QuantizedOutput(
                **own,
                fixed=OPERATIONS[step.operation].range,
                limit=step.limit,
                calls=sum(
                    own_group == group and other.kind in ("operation", "linear")
                    for other, own_group in zip(self._plan.steps, self._plan.groups, strict=True)
                ),
                name=self._output_names.get(group) or self._named(step.name if alone else f"{step.name}_range"),
                dtype="float32",
            )
        return self._outputs[group]
