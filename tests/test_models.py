"""MobileNet v1: slim's end points, names and rules, as a function on tensors and as a Keras model."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from checks import assert_close, assert_sentence

from tfsep import MOBILENETV1_CONV_DEFS, Conv, DepthSepConv, models
from tfsep.cost import cost
from tfsep.defs import MOBILENET_V1, MOBILENET_V2, NETWORKS, InvertedResidual, Network, normalize
from tfsep.defs._layer_def import ACTIVATIONS
from tfsep.weights import slim_variables

BODY = ["Conv2d_0", *(f"Conv2d_{i}_{part}" for i in range(1, 14) for part in ("depthwise", "pointwise"))]
# (layer, size, channels) at 224 and width 1, from the paper's Table 1.
TABLE_1 = [
    (0, 112, 32), (1, 112, 64), (2, 56, 128), (3, 56, 128), (4, 28, 256), (5, 28, 256), (6, 14, 512), (7, 14, 512),
    (8, 14, 512), (9, 14, 512), (10, 14, 512), (11, 14, 512), (12, 7, 1024), (13, 7, 1024),
]  # fmt: skip


def images(size=(224, 224), channels=3):
    return keras.Input((*size, channels))


def test_end_points_and_their_shapes():
    _, end_points = models.mobilenet_v1(images())
    assert list(end_points) == [*BODY, "AvgPool_1a", "Logits", "Predictions"]
    for i, size, channels in TABLE_1:
        name = f"Conv2d_{i}" if i == 0 else f"Conv2d_{i}_pointwise"
        assert end_points[name].shape == (None, size, size, channels)
        if i:
            assert end_points[f"Conv2d_{i}_depthwise"].shape == (None, size, size, TABLE_1[i - 1][2])
    assert end_points["AvgPool_1a"].shape == (None, 1, 1, 1024)
    assert end_points["Logits"].shape == end_points["Predictions"].shape == (None, 1000)


@pytest.mark.parametrize("name", BODY[:7])
def test_each_final_endpoint(name):
    """On the first four definitions: the default network has nothing more to tell."""
    net, end_points = models.mobilenet_v1_base(images((32, 32)), name, conv_defs=MOBILENETV1_CONV_DEFS[:4])
    assert list(end_points) == BODY[: BODY.index(name) + 1]
    assert end_points[name] is net


@pytest.mark.parametrize("name", ["Conv2d_12_depthwise", BODY[-1]])
def test_final_endpoint_of_the_default_network(name):
    net, end_points = models.mobilenet_v1_base(images((32, 32)), final_endpoint=name, depth_multiplier=0.25)
    assert list(end_points) == BODY[: BODY.index(name) + 1]
    assert end_points[name] is net


@pytest.mark.parametrize(("output_stride", "size"), [(8, 28), (16, 14), (32, 7), (None, 7)])
def test_output_stride(output_stride, size):
    net, end_points = models.mobilenet_v1_base(images(), output_stride=output_stride, depth_multiplier=0.25)
    assert net.shape[1:3] == (size, size)
    assert end_points["Conv2d_3_pointwise"].shape[1:3] == (56, 56)


def test_rates_of_output_stride_8():
    net, _ = models.mobilenet_v1_base(source := images((64, 64)), output_stride=8, depth_multiplier=0.25)
    model = keras.Model(source, net)
    rates = {n: model.get_layer(f"MobilenetV1.Conv2d_{n}_depthwise").rate for n in (5, 6, 7, 11, 12, 13)}
    assert rates == {5: (1, 1), 6: (1, 1), 7: (2, 2), 11: (2, 2), 12: (2, 2), 13: (4, 4)}


@pytest.mark.parametrize("size", [(224, 224), (225, 224), (64, 99)])
def test_explicit_padding_has_the_same_shapes(size):
    same, explicit = (
        models.mobilenet_v1_base(images(size), use_explicit_padding=flag, depth_multiplier=0.25)[1]
        for flag in (False, True)
    )
    assert [t.shape for t in explicit.values()] == [t.shape for t in same.values()]


def test_width_and_min_depth():
    _, end_points = models.mobilenet_v1_base(images((64, 64)), depth_multiplier=0.1, min_depth=5)
    assert [end_points[n].shape[-1] for n in ("Conv2d_0", "Conv2d_1_pointwise", "Conv2d_13_pointwise")] == [5, 6, 102]


@pytest.mark.parametrize(
    ("network", "alpha"),
    [(models.mobilenet_v1_075, 0.75), (models.mobilenet_v1_050, 0.5), (models.mobilenet_v1_025, 0.25)],
)
def test_named_widths(network, alpha):
    _, end_points = network(images((32, 32)), num_classes=3)
    assert end_points["Conv2d_13_pointwise"].shape[-1] == int(1024 * alpha)
    assert network.default_image_size == models.mobilenet_v1.default_image_size == 224


@pytest.mark.parametrize("classes", [0, None])
def test_without_classes(classes):
    net, end_points = models.mobilenet_v1(images((32, 32)), classes, depth_multiplier=0.25)
    assert list(end_points)[-1] == "AvgPool_1a"
    assert net.shape == (None, 1, 1, 256)


def test_head_options():
    logits, end_points = models.mobilenet_v1_025(
        images((320, 288)), 5, spatial_squeeze=False, prediction_fn=None, scope="A"
    )
    assert logits.shape == (None, 2, 2, 5)
    assert "Predictions" not in end_points
    logits, end_points = models.mobilenet_v1_025(images((320, 288)), 5, global_pool=True, prediction_fn="sigmoid")
    assert logits.shape == (None, 5)
    assert list(end_points)[-3:] == ["global_pool", "Logits", "Predictions"]
    model = keras.Model(
        source := images((32, 32)), models.mobilenet_v1_025(source, 5, prediction_fn=lambda x: 2 * x)[1]
    )
    out = model(np.ones((1, 32, 32, 3), "float32"))
    assert_close(out["Predictions"], 2 * np.asarray(out["Logits"]))


def test_softmax_is_of_the_logits():
    model = keras.Model(source := images((32, 32)), models.mobilenet_v1_025(source, 5)[1])
    out = model(np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32"))
    powers = np.exp(np.asarray(out["Logits"], np.float64))
    assert_close(out["Predictions"], powers / powers.sum(-1, keepdims=True))


def test_definitions_of_any_length():
    net, end_points = models.mobilenet_v1_base(images((16, 16), 1), conv_defs=[Conv(3, 2, 8)])
    assert list(end_points) == ["Conv2d_0"]
    longer = [Conv(3, 1, 8), *[DepthSepConv(3, 1, 8)] * 17]
    net, end_points = models.mobilenet_v1_base(images((16, 16), 1), conv_defs=longer)
    assert list(end_points)[-1] == "Conv2d_17_pointwise"
    assert end_points["Conv2d_17_pointwise"] is net


def test_weight_decay_follows_slim():
    """Slim's scale times half the sum of squares, on full kernels and the classifier, and not on depthwise ones."""
    model = models.MobileNetV1((32, 32, 3), 4, 0.25, arg_scope=models.mobilenet_v1_arg_scope(weight_decay=0.01))
    kernels = [w for w in model.weights if w.name == "kernel" and "depthwise" not in w.path]
    expected = sum(0.01 * np.sum(np.asarray(w, np.float64) ** 2) / 2 for w in kernels)
    assert len(kernels) == 15
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-4)
    decayed = models.mobilenet_v1_arg_scope(regularize_depthwise=True)
    assert len(models.MobileNetV1((32, 32, 3), 4, 0.25, arg_scope=decayed).losses) == 28
    assert not models.MobileNetV1((32, 32, 3), 4, 0.25, arg_scope=models.mobilenet_v1_arg_scope(weight_decay=0)).losses


