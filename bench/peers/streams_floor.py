"""A floor for the distributed path: redis-py, one stream of jobs, one of results, a worker process. No journal, no graph."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis.asyncio
import uvloop

from bench.harness import Run, main
from bench.servers import python, redis_server, running
from bench.shapes import Shape, Value

JOBS, RESULTS, GROUP = "jobs", "results", "pool"


class Floor:
    """The steps of each level at once, level after level; each is an entry that the worker answers with an entry."""

    async def open(self, folder: Path) -> None:
        self._stack = ExitStack()
        port = self._stack.enter_context(redis_server(folder))
        self._redis = redis.asyncio.Redis(port=port)
        await self._redis.xgroup_create(JOBS, GROUP, "$", mkstream=True)
        self._stack.enter_context(running(python(__file__, str(port)), {}))
        self._waiting: dict[bytes, asyncio.Future[Value]] = {}
        self._out: list[tuple[bytes, Value]] = []
        self._number = 0
        self._reader = asyncio.create_task(self._read(port))

    async def _read(self, port: int) -> None:
        last = b"0-0"
        client = redis.asyncio.Redis(port=port)
        while True:
            answer: Any = await client.xread({RESULTS: last}, count=500, block=5000)
            for _, entries in answer:
                last = entries[-1][0]
                for _, fields in entries:
                    self._waiting.pop(fields[b"n"]).set_result(fields[b"v"].decode())
                await self._redis.xdel(RESULTS, *(entry for entry, _ in entries))

    def _send(self, value: Value) -> asyncio.Future[Value]:
        self._number += 1
        name = str(self._number).encode()
        future = self._waiting[name] = asyncio.get_running_loop().create_future()
        if not self._out:
            asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(self._flush()))
        self._out.append((name, value))
        return future

    async def _flush(self) -> None:
        out, self._out = self._out, []
        pipeline = self._redis.pipeline(transaction=False)
        for name, value in out:
            pipeline.xadd(JOBS, {"n": name, "v": value})
        await pipeline.execute()

    def prepare(self, shape: Shape) -> Run:
        levels = shape.levels()

        async def run(given: Value) -> Value:
            values: dict[str, Value] = {}

            async def step(task: str) -> None:
                received = shape.received(task, given, values)
                text = "\0".join(received) if isinstance(received, list) else received
                found = await self._send(text)
                values[task] = found.split("\0") if isinstance(received, list) else found

            for level in levels:
                if len(level) == 1:
                    await step(level[0])
                else:
                    await asyncio.gather(*map(step, level))
            return values[shape.last]

        return run

    async def close(self) -> None:
        self._reader.cancel()
        await self._redis.aclose()
        self._stack.close()


async def work(port: int) -> None:
    """The worker: claims, answers, acknowledges and deletes in one transaction."""
    client = redis.asyncio.Redis(port=port)
    while True:
        answer: Any = await client.xreadgroup(GROUP, "worker", {JOBS: ">"}, count=1000, block=5000)
        for _, entries in answer:
            pipeline = client.pipeline(transaction=True)
            for entry, fields in entries:
                pipeline.xadd(RESULTS, fields)
                pipeline.xack(JOBS, GROUP, entry)
                pipeline.xdel(JOBS, entry)
            await pipeline.execute()


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].isdigit():
        uvloop.run(work(int(sys.argv[1])))
    else:
        main(Floor())
