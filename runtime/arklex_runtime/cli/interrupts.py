"""SIGINT and SIGTERM while a run goes on: stop cleanly, and at once if asked again."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_SECONDS = 10.0
"""How long a clean stop may take: a handler that holds the event loop would hold it for ever."""


class Interrupts:
    """Turns the first signal into ``code`` (128 + its number) and wakes ``wait``; a second one ends the process."""

    def __init__(self) -> None:
        self.code = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None

    @contextmanager
    def installed(self) -> Iterator[Interrupts]:
        """Handle the signals inside the block. In the main thread only."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.code:
            os._exit(128 + number)
        self.code = 128 + number
        if self._loop is None or self._event is None:
            raise KeyboardInterrupt
        timer = threading.Timer(GRACE_SECONDS, os._exit, (self.code,))
        timer.daemon = True
        timer.start()
        self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        """Return when a signal has come."""
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        await self._event.wait()
