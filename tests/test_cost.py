"""Cost: slim's published tables row by row, the paper's tables, brute-force counts, and agreement between the three."""

import csv
import io
import math

import keras
import numpy as np
import pytest
from checks import assert_refused, assert_sentence
from layer_checks import Subclassed
from processes import imported_by

from tfsep import MOBILENETV1_CONV_DEFS, Conv, DepthSepConv, defs, layers, models
from tfsep.cost import cost

# TF-slim's mobilenet_v1 module docstring: params and MACs of each layer, normalization left out.
SLIM_100_224 = """
Conv2d_0 864 10,838,016
Conv2d_1_depthwise 288 3,612,672
Conv2d_1_pointwise 2,048 25,690,112
Conv2d_2_depthwise 576 1,806,336
Conv2d_2_pointwise 8,192 25,690,112
Conv2d_3_depthwise 1,152 3,612,672
Conv2d_3_pointwise 16,384 51,380,224
Conv2d_4_depthwise 1,152 903,168
Conv2d_4_pointwise 32,768 25,690,112
Conv2d_5_depthwise 2,304 1,806,336
Conv2d_5_pointwise 65,536 51,380,224
Conv2d_6_depthwise 2,304 451,584
Conv2d_6_pointwise 131,072 25,690,112
Conv2d_7_depthwise 4,608 903,168
Conv2d_7_pointwise 262,144 51,380,224
Conv2d_8_depthwise 4,608 903,168
Conv2d_8_pointwise 262,144 51,380,224
Conv2d_9_depthwise 4,608 903,168
Conv2d_9_pointwise 262,144 51,380,224
Conv2d_10_depthwise 4,608 903,168
Conv2d_10_pointwise 262,144 51,380,224
Conv2d_11_depthwise 4,608 903,168
Conv2d_11_pointwise 262,144 51,380,224
Conv2d_12_depthwise 4,608 225,792
Conv2d_12_pointwise 524,288 25,690,112
Conv2d_13_depthwise 9,216 451,584
Conv2d_13_pointwise 1,048,576 51,380,224
total 3,185,088 567,716,352
"""
SLIM_075_128 = """
Conv2d_0 648 2,654,208
Conv2d_1_depthwise 216 884,736
Conv2d_1_pointwise 1,152 4,718,592
Conv2d_2_depthwise 432 442,368
Conv2d_2_pointwise 4,608 4,718,592
Conv2d_3_depthwise 864 884,736
Conv2d_3_pointwise 9,216 9,437,184
Conv2d_4_depthwise 864 221,184
Conv2d_4_pointwise 18,432 4,718,592
Conv2d_5_depthwise 1,728 442,368
Conv2d_5_pointwise 36,864 9,437,184
Conv2d_6_depthwise 1,728 110,592
Conv2d_6_pointwise 73,728 4,718,592
Conv2d_7_depthwise 3,456 221,184
Conv2d_7_pointwise 147,456 9,437,184
Conv2d_8_depthwise 3,456 221,184
Conv2d_8_pointwise 147,456 9,437,184
Conv2d_9_depthwise 3,456 221,184
Conv2d_9_pointwise 147,456 9,437,184
Conv2d_10_depthwise 3,456 221,184
Conv2d_10_pointwise 147,456 9,437,184
Conv2d_11_depthwise 3,456 221,184
Conv2d_11_pointwise 147,456 9,437,184
Conv2d_12_depthwise 3,456 55,296
Conv2d_12_pointwise 294,912 4,718,592
Conv2d_13_depthwise 6,912 110,592
Conv2d_13_pointwise 589,824 9,437,184
total 1,800,144 106,002,432
"""


def convolutions(report):
    return [row for row in report.rows if row.kind != "batch_normalization"]


@pytest.mark.parametrize(("table", "alpha", "size"), [(SLIM_100_224, 1.0, 224), (SLIM_075_128, 0.75, 128)])
def test_published_slim_table_row_by_row(table, alpha, size):
    rows = convolutions(cost(MOBILENETV1_CONV_DEFS, (size, size, 3), alpha))
    counted = [(row.name, row.params, row.macs) for row in rows]
    counted.append(("total", sum(row.params for row in rows), sum(row.macs for row in rows)))
    published = [line.replace(",", "").split() for line in table.strip().splitlines()]
    assert counted == [(name, int(params), int(macs)) for name, params, macs in published]


