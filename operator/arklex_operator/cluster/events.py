"""Events that people see in ``kubectl describe``: few, aggregated, never a reason for a reconcile to fail."""

from __future__ import annotations

import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from arklex_operator.cluster.api import Api
from arklex_operator.cluster.errors import ApiError
from arklex_operator.cluster.monitoring import Monitoring
from arklex_operator.manifests.kinds import EVENT
from arklex_operator.reconcile.plan import Say

CONTROLLER = "arklex.ai/operator"
AGAIN = 300.0
"""Seconds for which the same event about the same object is not told again; then its series is counted up."""

BURST = 10
REFILL = 30.0
"""Events of one object at once, and seconds after which it may have one more."""

_REMEMBERED = 4096
log = logging.getLogger("arklex.operator.events")


@dataclass(slots=True)
class _Series:
    name: str
    told: float
    count: int = 1


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Events:
    """Tells events (events.k8s.io/v1). ``instance`` is this pod's name; ``clock`` is monotonic, in seconds."""

    def __init__(self, api: Api, instance: str, monitoring: Monitoring, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._instance = instance
        self._monitoring = monitoring
        self._clock = clock
        self._series: OrderedDict[tuple[str, str, str, str], _Series] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    async def tell(self, about: Mapping[str, Any], say: Say) -> None:
        """Tell ``say`` about an object (with apiVersion, kind and metadata); what the API server refuses is only logged."""
        metadata = about["metadata"]
        uid = metadata.get("uid") or f"{metadata.get('namespace')}/{metadata['name']}"
        key = (uid, say.type, say.reason, say.note)
        known, now = self._series.get(key), self._clock()
        if known is not None:
            known.count += 1
        if (known is not None and now - known.told < AGAIN) or not self._allowed(uid, now):
            self._monitoring.events.labels(say.reason, "held").inc()
            return
        try:
            if known is not None and await self._again(about, known):
                known.told = now
            else:
                self._series[key] = _Series(await self._new(about, say), now)
                while len(self._series) > _REMEMBERED:
                    self._series.popitem(last=False)
        except ApiError as error:
            self._monitoring.events.labels(say.reason, "failed").inc()
            log.warning("an event was not told", extra={"reason": say.reason, "note": say.note, "error": str(error)})
            return
        self._monitoring.events.labels(say.reason, "told").inc()

    async def _new(self, about: Mapping[str, Any], say: Say) -> str:
        metadata, now = about["metadata"], _now()
        name = f"{metadata['name'][:200]}.{uuid.uuid4().hex[:16]}"
        regarding = {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            **{field: metadata[field] for field in ("name", "namespace", "uid", "resourceVersion") if field in metadata},
        }
        await self._api.create(
            {
                "apiVersion": EVENT.api_version,
                "kind": EVENT.name,
                "metadata": {"name": name, "namespace": metadata.get("namespace") or "default"},
                "eventTime": now,
                "regarding": regarding,
                "type": say.type,
                "reason": say.reason,
                "action": say.action,
                "note": say.note.encode()[:1024].decode(errors="ignore"),
                "reportingController": CONTROLLER,
                "reportingInstance": self._instance[:128],
            }
        )
        return name

    async def _again(self, about: Mapping[str, Any], known: _Series) -> bool:
        """Count the series up; False if the event has expired meanwhile."""
        series = {"series": {"count": known.count, "lastObservedTime": _now()}}
        namespace = about["metadata"].get("namespace") or "default"
        try:
            await self._api.patch(EVENT, namespace, known.name, series)
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True

    def _allowed(self, uid: str, now: float) -> bool:
        bucket = self._buckets.setdefault(uid, _Bucket(BURST, now))
        self._buckets.move_to_end(uid)
        while len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.at) / REFILL)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
