"""Celery over Redis: a chain, a chord and a group of Celery's own; one worker process that acknowledges late, as ours does.

Written for speed: a solo pool without prefetch limits, no retries, no rate limits, results of a chain's middle ignored. The
client hears of results by their announcement in Redis, not by ``result.get()``, which would take a thread for each run.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import celery
import redis.asyncio

from bench.harness import Run, main
from bench.servers import python, redis_server, running
from bench.shapes import Shape, Value

PREFIX = "celery-task-meta-"
app = celery.Celery("bench", broker=os.environ.get("BENCH_REDIS"), backend=os.environ.get("BENCH_REDIS"))
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1000,
    task_send_sent_event=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="node")
def node(value: Value) -> Value:
    """A task that returns its input."""
    return value


class Celery:
    """One client, one worker."""

    async def open(self, folder: Path) -> None:
        self._stack = ExitStack()
        port = self._stack.enter_context(redis_server(folder))
        url = f"redis://127.0.0.1:{port}/0"
        app.conf.update(broker_url=url, result_backend=url)
        worker = python("-m", "celery", "-A", "bench.peers.celery_redis:app", "worker", "--pool=solo", "--loglevel=ERROR")
        self._stack.enter_context(running([*worker, "--without-gossip", "--without-mingle"], {"BENCH_REDIS": url}))
        self._waiting: dict[str, asyncio.Future[Value]] = {}
        self._redis = redis.asyncio.Redis(port=port)
        listening = asyncio.Event()
        self._listener = asyncio.create_task(self._listen(listening))
        await listening.wait()
        await self._result(node.s("up").apply_async())

    async def _listen(self, listening: asyncio.Event) -> None:
        async with self._redis.pubsub() as channel:
            await channel.psubscribe(f"{PREFIX}*")
            async for message in channel.listen():
                listening.set()
                if message["type"] == "pmessage":
                    future = self._waiting.get(message["channel"].decode().removeprefix(PREFIX))
                    if future is not None and not future.done():
                        future.set_result(json.loads(message["data"])["result"])

    async def _result(self, result: Any) -> Value:
        """Its value; announcements are read by the loop, so none can come before it is waited for."""
        future = self._waiting[result.id] = asyncio.get_running_loop().create_future()
        try:
            return await future
        finally:
            del self._waiting[result.id]

    def prepare(self, shape: Shape) -> Run:
        if shape.is_chain:
            return lambda given: self._result(_chain(shape, given).apply_async())
        if shape.gathers:
            header = [node.s for _ in shape.levels()[0]]
            return lambda given: self._result(celery.chord([made(given) for made in header])(node.s()))

        async def wide(given: Value) -> Value:
            results = celery.group([node.s(given) for _ in shape.needs]).apply_async().results
            return (await asyncio.gather(*map(self._result, results)))[-1]

        return wide

    async def close(self) -> None:
        self._listener.cancel()
        await self._redis.aclose()
        self._stack.close()


def _chain(shape: Shape, given: Value) -> Any:
    middle = [node.s().set(ignore_result=True) for _ in range(len(shape.needs) - 2)]
    return celery.chain(node.s(given).set(ignore_result=True), *middle, node.s())


if __name__ == "__main__":
    main(Celery())
