"""MACs of products wherever they are: recurrent cells, attention, operations of `keras.ops`, graphs inside a file."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_refused
from keras import layers as L
from keras import ops as K
from tflite_builder import Graph, Op, Tensor, build

from tfsep import tflite
from tfsep.cost import cost
from tfsep.layers import DeformableConv2D

STEPS, FEATURES = 6, 8


@keras.saving.register_keras_serializable("tests")
class Product(L.Layer):
    """A layer of one's own, whose product is repeated in a loop."""

    def __init__(self, rounds=1, **kwargs):
        super().__init__(**kwargs)
        self.rounds = rounds

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")

    def call(self, x):
        return K.fori_loop(0, self.rounds, lambda i, value: K.matmul(value, self.kernel), x)


@keras.saving.register_keras_serializable("tests")
class Cell(L.Layer):
    """A cell of one's own, made of another layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner, self.state_size = L.Dense(4), 4

    def build(self, shape):
        self.inner.build((*shape[:-1], shape[-1] + 4))

    def call(self, x, states):
        y = self.inner(K.concatenate([x, states[0]], -1))
        return y, [y]


@keras.saving.register_keras_serializable("tests")
class Computed(L.Layer):
    """A function of a sequence (steps, features) and a square matrix of weights."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")

    def call(self, x):
        return self.function(x, self.kernel)

    def compute_output_shape(self, shape):
        return shape


def recurrence(x, kernel):
    """The states of a recurrence, in a scan over the steps."""
    steps = K.transpose(x, (1, 0, 2))
    states = K.scan(lambda state, step: (K.matmul(state, kernel) + step, state), K.zeros_like(x[:, 0]), steps)[1]
    return K.transpose(states, (1, 0, 2))


def running_products(x, kernel):
    """Products of the first 1 to 6 matrices, by halves."""
    return K.reshape(K.associative_scan(K.matmul, x[..., None] * kernel, axis=1), (-1, 6, 8, 8))[..., 0]


WEIGHTS = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
TAPS = np.random.default_rng(0).normal(size=(3, 8, 5)).astype("float32")

