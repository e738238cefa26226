"""Bounded concurrency: results and errors reach who submitted, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from arklex_runtime.errors import Overloaded
from arklex_runtime.scaling.processing import AsyncTaskProcessor


class Gauge:
    """Tasks that count how many of them run at once."""

    def __init__(self) -> None:
        self.now = self.most = self.done = 0
        self.go = asyncio.Event()

    async def task(self, result: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.go.wait()
            self.done += 1
            return result
        finally:
            self.now -= 1


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_results_and_errors_reach_the_submitter() -> None:
    async with AsyncTaskProcessor() as processor:

        async def fails() -> None:
            raise LookupError("gone")

        assert await processor.submit_task(lambda: 3) == 3
        assert await processor.submit_task(asyncio.sleep(0, 4)) == 4
        with pytest.raises(LookupError, match="gone"):
            await processor.submit_task(fails)
        assert await asyncio.gather(*(processor.submit_task(lambda n=n: n) for n in range(50))) == list(range(50))
    assert processor.workers == []


async def test_a_handler_or_a_subclass_says_what_a_task_is() -> None:
    async def double(data: int) -> int:
        return data * 2

    class Squares(AsyncTaskProcessor):
        async def process_task(self, task_data: Any) -> Any:
            return task_data**2

    async with AsyncTaskProcessor(handler=double) as doubles, Squares() as squares:
        assert await doubles.submit_task(4) == 8 and await squares.submit_task(4) == 16


@pytest.mark.parametrize(("concurrent", "workers", "most"), [(2, 4, 2), (10, 3, 3)])
async def test_no_more_run_at_once_than_allowed(concurrent: int, workers: int, most: int) -> None:
    gauge, processor = Gauge(), AsyncTaskProcessor(concurrent)
    await processor.start_workers(workers)
    waiting = [asyncio.ensure_future(processor.submit_task(lambda n=n: gauge.task(n))) for n in range(8)]
    await settle()
    assert gauge.now == most
    gauge.go.set()
    assert await asyncio.gather(*waiting) == list(range(8)) and gauge.most == most
    await processor.stop()


async def test_a_full_queue_makes_submitters_wait() -> None:
    gauge, processor = Gauge(), AsyncTaskProcessor(1, max_queued=1)
    await processor.start_workers(1)
    waiting = [asyncio.ensure_future(processor.submit_task(lambda n=n: gauge.task(n))) for n in range(5)]
    await settle()
    assert processor.task_queue.full() and gauge.now == 1
    gauge.go.set()
    assert await asyncio.gather(*waiting) == list(range(5))
    await processor.stop()


async def test_cancelling_a_submitter_cancels_its_task_and_no_other() -> None:
    gauge, processor = Gauge(), AsyncTaskProcessor()
    await processor.start_workers(1)
    running = asyncio.ensure_future(processor.submit_task(lambda: gauge.task("a")))
    queued = asyncio.ensure_future(processor.submit_task(lambda: gauge.task("b")))
    last = asyncio.ensure_future(processor.submit_task(lambda: gauge.task("c")))
    await settle()
    running.cancel()
    queued.cancel()
    await settle()
    gauge.go.set()
    assert await last == "c" and running.cancelled() and queued.cancelled() and gauge.done == 1
    await processor.stop()


async def test_stopping_finishes_what_was_taken() -> None:
    gauge, processor = Gauge(), AsyncTaskProcessor()
    await processor.start_workers(2)
    waiting = [asyncio.ensure_future(processor.submit_task(lambda n=n: gauge.task(n))) for n in range(4)]
    await settle()
    stopping = asyncio.ensure_future(processor.stop())
    await settle()
    with pytest.raises(Overloaded):
        await processor.submit_task(lambda: 1)
    gauge.go.set()
    await stopping
    assert await asyncio.gather(*waiting) == list(range(4))
    with pytest.raises(RuntimeError, match="stopped"):
        await processor.start_workers()


async def test_stopping_with_a_grace_leaves_nobody_waiting() -> None:
    gauge, processor = Gauge(), AsyncTaskProcessor(max_queued=1)
    await processor.start_workers(1)
    waiting = [asyncio.ensure_future(processor.submit_task(lambda n=n: gauge.task(n))) for n in range(4)]
    await settle()
    await processor.stop(grace_seconds=0)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in outcomes] == [asyncio.CancelledError, Overloaded, Overloaded, Overloaded]
    assert gauge.now == 0


async def test_stopping_what_never_started_refuses_the_queued() -> None:
    processor = AsyncTaskProcessor()
    waiting = asyncio.ensure_future(processor.submit_task(asyncio.sleep(0)))
    await settle()
    await processor.stop()
    with pytest.raises(Overloaded):
        await waiting
    with pytest.raises(ValueError, match="at least 1"):
        AsyncTaskProcessor(0)
