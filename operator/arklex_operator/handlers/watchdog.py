"""Finds watches that have gone quiet: what a list shows must have come through the watch as well.

It also mends what a watch cannot show: an object that was deleted while no watch was open is taken off its shelf, one that is
missing is read. A cheap list (metadata only) of each watched kind every other minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from arklex_operator.cluster.api import Api
from arklex_operator.cluster.errors import ApiError
from arklex_operator.cluster.hub import Watch
from arklex_operator.cluster.store import Key, Shelf, key_of, version_of

INTERVAL = 120.0
GRACE = 10.0
"""Seconds that a watch may be behind a list."""

STRIKES = 2
"""Comparisons in a row that found a watch behind, without an event in between, after which it counts as dead."""

log = logging.getLogger("arklex.operator.watchdog")


class Watchdog:
    """Compares ``watches`` with lists, in ``namespaces`` (all if empty). Times are seconds."""

    def __init__(
        self, api: Api, watches: Sequence[Watch], namespaces: Sequence[str], *, interval: float = INTERVAL, grace: float = GRACE
    ) -> None:
        self._api = api
        self._watches = watches
        self._namespaces: Sequence[str | None] = tuple(namespaces) or (None,)
        self._interval = interval
        self._grace = grace
        self._strikes: dict[str, tuple[int, int]] = {}

    @property
    def dead(self) -> str | None:
        """Which watch is dead, for people; None while all live."""
        for name, (strikes, _) in self._strikes.items():
            if strikes >= STRIKES:
                return f"the watch of {name} shows nothing although objects change"
        return None

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            for watch in self._watches:
                try:
                    await self.compare(watch)
                except ApiError as error:
                    log.warning("cannot list", extra={"kind": watch.shelf.kind.name, "error": str(error)})

    async def compare(self, watch: Watch) -> None:
        """List one kind, compare it with its shelf, mend that. Raises ApiError."""
        kind, shelf = watch.shelf.kind, watch.shelf
        before = {key_of(value): value["metadata"].get("uid") for value in shelf}
        listed: dict[Key, int] = {}
        for namespace in self._namespaces:
            async for item in self._api.list(kind, namespace, labels=watch.labels, metadata_only=True):
                listed[key_of(item)] = version_of(item)
        if _behind(shelf, listed):
            await asyncio.sleep(self._grace)
        missed = _behind(shelf, listed)
        for key, uid in before.items():
            gone = shelf.get(*key)
            if key not in listed and gone is not None and gone["metadata"].get("uid") == uid:
                watch.take("DELETED", gone)
        strikes, events = self._strikes.get(kind.name, (0, -1))
        if not missed:
            self._strikes.pop(kind.name, None)
            return
        self._strikes[kind.name] = (strikes + 1 if events == watch.events else 1, watch.events)
        log.warning("a watch is behind", extra={"kind": kind.name, "objects": len(missed), "first": "/".join(missed[0])})
        for key in missed:
            if (value := await self._api.get(kind, *key)) is not None:
                watch.take(None, value)


def _behind(shelf: Shelf, listed: Mapping[Key, int]) -> list[Key]:
    """Listed objects whose state, or a newer one, is not on the shelf."""
    found = []
    for key, version in listed.items():
        known = shelf.get(*key)
        if known is None or version_of(known) < version:
            found.append(key)
    return found
