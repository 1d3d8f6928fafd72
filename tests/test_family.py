"""The family of networks as records: published costs row by row, timm's parameters, what transforms and blocks do."""

import re
from dataclasses import replace

import keras
import numpy as np
import pytest
import slim_blocks
import tensorflow as tf
from checks import assert_close, assert_refused, in_part

from tfsep import Conv, defs, models, quantize, surgery, tflite, weights
from tfsep.cost import compare, cost
from tfsep.defs import (
    NETWORKS,
    Channels,
    Dense,
    FusedInvertedResidual,
    GlobalPool,
    InvertedResidual,
    UniversalInvertedBottleneck,
)
from tfsep.models import _named_networks

# Name, width, million MACs and million parameters as published: TF-slim's README (1001 classes, normalization left out;
# cut or rounded), EfficientNet-Lite's post and timm's cards (1000 classes, with gamma and beta).
PUBLISHED = [
    ("mobilenet_v3_large", 1.0, 217, 5.4),
    ("mobilenet_v3_large", 0.75, 155, 4.0),
    ("mobilenet_v3_large_minimalistic", 1.0, 209, 3.9),
    ("mobilenet_edgetpu", 1.0, 990, 4.0),
    ("mobilenet_edgetpu", 0.75, 624, 2.9),
    ("mobilenet_v4_conv_small", 1.0, 200, 3.8),
    ("mobilenet_v4_conv_medium", 1.0, 1100, 9.7),
    ("efficientnet_lite0", 1.0, 385, 4.7),
    ("efficientnet_lite1", 1.0, 600, 5.4),
    ("efficientnet_lite2", 1.0, 860, 6.1),
    ("efficientnet_lite3", 1.0, 1383, 8.2),
    ("efficientnet_lite4", 1.0, 2553, 13.0),
]
# Cells that no count of these networks gives, and what they compute to. MobileNet v3 small's are those of the paper's
# first version; EfficientNet-Lite's post has three more for each element of a convolution's result, normalization and
# activation.
NOT_REACHED = [
    ("mobilenet_v3_small", 1.0, (66, 2.9), (56.5, 2.53)),
    ("mobilenet_v3_small", 0.75, (44, 2.4), (43.4, 2.03)),
    ("mobilenet_v3_small_minimalistic", 1.0, (65, 2.0), (52.3, 2.03)),
    ("efficientnet_lite0", 1.0, (407, 4.7), (385.2, 4.61)),
    ("efficientnet_lite1", 1.0, (631, 5.4), (600.2, 5.36)),
    ("efficientnet_lite2", 1.0, (899, 6.1), (859.7, 6.03)),
    ("efficientnet_lite3", 1.0, (1440, 8.2), (1383.3, 8.12)),
    ("efficientnet_lite4", 1.0, (2640, 13.0), (2553.0, 12.89)),
]
# timm 1.0.31, 1000 classes: parameters, then moving statistics.
TIMM = {
    ("mobilenet_v2", 1.0): (3504872, 34112),
    ("mobilenet_v2", 1.4): (6108776, 47936),
    ("mobilenet_v3_large", 1.0): (5483032, 24400),
    ("mobilenet_v3_small", 1.0): (2542856, 12112),
    ("mobilenet_v3_small", 0.75): (2041872, 9680),
    ("mobilenet_v3_small_minimalistic", 1.0): (2044736, 12112),
    ("mobilenet_v4_conv_small", 1.0): (3774024, 25088),
    ("mobilenet_v4_conv_medium", 1.0): (9715512, 67904),
    ("mobilenet_v4_conv_large", 1.0): (32590864, 149552),
    ("efficientnet_lite0", 1.0): (4652008, 42016),
    ("efficientnet_lite1", 1.0): (5416680, 53664),
    ("efficientnet_lite2", 1.0): (6092072, 58096),
    ("efficientnet_lite3", 1.0): (8197096, 76672),
    ("efficientnet_lite4", 1.0): (13006568, 112368),
}


