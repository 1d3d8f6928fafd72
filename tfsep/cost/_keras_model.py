"""The cost of a Keras model: the calls of its layers, recorded in one trace on static shapes."""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from tfsep._keras.backend import keras, tf
from tfsep._keras.layer_calls import watch_layer_calls
from tfsep._keras.model_io import inputs_of, shape_for
from tfsep._keras.types import Layer, Model
from tfsep.cost._report import CostReport, CostRow
from tfsep.layers._kernel_spec import KernelSpec
from tfsep.layers._layer_kinds import LayerKind, kind_of

Shape = tuple[int, ...]


class Call(NamedTuple):
    """One call of a layer: its path in the model, the layer, and the shapes of its input and its output."""

    name: str
    layer: Layer
    input_shape: Shape
    output_shape: Shape

    @property
    def channel_axis(self) -> int:
        """The axis of the channels, -1 or 1."""
        return -1 if getattr(self.layer, "data_format", "channels_last") == "channels_last" else 1

    def positions(self, shape: Shape) -> int:
        """The number of positions of an image, sequence or vector (1, ..., C), or (1, C, ...)."""
        return prod(shape) // shape[self.channel_axis]


def _rows(call: Call) -> list[CostRow] | None:
    """The rows of a call; None for a layer of an unknown kind.

    A layer that Keras applies at every step of time is counted at each, a quantized one as the layer that it holds.
    """
    layer = call.layer
    if isinstance(layer, keras.layers.TimeDistributed):
        return _at_every_step(call)
    if (inner := getattr(layer, "counted_layer", None)) is not None:
        return _rows(call._replace(layer=inner))
    kind = kind_of(layer)
    return None if kind is None else _rows_of_kind(kind, call)


def _at_every_step(call: Call) -> list[CostRow] | None:
    steps = call.input_shape[1]
    one = Call(call.name, call.layer.layer, (1, *call.input_shape[2:]), (1, *call.output_shape[2:]))
    rows = _rows(one)
    return rows and [row._replace(macs=steps * row.macs, output_shape=(steps, *row.output_shape)) for row in rows]


def _rows_of_kind(kind: LayerKind, call: Call) -> list[CostRow]:
    """A row for each kernel, and one for the sampling of a deformable convolution."""
    if not kind.kernels:
        return [CostRow(call.name, kind.name, None, None, None, 1, call.output_shape[1:], 0, 0)]
    rows = [_kernel_row(kind, kernel, call) for kernel in kind.kernels]
    return [*rows[:-1], *_sampling_row(kind, call), rows[-1]]


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


def _sampling_row(kind: LayerKind, call: Call) -> list[CostRow]:
    """The row of the sampling between pixels; none for a kind whose taps are on pixels.

    Every tap, at each output position and in each input channel, is interpolated from `LayerKind.corners` pixels: as
    many products.
    """
    if not kind.corners:
        return []
    positions, channels = call.positions(call.output_shape), call.input_shape[call.channel_axis]
    sampled = positions, prod(call.layer.kernel_size), channels
    name = f"{call.name}/sampling"
    return [CostRow(name, "bilinear_sampling", None, None, None, 1, sampled, 0, kind.corners * prod(sampled))]


class _Recorder:
    """Collects rows while a model is traced: parameters at a layer's first call, MACs at every call."""

    def __init__(self) -> None:
        self.rows: list[CostRow] = []
        self.uncounted: list[str] = []
        self._path: list[str] = []
        self._claimed: set[int] = set()

    def enter(self, layer: Layer) -> None:
        self._path.append(layer.name)

    def leave(self, layer: Layer, inputs: Any, outputs: Any) -> None:
        name = "/".join(self._path[1:]) or layer.name
        self._path.pop()
        self.add(name, layer, inputs, outputs)

    def add(self, name: str, layer: Layer, inputs: Any, outputs: Any) -> None:
        params = self._claim(layer)
        rows = _rows(Call(name, layer, _shape(inputs), _shape(outputs)))
        if rows is not None:
            # What belongs to no other row is the last one's: all of it, where a layer has one kernel.
            given = sum(row.params for row in rows) if params else 0
            if not params:
                rows = [row._replace(params=0) for row in rows]
            self.rows += [*rows[:-1], rows[-1]._replace(params=params - given)]
        elif params:
            self.rows.append(CostRow(name, type(layer).__name__, None, None, None, 1, _shape(outputs)[1:], params, 0))
            self.uncounted.append(name)

    def _claim(self, layer: Layer) -> int:
        """The number of a layer's parameters that no earlier call has counted."""
        fresh = [weight for weight in layer.weights if id(weight) not in self._claimed]
        self._claimed.update(map(id, fresh))
        return sum(prod(weight.shape) for weight in fresh)


def _shape(tensors: Any) -> Shape:
    """The shape of the first tensor of a structure, with 1 for the batch."""
    first = tf.nest.flatten(tensors)[0]
    return (1, *first.shape[1:])


def cost_of_model(model: Model, input_shape: Sequence[int] | None) -> CostReport:
    """Return the cost of a Keras model for one image of `input_shape`, or of its own input's."""
    recorder = _Recorder()
    signature = _signature(model, input_shape)
    with watch_layer_calls(recorder.enter, recorder.leave):
        tf.function(lambda inputs: model(inputs, training=False), autograph=False).get_concrete_function(signature)
    return CostReport(tuple(recorder.rows), tuple(recorder.uncounted))


def _signature(model: Model, input_shape: Sequence[int] | None) -> Any:
    """The model's input as TensorSpecs of static shape."""
    if input_shape is not None:
        input_shape = shape_for(model, input_shape)
        if not model.built:
            model(tf.zeros((1, *input_shape)), training=False)
    inputs = inputs_of(model)
    if input_shape is not None:
        return tf.TensorSpec((1, *input_shape), "float32" if inputs is None else tf.nest.flatten(inputs)[0].dtype)
    if inputs is None:
        raise ValueError(f"input_shape: expected (H, W, C) for {model.name!r}, which was not built on inputs, got None")

    def spec(tensor: Any) -> Any:
        if None in tensor.shape[1:]:
            raise ValueError(
                f"input_shape: expected the sizes that {model.name!r} leaves open, {tensor.shape}, got None"
            )
        return tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, name=tensor.name)

    return tf.nest.map_structure(spec, inputs)
