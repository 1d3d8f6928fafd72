"""One row for each operation that `prepare` quantizes, and for each activation.

To add an operation, add its row to `_ROWS`: the Keras layers and the operator that mean it, its computation in real
numbers, and its integer kernel in each runtime. `prepare` plans it, trains it and infers it from that row alone. The
kernels are functions of `_xnnpack_kernels` and `_reference_kernels`. What has no row is refused in the words of
`_refusals`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Literal

from tfsep._keras.backend import keras, tf
from tfsep._keras.inference_identities import INFERENCE_IDENTITIES
from tfsep._keras.model_graph import operation_of
from tfsep._keras.types import Layer, Tensor
from tfsep.layers import DepthwiseSeparableConv, leaky_relu
from tfsep.layers._layer_kinds import LAYER_KINDS
from tfsep.quantize import _reference_kernels as reference
from tfsep.quantize import _xnnpack_kernels as xnnpack
from tfsep.quantize._qparams import to_integers
from tfsep.quantize._to_float import ToFloat
from tfsep.quantize._zero_insertion import ZeroInsertion
from tfsep.surgery._foldable import overrides

IntegerKernel = Callable[..., Tensor]
"""``(a, qparams of a, b, qparams of b, …, qparams of the result, **options)`` → integers of the result, from its zero
point, before they are clipped to 8 bits; each input is integers from its zero point."""


@dataclass(frozen=True)
class Operation:
    """An operation that `prepare` quantizes.

    Attributes:
        name: key in `OPERATIONS`, by which planned operations and `ActivationQuantizer` refer to it.
        layers: Keras layer classes that compute it.
        keras_op: the operation of `keras.ops` that computes it of two tensors.
        plan: how a call of the layers is planned: ``"pairwise"``, two tensors at a time; ``"mean"``, over all axes
            between batch and channels; ``"same_qparams"``, the layer itself, on the quantization parameters of its
            input, also where several inputs have to share them, as of a concatenation or a maximum;
            ``"average_pooling"``, the same with rounding; None for an operation that is only planned as part of
            another layer.
        compute: (tensors, **options) → the result in real numbers, for training and for the converter.
        integer_kernels: its integer kernel for each runtime, by name; a runtime without one is refused.
        litert_kernels: the kernel of LiteRT for each runtime whose own kernel rounds otherwise.
        fixed_range: low and high end of the result, where runtimes fix them.
        input: what its kernels take: ``"quantized"`` tensors, the ``"sums"`` of a `QuantizedMatmul` with their scale,
            or a ``"float"`` tensor.
        is_pure: whether two layers of the same config compute the same, so that the converter merges them.
    """

    name: str
    layers: tuple[type[Layer], ...] = ()
    keras_op: Callable[..., Tensor] | None = None
    plan: Literal["pairwise", "mean", "same_qparams", "average_pooling"] | None = None
    compute: Callable[..., Tensor] = lambda x, **_: x
    integer_kernels: Mapping[str, IntegerKernel] = field(default_factory=dict)
    litert_kernels: Mapping[str, IntegerKernel] = field(default_factory=dict)
    fixed_range: tuple[float, float] | None = None
    input: Literal["quantized", "sums", "float"] = "quantized"
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


def _gelu(x: Tensor) -> Tensor:
    return tf.nn.gelu(x, approximate=False)


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
    )


def _nonlinear(
    name: str, function: Callable[[Tensor], Tensor], fixed_range: tuple[float, float] | None, **kernels: IntegerKernel
) -> Operation:
    """A function, into a range that converters fix if one is given; XNNPACK computes it in floats, and rounds once."""
    kernels = {"xnnpack": xnnpack.rounded_once(function)} | kernels
    return Operation(name, compute=function, integer_kernels=kernels, fixed_range=fixed_range)


def _divided(x: Tensor, qparams: Tensor) -> Tensor:
    return tf.round(x / qparams[0])


_ROWS = (
    # The file's inputs, which whoever runs it quantizes.
    _quantize("quantize", xnnpack=_divided, reference=_divided),
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
    Operation("rectifier", integer_kernels=dict.fromkeys(("xnnpack", "reference"), lambda x, own, qparams: x)),  # noqa: ARG005
    Operation(
        "add",
        layers=(keras.layers.Add,),
        keras_op=keras.ops.add,
        plan="pairwise",
        compute=lambda a, b: a + b,
        integer_kernels={"xnnpack": xnnpack.add, "reference": reference.add},
    ),
    Operation(
        "multiply",
        layers=(keras.layers.Multiply,),
        keras_op=keras.ops.multiply,
        plan="pairwise",
        compute=lambda a, b: a * b,
        integer_kernels={"xnnpack": xnnpack.multiply, "reference": reference.multiply},
    ),
    Operation(
        "square",
        compute=lambda x: x * x,
        integer_kernels={"xnnpack": xnnpack.square, "reference": reference.square},
    ),
    Operation(
        "mean",
        layers=(keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D),
        plan="mean",
        compute=lambda x, axes, keepdims: tf.reduce_mean(x, axes, keepdims=keepdims),
        integer_kernels={"xnnpack": xnnpack.mean, "reference": reference.mean},
    ),
    Operation(
        "leaky_relu",
        compute=_leaky_relu,
        integer_kernels={"xnnpack": xnnpack.leaky_relu, "reference": reference.leaky_relu},
    ),
    Operation(
        "hard_silu",
        compute=_hard_silu,
        integer_kernels=dict.fromkeys(("xnnpack", "reference"), reference.hard_silu),
    ),
    _nonlinear("sigmoid", tf.nn.sigmoid, (0.0, 255 / 256), reference=reference.sigmoid),
    _nonlinear("tanh", tf.nn.tanh, (-1.0, 127 / 128)),
    # A table of 256 numbers, made in float32, in both runtimes.
    *(_nonlinear(name, f, None, reference=xnnpack.rounded_once(f)) for name, f in (("gelu", _gelu), ("exp", tf.exp))),
    _nonlinear("softmax", tf.nn.softmax, (0.0, 255 / 256), reference=reference.softmax),
    Operation(
        "average_pooling",
        layers=(keras.layers.AveragePooling1D, keras.layers.AveragePooling2D),
        plan="average_pooling",
    ),
    Operation(
        "move",
        layers=(
            *(keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.GlobalMaxPooling1D),
            *(keras.layers.GlobalMaxPooling2D, keras.layers.Reshape, keras.layers.Flatten, keras.layers.Permute),
            *(keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D, keras.layers.Cropping1D),
            *(keras.layers.Cropping2D, keras.layers.Concatenate, ZeroInsertion),
            *(keras.layers.UpSampling1D, keras.layers.UpSampling2D, keras.layers.Resizing),
        ),
        plan="same_qparams",
    ),
    Operation(
        "identity",
        layers=(*INFERENCE_IDENTITIES, ToFloat),
        plan="same_qparams",
        is_pure=False,
    ),
)

OPERATIONS = {row.name: row for row in _ROWS}


def operation_for(layer: Layer) -> Operation | None:
    """Return the operation that a layer computes; None for other layers, those with weights or activations too."""
    if overridden(layer) or not _takes_nearest(layer):
        return None
    return next((row for row in _ROWS if isinstance(layer, row.layers)), None)


def _takes_nearest(layer: Layer) -> bool:
    """Whether a layer, if it resizes, only copies pixels."""
    if not isinstance(layer, keras.layers.Resizing | keras.layers.UpSampling2D):
        return True
    keeps_aspect = getattr(layer, "crop_to_aspect_ratio", False) or getattr(layer, "pad_to_aspect_ratio", False)
    return getattr(layer, "interpolation", "nearest") == "nearest" and not keeps_aspect


def moves(layer: Layer) -> bool:
    """Return whether a layer only moves numbers, or takes the largest, so that integers stay integers."""
    operation = operation_for(layer)
    return operation is not None and operation.plan == "same_qparams"


def quantization_of(dtype: str, is_input: bool) -> str:
    """Return the name of the operation that quantizes numbers of a type, inputs of the model or results."""
    if dtype == "float32" and is_input:
        return "quantize"
    return {"uint8": "quantize_uint8", "bool": "quantize_uint8", "int8": "quantize_int8"}.get(
        dtype, "quantize_operator"
    )


@dataclass(frozen=True)
class FusedActivation:
    """A rectifier that operators include, as the ends of the integers that they write.

    Attributes:
        compute: the function of real numbers.
        low: lower end of the results; None for none.
        high: upper end of the results; None for none.
    """

    compute: Callable[[Tensor], Tensor]
    low: float | None = None
    high: float | None = None


FUSED_ACTIVATIONS = {
    "linear": FusedActivation(lambda x: x),
    "relu": FusedActivation(tf.nn.relu, 0.0),
    "relu6": FusedActivation(tf.nn.relu6, 0.0, 6.0),
}


@dataclass(frozen=True)
class Activation:
    """How an activation is quantized.

    Attributes:
        function: the function of `keras.activations`, or another that layers are given.
        keras_op: the operation of `keras.ops` that computes it.
        fused: name of its rectifier in `FUSED_ACTIVATIONS`.
        operation: name in `OPERATIONS` of an activation that is an operator of its own; None for rectifiers.
        options: arguments of the operation.
        gate: name in `OPERATIONS` of a function by whose result the operation multiplies; None for one of its own.
        max_value: upper end of the range, for a rectifier with a maximum that no fused one has; None for no such end.
        affine: factor and offset in front of the rectifier, computed by a convolution of one tap.
    """

    function: Callable[..., Tensor] | None = None
    keras_op: Callable[..., Tensor] | None = None
    fused: str = "linear"
    operation: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    gate: str | None = None
    max_value: float | None = None
    affine: tuple[float, float] = (1.0, 0.0)

    @property
    def is_fusible(self) -> bool:
        """Whether the operator in front can include it."""
        return self.operation is None and self.affine == (1.0, 0.0)


LINEAR = Activation(keras.activations.linear)

_ACTIVATIONS = (
    LINEAR,
    Activation(keras.activations.relu, keras.ops.relu, fused="relu"),
    Activation(keras.activations.relu6, keras.ops.relu6, fused="relu6"),
    Activation(
        keras.activations.hard_sigmoid, keras.ops.hard_sigmoid, fused="relu", max_value=1.0, affine=(1 / 6, 0.5)
    ),
    Activation(keras.activations.sigmoid, keras.ops.sigmoid, operation="sigmoid"),
    Activation(keras.activations.tanh, keras.ops.tanh, operation="tanh"),
    Activation(keras.activations.softmax, operation="softmax"),
    # As files have it.
    Activation(keras.activations.silu, keras.ops.silu, operation="multiply", gate="sigmoid"),
    Activation(keras.activations.gelu, operation="gelu"),
    Activation(keras.activations.exponential, operation="exp"),
    Activation(keras.activations.hard_silu, keras.ops.hard_silu, operation="hard_silu"),
    Activation(keras.activations.leaky_relu, operation="leaky_relu", options={"slope": 0.2}),
    Activation(leaky_relu, operation="leaky_relu", options={"slope": 0.1}),
)
_BY_FUNCTION = {row.function: row for row in _ACTIVATIONS}

ACTIVATION_LAYERS = (keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.Softmax)

_KNOWN_LAYERS = (
    *(each for kind in LAYER_KINDS for each in kind.classes),
    *(each for row in _ROWS for each in row.layers),
    *(*ACTIVATION_LAYERS, DepthwiseSeparableConv, keras.layers.Rescaling),
)


def overridden(layer: Layer) -> str | None:
    """Describe the class of a layer that overrides what its base, known here, computes; None for other layers."""
    return overrides(layer, _KNOWN_LAYERS, allowed=("build",)) if isinstance(layer, _KNOWN_LAYERS) else None


def activation_of(function: Callable[..., Tensor]) -> Activation | None:
    """Return how an activation function is quantized; None where it is not."""
    return _BY_FUNCTION.get(function)


def activation_of_layer(layer: Layer) -> Activation | None:
    """Return how an activation layer is quantized; None for another layer."""
    if overridden(layer):
        return None
    match layer:
        case keras.layers.Activation():
            return activation_of(layer.activation)
        case keras.layers.ReLU() if not layer.threshold:
            return _rectifier(layer.max_value, float(layer.negative_slope))
        case keras.layers.LeakyReLU():
            return _rectifier(None, float(layer.negative_slope))
        case keras.layers.Softmax() if layer.axis == -1:
            return Activation(operation="softmax")
    return None


def _rectifier(max_value: float | None, slope: float) -> Activation | None:
    if slope:
        return None if max_value is not None else Activation(operation="leaky_relu", options={"slope": slope})
    return Activation(fused="relu6") if max_value == 6 else Activation(fused="relu", max_value=max_value)


@cache
def layers_of_operators() -> dict[tuple[type[keras.Operation], int], Callable[..., Layer]]:
    """Return a constructor of the equivalent layer for each operator, such as ``x + x``.

    The keys are the operator's class, which Keras does not export, and its number of tensors.

    Examples:
        >>> x = keras.Input((1,))
        >>> layers_of_operators()[type(operation_of(x + x)), 2](name="sum").name
        'sum'
    """
    x = keras.Input((1,))
    found: dict[tuple[type[keras.Operation], int], Callable[..., Layer]] = {}
    for operation in _ROWS:
        if operation.keras_op is not None:
            found[type(operation_of(operation.keras_op(x, x))), 2] = operation.layers[0]
    for activation in _ACTIVATIONS:
        if activation.keras_op is not None:
            made = partial(keras.layers.Activation, activation.function)
            found[type(operation_of(activation.keras_op(x))), 1] = made
    return found


def is_pure(layer: Layer) -> bool:
    """Return whether another layer of the same class and config computes the same, without weights or chance."""
    operation = operation_for(layer)
    is_activation = isinstance(layer, ACTIVATION_LAYERS) and not overridden(layer)
    return is_activation or (operation is not None and operation.is_pure)
