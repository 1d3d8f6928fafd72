"""Heads of segmentation and detection: against NumPy, one layer after the other; in int8 to the last bit; bad input."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from checks import assert_close, assert_refused, assert_unchanged, in_part, state_of

from tfsep import boxes, models, quantize, tflite
from tfsep.boxes import AnchorGrid, Anchors
from tfsep.defs import Conv, DepthSepConv
from tfsep.losses import BoxLoss, ClassLoss

SCOPE = models.ArgScope(stddev=None)  # He's rule: numbers of a size without training
TINY = [Conv(3, 4, 6), DepthSepConv(3, 2, 8), DepthSepConv(3, 2, 12)]
"""Maps of strides 4, 8 and 16."""
SMALLEST = [Conv(3, 8, 6), DepthSepConv(3, 2, 8)]
"""Maps of strides 8 and 16."""


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def backbone(*strides, size=32, layers=TINY):
    shape = (size, size, 3) if isinstance(size, int) else (*size, 3)
    return models.from_definitions(layers, shape, features=strides, arg_scope=SCOPE, name="net")


def randomize(model, seed=0):
    """Give every normalization statistics and weights of its own, and every bias."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.name in ("beta", "bias", "moving_mean"):
            variable.assign(rng.normal(0, 0.3, variable.shape))
        elif variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def test_backbones_stay_as_they_are():
    base = randomize(backbone(8, 16))
    before = state_of(base)
    models.deeplab_v3(base, 3, filters=4, arg_scope=SCOPE)
    models.lraspp(base, 3, filters=4, arg_scope=SCOPE)
    models.ssdlite(base, 3, extra_filters=(4,), arg_scope=SCOPE)
    assert_unchanged(base, before)


class Layers:
    """The layers of a model, computed in float64."""

    def __init__(self, model, scope, activation):
        self.layers = {layer.name.removeprefix(f"{scope}."): layer for layer in model.layers}
        self.activation = activation

    def _weights(self, name):
        return [np.float64(value) for value in self.layers[name].get_weights()]

    def _normalized(self, x, name):
        gamma, beta, mean, variance = self._weights(f"{name}.BatchNorm")
        return self.activation((x - mean) / np.sqrt(variance + 1e-3) * gamma + beta)

    def pointwise(self, x, name, normalized=True):
        kernel, *bias = self._weights(name)
        y = x @ kernel[0, 0] + sum(bias)
        return self._normalized(y, name) if normalized else y

    def depthwise(self, x, name, stride=1, rate=1):
        return self._normalized(oracles.depthwise_conv2d(x, *self._weights(name), stride, "same", rate), name)

    def separable(self, x, name, stride=1, rate=1):
        return self.pointwise(self.depthwise(x, f"{name}_depthwise", stride, rate), f"{name}_pointwise")


def relu(x):
    return np.maximum(x, 0)


def relu6(x):
    return np.clip(x, 0, 6)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def resized(x, rows, columns):
    """Bilinear interpolation between the middles of pixels, one pixel at a time."""
    y = np.zeros((len(x), rows, columns, x.shape[3]))
    for i in range(rows):
        for j in range(columns):
            row = min(max((i + 0.5) * x.shape[1] / rows - 0.5, 0), x.shape[1] - 1)
            column = min(max((j + 0.5) * x.shape[2] / columns - 0.5, 0), x.shape[2] - 1)
            top, left = int(row), int(column)
            below, right = min(top + 1, x.shape[1] - 1), min(left + 1, x.shape[2] - 1)
            upper = x[:, top, left] * (1 - column + left) + x[:, top, right] * (column - left)
            lower = x[:, below, left] * (1 - column + left) + x[:, below, right] * (column - left)
            y[:, i, j] = upper * (1 - row + top) + lower * (row - top)
    return y


def images(size=(32, 32), count=2):
    return np.random.default_rng(1).normal(size=(count, *size, 3)).astype("float32")


