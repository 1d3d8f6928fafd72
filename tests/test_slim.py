"""Slim code on Keras tensors, beside tf_slim itself in a TF1 graph: names, shapes, collections, numbers."""

import inspect
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_slim
from checks import assert_close
from slim_programs import Run, assert_same, check, image, ours, theirs

from tfsep import slim

v1 = tf.compat.v1


def separables(slim, variable_scope, x):
    """Every combination of window, multiplier and width, each with one of the biases and activations."""
    windows = itertools.product([(1, 1), (2, 1), (1, 2), (1, (2, 3))], ["SAME", "VALID"], [3, (2, 3)])
    ends = itertools.cycle([(tf.nn.relu, {}), (None, {}), (tf.nn.relu6, {"biases_initializer": None}), (tf.tanh, {})])
    for (stride, rate), padding, kernel in windows:
        for multiplier, outputs in itertools.product([1, 2], [None, 5]):
            activation, options = next(ends)
            yield slim.separable_conv2d(
                x, outputs, kernel, multiplier, stride, padding, rate=rate, activation_fn=activation, **options
            )


def convolutions(slim, variable_scope, x):
    cases = itertools.product([1, 2, [1, 2]], ["SAME", "VALID"], [1, 3, [2, 3]], [tf.nn.relu, None])
    for stride, padding, kernel, activation in cases:
        yield slim.conv2d(x, 5, kernel, stride, padding, activation_fn=activation)
    for rate in (2, [1, 3]):
        yield slim.conv2d(x, 5, 3, rate=rate, biases_initializer=None)
        yield slim.convolution(x, 5, 3, rate=rate, scope=f"rate_{rate if isinstance(rate, int) else 'pair'}")


def pools(slim, variable_scope, x):
    for pool, padding, kernel, stride in itertools.product(
        (slim.avg_pool2d, slim.max_pool2d), ("SAME", "VALID"), (2, [3, 2]), (1, 2)
    ):
        yield pool(x, kernel, stride, padding, outputs_collections="ends")


@pytest.mark.parametrize("program", [separables, convolutions, pools])
def test_sweeps_equal_slim(program):
    check(lambda *arguments: list(program(*arguments)), image(2, 9, 10, 3))


def default_scopes(slim, variable_scope, x):
    net = slim.conv2d(x, 4, 3)
    net = slim.separable_conv2d(net, 4, 3)
    net = slim.conv2d(net, 4, 3, scope="Conv_2")
    net = slim.conv2d(net, 4, 3)
    net = slim.separable_conv2d(net, None, 3)
    net = slim.conv2d(net, 4, 3)  # Conv_3, as Conv_2 is taken
    return slim.fully_connected(slim.fully_connected(net, 3), 3)


def nested_scopes(slim, variable_scope, x):
    with variable_scope("Net"):
        net = slim.conv2d(x, 4, 3)
        for _ in range(2):
            with variable_scope(None, "Block", [net]):
                net = slim.conv2d(net, 4, 3)
                net = slim.conv2d(net, 4, 3)
        with variable_scope("a/b") as scope:
            net = slim.conv2d(net, 4, 1)
        net = slim.conv2d(net, 4, 1, scope="c/d")
    net = slim.conv2d(net, 4, 1)
    with variable_scope(scope):
        return slim.conv2d(net, 4, 1, scope="e")


def shared(slim, variable_scope, x):
    first = slim.conv2d(x, 3, 3, scope="a")
    second = slim.conv2d(first, 3, 3, reuse=True, scope="a")
    with variable_scope("towers"):
        left = slim.repeat(first, 2, slim.separable_conv2d, 3, 3)
        left = slim.conv2d(left, 3, 3)
    with variable_scope("towers", reuse=True):
        right = slim.repeat(second, 2, slim.separable_conv2d, 3, 3)
        right = slim.conv2d(right, 3, 3)
    with variable_scope("towers", reuse=v1.AUTO_REUSE):
        both = slim.conv2d(right, 3, 3)
        both = slim.conv2d(both, 3, 3)  # Conv_1 is new
    return [first, second, left, right, both]


