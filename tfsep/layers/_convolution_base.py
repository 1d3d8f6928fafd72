"""The base of the convolution layers: window, bias, activation, shapes and config."""

from collections.abc import Callable
from typing import Any, ClassVar

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import (
    ActivationLike,
    ConstraintLike,
    InitializerLike,
    RegularizerLike,
    Shape,
    Tensor,
    TensorLike,
)
from tfsep.geometry import PaddingLike, PairLike, Sizes, Transposed, Window
from tfsep.geometry._padding import choose_rate, normalize_data_format, normalize_padding, normalize_row_padding
from tfsep.geometry._sizes import pair, single

_PARSERS: dict[int, tuple[Callable[..., Window], Callable[..., Any], Callable[[Any], Any]]] = {
    1: (Window.of_row, single, normalize_row_padding),
    2: (Window.of, pair, normalize_padding),
}
"""The parsers of a window, of a size and of a padding, by the number of spatial axes."""

_REGISTRIES = {
    "initializer": keras.initializers,
    "regularizer": keras.regularizers,
    "constraint": keras.constraints,
}


def arguments_of(local_variables: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a layer's `__init__`, given its `locals()`, as keywords for that of its base.

    A layer states each argument once, in its signature; what it means is the bases' to know.

    Examples:
        >>> arguments_of({"self": None, "filters": 8, "kwargs": {"name": "conv"}})
        {'filters': 8, 'name': 'conv'}
    """
    others = ("self", "__class__", "kwargs")
    return {name: value for name, value in local_variables.items() if name not in others} | local_variables["kwargs"]


class Convolution(keras.layers.Layer):
    """Arguments, bias, activation and shapes of a convolution layer; a subclass adds its kernels and its op.

    Args:
        kernel_size: size of the window, an int or one number per spatial axis.
        strides: strides of the window, an int or one number per spatial axis.
        padding: whatever `normalize_padding` takes; of sequences, `normalize_row_padding`.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps, an int or one number per spatial axis.
        rate: another name of dilation_rate.
        activation: applied to the result; None for none.
        use_bias: whether a bias is added.
        bias_initializer: initializer of the bias.
        bias_regularizer: regularizer of the bias.
        bias_constraint: constraint of the bias.
        **kwargs: arguments of `keras.layers.Layer`.

    Attributes:
        rank: the number of spatial axes, 2 of images and 1 of sequences.
        window: the parsed kernel size, strides, padding and rate.
        geometry: the window, or the geometry of a transposed convolution.
    """

    rank: ClassVar[int] = 2
    _op: ClassVar[Callable[..., Tensor]]
    """(x, kernels, geometry, data_format, rank) → the result, without the bias.

    A function of `tfsep.ops` below the public ones, which takes a parsed geometry.
    """

    def __init__(
        self,
        *,
        kernel_size: PairLike,
        strides: PairLike,
        padding: PaddingLike,
        data_format: str | None,
        dilation_rate: PairLike,
        rate: PairLike | None,
        activation: ActivationLike,
        use_bias: bool,
        bias_initializer: InitializerLike,
        bias_regularizer: RegularizerLike,
        bias_constraint: ConstraintLike,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        parse_window, parse_size, parse_padding = _PARSERS[self.rank]
        self.window = parse_window(kernel_size, strides, padding, choose_rate(rate, dilation_rate, parse_size))
        self.geometry: Window | Transposed = self.window
        self.padding = parse_padding(padding)
        self.data_format = normalize_data_format(data_format or keras.config.image_data_format())
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)
        self._weight_kinds: tuple[str, ...] = ()
        self._set_options("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.bias: keras.Variable | None = None

    def _set_options(
        self, kind: str, initializer: InitializerLike, regularizer: RegularizerLike, constraint: ConstraintLike
    ) -> None:
        """Keep the three options of one kind of weight under Keras's names, ``bias_initializer`` and so on."""
        given = {"initializer": initializer, "regularizer": regularizer, "constraint": constraint}
        for option, registry in _REGISTRIES.items():
            setattr(self, f"{kind}_{option}", registry.get(given[option]))
        self._weight_kinds = (*self._weight_kinds, kind)

    def _add_weight(self, kind: str, name: str, shape: Shape, initializer: InitializerLike = None) -> keras.Variable:
        """Make a weight with the options of its kind."""
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer or getattr(self, f"{kind}_initializer"),
            regularizer=getattr(self, f"{kind}_regularizer"),
            constraint=getattr(self, f"{kind}_constraint"),
        )

    def _add_depthwise_weight(self, kind: str, name: str, channels: int, multiplier: int) -> keras.Variable:
        """Make a depthwise kernel (kh, kw, C, M), drawn with its true fan-in."""
        shape = (*self.kernel_size, channels, multiplier)
        initializer = depthwise_initializer(getattr(self, f"{kind}_initializer"), self.rank)
        return self._add_weight(kind, name, shape, initializer)

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Size of the kernel, one number per spatial axis."""
        return self.window.kernel[2 - self.rank :]

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps of the window, one number per spatial axis."""
        return self.window.strides[2 - self.rank :]

    @property
    def rate(self) -> tuple[int, ...]:
        """Dilation, the distance between neighbouring taps, one number per spatial axis."""
        return self.window.rate[2 - self.rank :]

    @property
    def dilation_rate(self) -> tuple[int, ...]:
        """The same as `rate`, under Keras's name."""
        return self.rate

    @property
    def channel_axis(self) -> int:
        """The axis of the channels, -1 or 1."""
        return -1 if self.data_format == "channels_last" else 1

    def _input_channels(self, input_shape: Shape) -> int:
        """Return the number of input channels, and let Keras check later inputs against it."""
        if len(input_shape) != self.rank + 2:
            raise ValueError(f"input: expected rank {self.rank + 2} for {self.name!r}, got shape {tuple(input_shape)}")
        channels = input_shape[self.channel_axis]
        if channels is None:
            raise ValueError(f"input: expected a known number of channels for {self.name!r}, got {tuple(input_shape)}")
        self.input_spec = keras.InputSpec(ndim=self.rank + 2, axes={self.channel_axis: channels})
        return channels

    def _add_bias(self, channels: int) -> None:
        if self.use_bias:
            self.bias = self._add_weight("bias", "bias", (channels,))

    def _kernels(self) -> tuple[keras.Variable, ...]:
        raise NotImplementedError

    def call(self, inputs: Tensor) -> Tensor:
        """Convolve, add the bias and apply the activation.

        Args:
            inputs: tensor of the layer's input shape.
        """
        y = self.convolve(inputs, *self._kernels())
        return self.activation(y if self.bias is None else self._biased(y, self.bias))

    def convolve(self, inputs: Tensor, *kernels: TensorLike) -> Tensor:
        """Convolve with the given kernels, without bias and activation.

        Args:
            inputs: tensor of the layer's input shape.
            *kernels: tensors of the shapes of the layer's own kernels.
        """
        return self._op(inputs, *kernels, *self._op_arguments())

    def _op_arguments(self) -> tuple[Any, ...]:
        """Return what the op takes behind the kernels."""
        return self.geometry, self.data_format, self.rank

    def _biased(self, y: Tensor, bias: keras.Variable) -> Tensor:
        if self.data_format == "channels_last":
            return tf.nn.bias_add(y, bias)
        if self.rank == 2:
            return tf.nn.bias_add(y, bias, data_format="NCHW")
        # The converter cannot take such a bias of sequences.
        return y + tf.reshape(bias, [-1, 1])

    def _output_channels(self, channels: int | None) -> int | None:
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the result, None where the input's is not known.

        Args:
            input_shape: with the batch.
        """
        last = self.channel_axis == -1
        given = input_shape[1:-1] if last else input_shape[2:]
        size: Sizes = (1, *given) if self.rank == 1 else given  # type: ignore[assignment]
        sides = self.geometry.output_size(size)[2 - self.rank :]
        channels = self._output_channels(input_shape[self.channel_axis])
        return (input_shape[0], *sides, channels) if last else (input_shape[0], channels, *sides)

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, under Keras's names."""
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.rate,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "activity_regularizer": keras.regularizers.serialize(self.activity_regularizer),
            **{
                f"{kind}_{option}": registry.serialize(getattr(self, f"{kind}_{option}"))
                for kind in self._weight_kinds
                for option, registry in _REGISTRIES.items()
            },
        }