def counted(name, alpha, classes):
    """Million MACs, and million parameters without and with those of normalization that are trained."""
    rows = cost(NETWORKS[name], alpha=alpha, num_classes=classes).rows
    own = sum(row.params for row in rows if row.kind != "batch_normalization") / 1e6
    trained = own + sum(row.params / 2 for row in rows if row.kind == "batch_normalization") / 1e6
    return sum(row.macs for row in rows) / 1e6, own, trained


@pytest.mark.parametrize(("name", "alpha", "macs", "params"), PUBLISHED)
def test_published_costs(name, alpha, macs, params):
    slims = NETWORKS[name].family.name.startswith(("MobileNet v3", "MobileNet-EdgeTPU"))
    millions, own, trained = counted(name, alpha, 1001 if slims else 1000)
    digits = -2 if macs % 100 == 0 and not slims and "lite" not in name else 0
    assert macs in (int(millions), round(millions, digits))
    assert params in (int((own if slims else trained) * 10) / 10, round(own if slims else trained, 1))


@pytest.mark.parametrize(("name", "alpha", "published", "computed"), NOT_REACHED)
def test_cells_that_are_not_reached(name, alpha, published, computed):
    millions, own, _ = counted(name, alpha, 1000)
    assert (round(millions, 1), round(own, 2)) == computed
    assert round(millions) != published[0]


@pytest.mark.parametrize(("name", "alpha"), TIMM)
def test_parameters_are_those_of_timm(name, alpha):
    assert cost(NETWORKS[name], alpha=alpha, num_classes=1000).params == sum(TIMM[name, alpha])


def test_detection_forms_are_half_as_wide_from_the_last_stride_on():
    for form, whole in (
        (defs.MOBILENETV3_LARGE_DETECTION_CONV_DEFS, defs.MOBILENETV3_LARGE_CONV_DEFS),
        (defs.MOBILENETV3_SMALL_DETECTION_CONV_DEFS, defs.MOBILENETV3_SMALL_CONV_DEFS),
    ):
        halved = [i for i, (one, other) in enumerate(zip(form, whole, strict=True)) if one != other]
        assert halved == list(range(len(whole) - 6, len(whole) - 2))
        assert all(2 * form[i].depth == whole[i].depth for i in halved)


def layers(definition, channels=16):
    """(name, op, kernel, stride, rate, depth, activation) of a definition's layers."""
    found = defs.resolve([definition], channels, defs.slim_places)
    return [(e.name.rpartition("/")[2], e.kernel[0], e.stride[0], e.rate[0], e.depth, e.activation) for e in found]


def test_fused_block():
    block = FusedInvertedResidual(3, 2, 32, 4, rate=2, activation="silu")
    assert layers(block) == [("expand", 3, 2, 2, 64, "silu"), ("project", 1, 1, 1, 32, None)]
    assert [row[0] for row in layers(FusedInvertedResidual(3, 1, 16, 1))] == ["project", "add"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (5, 3, [("depthwise_first", 5, 1), ("expand", 1, 1), ("depthwise", 3, 2), ("project", 1, 1)]),
        (5, None, [("depthwise_first", 5, 2), ("expand", 1, 1), ("project", 1, 1)]),
        (None, 3, [("expand", 1, 1), ("depthwise", 3, 2), ("project", 1, 1)]),
    ],
)
def test_universal_block_has_its_stride_in_the_last_depthwise_convolution(first, second, expected):
    found = layers(UniversalInvertedBottleneck(first, second, 2, 24, 3))
    assert [row[:3] for row in found] == expected
    assert [row[-1] for row in found if row[0] == "depthwise_first"] == [None] * bool(first)


def test_universal_block_without_depthwise_convolutions():
    assert [row[0] for row in layers(UniversalInvertedBottleneck(None, None, 1, 16, 4))] == ["expand", "project", "add"]


