"""The engine's cache of task results: memory above Redis, if configured, above the journal's cache table."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from arklex_runtime.state.lru import Entry, Lru

if TYPE_CHECKING:
    from redis.asyncio import Redis

MAX_BYTES = 64 << 20
"""Bytes of keys and values kept in memory."""
REDIS_SECONDS = 0.5
"""How long Redis may take: it is there to save time."""
REDIS_REST = 5.0
"""Seconds for which Redis is left alone after it failed."""
MAX_WRITES = 1000
"""Writes to Redis under way at most; more are left out."""
_EXPIRY = struct.Struct(">d")


class CacheTable(Protocol):
    """The third level: the journal."""

    async def cache_entry(self, key: str, now: float) -> tuple[bytes, float] | None:
        """Return a value that has not expired, and when it will (epoch seconds)."""


class ResultCache:
    """See ``get``. ``put`` does not write the table: the result's commit does. All in one event loop."""

    def __init__(
        self,
        max_bytes: int = MAX_BYTES,
        redis: Redis | None = None,
        *,
        prefix: str = "arklex:result:",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memory: Lru[bytes] = Lru(max_bytes, lambda key, value: len(key) + len(value))
        self._redis = redis
        self._prefix = prefix
        self._monotonic = monotonic
        self._redis_after = 0.0
        self._writes: set[asyncio.Task[None]] = set()

    async def get(self, key: str, now: float, table: CacheTable | None = None) -> bytes | None:
        """Return a value that has not expired at ``now`` (epoch seconds), from the nearest level that has it.

        Found further down it is kept above, until the same time. Raises DatabaseUnavailable (the table).
        """
        entry = self._memory.get(key, now)
        if entry is None and self._redis is not None:
            entry = await self._from_redis(self._redis, key, now)
            if entry is not None:
                self._memory.put(key, entry)
        if entry is None and table is not None:
            row = await table.cache_entry(key, now)
            if row is not None:
                entry = Entry(*row)
                self.put(key, *row)
        return None if entry is None else entry.value

    def put(self, key: str, value: bytes, expires_at: float) -> None:
        """Keep a value whose commit is durable, until ``expires_at`` (epoch seconds)."""
        self._memory.put(key, Entry(value, expires_at))
        if self._redis is not None and len(self._writes) < MAX_WRITES and self._monotonic() >= self._redis_after:
            task = asyncio.get_running_loop().create_task(self._to_redis(self._redis, key, value, expires_at))
            self._writes.add(task)
            task.add_done_callback(self._writes.discard)

    async def aclose(self) -> None:
        """Wait for the writes to Redis that are under way, for as long as one may take."""
        if self._writes:
            await asyncio.wait(tuple(self._writes), timeout=REDIS_SECONDS)

    def clear(self) -> None:
        """Give the memory back; the levels below stay."""
        self._memory.clear()

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self._memory.weight

    async def flushed(self) -> None:
        """Wait for the writes to Redis that are under way."""
        await asyncio.gather(*self._writes)

    async def _from_redis(self, redis: Redis, key: str, now: float) -> Entry[bytes] | None:
        if self._monotonic() < self._redis_after:
            return None
        with self._resting(), contextlib.suppress(struct.error):
            async with asyncio.timeout(REDIS_SECONDS):
                data = await redis.get(self._prefix + key)
            if isinstance(data, bytes):
                entry = Entry(data[_EXPIRY.size :], _EXPIRY.unpack_from(data)[0])
                return entry if entry.fresh(now) else None
        return None

    async def _to_redis(self, redis: Redis, key: str, value: bytes, expires_at: float) -> None:
        with self._resting():
            async with asyncio.timeout(REDIS_SECONDS):
                await redis.set(self._prefix + key, _EXPIRY.pack(expires_at) + value, pxat=int(expires_at * 1000))

    @contextlib.contextmanager
    def _resting(self) -> Iterator[None]:
        """Take Redis' failures as misses, and leave it alone for a while."""
        from redis.exceptions import RedisError

        try:
            yield
        except (RedisError, OSError, TimeoutError):
            self._redis_after = self._monotonic() + REDIS_REST