SHALLOW = MOBILENETV1_CONV_DEFS[:7] + MOBILENETV1_CONV_DEFS[12:]
PAPER = {
    # arXiv 1704.04861, in millions: definitions, alpha, size, MACs, params. The classifier of 1000 classes, 1.0 M MACs,
    # is in all of them but the MACs of the full convolutions, which come out as 4866.3 without it and 4867.3 with it.
    "table 4, full convolutions": (defs.without_depthwise(MOBILENETV1_CONV_DEFS), 1.0, 224, 4866, 29.3),
    "table 4, MobileNet": (MOBILENETV1_CONV_DEFS, 1.0, 224, 569, 4.2),
    "table 5, narrow": (MOBILENETV1_CONV_DEFS, 0.75, 224, 325, 2.6),
    "table 5, shallow": (SHALLOW, 1.0, 224, 307, 2.9),
    "table 6, 0.5": (MOBILENETV1_CONV_DEFS, 0.5, 224, 149, 1.3),
    "table 6, 0.25": (MOBILENETV1_CONV_DEFS, 0.25, 224, 41, 0.5),
    "table 7, 192": (MOBILENETV1_CONV_DEFS, 1.0, 192, 418, 4.2),
    "table 7, 160": (MOBILENETV1_CONV_DEFS, 1.0, 160, 290, 4.2),
    "table 7, 128": (MOBILENETV1_CONV_DEFS, 1.0, 128, 186, 4.2),
}


@pytest.mark.parametrize("case", PAPER)
def test_published_tables_of_the_paper(case):
    """As printed: the paper now rounds the last digit, and now cuts it."""
    conv_defs, alpha, size, macs, params = PAPER[case]
    rows = convolutions(cost(conv_defs, (size, size, 3), alpha, num_classes=1000))
    counted = rows[:-1] if "full" in case else rows
    millions = sum(row.macs for row in counted) / 1e6
    assert macs in (math.floor(millions), round(millions))
    tenths = sum(row.params for row in rows) / 1e5
    assert round(10 * params) in (math.floor(tenths), round(tenths))


NETS = [
    {"size": (64, 48), "alpha": 0.25},
    {"size": (65, 33), "alpha": 0.5, "output_stride": 8, "min_depth": 4},
    {"size": (32, 32), "alpha": 0.1, "conv_defs": (Conv((3, 5), (2, 1), 24), DepthSepConv(5, 2, 40), Conv(1, 1, 12))},
]


@pytest.mark.parametrize("net", NETS)
def test_definitions_and_model_agree_row_by_row(net):
    conv_defs = net.get("conv_defs", MOBILENETV1_CONV_DEFS)
    options = {name: net[name] for name in ("output_stride", "min_depth") if name in net}
    shape = (*net["size"], 3)
    planned = cost(conv_defs, shape, net["alpha"], num_classes=7, **options)
    model = models.MobileNetV1(shape, 7, net["alpha"], conv_defs=conv_defs, **options)
    built = cost(model)
    assert [row[1:] for row in built.rows] == [row[1:] for row in planned.rows]
    assert built.params == model.count_params()
    assert not built.uncounted


def multiplications(layer, shape):
    """Count a layer's MACs by brute force: every weight is 1, every input 1, and a sum of ones is a count."""
    layer.set_weights([np.zeros(w.shape) if "bias" in w.path else np.ones(w.shape) for w in layer.weights])
    return int(np.sum(layer(np.ones((1, *shape), "float32"))))


BRUTE = {
    "conv1d": (keras.layers.Conv1D(4, 3, strides=2, groups=2), (9, 4)),
    "conv2d": (keras.layers.Conv2D(4, (3, 2), strides=2), (9, 8, 3)),
    "conv2d grouped, strided, dilated": (layers.Conv2D(6, 3, (1, 2), groups=2, rate=2), (9, 8, 4)),
    "conv2d channels first": (layers.Conv2D(5, 3, data_format="channels_first"), (3, 6, 7)),
    "conv3d": (keras.layers.Conv3D(2, 2), (4, 5, 3, 2)),
    "depthwise": (layers.DepthwiseConv2D(3, 2, depth_multiplier=2, rate=2), (9, 8, 3)),
    "depthwise1d": (keras.layers.DepthwiseConv1D(3, depth_multiplier=2), (9, 3)),
    "transposed": (keras.layers.Conv2DTranspose(4, 2, strides=2), (5, 4, 3)),
    "dense": (keras.layers.Dense(5), (7,)),
    "dense on a map": (keras.layers.Dense(5), (2, 3, 7)),
    "conv2d at every step of time": (keras.layers.TimeDistributed(keras.layers.Conv2D(4, 3, strides=2)), (5, 9, 8, 3)),
    "nested in time": (keras.layers.TimeDistributed(keras.layers.TimeDistributed(keras.layers.Dense(5))), (2, 3, 7)),
}


