"""The cluster that ``TF_CONFIG`` describes, as TensorFlow documents it for workers that all train."""

import json
from dataclasses import dataclass
from typing import Any

from tfsep._utils.arguments import short_repr

_ROLES = ("chief", "worker")


@dataclass(frozen=True)
class Cluster:
    """The workers of a run, and which of them this is.

    Attributes:
        addresses: of all workers, ``host:port`` each, the chief's first.
        index: this worker's place among them; 0 is the chief's.
    """

    addresses: tuple[str, ...]
    index: int

    def place(self, index: int) -> tuple[str, int]:
        """Return host and port of a worker."""
        host, _, port = self.addresses[index].rpartition(":")
        return host.strip("[]"), int(port)

    def named(self, index: int) -> str:
        """Return how a message names a worker."""
        return f"worker {index} at {self.addresses[index]}"


def read_cluster(text: str | None) -> Cluster:
    """Return the cluster in the value of ``TF_CONFIG``.

    Without a chief of its own, a cluster's first worker is the chief, as in TensorFlow. Parameter servers and
    evaluators have no part in this training.

    Raises:
        ValueError: if it is missing, is no JSON, or describes no cluster with this worker in it.

    Examples:
        >>> read_cluster('{"cluster": {"worker": ["a:5000", "b:5000"]}, "task": {"type": "worker", "index": 1}}')
        Cluster(addresses=('a:5000', 'b:5000'), index=1)
        >>> read_cluster(None)
        Traceback (most recent call last):
        ValueError: TF_CONFIG: expected a cluster and a task in this environment variable, got none
    """
    if not text:
        raise _wrong("a cluster and a task in this environment variable", "none")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong("JSON", f"{short_repr(text)} ({error})") from error
    jobs, task = (_object(config, part) for part in ("cluster", "task"))
    others = sorted(jobs.keys() - set(_ROLES))
    if others:
        raise _wrong("a cluster of workers and at most a chief", ", ".join(others))
    workers = {role: _addresses(jobs, role) for role in _ROLES if role in jobs}
    if "worker" not in workers:
        raise _wrong("a list of addresses as worker in cluster", short_repr(jobs))
    if len(workers.get("chief", ())) > 1:
        raise _wrong("one chief", short_repr(jobs["chief"]))
    addresses = tuple(address for role in _ROLES for address in workers.get(role, ()))
    twice = sorted({address for address in addresses if addresses.count(address) > 1})
    if twice:
        raise _wrong("an address of its own for every worker", f"{twice[0]} twice")
    return Cluster(addresses, addresses.index(_own(task, workers)))


def _own(task: dict[str, Any], workers: dict[str, list[str]]) -> str:
    """The address of the worker that the task says this is."""
    role, index = task.get("type"), task.get("index")
    if role not in workers:
        raise _wrong(f"{' or '.join(workers)} as type of task", short_repr(role))
    count = len(workers[role])
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
        raise _wrong(f"an int in [0, {count - 1}] as index of task", short_repr(index))
    return workers[role][index]


def _object(config: Any, part: str) -> dict[str, Any]:
    if not isinstance(config, dict) or not isinstance(config.get(part), dict):
        raise _wrong(f"a JSON object with an object {part} in it", short_repr(config))
    return config[part]


def _addresses(jobs: dict[str, Any], role: str) -> list[str]:
    listed = jobs[role]
    if not isinstance(listed, list) or not listed:
        raise _wrong(f"a list of addresses as {role} in cluster", short_repr(listed))
    for address in listed:
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not host or not (port.isascii() and port.isdecimal() and 0 < int(port) < 2**16):
            raise _wrong(f"host:port as address of a {role}, with a port in [1, 65535]", short_repr(address))
    return listed


def _wrong(expected: str, got: str) -> ValueError:
    return ValueError(f"TF_CONFIG: expected {expected}, got {got}")