BRANCHES = {  # on a sequence of 6 steps of 8 features: branch, MACs by hand
    "LSTM": (L.LSTM(16), 6 * 4 * 16 * (8 + 16)),
    "GRU": (L.GRU(5, return_sequences=True), 6 * 3 * 5 * (8 + 5)),
    "GRU, reset before": (L.GRU(5, reset_after=False), 6 * 3 * 5 * (8 + 5)),
    "SimpleRNN": (L.SimpleRNN(7, go_backwards=True), 6 * 7 * (8 + 7)),
    "Bidirectional": (L.Bidirectional(L.LSTM(3)), 2 * 6 * 4 * 3 * (8 + 3)),
    "StackedRNNCells": (L.RNN([L.LSTMCell(4), L.GRUCell(5)]), 6 * (4 * 4 * 12 + 3 * 5 * 9)),
    "a cell of layers": (L.RNN(Cell()), 6 * 12 * 4),
    "a loop": (Product(9), 9 * 6 * 64),
    "MultiHeadAttention": (lambda x: L.MultiHeadAttention(2, 4)(x, x), 4 * 6 * 8 * 8 + 2 * 2 * 6 * 6 * 4),
    "GroupedQueryAttention": (
        lambda x: L.GroupQueryAttention(4, 4, 2)(x, x),
        2 * 6 * 8 * 16 + 2 * 6 * 8 * 8 + 2 * 4 * 6 * 6 * 4,
    ),
    "Attention": (lambda x: L.Attention()([x, x]), 2 * 6 * 6 * 8),
    "AdditiveAttention": (lambda x: L.AdditiveAttention()([x, x]), 6 * 6 * 8),
    "Dot": (lambda x: L.Dot(2)([x, K.sin(x)]), 6 * 6 * 8),
    "EinsumDense": (L.EinsumDense("abc,cde->abde", (None, 2, 3)), 6 * 8 * 6),
    "matmul": (lambda x: K.matmul(x, K.transpose(K.cos(x), (0, 2, 1))), 6 * 6 * 8),
    "einsum": (lambda x: K.einsum("bij,bkj->bik", x, K.tanh(x)), 6 * 6 * 8),
    "dot": (lambda x: K.dot(x, WEIGHTS), 6 * 8 * 3),
    "tensordot": (lambda x: K.tensordot(x, 1 + WEIGHTS, 1), 6 * 8 * 3),
    "conv": (lambda x: K.conv(x, TAPS, padding="valid"), 4 * 3 * 8 * 5),
    "TimeDistributed": (
        L.TimeDistributed(keras.Sequential([L.Dense(4), L.Dense(2)])),
        6 * (8 * 4 + 4 * 2),
    ),
    "scan": (Computed(recurrence), 6 * 64),
    "map": (Computed(lambda x, w: K.map(lambda each: K.matmul(each, w), x)), 6 * 64),
    "vectorized_map": (Computed(lambda x, w: K.vectorized_map(lambda each: K.matmul(each, w), x)), 6 * 64),
    "while_loop": (
        Computed(lambda x, w: K.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, K.matmul(y, w)), (0, x))[1]),
        3 * 6 * 64,
    ),
    "a loop inside a map": (
        Computed(lambda x, w: K.map(lambda each: K.fori_loop(0, 3, lambda i, y: K.matmul(y, w), each), x)),
        3 * 6 * 64,
    ),
    "rounds by a size": (
        Computed(
            lambda x, w: tf.while_loop(lambda i, y: i < tf.shape(x)[1], lambda i, y: (i + 2, tf.matmul(y, w)), (0, x))[
                1
            ]
        ),
        3 * 6 * 64,
    ),
    "associative_scan": (Computed(running_products), (3 + 1 + 1 + 2) * 8**3),
    "outer product": (lambda x: K.einsum("bti,btj->btij", x, K.sin(x)), 6 * 8 * 8),
    "products apart": (L.EinsumDense("abc,bc->abc", (6, 8)), 6 * 8),
    "depthwise_conv": (lambda x: K.depthwise_conv(x, TAPS[..., :1], padding="valid"), 4 * 3 * 8),
    "separable_conv": (
        lambda x: K.separable_conv(x, TAPS[..., 1:2], WEIGHTS[None], padding="valid"),
        4 * (3 * 8 + 8 * 3),
    ),
    "inner": (lambda x: K.inner(x, np.ones((1, 8), "float32")), 6 * 8),
    "correlate": (
        lambda x: K.reshape(K.correlate(K.reshape(x, (48,)), TAPS[:, 0, 0], mode="valid"), (1, 46)),
        46 * 3,
    ),
}
MOVING = {  # on a sequence of 3 images
    "ConvLSTM2D": (L.ConvLSTM2D(4, 3), 3 * 3 * 2 * 4 * 4 * 9 * (2 + 4)),
    "ConvLSTM1D": (lambda x: L.ConvLSTM1D(4, 3)(L.Reshape((3, 20, 2))(x)), 3 * 18 * 4 * 4 * 3 * (2 + 4)),
    "ConvLSTM3D": (
        lambda x: L.ConvLSTM3D(2, 3, padding="same")(L.Reshape((3, 5, 2, 2, 2))(x)),
        3 * 20 * 4 * 2 * 27 * (2 + 2),
    ),
    "a network at each step": (
        L.TimeDistributed(keras.Sequential([L.Conv2D(4, 3), L.Flatten(), L.Dense(2)])),
        3 * (6 * 4 * 18 + 24 * 2),
    ),
    "a recurrent layer at each step": (
        lambda x: L.TimeDistributed(L.LSTM(3))(L.Reshape((3, 5, 8))(x)),
        3 * 5 * 4 * 3 * (8 + 3),
    ),
}
SHAPES = {"sequence": (STEPS, FEATURES), "images": (3, 5, 4, 2)}


def branched(shape, branches):
    """A model of one output for each branch."""
    inputs = keras.Input(shape)
    outputs = [L.Flatten(name=f"out{n}")(make(inputs)) for n, (make, _) in enumerate(branches.values())]
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize(("group", "name"), [("sequence", n) for n in BRANCHES] + [("images", n) for n in MOVING])
def test_macs_of_a_branch_are_those_of_its_formula(group, name):
    branches = BRANCHES if group == "sequence" else MOVING
    model = branched(SHAPES[group], {name: branches[name]})
    report = cost(model)
    assert report.macs == branches[name][1]
    assert report.params == model.count_params()
    assert not report.uncounted


