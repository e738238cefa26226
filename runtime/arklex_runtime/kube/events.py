"""Kubernetes events of runs (events.k8s.io/v1), for ``kubectl describe`` and ``kubectl events``: few, bounded, aggregated.

An event that repeats within ten minutes is counted on the one there is, as the API asks (``series``). What does not fit
the rate waits in a queue of bounded length; what does not fit that is dropped and counted: events are best effort.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from arklex_api.base import API_VERSION
from arklex_runtime.kube.api import Api, Kind
from arklex_runtime.kube.errors import ApiConflict, ApiError
from arklex_runtime.kube.objects import Entry
from arklex_runtime.kube.schedule import Window
from arklex_runtime.kube.texts import cut
from arklex_runtime.observability.logs import get_logger

CONTROLLER = "arklex.ai/runtime"
PER_SECOND = 5
QUEUE = 1000
SERIES_SECONDS = 600.0
REPEAT_SECONDS = 10.0
"""Between two writes of one series."""

NOTE = 1000
"""Bytes of an event's text; the API server takes 1,024."""


@dataclass(slots=True)
class Said:
    """One event that is, or is to be, on the API server."""

    body: dict[str, Any]
    count: int = 0
    written: int = 0
    first_at: float = 0.0
    written_at: float = 0.0


class Events:
    """The recorder. ``say`` never waits and never raises."""

    def __init__(self, api: Api, instance: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.dropped = 0
        self._api = api
        self._instance = instance
        self._clock = clock
        self._window = Window(PER_SECOND)
        self._known: OrderedDict[tuple[str, ...], Said] = OrderedDict()
        self._queue: OrderedDict[tuple[str, ...], Said] = OrderedDict()
        self._changed = asyncio.Event()
        self._log = get_logger("arklex.kube")

    def say(
        self,
        kind: Kind,
        entry: Entry[Any],
        reason: str,
        note: str,
        *,
        type: Literal["Normal", "Warning"] = "Normal",
        about: str = "",
    ) -> None:
        """Something happened to an object. Events of one object, reason and ``about`` are one series."""
        now = self._clock()
        key = (entry.uid, reason, about)
        said = self._known.get(key)
        if said is None or now - said.first_at > SERIES_SECONDS:
            if len(self._queue) >= QUEUE:
                self.dropped += 1
                return
            said = Said(self._body(kind, entry, reason, note, type), first_at=now)
            self._known[key] = said
            if len(self._known) > 2 * QUEUE:
                self._known.popitem(last=False)
        said.count += 1
        self._queue[key] = said
        self._changed.set()

    def _body(self, kind: Kind, entry: Entry[Any], reason: str, note: str, type: str) -> dict[str, Any]:
        regarding = {"apiVersion": API_VERSION, "kind": kind.name, "name": entry.name, "namespace": entry.namespace}
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{entry.name[:220]}.{uuid.uuid4().hex[:16]}", "namespace": entry.namespace},
            "eventTime": _micro(),
            "regarding": {**regarding, "uid": entry.uid, "resourceVersion": entry.version},
            "reason": reason,
            "note": cut(note, NOTE),
            "type": type,
            "action": "Run",
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance[:128],
        }

    async def run(self) -> None:
        """Write, until cancelled."""
        while True:
            self._changed.clear()
            wait = self._next_wait()
            if wait is None:
                await self._changed.wait()
            elif wait > 0:
                await asyncio.sleep(wait)
            else:
                await self._send()

    def _next_wait(self) -> float | None:
        if not self._queue:
            return None
        now = self._clock()
        due = min(said.written_at + REPEAT_SECONDS if said.written else now for said in self._queue.values())
        return max(due - now, self._window.wait(now), 0.0)

    async def _send(self) -> None:
        now = self._clock()
        due = (key for key, said in self._queue.items() if not said.written or said.written_at + REPEAT_SECONDS <= now)
        key = next(due)
        said = self._queue.pop(key)
        count = said.count
        self._window.take(now)
        try:
            await self._write(said, count)
        except ApiError as error:
            if error.retryable and len(self._queue) < QUEUE:
                self._queue[key] = said
                await asyncio.sleep(max(1.0, error.retry_after))
                return
            self._drop(key, said, error)
            return
        except Exception as error:
            self._drop(key, said, error)
            return
        said.written, said.written_at = count, self._clock()

    def _drop(self, key: tuple[str, ...], said: Said, error: Exception) -> None:
        self.dropped += 1
        self._known.pop(key, None)
        self._log.warning("event not written", reason=said.body["reason"], error=str(error))

    async def _write(self, said: Said, count: int) -> None:
        metadata = said.body["metadata"]
        url = f"/apis/events.k8s.io/v1/namespaces/{metadata['namespace']}/events"
        series = {"series": {"count": count, "lastObservedTime": _micro()}} if count > 1 else {}
        if not said.written:
            with contextlib.suppress(ApiConflict):  # it was written, and its answer was lost
                await self._api.request("POST", url, (), {**said.body, **series})
        else:
            await self._api.request("PATCH", f"{url}/{metadata['name']}", (), series, "application/merge-patch+json")


def _micro() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
