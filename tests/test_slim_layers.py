"""Slim's layers that networks seldom use, beside tf_slim itself, and the names of slim that are not here."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_slim
from checks import assert_close, assert_refused, assert_sentence
from slim_programs import assert_same, check, image, ours, theirs

from tfsep import slim


def sequences(slim, variable_scope, x):
    yield slim.conv1d(x, 4, 3, 2)
    yield slim.conv1d(x, 4, [3], rate=2, padding="VALID", activation_fn=None)
    yield slim.convolution(x, 4, 2, scope="any", outputs_collections="ends")
    yield slim.pool(x, 2, "AVG", padding="SAME")
    yield slim.layer_norm(x)


def images(slim, variable_scope, x):
    yield slim.conv2d_in_plane(x, [3, 2], 2)
    yield slim.conv2d_in_plane(x, 2, padding="VALID", biases_initializer=None, activation_fn=None, scope="plane")
    yield slim.maxout(x, 2)
    yield slim.maxout(x, 3, axis=1)
    yield slim.maxout(slim.flatten(x), 5, axis=-1)
    yield slim.pool(x, [3, 2], "MAX", stride=2, outputs_collections="ends")
    yield slim.spatial_softmax(x)
    yield slim.spatial_softmax(x, temperature=0.5, trainable=False, data_format="NCHW", name="k")
    yield slim.scale_gradient(x, 0.5)
    yield slim.layers.poincare_normalize(x, axis=[1, 2])
    yield slim.unit_norm(x, 3)
    yield slim.unit_norm(slim.flatten(x), 1, epsilon=1.0)
    yield slim.layer_norm(x, activation_fn=tf.nn.relu)
    yield slim.layer_norm(slim.flatten(x), scale=False)


def volumes(slim, variable_scope, x):
    yield slim.conv3d(x, 4, [3, 2, 1], 2)
    yield slim.convolution(x, 4, 2, rate=[1, 2, 1], padding="VALID")
    yield slim.avg_pool3d(x, 2, padding="SAME")
    yield slim.max_pool3d(x, [2, 3, 1], 1)
    yield slim.pool(x, 2, "AVG")


PROGRAMS = {sequences: (2, 7, 4), images: (2, 6, 5, 4), volumes: (2, 4, 5, 4, 3)}


@pytest.mark.parametrize("program", PROGRAMS)
def test_layers_equal_slim(program):
    check(lambda *arguments: list(program(*arguments)), image(*PROGRAMS[program]))


def test_channels_first():
    def program(data_format, last):
        def build(slim, variable_scope, x):
            yield slim.conv1d(x, 4, 3, data_format=data_format)
            yield slim.pool(x, 3, "MAX", data_format=data_format)

        return lambda *arguments: list(build(*arguments))

    x = image(2, 7, 4)
    one = ours(program("NWC", True), x)[0].outputs
    for first, last in zip(ours(program("NCW", False), x.transpose(0, 2, 1))[0].outputs, one, strict=True):
        assert_close(first.transpose(0, 2, 1), last, 1e-5)


def test_layers_save_and_share(tmp_path):
    def program(slim, variable_scope, x):
        for scope in ("one", "two"):
            with variable_scope("net", reuse=scope == "two"):
                net = slim.conv2d_in_plane(x, 3, weights_regularizer=slim.l2_regularizer(0.5), scope="plane")
                yield slim.spatial_softmax(slim.scale_gradient(net, [2.0, 1.0, 0.5]), name="places")

    run, model = ours(lambda *arguments: list(program(*arguments)), image(2, 6, 5, 3), slim.variable_scope)
    assert_same(run, theirs(lambda *arguments: list(program(*arguments)), image(2, 6, 5, 3)))
    assert len(model.weights) == 3
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert_close(again.losses[0], model.losses[0], 1e-6)
    for actual, expected in zip(again(image(2, 6, 5, 3)), run.outputs, strict=True):
        assert_close(actual, expected, 1e-6)


def test_gradients_are_scaled():
    inputs = keras.Input((2, 3))
    model = keras.Model(inputs, slim.scale_gradient(inputs, np.array([2.0, 0.0, -1.0])))
    x = tf.constant(image(4, 2, 3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(tape.gradient(y, x), np.broadcast_to([2.0, 0.0, -1.0], x.shape))


X = keras.Input((6, 5, 4))
REFUSED = {
    "rank": (lambda: slim.conv1d(X, 4, 3), "inputs"),
    "rank of none": (lambda: slim.convolution(keras.Input((4,)), 4, 3), "inputs"),
    "rank of a pool": (lambda: slim.pool(keras.Input((4,)), 3, "MAX"), "inputs"),
    "axes": (lambda: slim.convolution(X, 4, 3, conv_dims=4), "conv_dims"),
    "kernel": (lambda: slim.conv3d(keras.Input((4, 4, 4, 1)), 4, [3, 3]), "kernel_size"),
    "padding": (lambda: slim.conv3d(keras.Input((4, 4, 4, 1)), 4, 3, padding=1), "padding"),
    "stride and rate": (lambda: slim.conv3d(keras.Input((4, 4, 4, 1)), 4, 3, 2, rate=2), "rate"),
    "order": (lambda: slim.conv1d(keras.Input((4, 4)), 4, 3, data_format="CWN"), "data_format"),
    "order of images": (lambda: slim.avg_pool2d(X, 2, data_format="NWC"), "data_format"),
    "kind of pool": (lambda: slim.pool(X, 2, "SUM"), "pooling_type"),
    "dilated pool": (lambda: slim.pool(X, 2, "MAX", dilation_rate=2), "dilation_rate"),
    "units": (lambda: slim.maxout(X, 3), "num_units"),
    "axis": (lambda: slim.maxout(X, 1, axis=4), "axis"),
    "axis of the batch": (lambda: slim.maxout(X, 1, axis=0), "axis"),
    "open sizes": (lambda: slim.maxout(keras.Input((None, None, 4)), 2), "inputs"),
    "dim": (lambda: slim.unit_norm(X, -1), "dim"),
    "norm": (lambda: slim.layer_norm(X, begin_norm_axis=2), "begin_norm_axis"),
    "parameters": (lambda: slim.layer_norm(X, begin_params_axis=1), "begin_params_axis"),
    "temperature": (lambda: slim.spatial_softmax(X, temperature="hot"), "temperature"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_they_cannot_do_is_a_sentence(case):
    assert_refused(*REFUSED[case])


def test_what_is_no_keras_tensor_is_a_sentence():
    for call in (
        lambda: slim.maxout(np.ones((2, 4)), 2),
        lambda: slim.pool(None, 2, "MAX"),
        lambda: slim.unit_norm(np.ones((2, 4)), 1),
        lambda: slim.scale_gradient(1.0, 2.0),
    ):
        assert_refused(call, "inputs", TypeError)
    assert_refused(lambda: slim.scale_gradient(X, X), "gradient_multiplier", TypeError)


MODULES = {
    slim: (tf_slim, tf_slim.layers.layers) if hasattr(tf_slim.layers, "layers") else (tf_slim,),
    slim.layers: (tf_slim.layers,),
    slim.utils: (tf_slim.utils,),
    slim.model_analyzer: (tf_slim.model_analyzer,),
    slim.initializers: (tf_slim.initializers,),
    slim.regularizers: (tf_slim.regularizers,),
}


def home(thing):
    """The module that something is of, or its own name."""
    if isinstance(thing, types.ModuleType):
        return thing.__name__
    return str(getattr(getattr(thing, "func", thing), "__module__", None))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_name_of_slim_is_here_or_says_what_does_its_work(module):
    """Of all that is tf_slim's own, whatever it lists."""
    names = {
        name for other in MODULES[module] for name, thing in vars(other).items() if home(thing).startswith("tf_slim")
    }
    assert len(names) >= 3
    for name in sorted(each for each in names if not each.startswith("_")):
        if name in dir(module):
            continue
        with pytest.raises(AttributeError) as error:
            getattr(module, name)
        assert_sentence(error.value, f"{module.__name__.removeprefix('tfsep.')}.{name}")
    with pytest.raises(AttributeError, match="has no attribute 'unheard_of'"):
        module.unheard_of  # noqa: B018
