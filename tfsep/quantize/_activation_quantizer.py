"""The layer behind every quantized operation: it tracks the range of the result, and quantizes it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Shape, Tensor
from tfsep.layers._layer_kinds import LayerKind
from tfsep.ops._export_context import is_compiling
from tfsep.quantize._activations import FUSED_ACTIVATIONS
from tfsep.quantize._config import Config
from tfsep.quantize._inference_mode import (
    computes_in_float,
    edge_rounding,
    is_in_real_numbers,
    is_litert_rounding,
    is_observing,
)
from tfsep.quantize._operations import OPERATIONS
from tfsep.quantize._qparams import INT8_MAX, INT8_MIN, qparams_of, scale_of

_NO_RANGE = "model: expected ranges that training or quantize.observe has seen, got an empty one"


class NoRangeError(ValueError):
    """Inference of a prepared model without ranges.

    The message is fixed, because Keras raises a layer's errors again with many lines of its own.

    Examples:
        >>> str(NoRangeError("Exception encountered when calling a layer")).split(":")[0]
        'model'
    """

    def __init__(self, *_: object) -> None:
        super().__init__(_NO_RANGE)


@keras.saving.register_keras_serializable(package="tfsep")
class ActivationQuantizer(keras.layers.Layer):
    """Compute an operation and quantize its result to 8 bits: per tensor, asymmetric, with an exact zero.

    Training tracks the range of the result and rounds with straight-through gradients, which are zero outside the
    range. Inference computes the operation as the runtime's integer kernel does. Operations whose results need the same
    quantization parameters, such as the inputs of a concatenation, share one such layer.

    Args:
        runtime: kernels whose rounding inference emulates: ``"xnnpack"`` or ``"reference"``.
        ranges: ``"moving"`` averages of each batch's minimum and maximum, or ``"learned"``: trained with the weights
            once `observations` steps were seen.
        momentum: how much of a moving range stays at each step.
        observations: steps after which the optimizer trains learned ranges.
        fixed_range: low and high end of a range that the runtime fixes, or None.
        max_value: upper limit of the range; None for no limit. Integers saturate there, as a rectifier with that
            maximum would, which the kernels lack.
        calls: the number of operations that share the layer.
        **kwargs: arguments of `keras.layers.Layer`.

    Input: what the operation takes; each quantized tensor is followed by its quantization parameters.

    Output: quantized real numbers, and their quantization parameters (2,).

    Examples:
        >>> layer = ActivationQuantizer(fixed_range=(0.0, 2.55))
        >>> x, qparams = layer(np.array([[0.014, 3.0]], "float32"), operation="quantize")
        >>> [round(float(v), 2) for v in x[0]], round(float(qparams[0]), 2), int(qparams[1])
        ([0.01, 2.55], 0.01, -128)
    """

    layer_kind = LayerKind("activation_quantizer")

    def __init__(
        self,
        runtime: str = "xnnpack",
        ranges: str = "moving",
        momentum: float = 0.99,
        observations: int = 100,
        fixed_range: Sequence[float] | None = None,
        max_value: float | None = None,
        calls: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.settings = Config(runtime, ranges, momentum, observations)
        self.fixed_range = None if fixed_range is None else tuple(fixed_range)
        self.max_value = max_value
        self.calls = calls
        self.supports_masking = True

    def build(self, input_shape: Shape | list[Shape]) -> None:  # noqa: ARG002
        """Make the ends of the range, those of the current step, and the count of observations.

        Args:
            input_shape: not used: a range is of a whole tensor.
        """
        if self.fixed_range is None:
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
        inputs: Tensor | list[Tensor],
        operation: str = "convolution",
        fused_activation: str = "linear",
        options: Mapping[str, Any] | None = None,
        layer_name: str = "",  # noqa: ARG002
        training: bool | None = None,
    ) -> list[Tensor]:
        """Compute an operation and its fused activation, and quantize the result.

        Args:
            inputs: what the operation takes; each quantized tensor is followed by its quantization parameters.
            operation: its name in the table of operations.
            fused_activation: ``"linear"``, ``"relu"`` or ``"relu6"``.
            options: arguments of the operation.
            layer_name: the layer of the float model that has this result, for reports.
            training: whether to compute real numbers, and track their range.
        """
        tensors = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        own, fused = OPERATIONS[operation], FUSED_ACTIVATIONS[fused_activation]
        if training or computes_in_float():
            y = fused.compute(own.real(tensors, options or {}))
            if (is_observing() or (training and self.trainable)) and self.fixed_range is None:
                self._track(tf.stop_gradient(y))
            low, high = self._range(training)
            if is_in_real_numbers():
                return [y if self.max_value is None else tf.minimum(y, self.max_value), qparams_of(low, high)]
            return [tf.quantization.fake_quant_with_min_max_vars(y, low, high), qparams_of(low, high)]
        low, high = self._range(training)
        if self.fixed_range is None:
            self._require_range(low, high)
        qparams = qparams_of(low, high)
        scale, zero = qparams[0], qparams[1]
        if own.input == "constant":
            tensors.append(scale_of(low, high))
        y = own.integers(tensors, qparams, options or {}, self.settings.runtime, is_litert_rounding())
        if fused.low is not None:
            y = tf.maximum(y, fused.low)
        if fused.high is not None:
            y = tf.minimum(y, tf.floor(fused.high / scale + 0.5))
        y = tf.clip_by_value(y, INT8_MIN - zero, INT8_MAX - zero)
        rounding = edge_rounding()
        if own.input == "float" and rounding is not None:
            y = rounding(tensors[0], qparams, y)
        return [y * scale, qparams]

    def _require_range(self, low: Tensor, high: Tensor) -> None:
        """Raise for a range that no data has set; XLA drops assertions, so what it compiles is asked when traced."""
        if is_compiling():
            with tf.init_scope():
                if tf.executing_eagerly():
                    self._require_range(*self._range(False))
        elif tf.executing_eagerly():
            if not (self.has_range() and low < high):
                raise NoRangeError
        else:
            tf.debugging.assert_less(low, tf.where(self.seen > 0, high, low), _NO_RANGE)

    def compute_output_spec(
        self, inputs: Tensor | list[Tensor], operation: str = "convolution", **arguments: Any
    ) -> list[keras.KerasTensor]:
        """Return shapes and types of the results: those of the operation in real numbers, which is quickly traced.

        Args:
            inputs: what `call` takes.
            operation: its name in the table of operations.
            **arguments: the other arguments of `call`; the operation's own ones matter here.
        """
        tensors = inputs if isinstance(inputs, list | tuple) else [inputs]
        with tf.Graph().as_default():
            given = [tf.compat.v1.placeholder(tensor.dtype, tensor.shape) for tensor in tensors]
            shape = OPERATIONS[operation].real(given, arguments.get("options") or {}).shape
        return [keras.KerasTensor(shape, "float32"), keras.KerasTensor((2,), "float32")]

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """Return no mask: what takes one is told so in its call.

        Args:
            inputs: what `call` takes.
            previous_mask: masks of the inputs.
        """

    def _track(self, y: Tensor) -> None:
        """Update the range: the first results are the range; then training moves toward them, and `observe` widens.

        A shared layer moves once per step, toward the range of all its operations together.
        """
        calls, seen = self.calls, tf.convert_to_tensor(self.seen)
        first, last = seen % calls == 0, seen % calls == calls - 1
        for end, step_end, value, wider in (
            (self.low, self.step_low, tf.reduce_min(y), tf.minimum),
            (self.high, self.step_high, tf.reduce_max(y), tf.maximum),
        ):
            now = tf.where(first, value, wider(step_end, value))
            step_end.assign(now)
            if is_observing():
                end.assign(tf.where(seen > 0, wider(end, value), value))
            else:
                end.assign(tf.where(seen < calls, now, tf.where(last, self._moved(end, now), end)))
        self.seen.assign(seen + 1.0)

    def _moved(self, end: Tensor, value: Tensor) -> Tensor:
        keep = tf.constant(self.settings.momentum, "float32")
        if self.settings.ranges == "learned":
            # From then on the optimizer moves it.
            keep = tf.where(self.seen < self.settings.observations * self.calls, keep, 1.0)
        return end * keep + value * (1.0 - keep)

    def _range(self, training: bool | None) -> tuple[Tensor, Tensor]:
        """Low and high end, with zero between them; where all data is zero, as behind a rectifier, some high end."""
        if self.fixed_range is not None:
            return tf.constant(self.fixed_range[0], "float32"), tf.constant(self.fixed_range[1], "float32")
        low, high = tf.convert_to_tensor(self.low), tf.convert_to_tensor(self.high)
        if training and self.settings.ranges == "learned":
            # Until the optimizer takes over, the ends get no gradient.
            learning = self.seen > self.settings.observations * self.calls
            low, high = (tf.where(learning, end, tf.stop_gradient(end)) for end in (low, high))
        high = high if self.max_value is None else tf.minimum(high, self.max_value)
        low, high = tf.minimum(low, 0.0), tf.maximum(high, 0.0)
        return low, tf.where(tf.equal(low, high), 1.0 if self.max_value is None else self.max_value, high)

    def range(self) -> tuple[float, float]:
        """Return the current low and high end; of what was zero in all data, 0 and 1."""
        low, high = self._range(False)
        return float(low), float(high)

    def has_range(self) -> bool:
        """Return whether the range is fixed by the runtime, or data was seen for it."""
        return self.fixed_range is not None or float(self.seen) > 0

    def is_zero(self) -> bool:
        """Return whether the range is that of data that is zero everywhere."""
        return self.fixed_range is None and float(self.low) == float(self.high) == 0.0

    def qparams(self) -> tuple[float, int]:
        """Return the current scale and zero point."""
        scale, zero = np.asarray(qparams_of(*self._range(False)))
        return float(scale), int(zero)

    def set_range(self, low: float, high: float) -> None:
        """Set the range, which counts as seen.

        Args:
            low: low end; 0 is in the range in any case.
            high: high end.
        """
        self.low.assign(low)
        self.high.assign(high)
        self.seen.assign(tf.maximum(tf.convert_to_tensor(self.seen), float(self.calls)))

    def set_qparams(self, scale: float, zero: int) -> None:
        """Set the range that has these quantization parameters, exactly.

        Args:
            scale: positive scale, float32.
            zero: zero point of int8, −128 to 127.

        Raises:
            ValueError: for parameters that no range of float32 has.
        """
        step = float(np.float32(scale))
        # The end nearer to zero is the finer number, so it compensates the rounding of the other one.
        low, high = (INT8_MIN - zero) * step, (INT8_MAX - zero) * step
        if -low > high:
            low = float(np.float32(low))
            high = low + (INT8_MAX - INT8_MIN) * step
        else:
            high = float(np.float32(high))
            low = high - (INT8_MAX - INT8_MIN) * step
        if step > 0 and INT8_MIN <= zero <= INT8_MAX:
            self.set_range(low, high)
        if not step > 0 or self.qparams() != (step, zero):
            raise ValueError(
                f"scale, zero: expected the quantization parameters of a range, got {scale!r} and {zero!r} for "
                f"{self.name!r}"
            )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        own = self.settings
        return {
            **super().get_config(),
            "runtime": own.runtime,
            "ranges": own.ranges,
            "momentum": own.momentum,
            "observations": own.observations,
            "fixed_range": self.fixed_range,
            "max_value": self.max_value,
            "calls": self.calls,
        }
