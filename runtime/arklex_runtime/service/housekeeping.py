"""What a replica does on the side: puts runs away that only wait, and deletes those that ended long ago."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable

from arklex_runtime.errors import DatabaseUnavailable
from arklex_runtime.scaling.memory import MemoryMonitor
from arklex_runtime.service.replica import LocalReplica
from arklex_runtime.service.settings import Settings

PARKING, RETENTION = 5.0, 60.0
"""Seconds between two looks."""
BREATH = 0.1
"""Seconds between two batches of deletions."""
TIDY = 10
"""Looks of retention between two rounds of what else is left over."""
MEMORY = 0.9
"""Share of the memory limit; the caches are cleared from 0.8 on."""
MARGIN = 1.0
"""Seconds before it is due that a parked run wakes."""

log = logging.getLogger("arklex.runtime")


class Parking:
    """Runs that wait for a person or for a far timer hold no memory: the journal has them."""

    def __init__(self, replica: LocalReplica, after: float) -> None:
        self._replica = replica
        self._after = after
        self._idle: dict[str, tuple[int, float]] = {}

    async def look(self) -> None:
        """Put away what has only waited for ``after`` seconds, and will for as long again."""
        host, now = self._replica.host, self._replica.host.loop.time()
        idle: dict[str, tuple[int, float]] = {}
        for driver in tuple(host.runs.values()):
            until = driver.idle_until()
            if until is None or until - driver.now() < self._after:
                continue
            known = self._idle.get(driver.run_id)
            since = known[1] if known is not None and known[0] == driver.committed else now
            idle[driver.run_id] = driver.committed, since
            if now - since >= self._after:
                await self._park(driver.run_id, until)
                idle.pop(driver.run_id)
        self._idle = idle

    async def _park(self, run_id: str, until: float) -> None:
        host, journal = self._replica.host, self._replica.journal
        driver = host.runs[run_id]
        host.forget(driver)
        driver.hand_over()
        self._replica.starting.add(run_id)
        try:
            if await journal.park(run_id, until - MARGIN):
                self._replica.metrics.parked.inc()
            else:
                await journal.release(run_id)
        finally:
            self._replica.starting.discard(run_id)
            driver.ended.cancel()


class Memory:
    """Past MEMORY of the limit no more runs are taken, until caches were cleared and runs ended."""

    def __init__(self, replica: LocalReplica, monitor: MemoryMonitor | None = None) -> None:
        self._replica = replica
        self._monitor = monitor or MemoryMonitor()

    async def look(self) -> None:
        """Look at the cgroup."""
        crowded = self._monitor.get_memory_usage() > MEMORY
        if crowded and not self._replica.crowded:
            log.warning("short of memory: no more runs are taken", extra={"runs": len(self._replica.host.runs)})
        self._replica.crowded = crowded


class Retention:
    """Deletes runs that ended long ago, in small batches; one replica at a time does it."""

    def __init__(self, replica: LocalReplica, settings: Settings) -> None:
        self._replica = replica
        self._ages = {"Succeeded": settings.succeeded, "Failed": settings.failed, "Cancelled": settings.failed}
        self._turns = itertools.count()

    async def look(self) -> None:
        """Delete what is due, if it is ours to do."""
        journal = self._replica.journal
        if not await journal.take_lease("retention", 3 * RETENTION):
            return
        for phase, age in self._ages.items():
            while count := await journal.retire(phase, self._replica.now() - age):
                self._replica.metrics.retired.inc(count)
                await asyncio.sleep(BREATH)
        if next(self._turns) % TIDY == 0:
            await journal.tidy()


async def every(seconds: float, look: Callable[[], Awaitable[None]]) -> None:
    """Look every so many seconds, for ever; what the database cannot do now is tried the next time."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await look()
        except DatabaseUnavailable as error:
            log.warning("put off: the journal does not answer", extra={"error": str(error)})
