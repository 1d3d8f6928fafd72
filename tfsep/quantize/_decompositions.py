"""Layers without an integer operator of their own, as chains of layers that have one.

Separable and transposed convolutions follow from their rows in the table of layer kinds: one convolution for each
kernel, behind zero insertion where the kind is transposed.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tfsep import layers
from tfsep._keras.backend import keras
from tfsep._keras.layer_copies import config_of
from tfsep._keras.model_graph import operation_of
from tfsep._keras.types import Layer, Shape, TensorLike
from tfsep.geometry import Pads, Transposed, Window
from tfsep.layers._kernel_spec import DEPTHWISE_AXES, TRANSPOSED_AXES, KernelSpec
from tfsep.layers._layer_kinds import LayerKind, kind_of
from tfsep.quantize._built_layers import as_rows, filled, one_tap
from tfsep.quantize._operations import overridden
from tfsep.quantize._zero_insertion import ZeroInsertion


def decomposed(layer: Layer, given: Shape, shape: Shape) -> list[Layer]:
    """Return the layers that a layer is a chain of, with its weights; the layer itself, if it has an operator.

    Args:
        layer: a built layer.
        given: shape of its input; None where a size is not known.
        shape: shape of its result; None where a size is not known.

    Raises:
        ValueError: for constraints that would apply to a flipped kernel.
    """
    if overridden(layer):
        return [layer]
    kind = kind_of(layer)
    if kind is not None and isinstance(function := getattr(layer, "activation", None), keras.layers.Layer):
        return [*decomposed(_without_activation(layer, function), given, shape), function]
    own = next((decompose for cls, decompose in _OWN_DECOMPOSITIONS.items() if isinstance(layer, cls)), None)
    if own is not None:
        chain = list(own(layer, given, shape))
    elif kind is None or kind.quantized is None or layer_format(layer) != "channels_last":
        return [layer]
    elif kind.transposed:
        is_one = kind.quantized == "operator" and _is_one_operator(layer, _geometry(layer), shape)
        chain = [layer] if is_one else list(transposed_chain(layer))
    elif kind.quantized == "parts":
        chain = list(_convolutions(layer, kind))
    else:
        return [layer]
    for part in chain:
        part.trainable = part.trainable and layer.trainable
    return chain


def layer_format(layer: Layer) -> str:
    """Return the data format of a layer; ``"channels_last"`` if it has none."""
    return getattr(layer, "data_format", "channels_last")


def _separable_block(block: Layer, given: Shape, shape: Shape) -> Iterator[Layer]:  # noqa: ARG001
    for name, convolution, normalization in (
        ("depthwise", block.depthwise, block.depthwise_bn),
        ("pointwise", block.pointwise, block.pointwise_bn),
    ):
        yield _renamed(convolution, f"{block.name}_{name}")
        if normalization is not None:
            yield _renamed(normalization, f"{block.name}_{name}_bn")
        yield keras.layers.Activation(block.activation, name=f"{block.name}_{name}_activation")


def _rescaling(layer: Layer, given: Shape, shape: Shape) -> Iterator[Layer]:  # noqa: ARG001
    """``x · scale + offset`` as a depthwise convolution of one tap."""
    yield from _scaled(layer, layer.scale, layer.offset, shape)


def layers_of(operation: keras.Operation, positional: Sequence[Any], given: Shape, shape: Shape) -> list[Layer] | None:
    """Return the layers that an operation of `keras.ops`, with the numbers that it takes, is a chain of; None for none.

    Args:
        operation: the operation.
        positional: its arguments by position, with the model's tensors in their places.
        given: shape of its tensor; None where a size is not known.
        shape: shape of its result.
    """
    if isinstance(operation, keras.layers.Layer):
        return None
    scaling = _scaling_of(operation, positional)
    if scaling is None:
        return _filter_of(operation, positional) or _sum_of(operation, given, shape)
    if np.all(np.equal(scaling.scale, 1)) and not np.any(scaling.offset):  # as the first term of Python's sum
        return [keras.layers.Identity(name=operation.name)]
    chain = decomposed(scaling, given, shape)
    return None if chain == [scaling] else chain


def _scaling_of(operation: keras.Operation, positional: Sequence[Any]) -> Layer | None:
    """The rescaling by one number, or one for each channel, that an operation of `keras.ops` is; None for another."""
    if len(positional) != 2:
        return None
    first, second = positional
    reverse = isinstance(second, keras.KerasTensor)
    tensor, numbers = (second, first) if reverse else (first, second)
    if isinstance(numbers, keras.KerasTensor | bool | str) or not isinstance(tensor, keras.KerasTensor):
        return None
    numbers = np.asarray(numbers)
    if numbers.dtype.kind not in "iuf" or numbers.ndim > len(tensor.shape):
        return None
    if numbers.size not in (1, *numbers.shape[-1:]) or (numbers.size > 1 and numbers.size != tensor.shape[-1]):
        return None
    wide = numbers.astype("float64")
    quotient = None if reverse or not np.all(wide) else 1 / np.where(wide, wide, 1)
    scale, offset = {
        "Add": (1.0, wide),
        "Subtract": (-1.0, wide) if reverse else (1.0, -wide),
        "Multiply": (wide, 0.0),
        "TrueDivide": (quotient, 0.0),
        "Divide": (quotient, 0.0),
    }.get(type(operation).__name__, (None, 0.0))
    return None if scale is None else keras.layers.Rescaling(scale, offset, name=operation.name)


def _filter_of(operation: keras.Operation, positional: Sequence[Any]) -> list[Layer] | None:
    """The layer that a convolution of `keras.ops` by a constant kernel is, as a blur; None for another operation."""
    kind = {"Conv": layers.Conv2D, "DepthwiseConv": layers.DepthwiseConv2D}.get(type(operation).__name__)
    if kind is None or len(positional) != 2 or isinstance(positional[1], keras.KerasTensor | keras.Variable):
        return None
    given, values = positional[0], np.asarray(positional[1])
    if operation.data_format == "channels_first" or len(given.shape) != 4 or values.ndim != 4:
        return None
    window: tuple[Any, ...] = (values.shape[:2], operation.strides, operation.padding)
    options: dict[str, Any] = {"dilation_rate": operation.dilation_rate, "use_bias": False, "name": operation.name}
    if kind is layers.Conv2D:
        window = (values.shape[-1], *window)
    else:
        options["depth_multiplier"] = values.shape[-1]
    constant = kind(*window, **options, data_format="channels_last", trainable=False)
    return [filled(constant, (None, None, None, given.shape[-1]), [values])]


def _sum_of(operation: keras.Operation, given: Shape, shape: Shape) -> list[Layer] | None:
    """A sum of `keras.ops` as a mean over the same axes, times their numbers; None for another operation."""
    if type(operation).__name__ != "Sum":
        return None
    axes = range(len(given)) if operation.axis is None else operation.axis
    axes = [axis % len(given) for axis in ([axes] if isinstance(axes, int) else axes)]
    if 0 in axes or None in given[1:] or len(shape) < 2:
        return None
    mean = operation_of(keras.ops.mean(keras.Input(given[1:]), axes, operation.keepdims))
    mean.name = f"{operation.name}_mean"
    factor = keras.layers.Rescaling(float(np.prod([given[axis] for axis in axes])), name=operation.name)
    return [mean, *_scaled(factor, factor.scale, factor.offset, shape)]


def _normalization(layer: Layer, given: Shape, shape: Shape) -> Iterator[Layer]:  # noqa: ARG001
    """``(x − mean) / deviation``, or its inverse, likewise."""
    mean = np.asarray(layer.mean, "float64")
    deviation = np.maximum(np.sqrt(np.asarray(layer.variance, "float64")), keras.config.epsilon())
    scale, offset = (deviation, mean) if layer.invert else (1 / deviation, -mean / deviation)
    yield from _scaled(layer, scale, offset, shape)


def _scaled(layer: Layer, scale: TensorLike, offset: TensorLike, shape: Shape) -> Iterator[Layer]:
    """A depthwise convolution of one tap; the layer itself, where other axes have numbers of their own."""
    channels, numbers = shape[-1], [np.asarray(value) for value in (scale, offset)]
    is_open = len(shape) not in (3, 4) and None in shape[1:]
    if channels is None or is_open or any(each.size not in (1, *each.shape[-1:]) for each in numbers):
        yield layer
        return
    convolution = one_tap(len(shape), layer.name)
    scale, offset = (np.broadcast_to(each.reshape(-1), (channels,)) for each in numbers)
    kernel = scale.reshape(*(1,) * len(convolution.kernel_size), channels, 1)
    filled(convolution, (*(None,) * (len(convolution.kernel_size) + 1), channels), [kernel, offset])
    rows = as_rows(shape, layer.name)
    yield from (convolution,) if rows is None else (rows[0], convolution, rows[1])


def _center_crop(layer: Layer, given: Shape, shape: Shape) -> Iterator[Layer]:  # noqa: ARG001
    """The crop of known sides; the layer itself, where it resizes."""
    rows, columns = given[1:3]
    if layer_format(layer) != "channels_last" or not (rows and columns) or rows < layer.height or columns < layer.width:
        yield layer
        return
    excess = rows - layer.height, columns - layer.width
    cropped = [(side // 2, side - side // 2) for side in excess]
    yield keras.layers.Cropping2D(cropped, data_format="channels_last", name=layer.name)


def _softmax(layer: Layer, given: Shape, shape: Shape) -> Iterator[Layer]:  # noqa: ARG001
    """Softmax over another axis than the last one, which is moved there and back."""
    rank = len(shape)
    axis = layer.axis % rank if isinstance(layer.axis, int) else 0
    if axis in (0, rank - 1):
        yield layer
        return
    order = [*range(1, axis), rank - 1, *range(axis + 1, rank - 1), axis]
    yield keras.layers.Permute(order, name=f"{layer.name}_last")
    yield keras.layers.Softmax(name=layer.name)
    yield keras.layers.Permute(order, name=f"{layer.name}_back")


_OWN_DECOMPOSITIONS: dict[type[Layer], Callable[[Layer, Shape, Shape], Iterator[Layer]]] = {
    layers.DepthwiseSeparableConv: _separable_block,
    keras.layers.Rescaling: _rescaling,
    keras.layers.Normalization: _normalization,
    keras.layers.CenterCrop: _center_crop,
    keras.layers.Softmax: _softmax,
}
"""Of layers that do not follow from a row in the table of layer kinds."""


def _renamed(layer: Layer, name: str) -> Layer:
    """A copy of a built layer under another name, with the same weights."""
    copy = type(layer).from_config({**config_of(layer), "name": name})
    build = layer.get_build_config()
    copy.build(build["input_shape"] if build else None)
    copy.set_weights(layer.get_weights())
    return copy


def _without_activation(layer: Layer, function: Layer) -> Layer:
    """A copy of a layer whose activation is a layer, without it."""
    copy = type(layer).from_config({**config_of(layer), "activation": "linear"})
    copy.build(layer.get_build_config()["input_shape"])
    others = set(map(id, function.weights))
    copy.set_weights([np.asarray(weight) for weight in layer.weights if id(weight) not in others])
    return copy


def transposed_chain(layer: Layer) -> Iterator[Layer]:
    """Return zero insertion and the convolutions by flipped kernels, which compute a transposed convolution.

    Of channels first, the axes are moved to channels last and back, and the activation follows.

    Raises:
        ValueError: for constraints that would apply to a flipped kernel.
    """
    kind = kind_of(layer)
    assert kind is not None
    for name in ("kernel", "depthwise", "pointwise"):
        if getattr(layer, f"{name}_constraint", None) is not None:
            raise ValueError(
                f"model: expected transposed convolutions without constraints, whose kernels are flipped, got "
                f"{layer.name!r}"
            )
    rank = len(layer.kernel_size)
    zeros = ZeroInsertion(layer.strides, _pads(_geometry(layer))[-rank:], name=f"{layer.name}_zeros")
    *first, last = _convolutions(layer, kind)
    if layer_format(layer) == "channels_last":
        yield from (zeros, *first, last)
        return
    yield keras.layers.Permute((*range(2, rank + 2), 1), name=f"{layer.name}_channels_last")
    yield from (zeros, *first)
    plain = _renamed(last, f"{layer.name}_convolution")
    plain.activation = keras.activations.linear
    yield plain
    yield keras.layers.Permute((rank + 1, *range(1, rank + 1)), name=f"{layer.name}_channels_first")
    yield keras.layers.Activation(layer.activation, name=layer.name)


def _geometry(layer: Layer) -> Transposed:
    window = layer.kernel_size, layer.strides, layer.padding, layer.dilation_rate
    if len(layer.kernel_size) == 1:
        return Transposed.of_row(*window, layer.output_padding)
    return Transposed.of(Window.of(*window), layer.output_padding)


def _is_one_operator(layer: Layer, geometry: Transposed, shape: Shape) -> bool:
    """Whether a file has one operator for it, in which every output pixel is a sum and the bias is included."""
    window, (rows, columns), reach = geometry.window, shape[1:3], geometry.window.effective_kernel
    if getattr(layer, "groups", 1) > 1 or reach != window.kernel:
        return False
    if any(k < s for k, s in zip(window.kernel, window.strides, strict=True)):
        return False
    if layer.padding == "same" and layer.output_padding is None:
        return True
    if rows is not None and columns is not None:
        same = Window.of(window.kernel, window.strides, "same")
        if window.padding == same.pads((rows, columns)):
            return True
    return window.padding == ((0, 0), (0, 0)) and geometry.reach == reach


def _pads(geometry: Transposed) -> Pads:
    """The zeros around pixels a stride apart, with which the flipped kernel makes the result."""
    (top, _), (left, _) = geometry.window.pads((1, 1))
    (rows, columns), (height, width) = geometry.window.effective_kernel, geometry.reach
    return (rows - 1 - top, height - 1 + top), (columns - 1 - left, width - 1 + left)


def _convolutions(layer: Layer, kind: LayerKind) -> Iterator[Layer]:
    """A convolution for each kernel; the last one has the layer's name, bias and activation."""
    for kernel in kind.kernels:
        values, groups = np.asarray(getattr(layer, kernel.name)), 1
        if kind.transposed and not kernel.pointwise:
            values = np.flip(values, tuple(range(len(layer.kernel_size))))
        if kernel.channel_axes == TRANSPOSED_AXES:
            groups = getattr(layer, "groups", 1)
            values = kernel.standard(values, groups)
        is_last = kernel is kind.kernels[-1]
        bias = [layer.bias] if is_last and layer.bias is not None else []
        convolution = _convolution(layer, kind, kernel, values, groups, is_last)
        input_shape = (*(None,) * (values.ndim - 1), values.shape[-2] * groups)
        yield filled(convolution, input_shape, [values, *bias])