QUICK = ("LSTM", "a loop", "MultiHeadAttention", "Attention", "Dot", "EinsumDense", "einsum", "tensordot", "scan")
QUICK += ("outer product", "products apart")


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("sequence", QUICK),
        pytest.param("sequence", tuple(BRANCHES), marks=pytest.mark.slow),
        pytest.param("images", tuple(MOVING), marks=pytest.mark.slow),
    ],
)
def test_file_has_the_macs_of_its_model(group, names, tmp_path):
    branches = {name: make for name, make in (BRANCHES | MOVING).items() if name in names}
    keras.utils.set_random_seed(0)
    model, rng = branched(SHAPES[group], branches), np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    report, file = cost(model), cost(tflite.export(model, tmp_path / "m.tflite").path)
    assert (file.macs, file.uncounted) == (report.macs, ())
    assert report.macs == sum(macs for _, macs in branches.values())
    # Kernels that operations are given are constants of the model's graph; the file has a few numbers more.
    given = 3 * WEIGHTS.size + TAPS.size + 2 * 3 * 8 + 8 + 3 if group == "sequence" else 0
    assert model.count_params() <= file.params <= model.count_params() + given + 40


RESIZED = {  # of (6, 5, 2): layer, MACs of a matrix for the rows, then one for the columns
    "bicubic": (L.Resizing(4, 7, "bicubic"), 2 * 4 * 5 * 6 + 2 * 4 * 7 * 5),
    "area": (L.Resizing(4, 3, "area"), 2 * 4 * 5 * 6 + 2 * 4 * 3 * 5),
    "lanczos": (L.UpSampling2D(2, interpolation="lanczos3"), 2 * 12 * 5 * 6 + 2 * 12 * 10 * 5),
    "smoothed": (L.Resizing(4, 3, antialias=True), 2 * 4 * 5 * 6 + 2 * 4 * 3 * 5),
    "smoothed, enlarged": (L.Resizing(8, 9, antialias=True), 0),
    "bilinear": (L.Resizing(4, 3), 0),
    "nearest": (L.UpSampling2D(2), 0),
    "a deformable convolution": (DeformableConv2D(3, 2), 4 * 5 * (4 * 2 * 8 + 4 * 2 * 3)),
    "a blurred image": (K.image.gaussian_blur, 6 * 5 * 9 * 2),
}


def test_resized_images_cost_alike_in_models_and_files(tmp_path):
    """A file of four images has the counts of one."""
    for name, branch in RESIZED.items():
        report = cost(branched((6, 5, 2), {name: branch}))
        assert (name, report.macs, report.uncounted) == (name, branch[1], ())
    model = branched((6, 5, 2), RESIZED)
    file = cost(tflite.export(model, tmp_path / "m.tflite", batch_size=4).path)
    assert (file.macs, file.uncounted) == (sum(macs for _, macs in RESIZED.values()), ())


@pytest.mark.parametrize("batch", [1, 3])
def test_batch_of_a_file_is_what_its_inputs_and_outputs_share(batch, tmp_path):
    def dense(rows, outputs):
        tensors = [Tensor((rows, 4)), MATRIX, Tensor((rows, 3)), Tensor((outputs, 2))]
        return Graph(tensors, [PRODUCT], [0, 3], [2])

    build(dense(batch, batch), path=tmp_path / "m.tflite")
    assert cost(tmp_path / "m.tflite").macs == 12
    build(dense(batch, 2), path=tmp_path / "m.tflite")
    assert cost(tmp_path / "m.tflite").macs == 12 * batch


