"""The cost of a Keras model: its layers' calls are watched while it is traced once on static shapes."""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, NamedTuple

from tfsep._keras.backend import tf
from tfsep._keras.layer_calls import watching
from tfsep._keras.model_io import inputs_of, shape_for
from tfsep.cost._report import CostReport, CostRow

Shape = tuple[int, ...]


class Call(NamedTuple):
    """One call of a layer: its path in the model, the layer, and the shapes that went in and came out."""

    name: str
    layer: Any
    input_shape: Shape
    output_shape: Shape


def _spatial(shape: Shape, layer: Any) -> int:
    """The number of positions of an image or sequence (N, ..., C), or (N, C, ...)."""
    return prod(shape[1:-1] if layer.data_format == "channels_last" else shape[2:])


def _channels(shape: Shape, layer: Any) -> int:
    return shape[-1] if layer.data_format == "channels_last" else shape[1]


def _window_row(call: Call, kind: str, groups: int, macs: int, params: int = 0) -> CostRow:
    layer = call.layer
    rate = getattr(layer, "dilation_rate", None) or (1,) * len(layer.kernel_size)
    return CostRow(
        call.name,
        kind,
        tuple(layer.kernel_size),
        tuple(layer.strides),
        tuple(rate),
        groups,
        call.output_shape[1:],
        params,
        macs,
    )


def _steps(call: Call, kind: str) -> int:
    """The number of places that a window is laid on: the outputs, or the inputs of a transposed convolution."""
    return _spatial(call.input_shape if kind.endswith("_transpose") else call.output_shape, call.layer)


def _convolution(call: Call, kind: str) -> list[CostRow]:
    groups = getattr(call.layer, "groups", 1)
    per_step = prod(call.layer.kernel_size) * _channels(call.input_shape, call.layer) * call.layer.filters // groups
    return [_window_row(call, kind, groups, _steps(call, kind) * per_step)]


def _depthwise(call: Call, kind: str) -> list[CostRow]:
    channels = _channels(call.input_shape, call.layer)
    per_step = prod(call.layer.kernel_size) * channels * call.layer.depth_multiplier
    return [_window_row(call, kind, channels, _steps(call, kind) * per_step)]


def _separable(call: Call, kind: str) -> list[CostRow]:
    layer, channels = call.layer, _channels(call.input_shape, call.layer)
    between, positions = channels * layer.depth_multiplier, _spatial(call.output_shape, call.layer)
    last = layer.data_format == "channels_last"
    shape = (*call.output_shape[1:-1], between) if last else (between, *call.output_shape[2:])
    depthwise = _window_row(
        call._replace(name=f"{call.name}/depthwise"),
        kind.replace("separable", "depthwise"),
        channels,
        _steps(call, kind) * between * prod(layer.kernel_size),
        prod(layer.depthwise_kernel.shape),
    )._replace(output_shape=shape)
    ones = (1,) * len(layer.kernel_size)
    pointwise = CostRow(
        f"{call.name}/pointwise",
        kind.replace("separable_", "").removesuffix("_transpose"),
        ones,
        ones,
        ones,
        1,
        call.output_shape[1:],
        0,
        positions * between * layer.filters,
    )
    return [depthwise, pointwise]


def _deformable(call: Call, kind: str) -> list[CostRow]:
    """The convolution that gives the offsets; four products for each number that a tap sees; and the product itself."""
    layer, channels = call.layer, _channels(call.input_shape, call.layer)
    positions, taps = _spatial(call.output_shape, layer), prod(layer.kernel_size)
    moves = layer.offset_kernel.shape[3]
    last = layer.data_format == "channels_last"
    shape = (*call.output_shape[1:-1], moves) if last else (moves, *call.output_shape[2:])
    offsets = _window_row(
        call._replace(name=f"{call.name}/offset"),
        "conv2d",
        1,
        positions * prod(layer.offset_kernel.shape),
        prod(layer.offset_kernel.shape) + moves,
    )._replace(output_shape=shape)
    macs = 4 * positions * taps * channels
    seen = CostRow(
        f"{call.name}/sampling", "bilinear_sampling", None, None, None, 1, (positions, taps, channels), 0, macs
    )
    return [offsets, seen, *_convolution(call, kind)]


def _product(call: Call, kind: str, macs: int) -> list[CostRow]:
    return [CostRow(call.name, kind, None, None, None, 1, call.output_shape[1:], 0, macs)]


def _dense(call: Call, kind: str) -> list[CostRow]:
    return _product(call, kind, prod(call.output_shape[1:]) * call.input_shape[-1])


def _none(call: Call, kind: str) -> list[CostRow]:
    return _product(call, kind, 0)


Counter = Callable[[Call, str], list[CostRow]]

