"""Models built by slim code: checkpoints, graphs that come and go, and the whole way from training to a file."""

import functools
import gc
import threading
import weakref
from pathlib import Path

import keras
import numpy as np
import pytest
import slim_mobilenet_v1
import slim_reference
import tensorflow as tf
from checks import assert_close, assert_sentence
from slim_programs import image

from tfsep import MOBILENETV1_CONV_DEFS, models, slim, surgery, tflite, weights
from tfsep.cost import cost

v1 = tf.compat.v1


def mobilenet(size=128, classes=1001):
    """MobileNet v1 by slim's code, with one changed import."""
    code = Path(slim_mobilenet_v1.__file__).read_text().replace("import tf_slim as slim", "from tfsep import slim")
    exec(code, moved := {})
    inputs = keras.Input((size, size, 3))
    with slim.arg_scope(moved["mobilenet_v1_arg_scope"](is_training=True)):
        return keras.Model(inputs, moved["mobilenet_v1_025"](inputs, classes)[1])


def test_mobilenet_in_slim_code_equals_models_mobilenet():
    """The same names, shapes, losses and numbers as the builder's."""
    ours = mobilenet(64, 7)
    inputs = keras.Input((64, 64, 3))
    built = keras.Model(inputs, models.mobilenet_v1_025(inputs, 7)[1])
    names = weights.slim_variables(built)
    assert {k: v.shape for k, v in weights.slim_variables(ours).items()} == {k: v.shape for k, v in names.items()}
    assert list(weights.slim_variables(ours)) == list(slim.utils.convert_collection_to_dict("variables"))
    for name, variable in weights.slim_variables(ours).items():
        variable.assign(names[name])
    assert_close(sum(ours.losses), sum(built.losses), 1e-6)
    x = image(2, 64, 64, 3)
    expected, actual = built(x), ours(x)
    assert list(expected) == list(actual)
    for name in expected:
        assert_close(actual[name], expected[name], 1e-6, name)


def test_slim_checkpoint_loads_into_slim_code(fixtures):
    """Slim's checkpoint, and what slim computed from it on TF 2.12, where float32 has not yet drifted."""
    folder = fixtures / "slim_mobilenet_v1_025_128"
    model = mobilenet()
    weights.load_slim_checkpoint(model, folder / "model.ckpt")
    with np.load(folder / "io.npz") as stored:
        ours = model(stored["input"].astype("float32"))
        for name in ("Conv2d_0", "Conv2d_5_pointwise"):
            assert_close(ours[name], stored[name], 1e-4, name)


def test_slim_checkpoint_loads_into_slim_code_in_float64(fixtures):
    """Without rounding in the way, every end point of slim's network."""
    folder = fixtures / "slim_mobilenet_v1_025_128"
    reader = tf.train.load_checkpoint(str(folder / "model.ckpt"))
    with np.load(folder / "io.npz") as stored:
        x = stored["input"].astype("float64")
    expected, _ = slim_reference.evaluate(
        x, lambda name, _: reader.get_tensor(name), MOBILENETV1_CONV_DEFS, multiplier=0.25, num_classes=1001
    )
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        model = mobilenet()
    finally:
        keras.config.set_dtype_policy(policy)
    weights.load_slim_checkpoint(model, folder / "model.ckpt")
    ours = model(x)
    for name in set(expected) - {"AvgPool_1a"}:
        assert_close(ours[name], expected[name].reshape(ours[name].shape), 1e-9, name)


def small(x, is_training=True):
    with (
        slim.arg_scope([slim.conv2d, slim.separable_conv2d], normalizer_fn=slim.batch_norm, activation_fn=tf.nn.relu6),
        slim.arg_scope([slim.conv2d, slim.fully_connected], weights_regularizer=slim.l2_regularizer(1e-3)),
        slim.arg_scope([slim.batch_norm, slim.dropout], is_training=is_training),
        slim.arg_scope([slim.batch_norm], decay=0.5),
    ):
        net = slim.conv2d(x, 8, 3, stride=2, scope="first")
        net = slim.separable_conv2d(net, None, 3, rate=2)
        net = slim.separable_conv2d(net, 8, 3, pointwise_initializer=v1.random_normal_initializer(stddev=0.3))
        net = slim.repeat(net, 2, slim.conv2d, 8, 1, activation_fn=tf.nn.elu)
        net = slim.dropout(slim.flatten(slim.max_pool2d(net, 2)), 0.8)
        net = slim.fully_connected(net, 4, activation_fn=None, biases_initializer=tf.constant_initializer(0.1))
        return slim.softmax(net)


