"""What the cluster offers for scaling: our metric, KEDA, or nothing but CPU. Looked at now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from arklex_operator.cluster.api import Api
from arklex_operator.cluster.errors import ApiError, ForbiddenError
from arklex_operator.load.source import API_SERVICE as EXTERNAL_METRICS
from arklex_operator.load.source import Found, Source, find
from arklex_operator.manifests.kinds import API_SERVICE, SCALED_OBJECT, Object

INTERVAL = 15.0
PATIENCE = 4
"""Looks in a row that must find another source before it is taken up: HPAs are not rewritten for a registration's hiccup."""

log = logging.getLogger("arklex.operator.surroundings")


class Surroundings:
    """Knows which source scales Workers; ``changed`` is called when that changes."""

    def __init__(self, api: Api, changed: Callable[[], object], *, interval: float = INTERVAL) -> None:
        self._api = api
        self._changed = changed
        self._interval = interval
        self._other = 0
        self.keda = False
        self.found: Found | None = None

    @property
    def known(self) -> Found:
        """What was found last; before the first look, as if nothing scaled."""
        return self.found or find(None, keda=False)

    async def look(self) -> Found:
        """Look now. Raises ApiError."""
        self.keda = await self._api.raw(f"/apis/{SCALED_OBJECT.api_version}") is not None
        try:
            service: Object | None = await self._api.get(API_SERVICE, None, EXTERNAL_METRICS)
        except ForbiddenError:
            service = None
        found = find(service, keda=self.keda)
        self._other = self._other + 1 if self.found is not None and found.source is not self.found.source else 0
        worse = self.found is not None and self.found.source is Source.EXTERNAL
        if self.found is None or not self._other or not worse or self._other >= PATIENCE:
            news = self.found != found
            self.found, self._other = found, 0
            if news:
                log.info("Workers scale", extra={"source": found.source.value, "reason": found.reason})
                self._changed()
        return self.found

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except ApiError as error:
                log.warning("cannot look around", extra={"error": str(error)})
            await asyncio.sleep(self._interval)
