"""The operator's connection to Redis, and what it finds out of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from arklex_operator.cluster.monitoring import Monitoring

POLL = 2.0
"""Seconds between two looks at whether Redis is there, and is still the same process."""

EVERY = 60.0
"""Seconds after which accounts are set right even if nothing seems to have happened."""

log = logging.getLogger("arklex.operator.redis")

RedisFailed = (RedisError, OSError, TimeoutError)
"""What a command may raise."""


class Broker:
    """Watches Redis. ``restored`` is awaited whenever it is there again, or another process, and once a minute."""

    def __init__(self, redis: Redis, monitoring: Monitoring, *, poll: float = POLL, every: float = EVERY) -> None:
        self.redis = redis
        self._monitoring = monitoring
        self._poll, self._every = poll, every
        self.restored: list[Callable[[], Awaitable[None]]] = []
        self.up = False
        self.process = ""

    async def run(self) -> None:
        """Watch until cancelled."""
        settled = 0.0
        while True:
            news = await self._look()
            if self.up and (news or time.monotonic() - settled >= self._every):
                settled = time.monotonic()
                for call in self.restored:
                    await call()
            await asyncio.sleep(self._poll)

    async def _look(self) -> bool:
        """Whether Redis is there now and was not, or not as this process."""
        try:
            info: dict[str, Any] = await self.redis.info("server")
        except RedisFailed as error:
            if self.up:
                log.warning("Redis is away", extra={"error": str(error)})
            self.up = False
            self._monitoring.redis_up.set(0)
            return False
        process = str(info.get("run_id"))
        news = not self.up or process != self.process
        if news:
            log.info("Redis is there", extra={"run_id": process, "version": info.get("redis_version")})
        self.up, self.process = True, process
        self._monitoring.redis_up.set(1)
        return news