def small_model(**options):
    x = keras.Input((16, 16, 3))
    return keras.Model(x, small(x, **options))


def fitted(model):
    rng = np.random.default_rng(0)
    model.compile("sgd", "categorical_crossentropy")
    model.fit(rng.normal(size=(16, 16, 16, 3)), np.eye(4)[rng.integers(0, 4, 16)], batch_size=8, verbose=0)
    return model


@pytest.mark.parametrize("is_training", [True, None, False])
def test_training(is_training):
    """Everything trained moves in `fit`; the statistics move unless slim's code says that it does not train."""
    model = small_model(is_training=is_training)
    before = {name: np.array(v) for name, v in weights.slim_variables(model).items()}
    fitted(model)
    for name, variable in weights.slim_variables(model).items():
        still = np.array_equal(before[name], variable)
        assert still == (is_training is False and "moving" in name), name
    x = image(2, 16, 16, 3)
    assert np.array_equal(model(x, training=True), model(x, training=True)) == (is_training is False)


@pytest.mark.parametrize("is_training", [True, False])
def test_saving_and_loading(is_training, tmp_path):
    model = fitted(small_model(is_training=is_training))
    model.save(tmp_path / "model.keras")
    loaded = models.load_model(tmp_path / "model.keras")
    assert list(weights.slim_variables(loaded)) == list(weights.slim_variables(model))
    x = image(2, 16, 16, 3)
    for training in (False, *([True] if not is_training else [])):
        assert_close(loaded(x, training=training), model(x, training=training), 1e-6)
    assert_close(sum(loaded.losses), sum(model.losses), 1e-6)
    fitted(loaded)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_keras_dtype_policy_sets_precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = fitted(small_model())
    finally:
        keras.config.set_dtype_policy(before)
    policy = keras.dtype_policies.get(policy)
    assert {v.dtype for v in slim.get_variables()} == {policy.variable_dtype}
    assert model(image(2, 16, 16, 3)).dtype.name == policy.compute_dtype


def test_files_cost_and_folding(tmp_path):
    model = fitted(small_model())
    x = image(64, 16, 16, 3)
    for recipe in ("float32", "int8"):
        report = tflite.export(model, tmp_path / f"{recipe}.tflite", recipe, calibration=x)  # raises unless verified
        assert not {"SPACE_TO_BATCH_ND", "SHAPE", "PACK"} & set(report.ops)
    found = cost(model)
    assert found.params == model.count_params()
    depthwise, separable = 8 * 8 * 8 * 9, 8 * 8 * 8 * 9 + 8 * 8 * 8 * 8
    assert found.macs == 8 * 8 * 8 * 27 + depthwise + separable + 2 * 8 * 8 * 8 * 8 + 4 * 4 * 8 * 4
    assert_close(surgery.fold_batch_norm(model)(x), model(x), 1e-5)


def names(model):
    return [layer.name for layer in model.layers[1:]]


def test_successive_models_restart_layer_names():
    first = small_model()
    assert "SeparableConv2d_1" in names(first)
    assert names(small_model()) == names(first)
    x = keras.Input((16, 16, 3))
    one = keras.Model(x, small(x))
    with slim.Graph():  # two models on one input
        other = keras.Model(x, small(x))
    assert names(one) == names(other) == names(first)
    assert not {id(v) for v in one.weights} & {id(v) for v in other.weights}


def test_graph_is_freed_with_its_model():
    graphs, latest = [], slim.Graph()
    for i in range(4):
        if i % 2:
            with slim.Graph() as latest:
                model = small_model()
        else:
            model = small_model()
        graphs += [weakref.ref(model), weakref.ref(latest)]
    assert len(slim.get_variables()) == len(model.weights)
    del model, latest
    gc.collect()
    assert [graph() for graph in graphs] == [None] * 8
    assert slim.get_variables() == []


