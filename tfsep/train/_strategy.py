"""The devices of a run: one, several of this machine, or those of several machines."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tfsep._keras.backend import tf
from tfsep._utils.arguments import number_in_range
from tfsep.train._cluster import read_cluster
from tfsep.train._worker_connections import SILENCE, Peers

STRATEGIES = ("one", "mirrored", "multi-worker")


@dataclass(frozen=True)
class Devices:
    """What a run computes on.

    Attributes:
        strategy: TensorFlow's, in whose scope the model is made.
        peers: the other workers; None where there are none.
    """

    strategy: Any
    peers: Peers | None = None

    @property
    def worker(self) -> int:
        """The place of this worker among all; 0 is the chief's."""
        return self.peers.cluster.index if self.peers else 0

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self.peers.cluster.addresses) if self.peers else 1

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes what the run leaves."""
        return self.worker == 0

    def exchange(self, value: Any) -> list[Any]:
        """Return the values, for JSON, of all workers."""
        return self.peers.exchange(value) if self.peers else [value]

    def require_same(self, facts: dict[str, dict[str, Any]]) -> None:
        """Raise a ValueError unless all workers have the same facts, by what they are about and their name."""
        for other, theirs in enumerate(self.exchange(facts)):
            for about, own in facts.items():
                changed = sorted(name for name in own | theirs[about] if own.get(name) != theirs[about].get(name))
                if changed:
                    raise ValueError(
                        f"{about}: expected the same in all workers, got another {', '.join(changed)} in worker {other}"
                    )


@contextmanager
def join(strategy: str = "one", timeout: float = 60.0) -> Iterator[Devices]:
    """Give the devices for `train`, while open.

    Several machines have to be joined before TensorFlow computes anything, so before data are opened:

    .. code-block:: python

        with join("multi-worker") as devices:
            train(TrainConfig(), fashion_mnist(), "runs/a", devices=devices)

    Args:
        strategy: ``"one"``, the strategy that is in scope, by default one device; ``"mirrored"``, all GPUs of this
            machine, or what TensorFlow sees as its CPUs; ``"multi-worker"``, those of all workers in the environment
            variable ``TF_CONFIG``, as TensorFlow documents it.
        timeout: seconds within which all workers have to be there. When one is gone later, the others say which, and
            end their processes with exit code 3.

    Raises:
        ValueError: for another strategy or timeout, a ``TF_CONFIG`` that describes no cluster, or two that differ; if
            TensorFlow has already computed something.
        TimeoutError: if a worker is not there in time.
        OSError: if this worker's port is taken.

    Examples:
        >>> with join("mirrored") as devices:
        ...     devices.worker, devices.workers
        (0, 1)
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy: expected one of {', '.join(STRATEGIES)}, got {strategy!r}")
    timeout = number_in_range(timeout, "timeout", float, 0.1, 86400)
    if strategy == "one":
        yield Devices(tf.distribute.get_strategy())
    elif strategy == "mirrored":
        found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        yield Devices(tf.distribute.MirroredStrategy([device.name for device in found]))
    else:
        with Peers(read_cluster(os.environ.get("TF_CONFIG")), timeout) as peers:
            try:
                yield Devices(_multi_worker(), peers)
            except tf.errors.OpError:
                # It may be about a worker that is gone; if so, this process ends in the meantime and says which.
                time.sleep(SILENCE)
                raise


def _multi_worker() -> Any:
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise ValueError("strategy: expected multi-worker before anything is computed, got it after") from error
