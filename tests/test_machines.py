"""Runs on several devices and machines: the same whoever takes part in it, with a clear end when somebody is gone."""

import json
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import worker
from checks import assert_close, assert_sentence
from conftest import ROOT
from processes import ForkedProcess, NewInterpreter
from typer.testing import CliRunner

from tfsep._utils.messages import messages_to
from tfsep.cli import app
from tfsep.train import TrainConfig, _worker_connections, join, train
from tfsep.train._batches import BatchPreparation, epoch_batches
from tfsep.train._cluster import Cluster, read_cluster
from tfsep.train._strategy import Devices
from tfsep.train._worker_connections import WORKER_LOST_EXIT_CODE, WorkerConnections

WEIGHTS = [f"arr_{i}" for i in range(8)]


def free_addresses(count):
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = tuple(f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners)
    for listener in listeners:
        listener.close()
    return addresses


def config_of(addresses, index):
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}})


class Worker:
    """A worker's process, whose end is waited for from its start.

    Args:
        start: how; a new interpreter also shows the very end of a process, a forked one starts in less time.
    """

    def __init__(self, index=0, addresses=(), start=ForkedProcess, **told):
        environment = {"TF_CONFIG": config_of(addresses, index)}
        self._process = start(ROOT / "tests" / "worker.py", json.dumps(told), environment=environment)
        self._thread = threading.Thread(target=self._wait)
        self._thread.start()

    def _wait(self):
        self._ended = self._process.wait()
        self.end = time.monotonic()

    def ended(self, code=0):
        """Wait for its end, and assert its exit code."""
        self._thread.join(timeout=400)
        assert not self._thread.is_alive(), "still running"
        got, self.out, self.err = self._ended
        assert got == code, f"exit code {got}, expected {code}:\n{self.out}\n{self.err}"
        return self

    def kill(self):
        self._process.kill()
        self._thread.join()


