"""Threads for sync handlers: daemon threads, since a handler that does not return must not keep the process alive.

A sync handler cannot be stopped: an abandoned one keeps its thread and slot until it returns. When abandoned ones hold every
slot, replacements are started, up to twice the pool; after that nothing can run (semantics.md, "Failure").
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

Work = Callable[[], None]


class Threads:
    """At most ``size`` handlers at once; ``abandon`` marks one that nobody waits for any more. Used from one thread."""

    def __init__(self, size: int = 4) -> None:
        if size < 1:
            raise ValueError("max_workers must be at least 1")
        self.size = size
        self.running = 0
        self.abandoned = 0
        self._started = 0
        self._queue: SimpleQueue[Work | None] = SimpleQueue()

    @property
    def free(self) -> bool:
        """Whether a handler may start now."""
        return self.running < (self.size if self.abandoned < self.size else 2 * self.size)

    @property
    def stuck(self) -> bool:
        """Whether every thread, replacements included, is held by a handler that does not return."""
        return self.abandoned >= 2 * self.size

    def run(self, work: Work) -> None:
        """Run ``work`` on a thread; the caller counts ``running`` down when it has ended."""
        self.running += 1
        if self.running > self._started:
            self._started += 1
            threading.Thread(target=self._loop, name=f"arklex-handler-{self._started}", daemon=True).start()
        self._queue.put(work)

    def abandon(self) -> None:
        """A handler that runs is waited for no more."""
        self.abandoned += 1

    def close(self) -> None:
        """Let idle threads end; busy ones end with the process."""
        for _ in range(self._started):
            self._queue.put(None)

    def _loop(self) -> None:
        while (work := self._queue.get()) is not None:
            work()
            del work
