"""The one clock of a process that runs graphs."""

from __future__ import annotations

import time


class SteadyClock:
    """Epoch seconds that never step while the process lives: deadlines and timers must not feel a clock being set."""

    __slots__ = ("_epoch",)

    def __init__(self) -> None:
        self._epoch = time.time() - time.monotonic()

    def __call__(self) -> float:
        """The time, in epoch seconds."""
        return self._epoch + time.monotonic()
