"""MobileNet v1 as slim's own files are written: TensorFlow 1's functions, scopes and flags between slim's."""

import collections
import functools

import tensorflow.compat.v1 as tf
import tf_slim as slim

Conv = collections.namedtuple("Conv", ["kernel", "stride", "depth"])
DepthSepConv = collections.namedtuple("DepthSepConv", ["kernel", "stride", "depth"])

MOBILENETV1_CONV_DEFS = [
    Conv(kernel=[3, 3], stride=2, depth=32),
    DepthSepConv(kernel=[3, 3], stride=1, depth=64),
    DepthSepConv(kernel=[3, 3], stride=2, depth=128),
    DepthSepConv(kernel=[3, 3], stride=1, depth=128),
    DepthSepConv(kernel=[3, 3], stride=2, depth=256),
    DepthSepConv(kernel=[3, 3], stride=1, depth=256),
    DepthSepConv(kernel=[3, 3], stride=2, depth=512),
    *[DepthSepConv(kernel=[3, 3], stride=1, depth=512)] * 5,
    DepthSepConv(kernel=[3, 3], stride=2, depth=1024),
    DepthSepConv(kernel=[3, 3], stride=1, depth=1024),
]


def _fixed_padding(inputs, kernel_size, rate=1):
    effective = [side + (side - 1) * (rate - 1) for side in kernel_size]
    total = [side - 1 for side in effective]
    before = [side // 2 for side in total]
    after = [whole - part for whole, part in zip(total, before, strict=True)]
    return tf.pad(tensor=inputs, paddings=[[0, 0], [before[0], after[0]], [before[1], after[1]], [0, 0]])


def mobilenet_v1_base(
    inputs,
    final_endpoint="Conv2d_13_pointwise",
    min_depth=8,
    depth_multiplier=1.0,
    conv_defs=None,
    output_stride=None,
    use_explicit_padding=False,
    scope=None,
):
    def depth(d):
        return max(int(d * depth_multiplier), min_depth)

    end_points = {}
    if depth_multiplier <= 0:
        raise ValueError("depth_multiplier is not greater than zero.")
    padding = "VALID" if use_explicit_padding else "SAME"
    with (
        tf.variable_scope(scope, "MobilenetV1", [inputs]),
        slim.arg_scope([slim.conv2d, slim.separable_conv2d], padding=padding),
    ):
        current_stride, rate, net = 1, 1, inputs
        for i, conv_def in enumerate(conv_defs or MOBILENETV1_CONV_DEFS):
            base = f"Conv2d_{i}"
            dilated = output_stride is not None and current_stride == output_stride
            layer_stride, layer_rate = (1, rate) if dilated else (conv_def.stride, 1)
            rate *= conv_def.stride if dilated else 1
            current_stride *= layer_stride
            if isinstance(conv_def, Conv):
                if use_explicit_padding:
                    net = _fixed_padding(net, conv_def.kernel)
                net = slim.conv2d(
                    net,
                    depth(conv_def.depth),
                    conv_def.kernel,
                    stride=conv_def.stride,
                    normalizer_fn=slim.batch_norm,
                    scope=base,
                )
                end_points[base] = net
                if base == final_endpoint:
                    return net, end_points
            elif isinstance(conv_def, DepthSepConv):
                if use_explicit_padding:
                    net = _fixed_padding(net, conv_def.kernel, layer_rate)
                net = slim.separable_conv2d(
                    net,
                    None,
                    conv_def.kernel,
                    depth_multiplier=1,
                    stride=layer_stride,
                    rate=layer_rate,
                    normalizer_fn=slim.batch_norm,
                    scope=f"{base}_depthwise",
                )
                end_points[f"{base}_depthwise"] = net
                net = slim.conv2d(
                    net,
                    depth(conv_def.depth),
                    [1, 1],
                    stride=1,
                    normalizer_fn=slim.batch_norm,
                    scope=f"{base}_pointwise",
                )
                end_points[f"{base}_pointwise"] = net
                if f"{base}_pointwise" == final_endpoint:
                    return net, end_points
            else:
                raise ValueError(f"Unknown convolution type {type(conv_def).__name__} for layer {i}")
    raise ValueError(f"Unknown final endpoint {final_endpoint}")


def mobilenet_v1(
    inputs,
    num_classes=1000,
    dropout_keep_prob=0.999,
    is_training=True,
    min_depth=8,
    depth_multiplier=1.0,
    conv_defs=None,
    prediction_fn=slim.softmax,
    spatial_squeeze=True,
    reuse=None,
    scope="MobilenetV1",
    global_pool=False,
):
    input_shape = inputs.get_shape().as_list()
    if len(input_shape) != 4:
        raise ValueError(f"Invalid input tensor rank, expected 4, was: {len(input_shape)}")
    with (
        tf.variable_scope(scope, "MobilenetV1", [inputs], reuse=reuse) as opened,
        slim.arg_scope([slim.batch_norm, slim.dropout], is_training=is_training),
    ):
        net, end_points = mobilenet_v1_base(
            inputs, scope=opened, min_depth=min_depth, depth_multiplier=depth_multiplier, conv_defs=conv_defs
        )
        with tf.variable_scope("Logits"):
            if global_pool:
                net = tf.reduce_mean(input_tensor=net, axis=[1, 2], keepdims=True, name="global_pool")
                end_points["global_pool"] = net
            else:
                kernel_size = _reduced_kernel_size_for_small_input(net, [7, 7])
                net = slim.avg_pool2d(net, kernel_size, padding="VALID", scope="AvgPool_1a")
                end_points["AvgPool_1a"] = net
            if not num_classes:
                return net, end_points
            net = slim.dropout(net, keep_prob=dropout_keep_prob, scope="Dropout_1b")
            logits = slim.conv2d(
                net, num_classes, [1, 1], activation_fn=None, normalizer_fn=None, scope="Conv2d_1c_1x1"
            )
            if spatial_squeeze:
                logits = tf.squeeze(logits, [1, 2], name="SpatialSqueeze")
        end_points["Logits"] = logits
        if prediction_fn:
            end_points["Predictions"] = prediction_fn(logits, scope="Predictions")
    return logits, end_points


mobilenet_v1.default_image_size = 224


def wrapped_partial(func, *args, **kwargs):
    partial_func = functools.partial(func, *args, **kwargs)
    functools.update_wrapper(partial_func, func)
    return partial_func


mobilenet_v1_025 = wrapped_partial(mobilenet_v1, depth_multiplier=0.25)


def _reduced_kernel_size_for_small_input(input_tensor, kernel_size):
    shape = input_tensor.get_shape().as_list()
    if shape[1] is None or shape[2] is None:
        return kernel_size
    return [min(shape[1], kernel_size[0]), min(shape[2], kernel_size[1])]


def mobilenet_v1_arg_scope(
    is_training=True,
    weight_decay=0.00004,
    stddev=0.09,
    regularize_depthwise=False,
    batch_norm_decay=0.9997,
    batch_norm_epsilon=0.001,
    batch_norm_updates_collections=tf.GraphKeys.UPDATE_OPS,
    normalizer_fn=slim.batch_norm,
):
    batch_norm_params = {
        "center": True,
        "scale": True,
        "decay": batch_norm_decay,
        "epsilon": batch_norm_epsilon,
        "updates_collections": batch_norm_updates_collections,
    }
    if is_training is not None:
        batch_norm_params["is_training"] = is_training
    weights_init = tf.truncated_normal_initializer(stddev=stddev)
    regularizer = slim.l2_regularizer(weight_decay)
    depthwise_regularizer = regularizer if regularize_depthwise else None
    with (
        slim.arg_scope(
            [slim.conv2d, slim.separable_conv2d],
            weights_initializer=weights_init,
            activation_fn=tf.nn.relu6,
            normalizer_fn=normalizer_fn,
        ),
        slim.arg_scope([slim.batch_norm], **batch_norm_params),
        slim.arg_scope([slim.conv2d], weights_regularizer=regularizer),
        slim.arg_scope([slim.separable_conv2d], weights_regularizer=depthwise_regularizer) as sc,
    ):
        return sc
