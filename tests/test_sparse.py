"""Sparse constants of `.tflite` files: their numbers, as LiteRT unpacks them, in every form that the schema has."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from checks import assert_refused
from tflite_builder import Graph, Op, Tensor, build
from typer.testing import CliRunner

from tfsep import tflite
from tfsep._flatbuffer.constants import real_numbers, stored_numbers
from tfsep._flatbuffer.reader import read_tflite
from tfsep.cli import app
from tfsep.cost import cost

DENSE, COMPRESSED = schema.DimensionType.DENSE, schema.DimensionType.SPARSE_CSR


def encoded(dense, order, blocks=(), compressed=(), width="int32"):
    """The schema's sparsity of an array, and the numbers that it stores, by loops over all places.

    `order` are the dimensions as they are traversed, those of blocks from the rank on; `blocks` are pairs of a
    dimension and the size of its blocks, `compressed` the levels that list their places, `width` the type of the lists.
    """
    rank, sizes = dense.ndim, dict(enumerate(dense.shape))
    for number, (dimension, size) in enumerate(blocks):
        sizes |= {rank + number: size, dimension: sizes[dimension] // size}

    def number_at(path):
        place = dict(zip(order, path, strict=True))
        whole = [place[d] for d in range(rank)]
        for number, (dimension, size) in enumerate(blocks):
            whole[dimension] = whole[dimension] * size + place[rank + number]
        return dense[tuple(whole)]

    def used(prefix):
        rest = [range(sizes[d]) for d in order[len(prefix) :]]
        return any(number_at((*prefix, *path)) != 0 for path in itertools.product(*rest))

    paths, tables = [()], []
    for level, dimension in enumerate(order):
        table = schema.DimensionMetadataT()
        table.format, table.denseSize = (COMPRESSED, 0) if level in compressed else (DENSE, sizes[dimension])
        found = [[(*p, i) for i in range(sizes[dimension]) if level not in compressed or used((*p, i))] for p in paths]
        if level in compressed:
            kind = f"{width.capitalize()}Vector"
            for name, values in (
                ("arraySegments", np.cumsum([0, *map(len, found)])),
                ("arrayIndices", [p[-1] for own in found for p in own]),
            ):
                vector = getattr(schema, f"{kind}T")()
                vector.values = np.asarray(values, width)
                setattr(table, name, vector)
                setattr(table, f"{name}Type", getattr(schema.SparseIndexVector, kind))
        paths = [path for own in found for path in own]
        tables.append(table)
    sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder, sparsity.dimMetadata = np.int32(order), tables
    sparsity.blockMap = np.int32([dimension for dimension, _ in blocks])
    return sparsity, [number_at(path) for path in paths]


FORMS = {  # order of traversal, blocks, levels that list their places
    "rows": ((0, 1), (), (1,)),
    "columns": ((1, 0), (), (1,)),
    "lists of lists": ((0, 1), (), (0, 1)),
    "blocks of a row": ((0, 1, 2), ((1, 4),), (1,)),
    "blocks of both": ((0, 1, 2, 3), ((0, 2), (1, 4)), (1,)),
    "blocks, by columns": ((1, 0, 3, 2), ((0, 2), (1, 4)), (0, 1)),
    "all": ((0, 1), (), ()),
}
RNG = np.random.default_rng(0)
MATRIX = RNG.integers(1, 100, (6, 8)) * (RNG.random((6, 8)) < 0.3)
MATRIX[2] = 0


def written(path, dense, dtype, form, width="int32"):
    """A file that unpacks an array."""
    sparsity, numbers = encoded(dense, *form, width)
    packed = Tensor(dense.shape, dtype, numbers, (0.5, 0) if dtype == "int8" else (), sparsity)
    output = Tensor(dense.shape, dtype, None, (0.5, 0) if dtype == "int8" else ())
    build(Graph([packed, output], [Op("DENSIFY", [0], [1])], [], [1]), path=path)
    return len(numbers)


def unpacked(path):
    """What LiteRT makes of it, on its own kernels."""
    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("form", FORMS)
def test_numbers_are_those_that_litert_unpacks(form, dtype, tmp_path):
    path = tmp_path / "m.tflite"
    count = written(path, MATRIX, dtype, FORMS[form])
    _, model = read_tflite(path)
    tensor = model.subgraphs[0].tensors[0]
    numbers = stored_numbers(model, tensor)
    assert numbers.dtype == dtype
    np.testing.assert_array_equal(numbers, MATRIX)
    np.testing.assert_array_equal(real_numbers(model, tensor), MATRIX * (0.5 if dtype == "int8" else 1))
    np.testing.assert_array_equal(unpacked(path), MATRIX)
    row = tflite.inspect(path).tensors[0]
    assert (row.role, row.density) == ("constant", count / 48)
    assert f"{dtype}, sparse: {count / 48:.1%} stored" in str(tflite.inspect(path))


@pytest.mark.parametrize("width", ["int32", "uint16", "uint8"])
def test_widths_of_places(width, tmp_path):
    written(tmp_path / "m.tflite", MATRIX, "float32", FORMS["rows"], width)
    _, model = read_tflite(tmp_path / "m.tflite")
    np.testing.assert_array_equal(stored_numbers(model, model.subgraphs[0].tensors[0]), MATRIX)


def test_kernels_of_any_rank(tmp_path):
    kernel = RNG.integers(0, 9, (4, 3, 2, 8)) * (RNG.random((4, 3, 2, 8)) < 0.2)
    for form in (((0, 1, 2, 3), (), (3,)), ((0, 1, 2, 3, 4), ((3, 4),), (3,)), ((3, 0, 2, 1), (), (0, 2))):
        written(tmp_path / "m.tflite", kernel, "float32", form)
        _, model = read_tflite(tmp_path / "m.tflite")
        np.testing.assert_array_equal(stored_numbers(model, model.subgraphs[0].tensors[0]), kernel)


def test_tensor_without_a_number(tmp_path):
    assert written(tmp_path / "m.tflite", 0 * MATRIX, "float32", FORMS["rows"]) == 0
    _, model = read_tflite(tmp_path / "m.tflite")
    np.testing.assert_array_equal(stored_numbers(model, model.subgraphs[0].tensors[0]), 0 * MATRIX)
    row = tflite.inspect(tmp_path / "m.tflite").tensors[0]
    assert (row.role, row.density) == ("constant", 0.0)


def segments(table, values):
    table.arraySegments.values = np.int32(values)


DAMAGES = {
    "no order": lambda s, t: setattr(s, "traversalOrder", None),
    "a dimension twice": lambda s, t: setattr(s, "traversalOrder", np.int32([0, 0])),
    "no levels": lambda s, t: setattr(s, "dimMetadata", []),
    "a block of no dimension": lambda s, t: setattr(s, "blockMap", np.int32([7])),
    "a larger level": lambda s, t: setattr(t[0], "denseSize", 2**30),
    "a negative level": lambda s, t: setattr(t[0], "denseSize", -6),
    "another format": lambda s, t: setattr(t[1], "format", 9),
    "no segments": lambda s, t: setattr(t[1], "arraySegments", None) or setattr(t[1], "arraySegmentsType", 0),
    "fewer segments": lambda s, t: segments(t[1], [0, 2]),
    "falling segments": lambda s, t: segments(t[1], [0, 5, 2, 2, 3, 4, len(t[1].arrayIndices.values)]),
    "segments from one": lambda s, t: segments(t[1], [1, *t[1].arraySegments.values[1:]]),
    "a place outside": lambda s, t: t[1].arrayIndices.values.__setitem__(0, 8),
    "a place before": lambda s, t: t[1].arrayIndices.values.__setitem__(0, -1),
    "fewer places": lambda s, t: setattr(t[1].arrayIndices, "values", t[1].arrayIndices.values[1:]),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_a_sentence(name, tmp_path):
    sparsity, numbers = encoded(MATRIX, *FORMS["rows"])
    DAMAGES[name](sparsity, sparsity.dimMetadata)
    tensors = [Tensor(MATRIX.shape, data=numbers, sparsity=sparsity), Tensor(MATRIX.shape)]
    build(Graph(tensors, [Op("DENSIFY", [0], [1])], [], [1]), path=tmp_path / "m.tflite")
    for use in (tflite.inspect, cost):
        assert_refused(lambda use=use: use(tmp_path / "m.tflite"), "path", ValueError)


@pytest.mark.parametrize(
    "tensor",
    [
        lambda s, n: Tensor(MATRIX.shape, data=n[1:], sparsity=s),
        lambda s, n: Tensor((6, 2**30), data=n, sparsity=s),
        lambda s, n: Tensor(MATRIX.shape, "complex64", n, sparsity=s),
        lambda s, n: Tensor((8, 6), data=n, sparsity=s),
        lambda s, n: Tensor((), data=n, sparsity=s),
    ],
    ids=range(5),
)
def test_sparsity_of_another_tensor_is_a_sentence(tensor, tmp_path):
    sparsity, numbers = encoded(MATRIX, *FORMS["rows"])
    graph = Graph([tensor(sparsity, numbers), Tensor(MATRIX.shape)], [Op("DENSIFY", [0], [1])], [], [1])
    build(graph, path=tmp_path / "m.tflite")
    assert_refused(lambda: tflite.inspect(tmp_path / "m.tflite"), "path", ValueError)


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """A network with few weights, and files of the converter that leave out the zeros."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 16)),
            keras.layers.Conv2D(32, 1, activation="relu"),
            keras.layers.DepthwiseConv2D(3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(64),
        ]
    )
    rng = np.random.default_rng(1)
    model.set_weights(
        [rng.normal(size=w.shape) * ((w.ndim == 1) | (rng.random(w.shape) < 0.1)) for w in model.get_weights()]
    )
    folder, optimize = tmp_path_factory.mktemp("pruned"), tf.lite.Optimize
    for name, optimizations in (
        ("float32", [optimize.EXPERIMENTAL_SPARSITY]),
        ("dynamic", [optimize.DEFAULT, optimize.EXPERIMENTAL_SPARSITY]),
    ):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = optimizations
        (folder / f"{name}.tflite").write_bytes(converter.convert())
    return model, folder