def start_both(folder, start=ForkedProcess, **told):
    """Two workers of one run, who leave their weights as 0.npz and 1.npz; `die_after` is told the second only."""
    addresses, last = free_addresses(2), told.pop("die_after", None)
    common = {"strategy": "multi-worker", "folder": str(folder / "run"), **told}
    return [
        Worker(i, addresses, start, **common, weights=str(folder / f"{i}.npz"), die_after=last if i else None)
        for i in (0, 1)
    ]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """A run on two CPUs of this machine, one by two workers, and one of which a worker is killed: all at once."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("mirrored", "two", "killed")}
    told = {"folder": str(folders["mirrored"] / "run"), "weights": str(folders["mirrored"] / "0.npz")}
    processes = {
        "mirrored": [Worker(strategy="mirrored", replicas=2, **told)],
        "two": start_both(folders["two"], start=NewInterpreter),
        "killed": start_both(folders["killed"], die_after=2),
    }
    yield folders, processes
    for group in processes.values():
        for process in group:
            process.kill()


@pytest.fixture(scope="module")
def mirrored(together):
    folders, processes = together
    processes["mirrored"][0].ended()
    return dict(np.load(folders["mirrored"] / "0.npz"))


@pytest.fixture(scope="module")
def two(together):
    folders, processes = together
    said = [process.ended().out for process in processes["two"]]
    return folders["two"], said, [dict(np.load(folders["two"] / f"{i}.npz")) for i in (0, 1)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    lines = []
    with messages_to(lines.append):
        result = worker.whole_run(tmp_path_factory.mktemp("alone") / "run")
    return result, lines


def test_both_workers_have_identical_weights(two):
    _, _, (first, second) = two
    assert first.keys() == second.keys() >= set(WEIGHTS)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize("kind", ["mirrored", "two"])
def test_workers_train_to_the_weights_of_one_process(alone, kind, request):
    """With synchronized normalization, the batch of one process and its parts train to the same weights."""
    got = request.getfixturevalue(kind)
    got = got[2][0] if kind == "two" else got
    for name, weight in zip(WEIGHTS, alone[0].model.get_weights(), strict=True):
        assert_close(got[name], weight, 1e-4, name)
    assert got["accuracy"] == alone[0].validation_accuracy


@pytest.mark.parametrize("kind", ["mirrored", "two"])
def test_unsynchronized_statistics_are_averaged_over_replicas(kind, request):
    got = request.getfixturevalue(kind)
    got = got[2][0] if kind == "two" else got
    split, config = worker.data().train, worker.CONFIG
    halves = [
        np.asarray(
            next(iter(epoch_batches(split, config, BatchPreparation(config, split.preprocessing, 2), 0, (i, 2))))[0],
            np.float64,
        )
        for i in range(2)
    ]
    keep = worker.MOMENTUM
    assert_close(got["mean"], [(1 - keep) * np.mean([half.mean() for half in halves])])
    assert_close(got["variance"], [keep + (1 - keep) * np.mean([half.var() for half in halves])])
    if kind == "mirrored":
        assert_close([got["compiled_mean"], got["compiled_variance"]], [got["mean"], got["variance"]])


def test_only_the_chief_writes_and_all_log_the_same(two, alone):
    folder, said, _ = two
    assert sorted(p.name for p in (folder / "run").iterdir()) == sorted(p.name for p in alone[0].folder.iterdir())
    without_times = [[line.rsplit(", ", 2)[0] for line in lines.splitlines()] for lines in said]
    assert without_times[0] == without_times[1] == [line.rsplit(", ", 2)[0] for line in alone[1]]


def test_images_per_second_are_logged(two, alone):
    for run, lines in ((two[0] / "run", two[1][0].splitlines()), (alone[0].folder, alone[1])):
        records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        epochs = [line for line in lines if line.startswith("epoch") and line.endswith("images/s")]
        for record, line in zip(records, epochs, strict=True):
            assert line.endswith(f", {record['images_per_second']:.0f} images/s")
            assert record["images_per_second"] * record["seconds"] >= 48


def test_run_with_a_killed_worker_ends_and_resumes_to_identical_weights(together, two):
    folders, processes = together
    survivor, killed = processes["killed"]
    killed.ended(-signal.SIGKILL)
    survivor.ended(WORKER_LOST_EXIT_CODE)
    assert survivor.end - killed.end < _worker_connections.HEARTBEAT_TIMEOUT
    assert "epoch 1/3" in survivor.out
    assert "epoch 3/3" not in survivor.out
    message = r"^tfsep: worker 1 at 127\.0\.0\.1:\d+ is gone; resume in all workers to go on from the last checkpoint$"
    assert re.search(message, survivor.err, re.MULTILINE), survivor.err
    folder = folders["killed"]
    for process in start_both(folder, resume=True):
        process.ended()
    for i in (0, 1):
        resumed = np.load(folder / f"{i}.npz")
        for name in WEIGHTS:
            np.testing.assert_array_equal(resumed[name], two[2][i][name])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "expected a cluster and a task in this environment variable, got none"),
        ("", "expected a cluster and a task in this environment variable, got none"),
        ("{worker", "expected JSON, got '{worker' "),
        ("[" * 100_000, "expected JSON, got '\\[\\["),
        ("[]", "expected a JSON object with an object cluster in it, got \\[\\]"),
        ({"task": {}}, "expected a JSON object with an object cluster in it, got"),
        ({"cluster": {"worker": ["a:1"]}}, "expected a JSON object with an object task in it, got"),
        ({"cluster": {}, "task": {}}, "expected a list of addresses as worker in cluster, got {}"),
        ({"cluster": {"worker": "a:1"}, "task": {}}, "expected a list of addresses as worker in cluster, got 'a:1'"),
        ({"cluster": {"worker": []}, "task": {}}, "expected a list of addresses as worker in cluster, got \\[\\]"),
        ({"cluster": {"chief": ["a:1"]}, "task": {}}, "expected a list of addresses as worker in cluster, got"),
        (
            {"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {}},
            "expected a cluster of workers and at most a chief",
        ),
        ({"cluster": {"worker": ["a:1"], "chief": ["b:1", "c:1"]}, "task": {}}, "expected one chief, got"),
        ({"cluster": {"worker": ["a:1"], "chief": ["a:1"]}, "task": {}}, "address of its own .*, got a:1 twice"),
        *(
            ({"cluster": {"worker": [address]}, "task": {}}, "expected host:port as address of a worker, .*, got ")
            for address in ("a", "a:", ":1", "a:0", "a:65536", "a:x", "a:-1", "a:²", 3, None)
        ),
        *(
            (
                {"cluster": {"worker": ["a:1"]}, "task": {"type": role, "index": 0}},
                "expected worker as type of task, got",
            )
            for role in ("chief", "evaluator", None)
        ),
        *(
            ({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": index}}, r"an int in \[0, 1\]")
            for index in (2, -1, "0", 0.0, True, None)
        ),
    ],
)
def test_invalid_tf_config(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_cluster(text if text is None or isinstance(text, str) else json.dumps(text))
    assert_sentence(caught.value, "TF_CONFIG")


def test_chief_comes_first():
    jobs = {"worker": ["b:1", "[::1]:2"], "chief": ["a:1"]}
    for role, index, place in (("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)):
        cluster = read_cluster(json.dumps({"cluster": jobs, "task": {"type": role, "index": index}}))
        assert cluster == Cluster(("a:1", "b:1", "[::1]:2"), place)
    assert cluster.host_and_port(2) == ("::1", 2)


def meet(clusters, work, timeout=20.0, **options):
    """Do a piece of work in a worker of each cluster, and return what each returns or raises."""

    def one(cluster):
        try:
            with WorkerConnections(cluster, timeout, **options) as connections:
                return work(connections)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(clusters)) as pool:
        return list(pool.map(one, clusters))


def test_workers_exchange_values():
    addresses = free_addresses(3)
    got = meet([Cluster(addresses, i) for i in range(3)], lambda p: [p.exchange(p.cluster.index), p.exchange(["a"])])
    assert got == [[[0, 1, 2], [["a"]] * 3]] * 3


def test_worker_that_leaves_without_goodbye_is_lost(capsys):
    addresses, gone = free_addresses(2), threading.Event()
    codes = []

    def leave(code):
        codes.append(code)
        gone.set()

    def work(connections):
        connections.exchange(None)
        if connections.cluster.index:
            raise RuntimeError("out of memory")
        assert gone.wait(timeout=10)
        return "noticed"

    got = meet([Cluster(addresses, i) for i in range(2)], work, on_worker_lost=leave)
    assert (got[0], str(got[1]), codes) == ("noticed", "out of memory", [WORKER_LOST_EXIT_CODE])
    assert f"tfsep: worker 1 at {addresses[1]} is gone; " in capsys.readouterr().err


def serve(answer, port):
    """A stranger who answers the first who calls at a port, and listens on."""
    listener = socket.create_server(("127.0.0.1", port))

    def talk():
        connection, _ = listener.accept()
        with connection:
            connection.recv(10_000)
            connection.sendall(answer)
            connection.recv(1)

    thread = threading.Thread(target=talk)
    thread.start()
    return listener, thread


def test_worker_without_heartbeat_is_lost(monkeypatch, capsys):
    monkeypatch.setattr(_worker_connections, "HEARTBEAT_TIMEOUT", 0.5)
    cluster, gone = Cluster(free_addresses(2), 0), threading.Event()
    greeting = json.dumps({"index": 1, "cluster": cluster.addresses}).encode() + b"\n"
    listener, thread = serve(greeting, cluster.host_and_port(1)[1])

    def call():
        for _ in range(100):
            try:
                with socket.create_connection(cluster.host_and_port(0)) as connection:
                    connection.sendall(greeting)
                    gone.wait(timeout=20)
                return
            except ConnectionRefusedError:
                time.sleep(0.05)

    caller = threading.Thread(target=call)
    caller.start()
    began = time.monotonic()
    [got] = meet([cluster], lambda connections: gone.wait(timeout=20), on_worker_lost=lambda code: gone.set())
    for each in (thread, caller):
        each.join()
    listener.close()
    assert got is True
    assert time.monotonic() - began < 10
    assert "worker 1 at" in capsys.readouterr().err


def test_another_program_at_an_address_is_refused():
    cluster = Cluster(free_addresses(2), 0)
    listener, thread = serve(b"HTTP/1.1 400 Bad Request\r\n", cluster.host_and_port(1)[1])
    [error] = meet([cluster], lambda connections: None, timeout=1.0)
    thread.join()
    listener.close()
    assert isinstance(error, TimeoutError)
    assert_sentence(error, "TF_CONFIG")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: Cluster((*a, "127.0.0.1:1"), 1), "expected the same cluster in all workers, got"),
        (lambda a: Cluster(a[::-1], 0), "expected the same cluster in all workers, got"),
    ],
)
def test_workers_with_different_clusters(change, message):
    addresses = free_addresses(2)
    errors = meet([Cluster(addresses, 0), change(addresses)], lambda connections: None, timeout=2.0)
    # The second may come only when the first has gone with its error.
    assert any(re.search(message, str(error)) for error in errors), errors
    for error in errors:
        assert_sentence(error, "TF_CONFIG")


def test_address_of_another_worker_is_refused():
    """Two names of one machine: who calls the second worker reaches himself."""
    port = free_addresses(1)[0].rpartition(":")[2]
    [error] = meet([Cluster((f"127.0.0.1:{port}", f"127.0.0.2:{port}"), 0)], lambda connections: None)
    assert str(error) == f"TF_CONFIG: expected worker 1 at 127.0.0.2:{port}, got worker 0 there"


def test_duplicate_worker_is_refused():
    cluster = Cluster(free_addresses(2), 0)
    with socket.create_server(("", cluster.host_and_port(0)[1])):
        [error] = meet([cluster], lambda connections: None)
    assert isinstance(error, OSError)
    assert "(Address already in use)" in str(error)
    assert_sentence(error, "TF_CONFIG")


def test_missing_worker(monkeypatch):
    addresses = free_addresses(2)
    monkeypatch.setenv("TF_CONFIG", config_of(addresses, 0))
    began = time.monotonic()
    message = rf"within 0\.5 s, got none as worker 1 at {addresses[1]} \(Connection refused\)"
    with pytest.raises(TimeoutError, match=message) as caught, join("multi-worker", 0.5):
        pass
    assert time.monotonic() - began < 5
    assert_sentence(caught.value, "TF_CONFIG")


def test_multi_worker_must_be_joined_before_computation(monkeypatch):
    tf.constant(1)
    monkeypatch.setenv("TF_CONFIG", config_of(free_addresses(1), 0))
    with pytest.raises(ValueError, match="multi-worker before anything is computed") as caught, join("multi-worker"):
        pass
    assert_sentence(caught.value, "strategy")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(("two",), "strategy"), ((None,), "strategy"), (("one", 0), "timeout"), (("one", "x"), "timeout")],
)
def test_invalid_join_arguments(arguments, name):
    with pytest.raises(ValueError, match=name) as caught, join(*arguments):
        pass
    assert_sentence(caught.value, name)


class Told:
    """Connections as `Devices` knows them, to one worker, which sends what it is told."""

    def __init__(self, answer):
        self.cluster, self._answer = Cluster(("a:1", "b:1"), 0), answer

    def exchange(self, value):
        return [value, self._answer(value)]


@pytest.mark.parametrize(
    ("about", "change", "message"),
    [
        ("config", {"seed": 1, "epochs": 9}, "got another epochs, seed in worker 1"),
        ("data", {"train_sha256": "0"}, "got another train_sha256 in worker 1"),
        ("run", {"resume": True}, "got another resume in worker 1"),
        ("run", {"checkpoint.npz": "0"}, "got another checkpoint.npz in worker 1"),
    ],
)
def test_workers_need_the_same_settings_and_data(about, change, message, tmp_path):
    connections = Told(lambda facts: {**facts, about: {**facts[about], **change}})
    devices = Devices(tf.distribute.get_strategy(), connections)
    with pytest.raises(ValueError, match=message) as caught:
        worker.whole_run(tmp_path / "run", devices)
    assert_sentence(caught.value, about)
    assert not (tmp_path / "run").exists()


def test_batch_must_divide_among_devices(tmp_path):
    class Three:
        num_replicas_in_sync = 3

    config = replace(TrainConfig(), batch_size=16, validation=15)
    with pytest.raises(ValueError, match="batch_size: expected a multiple of 3 for 3 devices") as caught:
        train(config, worker.data(), tmp_path / "run", devices=Devices(Three()))
    assert_sentence(caught.value, "batch_size")
    assert not (tmp_path / "run").exists()


def test_command_reports_cluster_errors_in_one_sentence(tmp_path, monkeypatch):
    for config in ("{", config_of(free_addresses(2), 1)):
        monkeypatch.setenv("TF_CONFIG", config)
        arguments = ["train", "--strategy", "multi-worker", "--timeout", "0.3", "--out", str(tmp_path / "run")]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 2, done.output
        assert_sentence(done.stderr.removeprefix("tfsep: ").rstrip("\n"), "TF_CONFIG")
        assert not (tmp_path / "run").exists()
