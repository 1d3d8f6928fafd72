"""What a model's first layers say of the pixels that it takes."""

import logging
from typing import Any

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.call_form import Given, built_tree
from tfsep._keras.foreign_state import foreign_state_kept
from tfsep._keras.layer_calls import watch_layer_calls
from tfsep._keras.model_graph import SOME_SIZE
from tfsep._keras.model_io import inputs_of
from tfsep._keras.types import Layer, Model
from tfsep.data._known_preprocessing import KnownPreprocessing
from tfsep.data._preprocessing import DEFAULT, Preprocessing

_logger = logging.getLogger(__name__)

_RANGES = (
    (0.0, 1.0, Preprocessing(scale=255.0, offset=0.0)),
    (-1.0, 1.0, DEFAULT),
    (0.0, 255.0, Preprocessing(scale=1.0, offset=0.0)),
)
"""The ranges of pixels that models take, and their preprocessing."""

_LEAST_LENGTH = 0.9
"""Of the range behind a model's own preparation: [0, 1] is the shortest in use."""
_SLACK = 0.02
"""Share of that length by which an end may miss 0, or the middle: of pixels divided by 256 or by 128."""
_LEAST_VARIANCE = 0.9
"""Of numbers of variance 1, as a normalization makes them of its own data."""
_FAR = 300.0
_FAR_RATIO = 16.0
"""Of two scales of pixels: those of [0, 1] and [-1, 1] are within, that of [0, 255] is not."""
_ROUNDING = 0.01
"""More than that of bfloat16."""
_L = keras.layers
_MOVES = (_L.Resizing, _L.CenterCrop, _L.RandomCrop, _L.Cropping2D, _L.ZeroPadding2D)
"""Layers that move pixels, or make others of the same range."""


def leading_preprocessing(model: Model) -> KnownPreprocessing | None:
    """Return what a model's first layers say of the pixels that it takes.

    A model that begins with ``Rescaling(1 / 255)`` takes pixels in [0, 255]; one with a ``Normalization`` those in
    whose range its mean and variance can be. Rescalings, normalizations, arithmetic with constants and a ``Lambda`` of
    it are followed, with augmentation, resizing and nested models between them. A model whose input is of whole numbers
    takes pixels as they are.

    Args:
        model: a Keras model of any kind.

    Returns:
        The preprocessing before the model; None for a model that is no model of images, or begins with other layers.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 127.5, -1)])
        >>> leading_preprocessing(model).preprocessing.describe()
        'bilinear, pixels in [0, 255]'
    """
    shape, dtype = _input_of(model)
    if len(shape) != 4:
        return None
    if not tf.as_dtype(dtype).is_floating:
        return KnownPreprocessing(_RANGES[-1][2], f"as the model's input of {dtype} takes them")
    lead = _Lead.of(model, shape)
    if not lead.names:
        return None
    # Of several, the shortest: what may be in [0, 1] may be in [0, 255] too.
    how = next((how for low, high, how in _RANGES if lead.fits(low, high)), None)
    if how is None:
        return None
    verb = "prepares" if len(lead.names) == 1 else "prepare"
    return KnownPreprocessing(how, f"as {' and '.join(lead.names)} of the model {verb} them")


def warn_of_other_pixels(model: Model, how: Preprocessing) -> None:
    """Log a warning if images are prepared for quite another range than a model's first layers say.

    Args:
        model: a Keras model.
        how: how they are prepared.
    """
    known = leading_preprocessing(model)
    if known is None:
        return
    ratio = float(np.mean(known.preprocessing.std) / np.mean(how.std))
    if not 1 / _FAR_RATIO < abs(ratio) < _FAR_RATIO:
        _logger.warning(
            f"data are prepared by {how.describe()}, where {model.name!r} takes {known.preprocessing.describe()}, "
            f"{known.source}"
        )


def _input_of(model: Model) -> tuple[tuple[int | None, ...], str]:
    """Shape and type of a model's one input; of a subclassed model, the shape on which it was built."""
    inputs = inputs_of(model)
    if inputs is None and isinstance(built := built_tree(model), Given):
        return (None, *built.shape), "float32"
    return tuple(getattr(inputs, "shape", ())), getattr(inputs, "dtype", "float32")


class _End(Exception):
    """The first call that does more than scale and shift."""


