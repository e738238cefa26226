"""How much waits and runs for each Worker, read from its stream in Redis, and for how long nothing has."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.credentials import CredentialProvider
from redis.exceptions import ResponseError

GROUP = "pool"
TIMEOUT = 5.0
"""Seconds for connecting, and for one answer."""

Key = tuple[str, str]
"""A Worker: namespace, name."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A Worker's stream, as it was at ``at`` or a little later; times are monotonic seconds of this process."""

    at: float
    queued: int
    in_flight: int
    added: str
    """Changes with every entry added, so work that came and went between two reads is noticed."""
    idle_since: float
    """When nothing was queued or in flight for certain, after anything had been."""


def stream(key: Key) -> str:
    """Where a Worker's attempts wait (decisions/0006)."""
    return f"arklex:{{{key[0]}}}:jobs:{key[1]}"


def connect(url: str, password_file: Path | None) -> Redis:
    """A client of the cluster's Redis; the password is read from its file at every connection: it may be rotated."""
    extra = dict[str, Any]()
    if password_file is not None:
        parts = urlsplit(url)
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        extra["credential_provider"] = _Password(password_file, unquote(parts.username or ""))
    return Redis.from_url(
        url,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        health_check_interval=30,
        client_name="arklex",
        **extra,
    )


class _Password(CredentialProvider):
    def __init__(self, file: Path, username: str) -> None:
        self._file, self._username = file, username

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """What a new connection authenticates with."""
        password = self._file.read_text().strip()
        return (self._username, password) if self._username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The same; what it inherits warns at each connection."""
        return self.get_credentials()


class Queues:
    """The last reading of each Worker's stream."""

    def __init__(self, client: Redis, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._read: dict[Key, Queue] = {}

    def of(self, key: Key) -> Queue | None:
        """What was read of a Worker last."""
        return self._read.get(key)

    async def read(self, keys: Collection[Key]) -> None:
        """Read the streams of ``keys`` in one round trip. Raises redis.RedisError or OSError; what was read before stays."""
        if not keys:
            return
        async with self._client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.xinfo_stream(stream(key))
                pipeline.xpending(stream(key), GROUP)
            at = self._clock()
            answers = await pipeline.execute(raise_on_error=False)
        done = self._clock()
        for index, key in enumerate(keys):
            self._note(key, at, done, answers[2 * index], answers[2 * index + 1])

    def forget(self, living: Collection[Key]) -> None:
        """Drop Workers that are gone."""
        self._read = {key: queue for key, queue in self._read.items() if key in living}

    def _note(self, key: Key, at: float, done: float, info: Any, pending: Any) -> None:
        for answer in (info, pending):
            if isinstance(answer, Exception) and not absent(answer):
                raise answer
        length = 0 if isinstance(info, Exception) else int(info["length"])
        added = "" if isinstance(info, Exception) else f"{info.get('entries-added')} {info['last-generated-id']!r}"
        in_flight = 0 if isinstance(pending, Exception) else min(int(pending["pending"]), length)
        before = self._read.get(key)
        quiet = before is not None and length == before.queued + before.in_flight == 0 and before.added == added
        since = before.idle_since if before is not None and quiet else done
        self._read[key] = Queue(at, length - in_flight, in_flight, added, since)


def absent(error: Exception) -> bool:
    """Whether Redis says that nobody has written to this stream yet."""
    return isinstance(error, ResponseError) and ("no such key" in str(error) or "NOGROUP" in str(error))
