"""The circuit breaker of a Worker: one that keeps failing is left alone for a while (guide, "circuit breakers").

Closed, it counts failures within a window; at the threshold it opens and refuses at once; after ``openFor`` it is half open and
lets a few probes through, whose success closes it and whose failure opens it again (Nygard, "Release It!", 2nd ed., 5.2).
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from arklex_api.durations import seconds
from arklex_api.worker import CircuitBreaker

COUNTED = frozenset({"Timeout", "Unavailable", "WorkerLost", "Failed"})
"""Errors that speak against the worker; others speak against what it was asked, or come of a limit that is kept."""

State = Literal["closed", "open", "half-open"]


class Breaker:
    """One worker's breaker. Times are monotonic seconds, given with every call."""

    def __init__(self, spec: CircuitBreaker) -> None:
        self._threshold = spec.failure_threshold
        self._window = seconds(spec.window)
        self._open_for = seconds(spec.open_for)
        self._probes = spec.half_open_probes
        self._failures: deque[float] = deque(maxlen=spec.failure_threshold)
        self._opened_at: float | None = None
        self._probing = 0
        self._passed = 0

    def state(self, now: float) -> State:
        """closed, open or half-open."""
        if self._opened_at is None:
            return "closed"
        return "open" if now < self._opened_at + self._open_for else "half-open"

    def admit(self, now: float) -> bool:
        """Whether an attempt may start; an admitted one is to be reported with ``record`` or ``forget``."""
        state = self.state(now)
        if state == "half-open" and self._probing + self._passed < self._probes:
            self._probing += 1
            return True
        return state == "closed"

    def retry_after(self, now: float) -> float:
        """Seconds until a probe may pass; 0 when one may pass now."""
        return 0.0 if self._opened_at is None else max(0.0, self._opened_at + self._open_for - now)

    def forget(self) -> None:
        """An admitted attempt ended without saying anything about the worker."""
        self._probing = max(0, self._probing - 1)

    def record(self, error_type: str | None, now: float) -> None:
        """An admitted attempt ended: ``error_type`` None for a success."""
        probe = self._opened_at is not None
        self._probing = max(0, self._probing - 1)
        if error_type in COUNTED:
            self._failures.append(now)
            full = len(self._failures) == self._threshold and now - self._failures[0] <= self._window
            if probe or full:
                self._open(now)
        elif error_type is None and probe and self.state(now) == "half-open":
            self._passed += 1
            if self._passed >= self._probes:
                self._close()

    def _open(self, now: float) -> None:
        self._opened_at = now
        self._probing = self._passed = 0

    def _close(self) -> None:
        self._opened_at = None
        self._failures.clear()
        self._probing = self._passed = 0
