"""One row for each operation that `prepare` quantizes.

To add an operation, add its row to `_ROWS`: the Keras layers and the operators that mean it, its computation in real
numbers, and its integer kernel in each runtime. `prepare` plans it, trains it and infers it from that row alone. The
kernels are functions of `_xnnpack_kernels` and `_reference_kernels`; activations are in `_activations`. What has no row
is refused in the words of `_refusals`.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Literal

from tfsep._keras.backend import keras, tf
from tfsep._keras.inference_identities import INFERENCE_IDENTITIES
from tfsep._keras.model_graph import operation_of
from tfsep._keras.types import Layer, Tensor
from tfsep.layers import DepthwiseSeparableConv
from tfsep.layers._bilinear_resizing import BilinearResizing, resized
from tfsep.layers._layer_kinds import LAYER_KINDS
from tfsep.quantize import _reference_kernels as reference
from tfsep.quantize import _xnnpack_kernels as xnnpack
from tfsep.quantize._qparams import to_integers
from tfsep.quantize._table_functions import TABLES
from tfsep.quantize._to_float import ToFloat
from tfsep.quantize._zero_insertion import ZeroInsertion
from tfsep.surgery._foldable import overrides

L, K = keras.layers, keras.ops

IntegerKernel = Callable[..., Tensor]
"""``(a, qparams of a, b, qparams of b, …, qparams of the result, **options)`` → integers of the result, from its zero
point, before they are clipped to 8 bits; each input is integers from its zero point."""


Plan = Literal["pairwise", "mean", "same_qparams", "joined", "parts", "place", "resize", "slopes", "average_pooling"]
"""How a call is planned.

- ``"pairwise"``: two tensors at a time.
- ``"mean"``: over some axes.
- ``"same_qparams"``: the layer itself, on the quantization parameters of its input; ``"joined"``: likewise of several
  inputs, which share them; ``"parts"``: of several results; ``"average_pooling"``: with rounding; ``"place"``: whose
  result is a place among the numbers, no number of them.
