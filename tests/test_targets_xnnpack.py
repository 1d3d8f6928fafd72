"""Rules of XNNPACK, on one file of single operators: they explain what LiteRT was measured to leave, and no more."""

import numpy as np
import pytest
from tflite_builder import Graph, Op, Tensor, build

from tfsep import tflite
from tfsep._flatbuffer.reader import read_tflite
from tfsep.tflite._targets._node import nodes_of

IMAGE = (1, 4, 4, 4)


def real(shape=IMAGE):
    return Tensor(shape)


def stored(scale, shape=IMAGE, dtype="int8", zero=0):
    return Tensor(shape, dtype, None, (scale, zero))


def whole(*numbers):
    return Tensor((len(numbers),), "int32", numbers)


def case(name, inputs, outputs, table="", **options):
    """An operator, its inputs and its outputs."""
    return name, inputs, outputs, options, table


def split(count):
    parts = [real((1, 4, 4, 1))] * count
    inputs = [Tensor((), "int32", 3), real((1, 4, 4, count))]
    return case("SPLIT", inputs, parts, "SplitOptions", numSplits=count)


def joined(count):
    return case("CONCATENATION", [real()] * count, [real((1, 4, 4, 4 * count))], "ConcatenationOptions", axis=3)


def requantized(ratio, into="int8", of="int8"):
    return case("QUANTIZE", [stored(0.1 * ratio, dtype=of)], [stored(0.1, dtype=into)])


def leaky(ratio, alpha):
    return case("LEAKY_RELU", [stored(0.1 * ratio)], [stored(0.1)], "LeakyReluOptions", alpha=alpha)


def product(step):
    return case("MUL", [stored(1.0), stored(step)], [stored(1.0)], "MulOptions")


def pooled(kind, pool, stride):
    side = (4 - pool) // stride + 1
    options = {"filterHeight": pool, "filterWidth": pool, "strideH": stride, "strideW": stride, "padding": 1}
    return case(kind, [real()], [real((1, side, side, 4))], "Pool2DOptions", **options)


def reshaped(sizes, shape, **quantization):
    given, made = (stored(0.1), stored(**quantization, shape=shape)) if quantization else (real(), real(shape))
    return case("RESHAPE", [given, whole(*sizes)], [made])


def matrices(zero):
    factors = [stored(0.1, (2, 3, 4)), stored(0.1, (2, 4, 5), zero=zero)]
    return case("BATCH_MATMUL", factors, [stored(0.1, (2, 3, 5))], "BatchMatMulOptions")


def dense(weights):
    return case("FULLY_CONNECTED", [real((1, 4)), weights, None], [real((1, 4))], "FullyConnectedOptions")


def reduced(kind, dtype="int8"):
    image, pixel = (stored(0.1), stored(0.1, (1, 1, 1, 4))) if dtype == "int8" else (real(), real((1, 1, 1, 4)))
    return case(kind, [image, whole(1, 2)], [pixel], "ReducerOptions", keepDims=True)


def sliced(*sizes):
    return case("SLICE", [real(), whole(0, 0, 0, 0), whole(*sizes)], [real((1, 4, 2, 4))])


def strided(begin, end, step, shape, dtype="float32", **masks):
    given = [real() if dtype == "float32" else stored(0.1, dtype=dtype), whole(*begin), whole(*end), whole(*step)]
    made = real(shape) if dtype == "float32" else stored(0.1, shape, dtype)
    return case("STRIDED_SLICE", given, [made], "StridedSliceOptions", **masks)


def resized(kind, dtype="float32", ratio=1, **options):
    given = real() if dtype == "float32" else stored(0.1, dtype=dtype)
    made = real((1, 8, 8, 4)) if dtype == "float32" else stored(0.1 * ratio, (1, 8, 8, 4), dtype)
    table = "ResizeBilinearOptions" if kind == "RESIZE_BILINEAR" else "ResizeNearestNeighborOptions"
    return case(kind, [given, whole(8, 8)], [made], table, **options)


def mixed_join(dtype, ratio):
    parts = [stored(0.1, dtype=dtype), stored(0.1 * ratio, dtype=dtype)]
    return case("CONCATENATION", parts, [stored(0.1, (1, 4, 4, 8), dtype)], "ConcatenationOptions", axis=3)


def averaged(axes, shape, dtype):
    image, mean = (real(), real(shape)) if dtype == "float32" else (stored(0.1, dtype=dtype), stored(0.1, shape, dtype))
    return case("MEAN", [image, whole(*axes)], [mean], "ReducerOptions", keepDims=True)


