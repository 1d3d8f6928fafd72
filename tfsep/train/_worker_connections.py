"""Connections between the workers of a run: a meeting before TensorFlow starts, heartbeats, exchange of values.

TensorFlow waits minutes for a missing worker, and a collective operation that waits for a killed one cannot be
interrupted. Therefore each worker first listens at its own address until all others have connected, and then leaves the
port to TensorFlow, while the connections stay open. The worker that accepted a connection sends lines of JSON over it:
a heartbeat every second, values to exchange, and a goodbye at the end. A worker is lost if its connection ends without
a goodbye, or has no heartbeat for `HEARTBEAT_TIMEOUT`.
"""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from tfsep._utils.arguments import short_repr
from tfsep.train._cluster import Cluster

HEARTBEAT_TIMEOUT = 30.0
"""Seconds without a heartbeat after which a worker counts as lost; a killed one is noticed at once."""

WORKER_LOST_EXIT_CODE = 3
"""The exit code of a worker that ends because another is lost."""

_HEARTBEAT_SECONDS = 1.0
_HANDSHAKE_SECONDS = 5.0
_RETRY_SECONDS = 0.2
_MAX_LINE_BYTES = 2**24


class WorkerConnections:
    """Open connections to the other workers of a cluster, a context manager.

    Leaving the context without an error waits until all others leave theirs, so that no worker ends before the rest.

    Args:
        cluster: the addresses of all workers, and the index of this one.
        timeout: seconds within which all workers must have started.
        on_worker_lost: called from another thread, with the exit code, when a worker is lost.

    Raises:
        TimeoutError: if a worker has not started in time; the message names it.
        ValueError: if a worker has another cluster.
        OSError: if this worker's own port is taken.
    """

    def __init__(self, cluster: Cluster, timeout: float, on_worker_lost: Callable[[int], Any] = os._exit) -> None:
        self.cluster, self._on_worker_lost = cluster, on_worker_lost
        self._others = [i for i in range(len(cluster.addresses)) if i != cluster.index]
        self._loop = asyncio.new_event_loop()
        self._accepted: dict[int, asyncio.Future[None]] = {i: self._loop.create_future() for i in self._others}
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._readers: dict[int, asyncio.StreamReader] = {}
        self._open_writers: list[asyncio.StreamWriter] = []
        self._received: dict[int, asyncio.Queue[Any]] = {i: asyncio.Queue() for i in self._others}
        self._receivers: list[asyncio.Task[None]] = []
        self._heartbeats: asyncio.Task[None] | None = None
        self._failures = dict.fromkeys(self._others, "no answer")
        self._thread = threading.Thread(target=self._loop.run_forever, name="worker connections", daemon=True)
        self._thread.start()
        try:
            self._run(self._connect_all(timeout))
        except BaseException:
            self._stop_loop()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the connections: with a goodbye, or after an error without one, which tells the others."""
        if kind is None:
            self._run(self._disconnect())
        self._stop_loop()

    def exchange(self, value: Any) -> list[Any]:
        """Send a value, for JSON, to all others, and return the values of all in the order of the workers."""
        return self._run(self._exchange(value))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop_loop(self) -> None:
        self._run(self._close_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._open_writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._open_writers), return_exceptions=True)

    async def _connect_all(self, timeout: float) -> None:
        _, port = self.cluster.host_and_port(self.cluster.index)
        try:
            server = await asyncio.start_server(self._accept, None, port, limit=_MAX_LINE_BYTES)
        except OSError as error:
            own = self.cluster.addresses[self.cluster.index]
            raise OSError(f"TF_CONFIG: expected a free port for this worker, got {own} ({_reason(error)})") from error
        # Heartbeats start now: a worker that has all its connections already expects them.
        self._heartbeats = asyncio.create_task(self._send_heartbeats())
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(*map(self._connect, self._others), *self._accepted.values())
        except TimeoutError:
            missing = [
                f"{self.cluster.label(i)} ({self._failures[i]})" for i in self._others if not self._is_connected(i)
            ]
            raise TimeoutError(
                f"TF_CONFIG: expected every worker to be there within {timeout:g} s, got none as {', '.join(missing)}"
            ) from None
        finally:
            server.close()
        self._receivers = [asyncio.create_task(self._receive(i)) for i in self._others]

    def _is_connected(self, index: int) -> bool:
        return index in self._readers and self._accepted[index].done() and not self._accepted[index].cancelled()

    async def _connect(self, index: int) -> None:
        """Connect to another worker, again and again until it answers."""
        while True:
            try:
                async with asyncio.timeout(_HANDSHAKE_SECONDS):
                    reader, writer = await asyncio.open_connection(
                        *self.cluster.host_and_port(index), limit=_MAX_LINE_BYTES
                    )
                    self._open_writers.append(writer)
                    writer.write(self._handshake())
                    answer = _parse_handshake(await reader.readline())
                break
            except OSError as error:
                self._failures[index] = _reason(error)
            except ValueError:
                self._failures[index] = "another program answers"
            await asyncio.sleep(_RETRY_SECONDS)
        if self._is_from_other_cluster(answer):
            raise self._other_cluster_error(answer)
        if answer["index"] != index:
            raise ValueError(f"TF_CONFIG: expected {self.cluster.label(index)}, got worker {answer['index']} there")
        self._readers[index] = reader
        self._failures[index] = f"it does not reach {self.cluster.addresses[self.cluster.index]}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer an incoming connection."""
        self._open_writers.append(writer)
        try:
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                handshake = _parse_handshake(await reader.readline())
        except (OSError, ValueError, asyncio.CancelledError):
            # Cancelled on closing: asyncio would print that of a handler as an error.
            writer.close()
            return
        writer.write(self._handshake())
        accepted = self._accepted.get(handshake["index"])
        if self._is_from_other_cluster(handshake):
            for waiting in self._accepted.values():
                if not waiting.done():
                    waiting.set_exception(self._other_cluster_error(handshake))
        elif accepted is not None:
            # A worker that got no answer in time connects again: the last connection counts.
            self._writers[handshake["index"]] = writer
            if not accepted.done():
                accepted.set_result(None)

    async def _send_heartbeats(self) -> None:
        while True:
            self._send({})
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    async def _receive(self, index: int) -> None:
        """Receive the messages of a worker, until its goodbye or its loss."""
        try:
            while True:
                async with asyncio.timeout(HEARTBEAT_TIMEOUT):
                    message = json.loads(await self._readers[index].readline())
                if "value" in message:
                    self._received[index].put_nowait(message["value"])
                if "goodbye" in message:
                    return
        except (OSError, ValueError):
            advice = "resume in all workers to go on from the last checkpoint"
            print(f"tfsep: {self.cluster.label(index)} is gone; {advice}", file=sys.stderr, flush=True)
            self._on_worker_lost(WORKER_LOST_EXIT_CODE)

    async def _exchange(self, value: Any) -> list[Any]:
        self._send({"value": value})
        # Through JSON, as the others' values, so that equal values compare equal.
        values = {self.cluster.index: json.loads(json.dumps(value))}
        for index in self._others:
            values[index] = await self._received[index].get()
        return [values[index] for index in sorted(values)]

    async def _disconnect(self) -> None:
        self._send({"goodbye": True})
        await asyncio.gather(*self._receivers)

    def _send(self, message: dict[str, Any]) -> None:
        for writer in self._writers.values():
            if not writer.is_closing():
                writer.write(json.dumps(message).encode() + b"\n")

    def _handshake(self) -> bytes:
        return json.dumps({"index": self.cluster.index, "cluster": self.cluster.addresses}).encode() + b"\n"

    def _is_from_other_cluster(self, handshake: dict[str, Any]) -> bool:
        return handshake["cluster"] != list(self.cluster.addresses)

    @staticmethod
    def _other_cluster_error(handshake: dict[str, Any]) -> ValueError:
        theirs = f"{short_repr(handshake['cluster'])} in worker {handshake['index']}"
        return ValueError(f"TF_CONFIG: expected the same cluster in all workers, got {theirs}")


def _reason(error: OSError) -> str:
    """The system's text of an error, without asyncio's own."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or "no answer"


def _parse_handshake(line: bytes) -> dict[str, Any]:
    """The first message of a worker; a ValueError for anything else."""
    handshake = json.loads(line)
    if not isinstance(handshake, dict) or not isinstance(handshake.get("index"), int) or "cluster" not in handshake:
        raise ValueError("no handshake")
    return handshake