def scopes_within_layers(slim, variable_scope, x):
    """Argument scopes nest, an inner one and a call win; a scope can be kept and opened again."""
    with slim.arg_scope([slim.conv2d, slim.separable_conv2d], padding="VALID", activation_fn=tf.nn.relu6):
        net = slim.conv2d(x, 4, 3)
        with slim.arg_scope([slim.conv2d], activation_fn=None, padding="SAME") as kept:
            net = slim.conv2d(net, 4, 3)
            net = slim.separable_conv2d(net, 4, 3)
        net = slim.conv2d(net, 4, 3, activation_fn=tf.nn.elu)
    with slim.arg_scope(kept):
        return slim.conv2d(slim.separable_conv2d(net, 4, 3), 4, 3)


def repeated(slim, variable_scope, x):
    net = slim.repeat(x, 2, slim.conv2d, 4, [3, 3], scope="conv1")
    net = slim.repeat(net, 2, slim.separable_conv2d, 4, 3)
    net = slim.repeat(net, 2, slim.separable_conv2d, 4, 3)
    net = slim.stack(net, slim.conv2d, [(4, 3), (5, [1, 1])], scope="stacked")
    net = slim.stack(net, slim.conv2d, [(4, 3), (5, [1, 1])], padding="VALID")
    return slim.stack(slim.flatten(net), slim.fully_connected, [5, 4, 3], activation_fn=tf.nn.elu, scope="fc")


def collected(slim, variable_scope, x):
    with slim.arg_scope(
        [slim.conv2d, slim.separable_conv2d, slim.max_pool2d, slim.dropout, slim.flatten, slim.fully_connected],
        outputs_collections=["other", "ends"],
    ):
        with variable_scope("Net"):
            net = slim.conv2d(x, 4, 3)
            net = slim.separable_conv2d(net, None, 3, scope="dw")
            net = slim.max_pool2d(net, 2, scope="pool")
            net = slim.max_pool2d(net, 2, scope="pool")
        net = slim.flatten(slim.dropout(net, 0.7, is_training=False))
        net = slim.fully_connected(net, 5, activation_fn=None)
    return slim.softmax(net)


def every_rank(slim, variable_scope, x):
    return [
        slim.fully_connected(x, 4),
        slim.softmax(slim.fully_connected(slim.flatten(x), 4, biases_initializer=None)),
        slim.softmax(x),
        slim.flatten(slim.flatten(x)),
    ]


def normalized(slim, variable_scope, x):
    """The one way in which tf_slim's batch normalization runs today is with the updates in place."""
    params = {"is_training": False, "updates_collections": None, "outputs_collections": "ends"}
    with slim.arg_scope([slim.conv2d, slim.separable_conv2d], normalizer_fn=slim.batch_norm, normalizer_params=params):
        net = slim.conv2d(x, 4, 3, activation_fn=tf.nn.relu6, outputs_collections="ends")
        net = slim.separable_conv2d(net, None, 3, scope="dw")
        with slim.arg_scope([slim.batch_norm], scale=True, center=False, epsilon=0.1):
            net = slim.separable_conv2d(net, 4, 3, activation_fn=None, outputs_collections="ends")
        net = slim.batch_norm(net, activation_fn=tf.nn.relu, **params)
    return slim.batch_norm(slim.flatten(net), scale=True, **params)


@pytest.mark.parametrize(
    "program",
    [
        *(default_scopes, nested_scopes, shared, scopes_within_layers, repeated, collected, every_rank, normalized),
    ],
)
def test_programs_equal_slim(program):
    check(program, image(2, 12, 12, 3))


def test_tensorflow_scopes_prefix_names():
    """Code that keeps `tf.compat.v1.variable_scope` has the same names where it names its scopes."""

    def program(slim, variable_scope, x):
        with variable_scope("Net", "Default", [x]):
            net = slim.conv2d(x, 4, 3)
            with variable_scope("Block"):
                net = slim.repeat(net, 2, slim.conv2d, 4, 3)
            net = slim.max_pool2d(net, 2, outputs_collections="ends")
            return slim.conv2d(net, 4, 3)

    assert_same(ours(program, image(1, 8, 8, 3), v1.variable_scope)[0], theirs(program, image(1, 8, 8, 3)))


