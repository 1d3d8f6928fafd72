"""`check_layer` complains about layers that break the contract, each in one way and for that reason."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_checks import check_channels_first, check_config, check_layer, check_signature, randomize

from tfsep import layers

X = np.random.default_rng(0).normal(size=(2, 6, 5, 4)).astype("float32")


class Subclass(layers.Conv2D):
    """Breaks nothing: what the others are but for their one fault."""


class LostConfig(layers.Conv2D):
    def get_config(self):
        return {**super().get_config(), "filters": 7}


class UnstableConfig(layers.Conv2D):
    def get_config(self):
        return {**super().get_config(), "name": self.name + "_again"}


class LostPadding(layers.Conv2D):
    def get_config(self):
        return {**super().get_config(), "padding": "same"}


class WrongShape(layers.Conv2D):
    def compute_output_shape(self, input_shape):
        return (*super().compute_output_shape(input_shape)[:-1], self.filters + 1)


class WrongUnknownShape(layers.Conv2D):
    def compute_output_shape(self, input_shape):
        shape = super().compute_output_shape(input_shape)
        return tuple(1 if side is None and axis else side for axis, side in enumerate(shape))


class WrongGraph(layers.Conv2D):
    def call(self, inputs):
        return super().call(inputs) * (1.0 if tf.executing_eagerly() else 2.0)


class OtherDtype(layers.Conv2D):
    def call(self, inputs):
        return keras.ops.cast(super().call(inputs), "float64")


class LostWeights(layers.Conv2D):
    def load_own_variables(self, store):
        pass


class WrongGradient(layers.Conv2D):
    def call(self, inputs):
        twice = tf.custom_gradient(lambda y: (y, lambda upstream: 2 * upstream))
        return twice(super().call(inputs))


class NoInputGradient(layers.Conv2D):
    def call(self, inputs):
        return super().call(keras.ops.stop_gradient(inputs))


class Untrained(layers.Conv2D):
    def build(self, input_shape):
        super().build(input_shape)
        self.bias.constraint = keras.ops.zeros_like


BROKEN = {
    LostConfig: "the copy has other weights",
    UnstableConfig: "the config does not survive",
    LostPadding: "from_config: shape",
    WrongShape: "compute_output_shape is not the shape",
    WrongUnknownShape: "compute_output_shape contradicts itself",
    WrongGraph: "tf.function: off by",
    OtherDtype: "dtype float64",
    LostWeights: ".keras: off by",
    WrongGradient: "gradient to the input: off by",
    NoInputGradient: "gradient to the input: off by",
    Untrained: "bias: not trained",
}


@pytest.fixture(autouse=True)
def registered():
    """A class that Keras does not know cannot be loaded, whatever else is right about it."""
    classes = {cls.__name__: cls for cls in (Subclass, *BROKEN)}
    with keras.saving.custom_object_scope(classes):
        yield


def test_correct_subclass_passes():
    check_layer(Subclass(3, 3), X)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda cls: cls.__name__)
@pytest.mark.filterwarnings("ignore")
def test_broken_layers_are_found(broken):
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        check_layer(broken(3, 3), X)


def test_missing_config_argument_is_found():
    check_config(Subclass)
    with pytest.raises(AssertionError, match="the config does not survive"):
        check_config(UnstableConfig)


class Defaulted(layers.Conv2D):
    """One whose config has the default for what was given."""

    def get_config(self):
        return {**super().get_config(), "use_bias": True}


def test_config_with_a_default_for_a_given_value_is_found():
    with pytest.raises(AssertionError, match="use_bias is not in the config"):
        check_config(Defaulted)


class OtherOrder(layers.Conv2D):
    def __init__(self, kernel_size, filters, **kwargs):
        super().__init__(filters, kernel_size, **kwargs)


def test_different_signature_is_found():
    check_signature(layers.Conv2D, keras.layers.Conv2D)
    with pytest.raises(AssertionError, match="the arguments are others"):
        check_signature(OtherOrder, keras.layers.Conv2D)


class OtherWhereChannelsAreFirst(layers.Conv2D):
    def call(self, inputs):
        return super().call(inputs) * (1.0 if self.data_format == "channels_last" else 2.0)


def test_other_result_in_channels_first_is_found():
    def twins(cls):
        return cls(3, 3), cls(3, 3, data_format="channels_first")

    assert check_channels_first(*twins(Subclass), X).shape == (2, 4, 3, 3)
    with pytest.raises(AssertionError, match="channels_first: off by"):
        check_channels_first(*twins(OtherWhereChannelsAreFirst), X)


def test_randomize_keeps_variances_positive():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(100), keras.layers.BatchNormalization()])
    randomize(model)
    assert np.ptp(model.layers[0].kernel) > 1
    assert 0.5 <= np.min(model.layers[1].moving_variance) < np.max(model.layers[1].moving_variance) <= 2