def enlarging(dtype):
    taps, ones = np.ones(64), np.ones(4)
    if dtype == "int8":
        weights, bias = Tensor((4, 2, 2, 4), dtype, taps, (0.1, 0)), Tensor((4,), "int32", ones, (0.01, 0))
        given, made = stored(0.1), stored(0.1, (1, 8, 8, 4))
    else:
        weights, bias, given, made = (
            Tensor((4, 2, 2, 4), data=taps),
            Tensor((4,), data=ones),
            real(),
            real((1, 8, 8, 4)),
        )
    options = {"strideW": 2, "strideH": 2, "padding": 1}
    return case("TRANSPOSE_CONV", [whole(1, 8, 8, 4), weights, given, bias], [made], "TransposeConvOptions", **options)


FRAME = Tensor((4, 2), "int32", [0, 0, 1, 1, 1, 1, 0, 0])
TAKEN = {
    "split by 2": split(2),
    "split by 4": split(4),
    "join of 2": joined(2),
    "join of 5": joined(5),
    "quantize floats": case("QUANTIZE", [real()], [stored(0.1)]),
    "quantize floats to uint8": case("QUANTIZE", [real()], [stored(0.1, dtype="uint8")]),
    "requantize": requantized(1),
    "requantize, smallest step": requantized(2**-8),
    "requantize, largest step": requantized(2**7),
    "requantize uint8": requantized(2, "uint8", "uint8"),
    "leaky": leaky(1, 0.3),
    "leaky, smallest slope": leaky(1, 0.004),
    "leaky, negative slope": leaky(1, -100.0),
    "leaky, largest step": leaky(128, 0.5),
    "product": product(1.0),
    "product, smallest": product(2**-16),
    "product, largest": product(255.0),
    "maximum pool": pooled("MAX_POOL_2D", 2, 2),
    "average pool": pooled("AVERAGE_POOL_2D", 3, 1),
    "reshape": reshaped((1, 64), (1, 64)),
    "reshape, one size open": reshaped((1, -1), (1, 64)),
    "reshape in int8": reshaped((1, 64), (1, 64), scale=0.1),
    "matrices": matrices(0),
    "dense": dense(Tensor((4, 4), data=np.eye(4))),
    "sum in int8": reduced("SUM"),
    "maximum in int8": reduced("REDUCE_MAX"),
    "minimum": reduced("REDUCE_MIN", "float32"),
    "slice": sliced(1, 4, 2, 4),
    "softmax": case("SOFTMAX", [real()], [real()], "SoftmaxOptions", beta=1.0),
    "slopes": case("PRELU", [real(), Tensor((1, 1, 4), data=np.ones(4))], [real()]),
    "part": strided((0, 1, 0, 0), (1, 4, 4, 4), (1, 1, 1, 1), (1, 3, 4, 4), "int8"),
    "last part": strided((0, -2, 0, 0), (1, 4, 4, 4), (1, 1, 1, 1), (1, 2, 4, 4), "uint8"),
    "first part": strided((0,) * 4, (0, 2, 0, 0), (1, 1, 1, 1), (1, 2, 4, 4), beginMask=13, endMask=13),
    "bilinear": resized("RESIZE_BILINEAR", "int8"),
    "bilinear, half pixels": resized("RESIZE_BILINEAR", "uint8", halfPixelCenters=True),
    "bilinear, corners": resized("RESIZE_BILINEAR", alignCorners=True),
    "join of one scale": mixed_join("uint8", 1),
    "mean of channels": averaged((3,), (1, 4, 4, 1), "int8"),
    "mean of rows": averaged((1,), (1, 1, 4, 4), "uint8"),
    "mean of all": averaged((0, 1, 2, 3), (1, 1, 1, 1), "float32"),
    "enlarging": enlarging("float32"),
    "enlarging in int8": enlarging("int8"),
    "rectifier in int8": case("ELU", [stored(0.1)], [stored(0.1)]),
    "padding in uint8": case("PAD", [stored(0.1, dtype="uint8"), FRAME], [stored(0.1, (1, 6, 6, 4), "uint8")]),
    "6 dimensions": case("ABS", [real((1, 1, 1, 1, 2, 3))], [real((1, 1, 1, 1, 2, 3))]),
}
STATIC, NONE = "a static second input", "is no operator of this target"
LEFT = {  # with what the report says that it needs
    "split by 5": (split(5), "2 to 4 outputs"),
    "split by 8": (split(8), "2 to 4 outputs"),
    "join of 1": (joined(1), "2 to 5 tensors"),
    "join of 6": (joined(6), "2 to 5 tensors"),
    "requantize uint8 to int8": (requantized(1, "int8", "uint8"), "float32, or 8-bit integers of its output's type"),
    "requantize int8 to uint8": (requantized(1, "uint8", "int8"), "float32, or 8-bit integers of its output's type"),
    "requantize int32": (requantized(1, "int8", "int32"), "float32, or 8-bit integers of its output's type"),
    "requantize, smaller step": (requantized(1 / 257), "an input whose step is 1/256 to 128 of its output's"),
    "requantize, larger step": (requantized(129), "an input whose step is 1/256 to 128 of its output's"),
    "leaky, smaller slope": (leaky(1, 0.0039), "slopes of 1/256 to 128 in its output's steps"),
    "leaky, larger slope": (leaky(1, 129.0), "slopes of 1/256 to 128 in its output's steps"),
    "leaky, smaller step": (leaky(1 / 257, 1.0), "slopes of 1/256 to 128 in its output's steps"),
    "product, smaller": (product(2**-17), "steps whose product is 1/65536 to 256 of its output's"),
    "product, larger": (product(256.0), "steps whose product is 1/65536 to 256 of its output's"),
    "maximum pool with gaps": (
        pooled("MAX_POOL_2D", 2, 3),
        "strides of at most the pool, and a pool of more than one pixel",
    ),
    "average pool with gaps": (
        pooled("AVERAGE_POOL_2D", 1, 2),
        "strides of at most the pool, and a pool of more than one pixel",
    ),
    "flattened": (reshaped((-1,), (64,)), "a size for each axis, not -1 alone"),
    "reshape, other scale": (
        reshaped((1, 64), (1, 64), scale=0.2),
        "input and output of one scale and zero point",
    ),
    "reshape, other zero": (
        reshaped((1, 64), (1, 64), scale=0.1, zero=5),
        "input and output of one scale and zero point",
    ),
    "matrices, zero point": (matrices(3), "float32"),
    "dense of computed weights": (dense(real((4, 4))), "static weights and bias"),
    "average in int8": (
        case(
            "AVERAGE_POOL_2D",
            [stored(0.1)],
            [stored(0.1, (1, 2, 2, 4))],
            "Pool2DOptions",
            filterHeight=2,
            filterWidth=2,
            strideH=2,
            strideW=2,
            padding=1,
        ),
        "float32",
    ),
    "slice to the end": (sliced(1, -1, 2, 4), "sizes as numbers, not -1"),
    "softmax by a factor": (case("SOFTMAX", [real()], [real()], "SoftmaxOptions", beta=2.0), "a factor beta of 1"),
    "computed slopes": (case("PRELU", [real(), real((1, 1, 4))], [real()]), "static slopes"),
    "every second": (
        strided((0,) * 4, (1, 4, 4, 4), (1, 2, 2, 1), (1, 2, 2, 4), "int8"),
        "a slice without steps that keeps all axes",
    ),
    "backwards": (
        strided((0, 3, 0, 0), (1, -5, 4, 4), (1, -1, 1, 1), IMAGE),
        "a slice without steps that keeps all axes",
    ),
    "an axis less": (
        strided((0,) * 4, (1, 4, 4, 4), (1, 1, 1, 1), (4, 4, 4), "uint8", shrinkAxisMask=1),
        "a slice without steps that keeps all axes",
    ),
    "join of two scales": (mixed_join("uint8", 2), "inputs and output of one scale and zero point"),
    "slopes in int8": (
        case("PRELU", [stored(0.1), Tensor((1, 1, 4), "int8", np.ones(4), (0.1, 0))], [stored(0.1)]),
        "float32",
    ),
    "computed padding": (case("PAD", [stored(0.1), Tensor((4, 2), "int32")], [stored(0.1, (1, 6, 6, 4))]), STATIC),
    "nearest": (resized("RESIZE_NEAREST_NEIGHBOR"), NONE),
    "nearest in int8": (resized("RESIZE_NEAREST_NEIGHBOR", "int8", halfPixelCenters=True), NONE),
    "split by sizes": (
        case(
            "SPLIT_V",
            [stored(0.1), whole(1, 3), Tensor((), "int32", 3)],
            [stored(0.1, (1, 4, 4, 1)), stored(0.1, (1, 4, 4, 3))],
            "SplitVOptions",
            numSplits=2,
        ),
        NONE,
    ),
    "pack": (case("PACK", [real()] * 2, [real((2, *IMAGE))], "PackOptions", valuesCount=2), NONE),
    "unpack": (case("UNPACK", [stored(0.1)], [stored(0.1, (1, 4, 4))] * 4, "UnpackOptions", num=4, axis=3), NONE),
    "gather": (case("GATHER", [real(), whole(0, 1)], [real((1, 4, 4, 2))], "GatherOptions", axis=3), NONE),
    "largest": (
        case(
            "ARG_MAX",
            [stored(0.1), Tensor((), "int32", 3)],
            [Tensor((1, 4, 4), "int32")],
            "ArgMaxOptions",
            outputType=2,
        ),
        NONE,
    ),
    "tiled": (case("TILE", [real(), whole(1, 2, 1, 1)], [real((1, 8, 4, 4))]), NONE),
    "reversed": (case("REVERSE_V2", [stored(0.1), whole(1)], [stored(0.1)]), NONE),
    "squeezed": (case("SQUEEZE", [real()], [real((4, 4, 4))], "SqueezeOptions", squeezeDims=[0]), NONE),
    "expanded": (
        case("EXPAND_DIMS", [real(), whole(1)], [real((1, 1, 4, 4, 4))], "ExpandDimsOptions"),
        "RESHAPE in its place",
    ),
    "7 dimensions": (
        case("ABS", [real((1, 1, 1, 1, 1, 2, 3))], [real((1, 1, 1, 1, 1, 2, 3))]),
        "tensors of at most 6 dimensions",
    ),
}