@pytest.mark.parametrize("case", BRUTE)
def test_macs_equal_a_brute_force_count(case):
    layer, shape = BRUTE[case]
    report = cost(keras.Sequential([keras.Input(shape), layer]))
    assert report.macs == multiplications(layer, shape)
    assert report.params == layer.count_params()
    assert not report.uncounted


def test_separable_is_two_rows():
    layer = layers.SeparableConv2D(8, 3, 2, "same", depth_multiplier=2)
    rows = cost(keras.Sequential([keras.Input((8, 6, 3)), layer])).rows
    assert [(r.kind, r.kernel, r.groups, r.output_shape, r.params, r.macs) for r in rows] == [
        ("depthwise_conv2d", (3, 3), 3, (4, 3, 6), 54, 12 * 6 * 9),
        ("conv2d", (1, 1), 1, (4, 3, 8), 56, 12 * 6 * 8),
    ]


def test_nested_and_shared_layers():
    inner = keras.Sequential([keras.Input((8, 8, 4)), layers.DepthwiseSeparableConv(4)], name="inner")
    inputs = keras.Input((8, 8, 3))
    shared = keras.layers.Conv2D(3, 1, name="shared")
    model = keras.Model(inputs, inner(keras.layers.Conv2D(4, 3, padding="same", name="stem")(shared(shared(inputs)))))
    report = cost(model)
    assert [(r.name, r.params, r.macs) for r in report.rows if "shared" in r.name] == [
        ("shared", 12, 576),
        ("shared", 0, 576),
    ]
    assert report.params == model.count_params()
    assert [r.name.split("/")[0] for r in report.rows[3:]] == ["inner"] * 4
    assert cost(keras.Model(inputs, shared(inputs))).params == 12


def test_subclassed_model_requires_a_shape():
    with pytest.raises(ValueError) as error:  # noqa: PT011
        cost(Subclassed(layers.Conv2D(4, 3)))
    assert_sentence(error.value, "input_shape")
    assert cost(Subclassed(layers.Conv2D(4, 3)), (8, 8, 3)).macs == 36 * 4 * 27


class Scale(keras.layers.Layer):
    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], 5), name="kernel")

    def call(self, x):
        return x @ self.kernel


def test_products_of_other_layers_are_counted():
    report = cost(keras.Sequential([keras.Input((4,)), Scale(name="mine"), keras.layers.Dense(2)]))
    assert [(row.name, row.kind, row.params, row.macs) for row in report.rows][:1] == [("mine", "Scale", 20, 20)]
    assert report.params == 20 + 12
    assert not report.uncounted


def test_open_sizes_require_a_shape():
    model = models.MobileNetV1((None, None, 3), 5, 0.25)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        cost(model)
    assert_sentence(error.value, "input_shape")
    assert cost(model, (64, 64, 3)).macs == cost(MOBILENETV1_CONV_DEFS, (64, 64, 3), 0.25, num_classes=5).macs


@pytest.fixture(scope="module")
def small():
    inputs = keras.Input((16, 12, 4))
    x = layers.Conv2D(8, 3, 2, "same", groups=2, activation="relu")(inputs)
    x = layers.DepthwiseConv2D(3, (1, 2), "same", rate=2, depth_multiplier=2)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(5)(x))
    # The converter leaves out a bias of zeros.
    model.set_weights([np.random.default_rng(1).normal(size=w.shape) for w in model.weights])
    return model


@pytest.mark.parametrize("recipe", ["float32", "float16", "dynamic_int8", "int8"])
def test_file_costs_what_its_model_costs(small, recipe, tmp_path):
    from tfsep import tflite

    data = np.random.default_rng(0).normal(size=(8, 16, 12, 4)).astype("float32")
    tflite.export(small, tmp_path / "m.tflite", recipe, calibration=data)
    report, expected = cost(tmp_path / "m.tflite"), cost(small)
    assert [(r.kind, r.stride, r.rate, r.groups, r.macs) for r in report.rows] == [
        (r.kind, r.stride, r.rate, r.groups, r.macs) for r in expected.rows
    ]
    assert report.params == expected.params


def test_published_google_file(fixtures):
    report = cost(fixtures / "official" / "mobilenet_v1_0.25_128_quant.tflite")
    expected = cost(MOBILENETV1_CONV_DEFS, (128, 128, 3), 0.25, num_classes=1001)
    assert [row.macs for row in report.rows] == [row.macs for row in convolutions(expected)]


