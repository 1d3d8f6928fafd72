"""The other workers of a run: met before TensorFlow starts, asked what they have, and watched.

TensorFlow waits for minutes for a worker that is missing, and a collective operation that waits for one that was
killed cannot be interrupted. So each worker first listens at its own address until every other has called, then leaves
the port to TensorFlow, while the connections stay open. Over each of them the one who was called sends lines of JSON: a
beat a second, values to exchange, and at last goodbye. A connection that ends without it, or falls silent, is a worker
that is gone.
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

SILENCE = 30.0
"""Seconds without a beat after which a worker counts as gone; one that is killed is noticed at once."""

GONE = 3
"""The exit code of a worker that ends because another is gone."""

_BEAT = 1.0
_ANSWER = 5.0
_RETRY = 0.2
_LONGEST_LINE = 2**24


class Peers:
    """The other workers of a cluster, as long as this is open.

    On leaving without an error it waits until the others leave, too, so that nobody ends under the feet of the rest.

    Args:
        cluster: of which worker this is, and where the others are.
        timeout: seconds within which all have to be there.
        leave: is called with the exit code, from another thread, when a worker is gone.

    Raises:
        TimeoutError: if one of them is not there in time; the message names it.
        ValueError: if one of them has another cluster.
        OSError: if this worker's own port is taken.
    """

    def __init__(self, cluster: Cluster, timeout: float, leave: Callable[[int], Any] = os._exit) -> None:
        self.cluster, self._leave = cluster, leave
        self._others = [i for i in range(len(cluster.addresses)) if i != cluster.index]
        self._loop = asyncio.new_event_loop()
        self._came: dict[int, asyncio.Future[None]] = {i: self._loop.create_future() for i in self._others}
        self._to: dict[int, asyncio.StreamWriter] = {}
        self._from: dict[int, asyncio.StreamReader] = {}
        self._open: list[asyncio.StreamWriter] = []
        self._values: dict[int, asyncio.Queue[Any]] = {i: asyncio.Queue() for i in self._others}
        self._watchers: list[asyncio.Task[None]] = []
        self._beating: asyncio.Task[None] | None = None
        self._obstacles = dict.fromkeys(self._others, "no answer")
        self._thread = threading.Thread(target=self._loop.run_forever, name="peers", daemon=True)
        self._thread.start()
        try:
            self._do(self._meet(timeout))
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Part from the others; after an error without a goodbye, by which they know."""
        if kind is None:
            self._do(self._part())
        self._stop()

    def exchange(self, value: Any) -> list[Any]:
        """Give all others a value, for JSON, and return those of all, in the order of the workers."""
        return self._do(self._exchange(value))

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._open:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._open), return_exceptions=True)

    async def _meet(self, timeout: float) -> None:
        _, port = self.cluster.place(self.cluster.index)
        try:
            server = await asyncio.start_server(self._welcome, None, port, limit=_LONGEST_LINE)
        except OSError as error:
            own = self.cluster.addresses[self.cluster.index]
            raise OSError(f"TF_CONFIG: expected a free port for this worker, got {own} ({_reason(error)})") from error
        # From now on, as who is complete already listens for it.
        self._beating = asyncio.create_task(self._beat())
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(*map(self._call, self._others), *self._came.values())
        except TimeoutError:
            missing = [f"{self.cluster.named(i)} ({self._obstacles[i]})" for i in self._others if not self._has_met(i)]
            raise TimeoutError(
                f"TF_CONFIG: expected every worker to be there within {timeout:g} s, got none as {', '.join(missing)}"
            ) from None
        finally:
            server.close()
        self._watchers = [asyncio.create_task(self._watch(i)) for i in self._others]

    def _has_met(self, index: int) -> bool:
        return index in self._from and self._came[index].done() and not self._came[index].cancelled()

    async def _call(self, index: int) -> None:
        """Call another worker until it answers."""
        while True:
            try:
                async with asyncio.timeout(_ANSWER):
                    reader, writer = await asyncio.open_connection(*self.cluster.place(index), limit=_LONGEST_LINE)
                    self._open.append(writer)
                    writer.write(self._greeting())
                    answer = _greeting_in(await reader.readline())
                break
            except OSError as error:
                self._obstacles[index] = _reason(error)
            except ValueError:
                self._obstacles[index] = "another program answers"
            await asyncio.sleep(_RETRY)
        if self._is_of_another_cluster(answer):
            raise self._another_cluster(answer)
        if answer["index"] != index:
            raise ValueError(f"TF_CONFIG: expected {self.cluster.named(index)}, got worker {answer['index']} there")
        self._from[index] = reader
        self._obstacles[index] = f"it does not reach {self.cluster.addresses[self.cluster.index]}"

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer whoever calls."""
        self._open.append(writer)
        try:
            async with asyncio.timeout(_ANSWER):
                greeting = _greeting_in(await reader.readline())
        except (OSError, ValueError, asyncio.CancelledError):
            # Cancelled on closing: asyncio would print that of a handler as an error.
            writer.close()
            return
        writer.write(self._greeting())
        came = self._came.get(greeting["index"])
        if self._is_of_another_cluster(greeting):
            for waiting in self._came.values():
                if not waiting.done():
                    waiting.set_exception(self._another_cluster(greeting))
        elif came is not None:
            # Who did not hear the answer in time calls again.
            self._to[greeting["index"]] = writer
            if not came.done():
                came.set_result(None)

    async def _beat(self) -> None:
        while True:
            self._send({})
            await asyncio.sleep(_BEAT)

    async def _watch(self, index: int) -> None:
        """Take what a worker sends, until it says goodbye or is gone."""
        try:
            while True:
                async with asyncio.timeout(SILENCE):
                    message = json.loads(await self._from[index].readline())
                if "value" in message:
                    self._values[index].put_nowait(message["value"])
                if "goodbye" in message:
                    return
        except (OSError, ValueError):
            advice = "resume in all workers to go on from the last checkpoint"
            print(f"tfsep: {self.cluster.named(index)} is gone; {advice}", file=sys.stderr, flush=True)
            self._leave(GONE)

    async def _exchange(self, value: Any) -> list[Any]:
        self._send({"value": value})
        # Through JSON as theirs are, so that equal values are equal.
        values = {self.cluster.index: json.loads(json.dumps(value))}
        for index in self._others:
            values[index] = await self._values[index].get()
        return [values[index] for index in sorted(values)]

    async def _part(self) -> None:
        self._send({"goodbye": True})
        await asyncio.gather(*self._watchers)

    def _send(self, message: dict[str, Any]) -> None:
        for writer in self._to.values():
            if not writer.is_closing():
                writer.write(json.dumps(message).encode() + b"\n")

    def _greeting(self) -> bytes:
        return json.dumps({"index": self.cluster.index, "cluster": self.cluster.addresses}).encode() + b"\n"

    def _is_of_another_cluster(self, greeting: dict[str, Any]) -> bool:
        return greeting["cluster"] != list(self.cluster.addresses)

    @staticmethod
    def _another_cluster(greeting: dict[str, Any]) -> ValueError:
        theirs = f"{short_repr(greeting['cluster'])} in worker {greeting['index']}"
        return ValueError(f"TF_CONFIG: expected the same cluster in all workers, got {theirs}")


def _reason(error: OSError) -> str:
    """What the system says of an error, without asyncio's own words."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or "no answer"


def _greeting_in(line: bytes) -> dict[str, Any]:
    """What a worker says first; a ValueError for anything else."""
    greeting = json.loads(line)
    if not isinstance(greeting, dict) or not isinstance(greeting.get("index"), int) or "cluster" not in greeting:
        raise ValueError("no greeting")
    return greeting