def maps_of(base, x):
    return [np.float64(each) for each in keras.tree.flatten(base(x, training=False))]


@pytest.mark.parametrize(
    ("rates", "decoder", "size"), in_part([((2, 3), True, (32, 48)), ((), False, (32, 32)), ((1,), True, (36, 36))], 3)
)
def test_deeplab(rates, decoder, size):
    base = backbone(4, 16, size=size)
    model = randomize(models.deeplab_v3(base, 5, 16, rates, decoder, filters=6, low_filters=3, arg_scope=SCOPE))
    x = images(size)
    low, high = maps_of(base, x)
    own = Layers(model, "deeplab_v3", relu)
    branches = [own.pointwise(high, "aspp0")]
    branches += [own.separable(high, f"aspp{i}", rate=rate) for i, rate in enumerate(rates, 1)]
    pooled = own.pointwise(high.mean((1, 2), keepdims=True), "image_pooling")
    branches.append(np.broadcast_to(pooled, branches[0].shape))
    net = own.pointwise(np.concatenate(branches, -1), "concat_projection")
    if decoder:
        low = own.pointwise(low, "decoder.feature_projection0")
        net = np.concatenate([resized(net, *low.shape[1:3]), low], -1)
        for i in range(2):
            net = own.separable(net, f"decoder.decoder_conv{i}")
    logits = resized(own.pointwise(net, "logits.semantic", normalized=False), *size)
    assert_close(model(x, training=False), softmax(logits), 1e-5)
    assert (model.output_shape, len(model.layers) > len(base.layers)) == ((None, *size, 5), True)


def test_lraspp():
    base = backbone(8, 16)
    model = randomize(models.lraspp(base, 3, filters=7, classifier_activation=None, arg_scope=SCOPE))
    x = images()
    low, high = maps_of(base, x)
    own = Layers(model, "lraspp", relu)
    gate = sigmoid(own.pointwise(high.mean((1, 2), keepdims=True), "gate.scale", normalized=False))
    net = resized(own.pointwise(high, "features") * gate, *low.shape[1:3])
    logits = own.pointwise(low, "logits.low", normalized=False) + own.pointwise(net, "logits.high", normalized=False)
    assert_close(model(x, training=False), resized(logits, 32, 32), 1e-5)


@pytest.mark.parametrize("make", in_part([models.lraspp, models.deeplab_v3], 2))
def test_classes_of_pixels_are_the_largest_logits(make):
    base = backbone(8, 16)
    options = {"filters": 4, "arg_scope": SCOPE}
    chosen = randomize(make(base, 6, argmax=True, **options))
    logits = make(base, 6, classifier_activation=None, **options)
    logits.set_weights(chosen.get_weights())
    x = 50 * images(count=4)  # so that pixels differ
    found = chosen(x, training=False).numpy()
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, np.argmax(logits(x, training=False), -1))
    assert len(np.unique(found)) > 1


def test_heads_infer_where_a_call_does_not_say_training():
    """`keras.layers.Resizing` in the middle of a model let the layers behind it train."""
    model = randomize(models.deeplab_v3(backbone(8, 16), 3, rates=(), filters=4, arg_scope=SCOPE))
    x, before = images(), model.get_weights()
    assert_close(model(x), model(x, training=False), 1e-6)
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


ANCHORS = Anchors(
    (AnchorGrid(4, 4, ((0.2, 0.3),)), AnchorGrid(2, 2, ((0.5, 0.4), (0.3, 0.6))), AnchorGrid(1, 1, ((0.9, 0.9),)))
)