def test_tensorflow_counts_the_same():
    """An independent count: TensorFlow's profiler has two operations for each MAC of these operators."""
    image = keras.Input((8, 8, 3))
    x = L.Reshape((16, 5))(L.Conv2D(5, 3, 2, "same")(image))
    x = K.matmul(x, K.transpose(x, (0, 2, 1)))
    x = L.LSTM(4, unroll=True)(L.Attention()([x, x]))
    model = keras.Model(image, L.Dense(3)(x))
    traced = tf.function(lambda x: model(x, training=False), autograph=False)
    graph = traced.get_concrete_function(tf.TensorSpec((1, 8, 8, 3))).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(tf.compat.v1.profiler.ProfileOptionBuilder.float_operation())
    profile = tf.compat.v1.profiler.profile(graph, cmd="op", options=options.with_empty_output().build())
    found, waiting = {}, [profile]
    while waiting:
        node = waiting.pop()
        found[node.name] = node.float_ops
        waiting += node.children
    products = sum(found.get(name, 0) for name in ("MatMul", "BatchMatMulV2", "Conv2D"))
    assert products > 0
    assert cost(model).flops == products


class Transformed(L.Layer):
    def call(self, x):
        return tf.math.real(tf.signal.fft(tf.cast(x, tf.complex64)))


class Endless(L.Layer):
    """As many rounds as the data say."""

    def call(self, x):
        return tf.while_loop(lambda v: tf.reduce_sum(v) < 9, lambda v: (v + tf.matmul(v, tf.ones((4, 4))),), (x,))[0]


def test_what_is_not_counted_is_named():
    model = keras.Sequential([keras.Input((3, 4)), Transformed(name="spectrum"), Endless(name="endless"), L.Dense(2)])
    report = cost(model)
    assert report.uncounted == ("spectrum (FFT)", "endless (While)")
    assert report.macs == 3 * 4 * 2
    assert "Not counted, MACs unknown: spectrum (FFT), endless (While)." in str(report)


LISTED = {  # operations without a count, on square matrices
    "Cross": lambda x: K.cross(x, K.sin(x)),
    "FFT": lambda x: K.fft((x, x))[0],
    "FFT2D": lambda x: K.fft2((x, x))[0],
    "RFFT": lambda x: K.rfft(x)[0],
    "IRFFT": lambda x: K.irfft((x, x)),
    "Cholesky": K.cholesky,
    "MatrixDeterminant": K.det,
    "MatrixInverse": K.inv,
    "MatrixSolve": lambda x: K.solve(x, K.ones((1, 3, 3))),
    "MatrixTriangularSolve": lambda x: K.linalg.solve_triangular(x, K.ones((1, 3, 3)), lower=True),
    "Qr": lambda x: K.qr(x)[0],
    "SelfAdjointEigV2": lambda x: K.eigh(x)[0],
    "Svd": lambda x: K.svd(x)[1],
    "BandedTriangularSolve": lambda x: tf.linalg.banded_triangular_solve(x, tf.ones((1, 3, 1))),
    "Lu": lambda x: tf.linalg.lu(x)[0],
    "TridiagonalSolve": lambda x: tf.linalg.tridiagonal_solve(x, tf.ones((1, 3, 1)), partial_pivoting=False),
    "Dilation2D": lambda x: tf.nn.dilation2d(x[..., None], tf.ones((2, 2, 1)), (1,) * 4, "SAME", "NHWC", (1,) * 4),
}


class Each(L.Layer):
    """All of these operations."""

    def call(self, x):
        return K.sum(K.stack([K.sum(function(x)) for function in LISTED.values()]))[None] + x[:, 0, 0]

    def compute_output_shape(self, shape):
        return shape[:1]


def test_each_operation_without_a_count_is_named():
    inputs = keras.Input((3, 3))
    report = cost(keras.Model(inputs, Each(name="each")(inputs)))
    (named,) = report.uncounted
    assert report.macs == 0
    assert set(named.removeprefix("each (").removesuffix(")").split(", ")) == set(LISTED)


def test_product_of_an_unknown_rank_is_named():
    inputs = keras.Input((8, 3, 3))
    wide = K.associative_scan(K.matmul, inputs, axis=1)
    assert cost(keras.Model(inputs, wide)).uncounted


