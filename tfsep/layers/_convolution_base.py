"""The base of the convolution layers: window, bias, activation, shapes and config."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, ClassVar

from tfsep._keras.activations import activation_function
from tfsep._keras.backend import keras, tf
from tfsep._keras.types import ActivationLike, InitializerLike, Shape, Tensor, TensorLike
from tfsep.geometry import PaddingLike, PairLike, Sizes, Transposed, Window
from tfsep.geometry._padding import choose_rate, normalize_data_format, normalize_padding, normalize_row_padding
from tfsep.geometry._sizes import Padding, RowPadding, pair, single
from tfsep.layers._layer_arguments import Argument

_REGISTRIES = {
    "initializer": keras.initializers,
    "regularizer": keras.regularizers,
    "constraint": keras.constraints,
}


@cache
def _window(rank: int, *arguments: Any) -> Window:
    """The window of normalised arguments, parsed once."""
    return Window.of_row(*arguments) if rank == 1 else Window.of(*arguments)


def sizes(layer: "Convolution", value: PairLike, name: str, minimum: int = 1) -> tuple[int, ...]:
    """Return a size, stride or rate as one number per spatial axis of a layer."""
    parse: Callable[..., tuple[int, ...]] = single if layer.rank == 1 else pair
    return parse(value, name, minimum=minimum)


def _padding(layer: "Convolution", value: PaddingLike, name: str) -> Padding | RowPadding:  # noqa: ARG001
    return normalize_row_padding(value) if layer.rank == 1 else normalize_padding(value)


def _data_format(layer: "Convolution", value: str | None, name: str) -> str:  # noqa: ARG001
    return normalize_data_format(value or keras.config.image_data_format())


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
        **kwargs: initializer, regularizer and constraint of each kind of weight, ``bias_initializer`` and so on; and
            arguments of `keras.layers.Layer`.

    The arguments are attributes that can be set again: those that the weights follow from until the layer is built, the
    others at any time.

    Attributes:
        rank: the number of spatial axes, 2 of images and 1 of sequences.
    """

    rank: ClassVar[int] = 2
    _weight_kinds: ClassVar[tuple[str, ...]] = ("bias",)
    """The kinds of weights that have options of their own."""
    _op: ClassVar[Callable[..., Tensor]]
    """(x, kernels, geometry, data_format, rank) → the result, without the bias.

    A function of `tfsep.ops` below the public ones, which takes a parsed geometry.
    """

    kernel_size = Argument(sizes, shapes_weights=True)
    strides = Argument(sizes)
    padding = Argument(_padding)
    data_format = Argument(_data_format, shapes_weights=True)
    dilation_rate = Argument(sizes)
    rate = Argument(sizes, another_name_of="dilation_rate")
    activation = Argument(lambda layer, value, name: activation_function(value, name))  # noqa: ARG005
    use_bias = Argument(lambda layer, value, name: bool(value), shapes_weights=True)  # noqa: ARG005

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
        **kwargs: Any,
    ) -> None:
        options = {name: registry.get(kwargs.pop(name)) for name, registry in self._weight_options()}
        super().__init__(**kwargs)
        for name, option in options.items():
            setattr(self, name, option)
        self.kernel_size, self.strides, self.padding = kernel_size, strides, padding
        self.dilation_rate = choose_rate(rate, dilation_rate, single if self.rank == 1 else pair)
        self.data_format, self.activation, self.use_bias = data_format, activation, use_bias
        self.bias: keras.Variable | None = None

    @classmethod
    def _weight_options(cls) -> Iterator[tuple[str, Any]]:
        """Yield the names of the weights' options, such as ``bias_initializer``, and Keras's module of each."""
        for kind in cls._weight_kinds:
            for option, registry in _REGISTRIES.items():
                yield f"{kind}_{option}", registry

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
        initializer = depthwise_initializer(getattr(self, f"{kind}_initializer"))
        return self._add_weight(kind, name, shape, initializer)

    @property
    def window(self) -> Window:
        """The parsed kernel size, strides, padding and rate."""
        return _window(self.rank, self.kernel_size, self.strides, self.padding, self.dilation_rate)

    @property
    def geometry(self) -> Window | Transposed:
        """The window, or the geometry of a transposed convolution."""
        return self.window

    @property
    def channel_axis(self) -> int:
        """The axis of the channels, -1 or 1."""
        return -1 if self.data_format == "channels_last" else 1

    def _input_channels(self, input_shape: Shape) -> int:
        """Return the number of input channels, and let Keras check later inputs against it.

        Raises:
            ValueError: for another rank, unknown channels, or attributes that do not go together.
        """
        _ = self.geometry
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

    def _kernels(self) -> tuple[TensorLike, ...]:
        raise NotImplementedError

    def call(self, inputs: Tensor) -> Tensor:
        """Convolve, add the bias and apply the activation.

        Args:
            inputs: tensor of the layer's input shape.
        """
        y = self.convolution_op(inputs, *self._kernels())
        return self.activation(y if self.bias is None else self._biased(y, self.bias))

    def convolution_op(self, inputs: Tensor, *kernels: TensorLike) -> Tensor:
        """Convolve with the given kernels, without bias and activation.

        A subclass may override it, as that of `keras.layers.Conv2D`.

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
        written_as_it_is = ("kernel_size", "strides", "padding", "data_format", "dilation_rate", "use_bias")
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in written_as_it_is},
            "activation": keras.activations.serialize(self.activation),
            "activity_regularizer": keras.regularizers.serialize(self.activity_regularizer),
            **{name: registry.serialize(getattr(self, name)) for name, registry in self._weight_options()},
        }


def depthwise_initializer(initializer: InitializerLike) -> "InitializerLike | Callable[..., Tensor]":
    """Return an initializer that draws a depthwise kernel (kh, kw, C, M), or (k, C, M), with its true fan-in.

    Each output of a depthwise convolution depends on kh·kw inputs and each input on kh·kw·M outputs. Keras takes such a
    kernel for a standard one and counts C times that fan-in, so a variance-scaling initializer starts too small: its
    scale makes up for that. An initializer that was made with axes (Keras 3.15), that has a ``__call__`` of its own, or
    is no variance-scaling one, is returned as it is.

    Args:
        initializer: that a user gave for the kernel; None for Keras's default.

    Examples:
        >>> kernel = depthwise_initializer(keras.initializers.HeNormal(seed=0))((3, 3, 256, 1))
        >>> round(float(keras.ops.std(kernel)), 1)  # sqrt(2 / 9)
        0.5
    """
    initializer = keras.initializers.get("glorot_uniform" if initializer is None else initializer)
    scaling = keras.initializers.VarianceScaling
    if not isinstance(initializer, scaling) or type(initializer).__call__ is not scaling.__call__:
        return initializer
    if None not in (getattr(initializer, "input_axes", None), getattr(initializer, "output_axes", None)):
        return initializer

    def draw(shape: Sequence[int], dtype: str | None = None) -> Tensor:
        channels, multiplier = shape[-2:]
        counted = {"fan_in": channels, "fan_out": 1.0, "fan_avg": (channels + multiplier) / (1.0 + multiplier)}
        scale = initializer.scale * counted[initializer.mode]
        return scaling(scale, initializer.mode, initializer.distribution, initializer.seed)(shape, dtype)

    return draw
