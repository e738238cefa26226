"""Work by level: a key is looked at soon, once however often it was woken, by one worker at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from arklex_runtime.observability.logs import get_logger

Key = TypeVar("Key", bound=Hashable)

AFTER_DEFECT = 30.0
"""Seconds until a key is looked at again whose look raised something unexpected."""


class Wakes(Generic[Key]):
    """Keys and when to look at them. ``look`` returns the seconds until the next look, or None: only a wake leads to one."""

    def __init__(self, look: Callable[[Key], Awaitable[float | None]], clock: Callable[[], float], workers: int = 8) -> None:
        self._look = look
        self._clock = clock
        self._workers = workers
        self._due: dict[Key, float] = {}
        self._busy: set[Key] = set()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def wake(self, key: Key, after: float = 0.0) -> None:
        """Look at ``key`` in ``after`` seconds at the latest."""
        due = self._clock() + after
        self._due[key] = min(due, self._due.get(key, due))
        self._changed.set()

    async def run(self) -> None:
        """Look, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = self._next()
            if key is None:
                await self._rest()
                continue
            del self._due[key]
            self._busy.add(key)
            again: float | None = AFTER_DEFECT
            try:
                again = await self._look(key)
            except Exception:
                get_logger("arklex.kube").exception("look failed", key=str(key))
            finally:
                self._busy.discard(key)
                self._changed.set()
            if again is not None:
                self.wake(key, again)

    def _next(self) -> Key | None:
        now = self._clock()
        return next((key for key, due in self._due.items() if due <= now and key not in self._busy), None)

    async def _rest(self) -> None:
        self._changed.clear()
        free = [due for key, due in self._due.items() if key not in self._busy]
        wait = max(0.001, min(free) - self._clock()) if free else 60.0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._changed.wait()
