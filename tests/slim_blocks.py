"""MobileNets v2 and v3 built by tf_slim's own convolutions in a TF1 graph, from rows of slim's arguments.

The assembly follows TF-slim's description of ``mobilenet_base`` and ``expanded_conv``: rates under an output stride,
explicit padding in front of each window, channels by ``depth_multiplier``, an expansion where that is wider. A row is
``(kind, kernel, stride, depth, expansion, squeeze, activation)``.
"""

import warnings

import keras
import numpy as np
import tensorflow as tf
from checks import assert_close
from slim_reference import _batch_norm, _fixed_padding, _value, save

from tfsep import weights
from tfsep._keras.dtype_policy import dtype_policy


def divisible(value, divisor=8, least=8):
    """Slim's ``_make_divisible``."""
    rounded = max(least, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def hard_swish(x):
    return x * tf.nn.relu6(x + 3) * (1.0 / 6)


def slim_gate(x):
    return tf.nn.relu6(x + 3) * 0.16667


def _squeeze_excite(slim, net, factor):
    channels = net.shape[-1]
    with tf.compat.v1.variable_scope("squeeze_excite"):
        pooled = tf.reduce_mean(net, (1, 2), keepdims=True)
        plain = {"normalizer_fn": None}
        reduced = slim.conv2d(pooled, divisible(channels / factor), 1, activation_fn=tf.nn.relu, **plain)
        return net * slim.conv2d(reduced, channels, 1, activation_fn=slim_gate, **plain)


def _block(slim, net, row, depth, stride, rate, explicit):
    kind, kernel, _, _, expansion, squeeze, activation = row
    source, ends = net, {}
    inner = divisible(net.shape[-1] * expansion) if expansion else 0
    fused = {"kernel_size": kernel, "stride": stride, "rate": rate} if kind == "fused" else {"kernel_size": 1}
    padding = "VALID" if explicit else "SAME"
    with tf.compat.v1.variable_scope(None, "expanded_conv"):
        if inner > net.shape[-1]:
            net = _fixed_padding(net, (kernel, kernel), rate) if explicit and kind == "fused" else net
            net = slim.conv2d(net, inner, **fused, padding=padding, activation_fn=activation, scope="expand")
            ends["expansion_output"] = net
        if kind == "block":
            net = _fixed_padding(net, (kernel, kernel), rate) if explicit else net
            window = {"stride": stride, "rate": rate, "padding": padding, "depth_multiplier": 1}
            net = slim.separable_conv2d(
                net, None, (kernel, kernel), **window, activation_fn=activation, scope="depthwise"
            )
            ends["depthwise_output"] = net
        if squeeze:
            net = _squeeze_excite(slim, net, squeeze)
        net = slim.conv2d(net, depth, 1, activation_fn=None, scope="project")
    if stride == 1 and net.shape[-1] == source.shape[-1]:
        net += source
    return net, {**ends, "output": net}


def _network(slim, net, rows, *, scope, multiplier, min_depth, divisible_by, finegrain, output_stride, explicit):
    end_points, current, rate = {}, 1, 1
    defaults = slim.arg_scope([slim.conv2d, slim.separable_conv2d], normalizer_fn=_batch_norm)
    with tf.compat.v1.variable_scope(scope), defaults:
        for i, row in enumerate(rows, 1):
            kind, kernel, stride, depth, _, _, activation = row
            if kind == "pool":
                net = slim.avg_pool2d(net, net.shape[1:3], stride=1)
                end_points[f"layer_{i}"] = net
                continue
            own = multiplier if not (finegrain and i == len(rows)) else max(multiplier, 1)
            depth = divisible(depth * own, divisible_by, min_depth)
            if output_stride is not None and current == output_stride:
                layer_stride, layer_rate = 1, rate
                rate *= stride
            else:
                layer_stride, layer_rate = stride, 1
                current *= stride
            if kind in ("conv", "dense"):
                plain = {"normalizer_fn": None} if kind == "dense" else {}
                net = _fixed_padding(net, (kernel, kernel), layer_rate) if explicit else net
                window = {"stride": layer_stride, "rate": layer_rate, "padding": "VALID" if explicit else "SAME"}
                net = slim.conv2d(net, depth, kernel, **window, activation_fn=activation, **plain)
            else:
                net, ends = _block(slim, net, row, depth, layer_stride, layer_rate, explicit)
                end_points |= {f"layer_{i}/{name}": end for name, end in ends.items()}
            end_points[f"layer_{i}"] = net
    return end_points


def _logits(slim, net, scope, num_classes):
    with tf.compat.v1.variable_scope(f"{scope}/Logits"):
        pooled = tf.reduce_mean(net, (1, 2), keepdims=True)
        return pooled, slim.conv2d(pooled, num_classes, 1, activation_fn=None, scope="Conv2d_1c_1x1")


def evaluate(
    image,
    rows,
    *,
    scope="MobilenetV2",
    multiplier=1.0,
    min_depth=8,
    divisible_by=8,
    finegrain=False,
    output_stride=None,
    explicit=False,
    num_classes=5,
):
    """Build the network in the dtype of `image` with random variables, and run it on `image`.

    Returns:
        The end points and the variables, as arrays by name.
    """
    import tf_slim as slim

    rng = np.random.default_rng(0)
    options = {"scope": scope, "multiplier": multiplier, "min_depth": min_depth, "divisible_by": divisible_by}
    with tf.Graph().as_default(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf_slim's own, about what it calls
        inputs = tf.compat.v1.placeholder(image.dtype, image.shape)
        with tf.compat.v1.variable_scope("", dtype=inputs.dtype):
            end_points = _network(
                slim, inputs, rows, **options, finegrain=finegrain, output_stride=output_stride, explicit=explicit
            )
            last = end_points[f"layer_{len(rows)}"]
            end_points["global_pool"], logits = _logits(slim, last, scope, num_classes)
            end_points["Logits"] = tf.squeeze(logits, (1, 2))
        variables = tf.compat.v1.global_variables()
        values = {v.op.name: _value(rng, v.op.name, tuple(v.shape)).astype(image.dtype) for v in variables}
        with tf.compat.v1.Session() as session:
            session.run(
                [v.initializer for v in variables], {v.initializer.inputs[1]: values[v.op.name] for v in variables}
            )
            return session.run(end_points, {inputs: image}), values


OURS = {
    "multiplier": "depth_multiplier",
    "finegrain": "finegrain_classification_mode",
    "explicit": "use_explicit_padding",
}
"""Our names of options, where they are longer."""


def check(builder, conv_defs, rows, size, scope, folder, options):
    """Assert that a builder's end points are tf_slim's, on the same weights; in float64, for no rounding to hide in."""
    image = np.random.default_rng(1).uniform(-1, 1, (2, *size, 3))
    expected, values = evaluate(image, rows, scope=scope, **options)
    save(folder / "model.ckpt", values)
    inputs = keras.Input(image.shape[1:], dtype="float64")
    with dtype_policy("float64"):
        own = {OURS.get(name, name): value for name, value in options.items()}
        _, ends = builder(inputs, 5, conv_defs=conv_defs, prediction_fn=None, **own)
    model = keras.Model(inputs, ends)
    weights.load_slim_checkpoint(model, folder / "model.ckpt")
    actual = model(image)
    assert set(actual) == set(expected)
    for name, value in expected.items():
        assert_close(actual[name], value, 1e-9, name)
        assert np.std(value) > 1e-3, f"{name}: a signal that vanished shows nothing"
