"""A queue of objects to reconcile: each at most once at a time, however often it is woken; failures come back later."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable

from arklex_operator.cluster.ending import end
from arklex_operator.cluster.errors import ApiError
from arklex_operator.cluster.hub import GONE, Reconciler
from arklex_operator.cluster.monitoring import Monitoring
from arklex_operator.cluster.store import Key

RESYNC = 600.0
"""Seconds after which an object is looked at again although nothing woke it; spread by a tenth."""

LONGEST = 60.0
"""Most seconds between two tries of an object that keeps failing."""

PATIENCE = 120.0
"""Seconds after which one reconcile is cut off."""

TOLD = 5
"""Failures in a row after which ``on_failing`` is called, and again at each doubling."""

log = logging.getLogger("arklex.operator.queue")


class WorkQueue:
    """Reconciles of one kind, ``width`` at a time. ``first`` is the first backoff in seconds."""

    def __init__(self, reconciler: Reconciler, monitoring: Monitoring, *, width: int = 4, first: float = 1.0) -> None:
        self._reconciler = reconciler
        self._kind = reconciler.kind
        self._monitoring = monitoring
        self._width = width
        self._first = first
        self._waiting: deque[Key] = deque()
        self._queued: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._arrived = asyncio.Event()
        self._busy: dict[Key, float] = {}

    @property
    def kind(self) -> str:
        """The kind that it reconciles."""
        return self._kind

    def stalled(self) -> str | None:
        """What is wrong when a reconcile does not end although it should have been cut off; None as long as all do."""
        now = time.monotonic()
        for key, since in self._busy.items():
            if now - since > 2 * PATIENCE:
                return f"the reconcile of {self._kind} {key[0]}/{key[1]} has not ended for {now - since:.0f} s"
        return None

    def wake(self, namespace: str, name: str) -> None:
        """Reconcile soon."""
        key = (namespace, name)
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._busy:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._waiting.append(key)
            self._monitoring.depth.labels(self._kind).set(len(self._queued))
            self._arrived.set()

    def later(self, namespace: str, name: str, seconds: float) -> None:
        """Reconcile in ``seconds``, unless something is to wake it before."""
        key, loop = (namespace, name), asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is None or timer.when() > loop.time() + seconds:
            if timer is not None:
                timer.cancel()
            self._timers[key] = loop.call_later(seconds, self.wake, namespace, name)

    @property
    def idle(self) -> bool:
        """Whether nothing waits or runs now."""
        return not self._queued and not self._busy

    async def run(self) -> None:
        """Work until cancelled."""
        working = [asyncio.create_task(self._work()) for _ in range(self._width)]
        try:
            await asyncio.gather(*working)
        finally:
            await end(working)
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            key = self._waiting.popleft()
            self._queued.discard(key)
            self._monitoring.depth.labels(self._kind).set(len(self._queued))
            self._busy[key] = time.monotonic()
            try:
                await self._one(key)
            finally:
                self._busy.pop(key, None)
                if key in self._again:
                    self._again.discard(key)
                    self.wake(*key)

    async def _one(self, key: Key) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                again = await self._reconciler.reconcile(*key)
        except Exception as error:
            self._monitoring.reconciles.labels(self._kind, "error").inc()
            await self._failed(key, error)
        else:
            self._monitoring.reconciles.labels(self._kind, "ok").inc()
            self._failures.pop(key, None)
            resync = RESYNC * random.uniform(0.9, 1.1)
            if again != GONE:
                self.later(*key, min(resync, again) if again is not None else resync)
        self._monitoring.seconds.labels(self._kind).observe(time.monotonic() - began)

    async def _failed(self, key: Key, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(LONGEST, self._first * 2 ** min(failures - 1, 16)) * random.uniform(0.5, 1.0)
        if isinstance(error, ApiError):
            delay = max(delay, error.retry_after)
        expected = isinstance(error, ApiError) and error.retryable
        log.log(
            logging.INFO if expected else logging.ERROR,
            "a reconcile failed",
            extra={"kind": self._kind, "namespace": key[0], "object": key[1], "failures": failures, "again": round(delay, 1),
                   "error": str(error) or type(error).__name__},
            exc_info=None if isinstance(error, ApiError) else error,
        )  # fmt: skip
        self.later(*key, delay)
        if failures >= TOLD and (failures // TOLD).bit_count() == 1 and failures % TOLD == 0:
            await _quietly(self._reconciler.failing(*key, error, failures))


async def _quietly(told: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            await told
    except Exception as error:
        log.warning("a failure could not be told", extra={"error": str(error) or type(error).__name__})
