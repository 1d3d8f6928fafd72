"""Errors name the argument in the caller's terms: shapes that graphs do not know, sequences, builders' settings."""

import inspect
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_refused, in_part

from tfsep import layers, models, ops
from tfsep.defs import Conv

IMAGES, SEQUENCES = tf.ones((1, 8, 8, 4)), tf.ones((1, 8, 4))
OPS = {
    "conv1d": [SEQUENCES, (3, 4, 6)],
    "conv2d": [IMAGES, (3, 3, 4, 6)],
    "conv1d_transpose": [SEQUENCES, (3, 6, 4)],
    "conv2d_transpose": [IMAGES, (3, 3, 6, 4)],
    "depthwise_conv1d": [SEQUENCES, (3, 4, 2)],
    "depthwise_conv2d": [IMAGES, (3, 3, 4, 2)],
    "depthwise_conv2d_transpose": [IMAGES, (3, 3, 4, 1)],
    "separable_conv1d": [SEQUENCES, (3, 4, 2), (1, 8, 5)],
    "separable_conv2d": [IMAGES, (3, 3, 4, 2), (1, 1, 8, 5)],
    "separable_conv2d_transpose": [IMAGES, (3, 3, 4, 2), (1, 1, 8, 5)],
    "deform_conv2d": [IMAGES, (1, 6, 6, 18), (3, 3, 4, 6), (1, 6, 6, 9)],
}
"""The tensors of each op, given as tensors or shapes."""


def test_every_op_has_a_row():
    assert {name for name in ops.__all__ if re.search(r"conv\dd", name)} == set(OPS)


@pytest.mark.parametrize("name", OPS)
def test_tensors_of_unknown_rank(name):
    """A filter's shape has to be known; other tensors are checked when the graph runs."""
    op = getattr(ops, name)
    tensors = [
        value if isinstance(value, tf.Tensor) else tf.random.stateless_normal(value, (1, 2)) for value in OPS[name]
    ]
    expected = op(*tensors)
    for place, argument in zip(range(len(tensors)), inspect.signature(op).parameters, strict=False):
        specs = [tf.TensorSpec(value.shape) for value in tensors]
        specs[place] = tf.TensorSpec(None)
        traced = tf.function(op, autograph=False)
        if "filter" in argument or argument == "offset":
            assert_refused(lambda run=traced, specs=specs: run.get_concrete_function(*specs), argument)
            continue
        concrete = traced.get_concrete_function(*specs)
        np.testing.assert_allclose(concrete(*tensors), expected, atol=1e-5)
        with pytest.raises(tf.errors.InvalidArgumentError):
            concrete(*tensors[:place], tf.ones((2, 2)), *tensors[place + 1 :])


IN_ONE_DIMENSION = {
    "conv1d": lambda x: ops.conv1d(x, tf.ones((5, 4, 2)), rate=2),
    "conv1d, padded": lambda x: ops.conv1d(x, tf.ones((9, 4, 2)), padding=(1, 2)),
    "conv1d, causal": lambda x: ops.conv1d(x[:, :0], tf.ones((3, 4, 2)), padding="causal"),
    "depthwise_conv1d": lambda x: ops.depthwise_conv1d(x, tf.ones((9, 4, 2))),
    "separable_conv1d": lambda x: ops.separable_conv1d(x, tf.ones((9, 4, 2)), tf.ones((1, 8, 2))),
    "conv1d_transpose": lambda x: ops.conv1d_transpose(x, tf.ones((2, 2, 4)), padding=9),
    "Conv1D": layers.Conv1D(2, 9),
    "Conv1D's shape": lambda x: layers.Conv1D(2, 9).compute_output_shape((None, 3, 4)),
    "Conv1D, padded": layers.Conv1D(2, 9, padding=1),
    "DepthwiseConv1D": layers.DepthwiseConv1D(9),
    "SeparableConv1D": layers.SeparableConv1D(2, 9),
    "Conv1DTranspose": layers.Conv1DTranspose(2, 2, padding=9),
    "Conv1D of a symbolic input": lambda x: layers.Conv1D(2, 9)(keras.Input(x.shape[1:])),
}
TWO_D = re.compile(r"\(1, [3-9]\)|\(\(|H, W|kh, kw|rows")


