"""Lists and watches one kind, for ever: what the API server has is told to a sink, missed deletes included."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Protocol

from arklex_runtime.kube.api import Api, Kind, Object
from arklex_runtime.kube.errors import ApiError, ApiGone
from arklex_runtime.observability.logs import get_logger

FIRST_WAIT, LONGEST_WAIT = 0.2, 20.0
"""Seconds between two attempts, doubled after each, half of them by chance."""

STUCK = 300.0
"""Seconds without a step of the loop after which a watcher is called stuck."""


class Sink(Protocol):
    """Who is told. Methods must not raise; they are called in the order of the API server's history."""

    def listed(self, kind: Kind, namespace: str | None, objects: list[Object]) -> None:
        """All there is: what is not among them exists no more."""

    def changed(self, kind: Kind, given: Object) -> None:
        """One was made or changed."""

    def deleted(self, kind: Kind, given: Object) -> None:
        """One is gone; ``given`` is its last state."""


class Watcher:
    """One kind, in one namespace or (None) in all."""

    def __init__(
        self,
        api: Api,
        kind: Kind,
        namespace: str | None,
        sink: Sink,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self.synced = asyncio.Event()
        self.lists = 0
        self._api = api
        self._sink = sink
        self._clock = clock
        self._jitter = jitter
        self._heard = self._stepped = clock()
        self._failures = 0
        self._log = get_logger("arklex.kube", kind=kind.name, namespace=namespace or "*")

    @property
    def age(self) -> float:
        """Seconds since the API server last told something, bookmarks included: above two minutes it is away."""
        return self._clock() - self._heard

    @property
    def stuck(self) -> bool:
        """Whether this loop hangs: neither heard anything nor tried to for five minutes. A restart of the process helps.

        An API server that is away makes no watcher stuck: it goes on trying.
        """
        return self._clock() - self._stepped > STUCK

    async def run(self) -> None:
        """List, watch, and start over, until cancelled."""
        version = ""
        while True:
            self._stepped = self._clock()
            try:
                if not version:
                    version = await self._list()
                began = self._clock()
                version = await self._watch(version)
                if self._clock() - began < 1.0:  # somebody between us and the server ends watches at once
                    await asyncio.sleep(self._jitter())
            except ApiGone:
                self._log.info("watch expired: listing again", version=version)
                version = ""
            except ApiError as error:
                await self._wait(error)
            except Exception:
                self._log.exception("watch failed: listing again")
                version = ""
                await asyncio.sleep(FIRST_WAIT + 5 * self._jitter())

    async def _list(self) -> str:
        objects, version = await self._api.list(self.kind, self.namespace)
        self._told()
        self._sink.listed(self.kind, self.namespace, objects)
        self.lists += 1
        self.synced.set()
        return version

    async def _watch(self, version: str) -> str:
        """Returns the version to go on from, when the server ends the watch; ``self`` keeps it when the connection breaks."""
        async with aclosing(self._api.watch(self.kind, self.namespace, version)) as events:
            try:
                async for event in events:
                    self._told()
                    version = str(event["object"]["metadata"]["resourceVersion"])
                    if event["type"] == "DELETED":
                        self._sink.deleted(self.kind, event["object"])
                    elif event["type"] in ("ADDED", "MODIFIED"):
                        self._sink.changed(self.kind, event["object"])
            except ApiGone:
                raise
            except ApiError as error:
                await self._wait(error)
        return version

    def _told(self) -> None:
        if self._failures:
            self._log.info("the API server is back", attempts=self._failures)
        self._failures = 0
        self._heard = self._stepped = self._clock()

    async def _wait(self, error: ApiError) -> None:
        self._failures += 1
        if self._failures == 1:
            self._log.warning("watch broke off", status=error.status, error=str(error))
        most = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self._failures, 10))
        await asyncio.sleep(max(error.retry_after, most * (0.5 + self._jitter() / 2)))