WHOLE, CONDITION = "int32", "bool"
MATRIX = Tensor((3, 4), data=np.ones((3, 4)))
PRODUCT = Op("FULLY_CONNECTED", [0, 1, -1], [2], {}, "FullyConnectedOptions")
PRODUCT_GRAPH = Graph([Tensor((2, 4)), MATRIX, Tensor((2, 3))], [PRODUCT], [0], [2])
RECURRENT = [
    Tensor((2, 6, 8)),
    *[Tensor((5, 8), data=np.ones((5, 8)))] * 4,
    *[Tensor((5, 5), data=np.ones((5, 5)))] * 4,
]
HANDMADE = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (
        Graph(
            [*RECURRENT, Tensor((2, 5)), Tensor((2, 6, 5))],
            [
                Op(
                    "UNIDIRECTIONAL_SEQUENCE_LSTM",
                    [*range(9), *[-1] * 9, 9, 9, *[-1] * 4],
                    [10],
                    {},
                    "UnidirectionalSequenceLSTMOptions",
                )
            ],
            [0],
            [10],
        ),
        6 * 4 * 5 * (8 + 5),
    ),
    "SVDF": (
        Graph(
            [
                Tensor((2, 7)),
                Tensor((6, 7), data=np.ones((6, 7))),
                Tensor((6, 4), data=np.ones((6, 4))),
                Tensor((2, 24)),
                Tensor((2, 3)),
            ],
            [Op("SVDF", [0, 1, 2, -1, 3], [4], {"rank": 2}, "SVDFOptions")],
            [0],
            [4],
        ),
        6 * (7 + 4),
    ),
    "CONV_3D": (
        Graph(
            [Tensor((1, 4, 5, 6, 2)), Tensor((2, 2, 2, 2, 3), data=np.ones((2, 2, 2, 2, 3))), Tensor((1, 3, 4, 5, 3))],
            [Op("CONV_3D", [0, 1, -1], [2], {"strideD": 1, "strideH": 1, "strideW": 1}, "Conv3DOptions")],
            [0],
            [2],
        ),
        3 * 4 * 5 * 3 * 16,
    ),
    "STABLEHLO_DOT_GENERAL": (
        Graph(
            [Tensor((2, 4)), MATRIX, Tensor((2, 3))],
            [
                Op(
                    "STABLEHLO_DOT_GENERAL",
                    [0, 1],
                    [2],
                    {"lhsContractingDimensions": [1], "rhsContractingDimensions": [1]},
                    "StablehloDotGeneralOptions",
                    True,
                )
            ],
            [0],
            [2],
        ),
        4 * 3,
    ),
    "Convolution2DTransposeBias": (
        Graph(
            [
                Tensor((1, 4, 5, 2)),
                Tensor((3, 2, 2, 2), data=np.ones((3, 2, 2, 2))),
                Tensor((3,), data=np.ones(3)),
                Tensor((1, 8, 10, 3)),
            ],
            [Op("Convolution2DTransposeBias", [0, 1, 2], [3])],
            [0],
            [3],
        ),
        4 * 5 * 24,
    ),
}


@pytest.mark.parametrize("name", HANDMADE)
def test_operators_of_files(name, tmp_path):
    graph, macs = HANDMADE[name]
    build(graph, path=tmp_path / "m.tflite")
    report = cost(tmp_path / "m.tflite")
    assert (report.macs, report.uncounted) == (macs, ())


def loop(bound):
    """A main graph with a loop, its condition (while i < bound) and its body, which has a product."""
    main = Graph(
        [Tensor((), WHOLE, 0), Tensor((2, 4)), Tensor((), WHOLE), Tensor((2, 4))],
        [Op("WHILE", [0, 1], [2, 3], {"condSubgraphIndex": 1, "bodySubgraphIndex": 2}, "WhileOptions")],
        [1],
        [3],
    )
    condition = Graph(
        [Tensor((), WHOLE), Tensor((2, 4)), Tensor((), WHOLE, bound), Tensor((), CONDITION)],
        [Op("LESS", [0, 2], [3], {}, "LessOptions")],
        [0, 1],
        [3],
    )
    body = Graph(
        [
            Tensor((), WHOLE),
            Tensor((2, 4)),
            Tensor((4, 4), data=np.ones((4, 4))),
            Tensor((), WHOLE, 2),
            Tensor((), WHOLE),
            MATRIX,
            Tensor((2, 4)),
        ],
        [
            Op("FULLY_CONNECTED", [1, 2, -1], [6], {}, "FullyConnectedOptions"),
            Op("ADD", [0, 3], [4], {}, "AddOptions"),
        ],
        [0, 1],
        [4, 6],
    )
    return main, condition, body