class _Lead:
    """The scale and shift by which a model begins, on average over the channels, and the layers that have them."""

    def __init__(self, image: np.ndarray) -> None:
        self._now = image.astype(np.float64)
        self.scale, self.shift = 1.0, 0.0
        self.names: list[str] = []

    @classmethod
    def of(cls, model: Model, shape: tuple[int | None, ...]) -> "_Lead":
        """Run a model on random numbers, up to the first call of another kind."""
        sides = (shape[0] or 1, *(side or SOME_SIZE for side in shape[1:]))
        # On both sides of 0, and far from it: there a rectifier or a sigmoid is no scale.
        image = np.random.default_rng(0).uniform(-_FAR, _FAR, sides).astype("float32")
        lead = cls(image)
        try:
            watched = watch_layer_calls(lambda _: None, lead._follow, operations=True)
            with foreign_state_kept(model), keras.StatelessScope(), watched:
                model(image, training=False)
        except _End:
            pass
        return lead

    def fits(self, low: float, high: float) -> bool:
        """Whether the scale and shift bring pixels of a range to one that networks take.

        That begins at 0, has 0 in its middle, or is one in which numbers of mean 0 and deviation 1 can be: their
        variance is at most the product of the distances to both ends (Bhatia and Davis).
        """
        ends = sorted((low * self.scale + self.shift, high * self.scale + self.shift))
        length, middle = ends[1] - ends[0], (ends[0] + ends[1]) / 2
        is_plain = min(abs(ends[0]), abs(middle)) <= _SLACK * length
        return length >= _LEAST_LENGTH and (is_plain or -ends[0] * ends[1] >= _LEAST_VARIANCE)

    def _follow(self, layer: Layer, inputs: Any, outputs: Any) -> None:
        """Follow one call, of a layer or of an operation, if it takes what the last one returned."""
        if not tf.is_tensor(outputs):
            return
        result = np.asarray(outputs, np.float64)
        if np.array_equal(result, self._now[..., ::-1]):
            # Of red, green, blue the reverse, made at once or of the channels one by one.
            self._now = result
        if not _is_same(inputs, self._now) or _is_same(result, self._now) or _is_channel(result, self._now):
            return
        if isinstance(layer, keras.layers.BatchNormalization):
            # Its statistics are those of the pixels; its own factor and summand are learned.
            self._compose(layer.name, *_standardizing(layer))
            raise _End
        if not isinstance(layer, _MOVES):
            if getattr(layer, "trainable_weights", []) or result.shape != self._now.shape:
                raise _End
            self._compose(layer.name, *_fit(self._now, result))
        self._now = result

    def _compose(self, name: str, scale: float, shift: float) -> None:
        self.scale, self.shift = scale * self.scale, scale * self.shift + shift
        if (scale, shift) != (1.0, 0.0):
            self.names.append(name)


def _is_same(value: Any, array: np.ndarray) -> bool:
    """Whether a call's argument or result is an array."""
    return (tf.is_tensor(value) or isinstance(value, np.ndarray)) and np.array_equal(np.asarray(value), array)


def _is_channel(value: np.ndarray, array: np.ndarray) -> bool:
    """Whether an array is one channel of another."""
    sizes = array.shape[:-1], (*array.shape[:-1], 1)
    return value.shape in sizes and any(
        np.array_equal(value.reshape(sizes[0]), each) for each in np.moveaxis(array, -1, 0)
    )


def _fit(before: np.ndarray, behind: np.ndarray) -> tuple[float, float]:
    """The scale and shift between two arrays (N, H, W, C), on average over their channels.

    Raises:
        _End: if they are no scale and shift of each channel.
    """
    x, y = (each.reshape(-1, each.shape[-1]) for each in (before, behind))
    low, high = np.argmin(x, axis=0), np.argmax(x, axis=0)
    channels = np.arange(x.shape[1])
    scale = (y[high, channels] - y[low, channels]) / (x[high, channels] - x[low, channels])
    shift = y[low, channels] - scale * x[low, channels]
    if not scale.all() or np.abs(scale * x + shift - y).max() > _ROUNDING * np.abs(y).max():
        raise _End
    return float(scale.mean()), float(shift.mean())


def _standardizing(layer: Layer) -> tuple[float, float]:
    """The scale and shift of a batch normalization without its own factor and summand."""
    mean, variance = (np.asarray(each, np.float64) for each in (layer.moving_mean, layer.moving_variance))
    if not mean.any() and np.all(variance == 1):
        return 1.0, 0.0  # never trained
    deviation = np.sqrt(variance + layer.epsilon)
    return float(np.mean(1 / deviation)), float(np.mean(-mean / deviation))
