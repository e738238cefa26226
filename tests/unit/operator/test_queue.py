"""The work queue: each object once at a time, failures later, nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from arklex_operator.cluster.ending import end
from arklex_operator.cluster.errors import UnavailableError
from arklex_operator.cluster.hub import GONE
from arklex_operator.cluster.monitoring import Monitoring
from arklex_operator.handlers.queue import WorkQueue


@dataclass
class Counting:
    """Counts reconciles; ``gate`` holds them, ``fails`` makes so many of them raise, ``again`` is what they return."""

    kind: str = "Worker"
    done: list[str] = field(default_factory=list)
    running: dict[str, int] = field(default_factory=dict)
    most: int = 0
    fails: int = 0
    again: float | None = GONE
    told: list[int] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        self.running[name] = self.running.get(name, 0) + 1
        self.most = max(self.most, self.running[name])
        try:
            await self.gate.wait()
            if self.fails:
                self.fails -= 1
                raise UnavailableError(503, "", "later")
            self.done.append(name)
            return self.again
        finally:
            self.running[name] -= 1

    async def failing(self, namespace: str, name: str, error: Exception, failures: int) -> None:
        self.told.append(failures)


@dataclass
class Deaf(Counting):
    """Its reconciles lose the first cancellation, as ``asyncio.wait_for`` of Python 3.11 may."""

    async def reconcile(self, namespace: str, name: str) -> float | None:
        with contextlib.suppress(asyncio.CancelledError):
            await self.gate.wait()
        await asyncio.Event().wait()
        return None


@pytest.fixture
async def counting() -> Counting:
    return Counting()


@pytest.fixture
async def queue(counting: Counting) -> AsyncIterator[WorkQueue]:
    made = WorkQueue(counting, Monitoring(), width=3, first=0.01)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(look: Callable[[], bool]) -> None:
    for _ in range(6000):
        if look():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it does not happen")


async def settle(queue: WorkQueue) -> None:
    await until(lambda: queue.idle)


async def test_many_wakes_are_one_reconcile_and_one_more_if_it_ran(queue: WorkQueue, counting: Counting) -> None:
    for _ in range(5):
        queue.wake("n", "a")
    await asyncio.sleep(0.02)
    for _ in range(5):
        queue.wake("n", "a")
    counting.gate.set()
    await settle(queue)
    assert counting.done == ["a", "a"] and counting.most == 1


async def test_others_go_on_beside_one_that_takes_long(queue: WorkQueue, counting: Counting) -> None:
    for name in "abc":
        queue.wake("n", name)
    await asyncio.sleep(0.02)
    assert sum(counting.running.values()) == 3
    counting.gate.set()
    await settle(queue)
    assert sorted(counting.done) == ["a", "b", "c"]


async def test_a_failure_comes_back_until_it_succeeds_and_is_told(queue: WorkQueue, counting: Counting) -> None:
    counting.gate.set()
    counting.fails = 6
    queue.wake("n", "a")
    await until(lambda: bool(counting.done))
    assert counting.done == ["a"] and counting.told == [5]


async def test_what_is_to_be_looked_at_again_is(queue: WorkQueue, counting: Counting) -> None:
    counting.gate.set()
    counting.again = 0.01
    queue.wake("n", "a")
    await until(lambda: len(counting.done) >= 3)
    counting.again = GONE
    queue.later("n", "b", 0.01)
    queue.later("n", "b", 60)
    await until(lambda: "b" in counting.done)


async def test_a_queue_ends_although_a_reconcile_lost_a_cancellation() -> None:
    queue = WorkQueue(Deaf(), Monitoring())
    running = asyncio.create_task(queue.run())
    queue.wake("n", "a")
    await asyncio.sleep(0.05)
    assert not queue.idle
    await asyncio.wait_for(end([running]), 30)
    assert running.cancelled() and queue.idle
