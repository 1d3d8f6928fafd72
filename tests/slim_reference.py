"""MobileNet v1 built by tf_slim itself, in a TF1 graph, with a checkpoint of its own making.

The convolutions, poolings and variable names are tf_slim's. Its batch normalization does not run on today's TensorFlow,
so that is written out here, in inference, under slim's names. The network's assembly follows TF-slim's description of
``mobilenet_v1_base`` and ``mobilenet_v1``, also where this library chose otherwise: slim's full convolutions keep their
stride and take no rate under an output stride, and explicit padding takes a kernel's height for its width.
"""

import warnings

import numpy as np
import tensorflow as tf

from tfsep import Conv


def _both(value):
    return [value, value] if isinstance(value, int) else list(value)


def _batch_norm(net, **_):
    channels = net.shape[-1]
    with tf.compat.v1.variable_scope("BatchNorm"):
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        gamma, beta, mean, variance = (tf.compat.v1.get_variable(name, (channels,)) for name in names)
    return (net - mean) / tf.sqrt(variance + 0.001) * gamma + beta


def _fixed_padding(net, kernel, rate=1):
    total = (kernel[0] - 1) * rate
    sides = (total // 2, total - total // 2)
    return tf.pad(net, [(0, 0), sides, sides, (0, 0)])


def _network(slim, net, conv_defs, multiplier, min_depth, output_stride, explicit, num_classes):
    end_points, current, rate = {}, 1, 1
    padding = "VALID" if explicit else "SAME"
    with (
        tf.compat.v1.variable_scope("MobilenetV1"),
        slim.arg_scope(
            [slim.conv2d, slim.separable_conv2d], padding=padding, normalizer_fn=_batch_norm, activation_fn=tf.nn.relu6
        ),
    ):
        for i, d in enumerate(conv_defs):
            kernel, depth = _both(d.kernel), max(int(d.depth * multiplier), min_depth)
            if output_stride is not None and current == output_stride:
                stride, layer_rate = 1, rate
                rate *= d.stride
            else:
                stride, layer_rate = d.stride, 1
                current *= d.stride
            if isinstance(d, Conv):
                net = _fixed_padding(net, kernel) if explicit else net
                net = slim.conv2d(net, depth, kernel, stride=d.stride, scope=f"Conv2d_{i}")
                end_points[f"Conv2d_{i}"] = net
                continue
            net = _fixed_padding(net, kernel, layer_rate) if explicit else net
            name = f"Conv2d_{i}_depthwise"
            net = slim.separable_conv2d(
                net, None, kernel, depth_multiplier=1, stride=stride, rate=layer_rate, scope=name
            )
            end_points[name] = net
            name = f"Conv2d_{i}_pointwise"
            net = slim.conv2d(net, depth, [1, 1], stride=1, scope=name)
            end_points[name] = net
    with tf.compat.v1.variable_scope("MobilenetV1/Logits"):
        net = slim.avg_pool2d(net, [min(int(side), 7) for side in net.shape[1:3]], padding="VALID", scope="AvgPool_1a")
        end_points["AvgPool_1a"] = net
        net = slim.conv2d(net, num_classes, [1, 1], activation_fn=None, normalizer_fn=None, scope="Conv2d_1c_1x1")
    end_points["Logits"] = net
    return end_points


def evaluate(
    image, value, conv_defs, *, multiplier=1.0, min_depth=8, output_stride=None, explicit=False, num_classes=7
):
    """Build the network in the dtype of `image`, set each variable to ``value(name, shape)``, and run it on `image`.

    Returns:
        The end points and the variables, as arrays by name.
    """
    import tf_slim as slim

    with tf.Graph().as_default(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf_slim's own, about what it calls
        inputs = tf.compat.v1.placeholder(image.dtype, image.shape)
        with tf.compat.v1.variable_scope("", dtype=inputs.dtype):
            end_points = _network(slim, inputs, conv_defs, multiplier, min_depth, output_stride, explicit, num_classes)
        variables = tf.compat.v1.global_variables()
        values = {v.op.name: value(v.op.name, tuple(v.shape)).astype(image.dtype) for v in variables}
        with tf.compat.v1.Session() as session:
            session.run(
                [v.initializer for v in variables], {v.initializer.inputs[1]: values[v.op.name] for v in variables}
            )
            return session.run(end_points, {inputs: image}), values


def run(folder, image, conv_defs, **options):
    """Fill the network with random weights, save it as ``folder/model.ckpt``, and run it on `image`.

    The checkpoint holds what a published one holds besides: a step, momentum slots and moving averages, all different.

    Returns:
        The checkpoint's prefix, and the end points as arrays.
    """
    rng = np.random.default_rng(0)
    outputs, values = evaluate(image, lambda name, shape: _value(rng, name, shape), conv_defs, **options)
    save(folder / "model.ckpt", {**values, **_training_state(values)})
    return str(folder / "model.ckpt"), outputs


def save(prefix, values):
    """Write arrays as the checkpoint that TF1's Saver makes of variables with these names."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        saver = tf.compat.v1.train.Saver(
            {name: tf.compat.v1.Variable(value, name=name) for name, value in values.items()}
        )
        session.run(tf.compat.v1.global_variables_initializer())
        saver.save(session, str(prefix))


def _training_state(values):
    trained = {name: value for name, value in values.items() if "moving" not in name}
    slots = {
        f"{name}/{suffix}": 2 * v for name, v in trained.items() for suffix in ("Momentum", "ExponentialMovingAverage")
    }
    return {"global_step": np.int64(7), **slots}


def _value(rng, name, shape):
    """Weights under which signals neither vanish nor explode, and statistics far from 0 and 1."""
    if name.endswith("weights"):
        fan_in = np.prod(shape[:2]) if "depthwise_weights" in name else np.prod(shape[:3])
        return rng.normal(0, np.sqrt(2 / fan_in), shape).astype("float32")
    if name.endswith(("gamma", "moving_variance")):
        return rng.uniform(0.7, 1.5, shape).astype("float32")
    return rng.normal(0.1, 0.3, shape).astype("float32")