@pytest.mark.parametrize("name", ["float32", "dynamic"])
def test_files_of_the_converter(name, pruned):
    model, folder = pruned
    path = folder / f"{name}.tflite"
    sparse = [tensor for tensor in tflite.inspect(path).tensors if tensor.density is not None]
    assert len(sparse) == 3
    assert all(0.05 < tensor.density < 0.2 for tensor in sparse)
    report = cost(path)
    assert (report.params, report.macs, report.uncounted) == (model.count_params(), cost(model).macs, ())
    _, file = read_tflite(path)
    kernels = {k.shape: k for k in (np.squeeze(w) for w in model.get_weights()) if k.ndim > 1}
    for row in sparse:
        numbers = np.squeeze(real_numbers(file, file.subgraphs[0].tensors[row.number]))
        wanted = kernels[numbers.shape] if numbers.ndim == 3 else kernels[numbers.shape[::-1]].T
        np.testing.assert_allclose(numbers, wanted, atol=0.03 if row.dtype == "int8" else 0)


def test_profile_of_a_sparse_file(pruned):
    model, folder = pruned
    report = tflite.profile(folder / "float32.tflite", runs=2)
    assert sum(row.macs for row in report.rows) == cost(model).macs


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """A network whose sparse integers XNNPACK takes over and has no kernel for, its inputs and its file."""
    rng = np.random.default_rng(1)
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(64)])
    model.set_weights([rng.normal(size=w.shape) * (rng.random(w.shape) < 0.1) for w in model.get_weights()])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT, tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    path = tmp_path_factory.mktemp("refused") / "m.tflite"
    path.write_bytes(converter.convert())
    with pytest.raises(RuntimeError, match="failed to delegate FULLY_CONNECTED"):
        Interpreter(str(path)).allocate_tensors()
    return model, rng.normal(size=(8, 16)).astype("float32"), path