def _convolution(
    layer: Layer, kind: LayerKind, kernel: KernelSpec, values: np.ndarray, groups: int, is_last: bool
) -> Layer:
    """The convolution by one kernel of a layer."""
    options: dict[str, Any] = {"kernel_size": values.shape[:-2], "data_format": "channels_last"}
    if not kernel.pointwise:
        options["dilation_rate"] = layer.dilation_rate
        if not kind.transposed:
            options |= {"strides": layer.strides, "padding": layer.padding}
    if is_last:
        options |= {name: getattr(layer, name) for name in _OPTIONS_OF_THE_LAST}
    else:
        options |= {"use_bias": False, "name": f"{layer.name}_{kernel.part}"}
    rank = len(layer.kernel_size)
    is_depthwise = kernel.channel_axes == DEPTHWISE_AXES
    own = "depthwise" if is_depthwise else "pointwise" if kernel.pointwise else "kernel"
    for what in ("regularizer", "constraint"):
        options[f"{'depthwise' if is_depthwise else 'kernel'}_{what}"] = getattr(layer, f"{own}_{what}")
    if is_depthwise:
        return (layers.DepthwiseConv1D, layers.DepthwiseConv2D)[rank - 1](depth_multiplier=values.shape[-1], **options)
    return (layers.Conv1D, layers.Conv2D)[rank - 1](values.shape[-1], groups=groups, **options)


_OPTIONS_OF_THE_LAST = ("activation", "use_bias", "bias_regularizer", "bias_constraint", "name")
