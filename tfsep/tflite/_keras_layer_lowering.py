"""What a model's own code calls, computed for an export by operators that a file has: one builtin operator each.

- Keras's convolution layers, by this library's ops. Left alone, a strided depthwise layer with gaps is traced as a
  convolution at every pixel, of which most results are thrown away; and the operators of other layers with gaps depend
  on sizes.
- Keras's upsampling by the nearest pixel, which repeats each axis in turn, by one resize.
- TensorFlow's convolutions of channels first, by those of channels last: the converter moves the axes of images alone,
  and not where there are gaps.
- TensorFlow's resize by methods that no file has an operator for, by products with two matrices.
- Keras's sum with a vector, which it traces as a bias, by a plain sum where it is one of whole numbers.
- Minus infinity padded in front of a maximum over windows, which no integer stands for, by the pixels next to it.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Layer, Tensor
from tfsep.layers._layer_kinds import LAYER_KINDS, LayerKind

CHANNELS_FIRST = "channels_first"
"""Name of the operation that moves the channels of a convolution to the front."""

_Method = Callable[..., Tensor]


class _Replacement(NamedTuple):
    """A function that another takes the place of.

    Attributes:
        owner: class or module that has it.
        name: its name there.
        make: function of it that returns the other.
    """

    owner: Any
    name: str
    make: Callable[[_Method], _Method]


@contextmanager
def keras_layers_lowered() -> Iterator[None]:
    """While open, compute Keras's layers and TensorFlow's resize by a file's operators, but for overridden methods.

    Keras has no hook for this, so methods are replaced on its classes, and put back.
    """
    before = [(each, vars(each.owner).get(each.name)) for each in _REPLACEMENTS]
    for each in _REPLACEMENTS:
        setattr(each.owner, each.name, each.make(getattr(each.owner, each.name)))
    try:
        yield
    finally:
        for each, own in before:
            if own is None:
                delattr(each.owner, each.name)
            else:
                setattr(each.owner, each.name, own)


def _convolution(kind: LayerKind) -> Callable[[_Method], _Method]:
    """The method that takes the place of a Keras class's own, and leaves layers in channels_first to that."""

    def make(original: _Method) -> _Method:
        def method(layer: Layer, x: Tensor, *kernel: Any) -> Tensor:
            if layer.data_format != "channels_last":
                return original(layer, x, *kernel)
            if kind.keras_method == "convolution_op":
                return kind.compute(layer, x, *kernel)
            return _finished(layer, kind.compute(layer, x, *(getattr(layer, own.name) for own in kind.kernels)))

        return method

    return make


def _finished(layer: Layer, y: Tensor) -> Tensor:
    """Add the bias and apply the activation."""
    y = y + layer.bias if layer.use_bias else y
    return y if layer.activation is None else layer.activation(y)


def _upsampled(original: _Method) -> _Method:
    """The call of `UpSampling1D`, `UpSampling2D` and `UpSampling3D`, where that takes the nearest pixel."""

    def call(layer: Layer, x: Tensor) -> Tensor:
        factors = layer.size if isinstance(layer.size, tuple) else (layer.size,)
        is_nearest = getattr(layer, "interpolation", "nearest") == "nearest"
        # LiteRT resizes no integers that have no scale.
        if not is_nearest or not x.dtype.is_floating or None in x.shape[1:] or set(factors) == {1}:
            return original(layer, x)
        if getattr(layer, "data_format", "channels_last") == "channels_last":
            return _repeated(x, factors)
        axes = range(len(x.shape))
        return tf.transpose(_repeated(tf.transpose(x, (0, *axes[2:], 1)), factors), (0, axes[-1], *axes[1:-1]))

    return call


def _repeated(x: Tensor, factors: tuple[int, ...]) -> Tensor:
    """Repeat each element of (N, ..., C) along the axes between, two of them by each resize."""
    *sides, channels = x.shape[1:]
    enlarged = [side * factor for side, factor in zip(sides, factors, strict=True)]
    rows, columns = (1, *sides)[-2:]
    if factors[-2:] not in ((1,), (1, 1)):
        size = (1, *enlarged)[-2:]
        x = tf.image.resize(tf.reshape(x, (-1, rows, columns, channels)), size, method="nearest")
    if len(sides) == 3 and factors[0] != 1:
        size = (enlarged[0], enlarged[1] * enlarged[2])
        x = tf.image.resize(tf.reshape(x, (-1, sides[0], size[1], channels)), size, method="nearest")
    return tf.reshape(x, (-1, *enlarged, channels))