def test_arg_scope_has_slim_hyperparameters():
    model = models.MobileNetV1((32, 32, 3), 4, 1.0)
    bn = model.get_layer("MobilenetV1.Conv2d_5_pointwise.BatchNorm")
    assert (bn.momentum, bn.epsilon, bn.scale, bn.center) == (0.9997, 0.001, True, True)
    kernel = np.asarray(model.get_layer("MobilenetV1.Conv2d_12_pointwise").kernel)
    # A normal of stddev 0.09 that is cut at two of them.
    assert np.abs(kernel).max() <= 0.18
    assert np.std(kernel) == pytest.approx(0.09 * 0.8796, rel=0.02)
    assert model.get_layer("MobilenetV1.Logits.Dropout_1b").rate == pytest.approx(0.001)


def test_keras_model_trains_and_is_saved(tmp_path):
    model = models.MobileNetV1((None, None, 3), 4, 0.25)
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = np.random.default_rng(0).normal(size=(4, 32, 40, 3)).astype("float32")
    model.fit(x, np.arange(4), verbose=0)
    model.save(tmp_path / "m.keras")
    assert_close(models.load_model(tmp_path / "m.keras")(x), model(x))
    assert models.MobileNetV1((32, 32, 3), None, 0.25)(x[:, :32, :32]).shape == (4, 256)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 rubbish", b"\0" * 300])