def test_comparison_fails_on_differences():
    one = theirs(default_scopes, image(1, 8, 8, 3))
    assert_same(one, one)
    name, value = next(iter(one.variables.items()))
    for other in (
        one._replace(variables={**one.variables, name: value[..., :1]}),
        one._replace(variables={k: v for k, v in one.variables.items() if k != name}),
        one._replace(ends=["Conv"]),
        one._replace(outputs=[]),
        one._replace(outputs=[one.outputs[0] * 1.001]),
        one._replace(outputs=[0 * one.outputs[0]]),
    ):
        with pytest.raises(AssertionError):
            assert_same(one, other)
    assert isinstance(one, Run)


def test_comparison_fails_on_other_weights():
    run, model = ours(default_scopes, image(1, 8, 8, 3))
    model.weights[0].assign(np.flip(model.weights[0], 0))
    with pytest.raises(AssertionError):
        assert_close(model(image(1, 8, 8, 3)), run.outputs[0], 1e-5)


FUNCTIONS = [
    *("separable_convolution2d", "separable_conv2d", "convolution", "convolution2d", "conv2d", "fully_connected"),
    *("batch_norm", "avg_pool2d", "max_pool2d", "dropout", "flatten", "softmax", "one_hot_encoding", "repeat", "stack"),
    *("xavier_initializer", "xavier_initializer_conv2d", "variance_scaling_initializer"),
    *("l1_regularizer", "l2_regularizer", "l1_l2_regularizer"),
    *("conv2d_transpose", "convolution2d_transpose", "bias_add", "group_norm", "instance_norm"),
    *("relu", "elu", "linear", "sum_regularizer", "apply_regularization"),
    *("conv1d", "convolution1d", "conv3d", "convolution3d", "conv2d_in_plane", "convolution2d_in_plane"),
    *("avg_pool3d", "max_pool3d", "pool", "maxout", "layer_norm", "unit_norm", "spatial_softmax"),
    *("layers.scale_gradient", "layers.poincare_normalize"),
    *("model_analyzer.analyze_ops", "model_analyzer.analyze_vars", "model_analyzer.tensor_description"),
    *("utils.last_dimension", "utils.channel_dimension", "utils.two_element_tuple"),
    *("get_variables", "get_model_variables", "get_trainable_variables", "get_variables_by_name"),
    *("get_variables_by_suffix", "get_unique_variable", "get_variables_to_restore"),
    *("utils.convert_collection_to_dict", "utils.collect_named_outputs"),
]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_equal_slim(name):
    mine, slims = (
        inspect.signature(eval(f"module.{name}", {"module": module})).parameters.values() for module in (slim, tf_slim)
    )
    assert [(p.name, p.kind) for p in mine] == [(p.name, p.kind) for p in slims]
    for own, other in zip(mine, slims, strict=True):
        if own.name.endswith("initializer") and other.default is not None:
            assert isinstance(own.default, keras.initializers.Initializer)
        else:
            assert own.default == other.default, own.name


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("outputs", [None, 4])
def test_stride_and_rate_together(outputs, multiplier):
    """Slim refuses them; here they are every other row and column of the result at stride 1."""

    def program(stride):
        return lambda slim, variable_scope, x: slim.separable_conv2d(
            x, outputs, 3, multiplier, stride, "VALID", rate=[2, 3]
        )

    dense, strided = (ours(program(stride), image(2, 13, 14, 3))[0] for stride in (1, (2, 3)))
    assert_close(strided.outputs[0], dense.outputs[0][:, ::2, ::3], 1e-5)


