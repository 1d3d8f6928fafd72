"""Damaged and hostile files, processes that are killed, and many exports in one process."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import flatbuffers
import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from checks import assert_sentence, places
from conftest import ROOT

from tfsep import layers, tflite
from tfsep._flatbuffer import size_check
from tfsep._flatbuffer.reader import operator_name, pack, unpack
from tfsep._utils.atomic_files import atomic_files
from tfsep._workers import WorkerError, run_worker
from tfsep.cost import cost

X = np.random.default_rng(0).normal(size=(40, 8, 8, 2)).astype("float32")


def network():
    return keras.Sequential(
        [
            keras.Input((8, 8, 2), name="image"),
            layers.DepthwiseSeparableConv(4),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """Small files, so that much of them is structure."""
    folder, model = tmp_path_factory.mktemp("small"), network()
    made = [tflite.export(model, folder / f"{r}.tflite", r, X).path for r in ("float32", "float16", "int8")]
    return [path.read_bytes() for path in made]


def mutated(content, rng):
    """A file with flipped bits, cut off, with other offsets, or with a piece of it in another place."""
    damaged, kind = bytearray(content), rng.randrange(4)
    if kind == 0:
        for _ in range(rng.randint(1, 16)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del damaged[rng.randrange(len(damaged)) :]
    elif kind == 2:
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(damaged) - 4) & ~3
            value = rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, len(damaged), rng.randrange(len(damaged))])
            damaged[at : at + 4] = value.to_bytes(4, "little")
    else:
        there, here, size = rng.randrange(len(damaged)), rng.randrange(len(damaged)), rng.randint(1, 256)
        damaged[there : there + size] = damaged[here : here + size]
    return bytes(damaged)


def read_mutated(contents, path, seed, count):
    """Read mutated files; return how many were refused, each in one sentence, and the longest that one took."""
    rng, refused, longest = random.Random(seed), 0, 0.0
    for _ in range(count):
        path.write_bytes(mutated(rng.choice(contents), rng))
        started = time.process_time()
        try:
            tflite.inspect(path)
            cost(path)
        except ValueError as error:
            assert_sentence(error, "path")
            refused += 1
        longest = max(longest, time.process_time() - started)
    return refused, longest


def resident_bytes():
    with open("/proc/self/statm") as statm:  # noqa: PTH123
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("count", [600, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_files_are_read_or_refused(contents, tmp_path, count):
    before = resident_bytes()
    refused, longest = read_mutated(contents, tmp_path / "m.tflite", 0, count)
    assert count / 2 < refused < count
    assert longest < 5
    assert resident_bytes() - before < 1 << 28


def bomb(tensors, letters):
    """A file whose tensors are all the same table, as often as it says, in four bytes each."""
    builder = flatbuffers.Builder()
    name = builder.CreateString("x" * letters)
    schema.TensorStart(builder)
    schema.TensorAddName(builder, name)
    tensor = schema.TensorEnd(builder)
    schema.SubGraphStartTensorsVector(builder, tensors)
    for _ in range(tensors):
        builder.PrependUOffsetTRelative(tensor)
    vector = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, vector)
    graph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    ("tensors", "letters", "why"), [(700, 100_000, "names without end"), (6000, 1, "more than 5,000 tables")]
)
def test_file_that_unpacks_to_much_is_refused(tmp_path, monkeypatch, tensors, letters, why):
    monkeypatch.setattr(size_check, "_MOST_TABLES", 5000)
    path = tmp_path / "bomb.tflite"
    path.write_bytes(bomb(tensors, letters))
    with pytest.raises(ValueError, match=why) as error:
        tflite.inspect(path)
    assert_sentence(error.value, "path")


DAMAGE = {
    "no tensors": lambda model, graph: setattr(graph, "tensors", []),
    "a tensor that is not there": lambda model, graph: setattr(graph, "outputs", [-1]),
    "DEPTHWISE_CONV_2D without its tensors": lambda model, graph: setattr(graph.operators[0], "inputs", [0]),
    "DEPTHWISE_CONV_2D of a tensor of another shape": lambda model, graph: setattr(graph.tensors[0], "shape", [3]),
    "schema version 9": lambda model, graph: setattr(model, "version", 9),
    "an operator without a code": lambda model, graph: setattr(graph.operators[0], "opcodeIndex", 99),
    "a tensor without a buffer": lambda model, graph: setattr(graph.tensors[0], "buffer", 9999),
}


@pytest.mark.parametrize("why", DAMAGE)
def test_structural_check_refuses_damage(contents, tmp_path, why):
    model = unpack(contents[0], "m")
    DAMAGE[why](model, model.subgraphs[0])
    (tmp_path / "m.tflite").write_bytes(pack(model))
    for use in (tflite.inspect, cost, tflite.benchmark, lambda path: tflite.predict(path, X)):
        with pytest.raises(ValueError, match=why) as error:
            use(tmp_path / "m.tflite")
        assert_sentence(error.value, "path")


def test_repacking_keeps_a_file(contents, tmp_path):
    """The same tensors, operators and stored numbers, these at multiples of 16 bytes."""
    for content in contents:
        (tmp_path / "a.tflite").write_bytes(content)
        again = pack(unpack(content, "m"))
        (tmp_path / "b.tflite").write_bytes(again)
        a, b = (tflite.inspect(tmp_path / f"{name}.tflite") for name in "ab")
        assert (a.operators, a.tensors) == (b.operators, b.tensors)
        np.testing.assert_array_equal(*(tflite.predict(tmp_path / f"{name}.tflite", X) for name in "ab"))
        assert set(places(again)) == {0}


def test_misaligned_buffers_are_detected(contents):
    """As the schema's own packing leaves them."""
    builder = flatbuffers.Builder()
    builder.Finish(unpack(contents[0], "m").Pack(builder), file_identifier=b"TFL3")
    assert set(places(bytes(builder.Output()))) != {0}


