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