def test_expansion_in_channels_scales_with_the_width():
    block = InvertedResidual(3, 1, 24, Channels(88), squeeze=1 / 4)
    scaled = defs.scale_width([block, block], 0.5, rule=defs.make_divisible)
    assert scaled[1].expansion == Channels(48)
    assert next(row[4] for row in layers(block)) == 88
    assert [row[0] for row in layers(InvertedResidual(3, 1, 24, Channels(16)))] == ["depthwise", "project"]


def test_ends_pass_through_transforms():
    network = [Conv(3, 2, 8), InvertedResidual(3, 2, 16, 4), GlobalPool(), Dense(40)]
    held = defs.with_output_stride(network, 2)
    assert held[2:] == (GlobalPool(), Dense(40))
    assert [d.depth for d in defs.scale_width(network, 0.5, 4)] == [4, 8, None, 20]
    assert defs.scale_width(network, 0.5, 4, full_width_head=True)[-1] == Dense(40)
    assert defs.scale_width(network, 2, full_width_head=True, head_grows=False)[-1] == Dense(40)
    assert [row.params for row in cost(network, (8, 8, 3)).rows][-1] == 16 * 40 + 40


def test_features_are_the_last_maps_of_blocks():
    assert NETWORKS["mobilenet_v3_small"].features() == {
        **{2: "layer_1", 4: "layer_2", 8: "layer_4"},
        **{16: "layer_9", 32: "layer_12"},
    }
    assert NETWORKS["mobilenet_v4_conv_small"].features() == {
        **{2: "layer_1", 4: "layer_3", 8: "layer_5"},
        **{16: "layer_11", 32: "layer_17"},
    }


@pytest.fixture(scope="module")
def small(fixtures):
    """Slim's checkpoint of MobileNet v3 small, our model with it, and slim's end points."""
    folder = fixtures / "slim_mobilenet_v3_small_050_96"
    with np.load(folder / "io.npz") as stored:
        ends = {name.replace("|", "/"): stored[name] for name in stored}
    inputs = keras.Input((96, 96, 3))
    model = keras.Model(inputs, models.mobilenet_v3_small(inputs, 11, depth_multiplier=0.5)[1])
    weights.load_slim_checkpoint(model, folder / "model.ckpt")
    return folder, model, ends.pop("input"), ends


def test_end_points_equal_slims_own(small):
    folder, model, image, expected = small
    actual = model(image)
    listed = {line.split()[0] for line in (folder / "end_points.txt").read_text().splitlines()}
    assert set(actual) == listed
    for name, value in expected.items():
        assert_close(actual[name], value, 1e-5, name)


@pytest.mark.slow
def test_gates_are_slims(small):
    """With Keras's hard sigmoid, which divides by 6, the end points are off by what float32 does not allow."""
    folder, _, image, expected = small
    network = replace(NETWORKS["mobilenet_v3_small"])
    network = replace(network, family=replace(network.family, full_width_head=False))
    model = models.from_definitions(network, (96, 96, 3), 11, 0.5, classifier_activation=None)
    weights.load_slim_checkpoint(model, folder / "model.ckpt")
    assert_close(model(image), expected["Logits"], 1e-3)
    with pytest.raises(AssertionError):
        assert_close(model(image), expected["Logits"], 1e-5)


RELU, SWISH = tf.nn.relu, slim_blocks.hard_swish
ROWS = [
    ("conv", 3, 2, 16, None, None, SWISH),
    ("block", 3, 1, 16, 1, 4, RELU),
    ("fused", 3, 2, 24, 4, None, RELU),
    ("block", 5, 2, 40, 88 / 24, 4, SWISH),
    ("block", 5, 1, 40, 3, 4, SWISH),
    ("conv", 1, 1, 48, None, None, SWISH),
    ("pool", None, 1, None, None, None, None),
    ("dense", 1, 1, 64, None, None, SWISH),
]


def definition(row):
    kind, kernel, stride, depth, expansion, squeeze, function = row
    activation = {"activation": "hard_swish"} if function is SWISH else {}
    share = {"squeeze": 1 / squeeze} if squeeze else {}
    return {
        "conv": lambda: Conv(kernel, stride, depth, **activation),
        "block": lambda: InvertedResidual(kernel, stride, depth, expansion, **share, **activation),
        "fused": lambda: FusedInvertedResidual(kernel, stride, depth, expansion, **activation),
        "pool": GlobalPool,
        "dense": lambda: Dense(depth, **activation),
    }[kind]()


