"""Transposed layers: Keras's contract, Keras's numbers, files without an operator of shapes, costs, folding."""

import itertools
from functools import partial

import keras
import numpy as np
import oracles
import pytest
from checks import assert_close, assert_refused, in_part
from layer_checks import check_channels_first, check_config, check_layer, check_signature, randomize

from tfsep import layers, surgery, tflite
from tfsep.cost import cost

L = keras.layers
X = np.random.default_rng(0).normal(size=(2, 4, 5, 4)).astype("float32")
SEQUENCES = np.random.default_rng(0).normal(size=(16, 7, 4)).astype("float32")
LAYERS = {
    "Conv1DTranspose": lambda **k: layers.Conv1DTranspose(6, 3, **k),
    "Conv2DTranspose": lambda **k: layers.Conv2DTranspose(6, 3, **k),
    "DepthwiseConv2DTranspose": lambda **k: layers.DepthwiseConv2DTranspose(3, **{"depth_multiplier": 2, **k}),
    "SeparableConv2DTranspose": lambda **k: layers.SeparableConv2DTranspose(6, 3, **{"depth_multiplier": 2, **k}),
}


KERAS = ["Conv1DTranspose", "Conv2DTranspose"]


def input_for(layer):
    """An input of the layer's rank: images, or sequences."""
    return SEQUENCES if len(layer.kernel_size) == 1 else X


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *itertools.product(LAYERS, [{}, {"strides": 2, "padding": "same", "activation": "relu"}]),
        *itertools.product(
            list(LAYERS)[1:],
            [
                {"strides": (2, 3), "padding": 1, "output_padding": (1, 2), "use_bias": False},
                {"strides": 2, "padding": ((1, 0), (0, 2)), "rate": (3, 2)},
            ],
        ),
        ("Conv1DTranspose", {"strides": 3, "padding": 1, "output_padding": 2, "use_bias": False}),
        ("Conv1DTranspose", {"strides": 2, "padding": (1, 2), "rate": 3, "groups": 2}),
        ("Conv2DTranspose", {"strides": 2, "padding": "same", "rate": 3, "groups": 2}),
    ],
)
def test_the_keras_contract(name, options):
    layer = LAYERS[name](**options)
    check_layer(layer, input_for(layer)[:2])


@pytest.mark.parametrize("name", LAYERS)
def test_trains_under_mixed_precision(name):
    layer = LAYERS[name](strides=2, padding="same", dtype="mixed_bfloat16")
    x = input_for(layer)
    pooling = L.GlobalAveragePooling1D() if x is SEQUENCES else L.GlobalAveragePooling2D()
    model = keras.Sequential([keras.Input(x.shape[1:]), layer, pooling])
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(x, np.ones((len(x), model.output_shape[-1])), verbose=0)
    assert layer(x).dtype == "bfloat16"
    assert all(w.dtype == "float32" for w in layer.weights)
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert all(changed) if x is SEQUENCES else any(changed)


@pytest.mark.parametrize("name", LAYERS)
def test_channels_first(name):
    options = {"strides": 2, "padding": 1, "output_padding": 1}
    last, first = LAYERS[name](**options), LAYERS[name](**options, data_format="channels_first")
    y = check_channels_first(last, first, input_for(last))
    if last.rank == 1:
        assert first.compute_output_shape((None, 4, 7)) == (None, 6, 14)
    else:
        assert first.compute_output_shape((None, 4, None, 5)) == (None, y.shape[-1], None, 10)


@pytest.mark.parametrize("name", LAYERS)
def test_config_holds_every_argument(name):
    row = {"kernel_size": 3, "strides": 2, "padding": (1, 0), "output_padding": 1, "dilation_rate": 2}
    check_config(getattr(layers, name), row if name == "Conv1DTranspose" else None)