def test_tables_say_the_same_numbers():
    report = cost(MOBILENETV1_CONV_DEFS, (128, 128, 3), 0.25, num_classes=10)
    rows = list(csv.DictReader(io.StringIO(report.to_csv(flops=True))))
    assert [int(row["params"]) for row in rows] == [row.params for row in report.rows]
    assert [int(row["MACs"]) for row in rows] == [row.macs for row in report.rows]
    assert [int(row["FLOPs"]) for row in rows] == [2 * row.macs for row in report.rows]
    lines = report.to_markdown().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [int(row[-1].replace(",", "")) for row in cells] == [*(row.macs for row in report.rows), report.macs]
    assert f"{report.macs:,}" in str(report)
    assert report.flops == 2 * report.macs


def test_cost_of_definitions_imports_no_tensorflow():
    program = "import tfsep; tfsep.cost.cost(tfsep.MOBILENETV1_CONV_DEFS, (224, 224, 3)).to_markdown()"
    assert imported_by(program, ("tensorflow", "keras", "ai_edge_litert", "numpy", "tfsep")) == ["tfsep"]


ERRORS = {
    "type": (TypeError, "network", lambda: cost(3)),
    "no shape": (ValueError, "input_shape", lambda: cost(MOBILENETV1_CONV_DEFS)),
    "rank": (ValueError, "input_shape", lambda: cost(MOBILENETV1_CONV_DEFS, (224, 224))),
    "size": (ValueError, "input_shape", lambda: cost(MOBILENETV1_CONV_DEFS, (224, 0, 3))),
    "alpha": (ValueError, "depth_multiplier", lambda: cost(MOBILENETV1_CONV_DEFS, (224, 224, 3), 0)),
    "stride": (ValueError, "output_stride", lambda: cost(MOBILENETV1_CONV_DEFS, (224, 224, 3), output_stride=12)),
    "classes": (ValueError, "num_classes", lambda: cost(MOBILENETV1_CONV_DEFS, (224, 224, 3), num_classes=-1)),
    "file": (FileNotFoundError, "path", lambda: cost("missing.tflite")),
    "alpha of a file": (ValueError, "alpha", lambda: cost("missing.tflite", alpha=0.5)),
    "shape of a file": (ValueError, "input_shape", lambda: cost("missing.tflite", (1, 1, 1))),
    "activation": (ValueError, "conv_defs[0].activation", lambda: cost(activated("relu66"), (8, 8, 3))),
    "activation of no function": (ValueError, "conv_defs[0].activation", lambda: cost(activated("a>b"), (8, 8, 3))),
    "squeeze": (ValueError, "conv_defs[0].squeeze", lambda: cost([defs.InvertedResidual(3, 1, 8, 6, 2)], (8, 8, 3))),
    "no sequence": (ValueError, "input_shape", lambda: cost(MOBILENETV1_CONV_DEFS, 224)),
    "alpha past all": (ValueError, "depth_multiplier", lambda: cost(MOBILENETV1_CONV_DEFS, (224, 224, 3), 1e308)),
    "another shape of a model": (ValueError, "input_shape", lambda: cost(models.MobileNetV1((32, 32, 3)), (32, 32, 1))),
    "shape of two inputs": (ValueError, "input_shape", lambda: cost(two_inputs(), (4,))),
    "classes of a model": (ValueError, "num_classes", lambda: cost(Subclassed(layers.Conv2D(4, 3)), num_classes=3)),
}


def activated(name):
    return [Conv(3, 1, 8, activation=name)]


def two_inputs():
    inputs = keras.Input((4,)), keras.Input((4,))
    return keras.Model(inputs, keras.layers.Concatenate()(inputs))


def test_numpy_numbers_are_accepted():
    plain = cost(MOBILENETV1_CONV_DEFS, (64, 64, 3), 0.5, 8, 16, 10)
    shape = np.array([64, 64, 3])
    given = cost(MOBILENETV1_CONV_DEFS, shape, np.float32(0.5), np.int64(8), np.int64(16), np.int32(10))
    assert given == plain


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    kind, argument, run = ERRORS[case]
    assert_refused(run, argument, kind)


def test_layer_calls_are_restored():
    before = keras.layers.Layer.__call__
    with pytest.raises(Exception, match="boom"):
        cost(Boom(), (2,))
    assert keras.layers.Layer.__call__ is before


class Boom(keras.Model):
    def call(self, x):
        raise RuntimeError("boom")