def test_several_inputs():
    def build():
        one, two, three = keras.Input((8,)), keras.Input((8,)), keras.Input((4,))
        net = slim.fully_connected(one, 4) + slim.fully_connected(two, 4)
        net = slim.fully_connected(keras.layers.Concatenate()([net, three]), 4)
        return keras.Model([one, two, three], net)

    with slim.Graph():
        model = build()
        assert list(weights.slim_variables(model)) == list(slim.utils.convert_collection_to_dict("variables"))
    with pytest.raises(ValueError, match=r"^inputs: expected a tensor of one graph, got one made of 2: ") as error:
        build()
    assert "slim.Graph()" in str(error.value)


def test_input_joined_later():
    one, two = keras.Input((8,)), keras.Input((4,))
    net = slim.fully_connected(keras.layers.Concatenate()([slim.fully_connected(one, 4), two]), 4)
    net = keras.ops.relu(net) + slim.fully_connected(two, 4)
    assert len(slim.get_variables("fully_connected(_[12])?/weights")) == 3
    assert keras.Model([one, two], net).count_params() == 36 + 36 + 20


def test_nested_graphs():
    x = keras.Input((8,))
    with slim.Graph() as outer:
        net = slim.fully_connected(x, 4)
        with slim.Graph():
            slim.fully_connected(x, 4)
            assert len(slim.get_variables()) == 2
        net = slim.fully_connected(net, 4)
        with outer:
            assert len(slim.get_variables()) == 4
    slim.fully_connected(net, 4)
    assert len(slim.get_variables("fully_connected_2")) == 2


def test_joining_many_inputs_is_fast():
    """2⁶⁰ paths lead from the end to the input, each behind layers that slim does not know."""
    net = x = keras.Input((8,))
    for _ in range(60):
        net = keras.ops.relu(net) + keras.ops.tanh(net)
    assert slim.fully_connected(net, 4).shape == (None, 4)
    assert slim.fully_connected(x, 4, scope="other").shape == (None, 4)
    assert len(slim.get_variables()) == 4


