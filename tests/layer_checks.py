"""The whole Keras contract of a layer, in a few functions; `test_layer_checks` feeds them layers that break it."""

import inspect
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from checks import assert_close


def check_layer(layer, x, *, trains=True):
    """Check shapes, symbolic, eager and compiled calls, config, ``.keras``, gradients and a step; return the result.

    Args:
        layer: not built yet, of a class that is registered with Keras.
        x: an array (N, ...).
        trains: whether a step of training is part of it.
    """
    channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
    open_shape = tuple(None if 0 < i < x.ndim - 1 and channels_last else s for i, s in enumerate(x.shape))
    inputs = keras.Input(batch_shape=(None, *open_shape[1:]))
    model = keras.Model(inputs, layer(inputs))
    y = np.asarray(model(x))

    assert layer.compute_output_shape(x.shape) == y.shape, "compute_output_shape is not the shape that comes out"
    unknown = layer.compute_output_shape((None, *open_shape[1:]))
    assert len(unknown) == y.ndim, "compute_output_shape has another rank where sizes are unknown"
    assert all(u in (None, s) for u, s in zip(unknown, y.shape, strict=True)), "compute_output_shape contradicts itself"
    assert model.output_shape == unknown, "the symbolic shape is another"
    assert y.dtype == layer.compute_dtype, f"dtype {y.dtype}, expected {layer.compute_dtype}"

    assert_close(tf.function(layer)(tf.constant(x)), y, 1e-5, "tf.function")

    config = layer.get_config()
    copy = type(layer).from_config(config)
    assert copy.get_config() == config, "the config does not survive a round trip"
    copy.build(x.shape)
    assert [w.shape for w in copy.weights] == [w.shape for w in layer.weights], "the copy has other weights"
    copy.set_weights(layer.get_weights())
    assert_close(copy(x), y, 1e-6, "from_config")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        assert_close(keras.models.load_model(path, safe_mode=True)(x), y, 1e-6, ".keras")

    _check_gradients(layer, x)
    if trains:
        before = [np.array(w) for w in layer.trainable_weights]
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.train_on_batch(x, np.ones_like(y))
        for old, new in zip(before, layer.trainable_weights, strict=True):
            assert np.isfinite(np.asarray(new)).all(), f"{new.path}: NaN after a step"
            assert not np.array_equal(old, np.asarray(new)), f"{new.path}: not trained"
    return y


def _check_gradients(layer, x):
    """The gradient to the input and to each weight agrees with a central difference, on a copy in float64."""
    exact = type(layer).from_config({**layer.get_config(), "dtype": "float64"})
    exact.build(x.shape)
    rng = np.random.default_rng(0)
    # Off zero: where a new bias is zero, a rectifier may stand on its kink.
    exact.set_weights([w + rng.uniform(0.1, 0.3, w.shape) for w in layer.get_weights()])
    x = tf.Variable(x, dtype="float64")
    upstream = rng.normal(size=exact.compute_output_shape(x.shape))
    names = ["the input", *(w.name for w in exact.trainable_weights)]
    variables = [x, *(w.value for w in exact.trainable_weights)]

    def loss():
        return tf.reduce_sum(exact(x) * upstream)

    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, variables, unconnected_gradients="zero")
    for name, variable, gradient in zip(names, variables, gradients, strict=True):
        # So small that hardly a rectifier is at its kink on the way, where a difference is no slope.
        at, step = variable.numpy(), 1e-7 * rng.normal(size=variable.shape)
        variable.assign(at + step)
        ahead = loss()
        variable.assign(at - step)
        slope = float(ahead - loss()) / 2
        variable.assign(at)
        assert_close(float(tf.reduce_sum(gradient * step)), slope, 1e-5, f"gradient to {name}")


def check_channels_first(last, first, x):
    """Check that a layer in channels_first computes what its twin in channels_last does; return that one's result."""
    y = np.asarray(last(x))
    moved = np.moveaxis(x, -1, 1)
    first.build(moved.shape)
    first.set_weights(last.get_weights())
    assert_close(np.moveaxis(np.asarray(first(moved)), 1, -1), y, what="channels_first")
    return y


class Subclassed(keras.Model):
    """A subclassed model of one layer, which is not built."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x):
        return self.layer(x)


def randomize(model):
    """Give a model seeded weights, its variances between 0.5 and 2."""
    rng = np.random.default_rng(0)
    model.set_weights(
        [rng.uniform(0.5, 2, w.shape) if "variance" in w.path else rng.normal(0, 0.4, w.shape) for w in model.weights]
    )


def _arguments(kind):
    found = inspect.signature(kind).parameters.values()
    return [(p.name, p.default) for p in found if p.kind != p.VAR_KEYWORD]


def check_signature(ours, theirs):
    """Check that a class takes the arguments of another, in their order, before any others."""
    expected = _arguments(theirs)
    assert _arguments(ours)[: len(expected)] == expected, "the arguments are others"


OTHER_THAN_DEFAULT = {
    "filters": 6,
    "kernel_size": (2, 3),
    "strides": (2, 3),
    "padding": ((1, 0), (0, 2)),
    "output_padding": (1, 2),
    "data_format": "channels_first",
    "dilation_rate": (1, 2),
    "groups": 2,
    "depth_multiplier": 3,
    "offset_groups": 2,
    "modulated": True,
    "lora_rank": 2,
    "lora_alpha": 0.5,
    "activation": "relu",
    "use_bias": False,
    "activity_regularizer": keras.regularizers.L2(0.5),
    **{
        f"{kind}_{option}": value
        for kind in ("kernel", "depthwise", "pointwise", "offset", "bias")
        for option, value in (("initializer", "ones"), ("regularizer", "l1"), ("constraint", "non_neg"))
    },
}


def check_config(kind, values=None):
    """Check that each argument of a class, given another value than its default, is in the config and survives it.

    Args:
        kind: the class.
        values: by argument, where those of `OTHER_THAN_DEFAULT` do not fit.
    """
    arguments = [name for name, _ in _arguments(kind) if name != "rate"]
    layer = kind(**{name: {**OTHER_THAN_DEFAULT, **(values or {})}[name] for name in arguments})
    plain = kind(**{name: value for name, value in (("filters", 4), ("kernel_size", 1)) if name in arguments})
    config, default = layer.get_config(), plain.get_config()
    for name in arguments:
        assert config[name] != default.get(name), f"{name} is not in the config"
    assert kind.from_config(config).get_config() == config, "the config does not survive a round trip"