def test_file_that_xnnpack_refuses_runs_without_it(refused):
    model, data, path = refused
    wanted = model.predict(data, verbose=0)
    assert np.abs(tflite.predict(path, data) - wanted).max() < 0.05 * wanted.std()
    report = tflite.verify(model, path, data)
    assert "kernels" in str(report)
    assert "failed to delegate FULLY_CONNECTED node #1" in report.notes()[-1]
    timed = tflite.benchmark(path, runs=2, warmup=0)
    assert timed.refusal == report.refusal == "failed to delegate FULLY_CONNECTED node #1"
    assert "on LiteRT's own kernels, as XNNPACK failed to delegate" in str(timed)
    assert timed.refusal in CliRunner().invoke(app, ["bench", str(path), "--runs", "2"]).output
    target = tflite.check_targets(path, "xnnpack")["xnnpack"]
    assert (target.passed, target.taken, target.partitions) == (False, 0, 0)
    assert {(found.why, found.change) for found in target.findings} == {
        (
            "runs only without XNNPACK, which takes FULLY_CONNECTED 1 and has no kernel for it",
            "convert without sparsity",
        )
    }
    assert "sparse" in str(tflite.inspect(path))


def test_file_of_other_weights_that_xnnpack_refuses_is_caught(refused):
    model, data, path = refused
    other = keras.models.clone_model(model)
    other.set_weights([-w for w in model.get_weights()])
    with pytest.raises(tflite.VerificationError):
        tflite.verify(other, path, data)


def test_file_that_xnnpack_takes_is_no_refusal(pruned):
    _, folder = pruned
    timed = tflite.benchmark(folder / "float32.tflite", runs=2, warmup=0)
    assert (timed.refusal, "own kernels" in str(timed)) == ("", False)
