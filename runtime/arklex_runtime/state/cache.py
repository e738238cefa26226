"""The guide's caches ("Caching Strategy"): memory, Redis, database, and the three as one. Blocking, safe from threads.

Every value is a hit: 0, "", False, and a stored None, which ``get(key, default)`` tells from a miss by the default.
Values are JSON in Redis and in the database; in memory they are kept as they are. Times to live are in seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from arklex_runtime.errors import DatabaseUnavailable
from arklex_runtime.state import statements as sql
from arklex_runtime.state import steps
from arklex_runtime.state.lru import Entry, Lru
from arklex_runtime.state.sync import SyncDatabase, sync_database

if TYPE_CHECKING:
    from redis import Redis

FOREVER = 1e18
"""When an entry without a time to live expires, in the database (epoch seconds)."""


class Cache(Protocol):
    """One level of a cache."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or the default."""

    def entry(self, key: str) -> Entry[Any] | None:
        """Return the value with its expiry, None if there is none."""

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Keep a value for ``ttl`` seconds, None: for good."""

    def delete(self, key: str) -> None:
        """Forget a key."""

    def clear(self) -> None:
        """Forget all."""


def expiry(ttl: float | None, now: float) -> float | None:
    """Return when an entry expires (epoch seconds)."""
    return None if ttl is None else now + ttl


class MemoryCache:
    """The fast, small level: the most recently used ``max_entries``."""

    def __init__(self, max_entries: int = 10_000, *, now: Callable[[], float] = time.time) -> None:
        self._entries: Lru[Any] = Lru(max_entries, lambda key, value: 1)
        self._lock = threading.Lock()
        self._now = now

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or the default."""
        entry = self.entry(key)
        return default if entry is None else entry.value

    def entry(self, key: str) -> Entry[Any] | None:
        """Return the value with its expiry, None if there is none."""
        with self._lock:
            return self._entries.get(key, self._now())

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Keep a value for ``ttl`` seconds, None: until it is the least recently used."""
        with self._lock:
            self._entries.put(key, Entry(value, expiry(ttl, self._now())))

    def delete(self, key: str) -> None:
        """Forget a key."""
        with self._lock:
            self._entries.delete(key)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._entries.clear()


class RedisCache:
    """The level that processes share. Raises DatabaseUnavailable when Redis does not answer within ``timeout`` seconds."""

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        prefix: str = "arklex:cache:",
        timeout: float = 1.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._prefix = prefix
        self._timeout = timeout
        self._now = now
        self._lock = threading.Lock()
        self._client: Redis | None = None

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or the default."""
        entry = self.entry(key)
        return default if entry is None else entry.value

    def entry(self, key: str) -> Entry[Any] | None:
        """Return the value with its expiry, None if there is none."""
        name = self._prefix + key

        def read(client: Redis) -> list[Any]:
            pipeline = client.pipeline(transaction=True)
            pipeline.get(name)
            pipeline.pttl(name)
            return list(pipeline.execute())

        data, left = self._ask(read)
        if data is None:
            return None
        return Entry(orjson.loads(data), self._now() + left / 1000 if left >= 0 else None)

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Keep a JSON value for ``ttl`` seconds, None: for good. Raises TypeError if it is not JSON."""
        data = orjson.dumps(value)
        if ttl is not None and ttl < 0.001:
            self.delete(key)
        else:
            milliseconds = None if ttl is None else int(ttl * 1000)
            self._ask(lambda client: client.set(self._prefix + key, data, px=milliseconds))

    def delete(self, key: str) -> None:
        """Forget a key."""
        self._ask(lambda client: client.delete(self._prefix + key))

    def clear(self) -> None:
        """Forget all keys with our prefix, those of other processes too."""

        def sweep(client: Redis) -> None:
            pattern = "".join(f"\\{char}" if char in "*?[]\\^-" else char for char in self._prefix) + "*"
            batch = []
            for name in client.scan_iter(pattern, count=1000):
                batch.append(name)
                if len(batch) == 1000:
                    client.unlink(*batch)
                    batch.clear()
            if batch:
                client.unlink(*batch)

        self._ask(sweep)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ask(self, question: Callable[[Redis], Any]) -> Any:
        from redis import Redis, exceptions

        with self._lock:
            if self._client is None:
                self._client = Redis.from_url(
                    self._url, socket_timeout=self._timeout, socket_connect_timeout=self._timeout, retry=None
                )
            client = self._client
        try:
            return question(client)
        except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
            raise DatabaseUnavailable("unreachable", str(error)) from error
        except exceptions.OutOfMemoryError as error:
            raise DatabaseUnavailable("full", str(error)) from error
        except exceptions.ReadOnlyError as error:
            raise DatabaseUnavailable("readonly", str(error)) from error


class DatabaseCache:
    """The slow level that lasts: the cache table of a journal's database, by default that of all commands."""

    def __init__(
        self, connection_string: str | None = None, *, prefix: str = "cache:", now: Callable[[], float] = time.time
    ) -> None:
        self._database: SyncDatabase = sync_database(connection_string)
        self._prefix = prefix
        self._now = now

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or the default."""
        entry = self.entry(key)
        return default if entry is None else entry.value

    def entry(self, key: str) -> Entry[Any] | None:
        """Return the value with its expiry, None if there is none."""
        params = {"key": self._prefix + key, "now": self._now()}
        rows = self._database.run(lambda: steps.rows_of(sql.GET_CACHE, params), write=False)
        if not rows:
            return None
        data, expires_at = rows[0]
        return Entry(orjson.loads(bytes(data)), None if expires_at >= FOREVER else expires_at)

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Keep a JSON value for ``ttl`` seconds, None: for good. Raises TypeError if it is not JSON."""
        until = expiry(ttl, self._now())
        params = {"key": self._prefix + key, "value": orjson.dumps(value), "expires_at": FOREVER if until is None else until}
        self._database.run(lambda: steps.rows_of(sql.PUT_CACHE, params))

    def delete(self, key: str) -> None:
        """Forget a key."""
        self._database.run(lambda: steps.rows_of(sql.DELETE_CACHED, {"key": self._prefix + key}))

    def clear(self) -> None:
        """Forget all keys with our prefix."""
        params = {"length": len(self._prefix), "prefix": self._prefix}
        self._database.run(lambda: steps.rows_of(sql.CLEAR_CACHED, params))

    def close(self) -> None:
        """Close the database."""
        self._database.close()