def test_ssdlite():
    """One output for each anchor: grid by grid, row by row, at each position size by size."""
    base = backbone(8, 16)
    model = randomize(models.ssdlite(base, 3, ANCHORS, extra_filters=(10,), arg_scope=SCOPE))
    x = images()
    own = Layers(model, "ssdlite", relu6)
    nets = maps_of(base, x)
    nets.append(own.separable(own.pointwise(nets[-1], "extra_0.Conv2d_1x1"), "extra_0.Conv2d_3x3", stride=2))
    expected = {"offsets": [], "classes": []}
    for i, (net, grid) in enumerate(zip(nets, ANCHORS.grids, strict=True)):
        for part, kind, length in (("offsets", "BoxEncoding", 4), ("classes", "Class", 3)):
            name = f"BoxPredictor_{i}.{kind}Predictor"
            numbers = own.pointwise(own.depthwise(net, f"{name}_depthwise"), name, normalized=False)
            for row in range(grid.rows):
                for column in range(grid.columns):
                    for size in range(len(grid.sizes)):
                        expected[part].append(numbers[:, row, column, size * length : (size + 1) * length])
    found = model(x, training=False)
    assert_close(found["offsets"], np.stack(expected["offsets"], 1), 1e-5)
    assert_close(found["classes"], sigmoid(np.stack(expected["classes"], 1)), 1e-5)
    assert found["offsets"].shape[1] == ANCHORS.count == 25


def test_scores_begin_with_the_prior_and_anchors_with_the_size_of_the_image():
    base = models.from_definitions([*TINY, DepthSepConv(3, 2, 8)], (64, 96, 3), features=(16, 32), name="net")
    model = models.ssdlite(base, 2, prior=0.05)
    assert model.output["classes"].shape == (None, boxes.ssdlite_anchors((64, 96)).count, 2)
    found = model(np.zeros((1, 64, 96, 3), "float32"), training=False)
    assert_close(found["classes"], np.full(found["classes"].shape, 0.05), 1e-5)


SEGMENTERS = {
    "lraspp": lambda: models.lraspp(backbone(8, 16, layers=SMALLEST), 4, filters=4, arg_scope=SCOPE),
    "deeplab": lambda: models.deeplab_v3(
        backbone(4, 16), 4, rates=(2,), decoder=True, filters=4, low_filters=3, arg_scope=SCOPE
    ),
}


def int8_file(name, path):
    """The report of a segmenter's file, prepared for int8 as a whole."""
    prepared = quantize.prepare(randomize(SEGMENTERS[name]()))
    quantize.observe(prepared, images())
    assert {row.dtype for row in quantize.coverage(prepared).rows} == {"int8"}
    return tflite.export(prepared, path, recipe="int8", data=images())


@pytest.mark.parametrize("name", in_part(SEGMENTERS, 2))
def test_segmentation_is_exact_in_int8(name, tmp_path):
    report = int8_file(name, tmp_path / "heads.tflite")
    assert (report.verification.differing, report.verification.elements) == (0, 2 * 32 * 32 * 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmentation_stays_on_xnnpack_but_for_the_softmax(name, tmp_path):
    int8_file(name, tmp_path / "heads.tflite")
    target = tflite.check_targets(tmp_path / "heads.tflite", "xnnpack")["xnnpack"]
    assert [finding.operator for finding in target.findings] == ["SOFTMAX"]
    assert target.taken == target.nodes - 1


@pytest.mark.slow
def test_heads_survive_a_file_of_keras(tmp_path):
    model = randomize(models.ssdlite(backbone(8, 16), 3, ANCHORS, extra_filters=(8,), arg_scope=SCOPE))
    model.save(tmp_path / "heads.keras")
    again = keras.models.load_model(tmp_path / "heads.keras")
    for name, numbers in model(images(), training=False).items():
        np.testing.assert_array_equal(numbers, again(images(), training=False)[name])


def test_a_detector_learns():
    """Every weight has a gradient, and a step against it lowers the losses."""
    targets = boxes.targets([[0.1, 0.1, 0.6, 0.6]], [1], ANCHORS)
    offsets = np.concatenate([targets.offsets, (targets.classes > 0)[:, None]], 1)
    right = {"offsets": np.repeat(offsets[None], 2, 0), "classes": np.repeat(targets.classes[None], 2, 0)}
    losses = {"offsets": BoxLoss(), "classes": ClassLoss()}
    detector = models.ssdlite(backbone(8, 16), 3, ANCHORS, classifier_activation=None, arg_scope=SCOPE)

    def loss():
        found = detector(images(), training=True)
        return sum(losses[name](right[name], found[name]) for name in losses)

    with tf.GradientTape() as tape:
        before = loss()
    weights = detector.trainable_variables
    gradients = tape.gradient(before, [weight.value for weight in weights])
    still = [weight.path for weight, each in zip(weights, gradients, strict=True) if not np.any(each)]
    assert all("BoxEncodingPredictor" in path for path in still), still  # of a grid without an object
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.assign_sub(1e-3 * gradient)
    assert loss() < before


BAD_BACKBONES = {
    "no map of the stride": lambda: backbone(4, 8),
    "results that are no maps": lambda: models.from_definitions(TINY, (32, 32, 3), 10, name="net"),
    "images of unknown size": lambda: models.from_definitions(TINY, (None, None, 3), features=(16,), name="net"),
    "two inputs": lambda: keras.Model(two := [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))], sum(two)),
}


