"""`check_layer` complains about layers that break the contract, each in one way."""

import keras
import numpy as np
import pytest
from layer_checks import check_layer

from tfsep import layers

X = np.random.default_rng(0).normal(size=(2, 6, 5, 4)).astype("float32")


class LostConfig(layers.Conv2D):
    def get_config(self):
        config = super().get_config()
        config["filters"] = 7
        return config


class LostPadding(layers.Conv2D):
    def get_config(self):
        return {**super().get_config(), "use_bias": False}


class WrongShape(layers.Conv2D):
    def compute_output_shape(self, input_shape):
        return (*super().compute_output_shape(input_shape)[:-1], self.filters + 1)


class WrongGraph(layers.Conv2D):
    def call(self, inputs):
        import tensorflow as tf

        return super().call(inputs) * (1.0 if tf.executing_eagerly() else 2.0)


class Untrained(layers.Conv2D):
    def call(self, inputs):
        return keras.ops.stop_gradient(super().call(inputs))


class OtherDtype(layers.Conv2D):
    def call(self, inputs):
        return keras.ops.cast(super().call(inputs), "float64")


@pytest.mark.parametrize("broken", [LostConfig, LostPadding, WrongShape, WrongGraph, Untrained, OtherDtype])
@pytest.mark.filterwarnings("ignore")
def test_broken_layers_are_found(broken):
    check_layer(layers.Conv2D(3, 3), X)
    with pytest.raises((AssertionError, ValueError, TypeError)):
        check_layer(broken(3, 3), X)