def test_threads_build_separate_models():
    models_, errors = {}, []

    def build(i):
        try:
            for _ in range(3):
                models_[i] = small_model()
                assert len(slim.get_variables()) == len(models_[i].weights)
        except AssertionError as error:
            errors.append(error)

    threads = [threading.Thread(target=build, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert names(models_[0]) == names(models_[1])


@pytest.mark.parametrize(
    "name",
    [
        *("relu", "relu6", "elu", "selu", "leaky_relu", "sigmoid", "tanh", "softplus", "softsign", "swish", "silu"),
        *("gelu", "softmax", "log_softmax", "identity"),
    ],
)
def test_tensorflow_activations_become_keras_activations(name, tmp_path):
    for module in (tf.nn, v1.nn, tf, v1):
        function = getattr(module, name, None)
        if function is None:
            continue
        x = keras.Input((8,))
        y = slim.fully_connected(
            x, 8, function, weights_initializer=keras.initializers.Identity(), biases_initializer=None
        )
        model = keras.Model(x, y)
        assert_close(model(4 * image(3, 8)), function(tf.constant(4 * image(3, 8))), 1e-6, str(module))
        model.save(tmp_path / "model.keras")
        assert_close(keras.models.load_model(tmp_path / "model.keras")(image(3, 8)), model(image(3, 8)), 1e-6)


def cube(x):
    return x**3


@pytest.mark.parametrize(
    "function",
    [cube, functools.partial(tf.nn.leaky_relu, alpha=0.5), lambda x: tf.nn.crelu(x)[..., :8], "relu", keras.ops.cos],
)
def test_other_activations(function):
    x = keras.Input((8,))
    y = slim.fully_connected(x, 8, function, weights_initializer="identity", biases_initializer=None)
    expected = keras.activations.get(function)(tf.constant(image(3, 8)))
    assert_close(keras.Model(x, y)(image(3, 8)), expected, 1e-6)


def test_layers_as_activations():
    x = keras.Input((8,))
    y = slim.fully_connected(x, 8, keras.layers.PReLU(keras.initializers.Constant(0.5)), scope="fc")
    y = slim.fully_connected(y, 8, slim.batch_norm, scope="bn")
    assert [tuple(v.shape) for v in slim.get_variables("bn/BatchNorm")] == [(8,)] * 3
    assert keras.Model(x, y).count_params() == 72 + 8 + 72 + 24


INITIALIZERS = {
    "slim's": (slim.variance_scaling_initializer(), np.sqrt(1.3 * 2 / 400) * 0.8796),
    "slim's uniform": (slim.xavier_initializer(), np.sqrt(2 / 800)),
    "Keras's": (keras.initializers.RandomNormal(stddev=0.2), 0.2),
    "Keras's name": ("lecun_normal", np.sqrt(1 / 400)),
    "v1 truncated normal": (v1.truncated_normal_initializer(stddev=0.09), 0.09 * 0.8796),
    "v1 random normal": (v1.random_normal_initializer(0.0, 0.3), 0.3),
    "v1 random uniform": (v1.random_uniform_initializer(-0.1, 0.1), 0.1 / np.sqrt(3)),
    "v1 random uniform, [0, 1)": (v1.random_uniform_initializer(), 1 / np.sqrt(12)),
    "v1 variance scaling": (v1.variance_scaling_initializer(2.0), np.sqrt(2 / 400)),
    "v1 glorot": (v1.glorot_uniform_initializer(), np.sqrt(2 / 800)),
    "v1 orthogonal": (v1.orthogonal_initializer(), np.sqrt(1 / 400)),
    "v2 random normal": (tf.random_normal_initializer(stddev=0.3), 0.3),
    "v2 random uniform": (tf.random_uniform_initializer(), 0.05 / np.sqrt(3)),
    "None": (None, np.sqrt(2 / 800)),
    "a function": (lambda shape, dtype: tf.random.normal(shape, stddev=0.4, dtype=dtype), 0.4),
    "a function of TensorFlow 1": (v1.uniform_unit_scaling_initializer(), np.sqrt(1 / 400)),
}


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.parametrize("name", INITIALIZERS)
def test_initializers_of_slim_code(name):
    """Each has its spread, and one object draws other numbers for each layer."""
    given, spread = INITIALIZERS[name]
    x = keras.Input((400,))
    with slim.arg_scope([slim.fully_connected], weights_initializer=given):
        slim.stack(x, slim.fully_connected, [400, 400])
    one, other = (np.asarray(v) for v in slim.get_variables_by_name("weights"))
    for value in (one, other):
        assert abs(value.std() / spread - 1) < 0.02
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02


@pytest.mark.parametrize(
    ("given", "value"),
    [
        *((v1.zeros_initializer(), 0), (v1.ones_initializer(), 1), (v1.constant_initializer(0.5), 0.5)),
        *((tf.zeros_initializer, 0), (tf.ones_initializer(), 1), (tf.constant_initializer(0.5), 0.5)),
        *((keras.initializers.Ones, 1), ("ones", 1)),
    ],
)
def test_constant_initializers(given, value):
    slim.conv2d(keras.Input((8, 8, 3)), 4, 3, biases_initializer=given)
    np.testing.assert_array_equal(slim.get_variables_by_name("biases")[0], np.full(4, value))


def test_separable_convolution_has_an_initializer_for_each_kernel():
    x = keras.Input((8, 8, 3))
    for scope, pointwise, expected in (("a", "ones", 1), ("b", None, 2)):
        twos = keras.initializers.Constant(2)
        slim.separable_conv2d(x, 4, 3, weights_initializer=twos, pointwise_initializer=pointwise, scope=scope)
        assert np.all(np.asarray(slim.get_unique_variable(f"{scope}/depthwise_weights")) == 2)
        assert np.all(np.asarray(slim.get_unique_variable(f"{scope}/pointwise_weights")) == expected)


def test_depthwise_initializer_uses_depthwise_fan_in():
    slim.separable_conv2d(keras.Input((8, 8, 400)), None, 3, weights_initializer=slim.variance_scaling_initializer())
    spread = np.asarray(slim.get_unique_variable("SeparableConv2d/depthwise_weights")).std()
    assert abs(spread / (np.sqrt(1.3 * 2 / 9) * 0.8796) - 1) < 0.05


def test_parameters_of_batch_norm():
    slim.batch_norm(
        keras.Input((8,)),
        scale=True,
        param_initializers={
            "beta": v1.constant_initializer(2.0),
            "gamma": "zeros",
            "moving_mean": tf.ones_initializer(),
            "moving_variance": keras.initializers.Constant(3),
        },
        param_regularizers={"beta": slim.l2_regularizer(0.5), "gamma": None},
        fused=False,
    )
    layer = slim._graph.current_graph().layers["BatchNorm"]
    for variable, value in (*((layer.beta, 2), (layer.gamma, 0), (layer.moving_mean, 1), (layer.moving_variance, 3)),):
        np.testing.assert_array_equal(variable, np.full(8, value))
    assert [float(loss) for loss in layer.losses] == [8.0]


def test_trainable_false_freezes_variables():
    x = keras.Input((8, 8, 3))
    with slim.arg_scope([slim.conv2d, slim.separable_conv2d, slim.batch_norm], trainable=False):
        net = slim.separable_conv2d(slim.conv2d(x, 4, 3), 4, 3)
        net = slim.batch_norm(net, is_training=False)
    net = slim.fully_connected(slim.flatten(net), 4)
    model = keras.Model(x, net)
    assert len(model.trainable_weights) == len(slim.get_trainable_variables()) == 2
    assert len(slim.get_variables()) == 10


def test_dropout_takes_slim_arguments():
    x = keras.Input((1000,))
    model = keras.Model(x, slim.dropout(x, 0.25, noise_shape=[1, 1000], seed=3))
    y = np.asarray(model(np.ones((4, 1000), "float32"), training=True))
    assert set(np.unique(y)) == {0.0, 4.0}
    assert abs((y > 0).mean() - 0.25) < 0.05
    np.testing.assert_array_equal(y, np.broadcast_to(y[:1], y.shape))


def test_collections_can_be_cleared_and_filled_by_hand():
    net = slim.conv2d(keras.Input((8, 8, 3)), 4, 3, outputs_collections="ends")
    assert slim.utils.collect_named_outputs("ends", "mine/", net) is net
    assert slim.utils.collect_named_outputs(None, "mine", net) is net
    assert slim.get_collection("ends", "mi") == [net]
    assert list(slim.utils.convert_collection_to_dict("ends", clear_collection=True)) == ["Conv", "mine"]
    assert slim.get_collection("ends") == []


def test_normalizer_receives_its_params():
    def doubled(net, by):
        return net * by

    x = keras.Input((8, 8, 3))
    y = slim.conv2d(x, 4, 3, normalizer_fn=doubled, normalizer_params={"by": 2.0}, activation_fn=None)
    z = slim.conv2d(x, 4, 3, activation_fn=None, biases_initializer=None, scope="Conv", reuse=True)
    both = keras.Model(x, [y, z])(image(1, 8, 8, 3))
    assert_close(both[0], 2 * both[1], 1e-6)
    assert len(slim.get_variables()) == 1


def test_reuse_of_a_tensorflow_variable_scope():
    x = keras.Input((8,))
    with v1.variable_scope("net") as scope:
        slim.fully_connected(x, 8, scope="fc")
        scope.reuse_variables()
        slim.fully_connected(x, 8, scope="fc")
    assert len(slim.get_variables()) == 2


X = keras.Input((8, 8, 3))
"""What wrong calls are made on; nothing is built on it."""


def wrong(function, *arguments, **options):
    return lambda x: function(x, *arguments, **options)


def reused(first, second):
    def run(x):
        first(x)
        second(x)

    return run


def in_scope(*arguments, **options):
    def run(x):
        with slim.variable_scope(*arguments, **options):
            pass

    return run


CONV, SEP, BN, FC = slim.conv2d, slim.separable_conv2d, slim.batch_norm, slim.fully_connected

WRONG = {
    "num_outputs": [wrong(CONV, 0, 3), wrong(CONV, None, 3), wrong(SEP, 1.5, 3), wrong(FC, "8")],
    "kernel_size": [wrong(CONV, 4, 0), wrong(SEP, 4, [3]), wrong(slim.avg_pool2d, [2, 2, 2])],
    "depth_multiplier": [wrong(SEP, None, 3, 0)],
    "stride": [
        *(wrong(CONV, 4, 3, stride=0), wrong(SEP, 4, 3, stride=[1, 0]), wrong(slim.max_pool2d, 2, 0)),
        reused(wrong(CONV, 4, 3, scope="a"), wrong(CONV, 4, 3, stride=2, reuse=True, scope="a")),
    ],
    "rate": [wrong(CONV, 4, 3, rate=[1, 2, 3]), wrong(SEP, 4, 3, rate=-1)],
    "padding": [wrong(CONV, 4, 3, padding="FULL"), wrong(slim.max_pool2d, 2, padding=1)],
    "data_format": [
        *(wrong(CONV, 4, 3, data_format="NWC"), wrong(SEP, 4, 3, data_format="channels_last")),
        *(wrong(BN, data_format="NCDHW"), wrong(slim.avg_pool2d, 2, data_format="HWC")),
    ],
    "conv_dims": [wrong(slim.convolution, 4, 3, conv_dims="2")],
    "biases_initializer": [
        reused(wrong(CONV, 4, 3, scope="a"), wrong(CONV, 4, 3, biases_initializer=None, reuse=True, scope="a")),
    ],
    "reuse": [
        wrong(CONV, 4, 3, reuse="yes", scope="a"),
        reused(wrong(CONV, 4, 3, scope="a"), wrong(SEP, 4, 3, reuse=True, scope="a")),
        reused(wrong(SEP, 4, 3, scope="a"), wrong(SEP, None, 3, reuse=True, scope="a")),
    ],
    "scope": [
        *(wrong(function, 4, 3, reuse=True) for function in (CONV, SEP)),
        *(wrong(BN, reuse=True), wrong(FC, 4, reuse=v1.AUTO_REUSE)),
        *(wrong(function, 4, 3, reuse=True, scope="a") for function in (CONV, SEP)),
        *(wrong(CONV, 4, 3, scope="a.b"), wrong(CONV, 4, 3, scope=5), wrong(slim.softmax, scope="")),
        reused(wrong(CONV, 4, 3, scope="a"), wrong(CONV, 4, 3, scope="a")),
        reused(wrong(slim.softmax, scope="a"), wrong(CONV, 4, 3, scope="a")),
        *(in_scope(None, "Default", [X], reuse=True), in_scope(None), in_scope("a.b")),
    ],
    "values": [in_scope(None, "Default")],
    "inputs": [
        *(lambda x: CONV(slim.flatten(x), 4, 3), lambda x: CONV(keras.Input((8, 8, None)), 4, 3)),
        *(
            lambda x: BN(keras.Input(())),
            lambda x: FC(keras.Input((None,)), 4),
            lambda x: slim.flatten(keras.Input(())),
        ),
        lambda x: slim.max_pool2d(slim.flatten(x), 2),
        reused(wrong(CONV, 4, 3, scope="a"), lambda x: CONV(CONV(x, 5, 3), 4, 3, scope="a", reuse=True)),
    ],
    "is_training": [wrong(BN, is_training=tf.constant(True)), wrong(slim.dropout, is_training=1)],
    "trainable": [wrong(BN, trainable=False), wrong(BN, trainable=False, is_training=None)],
    "updates_collections": [wrong(BN, updates_collections="mine")],
    "batch_weights": [wrong(BN, batch_weights=[1.0])],
    "zero_debias_moving_mean": [wrong(BN, zero_debias_moving_mean=True)],
    "renorm": [wrong(BN, renorm=True)],
    "renorm_clipping": [wrong(BN, renorm_clipping={})],
    "renorm_decay": [wrong(BN, renorm_decay=0.9)],
    "adjustment": [wrong(BN, adjustment=lambda shape: shape)],
    "param_initializers": [wrong(BN, param_initializers={"mean": "zeros"})],
    "param_regularizers": [wrong(BN, param_regularizers={"moving_mean": None})],
    "decay": [wrong(BN, decay=1.5)],
    "epsilon": [wrong(BN, epsilon=-1)],
    "keep_prob": [wrong(slim.dropout, 0), wrong(slim.dropout, 1.1)],
    "repetitions": [wrong(slim.repeat, 0, CONV, 4, 3)],
    "stack_args": [wrong(slim.stack, CONV, 4)],
    "num_classes": [wrong(slim.one_hot_encoding, 0)],
    "factor": [lambda x: slim.variance_scaling_initializer(0)],
    "mode": [lambda x: slim.variance_scaling_initializer(mode="fan_in")],
    "dtype": [lambda x: slim.xavier_initializer(dtype=tf.int32)],
    "scale": [lambda x: slim.l1_regularizer(-1.0), lambda x: slim.l2_regularizer("0.1")],
    "scale_l1": [lambda x: slim.l1_l2_regularizer(-1.0)],
    "scale_l2": [lambda x: slim.l1_l2_regularizer(1.0, -1.0)],
    "collection": [lambda x: slim.get_collection("regularization_losses"), lambda x: slim.get_collection("update_ops")],
    "var_op_name": [lambda x: slim.get_unique_variable("weights")],
}

MISTYPED = {
    "inputs": [
        *(lambda x: CONV(image(1, 8, 8, 3), 4, 3), lambda x: slim.softmax(tf.ones((2, 2)))),
        *(lambda x: slim.repeat([], 2, CONV, 4, 3), lambda x: slim.one_hot_encoding([0], 2, outputs_collections="a")),
    ],
    "weights_initializer": [wrong(CONV, 4, 3, weights_initializer=0.5), wrong(SEP, 4, 3, weights_initializer=[1])],
    "pointwise_initializer": [wrong(SEP, 4, 3, pointwise_initializer=0.5)],
    "biases_initializer": [wrong(FC, 4, biases_initializer=0.0)],
    "weights_regularizer": [wrong(SEP, 4, 3, weights_regularizer=1e-4)],
    "biases_regularizer": [wrong(CONV, 4, 3, biases_regularizer=1e-4)],
    "activation_fn": [wrong(CONV, 4, 3, activation_fn=5)],
    "collections": [wrong(CONV, 4, 3, outputs_collections=5), wrong(CONV, 4, 3, variables_collections=5)],
    "include": [lambda x: slim.get_variables_to_restore("a")],
    "exclude": [lambda x: slim.get_variables_to_restore(exclude="a")],
}


@pytest.mark.parametrize(
    ("kind", "argument", "call"),
    [
        pytest.param(kind, argument, call, id=f"{argument}-{i}")
        for kind, table in ((ValueError, WRONG), (TypeError, MISTYPED))
        for argument, calls in table.items()
        for i, call in enumerate(calls)
    ],
)
def test_wrong_arguments_are_refused(kind, argument, call):
    with pytest.raises(kind) as error:
        call(keras.Input((8, 8, 3)))
    assert_sentence(error.value, argument)


def test_dots_in_tensorflow_variable_scopes():
    with v1.variable_scope("a.b"), pytest.raises(ValueError, match=r"without dots.*got 'a\.b/c'"):
        CONV(keras.Input((8, 8, 3)), 4, 3, scope="c")


def test_tensorflow_1_graph_is_refused():
    x = keras.Input((8, 8, 3))
    with (
        tf.Graph().as_default(),
        pytest.raises(ValueError, match=r"^inputs: expected eager execution.*, got a") as error,
    ):
        CONV(x, 4, 3)
    assert_sentence(error.value, "inputs")


def test_sharing_errors_name_the_shared_layer():
    x = keras.Input((8, 8, 3))
    CONV(x, 4, 3, scope="a")
    with pytest.raises(ValueError, match=r"^stride: expected strides=\(1, 1\), as .* got \(2, 2\)$"):
        CONV(x, 4, 3, stride=2, scope="a", reuse=True)
    with pytest.raises(ValueError, match=r"^reuse: expected a Conv2D, as 'a' is, got a Dense$"):
        FC(x, 4, scope="a", reuse=True)
    with pytest.raises(ValueError, match=r"^scope: expected one that has a layer to share, under reuse, got 'b'$"):
        CONV(x, 4, 3, scope="b", reuse=True)


NO_FUNCTIONS = {
    "normalizer_fn": lambda x: CONV(x, 4, 3, normalizer_fn="bn"),
    "normalizer_params": lambda x: CONV(x, 4, 3, normalizer_fn=slim.batch_norm, normalizer_params=[1]),
    "activation_fn": lambda x: CONV(x, 4, 3, activation_fn="foo"),
    "weights_initializer": lambda x: CONV(x, 4, 3, weights_initializer="foo"),
    "weights_regularizer": lambda x: CONV(x, 4, 3, weights_regularizer="foo"),
    "layer": lambda x: slim.repeat(x, 2, "conv", 4),
    "scope": lambda x: CONV(x, 4, 3, scope=3),
}


@pytest.mark.parametrize("argument", NO_FUNCTIONS)
def test_error_names_an_argument_that_is_not_callable(argument):
    with pytest.raises((TypeError, ValueError)) as error:
        NO_FUNCTIONS[argument](keras.Input((8, 8, 3)))
    assert_sentence(error.value, argument)
