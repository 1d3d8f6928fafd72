"""The layers behind every operation: they keep the range of what comes out, and put it on that range's grid."""

from typing import Any

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep.layers._layer_kinds import LayerKind
from tfsep.ops import is_exporting
from tfsep.quantize._config import Config
from tfsep.quantize._inference_mode import in_real_numbers, is_observing, rounds_as_litert
from tfsep.quantize._integer_kernels import KERNELS, LITERT
from tfsep.quantize._operations import CLIPS, OPERATIONS
from tfsep.quantize._qparams import HIGHEST, LOWEST, grid_of, steps

_NO_RANGE = "model: expected ranges that training or quantize.observe has seen, got an empty one"


class NoRangeError(ValueError):
    """A prepared model that is to infer and has no ranges yet.

    The sentence is its own: Keras raises a layer's errors again, with a message of many lines.

    Examples:
        >>> str(NoRangeError("Exception encountered when calling a layer")).split(":")[0]
        'model'
    """

    def __init__(self, *_: Any) -> None:
        super().__init__(_NO_RANGE)


@keras.saving.register_keras_serializable(package="tfsep")
class QuantizedOutput(keras.layers.Layer):
    """Put the result of an operation on a grid of 8 bits, per tensor, asymmetric, with zero on it.

    Training follows the range of what comes and rounds with straight-through gradients, zero outside the range.
    Inference computes the operation as the runtime's integer kernel does. Operations whose results have to be on one
    grid, as those that a concatenation takes, share one such layer.

    Args:
        runtime, ranges, momentum, observations: as in `Config`.
        fixed: low and high end of a range that the runtime fixes, or None.
        limit: the most that the high end may be, or None.
        calls: how often it is called in a step.

    A rectifier with a maximum that kernels do not have is a grid that ends there, as numbers past the end saturate.

    Input: what the operation takes; each tensor on a grid is followed by its grid.

    Output: real numbers on the grid, and the grid (2,).

    Examples:
        >>> layer = QuantizedOutput(fixed=(0.0, 2.55))
        >>> x, grid = layer(np.array([[0.014, 3.0]], "float32"), operation="input")
        >>> [round(float(v), 2) for v in x[0]], round(float(grid[0]), 2), int(grid[1])
        ([0.01, 2.55], 0.01, -128)
    """

    layer_kind = LayerKind("quantized_output")

    def __init__(
        self,
        runtime: str = "xnnpack",
        ranges: str = "moving",
        momentum: float = 0.99,
        observations: int = 100,
        fixed: Any = None,
        limit: float | None = None,
        calls: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.settings = Config(runtime, ranges, momentum, observations)
        self.fixed = None if fixed is None else tuple(fixed)
        self.limit = limit
        self.calls = calls
        self.supports_jit = False

    def build(self, input_shape: Any) -> None:  # noqa: ARG002
        """Make the ends of the range, those of the step so far, and the count of the calls that saw it."""
        if self.fixed is None:
            learned = self.settings.ranges == "learned"
            self.low, self.high = (
                self.add_weight(name=name, shape=(), initializer="zeros", trainable=learned) for name in ("low", "high")
            )
            self.step_low, self.step_high, self.seen = (
                self.add_weight(name=name, shape=(), initializer="zeros", trainable=False)
                for name in ("step_low", "step_high", "seen")
            )

    def call(
        self,
        inputs: Any,
        operation: str = "linear",
        clip: str = "linear",
        options: Any = None,
        of: str = "",  # noqa: ARG002
        training: bool | None = None,
    ) -> Any:
        """Compute an operation, clip its result, and put it on the grid; `of` says whose result it is, for reports."""
        tensors = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        own, ends = OPERATIONS[operation], CLIPS[clip]
        if training or in_real_numbers():
            y = ends.real(own.real(tensors, options))
            if (is_observing() or (training and self.trainable)) and self.fixed is None:
                self._observe(tf.stop_gradient(y))
            low, high = self._range(training)
            return [tf.quantization.fake_quant_with_min_max_vars(y, low, high), grid_of(low, high)]
        low, high = self._range(training)
        if self.fixed is None:
            if tf.executing_eagerly() and not low < high:
                raise NoRangeError
            tf.debugging.assert_less(low, high, _NO_RANGE)
        grid = grid_of(low, high)
        scale, zero = grid[0], grid[1]
        kernels = (LITERT if rounds_as_litert() else KERNELS)[self.settings.runtime]
        y = own.exact(kernels, scale, tensors, options)
        if ends.low is not None:
            y = tf.maximum(y, ends.low)
        if ends.high is not None:
            y = tf.minimum(y, tf.floor(ends.high / scale + 0.5))
        return [tf.clip_by_value(y, LOWEST - zero, HIGHEST - zero) * scale, grid]

    def _observe(self, y: Any) -> None:
        """Take in the ends of y: the first are the range; then training moves toward them, and `observe` widens.

        A layer that several operations share moves once a step, toward the ends of all of them together.
        """
        calls, seen = self.calls, tf.convert_to_tensor(self.seen)
        first, last = seen % calls == 0, seen % calls == calls - 1
        for end, together, value, wider in (
            (self.low, self.step_low, tf.reduce_min(y), tf.minimum),
            (self.high, self.step_high, tf.reduce_max(y), tf.maximum),
        ):
            now = tf.where(first, value, wider(together, value))
            together.assign(now)
            if is_observing():
                end.assign(tf.where(seen > 0, wider(end, value), value))
            else:
                end.assign(tf.where(seen < calls, now, tf.where(last, self._moved(end, now), end)))
        self.seen.assign(seen + 1.0)

    def _moved(self, end: Any, value: Any) -> Any:
        keep = tf.constant(self.settings.momentum, "float32")
        if self.settings.ranges == "learned":
            # From then on the optimizer moves it.
            keep = tf.where(self.seen < self.settings.observations * self.calls, keep, 1.0)
        return end * keep + value * (1.0 - keep)

    def _range(self, training: bool | None) -> tuple[Any, Any]:
        """Low and high end, with zero between them."""
        if self.fixed is not None:
            return tf.constant(self.fixed[0], "float32"), tf.constant(self.fixed[1], "float32")
        low, high = tf.convert_to_tensor(self.low), tf.convert_to_tensor(self.high)
        if training and self.settings.ranges == "learned":
            # Until then the ends follow what comes, and the optimizer leaves them alone.
            learning = self.seen > self.settings.observations * self.calls
            low, high = (tf.where(learning, end, tf.stop_gradient(end)) for end in (low, high))
        high = high if self.limit is None else tf.minimum(high, self.limit)
        return tf.minimum(low, 0.0), tf.maximum(high, 0.0)

    def range(self) -> tuple[float, float]:
        """Return the low and high end as they are now."""
        low, high = self._range(False)
        return float(low), float(high)

    def has_range(self) -> bool:
        """Return whether there is a range: one that the runtime fixes, or that data was seen for."""
        return self.fixed is not None or float(self.seen) > 0

    def grid(self) -> tuple[float, int]:
        """Return scale and zero point as they are now."""
        scale, zero = np.asarray(grid_of(*self._range(False)))
        return float(scale), int(zero)

    def set_grid(self, scale: float, zero: int) -> None:
        """Take the range whose grid has this scale, to the last bit of float32, and this zero point of int8.

        Raises:
            ValueError: for a grid that no range of float32 has: of a scale that is not positive, or without zero on it.
        """
        step = float(np.float32(scale))
        # The end nearer to zero is the finer number, so it takes in what the other one is rounded by.
        low, high = (LOWEST - zero) * step, (HIGHEST - zero) * step
        if -low > high:
            low = float(np.float32(low))
            high = low + (HIGHEST - LOWEST) * step
        else:
            high = float(np.float32(high))
            low = high - (HIGHEST - LOWEST) * step
        if step > 0 and LOWEST <= zero <= HIGHEST:
            self.low.assign(low)
            self.high.assign(high)
            # Who is given a range has as good as seen it.
            self.seen.assign(tf.maximum(tf.convert_to_tensor(self.seen), float(self.calls)))
        if not step > 0 or self.grid() != (step, zero):
            raise ValueError(f"scale, zero: expected the grid of a range, got {scale!r} and {zero!r} for {self.name!r}")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        own = self.settings
        return {
            **super().get_config(),
            "runtime": own.runtime,
            "ranges": own.ranges,
            "momentum": own.momentum,
            "observations": own.observations,
            "fixed": self.fixed,
            "limit": self.limit,
            "calls": self.calls,
        }


@keras.saving.register_keras_serializable(package="tfsep")
class Dequantized(keras.layers.Layer):
    """Hand on numbers off a grid to a layer that stays in float32, and keep the converter from quantizing that.

    The converter quantizes whatever stands between two grids, but not what takes a negated number: so an exported model
    negates twice, which changes none.

    Args:
        to: the name of the layer.

    Examples:
        >>> Dequantized()(np.array([[0.5]], "float32")).numpy()
        array([[0.5]], dtype=float32)
    """

    def __init__(self, to: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.to = to

    def call(self, inputs: Any) -> Any:
        """Return the same."""
        return -inputs * -1.0 if is_exporting() else inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the same."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "to": self.to}


@keras.saving.register_keras_serializable(package="tfsep")
class QuantizedAveragePooling(keras.layers.Layer):
    """Average pooling on a grid: the mean of each window, rounded to a step, halves away from zero.

    Args:
        layer: of Keras, the pooling.

    Input: a tensor on a grid, and the grid (2,).

    Output: a tensor on the same grid.

    Examples:
        >>> layer = QuantizedAveragePooling(keras.layers.AveragePooling1D(2))
        >>> layer([np.array([[[1.0], [2.0]]], "float32"), np.array([1.0, 0.0], "float32")]).numpy().ravel()
        array([2.], dtype=float32)
    """

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.layer = layer
        self.supports_jit = False

    def build(self, input_shape: Any) -> None:
        """Build the pooling."""
        if not self.layer.built:
            self.layer.build(input_shape[0])

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Pool, and round where the integer kernel does."""
        x, grid = inputs
        if training or in_real_numbers():
            return self.layer(x)
        # Integer kernels take the mean of stored numbers, which are `zero` more, and round that.
        stored, count = steps(x, grid) + grid[1], self._count(x)
        sums = tf.cast(tf.round(self.layer(stored) * tf.cast(count, "float32")), "int32")
        mean = tf.sign(sums) * ((tf.abs(sums) + count // 2) // count)
        return (tf.cast(mean, "float32") - grid[1]) * grid[0]

    def _count(self, x: Any) -> Any:
        """How many numbers each window has in the image: fewer at the edges of ``"same"``."""
        rank = len(x.shape) - 2
        result = tf.ones((1,) * (rank + 2), "int32")
        for axis in range(rank):
            window, stride = self.layer.pool_size[axis], self.layer.strides[axis]
            size = tf.shape(x)[axis + 1]
            if self.layer.padding == "valid":
                inside = tf.fill([(size - window) // stride + 1], window)
            else:
                length = (size + stride - 1) // stride
                padding = tf.maximum((length - 1) * stride + window - size, 0)
                start = tf.range(length) * stride - padding // 2
                inside = tf.minimum(start + window, size) - tf.maximum(start, 0)
            result *= tf.reshape(inside, [-1 if a == axis + 1 else 1 for a in range(rank + 2)])
        return result

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "QuantizedAveragePooling":
        """Make a layer of its config."""
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})