def test_load_model_refuses_a_damaged_file(tmp_path, content):
    (tmp_path / "m.keras").write_bytes(content)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        models.load_model(tmp_path / "m.keras")
    assert_sentence(error.value, "model")


# arXiv 1801.04381, Table 2: expansion, channels, repetitions, stride of the first.
MOBILENETV2_BLOCKS = [
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
]  # fmt: skip
MOBILENETV2 = NETWORKS["mobilenet_v2"]


def test_mobilenet_v2_has_the_blocks_of_the_paper():
    blocks = [
        InvertedResidual(3, stride if i == 0 else 1, depth, expansion)
        for expansion, depth, count, stride in MOBILENETV2_BLOCKS
        for i in range(count)
    ]
    assert MOBILENETV2.conv_defs == normalize([Conv(3, 2, 32), *blocks, Conv(1, 1, 1280)])


@pytest.mark.slow
def test_mobilenet_v2_equals_keras_applications():
    """From the same definitions: as many parameters, rows as planned, and the same numbers for the same weights."""
    theirs = keras.applications.MobileNetV2((64, 64, 3), weights=None, classes=10)
    ours = models.from_definitions(MOBILENETV2, (64, 64, 3), 10, padding="keras")
    assert ours.count_params() == theirs.count_params()
    planned = cost(MOBILENETV2, (64, 64, 3), num_classes=10)
    assert [row[1:] for row in cost(ours).rows] == [row[1:] for row in planned.rows]
    kernel = ours.get_layer("MobilenetV2.Logits.Conv2d_1c_1x1").kernel.shape
    *body, dense, bias = theirs.get_weights()
    ours.set_weights([*body, dense.reshape(kernel), bias])
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(
    "alpha", [0.35, *(pytest.param(alpha, marks=pytest.mark.slow) for alpha in (0.5, 0.75, 1.0, 1.3, 1.4))]
)
def test_mobilenet_v2_has_the_cost_of_keras_applications_at_each_width(alpha):
    theirs = keras.applications.MobileNetV2((32, 32, 3), alpha=alpha, weights=None, classes=10)
    ours = cost(MOBILENETV2, (32, 32, 3), alpha, num_classes=10)
    assert ours.params == theirs.count_params()
    assert ours.macs == cost(theirs).macs


def test_blocks_have_slims_names():
    short = replace(MOBILENETV2, conv_defs=(*MOBILENETV2.conv_defs[:3], MOBILENETV2.conv_defs[-1]))
    names = {name.rpartition("/")[0] for name in slim_variables(models.from_definitions(short, (32, 32, 3), 4, 0.35))}
    assert "MobilenetV2/Conv/BatchNorm" in names
    assert "MobilenetV2/expanded_conv_1/project" in names
    assert "MobilenetV2/expanded_conv/expand" not in names
    assert "MobilenetV2/Conv_1" in names


def test_squeeze_and_excite_against_numpy():
    """A block against its formula, written with NumPy on what its layers hold."""
    block = InvertedResidual(1, 1, 8, 2, squeeze=0.5, activation="relu")
    network = Network([Conv(1, 1, 8), block], replace(MOBILENET_V2, scope="Net"))
    model = models.from_definitions(network, (5, 4, 3), None)
    rng = np.random.default_rng(1)
    model.set_weights([np.abs(rng.normal(size=w.shape)) * 0.3 for w in model.weights])
    ends = ("Conv.Activation", "expanded_conv.depthwise.Activation", "expanded_conv.add")
    tensors = [model.get_layer(f"Net.{name}").output for name in ends]
    x = rng.normal(size=(2, 5, 4, 3)).astype("float32")
    source, inner, result = map(np.float64, keras.Model(model.input, tensors)(x))

    def of(name, weight):
        return np.float64(getattr(model.get_layer(f"Net.expanded_conv.{name}"), weight))

    reduce, gate = "squeeze_excite.Conv", "squeeze_excite.Conv_1"
    hidden = np.maximum(inner.mean((1, 2)) @ of(reduce, "kernel")[0, 0] + of(reduce, "bias"), 0)
    scale = np.clip(hidden @ of(gate, "kernel")[0, 0] + of(gate, "bias") + 3, 0, 6) / 6
    gamma, beta, mean, variance = map(np.float64, model.get_layer("Net.expanded_conv.project.BatchNorm").get_weights())
    projected = (inner * scale[:, None, None]) @ of("project", "kernel")[0, 0]
    expected = (projected - mean) / np.sqrt(variance + 1e-3) * gamma + beta + source
    assert scale.min() < 0.99
    assert_close(result, expected)


