"""A bounded memory of the most recently used. Not for several threads at once: who shares it holds a lock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    """A cached value; ``expires_at`` in epoch seconds, None: never. Any value is a hit: 0, "", False, None too."""

    value: V
    expires_at: float | None = None

    def fresh(self, now: float) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or now < self.expires_at


class Lru(Generic[V]):
    """Entries whose weights add up to ``limit`` at most; the least recently used go first, an entry above it is not kept."""

    def __init__(self, limit: int, weigh: Callable[[str, V], int]) -> None:
        self._limit = limit
        self._weigh = weigh
        self._entries: OrderedDict[str, Entry[V]] = OrderedDict()
        self.weight = 0

    def get(self, key: str, now: float) -> Entry[V] | None:
        """Return a fresh entry, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if not entry.fresh(now):
            self.delete(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def put(self, key: str, entry: Entry[V]) -> None:
        """Keep an entry, at the cost of the least recently used."""
        self.delete(key)
        weight = self._weigh(key, entry.value)
        if weight > self._limit:
            return
        self._entries[key] = entry
        self.weight += weight
        while self.weight > self._limit:
            self.delete(next(iter(self._entries)))

    def delete(self, key: str) -> bool:
        """Forget a key; whether it was there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.weight -= self._weigh(key, entry.value)
        return entry is not None

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
        self.weight = 0

    def __len__(self) -> int:
        return len(self._entries)