CASES = {
    "width, output stride, explicit padding": {"multiplier": 0.6, "output_stride": 4, "explicit": True},
    "dense end of full width": {"multiplier": 0.4, "finegrain": True},
    "wider": {"multiplier": 1.3},
    "min_depth": {"multiplier": 0.5, "min_depth": 16, "output_stride": 2},
}


@pytest.mark.parametrize("case", in_part(CASES, len(CASES)))
def test_end_points_equal_slim(case, tmp_path):
    slim_blocks.check(
        models.mobilenet_v3, [definition(row) for row in ROWS], ROWS, (26, 30), "MobilenetV3", tmp_path, CASES[case]
    )


def test_named_models_are_those_of_the_networks(monkeypatch):
    """Without building them: what they are made of."""
    with monkeypatch.context() as patched:
        patched.setattr(_named_networks, "from_definitions", lambda network, *_, **options: (network, options))
        made = {name: getattr(models, name)(padding="explicit") for name in _named_networks.__all__}
    assert all(network in NETWORKS.values() for network, _ in made.values())
    assert all(options == {"padding": "explicit"} for _, options in made.values())
    titles = {"".join(c for c in network.title.lower() if c.isalnum()) for network, _ in made.values()}
    assert titles == {
        re.sub("(?<=conv)([sml])(mall|edium|arge)", r"\1", name.lower()) for name in _named_networks.__all__
    }
    model = models.MobileNetV3Small((32, 32, 3), 4, 0.35, minimalistic=True, name="M")
    assert (
        model.count_params()
        == cost(NETWORKS["mobilenet_v3_small_minimalistic"], (32, 32, 3), 0.35, num_classes=4).params
    )
    assert not [layer for layer in model.layers if "squeeze" in layer.name]
    assert model.get_layer("M.Conv_2").use_bias


SHORT = defs.with_slim_gates(
    [
        Conv(3, 2, 8, activation="hard_swish"),
        FusedInvertedResidual(3, 1, 8, 4),
        UniversalInvertedBottleneck(3, 5, 2, 16, 3),
        UniversalInvertedBottleneck(None, None, 1, 16, 2),
        InvertedResidual(5, 1, 16, Channels(40), squeeze=1 / 4, activation="hard_swish"),
        GlobalPool(),
        Dense(24, activation="hard_swish"),
    ]
)
"""Every kind of block and end."""


def test_every_kind_of_block_is_saved_and_exact_in_int8(tmp_path):
    network = defs.Network(SHORT, defs.MOBILENET_V3)
    model = models.from_definitions(network, (16, 16, 3), 5, arg_scope=models.ArgScope(stddev=None))
    planned, counted = cost(network, (16, 16, 3), num_classes=5), cost(model)
    assert (planned.macs, planned.params) == (counted.macs, counted.params)
    x = np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype("float32")
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(models.load_model(tmp_path / "m.keras")(x), model(x))
    prepared = quantize.prepare(model)
    quantize.observe(prepared, x)
    assert not quantize.coverage(prepared).islands
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=x)
    assert (report.verification.differing, report.verification.elements) == (0, 40)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "mobilenet_v3_small_minimalistic"),
        *("mobilenet_edgetpu", "mobilenet_v4_conv_small", "mobilenet_v4_conv_medium", "efficientnet_lite0"),
    ],
)
def test_networks_train_fold_and_are_exact_in_int8(name, tmp_path):
    alpha = 0.1 if "v4" in name else 0.35
    scope = models.ArgScope(stddev=None)
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = models.from_definitions(NETWORKS[name], (48, 48, 3), 5, alpha, arg_scope=scope)
    x = np.random.default_rng(0).normal(size=(16, 48, 48, 3)).astype("float32")
    model.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy")
    before = [np.array(weight) for weight in model.weights]
    model.fit(x, np.arange(16) % 5, batch_size=8, verbose=0)
    assert any(np.any(one != np.asarray(other)) for one, other in zip(before, model.weights, strict=True))
    assert_close(surgery.fold_batch_norm(model)(x), model(x), 1e-4)
    prepared = quantize.prepare(model)
    quantize.observe(prepared, x)
    assert tflite.export(prepared, tmp_path / "m.tflite", "int8", data=x).verification.differing == 0