@pytest.mark.parametrize("name", KERAS)
def test_signatures_extend_keras(name):
    check_signature(getattr(layers, name), getattr(L, name))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *itertools.product(
            KERAS,
            [
                {"kernel_size": 3},
                {"kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"},
                {"kernel_size": 3, "dilation_rate": 2, "padding": "same"},
            ],
        ),
        ("Conv1DTranspose", {"kernel_size": 2, "strides": 3, "output_padding": 1, "use_bias": False}),
        ("Conv2DTranspose", {"kernel_size": (2, 3), "strides": (3, 2), "output_padding": 1, "use_bias": False}),
    ],
)
def test_equal_to_keras(name, options):
    our_class, theirs = getattr(layers, name), getattr(L, name)(6, **options)
    x = input_for(theirs)
    expected = theirs(x)
    theirs.set_weights([np.random.default_rng(1).normal(size=w.shape) for w in theirs.weights])
    for ours in (our_class(6, **options), our_class.from_config(theirs.get_config())):
        ours.build(x.shape)
        assert [(w.name, w.shape) for w in ours.weights] == [(w.name, w.shape) for w in theirs.weights]
        ours.set_weights(theirs.get_weights())
        assert_close(ours(x), theirs(x))
        assert ours.compute_output_shape(x.shape) == expected.shape


@pytest.mark.parametrize("name", KERAS)
def test_standard_kernel_is_drawn_as_in_keras(name):
    ours, theirs = (
        getattr(maker, name)(6, 3, kernel_initializer=keras.initializers.HeNormal(seed=1)) for maker in (layers, L)
    )
    shape = input_for(ours).shape
    ours.build(shape)
    theirs.build(shape)
    np.testing.assert_array_equal(ours.kernel, theirs.kernel)


@pytest.mark.parametrize("name", ["DepthwiseConv2DTranspose", "SeparableConv2DTranspose"])
def test_depthwise_initializers_use_the_true_fan_in(name):
    layer = LAYERS[name](depthwise_initializer="he_normal")
    layer.build((None, 4, 5, 1024))
    kernel = np.asarray(layer.weights[0])
    assert kernel.shape == (3, 3, 1024, 2)
    assert np.var(kernel) == pytest.approx(2 / 9, rel=0.05)


@pytest.mark.parametrize(("stride", "rate"), [(1, 1), (2, 1), (2, 2), (2, 3)])
@pytest.mark.parametrize("multiplier", [1, 2])
def test_each_channel_is_upsampled_by_its_own_filters(stride, rate, multiplier):
    """Channel c·M + m of the result is channel c transposed by filter m, one pair at a time."""
    layer = layers.DepthwiseConv2DTranspose(3, stride, depth_multiplier=multiplier, rate=rate, use_bias=False)
    y = np.asarray(layer(X))
    kernel = np.asarray(layer.kernel)
    assert kernel.shape == (3, 3, 4, multiplier)
    for c, m in np.ndindex(4, multiplier):
        one = oracles.conv2d_transpose(
            X[..., c : c + 1], kernel[:, :, None, c, m : m + 1], stride, rate, 1, (0, 0), y.shape[1:3]
        )
        assert_close(y[..., c * multiplier + m], one[..., 0])


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv1DTranspose(6, 3, 2, "same", groups=2), [("conv1d_transpose", 2, 3 * 3 * 4 + 6, 7 * 3 * 3 * 4)]),
        (L.Conv1DTranspose(6, 3, 2), [("conv1d_transpose", 1, 3 * 6 * 4 + 6, 7 * 3 * 6 * 4)]),
        (layers.Conv2DTranspose(6, 3, 2, "same", groups=2), [("conv2d_transpose", 2, 9 * 3 * 4 + 6, 20 * 9 * 3 * 4)]),
        (
            layers.DepthwiseConv2DTranspose(3, 2, "same", 2),
            [("depthwise_conv2d_transpose", 4, 72 + 8, 20 * 9 * 8)],
        ),
        (
            layers.SeparableConv2DTranspose(5, 3, 2, "same", 2),
            [("depthwise_conv2d_transpose", 4, 72, 20 * 9 * 8), ("conv2d", 1, 40 + 5, 80 * 8 * 5)],
        ),
    ],
)
def test_costs(layer, expected):
    """Each input pixel meets each tap once; the 1×1 part is counted at the size of the result."""
    report = cost(keras.Sequential([keras.Input(input_for(layer).shape[1:]), layer]))
    rank = len(layer.kernel_size)
    assert (report.rows[0].kernel, report.rows[0].stride) == ((3,) * rank, (2,) * rank)
    assert [(row.kind, row.groups, row.params, row.macs) for row in report.rows] == expected
    assert not report.uncounted


