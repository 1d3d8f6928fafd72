"""MobileNet v2: slim's end points on its checkpoint and on networks that tf_slim builds here, slim's table of costs."""

import keras
import numpy as np
import pytest
import slim_blocks
import tensorflow as tf
from checks import assert_close, assert_refused, in_part

from tfsep import Conv, defs, models, weights
from tfsep.cost import cost
from tfsep.defs import InvertedResidual

# TF-slim's README of MobileNets, million MACs and parameters of 1001 classes by width and size, normalization left out.
# The widths under 1 have slim's finegrain_classification_mode.
SLIM_ROWS = {
    1.4: (6.06, {224: 582}),
    1.3: (5.34, {224: 509}),
    1.0: (3.47, {224: 300, 192: 221, 160: 154, 128: 99, 96: 56}),
    0.75: (2.61, {224: 209, 192: 153, 160: 107, 128: 69, 96: 39}),
    0.5: (1.95, {224: 97, 192: 71, 160: 50, 128: 32, 96: 18}),
    0.35: (1.66, {224: 59, 192: 43, 160: 30, 128: 20, 96: 11}),
}


@pytest.fixture(scope="module")
def slims_own(fixtures):
    """Slim's checkpoint of width 0.35 at 96, the image and slim's end points."""
    folder = fixtures / "slim_mobilenet_v2_035_96"
    with np.load(folder / "io.npz") as stored:
        ends = {name.replace("|", "/"): stored[name] for name in stored}
    listed = [line.partition(" ") for line in (folder / "end_points.txt").read_text().splitlines()]
    shapes = {name: tuple(map(int, shape.strip("()").split(","))) for name, _, shape in listed}
    return folder / "model.ckpt", ends.pop("input"), ends, shapes


def test_end_points_equal_slims_own(slims_own):
    path, image, expected, shapes = slims_own
    inputs = keras.Input(image.shape[1:])
    _, ends = models.mobilenet_v2(inputs, 11, depth_multiplier=0.35)
    model = keras.Model(inputs, ends)
    weights.load_slim_checkpoint(model, path)
    actual = model(image)
    assert {name: tuple(end.shape) for name, end in actual.items()} == shapes
    for name, value in expected.items():
        assert_close(actual[name], value, 3e-5, name)
    layer = model.get_layer("MobilenetV2.expanded_conv_3.depthwise")
    layer.kernel.assign(np.flip(layer.kernel, axis=0))
    with pytest.raises(AssertionError):
        assert_close(model(image)["layer_8"], expected["layer_8"], 3e-5)


RELU6 = tf.nn.relu6
ROWS = [
    ("conv", 3, 2, 20, None, None, RELU6),
    ("block", 3, 1, 14, None, None, RELU6),
    ("block", 3, 2, 24, 6, None, RELU6),
    ("block", 5, 1, 24, 6, None, RELU6),
    ("block", 3, 2, 40, 3, None, RELU6),
    ("conv", 1, 1, 64, None, None, RELU6),
]
DEFS = [
    Conv(kernel, stride, depth) if kind == "conv" else InvertedResidual(kernel, stride, depth, expansion or 1)
    for kind, kernel, stride, depth, expansion, *_ in ROWS
]
CASES = {
    "width, min_depth, divisible_by, output stride with explicit padding": {
        **{"multiplier": 0.4, "min_depth": 5, "divisible_by": 3},
        **{"output_stride": 4, "explicit": True},
    },
    "last convolution of full width": {"multiplier": 0.6, "finegrain": True, "output_stride": 2},
    "wider": {"multiplier": 1.4, "finegrain": True},
    "explicit padding": {"explicit": True, "multiplier": 0.7, "min_depth": 16},
    "min_depth, output stride": {"min_depth": 24, "divisible_by": 12, "output_stride": 2, "multiplier": 0.1},
}


@pytest.mark.parametrize("case", in_part(CASES, len(CASES)))
def test_end_points_equal_slim(case, tmp_path):
    slim_blocks.check(models.mobilenet_v2, DEFS, ROWS, (27, 20), "MobilenetV2", tmp_path, CASES[case])


def test_published_costs():
    for alpha, (params, sizes) in SLIM_ROWS.items():
        for size, macs in sizes.items():
            report = cost(defs.NETWORKS["mobilenet_v2"], (size, size, 3), alpha, num_classes=1001)
            rows = [row for row in report.rows if row.kind != "batch_normalization"]
            assert (int(sum(row.macs for row in rows) / 1e6), round(sum(row.params for row in rows) / 1e6, 2)) == (
                *(macs, params),
            ), (alpha, size)


def test_widths_by_name():
    for builder, alpha, last in ((models.mobilenet_v2_140, 1.4, 1792), (models.mobilenet_v2_035, 0.35, 1280)):
        assert builder.keywords["depth_multiplier"] == alpha
        network = builder.keywords.get("finegrain_classification_mode", False)
        assert network == (alpha < 1)
        assert defs.scale_width(defs.MOBILENETV2_CONV_DEFS, alpha, 8, defs.make_divisible, network)[-1].depth == last
    assert models.mobilenet_v2_050.default_image_size == models.mobilenet_v2.default_image_size == 224


