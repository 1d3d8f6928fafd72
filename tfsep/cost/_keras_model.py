"""The cost of a Keras model: the calls of its layers, recorded in one trace on static shapes."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

from tfsep._keras.backend import keras, tf
from tfsep._keras.foreign_state import foreign_state_kept
from tfsep._keras.layer_calls import watch_layer_calls
from tfsep._keras.subclassed_call import subclassed_call
from tfsep._keras.symbolic_call import symbolic_call
from tfsep._keras.types import InputShapes, Layer, Model
from tfsep.cost._report import CostReport, CostRow, of_one_sample
from tfsep.cost._saved_function import cost_of_function
from tfsep.cost._traced_graph import Tally, call_scope, tallies
from tfsep.layers._kernel_spec import KernelSpec
from tfsep.layers._layer_kinds import LayerKind, kind_of

Shape = tuple[int, ...]


class Call(NamedTuple):
    """One call of a layer, or of an operation of `keras.ops` in a model's graph.

    Attributes:
        name: path in the model.
        layer: the layer or operation.
        input_shape: shape of its first input, with 1 for the batch.
        output_shape: shape of its first output, likewise.
        number: number of the call in the trace.
        inputs: the shapes and types of all its inputs.
    """

    name: str
    layer: Any
    input_shape: Shape
    output_shape: Shape
    number: int
    inputs: Any

    @property
    def channel_axis(self) -> int:
        """The axis of the channels, -1 or 1."""
        return -1 if getattr(self.layer, "data_format", "channels_last") == "channels_last" else 1

    def positions(self, shape: Shape) -> int:
        """The number of positions of an image, sequence or vector (1, ..., C), or (1, C, ...)."""
        return prod(shape) // shape[self.channel_axis]


def _formula(call: Call) -> list[CostRow] | None:
    """The rows of a call of a layer in `LAYER_KINDS`, a quantized one as the layer that it holds; None for others.

    A subclass with a call of its own is another layer.
    """
    layer = getattr(call.layer, "counted_layer", None) or call.layer
    kind = kind_of(layer)
    if kind is None or not any(type(layer).call is each.call for each in kind.classes or (type(layer),)):
        return None
    return _rows_of_kind(kind, call._replace(layer=layer))


def _rows_of_kind(kind: LayerKind, call: Call) -> list[CostRow]:
    """A row for each kernel."""
    if not kind.kernels:
        return [CostRow(call.name, kind.name, None, None, None, 1, call.output_shape[1:], 0, 0)]
    return [_kernel_row(kind, kernel, call) for kernel in kind.kernels]


def _kernel_row(kind: LayerKind, kernel: KernelSpec, call: Call) -> CostRow:
    """The row of one kernel: each weight is used at each output position; transposed, at each input position."""
    layer, axis, shape = call.layer, call.channel_axis, tuple(getattr(call.layer, kernel.name).shape)
    *others, last = kind.kernels
    output_shape = call.output_shape if kernel is last else _with_channels(call, kernel.channels(shape))
    positions = call.positions(call.input_shape if kind.transposed and kernel is kind.kernels[0] else output_shape)
    return CostRow(
        name=f"{call.name}/{kernel.part}" if kernel.part else call.name,
        kind=kernel.op or kind.name,
        **_window(kernel, layer, shape[:-2]),
        groups=kernel.groups(shape, call.input_shape[axis], call.output_shape[axis]),
        output_shape=output_shape[1:],
        params=sum(prod(getattr(layer, name).shape) for name in kernel.weights) if kernel in others else 0,
        macs=positions * prod(shape),
    )


def _with_channels(call: Call, channels: int) -> Shape:
    """The shape of a call's output, with another number of channels."""
    shape = list(call.output_shape)
    shape[call.channel_axis] = channels
    return tuple(shape)


def _window(kernel: KernelSpec, layer: Layer, taps: Shape) -> dict[str, Any]:
    """Kernel, stride and rate of a row; of a dense layer None."""
    if not taps:
        return {"kernel": None, "stride": None, "rate": None}
    ones = (1,) * len(taps)
    stride, rate = (ones, ones) if kernel.pointwise else (tuple(layer.strides), tuple(layer.dilation_rate))
    return {"kernel": taps, "stride": stride, "rate": rate}


