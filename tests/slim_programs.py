"""Slim code run by tf_slim in a TF1 graph and by `tfsep.slim` on Keras tensors, on the same weights.

A program is a function ``program(slim, variable_scope, x)`` that returns a tensor, or a list of tensors, as slim code
that moved over would.
"""

import warnings
from typing import Any, NamedTuple
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from checks import assert_close

from tfsep import slim


class Run(NamedTuple):
    """What a program made: variables and results by name, and the names in its collection ``ends``."""

    variables: dict[str, Any]
    outputs: list[Any]
    ends: list[str]


def weight(name, shape):
    """Numbers for a variable, the same for one name: statistics positive, weights neither growing nor vanishing."""
    rng = np.random.default_rng(sum(name.encode()))
    if name.endswith(("gamma", "moving_variance")):
        return rng.uniform(0.7, 1.5, shape).astype("float32")
    if len(shape) == 1:  # enough of them positive that a rectifier lets something through
        return rng.normal(0.5, 0.3, shape).astype("float32")
    return rng.normal(0, 1 / np.sqrt(max(np.prod(shape[:-1]), 1)), shape).astype("float32")


def theirs(program, image):
    """Run the program by tf_slim."""
    import tf_slim

    v1 = tf.compat.v1
    # Its batch normalization asks for the old name of a class.
    old_name = mock.patch.object(tf_slim.utils.ops, "Tensor", tf.Tensor, create=True)
    with tf.Graph().as_default(), warnings.catch_warnings(), old_name:
        warnings.simplefilter("ignore")  # tf_slim's own, about what it calls
        x = v1.placeholder(image.dtype, image.shape)
        outputs = tf.nest.flatten(program(tf_slim, v1.variable_scope, x))
        variables = {v.op.name: v for v in tf_slim.get_model_variables()}
        values = {name: weight(name, tuple(v.shape)) for name, v in variables.items()}
        ends = list(tf_slim.utils.convert_collection_to_dict("ends"))
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            for name, v in variables.items():
                v.load(values[name], session)
            return Run(values, session.run(outputs, {x: image}), ends)


def ours(program, image, variable_scope=slim.variable_scope):
    """Run the program by `tfsep.slim`; also return the model."""
    x = keras.Input(batch_shape=image.shape)
    outputs = tf.nest.flatten(program(slim, variable_scope, x))
    model = keras.Model(x, outputs)
    variables = slim.utils.convert_collection_to_dict("variables")
    for name, variable in variables.items():
        variable.assign(weight(name, tuple(variable.shape)))
    values = {name: np.asarray(variable) for name, variable in variables.items()}
    ends = list(slim.utils.convert_collection_to_dict("ends"))
    return Run(values, [np.asarray(y) for y in tf.nest.flatten(model(image))], ends), model


def assert_same(one, other):
    """Assert that two runs made the same variables, collections and results."""
    shapes, expected = ({name: value.shape for name, value in run.variables.items()} for run in (one, other))
    assert shapes == expected
    assert one.ends == other.ends
    assert len(one.outputs) == len(other.outputs)
    for i, (actual, right) in enumerate(zip(one.outputs, other.outputs, strict=True)):
        assert np.std(right) > 1e-3, f"result {i}: a signal that vanished shows nothing"
        assert_close(actual, right, 1e-5, f"result {i}")


def check(program, image):
    """Assert that both run the program to the same end."""
    assert_same(ours(program, image)[0], theirs(program, image))


def image(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def builder(slim, variable_scope, inputs, is_training, reuse=None, scope="Net"):
    """A network as slim's own files write it: TensorFlow's functions between slim's, and its scopes."""
    if len(inputs.get_shape().as_list()) != 4:
        raise ValueError("inputs")
    with (
        variable_scope(scope, "Net", [inputs], reuse=reuse) as opened,
        slim.arg_scope([slim.batch_norm], is_training=is_training, updates_collections=None),
        slim.arg_scope([slim.conv2d, slim.separable_conv2d], normalizer_fn=slim.batch_norm, padding="VALID"),
    ):
        with variable_scope(opened, "Net", [inputs]):
            net = tf.pad(tensor=inputs, paddings=[[0, 0], [1, 1], [1, 1], [0, 0]])
            net = slim.conv2d(net, 8, [3, 3], stride=2, activation_fn=tf.nn.relu6, scope="Conv2d_0")
        with variable_scope("Block"):
            parts = tf.split(slim.conv2d(net, 16, 1, scope="expand"), 2, axis=3)
            net = tf.identity(tf.nn.relu(net + parts[0] * tf.sigmoid(parts[1]), name="sum"), name="output")
            block = net.name.rpartition("/")[0]
        with variable_scope("Logits"):
            side = net.get_shape().as_list()[1]
            pooled = tf.concat([slim.avg_pool2d(net, [side, side]), slim.max_pool2d(net, side)], axis=3)
            pooled = pooled + tf.reduce_mean(pooled, axis=[1, 2], keepdims=True, name="global_pool")
            logits = slim.conv2d(pooled, 5, [1, 1], activation_fn=None, normalizer_fn=None, scope="Conv2d_1c_1x1")
            logits = tf.squeeze(logits, [1, 2], name="SpatialSqueeze")
    # As slim's later builders find the ends of their blocks.
    ends = [op.outputs[0] for op in logits.graph.get_operations() if op.name.startswith(f"{block}/output")]
    return logits, slim.softmax(logits, scope="Predictions"), slim.flatten(ends[-1])


def builder_twice(slim, variable_scope, inputs):
    """The network on an image and on its mirror image, with the same variables."""
    first = builder(slim, variable_scope, inputs, is_training=False)
    return [*first, *builder(slim, variable_scope, tf.nn.relu(-inputs), is_training=False, reuse=True)]