ERRORS = {
    "expansion": ("conv_defs[0].expansion", lambda: defs.normalize([FusedInvertedResidual(3, 1, 8, 0)])),
    "expansion in channels": (
        "conv_defs[0].expansion",
        lambda: defs.normalize([InvertedResidual(3, 1, 8, Channels(0))]),
    ),
    "expansion as text": (
        "conv_defs[0].expansion",
        lambda: defs.normalize([UniversalInvertedBottleneck(3, 3, 1, 8, "4")]),
    ),
    "expansion of half channels": (
        "conv_defs[0].expansion",
        lambda: defs.normalize([InvertedResidual(3, 1, 8, Channels(12.5))]),
    ),
    "expansion past all": ("expansion", lambda: defs.resolve([InvertedResidual(3, 1, 8, 1e300)], 8)),
    "kernel": ("conv_defs[0].first", lambda: defs.normalize([UniversalInvertedBottleneck(0, 3, 1, 8, 4)])),
    "second kernel": ("conv_defs[0].second", lambda: defs.normalize([UniversalInvertedBottleneck(3, "3", 1, 8, 4)])),
    "stride without a window": ("stride", lambda: defs.normalize([UniversalInvertedBottleneck(None, None, 2, 8, 4)])),
    "stride without an expansion": ("stride", lambda: defs.resolve([FusedInvertedResidual(3, 2, 8, 1)], 8)),
    "gate": ("conv_defs[0].gate", lambda: defs.normalize([InvertedResidual(3, 1, 8, 4, 0.25, gate="gates")])),
    "depth": ("conv_defs[0].depth", lambda: defs.normalize([Dense(-1)])),
    "normalization": ("conv_defs[0].normalization", lambda: defs.normalize([Dense(8, normalization=1)])),
    "activation": ("conv_defs[0].activation", lambda: defs.normalize([Dense(8, "relu66")])),
    "channels": ("channels", lambda: defs.resolve([UniversalInvertedBottleneck(3, 3, 1, 8, 4)])),
    "stride of rows and columns": (
        "conv_defs[0].stride",
        lambda: models.from_definitions([Conv(3, (1, 2), 8), SHORT[1]], (8, 8, 3), features=(1,)),
    ),
    "size of a comparison": ("size", lambda: compare({"own": defs.Network(SHORT, defs.MOBILENET_V3)})),
    "sizes of a comparison": ("size", lambda: compare(size=(32, 0))),
    "minimalistic": ("minimalistic", lambda: models.MobileNetV3Large((32, 32, 3), minimalistic="yes")),
    "output stride": ("output_stride", lambda: models.MobileNetV3Small((32, 32, 3), output_stride=6)),
    "accuracy": ("top1", lambda: replace(NETWORKS["mobilenet_v2"], top1=101)),
    "head": ("head_grows", lambda: replace(defs.MOBILENET_V3, head_grows=2)),
    "momentum": ("batch_norm_decay", lambda: replace(defs.MOBILENET_V3, batch_norm_decay=1.5)),
    "epsilon": ("batch_norm_epsilon", lambda: replace(defs.MOBILENET_V3, batch_norm_epsilon=-1)),
    "dropout": ("dropout", lambda: replace(defs.MOBILENET_V3, dropout="0.2")),
}


def test_networks_in_place_of_definitions():
    assert_refused(lambda: models.mobilenet_v3(None, conv_defs=NETWORKS["mobilenet_v2"]), "conv_defs", TypeError)


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    argument, make = ERRORS[case]
    assert_refused(make, argument)