def _channels_last(original: _Method) -> _Method:
    """TensorFlow's convolution, or a transposed one, of which the file has those of channels last alone."""

    def convolution(*arguments: Any, **named: Any) -> Tensor:
        given = inspect.signature(original).bind(*arguments, **named).arguments
        rank = len(given["input"].shape) - 2
        is_first = str(given.get("data_format") or "").startswith("NC")
        # Of an image without gaps the converter moves the bias behind it too.
        if not is_first or (rank == 2 and np.max(given.get("dilations") or 1) == 1):
            return original(**given)
        behind = (0, *range(2, rank + 2), 1)
        given["input"] = tf.transpose(given["input"], behind)
        given["data_format"] = {1: "NWC", 2: "NHWC", 3: "NDHWC"}[rank]
        if "output_shape" in given:
            given["output_shape"] = [given["output_shape"][axis] for axis in behind]
        return tf.transpose(original(**given), (0, rank + 1, *range(1, rank + 1)), name=CHANNELS_FIRST)

    return convolution


def _resized(original: _Method) -> _Method:
    """TensorFlow's resize; a method without an operator is linear in each axis, and becomes two matrices.

    Smoothing (`antialias`) does nothing to pixels that are taken apart, so such a bilinear resize has its operator.
    """

    def resize(images: Any, size: Any, method: str = "bilinear", *options: Any, **named: Any) -> Tensor:
        images = tf.convert_to_tensor(images)
        given = inspect.signature(original).bind(images, size, method, *options, **named).arguments
        target, source = tf.get_static_value(tf.convert_to_tensor(size)), images.shape[-3:-1].as_list()
        antialias = given.get("antialias", False)
        unknown = target is None or None in source or given.get("preserve_aspect_ratio", False)
        if unknown or method == "nearest" or (method == "bilinear" and not antialias):
            return original(images, size, method, *options, **named)
        rows, columns = (int(side) for side in target)
        if method == "bilinear" and rows >= source[0] and columns >= source[1]:
            return original(images, size, method)

        def matrix(sides: int, to: int) -> np.ndarray:
            """The resize of one axis: that of each unit vector."""
            with tf.init_scope():
                columns_of = original(
                    tf.reshape(tf.eye(sides), (sides, sides, 1, 1)), (to, 1), method, False, antialias
                )
                return np.asarray(columns_of)[..., 0, 0].T

        *batch, _, _, channels = images.shape
        x = tf.reshape(tf.cast(images, "float32"), (-1, source[0], source[1] * channels))
        x = tf.matmul(matrix(source[0], rows), x)
        x = tf.matmul(matrix(source[1], columns), tf.reshape(x, (-1, source[1], channels)))
        return tf.reshape(x, (*batch, rows, columns, channels))

    return resize


_LOWEST = np.finfo("float32").min


def _maximum(original: _Method) -> _Method:
    """TensorFlow's maximum over windows; of what was padded with the lowest numbers, that of the mirror image."""

    def max_pool(*arguments: Any, **named: Any) -> Tensor:
        given = inspect.signature(original).bind(*arguments, **named).arguments
        padded = getattr(given["input"], "op", None)
        if padded is not None and padded.type == "PadV2" and given["padding"] == "VALID":
            source, *constants = padded.inputs
            pads, lowest = map(tf.get_static_value, constants)
            if pads is not None and lowest is not None and lowest <= _LOWEST and _stay_inside(pads, given):
                given["input"] = tf.pad(source, pads, "SYMMETRIC")
        return original(**given)

    return max_pool


def _stay_inside(pads: np.ndarray, given: dict[str, Any]) -> bool:
    """Return whether each window that reaches p pixels over the edge has the p pixels next to it, too."""
    axes = len(pads) - 2
    sizes = np.broadcast_to(given["ksize"], axes) if np.size(given["ksize"]) in (1, axes) else np.zeros(axes)
    windows = [1, 1, *sizes] if str(given.get("data_format") or "").startswith("NC") else [1, *sizes, 1]
    return bool(np.all(2 * pads.max(axis=1) <= windows))


def _sum_of_integers(bias_add: _Method) -> _Method:
    """A bias, and the sum of whole numbers that Keras makes one of: no file has an operator for a bias of integers."""

    def call(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Tensor:
        value = tf.convert_to_tensor(value)
        if value.dtype.is_floating or value.dtype.is_complex:
            return bias_add(value, bias, data_format=data_format, name=name)
        first = data_format is not None and data_format.startswith("NC")
        return tf.add(value, tf.reshape(bias, (-1, *(1,) * (value.shape.rank - 2))) if first else bias, name=name)

    return call


_REPLACEMENTS = (
    *(
        _Replacement(kind.keras_class, kind.keras_method, _convolution(kind))
        for kind in LAYER_KINDS
        if kind.keras_method is not None
    ),
    *(
        _Replacement(layer, "call", _upsampled)
        for layer in (keras.layers.UpSampling1D, keras.layers.UpSampling2D, keras.layers.UpSampling3D)
    ),
    *(_Replacement(tf.nn, name, _channels_last) for name in ("convolution", "conv_transpose")),
    _Replacement(tf.image, "resize", _resized),
    _Replacement(tf.nn, "max_pool", _maximum),
    _Replacement(tf.nn, "bias_add", _sum_of_integers),
)
