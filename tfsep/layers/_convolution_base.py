"""What the convolution layers share: the window, the bias, the activation, and their place in the config."""

from collections.abc import Callable
from typing import Any, ClassVar

from tfsep._keras.backend import keras, tf
from tfsep.geometry import Sizes, Window
from tfsep.geometry._padding import choose_rate, normalize_data_format, normalize_padding, normalize_row_padding
from tfsep.geometry._sizes import pair, single

Shape = tuple[int | None, ...]

_ARGUMENTS: dict[int, tuple[Any, Any, Any]] = {
    1: (Window.of_row, single, normalize_row_padding),
    2: (Window.of, pair, normalize_padding),
}
"""How a window, a size and a padding are made of arguments, by the number of spatial axes."""

_OPTIONS = {
    "initializer": keras.initializers,
    "regularizer": keras.regularizers,
    "constraint": keras.constraints,
}


class Convolution(keras.layers.Layer):
    """Arguments, bias, activation and shapes of a convolution layer; a subclass adds its kernels and its op.

    Arguments are as in `keras.layers`. `padding` takes what `tfsep.geometry.normalize_padding` takes, and of sequences
    what `normalize_row_padding` does; `rate` is another name of `dilation_rate`, and any stride goes with any rate.

    Attributes:
        rank: the number of spatial axes, 2 of images and 1 of sequences.
        op: (x, kernels, strides, padding, rate, data_format) -> the result, without the bias.
    """

    rank: ClassVar[int] = 2
    op: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        *,
        kernel_size: Any,
        strides: Any,
        padding: Any,
        data_format: str | None,
        dilation_rate: Any,
        rate: Any,
        activation: Any,
        use_bias: bool,
        bias_initializer: Any,
        bias_regularizer: Any,
        bias_constraint: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        of, each, pads = _ARGUMENTS[self.rank]
        self.window = of(kernel_size, strides, padding, choose_rate(rate, dilation_rate, each))
        self.padding = pads(padding)
        self.data_format = normalize_data_format(data_format or keras.config.image_data_format())
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)
        self._weight_kinds: tuple[str, ...] = ()
        self._set_options("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.bias: Any = None

    def _set_options(self, kind: str, initializer: Any, regularizer: Any, constraint: Any) -> None:
        """Keep the three options of one kind of weight under Keras's names, ``bias_initializer`` and so on."""
        given = {"initializer": initializer, "regularizer": regularizer, "constraint": constraint}
        for option, registry in _OPTIONS.items():
            setattr(self, f"{kind}_{option}", registry.get(given[option]))
        self._weight_kinds = (*self._weight_kinds, kind)

    def _add_weight(self, kind: str, name: str, shape: Shape, initializer: Any = None) -> Any:
        """Make a weight with the options of its kind."""
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer or getattr(self, f"{kind}_initializer"),
            regularizer=getattr(self, f"{kind}_regularizer"),
            constraint=getattr(self, f"{kind}_constraint"),
        )

    def _add_depthwise_weight(self, kind: str, name: str, channels: int, multiplier: int) -> Any:
        """Make a depthwise kernel (kh, kw, C, M), drawn with its true fan-in."""
        shape = (*self.kernel_size, channels, multiplier)
        initializer = depthwise_initializer(getattr(self, f"{kind}_initializer"), self.rank)
        return self._add_weight(kind, name, shape, initializer)

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Rows and columns of the kernel; of a sequence's, its one size."""
        return self.window.kernel[2 - self.rank :]

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps of the window."""
        return self.window.strides[2 - self.rank :]

    @property
    def rate(self) -> tuple[int, ...]:
        """Dilation, the distance between neighbouring taps."""
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
        """The number of input channels, having told Keras to hold later inputs to it."""
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

    def _kernels(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def _call_options(self) -> dict[str, Any]:
        """What the op is called with beside the input and the kernels."""
        return {
            "strides": self.strides,
            "padding": self.padding,
            "rate": self.rate,
            "data_format": self.data_format,
        }

    def call(self, inputs: Any) -> Any:
        """Convolve, add the bias and apply the activation."""
        y = self._convolved(inputs)
        return self.activation(self._biased(y, self.bias) if self.use_bias else y)

    def _convolved(self, inputs: Any) -> Any:
        return self.op(inputs, *self._kernels(), **self._call_options())

    def _biased(self, y: Any, bias: Any) -> Any:
        if self.data_format == "channels_last":
            return tf.nn.bias_add(y, bias)
        if self.rank == 2:
            return tf.nn.bias_add(y, bias, data_format="NCHW")
        # The converter cannot take such a bias of sequences.
        return y + tf.reshape(bias, [-1, 1])

    def _output_channels(self, channels: int | None) -> int | None:
        raise NotImplementedError

    def _output_size(self, size: Sizes) -> Sizes:
        return self.window.output_size(size)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the result, None where the input's is not known."""
        last = self.channel_axis == -1
        given = input_shape[1:-1] if last else input_shape[2:]
        size: Sizes = (1, *given) if self.rank == 1 else given  # type: ignore[assignment]
        sides = self._output_size(size)[2 - self.rank :]
        channels = self._output_channels(input_shape[self.channel_axis])
        return (input_shape[0], *sides, channels) if last else (input_shape[0], channels, *sides)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again, under Keras's names."""
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
                for option, registry in _OPTIONS.items()
            },
        }


def depthwise_initializer(initializer: Any, rank: int = 2) -> Any:
    """Return an initializer that draws a depthwise kernel (kh, kw, C, M), or (k, C, M), with its true fan-in.

    Each output of a depthwise convolution sees kh·kw inputs and each input feeds kh·kw·M outputs. Keras takes such a
    kernel for a dense one and counts C times that fan-in, so a variance-scaling initializer starts too small; it is
    told the axes. Axes that it was made with stay, and other initializers do not look at the fan: both are returned as
    they are.

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