def test_plain_definitions_follow_mobilenet_v1():
    conv_defs = [Conv(3, 2, 8), DepthSepConv(3, 1, 16)]
    model = models.from_definitions(conv_defs, (8, 8, 1), 2)
    other = models.MobileNetV1((8, 8, 1), 2, conv_defs=conv_defs)
    assert [weight.path for weight in model.weights] == [weight.path for weight in other.weights]
    assert models.from_definitions(NETWORKS["fashion_mnist"], num_classes=10).input_shape == (None, 28, 28, 1)


def test_family_gives_the_activation_of_definitions_that_name_none():
    relu = Network([Conv(1, 1, 8), Conv(1, 1, 8, activation="tanh")], replace(MOBILENET_V1, activation="relu"))

    def activations(**options):
        model = models.from_definitions(relu, (4, 4, 3), None, **options)
        return [layer.activation.__name__ for layer in model.layers if isinstance(layer, keras.layers.Activation)]

    assert activations() == ["relu", "tanh"]
    assert activations(arg_scope=models.ArgScope(activation="silu")) == ["silu", "tanh"]
    assert all(callable(keras.activations.get(name)) for name in ACTIVATIONS)


def test_definitions_with_blocks_follow_mobilenet_v2():
    conv_defs = [Conv(3, 2, 8), InvertedResidual(3, 1, 16, 6)]
    model = models.from_definitions(conv_defs, (8, 8, 1), 2)
    assert model.name == "MobilenetV2"
    assert model.count_params() == cost(conv_defs, (8, 8, 1), num_classes=2).params


def test_network_without_a_shape_takes_its_own_in_builder_and_cost():
    network = NETWORKS["fashion_mnist"]
    assert cost(network, num_classes=10) == cost(network, (28, 28, 1), num_classes=10)
    assert cost(network, num_classes=10).params == models.from_definitions(network, num_classes=10).count_params()


ERRORS = {
    "no shape": ("input_shape", lambda: models.from_definitions([Conv(3, 2, 8)])),
    "rank": ("inputs", lambda: models.mobilenet_v1(keras.Input((224, 3)))),
    "channels": ("inputs", lambda: models.mobilenet_v1_base(keras.Input((32, 32, None)))),
    "end point": ("final_endpoint", lambda: models.mobilenet_v1_base(images(), "Conv2d_14_pointwise")),
    "width": ("depth_multiplier", lambda: models.mobilenet_v1(images(), depth_multiplier=0)),
    "negative width": ("depth_multiplier", lambda: models.MobileNetV1(alpha=-1)),
    "output stride": ("output_stride", lambda: models.mobilenet_v1_base(images(), output_stride=12)),
    "min_depth": ("min_depth", lambda: models.mobilenet_v1_base(images(), min_depth=0)),
    "classes": ("num_classes", lambda: models.mobilenet_v1(images((32, 32)), -3)),
    "classes as text": ("num_classes", lambda: models.mobilenet_v1(images((32, 32)), "10")),
    "keep": ("dropout_keep_prob", lambda: models.mobilenet_v1(images((32, 32)), dropout_keep_prob=0)),
    "keep above 1": (
        "dropout_keep_prob",
        lambda: models.mobilenet_v1(images((32, 32)), dropout_keep_prob=1.5),
    ),
    "negative dropout": ("dropout", lambda: models.MobileNetV1((32, 32, 3), dropout=-0.1)),
    "dropout": ("dropout", lambda: models.MobileNetV1((32, 32, 3), dropout=1)),
    "squeeze": ("spatial_squeeze", lambda: models.mobilenet_v1_025(images((320, 320)))),
    "input shape": ("input_shape", lambda: models.MobileNetV1((32, 32))),
    "size": ("input_shape", lambda: models.MobileNetV1((0, 32, 3))),
    "no tensor": ("inputs", lambda: models.mobilenet_v1_base(None)),
    "keep as text": ("dropout_keep_prob", lambda: models.mobilenet_v1(images((32, 32)), dropout_keep_prob="a")),
    "dropout as text": ("dropout", lambda: models.MobileNetV1((32, 32, 3), dropout="a")),
    "no sequence": ("input_shape", lambda: models.MobileNetV1(224)),
    "definition": ("conv_defs[0].depth", lambda: models.MobileNetV1((32, 32, 3), conv_defs=[Conv(3, 1, -8)])),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    argument, make = ERRORS[case]
    with pytest.raises((ValueError, TypeError)) as error:
        make()
    assert_sentence(error.value, argument)