def depthwise_initializer(initializer: InitializerLike, rank: int = 2) -> InitializerLike:
    """Return an initializer that draws a depthwise kernel (kh, kw, C, M), or (k, C, M), with its true fan-in.

    Each output of a depthwise convolution depends on kh·kw inputs and each input on kh·kw·M outputs. Keras takes such a
    kernel for a standard one and counts C times that fan-in, so a variance-scaling initializer starts too small: it is
    told the axes. An initializer that was made with axes, or is no variance-scaling one, is returned as it is.

    Args:
        initializer: that a user gave for the kernel.
        rank: the number of spatial axes.

    Examples:
        >>> kernel = depthwise_initializer(keras.initializers.HeNormal(seed=0))((3, 3, 256, 1))
        >>> round(float(keras.ops.std(kernel)), 1)  # sqrt(2 / 9)
        0.5
    """
    if not isinstance(initializer, keras.initializers.VarianceScaling):
        return initializer
    if initializer.input_axes is not None and initializer.output_axes is not None:
        return initializer
    return keras.initializers.VarianceScaling(
        scale=initializer.scale,
        mode=initializer.mode,
        distribution=initializer.distribution,
        seed=initializer.seed,
        input_axes=tuple(range(rank)),
        output_axes=(*range(rank), rank + 1),
    )