class _Trace:
    """The calls of a function in one trace of a batch, and what each cost for one sample."""

    def __init__(self, function: Callable[..., Any], specs: Sequence[tf.TensorSpec], batch: int = 1) -> None:
        self._batch = batch
        self.calls: list[Call] = []
        self._stack: list[tuple[keras.Operation, int, Any]] = []
        self._number = 0
        with watch_layer_calls(self._enter, self._leave, operations=True):
            traced = tf.function(function, autograph=False).get_concrete_function(*specs)
        outputs = [tensor.name for tensor in tf.nest.flatten(traced.outputs)]
        counted = tallies(traced.graph.as_graph_def(add_shapes=True), outputs)
        self.tallies = {n: tally._replace(macs=of_one_sample(tally.macs, batch)) for n, tally in counted.items()}

    def _enter(self, operation: keras.Operation) -> None:
        scope = tf.name_scope(call_scope(self._number))
        scope.__enter__()
        self._stack.append((operation, self._number, scope))
        self._number += 1

    def _leave(self, operation: keras.Operation, inputs: Any, outputs: Any) -> None:
        _, number, scope = self._stack.pop()
        scope.__exit__(None, None, None)
        # What is called at every step of time is counted in a trace of its own.
        if not any(isinstance(each, keras.layers.TimeDistributed) for each, _, _ in self._stack):
            path = "/".join([each.name for each, _, _ in self._stack[1:]] + [operation.name] * bool(self._stack))
            shapes = self._shape(inputs), self._shape(outputs)
            self.calls.append(Call(path, operation, *shapes, number, _specs(inputs)))

    def _shape(self, tensors: Any) -> Shape:
        """The shape of the first tensor of a structure for one sample: 1 for the batch, more where it was joined."""
        first = next((each for each in tf.nest.flatten(tensors) if hasattr(each, "shape")), None)
        if first is None or not tf.TensorShape(first.shape).rank:
            return (1,)
        return (max(1, (first.shape[0] or 1) // self._batch), *first.shape[1:])


class _Counter:
    """Makes rows of traces: parameters at a layer's first call that is run, MACs at every call."""

    def __init__(self) -> None:
        self.rows: list[CostRow] = []
        self.uncounted: list[str] = []
        self._claimed: set[int] = set()

    def count(self, trace: _Trace, name: str, steps: tuple[int, ...] = ()) -> None:
        """Add the rows of a trace.

        Args:
            trace: the trace.
            name: name of what was traced.
            steps: numbers of steps of time at which it is applied.
        """
        run = {id(call.layer) for call in trace.calls if trace.tallies.get(call.number, Tally()).runs}
        for call in trace.calls:
            tally = trace.tallies.get(call.number, Tally())
            # A loop's body is also traced in front of the loop, for its shapes alone.
            if not tally.runs and id(call.layer) in run:
                continue
            named = call._replace(name="/".join(filter(None, (name, call.name))) if steps else call.name or name)
            if isinstance(call.layer, keras.layers.TimeDistributed) and tally.runs:
                self._at_every_step(named, steps)
            else:
                self._add(named, tally, steps)

    def _at_every_step(self, call: Call, steps: tuple[int, ...]) -> None:
        inner = call.layer.layer
        spec = tf.TensorSpec((1, *call.input_shape[2:]), tf.nest.flatten(call.inputs)[0].dtype)
        trace = _Trace(lambda x: inner(x, training=False), [spec])
        self.count(trace, call.name, (*steps, call.input_shape[1]))

    def _add(self, call: Call, tally: Tally, steps: tuple[int, ...]) -> None:
        params = self._claim(call.layer)
        if isinstance(call.layer, keras.layers.TFSMLayer):
            report = cost_of_function(call.layer, call.inputs)
            self.rows += [row._replace(name=f"{call.name}/{row.name}") for row in report.rows]
            self.uncounted += report.uncounted
            tally = Tally(runs=tally.runs)
        rows = _formula(call)
        if rows is not None:
            # What belongs to no other row is the last one's: all of it, where a layer has one kernel.
            given = sum(row.params for row in rows) if params else 0
            rows = [row._replace(params=row.params if params else 0, macs=tally.runs * row.macs) for row in rows]
            rows[-1] = rows[-1]._replace(params=params - given)
        elif params or tally.macs:
            kind = type(call.layer).__name__
            rows = [CostRow(call.name, kind, None, None, None, 1, call.output_shape[1:], params, tally.macs)]
        times = prod(steps)
        self.rows += [
            row._replace(macs=times * row.macs, output_shape=(*steps, *row.output_shape)) for row in rows or ()
        ]
        if rows is None or _formula(call) is None:
            self.uncounted += [f"{call.name} ({', '.join(tally.unknown)})"] if tally.unknown else []

    def _claim(self, layer: Layer) -> int:
        """The number of a layer's parameters that no earlier call has counted."""
        fresh = [weight for weight in getattr(layer, "weights", ()) if id(weight) not in self._claimed]
        self._claimed.update(map(id, fresh))
        return sum(prod(weight.shape) for weight in fresh)


def _specs(tensors: Any) -> Any:
    """The shape and type of each tensor of a structure."""
    return tf.nest.map_structure(
        lambda each: tf.TensorSpec(each.shape, each.dtype) if tf.is_tensor(each) else each, tensors
    )


def cost_of_model(model: Model, input_shape: InputShapes | None) -> CostReport:
    """Return the cost of a Keras model for one sample of `input_shape`, or of its own inputs'."""
    counter = _Counter()
    with foreign_state_kept(model):
        symbolic = symbolic_call(model, input_shape)
        if symbolic is None:
            form, inputs, *_ = subclassed_call(model, input_shape)
            batch = 1
        else:
            form, inputs, batch = symbolic.form, symbolic.inputs, symbolic.batch_size or 1
        if unknown := [f"{spec.name} {spec.shape}" for spec in inputs if None in spec.shape]:
            raise ValueError(
                f"input_shape: expected the sizes that {model.name!r} leaves open, {', '.join(unknown)}, got None"
            )

        def call(*tensors: Any) -> Any:
            arguments, keywords = form.arguments(tensors)
            return model(*arguments, **keywords, training=False)

        specs = [tf.TensorSpec((batch, *spec.shape), spec.dtype, spec.name) for spec in inputs]
        counter.count(_Trace(call, specs, batch), model.name)
    return CostReport(tuple(counter.rows), tuple(counter.uncounted))