def caller(*operators):
    """A main graph that runs others: on t0 (2, 4), to t1 (2, 3)."""
    return Graph([Tensor((2, 4)), Tensor((2, 3)), Tensor((), CONDITION)], list(operators), [0, 2], [1])


CALL = Op("CALL", [0], [1], {"subgraph": 1}, "CallOptions")
EMPTY = Graph([Tensor((2, 4)), Tensor((2, 3), data=np.ones((2, 3)))], [], [0], [1])
NESTED = {
    "a loop": (loop(7), 4 * 16, 16),
    "a loop without rounds": (loop(-1), 0, 16),
    "a call": ((caller(CALL), PRODUCT_GRAPH), 24, 12),
    "two calls": ((caller(CALL, CALL), PRODUCT_GRAPH), 48, 12),
    "a branch": (
        (
            caller(Op("IF", [2, 0], [1], {"thenSubgraphIndex": 1, "elseSubgraphIndex": 2}, "IfOptions")),
            EMPTY,
            PRODUCT_GRAPH,
        ),
        24,
        12,
    ),
    "once": ((caller(Op("CALL_ONCE", [], [], {"initSubgraphIndex": 1}, "CallOnceOptions")), PRODUCT_GRAPH), 24, 12),
    "a composite": (
        (
            caller(
                Op(
                    "STABLEHLO_COMPOSITE",
                    [0],
                    [1],
                    {"decompositionSubgraphIndex": 1},
                    "StableHLOCompositeOptions",
                    True,
                )
            ),
            PRODUCT_GRAPH,
        ),
        24,
        12,
    ),
}


@pytest.mark.parametrize("name", NESTED)
def test_graphs_inside_a_file(name, tmp_path):
    graphs, macs, params = NESTED[name]
    build(*graphs, path=tmp_path / "m.tflite")
    report = cost(tmp_path / "m.tflite")
    assert (report.macs, report.params, report.uncounted) == (macs, params, ())


UNCOUNTED = {
    "a custom operator": (Graph([Tensor((2, 4)), MATRIX, Tensor((2, 3))], [Op("Mine", [0, 1], [2])], [0], [2]), "Mine"),
    "one of TensorFlow": (
        Graph([Tensor((2, 4)), MATRIX, Tensor((2, 3))], [Op("FlexEinsum", [0, 1], [2])], [0], [2]),
        "FlexEinsum",
    ),
    "a transform": (
        Graph(
            [Tensor((1, 8, 8)), Tensor((2,), WHOLE, [8, 8]), Tensor((1, 8, 5))], [Op("RFFT2D", [0, 1], [2])], [0], [2]
        ),
        "RFFT2D",
    ),
}


@pytest.mark.parametrize("name", UNCOUNTED)
def test_operators_that_are_not_counted_are_named(name, tmp_path):
    graph, operator = UNCOUNTED[name]
    build(graph, path=tmp_path / "m.tflite")
    assert cost(tmp_path / "m.tflite").uncounted == (f"t2 ({operator})",)


def test_loop_of_an_unknown_number_of_rounds_is_named(tmp_path):
    main, condition, body = loop(7)
    main = main._replace(tensors=[Tensor((), WHOLE), *main.tensors[1:]], inputs=[0, 1])
    build(main, condition, body, path=tmp_path / "m.tflite")
    report = cost(tmp_path / "m.tflite")
    assert (report.macs, report.params, report.uncounted) == (0, 16, ("t2 (WHILE)",))


def chain(length, twice):
    """Graphs that each call the next, once or twice."""
    calls = [caller(*[CALL._replace(options={"subgraph": n + 1})] * (1 + twice)) for n in range(length)]
    return [*calls, PRODUCT_GRAPH]


def test_many_calls_are_counted_fast(tmp_path):
    build(*chain(40, True), path=tmp_path / "m.tflite")
    assert cost(tmp_path / "m.tflite").macs == 2**40 * 24


@pytest.mark.parametrize(
    "graphs", [[caller(CALL._replace(options={"subgraph": 0}))], [caller(CALL)], chain(60, False)], ids=range(3)
)
def test_graphs_that_are_not_there_or_in_a_circle(graphs, tmp_path):
    build(*graphs, path=tmp_path / "m.tflite")
    assert_refused(lambda: cost(tmp_path / "m.tflite"), "path", ValueError)
