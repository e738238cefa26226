"""Runs that share a session: each event happens after a look at what the others have made of it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from arklex_api.base import JSON
from arklex_runtime.dispatch.jobs import Job
from arklex_runtime.engine.events import Event, SessionRead

if TYPE_CHECKING:
    from arklex_runtime.orchestrator.driver import RunDriver


class SharedSession:
    """Events of one run, one at a time: the session is read, the event happens, and once that is durable comes the next.

    ``reading`` while there are any.
    """

    __slots__ = ("_driver", "_events", "_session_id", "reading")

    def __init__(self, driver: RunDriver, session_id: str) -> None:
        self._driver = driver
        self._session_id = session_id
        self._events: deque[tuple[Event, Job | None]] = deque()
        self.reading = False

    def put(self, event: Event, job: Job | None) -> None:
        """Let ``event`` happen in its turn."""
        self._events.append((event, job))
        if not self.reading:
            self.reading = True
            self._read()

    def close(self) -> list[tuple[Event, Job | None]]:
        """Have no more turns; returns the events that have not happened."""
        left = list(self._events)
        self._events.clear()
        return left

    def _read(self) -> None:
        self._driver.host.journal.read_session(self._session_id, self._heard)

    def _heard(self, data: dict[str, JSON], error: BaseException | None) -> None:
        driver = self._driver
        if error is not None:
            driver.break_off(error)
        elif self._events:
            if data != driver.state.session:
                driver.deliver(SessionRead(driver.now(), data))
            driver.take(*self._events.popleft(), self._next)

    def _next(self) -> None:
        self.reading = bool(self._events)
        if self.reading:
            self._read()