def test_channels_first():
    """NCHW is NHWC transposed, for everything that takes it."""

    def program(order):
        def run(slim, variable_scope, x):
            with slim.arg_scope(
                [slim.conv2d, slim.separable_conv2d, slim.batch_norm, slim.avg_pool2d, slim.max_pool2d],
                data_format=order,
            ):
                net = slim.conv2d(x, 4, 3, normalizer_fn=slim.batch_norm)
                net = slim.separable_conv2d(net, None, 3, rate=2)
                net = slim.separable_conv2d(net, 5, 3, stride=2)
                return slim.max_pool2d(slim.avg_pool2d(net, 2, 1), 2, 1, "SAME")

        return run

    x = image(2, 12, 11, 3)
    last, first = ours(program("NHWC"), x)[0], ours(program("NCHW"), x.transpose(0, 3, 1, 2))[0]
    assert_close(first.outputs[0].transpose(0, 2, 3, 1), last.outputs[0], 1e-5)


def test_kinds_of_collections():
    def program(slim, variable_scope, x):
        net = slim.conv2d(x, 4, 3, variables_collections={"weights": ["kernels"], "biases": ["offsets", "all"]})
        net = slim.separable_conv2d(net, 4, 3, variables_collections=["all"])
        net = slim.batch_norm(net, is_training=False, updates_collections=None, variables_collections={"beta": ["all"]})
        slim.conv2d(net, 4, 3, variables_collections={})
        if slim is tf_slim:
            found = [[v.op.name for v in v1.get_collection(key)] for key in ("kernels", "offsets", "all", "none")]
        else:
            named = slim.utils.convert_collection_to_dict
            found = [list(named(key)) for key in ("kernels", "offsets", "all", "none")]
            values = [value for key in ("kernels", "offsets") for value in named(key).values()]
            assert [id(v) for v in values] == [id(v) for v in slim.get_variables("Conv/")]
        collections.append(found)
        return net

    collections = []
    check(program, image(1, 8, 8, 3))
    assert collections[0] == collections[1]


def test_variables_have_slim_names():
    """What each query of the variables finds, by name, after the same program."""

    def program(slim, variable_scope, x):
        net = slim.conv2d(x, 4, 3, trainable=False)
        with variable_scope("weights"):
            net = slim.separable_conv2d(net, 4, 3)
            net = slim.batch_norm(net, scale=True, is_training=False, updates_collections=None)
        net = slim.fully_connected(net, 3, scope="Logits")
        name_of = (
            {id(v): name for name, v in slim.utils.convert_collection_to_dict("variables").items()}
            if slim is not tf_slim
            else {id(v): v.op.name for v in v1.global_variables()}
        )
        with variable_scope("weights") as scope:
            queries = (
                slim.get_variables(),
                slim.get_variables("weights"),
                slim.get_variables("weights/"),
                slim.get_variables(scope),
                slim.get_variables(suffix="weights"),
                slim.get_variables("Logits", "biases"),
                slim.get_variables_by_name("weights"),
                slim.get_variables_by_name("pointwise_weights", scope="weights"),
                slim.get_variables_by_name("wise_weights"),
                slim.get_variables_by_suffix("wise_weights"),
                slim.get_model_variables("Conv"),
                slim.get_trainable_variables(),
                slim.get_trainable_variables("weights", "gamma"),
                slim.get_variables_to_restore(),
                slim.get_variables_to_restore(["weights", "Logits"], ["weights/BatchNorm"]),
                [slim.get_unique_variable("Logits/weights")],
            )
        found.append([sorted(name_of[id(v)] for v in query) for query in queries])
        return net

    found = []
    check(program, image(1, 8, 8, 3))
    for i, (one, other) in enumerate(zip(*found, strict=True)):
        assert one == other, i
    assert sum(map(bool, found[0])) == len(found[0]) - 1, "only one query finds nothing"


