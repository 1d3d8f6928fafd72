"""The devices of a run: one, several of this machine, or those of several machines."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from tfsep._keras.backend import tf
from tfsep._utils.arguments import number_in_range, one_of
from tfsep.train._cluster import read_cluster
from tfsep.train._worker_connections import HEARTBEAT_TIMEOUT, WorkerConnections

STRATEGIES = ("one", "mirrored", "multi-worker")
"""The strategies of `join`: one device, all devices of this machine, several machines."""

KINDS = ("auto", "cpu", "gpu")
"""The kinds of device that `join` may be asked for."""


@dataclass(frozen=True)
class Devices:
    """The devices of a run, on this worker and on the others.

    Attributes:
        strategy: the ``tf.distribute.Strategy`` in whose scope the model is made.
        connections: connections to the other workers; None for a single worker.
    """

    strategy: tf.distribute.Strategy
    connections: WorkerConnections | None = None

    @property
    def worker_index(self) -> int:
        """The index of this worker among all; 0 is the chief."""
        return self.connections.cluster.index if self.connections else 0

    @property
    def worker_count(self) -> int:
        """The number of workers."""
        return len(self.connections.cluster.addresses) if self.connections else 1

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the files of the run."""
        return self.worker_index == 0

    def exchange(self, value: Any) -> list[Any]:
        """Return the values of all workers, in their order.

        Args:
            value: value of this worker, for JSON.
        """
        return self.connections.exchange(value) if self.connections else [value]

    def require_equal(self, facts: dict[str, dict[str, Any]]) -> None:
        """Raise a ValueError unless all workers have the same facts.

        Args:
            facts: facts by topic and name, for JSON; the message says which differ.
        """
        for other, theirs in enumerate(self.exchange(facts)):
            for about, own in facts.items():
                changed = sorted(name for name in own | theirs[about] if own.get(name) != theirs[about].get(name))
                if changed:
                    raise ValueError(
                        f"{about}: expected the same in all workers, got another {', '.join(changed)} in worker {other}"
                    )


@contextmanager
def join(strategy: str = "one", timeout: float = 60.0, device: str = "auto") -> Iterator[Devices]:
    """Connect to the devices of a run, for `train`, until the context is left.

    Several machines must be joined before TensorFlow computes anything, and so before data are opened:

    .. code-block:: python

        with join("multi-worker") as devices:
            train(TrainConfig(), fashion_mnist(), "runs/a", devices=devices)

    Args:
        strategy: ``"one"``: the strategy in scope, by default one device. ``"mirrored"``: all GPUs of this machine, or
            all logical CPUs. ``"multi-worker"``: the devices of all workers in the environment variable ``TF_CONFIG``,
            as TensorFlow documents it.
        timeout: seconds within which all workers must have started. When one is lost later, the others name it and end
            their processes with exit code 3.
        device: ``"gpu"`` or ``"cpu"``: the kind to compute on; ``"auto"``: GPUs, where there are some.

    Raises:
        ValueError: for another strategy, timeout or kind of device; if no device of the kind is there; for a
            ``TF_CONFIG`` that describes no cluster, or differs between workers; if TensorFlow has already computed
            something.
        TimeoutError: if a worker has not started in time.
        OSError: if this worker's port is taken.

    Examples:
        >>> with join("mirrored") as devices:
        ...     devices.worker_index, devices.worker_count
        (0, 1)
    """
    one_of(strategy, "strategy", STRATEGIES)
    timeout = number_in_range(timeout, "timeout", float, 0.1, 86400)
    kind = _require_kind(device, strategy)
    if strategy == "one":
        # A GPU is the default; asked for, it would get the functions of data sets as well.
        with tf.device("CPU:0") if device == "cpu" else nullcontext():
            yield Devices(tf.distribute.get_strategy())
    elif strategy == "mirrored":
        yield Devices(tf.distribute.MirroredStrategy([each.name for each in tf.config.list_logical_devices(kind)]))
    else:
        with WorkerConnections(read_cluster(os.environ.get("TF_CONFIG")), timeout) as connections:
            try:
                yield Devices(_multi_worker(), connections)
            except tf.errors.OpError:
                # The cause may be a lost worker: then the connections end this process in the meantime, with its name.
                time.sleep(HEARTBEAT_TIMEOUT)
                raise


def _require_kind(device: str, strategy: str) -> str:
    """The kind of device to compute on, as TensorFlow names it.

    Raises:
        ValueError: unless there is one.
    """
    one_of(device, "device", KINDS)
    # Physical ones, since to ask for logical ones would start TensorFlow before several machines are connected.
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    if device == "gpu" and not has_gpu:
        raise ValueError("device: expected a GPU that TensorFlow can use, got none on this machine")
    if (device, strategy) == ("cpu", "multi-worker") and has_gpu:
        # TensorFlow's strategy takes a machine's GPUs.
        raise ValueError("device: expected auto or gpu for multi-worker on a machine with a GPU, got 'cpu'")
    return "GPU" if has_gpu and device != "cpu" else "CPU"


def _multi_worker() -> Any:
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise ValueError("strategy: expected multi-worker before anything is computed, got it after") from error