SHORT = [Conv(3, 2, 8), InvertedResidual(3, 2, 8, 2), Conv(1, 1, 16)]


def test_options():
    inputs = keras.Input((32, 24, 3))
    net, ends = models.mobilenet_v2_base(inputs, conv_defs=SHORT, final_endpoint="layer_2/depthwise_output")
    assert list(ends) == ["layer_1", "layer_2/expansion_output", "layer_2/depthwise_output"]
    assert net is ends["layer_2/depthwise_output"]
    net, ends = models.mobilenet_v2(inputs, None, conv_defs=SHORT, final_endpoint="layer_2")
    assert net.shape == (None, 1, 1, 8)
    assert list(ends)[-1] == "global_pool"
    scope = models.training_scope(False, 0.0, None, 0.6, 0.9)
    source = keras.Input((16, 16, 3))
    _, ends = models.mobilenet_v2(
        source, 4, conv_defs=SHORT, scope="A", arg_scope=scope, activation_fn="tanh", prediction_fn="sigmoid"
    )
    model = keras.Model(source, ends)
    normalization = model.get_layer("A.expanded_conv.depthwise.BatchNorm")
    assert (normalization.momentum, normalization.frozen, len(model.losses)) == (0.9, True, 0)
    assert model.get_layer("A.Conv.Activation").activation is keras.activations.tanh
    assert model.get_layer("A.Predictions").activation is keras.activations.sigmoid
    plain = keras.Model(source, models.mobilenet_v2(source, 4, conv_defs=SHORT)[0])
    assert plain.get_layer("MobilenetV2.Logits.Dropout_1b").rate == pytest.approx(0.2)
    assert plain.get_layer("MobilenetV2.Conv.BatchNorm").momentum == 0.997


def test_model_by_name_and_its_features():
    model = models.MobileNetV2((64, 32, 3), features=(8, 4), alpha=0.35, name="M")
    assert [tuple(map_.shape[1:]) for map_ in model.outputs] == [(8, 4, 16), (16, 8, 8)]
    assert model.layers[-1].name == "M.expanded_conv_5.add"
    assert defs.NETWORKS["mobilenet_v2"].features() == {
        **{2: "layer_2", 4: "layer_4", 8: "layer_7"},
        **{16: "layer_14", 32: "layer_18"},
    }
    assert defs.NETWORKS["mobilenet_v2"].features(output_stride=8) == {2: "layer_2", 4: "layer_4", 8: "layer_18"}
    assert defs.NETWORKS["mobilenet_v1"].features()[16] == "Conv2d_11_pointwise"


def image():
    return keras.Input((32, 32, 3))


ERRORS = {
    "end point": ("final_endpoint", lambda: models.mobilenet_v2(image(), final_endpoint="layer_20", conv_defs=SHORT)),
    "output stride": ("output_stride", lambda: models.mobilenet_v2(image(), output_stride=12)),
    "min_depth": ("min_depth", lambda: models.mobilenet_v2(image(), min_depth=0)),
    "divisible_by": ("divisible_by", lambda: models.mobilenet_v2(image(), divisible_by=2.5)),
    "flag": ("finegrain_classification_mode", lambda: models.mobilenet_v2(image(), finegrain_classification_mode=1)),
    "paddings": ("padding", lambda: models.mobilenet_v2(image(), use_explicit_padding=True, padding="keras")),
    "padding": ("padding", lambda: models.MobileNetV2((32, 32, 3), padding="valid")),
    "activation": ("activation_fn", lambda: models.mobilenet_v2(image(), conv_defs=SHORT, activation_fn="relu66")),
    "base": ("base_only", lambda: models.mobilenet_v2(image(), conv_defs=SHORT, base_only="no")),
    "no definitions": ("conv_defs", lambda: models.mobilenet_v2(image(), conv_defs=[])),
    "inputs": ("inputs", lambda: models.mobilenet_v2(keras.Input((32, 3)))),
    "width": ("depth_multiplier", lambda: models.mobilenet_v2(image(), depth_multiplier=0)),
    "classes": ("num_classes", lambda: models.mobilenet_v2(image(), -1, conv_defs=SHORT)),
    "keep": ("dropout_keep_prob", lambda: models.training_scope(dropout_keep_prob=0)),
    "decay": ("batch_norm_decay", lambda: models.training_scope(bn_decay=2)),
    "feature": ("features", lambda: models.MobileNetV2((32, 32, 3), features=(4, 64))),
    "feature of an output stride": (
        "features",
        lambda: models.MobileNetV2((32, 32, 3), features=(4, 32), output_stride=16),
    ),
    "no features": ("features", lambda: models.MobileNetV2((32, 32, 3), features=())),
    "features as text": ("features", lambda: models.MobileNetV2((32, 32, 3), features="4")),
    "one feature": ("features", lambda: models.MobileNetV2((32, 32, 3), features=4)),
    "name": ("name", lambda: models.MobileNetV2((32, 32, 3), name="")),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    argument, make = ERRORS[case]
    assert_refused(make, argument)
