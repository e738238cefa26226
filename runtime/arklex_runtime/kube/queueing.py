"""Who goes first of those that wait until there is room. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

NORMAL = 5
"""The priority of those that say none."""


class Queue(Generic[Key]):
    """Those that wait, the highest priority first, and of one priority who has waited longest."""

    def __init__(self) -> None:
        self._places: dict[Key, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def join(self, key: Key, priority: int | None, since: float) -> int:
        """Wait, if ``key`` does not yet; returns how many go before it."""
        mine = self._places[key] = (-(NORMAL if priority is None else priority), since)
        return sum(1 for other, place in self._places.items() if place < mine and other != key)

    def leave(self, key: Key) -> None:
        """Wait no more."""
        self._places.pop(key, None)