@pytest.fixture(scope="module")
def singles(tmp_path_factory):
    """A file of all operators side by side, in the order of the tables."""
    tensors, operators, given, made = [], [], [], []
    for name, inputs, outputs, options, table in [*TAKEN.values(), *(each for each, _ in LEFT.values())]:
        places = []
        for tensor in (*inputs, *outputs):
            places.append(-1 if tensor is None else len(tensors))
            tensors += [] if tensor is None else [tensor]
        count = len(inputs)
        operators.append(Op(name, places[:count], places[count:], options, table))
        given += [place for place in places[:count] if place >= 0 and tensors[place].data is None]
        made += places[count:]
    path = tmp_path_factory.mktemp("singles") / "m.tflite"
    build(Graph(tensors, operators, given, made), path=path)
    return path


def test_rules_explain_what_was_measured(singles):
    report = tflite.check_targets(singles, "xnnpack")["xnnpack"]
    names = [*TAKEN, *LEFT]
    found = {names[each.node]: each.why.removeprefix("needs ") for each in report.findings}
    assert found == {name: needs for name, (_, needs) in LEFT.items()}
    assert all(each.change for each in report.findings)
    rule = tflite.TARGETS["xnnpack"].broken_rule
    nodes = nodes_of(tflite.inspect(singles), read_tflite(singles)[1])
    assert [name for name, node in zip(names, nodes, strict=True) if rule(node) is not None] == list(LEFT)


