"""Slim code as people have it: builders with TensorFlow between slim's functions, and the networks of tf_slim."""

import re
import sys
import types
from operator import attrgetter
from pathlib import Path

import keras
import numpy as np
import pytest
import slim_programs
import tensorflow as tf
import tf_slim
from checks import assert_close, assert_refused, assert_sentence
from conftest import ROOT
from slim_programs import assert_same, check, image, ours, theirs

from tfsep import Conv, models, slim

v1 = tf.compat.v1


def in_tensorflow_scopes(program, x):
    """Assert that a program in scopes of TensorFlow's own, ends the same by tf_slim and here."""
    run, model = ours(program, x, v1.variable_scope)
    assert_same(run, theirs(program, x))
    return model


def test_builder_in_slims_idiom():
    """Shapes by `get_shape`, padding, pooling, squeezing and softmax by TensorFlow, reuse in its scopes."""
    model = in_tensorflow_scopes(slim_programs.builder_twice, image(2, 16, 16, 3))
    assert [layer.name for layer in model.layers if layer.name.endswith(".expand")] == ["Net.Block.expand"]


def loaded(path, is_slims, monkeypatch):
    """A file of slim code as a module, on slim itself or, with its import of tf_slim changed, here."""
    kind = "slims" if is_slims else "moved"
    name = f"{kind}_{path.stem}"
    module = types.ModuleType(name)
    # The package of tf_slim's networks imports tf_keras.
    text = re.sub(r"from tf_slim\.nets import (\w+)", rf"import {kind}_\1 as \1", path.read_text())
    if not is_slims:
        text = re.sub(r"from tf_slim(\.layers|\.ops\.arg_scope)? import", "from tfsep.slim import", text)
        text = text.replace("import tf_slim as slim", "from tfsep import slim")
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(text, path.name, "exec"), module.__dict__)
    return module


@pytest.fixture
def network(monkeypatch):
    """Loads a network that tf_slim ships."""
    folder = Path(tf_slim.__file__).parent / "nets"
    return lambda name, slim: loaded(folder / f"{name}.py", slim is tf_slim, monkeypatch)


def in_place(slim):
    """A scope in which tf_slim's batch normalization runs today: its updates are in place."""
    return slim.arg_scope([slim.conv2d], normalizer_params={"updates_collections": None, "scale": True})


@pytest.mark.parametrize("name", [pytest.param("resnet_v1", marks=pytest.mark.slow), "resnet_v2"])
def test_residual_networks_of_tf_slim_run_unchanged(name, network):
    def program(slim, variable_scope, x):
        utils, builders = (network(file, slim) for file in ("resnet_utils", name))
        blocks = [getattr(builders, f"{name}_block")(f"block{i}", 4 * i, 2, 3 - i) for i in (1, 2)]
        with (
            slim.arg_scope(utils.resnet_arg_scope()),
            slim.arg_scope([slim.batch_norm], updates_collections=None),
            in_place(slim),
        ):
            net, end_points = getattr(builders, name)(x, blocks, 5, is_training=False, output_stride=4)
        names.append(list(end_points))
        return net

    names = []
    in_tensorflow_scopes(program, image(2, 32, 32, 3))
    assert names[0] == names[1]