- ``"resize"``: interpolation on the quantization parameters of the input.
- ``"slopes"``: a function by weights of the layer.
"""


_RUNTIMES = ("xnnpack", "reference")


@dataclass(frozen=True)
class Operation:
    """An operation that `prepare` quantizes.

    Attributes:
        name: key in `OPERATIONS`, by which planned operations and `ActivationQuantizer` refer to it.
        layers: Keras layer classes that compute it.
        keras_op: the operation of `keras.ops` that computes it of two tensors.
        operators: functions of a symbolic tensor that call the operations of `keras.ops` which compute it.
        takes: whether it is what a layer or an operation of its classes computes, by the arguments of these.
        plan: how a call of the layers is planned, one of `Plan`; None for an operation that is only planned as part
            of another layer.
        compute: (tensors, **options) → the result in real numbers, for training and for the converter.
        integer_kernels: its integer kernel for each runtime, by name.
        litert_kernels: the kernel of LiteRT for each runtime whose own kernel rounds otherwise.
        fixed_range: low and high end of the result, where runtimes fix them.
        input: what its kernels take: ``"quantized"`` tensors, the ``"sums"`` of a `QuantizedMatmul` with their scale,
            a ``"float"`` tensor, or numbers of a ``"constant"``, with the scale of the result in float64.
        keeps_range: whether the result has the range of what it takes.
        is_result: whether the result is that of a layer, and no change of its quantization.
        runtimes: the runtimes that have its operator; others are refused.
        is_pure: whether two layers of the same config compute the same, so that the converter merges them.
    """

    name: str
    layers: tuple[type[Layer], ...] = ()
    keras_op: Callable[..., Tensor] | None = None
    operators: tuple[Callable[[keras.KerasTensor], Any], ...] = ()
    takes: Callable[[Layer], bool] = lambda layer: True  # noqa: ARG005
    plan: Plan | None = None
    compute: Callable[..., Tensor] = lambda x, **_: x
    integer_kernels: Mapping[str, IntegerKernel] = field(default_factory=dict)
    litert_kernels: Mapping[str, IntegerKernel] = field(default_factory=dict)
    fixed_range: tuple[float, float] | None = None
    input: Literal["quantized", "sums", "float", "constant"] = "quantized"
    keeps_range: bool = False
    is_result: bool = True
    runtimes: tuple[str, ...] = _RUNTIMES
    is_pure: bool = True

    def real(self, tensors: list[Tensor], options: Mapping[str, Any]) -> Tensor:
        """Return the result in real numbers, of the tensors that `ActivationQuantizer` takes."""
        return self.compute(*tensors[::2], **options)

    def integers(
        self, tensors: list[Tensor], qparams: Tensor, options: Mapping[str, Any], runtime: str, litert: bool
    ) -> Tensor:
        """Return the result as integers from its zero point, of the tensors that `ActivationQuantizer` takes.

        Args:
            tensors: the inputs, each quantized one followed by its quantization parameters.
            qparams: the quantization parameters of the result.
            options: arguments of the operation.
            runtime: name of the runtime whose kernel computes it.
            litert: whether to round as LiteRT does where that differs from the runtime.
        """
        kernel = {**self.integer_kernels, **(self.litert_kernels if litert else {})}[runtime]
        if self.input == "quantized":
            pairs = zip(tensors[::2], tensors[1::2], strict=True)
            tensors = [part for x, own in pairs for part in (to_integers(x, own), own)]
        return kernel(*tensors, qparams, **options)


def _leaky_relu(x: Tensor, slope: float) -> Tensor:
    return tf.nn.leaky_relu(x, slope)


_ALMOST_ONE = 1.0 - 2.0**-24
"""The slope of a LeakyReLU that only changes the scale of integers. One of 1 the converter drops."""


def _hard_silu(x: Tensor) -> Tensor:
    # In the form that the converter recognizes.
    return x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


def _quantize(name: str, fixed_range: tuple[float, float] | None = None, **kernels: IntegerKernel) -> Operation:
    """The row of a quantization of numbers that are not: floats, or integers that are cast."""
    return Operation(
        name,
        compute=lambda x: tf.cast(x, "float32"),
        integer_kernels={"xnnpack": xnnpack.quantize, "reference": reference.quantize} | kernels,
        fixed_range=fixed_range,
        input="float",
        is_result=False,
    )


def _nonlinear(
    name: str, function: Callable[[Tensor], Tensor], fixed_range: tuple[float, float] | None, **kernels: IntegerKernel
) -> Operation:
    """A function, into a range that converters fix if one is given; XNNPACK computes it in floats, and rounds once."""
    kernels = {"xnnpack": xnnpack.rounded_once(function)} | kernels
    return Operation(name, compute=function, integer_kernels=kernels, fixed_range=fixed_range)


def _interpolation(layer: Layer) -> str:
    """The interpolation of a layer that resizes images and does no more."""
    keeps_aspect = getattr(layer, "crop_to_aspect_ratio", False) or getattr(layer, "pad_to_aspect_ratio", False)
    return "" if keeps_aspect else str(getattr(layer, "interpolation", "nearest"))


def _pairwise(
    name: str,
    layer: type[Layer],
    keras_op: Callable[..., Tensor],
    compute: Callable[..., Tensor],
    in_xnnpack: IntegerKernel,
    in_reference: IntegerKernel,
) -> Operation:
    """An operation on two tensors, element by element."""
    kernels = {"xnnpack": in_xnnpack, "reference": in_reference}
    return Operation(
        name, layers=(layer,), keras_op=keras_op, plan="pairwise", compute=compute, integer_kernels=kernels
    )


_ROWS = (
    # The file's inputs, which whoever runs it quantizes.
    _quantize("quantize", xnnpack=to_integers, reference=to_integers),
    _quantize("quantize_operator"),
    # Integers of 8 bits stay what they are, at scale 1: nothing is rounded.
    _quantize("quantize_uint8", (0.0, 255.0)),
    _quantize("quantize_int8", (-128.0, 127.0)),
    Operation(
        "convolution",
        integer_kernels={"xnnpack": xnnpack.requantize, "reference": reference.requantize},
        input="sums",
    ),
    Operation(
        "dense",
        integer_kernels={"xnnpack": xnnpack.requantize, "reference": reference.requantize},
        litert_kernels={"reference": reference.litert_requantize_dense},
        input="sums",
    ),
    Operation(
        "rectifier",
        integer_kernels=dict.fromkeys(_RUNTIMES, lambda x, own, qparams: x),  # noqa: ARG005
        keeps_range=True,
    ),
    _pairwise("add", L.Add, K.add, operator.add, xnnpack.add, reference.add),
    _pairwise("subtract", L.Subtract, K.subtract, operator.sub, xnnpack.subtract, reference.subtract),
    _pairwise("multiply", L.Multiply, K.multiply, operator.mul, xnnpack.multiply, reference.multiply),
    Operation(
        "square",
        compute=lambda x: x * x,
        integer_kernels={"xnnpack": xnnpack.square, "reference": reference.square},
    ),
    Operation(
        "mean",
        layers=(L.GlobalAveragePooling1D, L.GlobalAveragePooling2D),
        operators=(lambda x: K.mean(x, 1),),
        plan="mean",
        compute=lambda x, axes, keepdims: tf.reduce_mean(x, axes, keepdims=keepdims),
        integer_kernels={"xnnpack": xnnpack.mean, "reference": reference.mean},
    ),
    Operation(
        "leaky_relu",
        compute=_leaky_relu,
        integer_kernels={"xnnpack": xnnpack.leaky_relu, "reference": reference.leaky_relu},
        litert_kernels={"reference": reference.litert_leaky_relu},
    ),
    Operation(
        "requantize",
        compute=partial(_leaky_relu, slope=_ALMOST_ONE),
        integer_kernels={
            "xnnpack": partial(xnnpack.leaky_relu, slope=_ALMOST_ONE),
            "reference": partial(reference.leaky_relu, slope=_ALMOST_ONE),
        },
        litert_kernels={"reference": partial(reference.litert_leaky_relu, slope=_ALMOST_ONE)},
        is_result=False,
    ),
    Operation(
        "prelu",
        layers=(L.PReLU,),
        plan="slopes",
        # In the form that the converter recognizes.
        compute=lambda x, slopes: tf.nn.relu(x) + -slopes * tf.nn.relu(-x),
        integer_kernels={"xnnpack": reference.litert_prelu, "reference": reference.prelu},
        litert_kernels={"reference": reference.litert_prelu},
        is_pure=False,
    ),
    Operation(
        "hard_silu",
        compute=_hard_silu,
        integer_kernels=dict.fromkeys(_RUNTIMES, reference.hard_silu),
    ),
    _nonlinear("sigmoid", tf.nn.sigmoid, (0.0, 255 / 256), reference=reference.sigmoid),
    _nonlinear("tanh", tf.nn.tanh, (-1.0, 127 / 128), reference=reference.tanh),
    *(
        Operation(name, compute=compute, integer_kernels=dict.fromkeys(_RUNTIMES, reference.table(function)))
        for name, (compute, function) in TABLES.items()
    ),
    # Its values are a constant of the file, which the converter rounds.
    Operation("table", integer_kernels=dict.fromkeys(_RUNTIMES, reference.constant), input="constant"),
    _nonlinear("softmax", tf.nn.softmax, (0.0, 255 / 256), xnnpack=xnnpack.softmax, reference=reference.softmax),
    Operation(
        "average_pooling",
        layers=(L.AveragePooling1D, L.AveragePooling2D),
        plan="average_pooling",
    ),
    Operation(
        "bilinear",
        layers=(L.UpSampling2D, L.Resizing, BilinearResizing),
        takes=lambda layer: _interpolation(layer) == "bilinear",
        plan="resize",
        compute=resized,
        integer_kernels={"xnnpack": xnnpack.bilinear, "reference": reference.bilinear},
        keeps_range=True,
    ),
    Operation(
        "move",
        layers=(
            *(L.MaxPooling1D, L.MaxPooling2D, L.GlobalMaxPooling1D),
            *(L.GlobalMaxPooling2D, L.Reshape, L.Flatten, L.Permute),
            *(L.ZeroPadding1D, L.ZeroPadding2D, L.Cropping1D),
            *(L.Cropping2D, L.UpSampling1D, ZeroInsertion),
        ),
        operators=(
            *(lambda x: x[:, :1], lambda x: K.take(x, [0], 1)),
            *(lambda x: K.transpose(x, (0, 2, 1)), lambda x: K.swapaxes(x, 1, 2), lambda x: K.moveaxis(x, 1, 2)),
            *(lambda x: K.reshape(x, (-1, 1)), lambda x: K.squeeze(x, 1), lambda x: K.expand_dims(x, 1)),
        ),
        plan="same_qparams",
    ),
    Operation("parts", operators=(lambda x: K.split(x, 1, 1), lambda x: K.unstack(x, axis=1)), plan="parts"),
    Operation(
        "tile",
        layers=(L.RepeatVector,),
        operators=(lambda x: K.tile(x, (1, 2, 1)), lambda x: K.repeat(x, 2, 1)),
        plan="same_qparams",
        runtimes=("xnnpack",),
    ),
    Operation(
        "nearest",
        layers=(L.UpSampling2D, L.Resizing),
        takes=lambda layer: _interpolation(layer) == "nearest",
        plan="same_qparams",
    ),
    Operation(
        "extreme",
        operators=(lambda x: K.max(x, 1), lambda x: K.min(x, 1)),
        takes=lambda layer: layer.initial is None,
        plan="same_qparams",
    ),
    Operation("place", operators=(lambda x: K.argmax(x, 1), lambda x: K.argmin(x, 1)), plan="place"),
    # By zeros: `prepare` refuses other numbers, which a call has.
    Operation(
        "pad",
        operators=(lambda x: K.pad(x, 1),),
        takes=lambda layer: layer.mode in ("constant", "reflect", "symmetric"),
        plan="same_qparams",
    ),
    Operation(
        "join",
        layers=(L.Concatenate,),
        operators=(lambda x: K.concatenate([x, x]), lambda x: K.stack([x, x])),
        plan="joined",
    ),
    Operation("maximum", layers=(L.Maximum,), keras_op=K.maximum, plan="joined"),
    Operation("minimum", layers=(L.Minimum,), keras_op=K.minimum, plan="joined"),
    Operation(
        "identity",
        layers=(*INFERENCE_IDENTITIES, ToFloat),
        plan="same_qparams",
        is_pure=False,
    ),
)

OPERATIONS = {row.name: row for row in _ROWS}


def operation_for(layer: Layer) -> Operation | None:
    """Return the operation that a layer or an operation of `keras.ops` computes; None for others.

    Layers with weights, but for slopes, and activations have none.
    """
    if not isinstance(layer, L.Layer):
        row = _rows_of_operators().get(type(layer))
        return row if row is not None and row.takes(layer) else None
    if overridden(layer):
        return None
    return next((row for row in _ROWS if isinstance(layer, row.layers) and row.takes(layer)), None)


@cache
def _rows_of_operators() -> dict[type[keras.Operation], Operation]:
    """The rows by the classes of their operators, which Keras does not export."""
    x = keras.Input((1, 1))
    made = ((keras.tree.flatten(operator(x))[0], row) for row in _ROWS for operator in row.operators)
    return {type(operation_of(result)): row for result, row in made}


def moves(layer: Layer) -> bool:
    """Return whether a layer only moves numbers, or takes the largest, so that integers stay integers."""
    operation = operation_for(layer)
    return operation is not None and operation.plan in ("same_qparams", "joined", "parts")


def finds_places(layer: Layer) -> bool:
    """Return whether a layer returns places among numbers, which their integers decide as well."""
    operation = operation_for(layer)
    return operation is not None and operation.plan == "place"


def quantization_of(dtype: str, is_input: bool) -> str:
    """Return the name of the operation that quantizes numbers of a type, inputs of the model or results."""
    if dtype == "float32" and is_input:
        return "quantize"
    return {"uint8": "quantize_uint8", "bool": "quantize_uint8", "int8": "quantize_int8"}.get(
        dtype, "quantize_operator"
    )


ACTIVATION_LAYERS = (L.Activation, L.ReLU, L.LeakyReLU, L.Softmax)

_KNOWN_LAYERS = (
    *(each for kind in LAYER_KINDS for each in kind.classes),
    *(each for row in _ROWS for each in row.layers),
    *(*ACTIVATION_LAYERS, DepthwiseSeparableConv, L.Rescaling),
)


def overridden(layer: Layer) -> str | None:
    """Describe the class of a layer that overrides what its base, known here, computes; None for other layers."""
    return overrides(layer, _KNOWN_LAYERS, allowed=("build",)) if isinstance(layer, _KNOWN_LAYERS) else None
