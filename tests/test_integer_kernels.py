"""Each integer kernel against LiteRT's, in halves: zero points of each parity, and ratios that make halves."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_builder import Graph, Op, Tensor, build

from tfsep.quantize._operations import OPERATIONS
from tfsep.quantize._qparams import INT8_MAX, INT8_MIN

RNG = np.random.default_rng(0)
GIVEN = [(RNG.integers(-128, 128, (1, 4, 7, 512)).astype("int8"), grid) for grid in ((1 / 64, 9), (1 / 32, -30))]
"""Two tensors of stored integers, each with its scale and zero point."""
SHAPE = GIVEN[0][0].shape

PLAIN = {"fusedActivationFunction": 0}
KERNELS = {
    "add": ("ADD", PLAIN, "AddOptions", (0, 1), {}, (1 / 16, 3 / 32)),
    "multiply": ("MUL", PLAIN, "MulOptions", (0, 1), {}, (1 / 8, 3 / 64)),
    "square": ("MUL", PLAIN, "MulOptions", (0, 0), {}, (1 / 8, 3 / 128)),
    "mean": ("MEAN", {"keepDims": True}, "ReducerOptions", (0,), {"axes": [1, 2], "keepdims": True}, (1 / 64, 3 / 448)),
    "leaky_relu": ("LEAKY_RELU", {"alpha": 0.25}, "LeakyReluOptions", (0,), {"slope": 0.25}, (1 / 32, 3 / 288)),
    "hard_silu": ("HARD_SWISH", {}, "HardSwishOptions", (0,), {}, (1 / 32,)),
    "subtract": ("SUB", PLAIN, "SubOptions", (0, 1), {}, (1 / 16, 3 / 32)),
    "requantize": ("LEAKY_RELU", {"alpha": 1 - 2.0**-24}, "LeakyReluOptions", (0,), {}, (1 / 32,)),
    "gelu": ("GELU", {"approximate": False}, "GeluOptions", (0,), {}, (1 / 32,)),
    "gelu_tanh": ("GELU", {"approximate": True}, "GeluOptions", (0,), {}, (1 / 32,)),
    "exp": ("EXP", {}, "ExpOptions", (0,), {}, (1 / 32,)),
}
"""By operation: the operator, its options and their table, what it takes, the row's options, and scales of the result
that make halves."""
ZEROS = (-7, -2, 0, 3, 6, 11)
CASES = [(name, np.float32(step), zero) for name, row in KERNELS.items() for step in row[-1] for zero in ZEROS]


@pytest.fixture(scope="module")
def content():
    """A file of one operator a case."""
    tensors = [Tensor(SHAPE, "int8", None, grid) for _, grid in GIVEN] + [Tensor((2,), "int32", [1, 2])]
    operators = []
    for name, step, zero in CASES:
        operator, options, table, taken, *_ = KERNELS[name]
        shape = (1, 1, 1, SHAPE[-1]) if name == "mean" else SHAPE
        operators.append(Op(operator, [*taken, *[2] * (name == "mean")], [len(tensors)], options, table))
        tensors.append(Tensor(shape, "int8", None, (step, zero)))
    return build(Graph(tensors, operators, [0, 1], list(range(3, len(tensors)))))


@pytest.mark.parametrize(("runtime", "kernels"), [("xnnpack", "AUTO"), ("reference", "BUILTIN_REF")])
def test_kernels_round_halves_as_litert_does(runtime, kernels, content):
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType[kernels], num_threads=1
    )
    interpreter.allocate_tensors()
    for number, (stored, _) in enumerate(GIVEN):
        interpreter.set_tensor(number, stored)
    interpreter.invoke()
    halves = dict.fromkeys(KERNELS, 0)
    for number, (name, step, zero) in enumerate(CASES, start=3):
        row, (*_, taken, options, _) = OPERATIONS[name], KERNELS[name]
        if name == "square":
            taken = taken[:1]
        qparams = [tf.constant(GIVEN[place][1], "float32") for place in taken]
        reals = [
            (GIVEN[place][0].astype("float32") - own[1]) * own[0] for place, own in zip(taken, qparams, strict=True)
        ]
        tensors = [part for pair in zip(reals, qparams, strict=True) for part in pair]
        made = row.integers(tensors, tf.constant([step, zero], "float32"), options, runtime, True) + zero
        stored = interpreter.get_tensor(number)
        np.testing.assert_array_equal(np.clip(made, INT8_MIN, INT8_MAX), stored, f"{name}, {step}, {zero}")
        exact = row.compute(*[tf.cast(real, "float64") for real in reals], **options) / np.float64(step)
        halves[name] += np.sum((exact % 1 == 0.5) & (np.abs(stored) < INT8_MAX))
    del halves["hard_silu"], halves["gelu"], halves["gelu_tanh"], halves["exp"]
    assert min(halves.values()) > 50, halves


def test_softmax_rounds_halves_as_litert_does():
    """512 equal logits, of which each has half a step; and, in the last row, two halves that rounding has made."""
    own, result = (0.054222896695137024, -36), (1 / 256, -128)
    stored = np.full((3, 512), -128, "int8")
    stored[0], stored[1, ::2] = 7, 90
    stored[2, :11] = np.array([12, -10, 6, -7, -7, 2, 3, -8, -6, -4, -2]) + own[1] + 70
    tensors = [Tensor((3, 512), "int8", None, own), Tensor((3, 512), "int8", None, result)]
    graph = Graph(tensors, [Op("SOFTMAX", [0], [1], {"beta": 1.0}, "SoftmaxOptions")], [0], [1])
    interpreter = Interpreter(model_content=build(graph), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, stored)
    interpreter.invoke()
    qparams = tf.constant(own, "float32")
    real = (stored.astype("float32") - qparams[1]) * qparams[0]
    made = OPERATIONS["softmax"].integers([real, qparams], tf.constant(result, "float32"), {}, "xnnpack", True)
    np.testing.assert_array_equal(np.clip(made + result[1], INT8_MIN, INT8_MAX), interpreter.get_tensor(1))
    assert (interpreter.get_tensor(1)[0] == -127).all()
