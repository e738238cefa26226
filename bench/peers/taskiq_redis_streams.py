"""taskiq over Redis Streams: the client sends a task when it has read the result before; one worker process.

Nothing but the client knows the graph, so a client that dies loses its run. Results are asked for until they are there, as
taskiq does it; every millisecond here, every 20 for the wide graph, where that is faster.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from pathlib import Path

import taskiq
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from bench.harness import Run, main
from bench.servers import python, redis_server, running
from bench.shapes import Shape, Value


def make(url: str) -> taskiq.AsyncBroker:
    """The broker of client and worker."""
    backend: RedisAsyncResultBackend[Value] = RedisAsyncResultBackend(url, keep_results=False)
    return RedisStreamBroker(url).with_result_backend(backend)


async def node(value: Value) -> Value:
    """A task that returns its input."""
    return value


class Taskiq:
    """One client, one worker."""

    async def open(self, folder: Path) -> None:
        self._stack = ExitStack()
        port = self._stack.enter_context(redis_server(folder))
        url = f"redis://127.0.0.1:{port}/0"
        command = python("-m", "taskiq", "worker", "bench.peers.taskiq_redis_streams:broker", "--workers", "1")
        environ = {"BENCH_REDIS": url}
        self._stack.enter_context(running([*command, "--max-async-tasks", "1000", "--log-level", "ERROR"], environ))
        self._broker = make(url)
        self._node = self._broker.register_task(node, "node")
        await self._broker.startup()
        await self._call("up", 0.01)

    async def _call(self, value: Value, interval: float) -> Value:
        sent = await self._node.kiq(value)
        return (await sent.wait_result(check_interval=interval)).return_value

    def prepare(self, shape: Shape) -> Run:
        levels = shape.levels()

        async def run(given: Value) -> Value:
            values: dict[str, Value] = {}
            for level in levels:
                interval = 0.001 if len(level) < 100 else 0.02
                calls = [self._call(shape.received(task, given, values), interval) for task in level]
                values.update(zip(level, await asyncio.gather(*calls), strict=True))
            return values[shape.last]

        return run

    async def close(self) -> None:
        await self._broker.shutdown()
        self._stack.close()


if "BENCH_REDIS" in os.environ:
    broker = make(os.environ["BENCH_REDIS"])
    broker.register_task(node, "node")

if __name__ == "__main__":
    main(Taskiq())