@pytest.mark.parametrize("options", [{}, {"uniform": False}])
@pytest.mark.parametrize("shape", [(3, 3, 40, 300), (400, 800)])
def test_initializers_draw_like_slim(options, shape):
    for name, more in (
        ("xavier_initializer", {}),
        ("variance_scaling_initializer", {"mode": "FAN_OUT", "factor": 1.5}),
    ):
        ours = np.asarray(getattr(slim, name)(**more, **options, seed=1)(shape))
        slims = np.asarray(getattr(tf_slim, name)(**more, **options, seed=1)(shape))
        assert abs(np.std(ours) / np.std(slims) - 1) < 0.01  # six times what two samples of this size differ by
        assert abs(np.abs(ours).max() / np.abs(slims).max() - 1) < 1e-3


def test_truncated_normal_has_the_scale_of_slim():
    """Slim makes up for the cut by 1.3 and not by 1.2925: the bound of the cut tells."""
    bound = 2 * np.sqrt(1.3 * 2 / 1000)
    for module in (slim, tf_slim):
        drawn = np.abs(np.asarray(module.variance_scaling_initializer(seed=0)((1000, 3000)))).max()
        assert drawn <= bound * (1 + 1e-6)
        assert drawn > bound * (1 - 1e-4)


@pytest.mark.parametrize("scale", [0.0, 0.3])
def test_regularizers_equal_slim(scale):
    w = image(3, 4)
    for name, arguments in (
        *((name, (scale,)) for name in ("l1_regularizer", "l2_regularizer")),
        *(("l1_l2_regularizer", pair) for pair in ((scale, 0.2), (0.2, scale), (scale, scale))),
    ):
        ours, slims = (getattr(module, name)(*arguments) for module in (slim, tf_slim))
        expected = slims(tf.constant(w))
        if expected is None:
            assert ours is None
        else:
            assert_close(ours(w), expected, 1e-6, name)


def test_losses_equal_slim():
    def program(slim, variable_scope, x):
        with slim.arg_scope(
            [slim.conv2d, slim.separable_conv2d, slim.fully_connected],
            weights_regularizer=slim.l2_regularizer(0.1),
            biases_regularizer=slim.l1_regularizer(0.2),
        ):
            net = slim.separable_conv2d(slim.conv2d(x, 4, 3), 4, 3)
            net = slim.separable_conv2d(net, None, 3, weights_regularizer=None)
            net = slim.fully_connected(net, 3, weights_regularizer=slim.l1_l2_regularizer(0.1, 0.3))
        return [net, tf.add_n(v1.losses.get_regularization_losses())] if slim is tf_slim else net

    expected = theirs(program, image(1, 8, 8, 3)).outputs[1]
    assert_close(sum(ours(program, image(1, 8, 8, 3))[1].losses), expected, 1e-5)


def test_batch_norm_while_training():
    """By the batch's statistics, and the moving ones follow, without the correction of slim's kernel."""

    def program(slim, variable_scope, x):
        return slim.batch_norm(x, decay=0.8, scale=True, updates_collections=None)

    x = image(2, 6, 5, 3) * 2 + 1
    expected = theirs(program, x).outputs[0]
    run, model = ours(program, x)
    before = run.variables
    assert_close(model(x, training=True), expected, 1e-5)
    after = {name: np.asarray(v) for name, v in slim.utils.convert_collection_to_dict("variables").items()}
    for name, batch in (("moving_mean", x.mean((0, 1, 2))), ("moving_variance", x.var((0, 1, 2)))):
        assert_close(after[f"BatchNorm/{name}"], 0.8 * before[f"BatchNorm/{name}"] + 0.2 * batch, 1e-5, name)


def test_one_hot_encoding():
    labels = np.array([2, 0, 1])
    for options in ({}, {"on_value": 0.9, "off_value": 0.05}):
        expected = tf_slim.one_hot_encoding(labels, 4, **options)
        assert_close(slim.one_hot_encoding(labels, 4, **options), expected, 1e-6)
        x = keras.Input((), dtype="int32")
        y = slim.one_hot_encoding(x, 4, **options, outputs_collections="ends")
        assert_close(keras.Model(x, y)(labels), expected, 1e-6)
        assert list(slim.utils.convert_collection_to_dict("ends")) == ["OneHotEncoding"]
