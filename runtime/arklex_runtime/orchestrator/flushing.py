"""Which runs have something to journal, and when they do: those that fall together share a commit."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arklex_runtime.orchestrator.batching import Batching

LINGER = 0.02
"""Seconds that news which nothing waits for may wait for other news of their run, and for their commit."""
CLOCK_STEP = 0.001
"""Seconds by which a timer of the loop may come before the loop's clock has reached its time."""


class Flusher:
    """Flushes, at the end of an iteration of the loop, every run that was marked in it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._dirty: list[Batching] = []
        self._lingering: deque[tuple[float, Batching, int]] = deque()

    def mark(self, driver: Batching) -> None:
        """``driver`` has something to journal."""
        if not self._dirty:
            self._loop.call_soon(self.flush)
        self._dirty.append(driver)

    def mark_soon(self, driver: Batching, seq: int) -> None:
        """As ``mark``, within LINGER: what else ``driver`` journals in batch ``seq`` until then takes it along."""
        due = self._loop.time() + LINGER
        if not self._lingering:
            self._loop.call_at(due, self._settle)
        self._lingering.append((due, driver, seq))

    def flush(self) -> None:
        """Hand all that was marked to the journal, now."""
        dirty, self._dirty = self._dirty, []
        for driver in dirty:
            driver.flush()

    def _settle(self) -> None:
        lingering, now = self._lingering, self._loop.time()
        while lingering and lingering[0][0] <= now + CLOCK_STEP:
            _, driver, seq = lingering.popleft()
            driver.settle(seq)
        if lingering:
            self._loop.call_at(lingering[0][0], self._settle)
