"""The guide's MultiLevelCache: three caches as one, which stays right while one of them is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from arklex_runtime.errors import DatabaseUnavailable
from arklex_runtime.state.cache import Cache, DatabaseCache, MemoryCache, RedisCache
from arklex_runtime.state.lru import Entry

MAX_STALE = 10_000
"""Keys remembered of a level that could not be told of their change; beyond, all of the level counts as stale."""
REST = 5.0
"""Seconds for which a level that did not answer is left alone."""


class MultiLevelCache:
    """Memory above Redis above the database, or any three; what is found below is kept above, for the time it has left.

    A level that does not answer (DatabaseUnavailable) is a miss. What could not be written to it is not read from it,
    by this object, until it has been written.
    """

    def __init__(
        self,
        l1: Cache | None = None,
        l2: Cache | None = None,
        l3: Cache | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.l1_cache = l1 if l1 is not None else MemoryCache()
        self.l2_cache = l2 if l2 is not None else RedisCache()
        self.l3_cache = l3 if l3 is not None else DatabaseCache()
        self._levels = [_Level(cache, now) for cache in (self.l1_cache, self.l2_cache, self.l3_cache)]
        self._now = now
        self._lock = threading.Lock()
        self._writes = 0

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value from the first level that has it, or the default."""
        entry = self.entry(key)
        return default if entry is None else entry.value

    def entry(self, key: str) -> Entry[Any] | None:
        """Return the value with its expiry, None if no level has it."""
        writes = self._writes
        for index, level in enumerate(self._levels):
            entry = level.entry(key)
            if entry is not None:
                if index:
                    self._promote(key, entry, index, writes)
                return entry
        return None

    def _promote(self, key: str, entry: Entry[Any], below: int, writes: int) -> None:
        """Keep a value above, unless somebody wrote meanwhile: it may be the old one."""
        ttl = None if entry.expires_at is None else entry.expires_at - self._now()
        if ttl is not None and ttl <= 0:
            return
        with self._lock:
            if self._writes == writes:
                for level in self._levels[:below]:
                    level.write(key, lambda cache: cache.set(key, entry.value, ttl))

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Keep a value in all levels for ``ttl`` seconds, None: for good."""
        self._write(key, lambda cache: cache.set(key, value, ttl))

    def delete(self, key: str) -> None:
        """Forget a key in all levels."""
        self._write(key, lambda cache: cache.delete(key))

    def clear(self) -> None:
        """Forget all in all levels."""
        self._write(None, lambda cache: cache.clear())

    def _write(self, key: str | None, change: Callable[[Cache], None]) -> None:
        """Change the slowest level first: what is above it is never older."""
        with self._lock:
            self._writes += 1
            errors = [error for level in reversed(self._levels) if (error := level.write(key, change)) is not None]
            self._writes += 1
        if len(errors) == len(self._levels):
            raise errors[0]


class _Level:
    """One cache, and what it has not been told."""

    def __init__(self, cache: Cache, now: Callable[[], float]) -> None:
        self._cache = cache
        self._now = now
        self._failed: tuple[float, DatabaseUnavailable] | None = None
        self._stale: set[str] = set()
        self._all_stale = False

    def entry(self, key: str) -> Entry[Any] | None:
        if self._all_stale or key in self._stale or self._resting():
            return None
        try:
            return self._cache.entry(key)
        except DatabaseUnavailable as error:
            self._failed = (self._now(), error)
            return None

    def write(self, key: str | None, change: Callable[[Cache], None]) -> DatabaseUnavailable | None:
        """Write; ``key`` None: all of it."""
        error = self._resting() or self._change(key, change)
        if error is not None:
            self._miss(key)
        elif key is None:
            self._stale.clear()
        else:
            self._stale.discard(key)
        return error

    def _change(self, key: str | None, change: Callable[[Cache], None]) -> DatabaseUnavailable | None:
        try:
            if self._all_stale and key is not None:
                self._cache.clear()
            change(self._cache)
        except DatabaseUnavailable as error:
            self._failed = (self._now(), error)
            return error
        self._all_stale = False
        return None

    def _resting(self) -> DatabaseUnavailable | None:
        if self._failed is not None and self._now() - self._failed[0] < REST:
            return self._failed[1]
        return None

    def _miss(self, key: str | None) -> None:
        if key is None or len(self._stale) >= MAX_STALE:
            self._all_stale = True
            self._stale.clear()
        else:
            self._stale.add(key)