def test_operator_for_which_xnnpack_refuses_the_file(tmp_path):
    """It takes a resize of another step over, and ends."""
    name, inputs, outputs, options, table = resized("RESIZE_BILINEAR", "int8", 2)
    graph = Graph([*inputs, *outputs], [Op(name, [0, 1], [2], options, table)], [0], [2])
    build(graph, path=tmp_path / "m.tflite")
    report = tflite.check_targets(tmp_path / "m.tflite", "xnnpack")["xnnpack"]
    (found,) = report.findings
    assert (report.passed, report.taken, found.operator) == (False, 0, name)
    assert found.why == (
        "runs only without XNNPACK, which takes RESIZE_BILINEAR 0 and has no kernel for it: that needs input and "
        "output of one scale and zero point"
    )
    assert found.change


def test_micro_takes_int8_in_place_of_uint8(tmp_path):
    pytest.importorskip("tflite_micro", reason="needs the extra micro")
    kernel = Tensor((4, 1, 1, 4), "uint8", np.ones(16), (0.1, 0))
    bias = Tensor((4,), "int32", np.zeros(4), (0.01, 0))
    convolution = Op(
        "CONV_2D",
        [0, 1, 2],
        [3],
        {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1},
        "Conv2DOptions",
    )
    image = stored(0.1, dtype="uint8", zero=128)
    build(Graph([image, kernel, bias, image], [convolution], [0], [3]), path=tmp_path / "m.tflite")
    report = tflite.check_targets(tmp_path / "m.tflite", "tflm")["tflm"]
    (found,) = report.findings
    assert (report.passed, found.operator, found.node) == (False, "CONV_2D", 0)
    assert found.why == "takes int8, not uint8"
    assert found.change.startswith("export the float model with the recipe int8")
