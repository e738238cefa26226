"""When which object's status may be written: pure, times are seconds of one monotonic clock.

At most ``rate`` writes in any second, in all; at most one a second per object. What is urgent (a phase changed) goes before
what is not; a first change may be held a moment, so that a short run costs one write.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

WINDOW = 1.0
"""Seconds in which at most ``rate`` writes begin, and between two writes of one object."""


@dataclass(slots=True)
class _Wanted:
    due: float
    urgent: bool
    order: int


class Window:
    """Lets at most ``rate`` writes begin in any second; ``rate`` may be changed at any time."""

    def __init__(self, rate: int) -> None:
        self.rate = max(1, rate)
        self._begun: deque[float] = deque()

    def wait(self, now: float) -> float:
        """Seconds until the next write may begin, 0.0 for now."""
        while self._begun and self._begun[0] <= now - WINDOW:
            self._begun.popleft()
        if len(self._begun) < self.rate:
            return 0.0
        return self._begun[-self.rate] + WINDOW - now

    def take(self, now: float) -> None:
        """A write begins."""
        self._begun.append(now)

    def give_back(self, began: float) -> None:
        """Nothing was written after all."""
        with contextlib.suppress(ValueError):
            self._begun.remove(began)


class Schedule(Generic[Key]):
    """The objects whose status is to be written. One object is written by one caller at a time: ``take`` … ``done``."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._wanted: dict[Key, _Wanted] = {}
        self._last: dict[Key, float] = {}
        self._busy: dict[Key, float] = {}
        self._order = 0

    def __len__(self) -> int:
        return len(self._wanted)

    def __contains__(self, key: object) -> bool:
        return key in self._wanted

    def want(self, key: Key, now: float, *, urgent: bool = False, hold: float = 0.0) -> None:
        """``key`` is to be written, ``hold`` seconds from now at the earliest; a second wish only brings it forward."""
        due = max(now + hold, self._last.get(key, -WINDOW) + WINDOW)
        known = self._wanted.get(key)
        if known is None:
            self._order += 1
            self._wanted[key] = _Wanted(due, urgent, self._order)
        else:
            known.due = min(known.due, due)
            known.urgent = known.urgent or urgent

    def postpone(self, key: Key, now: float, seconds: float, *, urgent: bool = False) -> None:
        """``key`` could not be written: try again after ``seconds``."""
        self.want(key, now, urgent=urgent)
        wanted = self._wanted[key]
        wanted.due = max(wanted.due, now + seconds)

    def drop(self, key: Key) -> None:
        """``key`` is not to be written any more."""
        self._wanted.pop(key, None)
        self._last.pop(key, None)

    def wait(self, now: float) -> float | None:
        """Seconds until ``take`` gives something, 0.0 for now, None while nothing is wanted."""
        free = [wanted.due for key, wanted in self._wanted.items() if key not in self._busy]
        return max(min(free) - now, self.window.wait(now), 0.0) if free else None

    def take(self, now: float) -> Key | None:
        """What to write now, if anything: the urgent first, then what has waited longest. It counts as a write."""
        if self.window.wait(now) > 0.0:
            return None
        best: tuple[tuple[bool, float, int], Key] | None = None
        for key, wanted in self._wanted.items():
            if wanted.due <= now and key not in self._busy:
                rank = (not wanted.urgent, wanted.due, wanted.order)
                if best is None or rank < best[0]:
                    best = (rank, key)
        if best is None:
            return None
        key = best[1]
        del self._wanted[key]
        self._busy[key] = now
        self.window.take(now)
        return key

    def done(self, key: Key, now: float, *, wrote: bool) -> None:
        """The caller of ``take`` is through with ``key``; what it did not write does not count."""
        began = self._busy.pop(key)
        if wrote:
            self._last[key] = began
        else:
            self.window.give_back(began)
        if key in self._wanted:
            wanted = self._wanted[key]
            wanted.due = max(wanted.due, self._last.get(key, -WINDOW) + WINDOW)
        for old in [each for each, at in self._last.items() if at <= now - WINDOW]:
            del self._last[old]