@pytest.mark.parametrize("make", [models.deeplab_v3, models.lraspp, models.ssdlite])
@pytest.mark.parametrize("kind", BAD_BACKBONES)
def test_bad_backbones_are_refused(make, kind):
    argument = {"ssdlite": "anchors"}.get(make.__name__, "output_stride") if kind.startswith("no map") else "backbone"
    text = assert_refused(lambda: make(BAD_BACKBONES[kind](), 3), argument)
    assert ("8×8, 4×4 for images of 32×32" in text) == kind.startswith("no map")


@pytest.fixture(scope="module")
def two_maps():
    return backbone(8, 16)


@pytest.mark.parametrize(
    ("argument", "make", "options"),
    [
        *(("num_classes", make, {"num_classes": n}) for make in ("deeplab_v3", "lraspp", "ssdlite") for n in (0, 2.5)),
        *(("output_stride", "deeplab_v3", {"output_stride": s}) for s in (0, 3, 4, 64, "16")),
        *(("rates", "deeplab_v3", {"rates": r}) for r in (3, (0,), (2, 1.5), "12")),
        ("decoder", "deeplab_v3", {"decoder": True}),
        ("filters", "deeplab_v3", {"filters": 0}),
        ("dropout", "deeplab_v3", {"dropout": 1.0}),
        ("low_stride", "lraspp", {"low_stride": 4}),
        *(("classifier_activation", m, {"classifier_activation": "loud"}) for m in ("lraspp", "ssdlite")),
        ("name", "lraspp", {"name": ""}),
        ("anchors", "ssdlite", {"anchors": boxes.multibox_anchors([3])}),
        ("anchors", "ssdlite", {"anchors": boxes.multibox_anchors([2, 3])}),
        ("anchors", "ssdlite", {"anchors": boxes.multibox_anchors([1])}),
        *(("extra_filters", "ssdlite", {"extra_filters": f}) for f in ((), (0,), 4, "ab")),
        *(("prior", "ssdlite", {"prior": p}) for p in (0, 1, -0.1, "low")),
    ],
)
def test_bad_arguments_are_refused(two_maps, argument, make, options):
    assert_refused(lambda: getattr(models, make)(two_maps, **{"num_classes": 3, **options}), argument)


def test_other_objects_are_no_backbone(two_maps):
    for wrong in (None, two_maps.outputs, keras.layers.Dense(3), keras.Sequential([keras.layers.Dense(3)])):
        assert_refused(lambda wrong=wrong: models.lraspp(wrong, 3), "backbone", TypeError)
    assert_refused(lambda: models.ssdlite(two_maps, 3, [1]), "anchors", TypeError)
    assert_refused(lambda: models.lraspp(two_maps, 3, arg_scope=3), "arg_scope", TypeError)
