"""When a run is woken next."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

FAR = 60.0
"""Seconds from which on no timer is set: nearly every run has a day's timeout and ends within a second."""


class Alarm:
    """At most one timer of the event loop. ``at`` is what it was last set for, by the run's clock; infinite without that."""

    __slots__ = ("_loop", "_timer", "at")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.at = math.inf

    def set(self, at: float, wait: float, wake: Callable[[], None]) -> None:
        """Call ``wake`` at ``at``, in ``wait`` seconds, and not before; what is FAR off has to be asked for again."""
        self.at = at
        if wait > FAR:
            return
        self.stop()
        self._timer = self._loop.call_later(max(0.0, wait), self._ring, wake)

    def ask_again(self) -> bool:
        """Forget what was far off; False where a timer is set."""
        if self._timer is None:
            self.at = math.inf
        return self._timer is None

    def stop(self) -> None:
        """Wake nobody."""
        if self._timer is not None:
            self._timer.cancel()

    def _ring(self, wake: Callable[[], None]) -> None:
        self._timer = None
        self.at = math.inf
        wake()