def randomized(layer, *more):
    model = keras.Sequential([keras.Input(input_for(layer).shape[1:]), layer, *more])
    randomize(model)
    return model


@pytest.mark.parametrize(
    "make",
    [
        *(partial(make, strides=2, padding="same") for make in LAYERS.values()),
        lambda: layers.Conv2DTranspose(6, 3, 2, "same", groups=2),
        lambda: layers.Conv2DTranspose(4, 3, 2, "same", groups=4),
        lambda: layers.Conv1DTranspose(6, 3, 2, groups=2),
        lambda: layers.Conv1DTranspose(8, 3, groups=4, use_bias=False),
        lambda: L.Conv1DTranspose(6, 3, 2),
    ],
)
def test_batch_normalization_folds_in(make):
    layer = make()
    model = randomized(layer, layers.BatchNormalization())
    folded, x = surgery.fold_batch_norm(model), input_for(layer)
    assert len(folded.layers) == 1
    assert_close(folded(x), model(x))


SPREAD = ["RESHAPE", "PAD", "RESHAPE"]
EXPORTED = {
    "same": (lambda: layers.Conv2DTranspose(6, 3, 2, "same", activation="relu"), ["TRANSPOSE_CONV"]),
    "valid": (lambda: layers.Conv2DTranspose(6, 3, 2), ["TRANSPOSE_CONV"]),
    "unequal strides": (lambda: layers.Conv2DTranspose(6, 3, (1, 2), "same"), ["TRANSPOSE_CONV"]),
    "a stride over the kernel": (lambda: layers.Conv2DTranspose(6, 2, 3), ["TRANSPOSE_CONV"]),
    "pixels that are SAME's": (lambda: layers.Conv2DTranspose(6, 4, 2, 1), ["TRANSPOSE_CONV"]),
    "other pixels": (lambda: layers.Conv2DTranspose(6, 3, 2, 1, 1), ["TRANSPOSE_CONV", "SLICE", "ADD"]),
    "rate": (lambda: layers.Conv2DTranspose(6, 3, 1, "same", rate=2), ["CONV_2D"]),
    "stride and rate": (lambda: layers.Conv2DTranspose(6, 3, 2, "same", rate=3), [*SPREAD, "PAD", "CONV_2D"]),
    "a common factor": (
        lambda: layers.Conv2DTranspose(6, 3, 2, "same", rate=2),
        ["TRANSPOSE_CONV", *SPREAD, "SLICE", "ADD"],
    ),
    "groups": (lambda: layers.Conv2DTranspose(6, 3, 2, "same", groups=2), [*SPREAD, "PAD", "CONV_2D"]),
    "a channel a group": (
        lambda: layers.Conv2DTranspose(8, 3, 2, "same", groups=4),
        [*SPREAD, "PAD", "DEPTHWISE_CONV_2D"],
    ),
    "depthwise": (lambda: layers.DepthwiseConv2DTranspose(3, 2, "same"), [*SPREAD, "PAD", "DEPTHWISE_CONV_2D"]),
    "depthwise, stride 1": (lambda: layers.DepthwiseConv2DTranspose(3, 1, "same", 2), ["DEPTHWISE_CONV_2D"]),
    "separable": (
        lambda: layers.SeparableConv2DTranspose(5, 3, 2, 1, 2, 1),
        [*SPREAD, "DEPTHWISE_CONV_2D", "CONV_2D"],
    ),
    "1-D, same": (lambda: layers.Conv1DTranspose(6, 3, 2, "same", activation="relu"), ["TRANSPOSE_CONV"]),
    "1-D, valid": (lambda: layers.Conv1DTranspose(6, 3, 2), ["TRANSPOSE_CONV"]),
    "1-D, other elements": (lambda: layers.Conv1DTranspose(6, 3, 2, 1, 1), ["TRANSPOSE_CONV", "SLICE", "ADD"]),
    "1-D, rate": (lambda: layers.Conv1DTranspose(6, 3, 1, "same", rate=2), ["CONV_2D"]),
    "1-D, stride and rate": (
        lambda: layers.Conv1DTranspose(6, 3, 2, "same", rate=3),
        ["PAD", "RESHAPE", "PAD", "CONV_2D"],
    ),
    "1-D, groups": (
        lambda: layers.Conv1DTranspose(6, 3, 2, "same", groups=2),
        ["PAD", "RESHAPE", "PAD", "CONV_2D"],
    ),
    "1-D, a channel a group": (
        lambda: layers.Conv1DTranspose(8, 3, 2, "same", groups=4),
        ["PAD", "RESHAPE", "PAD", "DEPTHWISE_CONV_2D"],
    ),
    "1-D, keras": (lambda: L.Conv1DTranspose(6, 3, 2, "same", activation="relu"), ["TRANSPOSE_CONV"]),
    "1-D, keras, rate": (lambda: L.Conv1DTranspose(6, 3, dilation_rate=2), ["PAD", "CONV_2D"]),
}