COUNTERS: dict[str, tuple[str, Counter]] = {
    **{f"Conv{n}D": (f"conv{n}d", _convolution) for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": (f"conv{n}d_transpose", _convolution) for n in (1, 2, 3)},
    "DeformableConv2D": ("deformable_conv2d", _deformable),
    **{f"DepthwiseConv{n}D": (f"depthwise_conv{n}d", _depthwise) for n in (1, 2)},
    **{f"SeparableConv{n}D": (f"separable_conv{n}d", _separable) for n in (1, 2)},
    "DepthwiseConv2DTranspose": ("depthwise_conv2d_transpose", _depthwise),
    "SeparableConv2DTranspose": ("separable_conv2d_transpose", _separable),
    "Dense": ("dense", _dense),
    "Embedding": ("embedding", _none),
    "BatchNormalization": ("batch_normalization", _none),
    "GroupNormalization": ("group_normalization", _none),
    "LayerNormalization": ("layer_normalization", _none),
    "Normalization": ("normalization", _none),
    "PReLU": ("prelu", _none),
    "QuantizedOutput": ("quantized_output", _none),
}
"""Kind and counter of each class of layer that is counted, for it and what is derived from it."""


def _counter(layer: Any) -> tuple[str, Counter] | None:
    """The kind and counter of a layer, or None; one that is applied at every step of time is counted at each."""
    if any(base.__name__ == "TimeDistributed" for base in type(layer).__mro__):
        inner = _counter(layer.layer)
        return inner and (inner[0], partial(_at_every_step, inner[1]))
    if type(layer).__name__ == "QuantizedLinear":
        inner = _counter(layer.layer)
        return inner and (inner[0], partial(_of_the_layer_in_it, inner[1]))
    return next((COUNTERS[base.__name__] for base in type(layer).__mro__ if base.__name__ in COUNTERS), None)


def _of_the_layer_in_it(count: Counter, call: Call, kind: str) -> list[CostRow]:
    return count(call._replace(layer=call.layer.layer), kind)


def _at_every_step(count: Counter, call: Call, kind: str) -> list[CostRow]:
    steps = call.input_shape[1]
    one = Call(call.name, call.layer.layer, (1, *call.input_shape[2:]), (1, *call.output_shape[2:]))
    return [row._replace(macs=steps * row.macs, output_shape=(steps, *row.output_shape)) for row in count(one, kind)]


class _Recorder:
    """Collects rows while a model runs: parameters once, MACs at every call."""

    def __init__(self) -> None:
        self.rows: list[CostRow] = []
        self.uncounted: list[str] = []
        self._path: list[str] = []
        self._claimed: set[int] = set()

    def enter(self, layer: Any) -> None:
        self._path.append(layer.name)

    def leave(self, layer: Any, inputs: Any, outputs: Any) -> None:
        name = "/".join(self._path[1:]) or layer.name
        self._path.pop()
        self.add(name, layer, inputs, outputs)

    def add(self, name: str, layer: Any, inputs: Any, outputs: Any) -> None:
        params = self._claim(layer)
        counter = _counter(layer)
        if counter is not None:
            kind, count = counter
            rows = count(Call(name, layer, _shape(inputs), _shape(outputs)), kind)
            # What a counter has not given to one of its rows is the last one's: all of it, but for separable layers.
            given = sum(row.params for row in rows) if params else 0
            if not params:
                rows = [row._replace(params=0) for row in rows]
            self.rows += [*rows[:-1], rows[-1]._replace(params=params - given)]
        elif params:
            self.rows.append(CostRow(name, type(layer).__name__, None, None, None, 1, _shape(outputs)[1:], params, 0))
            self.uncounted.append(name)

    def _claim(self, layer: Any) -> int:
        """The number of parameters that no call before this one has claimed."""
        fresh = [weight for weight in layer.weights if id(weight) not in self._claimed]
        self._claimed.update(map(id, fresh))
        return sum(prod(weight.shape) for weight in fresh)


def _shape(tensors: Any) -> Shape:
    """The shape of the first tensor of a structure, with 1 for the batch."""
    first = tf.nest.flatten(tensors)[0]
    return (1, *first.shape[1:])


def cost_of_model(model: Any, input_shape: tuple[int, ...] | None) -> CostReport:
    """Return the cost of a Keras model for one image of `input_shape`, or of its own input's."""
    recorder = _Recorder()
    signature = _signature(model, input_shape)
    with watching(recorder.enter, recorder.leave):
        tf.function(model, autograph=False).get_concrete_function(signature)
    return CostReport(tuple(recorder.rows), tuple(recorder.uncounted))


def _signature(model: Any, input_shape: tuple[int, ...] | None) -> Any:
    """The model's input as TensorSpecs of static shape."""
    if input_shape is not None:
        input_shape = shape_for(model, input_shape)
        if not model.built:
            model(tf.zeros((1, *input_shape)))
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
