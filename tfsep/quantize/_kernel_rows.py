"""The products of a layer as those of matrices: rows of its input, one an output pixel, and its kernel, in groups."""

from math import prod

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Layer
from tfsep.layers._kernel_spec import DEPTHWISE_AXES
from tfsep.layers._layer_kinds import kind_of


class KernelRows:
    """How a layer's kernel multiplies its input: in G groups of K numbers and F filters, a depthwise one by channel.

    Attributes:
        index: (G, K, F), for each weight its place in the flattened kernel.
        is_depthwise: whether each channel is a group.
        is_transposed: whether pixels differ in the taps that reach them.

    Args:
        layer: a built layer whose row in the table of layer kinds has ``quantized="operator"``.
        channels: the channels of its input.

    Examples:
        >>> layer = keras.layers.Conv1D(1, 2, padding="same", use_bias=False)
        >>> layer.build((None, 3, 1))
        >>> rows = KernelRows(layer, 1)
        >>> rows.rows(np.array([[[5.0], [6.0], [7.0]]]), np.array([0, 0]), np.array([0, 2])).tolist()
        [[[5.0, 6.0]], [[7.0, 0.0]]]
    """

    def __init__(self, layer: Layer, channels: int) -> None:
        kind = kind_of(layer)
        assert kind is not None
        self._layer, self._kind, self._channels = layer, kind, channels
        (spec,) = kind.kernels
        shape = tuple(layer.kernel.shape)
        self._sides = shape[:-2]
        places = np.arange(prod(shape)).reshape(prod(self._sides), *shape[-2:])
        self.is_transposed = kind.transposed
        self.is_depthwise = spec.channel_axes == DEPTHWISE_AXES
        if self.is_depthwise:
            self._groups = channels
            self.index = np.moveaxis(places, 1, 0)
        else:
            # A transposed kernel has one group.
            standard = spec.standard(places, 1)
            self._groups = channels // standard.shape[-2]
            grouped = standard.reshape(-1, self._groups, standard.shape[-1] // self._groups)
            self.index = np.moveaxis(grouped, 1, 0)
        self._pixels: dict[tuple[int, ...], np.ndarray] = {}

    def rows(self, x: np.ndarray, samples: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return what some output pixels of samples are computed from (R, G, K).

        Args:
            x: the input (N, ..., C).
            samples: the number of each pixel's sample (R,).
            places: the number of the pixel in it (R,).
        """
        pixels = x.reshape(len(x), -1, self._channels)
        padded = np.concatenate([np.zeros_like(pixels[:, :1]), pixels], 1)
        return self._in_groups(padded[samples[:, np.newaxis], self._taken(x.shape[1:-1])[places]])

    def means(self, channels: np.ndarray) -> np.ndarray:
        """Return numbers of the input's channels (C,) as what each weight multiplies (G, K)."""
        return self._in_groups(np.tile(channels, (1, prod(self._sides), 1)))[0]

    def _in_groups(self, taken: np.ndarray) -> np.ndarray:
        """What each tap takes (R, taps, C), in groups (R, G, K)."""
        grouped = taken.reshape(*taken.shape[:2], self._groups, -1)
        return np.moveaxis(grouped, 2, 1).reshape(len(taken), self._groups, -1)

    def grouped(self, kernel: np.ndarray) -> np.ndarray:
        """Return numbers in the kernel's shape in groups (G, K, F)."""
        found: np.ndarray = kernel.reshape(-1)[self.index]
        return found

    def of_filters(self, rows: np.ndarray) -> np.ndarray:
        """Return the filters that `QuantizedMatmul.stored` returns (F, fan-in), in groups (G, K, F)."""
        groups, numbers, filters = self.index.shape
        return rows.reshape(groups, filters, numbers).transpose(0, 2, 1)

    def kernel(self, grouped: np.ndarray) -> np.ndarray:
        """Return numbers in groups (G, K, F) in the kernel's shape."""
        found = np.empty(grouped.size, grouped.dtype)
        found[self.index] = grouped
        return found.reshape(self._layer.kernel.shape)

    def _taken(self, sides: tuple[int, ...]) -> np.ndarray:
        """The number of the input's pixel that each tap of each output pixel takes (P, taps); 0 for none.

        The layer's own computation says it, of an image of these numbers and a kernel with a filter for each tap.
        """
        if sides not in self._pixels:
            taps = prod(self._sides)
            numbers = np.arange(1, prod(sides) + 1, dtype="float32").reshape(1, *sides, 1)
            eye = np.eye(taps, dtype="float32").reshape(*self._sides, taps)
            kernel = np.expand_dims(eye, -1 if self._kind.transposed else -2)
            found = np.asarray(self._kind.compute(self._layer, tf.constant(numbers), tf.constant(kernel)))
            self._pixels[sides] = found.reshape(-1, taps).round().astype("int64")
        return self._pixels[sides]