@pytest.mark.parametrize("case", in_part(EXPORTED, 2))
def test_exported_files(case, tmp_path):
    make, operators = EXPORTED[case]
    layer = make()
    model, is_1d = randomized(layer), len(layer.kernel_size) == 1
    data = SEQUENCES if is_1d else np.random.default_rng(2).uniform(-1, 1, (16, *X.shape[1:])).astype("f")
    expected = np.asarray(model(data))
    # One model in both recipes, whose conversion to float32 is made once.
    for recipe in ("float32", "int8"):
        report = tflite.export(model, tmp_path / "m.tflite", recipe, calibration=data)
        # A sequence becomes an image of one row, and one again.
        whole = ["RESHAPE", *operators, "RESHAPE"] if is_1d else operators
        assert [op.name for op in tflite.inspect(report.path).operators] == whole
        if operators == ["TRANSPOSE_CONV"]:
            assert cost(report.path).macs == cost(model).macs
        actual = tflite.predict(report.path, data)
        if recipe == "float32":
            assert_close(actual, expected)
        else:
            assert np.abs(actual - expected).max() <= 4 * len(operators) * report.outputs[0].scale


ERRORS = {
    "1-D, padding": ("padding", lambda: layers.Conv1DTranspose(4, 3, padding="causal")),
    "1-D, output_padding": ("output_padding", lambda: layers.Conv1DTranspose(4, 3, 2, output_padding=2)),
    "1-D, strides": ("strides", lambda: layers.Conv1DTranspose(4, 3, (1, 2))),
    "1-D, groups": ("groups", lambda: layers.Conv1DTranspose(4, 3, groups=3)),
    "1-D, rank": ("input", lambda: layers.Conv1DTranspose(4, 3).build((None, 8, 8, 4))),
    "filters": ("filters", lambda: layers.Conv2DTranspose(0, 3)),
    "kernel": ("kernel_size", lambda: layers.DepthwiseConv2DTranspose(0)),
    "strides": ("strides", lambda: layers.SeparableConv2DTranspose(4, 3, 0)),
    "padding": ("padding", lambda: layers.Conv2DTranspose(4, 3, padding="causal")),
    "both rates": ("rate", lambda: layers.Conv2DTranspose(4, 3, rate=2, dilation_rate=3)),
    "multiplier": ("depth_multiplier", lambda: layers.DepthwiseConv2DTranspose(3, depth_multiplier=0)),
    "output_padding": ("output_padding", lambda: layers.Conv2DTranspose(4, 3, 2, output_padding=2)),
    "output_padding, negative": ("output_padding", lambda: layers.SeparableConv2DTranspose(4, 3, 2, output_padding=-1)),
    "groups": ("groups", lambda: layers.Conv2DTranspose(4, 3, groups=3)),
    "groups of channels": ("groups", lambda: layers.Conv2DTranspose(6, 3, groups=3).build((None, 8, 8, 4))),
    "rank": ("input", lambda: layers.Conv2DTranspose(4, 3).build((None, 8, 4))),
    "channels": ("input", lambda: layers.DepthwiseConv2DTranspose(3).build((None, 8, 8, None))),
    "size": ("input size", lambda: layers.Conv2DTranspose(4, 3, padding=3).compute_output_shape((None, 4, 4, 4))),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    argument, make = ERRORS[case]
    assert_refused(make, argument)