@pytest.mark.parametrize("name", IN_ONE_DIMENSION)
def test_sequences_are_told_of_in_one_dimension(name):
    x = tf.ones((2, 3, 4))
    with pytest.raises(ValueError, match=r"input size: expected at least .*, got \d+, which leaves") as error:
        IN_ONE_DIMENSION[name](x)
    assert not TWO_D.search(str(error.value)), str(error.value)


@pytest.mark.parametrize(
    ("argument", "run"),
    [
        ("kernel_size", lambda: layers.Conv1D(2, (3, 3))),
        ("strides", lambda: layers.Conv1D(2, 3, strides=(1, 2))),
        ("dilation_rate", lambda: layers.Conv1D(2, 3, dilation_rate=(1, 2))),
        ("padding", lambda: layers.Conv1D(2, 3, padding=((1, 1), (1, 1)))),
        ("padding", lambda: layers.Conv1DTranspose(2, 3, padding="causal")),
        ("output_padding", lambda: layers.Conv1DTranspose(2, 3, strides=2, output_padding=2)),
        ("input", lambda: layers.Conv1D(2, 3).build((None, 8, 8, 4))),
        ("filter", lambda: ops.conv1d(SEQUENCES, tf.ones((3, 3, 6)))),
        ("x", lambda: ops.conv1d(IMAGES, tf.ones((3, 4, 6)))),
        ("pointwise_filter", lambda: ops.separable_conv1d(SEQUENCES, tf.ones((3, 4, 2)), tf.ones((2, 8, 6)))),
    ],
)
def test_arguments_of_sequences(argument, run):
    expected, _ = assert_refused(run, argument).split(", got")
    assert not TWO_D.search(expected)


def test_a_graph_says_at_run_time_that_a_sequence_is_too_short():
    run = tf.function(lambda x: ops.conv1d(x, tf.ones((9, 4, 2))), autograph=False)
    concrete = run.get_concrete_function(tf.TensorSpec((None, None, 4)))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"at least the effective kernel 9 .*\n?.*\[3\]"):
        concrete(tf.ones((1, 3, 4)))


IMAGE = keras.Input((32, 32, 3))
WRONG = (0.25, "nothing", -1, {}, [1], object(), float("nan"), (1, 2, 3, 4))
BUILDERS = {
    "mobilenet_v1_base": lambda **k: models.mobilenet_v1_base(IMAGE, **k),
    "mobilenet_v1": lambda **k: models.mobilenet_v1(IMAGE, **k),
    "MobileNetV1": lambda **k: models.MobileNetV1((32, 32, 3), **k),
    "mobilenet_v1_arg_scope": models.mobilenet_v1_arg_scope,
}
SWITCHES = ("spatial_squeeze", "global_pool", "use_explicit_padding", "regularize_depthwise")
"""Arguments that are true or false, as Python has it."""


def settings():
    for name in BUILDERS:
        for argument in inspect.signature(getattr(models, name)).parameters:
            if argument not in ("inputs", "input_shape", *SWITCHES):
                yield name, argument


@pytest.mark.parametrize(("name", "argument"), in_part(settings(), 3))
def test_builders_name_the_argument_that_is_wrong(name, argument):
    for value in (*WRONG, Conv((3, 3), 1, 8)):
        try:
            BUILDERS[name](**{argument: value})
        except (TypeError, ValueError):
            refused = {"conv_defs": r"conv_defs(\[0\])?", "alpha": "depth_multiplier"}.get(argument, argument)
            with pytest.raises((TypeError, ValueError), match=rf"^{refused}: expected [^\n]*, got ") as error:
                BUILDERS[name](**{argument: value})
            assert "\n" not in str(error.value)
        else:
            assert value in (0.25, "nothing"), f"{argument}={value!r} is taken"


@pytest.mark.parametrize(
    "value", [v for v in WRONG if v != (1, 2, 3, 4)] + [True, b"x", Conv, Conv((3, 3), 1, 8), None]
)
def test_definitions_of_a_wrong_kind(value):
    if value is None:
        assert models.mobilenet_v1_base(IMAGE, conv_defs=None)
        return
    with pytest.raises(TypeError, match=r"^conv_defs(\[0\])?: expected .*, got "):
        models.mobilenet_v1_base(IMAGE, conv_defs=value)


@pytest.mark.parametrize("kind", ["Conv2D", "DepthwiseSeparableConv"])
def test_activations_of_layers(kind):
    for value in ("nothing", 3, [1]):
        assert_refused(lambda value=value: getattr(layers, kind)(4, 3, activation=value), "activation")