NETWORKS = {
    "inception_v1": ("inception_v1", 224, {}),
    "inception_v2": ("inception_v2", 64, {"depth_multiplier": 0.1}),
    "inception_v3": ("inception_v3", 107, {"depth_multiplier": 0.1, "create_aux_logits": False}),
    "alexnet_v2": ("alexnet", 224, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_tf_slim_run_unchanged(name, network):
    """With their end points: names, shapes and numbers."""
    file, size, options = NETWORKS[name]

    def program(slim, variable_scope, x):
        module = network(file, slim)
        with slim.arg_scope(getattr(module, f"{name}_arg_scope")()), in_place(slim):
            logits, end_points = getattr(module, name)(x, 5, is_training=False, **options)
        names.append(list(end_points))
        return [logits, *end_points.values()]

    names = []
    in_tensorflow_scopes(program, image(1, size, size, 3))
    assert names[0] == names[1]
    assert len(names[0]) > 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`layer.apply`")
@pytest.mark.parametrize("name", ["vgg_a", "vgg_16", "vgg_19", "overfeat"])
def test_large_networks_of_tf_slim_run_unchanged(name, network):
    """Variables, end points and their shapes, as a hundred million numbers take long."""

    def built(slim, x):
        module = network(name.split("_")[0], slim)
        with slim.arg_scope(getattr(module, f"{name.split('_')[0]}_arg_scope")()):
            _, end_points = getattr(module, name)(x, 5, is_training=False)
        variables = slim.get_model_variables()
        names = [v.op.name for v in variables] if slim is tf_slim else list(convert("variables"))
        ends = {key: tuple(tensor.shape) for key, tensor in end_points.items()}
        return dict(zip(names, (tuple(v.shape) for v in variables), strict=True)), ends

    convert = slim.utils.convert_collection_to_dict
    size = 231 if name == "overfeat" else 224
    with tf.Graph().as_default():
        expected = built(tf_slim, v1.placeholder("float32", (1, size, size, 3)))
    assert built(slim, keras.Input((size, size, 3), batch_size=1)) == expected
    assert len(expected[0]) >= 16


PADDED = {
    "use_explicit_padding": True,
    "depth_multiplier": 0.25,
    "output_stride": 4,
    "final_endpoint": "Conv2d_4_pointwise",
    "scope": "Padded",
}


@pytest.mark.parametrize("builder", ["mobilenet_v1_base", pytest.param("mobilenet_v1_025", marks=pytest.mark.slow)])
def test_mobilenet_of_slim_runs_with_one_changed_import(builder, monkeypatch):
    def program(slim, variable_scope, x):
        module = loaded(ROOT / "tests" / "slim_mobilenet_v1.py", slim is tf_slim, monkeypatch)
        with slim.arg_scope(module.mobilenet_v1_arg_scope(is_training=False, batch_norm_updates_collections=None)):
            if builder == "mobilenet_v1_base":
                return list(module.mobilenet_v1_base(x, **PADDED)[1].values())
            first = module.mobilenet_v1_025(x, 5, is_training=False)
            second = module.mobilenet_v1_025(tf.nn.relu(x), 5, is_training=False, global_pool=True, reuse=True)
        names.append([list(end_points) for _, end_points in (first, second)])
        return [first[0], *first[1].values(), second[0]]

    names = []
    in_tensorflow_scopes(program, image(1, 32, 32, 3))
    assert names[:1] == names[1:]


def test_arg_scope_takes_the_settings_of_models():
    with slim.arg_scope(models.mobilenet_v1_arg_scope(is_training=False, weight_decay=0.1, batch_norm_epsilon=0.5)):
        inputs = keras.Input((8, 8, 3))
        net = slim.separable_conv2d(slim.conv2d(inputs, 4, 3), None, 3)
        logits, end_points = models.mobilenet_v1(keras.Input((32, 32, 3)), 5, depth_multiplier=0.25)
    for model in (keras.Model(inputs, net), keras.Model(end_points["Conv2d_0"], end_points["Conv2d_1_depthwise"])):
        kinds = {type(layer).__name__: layer for layer in model.layers}
        normalization = kinds["BatchNormalization"]
        assert (normalization.frozen, normalization.epsilon, normalization.momentum) == (True, 0.5, 0.9997)
        assert kinds["DepthwiseConv2D"].depthwise_regularizer is None
        assert kinds["Activation"].get_config()["activation"] == "relu6"
    assert keras.Model(inputs, net).layers[1].kernel_regularizer.l2 == np.float32(0.05)
    drops = [layer.rate for layer in keras.Model(end_points["Conv2d_0"], logits).layers if "Dropout" in layer.name]
    assert drops == [0]
    after = models.mobilenet_v1(keras.Input((32, 32, 3)), 5, depth_multiplier=0.25)[1]
    assert not keras.Model(after["Conv2d_0"], after["Conv2d_1_depthwise"]).layers[2].frozen
    with (
        pytest.raises(ValueError, match="list_ops_or_scope") as error,
        slim.arg_scope(models.mobilenet_v1_arg_scope(), padding="SAME"),
    ):
        pass
    assert_sentence(error.value, "list_ops_or_scope")


def test_training_scope_of_later_mobilenets():
    """As slim's own: what it drops and how statistics move, and no activation, which definitions have."""
    with slim.arg_scope(models.training_scope(dropout_keep_prob=0.7)):
        inputs = keras.Input((8, 8, 3))
        net = slim.dropout(slim.conv2d(inputs, 4, 3))
        logits, _ = models.mobilenet_v2(inputs, 5, conv_defs=[Conv(3, 1, 8)])
    for model in (keras.Model(inputs, net), keras.Model(inputs, logits)):
        kinds = {type(layer).__name__: layer for layer in model.layers}
        assert kinds["BatchNormalization"].momentum == 0.997
        assert kinds["Dropout"].rate == pytest.approx(0.3)
    activations = [
        layer.get_config()["activation"]
        for result in (net, logits)
        for layer in keras.Model(inputs, result).layers
        if isinstance(layer, keras.layers.Activation)
    ]
    assert activations == ["relu", "relu6"]


@pytest.mark.parametrize("is_training", [None, True, False])
def test_is_training_of_models(is_training):
    def normalizations(**options):
        _, end_points = models.mobilenet_v1(
            keras.Input((32, 32, 3)), None, depth_multiplier=0.25, is_training=is_training, **options
        )
        layers = keras.Model(end_points["Conv2d_0"], end_points["Conv2d_1_depthwise"]).layers
        return [layer.frozen for layer in layers if "BatchNorm" in layer.name]

    assert normalizations() == [is_training is False]
    fixed = models.mobilenet_v1_arg_scope(is_training=False)
    assert normalizations(arg_scope=fixed) == [is_training is not True]


def test_reuse_of_models():
    left, right = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
    options = {"depth_multiplier": 0.25, "scope": "towers/one"}
    first = models.mobilenet_v1(left, 5, **options)[0]
    second = models.mobilenet_v1(right, 5, reuse=True, **options)[0]
    both = keras.Model([left, right], [first, second])
    assert both.count_params() == keras.Model(left, first).count_params()
    x = image(1, 32, 32, 3)
    assert_close(*both([x, x]), 1e-6)
    for reuse in (None, False):
        other = models.mobilenet_v1(left, 5, reuse=reuse, **options)[0]
        layers = (keras.Model(left, logits).get_layer("towers.one.Conv2d_0") for logits in (first, other))
        assert len({id(layer) for layer in layers}) == 2
        del other
    assert models.mobilenet_v1(left, 5, reuse=v1.AUTO_REUSE, **{**options, "scope": "new"})[0].shape == (None, 5)
    for wrong in ({"scope": "never"}, {**options, "num_classes": 6}):
        with pytest.raises(ValueError, match="reuse") as error:
            models.mobilenet_v1(left, **{"num_classes": 5, **wrong}, reuse=True)
        assert_sentence(error.value, "reuse")
    with pytest.raises(ValueError, match="yes") as error:
        models.mobilenet_v1(left, reuse="yes")
    assert_sentence(error.value, "reuse")
    with pytest.raises(ValueError, match="got 1") as error:
        models.mobilenet_v1(left, is_training=1)
    assert_sentence(error.value, "is_training")


def more_layers(slim, variable_scope, x):
    for stride, padding in ((1, "SAME"), (2, "SAME"), ([2, 3], "VALID")):
        yield slim.conv2d_transpose(x, 4, [3, 2], stride, padding)
    yield slim.conv2d_transpose(x, 4, 3, 2, activation_fn=None, biases_initializer=None, scope="up")
    yield slim.layers.bias_add(x, tf.nn.relu)
    yield slim.bias_add(slim.flatten(x), scope="offset", outputs_collections="ends")
    yield slim.instance_norm(x)
    yield slim.group_norm(slim.conv2d(x, 8, 1), groups=4, activation_fn=tf.nn.relu, outputs_collections="ends")
    for layer in (slim.relu, slim.relu6, slim.elu, slim.linear):
        yield layer(slim.flatten(x), 5)


def test_more_layers_equal_slim():
    check(lambda *arguments: list(more_layers(*arguments)), image(2, 6, 5, 3))


def test_bias_add_saves_and_shares(tmp_path):
    x = keras.Input((3, 8, 8))
    first = slim.bias_add(x, data_format="NCHW", scope="b", regularizer=slim.l2_regularizer(0.1))
    model = keras.Model(x, slim.bias_add(first, data_format="NCHW", scope="b", reuse=True))
    model.layers[1].bias.assign([1, 2, 3])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    y = image(2, 3, 8, 8)
    assert_close(again(y), y + 2 * np.arange(1, 4).reshape(3, 1, 1), 1e-6)
    assert_close(again.losses[0], 0.1 * 14 / 2, 1e-6)


def test_regularizers_are_summed_as_in_slim():
    w = [tf.constant(image(3, 4)), tf.constant(image(5))]
    results = []
    for module in (slim, tf_slim):
        both = module.sum_regularizer([module.l1_regularizer(0.2), None, module.l2_regularizer(0.1)])
        results.append((both(w[0]), module.apply_regularization(both, w)))
        assert module.sum_regularizer([None, None]) is None
        with pytest.raises(ValueError, match="weights"):
            module.apply_regularization(both)
    assert_close(results[0], results[1], 1e-6)
    restored = keras.regularizers.deserialize(
        keras.regularizers.serialize(slim.sum_regularizer([keras.regularizers.L2()]))
    )
    assert_close(restored(w[1]), keras.regularizers.L2()(w[1]), 1e-6)
    assert_refused(lambda: slim.sum_regularizer([3]), "regularizer_list", TypeError)
    assert_refused(lambda: slim.apply_regularization(None, w), "regularizer", TypeError)


def test_model_analyzer():
    def program(slim, variable_scope, x):
        net = slim.conv2d(x, 4, 3)
        net = slim.fully_connected(slim.flatten(net), 3)
        variables = slim.get_model_variables()
        found.append(slim.model_analyzer.analyze_vars(variables))
        found.append([slim.model_analyzer.tensor_description(v) for v in (*variables, net)])
        return net

    found = []
    check(program, image(2, 6, 5, 3))
    assert found[:2] == found[2:]
    x = keras.Input((6, 5, 3), batch_size=2)
    assert slim.model_analyzer.analyze_ops(keras.Model(x, slim.conv2d(x, 4, 3, activation_fn=None))) == 2 * 30 * 7
    with pytest.raises(TypeError) as error:
        slim.model_analyzer.analyze_ops(None)
    assert_sentence(error.value, "graph")


FUNCTIONS = {
    "squeeze": lambda x: v1.squeeze(v1.reduce_mean(x, [1, 2], keep_dims=True), [1, 2], name="gone"),
    "squeeze of all": lambda x: tf.squeeze(tf.reduce_max(x, -1, keepdims=True)),
    "means": lambda x: tf.reduce_mean(x, axis=[1, 2]),
    "mean of channels": lambda x: v1.reduce_mean(x, reduction_indices=3),
    "sum": lambda x: tf.reduce_sum(x, [1, 2], keepdims=True),
    "maximum": lambda x: tf.reduce_max(x, (1, 2)),
    "pads": lambda x: tf.pad(x, [[0, 0], [1, 0], [2, 1], [0, 0]]),
    "pad with a constant": lambda x: v1.pad(x, [[0, 0], [1, 0], [2, 1], [1, 0]], constant_values=3),
    "reflection": lambda x: tf.pad(x, tf.constant([[0, 0], [1, 1], [1, 1], [0, 0]]), "REFLECT"),
    "concat": lambda x: tf.concat([x, -x], 3, name="both"),
    "concat by name": lambda x: tf.concat(axis=-1, values=(x, x)),
    "split": lambda x: tf.split(x, [1, 2], axis=3)[1],
    "split in parts": lambda x: tf.split(x, 3, 3, name="parts")[2],
    "average pool": lambda x: v1.nn.avg_pool(x, ksize=[1, 2, 3, 1], strides=[1, 2, 1, 1], padding="SAME"),
    "maximum pool": lambda x: tf.nn.max_pool(x, 2, 2, "VALID", name="pool"),
    "pool by the old name": lambda x: v1.nn.max_pool(value=x, ksize=2, strides=1, padding="VALID"),
    "reshape": lambda x: tf.reshape(x, [-1, 90]),
    "reshape of the batch": lambda x: tf.reshape(x, [2, 6, 15]),
    "transpose": lambda x: tf.transpose(x, [0, 3, 1, 2]),
    "hard swish": lambda x: x * tf.nn.relu6(x + np.float32(3)) * np.float32(1 / 6),
    "leaky": lambda x: tf.nn.leaky_relu(x, alpha=0.3) + tf.nn.leaky_relu(x),
    "softmax of rows": lambda x: v1.nn.softmax(x, dim=1),
    "softmax": lambda x: tf.nn.softmax(x, name="probabilities"),
    "identity": lambda x: tf.identity(x, "output"),
    "arithmetic": lambda x: tf.sqrt(tf.add(tf.multiply(x, x), 1.0)) + tf.maximum(x, 0.0) + tf.exp(tf.abs(x)),
    "sum of several": lambda x: tf.add_n([x, x, x]),
    "unit vectors": lambda x: tf.nn.l2_normalize(x, 3) + v1.nn.l2_normalize(x, dim=[1, 2], epsilon=2.0),
    "sigmoid": lambda x: tf.sigmoid(x) + tf.tanh(x) + tf.nn.elu(x),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_tensorflow_on_keras_tensors(function):
    value = image(2, 6, 5, 3)
    x = keras.Input(batch_shape=(2, 6, 5, 3))
    model = keras.Model(x, function(x))
    assert_close(model(value), function(tf.constant(value)), 1e-5)
    assert tuple(model.outputs[0].shape) == function(tf.constant(value)).shape


def test_operations_have_names_that_no_layer_has():
    """Not Keras's, whose numbers count all models of a process: a layer of the same function may have such a one."""
    x = keras.Input((6, 5, 3))
    leaky = tf.nn.leaky_relu(x, alpha=0.3)
    model = keras.Model(x, tf.nn.leaky_relu(leaky) + tf.nn.l2_normalize(leaky, 3) + tf.squeeze(x[:, :1], 1))
    names = [operation.name for operation in model.operations]
    assert names.count("leaky_relu") == names.count("leaky_relu_1") == names.count("l2_normalize") == 1
    assert sum(name.startswith("l2_normalize.") for name in names) == 4


def test_tensors_tell_their_shape():
    x = keras.Input((6, None, 3))
    assert x.get_shape().as_list() == [None, 6, None, 3]
    x.set_shape([None, 6, 5, 3])
    with pytest.raises(ValueError, match="incompatible"):
        x.set_shape([None, 7, 5, 3])


REFUSED = {
    "tf.cumsum": tf.cumsum,
    "tf.math.erf": tf.math.erf,
    "tf.shape": tf.shape,
    "tf.one_hot": lambda x: tf.one_hot(x, 3),
    "tf.nn.lrn": tf.nn.lrn,
    "tf.image.resize": lambda x: tf.image.resize(x, (3, 3)),
    "tf.compat.v1.image.resize_images": lambda x: v1.image.resize_images(x, (3, 3)),
    "tf.compat.v1.image.resize_bilinear": lambda x: v1.image.resize_bilinear(x, (3, 3), align_corners=True),
    "tf.math.reduce_std": tf.math.reduce_std,
}


def test_other_functions_of_tensorflow_are_refused():
    """By the name that code calls them by."""
    x = keras.Input((6, 5, 3))
    for name, function in REFUSED.items():
        assert_refused(lambda function=function: function(x), name, TypeError)
        assert callable(attrgetter(name[3:])(tf))
    with pytest.raises(tf.errors.InvalidArgumentError):  # what is no Keras tensor fails as ever
        tf.concat([tf.constant([1.0]), tf.constant("a")], 0)


def test_arg_scope_of_ones_own_functions():
    @slim.add_arg_scope
    def block(x, width=1):
        return width

    with slim.arg_scope([block], width=3) as scope:
        assert block(None) == 3
    assert scope[slim.arg_scope_func_key(block)] == {"width": 3}
    assert slim.arg_scoped_arguments(block) == ("width",)
