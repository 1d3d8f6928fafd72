"""The cluster in the environment variable ``TF_CONFIG``, as TensorFlow documents it for synchronous training."""

import json
from dataclasses import dataclass
from typing import Any

from tfsep._utils.arguments import short_repr

_ROLES = ("chief", "worker")


@dataclass(frozen=True)
class Cluster:
    """The addresses of all workers, and the index of this one.

    Attributes:
        addresses: ``host:port`` of each worker, the chief's first.
        index: index of this worker; 0 is the chief's.
    """

    addresses: tuple[str, ...]
    index: int

    def host_and_port(self, index: int) -> tuple[str, int]:
        """Return host and port of a worker."""
        host, _, port = self.addresses[index].rpartition(":")
        return host.strip("[]"), int(port)

    def label(self, index: int) -> str:
        """Return index and address of a worker, for messages."""
        return f"worker {index} at {self.addresses[index]}"


def read_cluster(text: str | None) -> Cluster:
    """Return the cluster in the value of ``TF_CONFIG``.

    In a cluster without a chief, the first worker is the chief, as in TensorFlow. Parameter servers and evaluators are
    not supported.

    Args:
        text: the value; None if the variable is not set.

    Raises:
        ValueError: if it is missing, is not JSON, or describes no cluster with this worker in it.

    Examples:
        >>> read_cluster('{"cluster": {"worker": ["a:5000", "b:5000"]}, "task": {"type": "worker", "index": 1}}')
        Cluster(addresses=('a:5000', 'b:5000'), index=1)
        >>> read_cluster(None)
        Traceback (most recent call last):
        ValueError: TF_CONFIG: expected a cluster and a task in this environment variable, got none
    """
    if not text:
        raise _error("a cluster and a task in this environment variable", "none")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _error("JSON", f"{short_repr(text)} ({error})") from error
    jobs, task = (_json_object(config, part) for part in ("cluster", "task"))
    others = sorted(jobs.keys() - set(_ROLES))
    if others:
        raise _error("a cluster of workers and at most a chief", ", ".join(others))
    workers = {role: _addresses(jobs, role) for role in _ROLES if role in jobs}
    if "worker" not in workers:
        raise _error("a list of addresses as worker in cluster", short_repr(jobs))
    if len(workers.get("chief", ())) > 1:
        raise _error("one chief", short_repr(jobs["chief"]))
    addresses = tuple(address for role in _ROLES for address in workers.get(role, ()))
    twice = sorted({address for address in addresses if addresses.count(address) > 1})
    if twice:
        raise _error("an address of its own for every worker", f"{twice[0]} twice")
    return Cluster(addresses, addresses.index(_own_address(task, workers)))


def _own_address(task: dict[str, Any], workers: dict[str, list[str]]) -> str:
    """The address of this worker, by type and index of its task."""
    role, index = task.get("type"), task.get("index")
    if role not in workers:
        raise _error(f"{' or '.join(workers)} as type of task", short_repr(role))
    count = len(workers[role])
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
        raise _error(f"an int in [0, {count - 1}] as index of task", short_repr(index))
    return workers[role][index]


def _json_object(config: Any, part: str) -> dict[str, Any]:
    if not isinstance(config, dict) or not isinstance(config.get(part), dict):
        raise _error(f"a JSON object with an object {part} in it", short_repr(config))
    return config[part]


def _addresses(jobs: dict[str, Any], role: str) -> list[str]:
    listed = jobs[role]
    if not isinstance(listed, list) or not listed:
        raise _error(f"a list of addresses as {role} in cluster", short_repr(listed))
    for address in listed:
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not host or not (port.isascii() and port.isdecimal() and 0 < int(port) < 2**16):
            raise _error(f"host:port as address of a {role}, with a port in [1, 65535]", short_repr(address))
    return listed


def _error(expected: str, got: str) -> ValueError:
    return ValueError(f"TF_CONFIG: expected {expected}, got {got}")
