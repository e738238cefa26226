"""Removes what is left of Workers and namespaces that have been gone for ten minutes: keys, users and Secrets.

There are no finalizers, so nothing waits for this: a namespace is deleted although the operator does not run.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Collection

from redis.asyncio import Redis

from arklex_operator.cluster.accounts import pattern_of, user_of
from arklex_operator.cluster.broker import RedisFailed
from arklex_operator.cluster.errors import ApiError
from arklex_operator.cluster.store import Shelf

PATIENCE = 600.0
INTERVAL = 60.0
_KEY = re.compile(rb"arklex:\{([^{}]+)\}:(?:(jobs|pods|control):(.+)|.*)", re.S)
_USER = re.compile(r"arklex-(.+)")

log = logging.getLogger("arklex.operator.sweeper")


class Sweeper:
    """Looks every minute. ``remove_account`` removes a namespace's user and Secret. Only ``namespaces`` (all if empty)."""

    def __init__(
        self,
        redis: Redis,
        workers: Shelf,
        graphs: Shelf,
        namespaces: Collection[str],
        accounts: Callable[[], Collection[str]],
        remove_account: Callable[[str], object],
        *,
        patience: float = PATIENCE,
        interval: float = INTERVAL,
    ) -> None:
        self._redis = redis
        self._workers, self._graphs = workers, graphs
        self._namespaces = frozenset(namespaces)
        self._accounts, self._remove_account = accounts, remove_account
        self._patience, self._interval = patience, interval
        self._gone: dict[tuple[str, str], float] = {}

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.sweep()
            except (*RedisFailed, ApiError) as error:
                log.warning("cannot sweep", extra={"error": str(error)})

    async def sweep(self) -> int:
        """Look once; how many keys were removed. Raises RedisFailed and ApiError."""
        homeless: dict[tuple[str, str], list[bytes]] = {}
        async for key in self._redis.scan_iter(match=b"arklex:{*}:*", count=500):
            if (owner := self._owner(key)) is not None:
                homeless.setdefault(owner, []).append(key)
        for namespace in {*self._accounts(), *await self._users()}:
            if self._serves(namespace) and not any(self._workers.within(namespace)):
                homeless.setdefault((namespace, ""), [])
        now = time.monotonic()
        self._gone = {owner: self._gone.get(owner, now) for owner in homeless}
        removed = 0
        for owner, since in list(self._gone.items()):
            if now - since >= self._patience:
                removed += await self._remove(owner, homeless[owner])
                del self._gone[owner]
        return removed

    def _owner(self, key: bytes) -> tuple[str, str] | None:
        """Whose a key was, (namespace, Worker or ""), if that is gone."""
        found = _KEY.fullmatch(key)
        if found is None:
            return None
        namespace, worker = found[1].decode(errors="replace"), (found[3] or b"").decode(errors="replace")
        if not self._serves(namespace):
            return None
        if worker:
            return None if self._workers.get(namespace, worker) is not None else (namespace, worker)
        lives = any(self._workers.within(namespace)) or any(self._graphs.within(namespace))
        return None if lives else (namespace, "")

    def _serves(self, namespace: str) -> bool:
        return not self._namespaces or namespace in self._namespaces

    async def _users(self) -> list[str]:
        """Namespaces of ACL users of our making."""
        try:
            lines: list[bytes | str] = await self._redis.acl_list()
        except RedisFailed:
            return []
        found = []
        for line in lines:
            words = (line.decode() if isinstance(line, bytes) else line).split()
            match = _USER.fullmatch(words[1])
            if match and pattern_of(match[1]) in words and user_of(match[1]) == words[1]:
                found.append(match[1])
        return found

    async def _remove(self, owner: tuple[str, str], keys: list[bytes]) -> int:
        namespace, worker = owner
        for start in range(0, len(keys), 500):
            await self._redis.unlink(*keys[start : start + 500])
        if not worker and not any(self._workers.within(namespace)):
            done = self._remove_account(namespace)
            if asyncio.iscoroutine(done):
                await done
        log.info("removed what was left", extra={"namespace": namespace, "worker": worker, "keys": len(keys)})
        return len(keys)
