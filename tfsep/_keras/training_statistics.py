"""Data against the statistics of a model's own normalization."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.layer_calls import watch_layer_calls
from tfsep._keras.types import Layer

_FAR = 16.0
"""Largest plausible ratio of the variance to that of training, or its inverse: pixels in [0, 255] for a model of
[-1, 1] have a ratio of 127²."""


def unlike_training(run: Callable[[], object], data: str) -> str | None:
    """Return a note if the input of a model's first batch normalization is not distributed as in training, or None.

    None too for a model without batch normalization, or with one that was never trained.

    Args:
        run: runs the model on samples, without a graph.
        data: the samples, in words.
    """
    seen: list[tuple[Layer, np.ndarray]] = []

    def leave(layer: Layer, inputs: Any, _: Any) -> None:
        is_first = isinstance(layer, keras.layers.BatchNormalization) and (not seen or layer is seen[0][0])
        if is_first and not tf.is_symbolic_tensor(inputs):
            seen.append((layer, np.asarray(inputs, np.float64)))

    with watch_layer_calls(lambda _: None, leave):
        run()
    if not seen:
        return None
    layer, inputs = seen[0][0], np.concatenate([each for _, each in seen])
    mean, variance = (np.asarray(v, np.float64) for v in (layer.moving_mean, layer.moving_variance))
    if np.all(mean == 0) and np.all(variance == 1):
        return None
    channels = np.moveaxis(inputs, layer.axis, -1).reshape(-1, mean.size)
    ratio = float(np.median(np.mean((channels - mean) ** 2, axis=0) / (variance + layer.epsilon)))
    if 1 / _FAR <= ratio <= _FAR:
        return None
    return (
        f"{data}, give the first batch normalization, {layer.name!r}, {ratio:.3g} times the variance of its training: "
        "were they prepared as the training data were?"
    )
