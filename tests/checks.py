"""Assertions that many tests share; `test_checks` feeds each one wrong answers."""

import numpy as np
import pytest
import tensorflow as tf


def assert_close(actual, expected, tolerance=1e-5, what=""):
    """Assert equal shapes, finite numbers, and a difference of at most `tolerance` times the largest expected one."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    if not expected.size:
        return
    assert np.isfinite(actual).all(), f"{what}: NaN or infinity"
    scale = max(np.abs(expected).max(), 1e-30)
    error = np.abs(actual - expected).max() / scale
    assert error <= tolerance, f"{what}: off by {error:.3g} of the largest, tolerance {tolerance:.3g}"


def assert_sentence(error, argument):
    """Assert that an error is one sentence that names the argument, what was expected, and what came."""
    text = str(error)
    assert text.startswith(f"{argument}:"), text
    assert "expected" in text, text
    assert ", got" in text, text
    assert "\n" not in text, text
    assert len(text) < 500, text


def state_of(model):
    """Return every variable of a model, those of random generators too, and the losses of its last call, by name."""
    losses = {f"loss {number}": np.array(loss) for number, loss in enumerate(model.losses)}
    return {variable.path: np.array(variable.value) for variable in model.variables} | losses


def assert_unchanged(model, before):
    """Assert that a model has the state, to the bit, that `state_of` returned before."""
    assert {path: value.tolist() for path, value in state_of(model).items()} == {
        path: value.tolist() for path, value in before.items()
    }


def assert_refused(run, argument, kind=ValueError):
    """Assert that a call raises an error of a kind, in a sentence that names the argument; return its text."""
    with pytest.raises(kind) as error:
        run()
    assert_sentence(error.value, argument)
    return str(error.value)


def assert_refused_in_graph_too(case, in_graph):
    """Assert that a case (kind, argument, run) of an op is refused, eagerly or in a graph; return the text."""
    kind, argument, run = case
    return assert_refused(tf.function(run, autograph=False) if in_graph else run, argument, kind)


def tape_gradients(op, x, w, upstream, *options):
    """Return TensorFlow's gradients of the sum of ``op(x, w, *options) * upstream`` to x and w."""
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        loss = tf.reduce_sum(op(x, w, *options) * upstream)
    return tape.gradient(loss, [x, w])


def compiled_with_gradients(op, *options, x, w):
    """Return a function of (x, w) of given shapes, compiled: ``op(x, w, *options)`` and the gradients of its sum."""

    @tf.function(input_signature=[x, w], autograph=False)
    def run(x, w):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = op(x, w, *options)
            loss = tf.reduce_sum(y)
        return y, *tape.gradient(loss, [x, w])

    return run


def assert_second_derivatives(op, x, w, a, b):
    """Assert that the slope along (a, b) of the gradients of ``sum(op(x, w) ** 3)`` is their central difference.

    The cube makes the function one that is no longer bilinear in x and w.
    """

    def slope(x, w):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            loss = tf.reduce_sum(op(x, w) ** 3)
        to_x, to_w = tape.gradient(loss, [x, w])
        return tf.reduce_sum(to_x * a) + tf.reduce_sum(to_w * b)

    with tf.GradientTape() as tape:
        tape.watch([x, w])
        value = slope(x, w)
    to_x, to_w = tape.gradient(value, [x, w])
    step = 1e-6
    difference = (slope(x + step * a, w + step * b) - slope(x - step * a, w - step * b)) / (2 * step)
    assert_close(tf.reduce_sum(to_x * a) + tf.reduce_sum(to_w * b), difference, 1e-6)


def places(content):
    """Yield where each stored tensor of a file's bytes begins, modulo 16."""
    from ai_edge_litert import schema_py_generated as schema

    model, base = schema.Model.GetRootAs(content), np.frombuffer(content, np.uint8).ctypes.data
    for i in range(model.BuffersLength()):
        if model.Buffers(i).DataLength():
            yield (model.Buffers(i).DataAsNumpy().ctypes.data - base) % 16


def in_part(cases, step):
    """Cases to parametrize a test with: a quick run takes every `step`-th of them, a slow one the others."""
    rows = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*row, marks=pytest.mark.slow if number % step else ()) for number, row in enumerate(rows)]