def test_crash_of_litert_is_confined_to_a_child(tmp_path):
    """A reshape without a shape passes the structural check, since inputs may be left out; LiteRT reads at 0."""
    model = unpack((ROOT / "saved_models/fashion_mnist/model_int8.tflite").read_bytes(), "m")
    operator = next(each for each in model.subgraphs[0].operators if operator_name(model, each) == "RESHAPE")
    operator.inputs = [operator.inputs[0], -1]
    content = pack(model)
    request = {"kernels": "BUILTIN_REF", "keep_tensors": False}
    with pytest.raises(WorkerError, match="it ends by signal SIGSEGV"):
        run_worker("run_once", request, [np.frombuffer(content, np.uint8)])
    (tmp_path / "m.tflite").write_bytes(content)
    with pytest.raises(ValueError, match="SIGSEGV") as error:
        tflite.predict(tmp_path / "m.tflite", np.zeros((1, 28, 28, 1), "float32"))
    assert_sentence(error.value, "path")


def test_foreign_file_is_tried_in_a_child_first(contents, tmp_path, monkeypatch):
    """A file from elsewhere is tried in a child, once; the file of an export is not."""
    from tfsep.tflite import _trial_run

    tried = []

    def crash(name, *args, **kwargs):
        tried.append(name)
        raise WorkerError("it ends by signal SIGSEGV")

    monkeypatch.setattr(_trial_run, "run_worker", crash)
    path = tflite.export(network(), tmp_path / "own.tflite").path
    assert tflite.predict(path, X).shape == (40, 3)
    assert not tried
    stranger = tmp_path / "stranger.tflite"
    stranger.write_bytes(contents[0] + b"\0")
    with pytest.raises(ValueError, match="it ends by signal SIGSEGV") as error:
        tflite.predict(stranger, X)
    assert_sentence(error.value, "path")
    monkeypatch.undo()
    assert tflite.predict(stranger, X).shape == (40, 3)
    monkeypatch.setattr(_trial_run, "run_worker", crash)
    assert tflite.predict(stranger, X).shape == (40, 3)
    assert tried == ["run_once"]


WRITER = """
import itertools, sys
from pathlib import Path
from tfsep._utils.atomic_files import atomic_files
folder = Path(sys.argv[1])
print("started", flush=True)
for turn in itertools.count():
    with atomic_files([folder / "a.bin", folder / "b.bin"], "path") as files:
        for file in files:
            file.write_bytes(bytes([turn % 2]) * 4_000_000)
"""


def killed_after(program, folder, seconds):
    child = subprocess.Popen([sys.executable, "-c", program, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()


def test_killed_writer_leaves_the_old_or_the_new_file(tmp_path):
    whole = {hashlib.sha256(bytes([turn]) * 4_000_000).hexdigest() for turn in (0, 1)}
    rng = random.Random(0)
    for _ in range(10):
        killed_after(WRITER, tmp_path, rng.uniform(0, 0.05))
        for path in filter(Path.exists, (tmp_path / "a.bin", tmp_path / "b.bin")):
            assert hashlib.sha256(path.read_bytes()).hexdigest() in whole
    with atomic_files([tmp_path / "a.bin", tmp_path / "b.bin"], "path") as files:
        for file in files:
            file.write_bytes(b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "b.bin"], "what the killed ones left is gone"


def test_temporary_files_of_running_processes_are_kept(tmp_path):
    other = tmp_path / f".partial-{os.getppid()}-a.bin"
    another = tmp_path / ".partial-99999999-another.bin"
    for path in (other, another):
        path.write_bytes(b"")
    with atomic_files([tmp_path / "a.bin"], "path") as (file,):
        file.write_bytes(b"new")
    assert other.exists()
    assert another.exists()


EXPORTER = """
import itertools, sys
import keras
from tfsep import tflite
model = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(4, 3)])
folder = sys.argv[1]
tflite.export(model, f"{folder}/m.tflite")
print("started", flush=True)
for recipe in itertools.cycle(["float16", "float32"]):
    tflite.export(model, f"{folder}/m.tflite", recipe)
"""


@pytest.mark.slow
def test_killed_export_leaves_the_old_or_the_new_file(tmp_path):
    rng = random.Random(0)
    for _ in range(8):
        killed_after(EXPORTER, tmp_path, rng.uniform(0, 0.5))
        assert tflite.predict(tmp_path / "m.tflite", X).shape == (40, 6, 6, 4)
        assert json.loads((tmp_path / "m.json").read_text())["recipe"] in ("float16", "float32")


@pytest.mark.slow
def test_many_exports_do_not_grow_memory(tmp_path):
    model = network()
    for _ in range(10):
        tflite.export(model, tmp_path / "m.tflite", "int8", X)
    before = resident_bytes()
    for _ in range(190):
        tflite.export(model, tmp_path / "m.tflite", "int8", X)
    assert resident_bytes() < 1.1 * before
