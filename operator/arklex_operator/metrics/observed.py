"""What the API server says of Workers and their pools: all of them every few seconds, one of them when its HPA asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from arklex_api.worker import Worker
from arklex_operator.cluster.api import Api
from arklex_operator.cluster.errors import NotFoundError
from arklex_operator.cluster.queues import Key
from arklex_operator.load.source import SELECTOR
from arklex_operator.load.usage import Pod, read_pod, read_time
from arklex_operator.manifests.kinds import DEPLOYMENT, HPA, POD, WORKER, Kind, Object

POD_METRICS = Kind("metrics.k8s.io/v1beta1", "PodMetrics", "pods")


@dataclass(frozen=True, slots=True)
class Seen:
    """A Worker and its pool. ``at`` is monotonic seconds of this process."""

    at: float
    worker: Worker
    present: bool
    """Whether it has a Deployment."""
    desired: int
    """spec.replicas of that; 0 while there is none."""
    changed: float | None
    """When spec.replicas changed last, in monotonic seconds; None when it never did."""
    pods: tuple[Pod, ...]
    hpa: Mapping[str, Any] | None


class Observed:
    """The last state of every Worker, and CPU and memory of their pods."""

    def __init__(
        self,
        api: Api,
        namespaces: Collection[str] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._namespaces, self._clock, self._now = api, namespaces, clock, now
        self.seen: dict[Key, Seen] = {}
        self.refused: dict[Key, str] = {}
        self.samples: dict[Key, Mapping[str, Any]] = {}
        """PodMetrics by (namespace, pod)."""
        self.samples_at: float | None = None
        """When they were read; None when metrics.k8s.io is not served at all."""

    async def poll(self) -> None:
        """Read everything anew. Raises ApiError; what was seen before stays."""
        at = self._clock()
        workers = await self._everywhere(WORKER)
        deployments, hpas, pods = [await self._everywhere(kind, SELECTOR) for kind in (DEPLOYMENT, HPA, POD)]
        by_worker = _first(deployments), _first(hpas), _all(pods)
        read, refused = _models(workers)
        self.seen = {
            key: self._judge(key, at, worker, by_worker[0].get(key), by_worker[1].get(key), by_worker[2].get(key, ()))
            for key, worker in read.items()
        }
        self.refused = refused

    async def poll_samples(self) -> None:
        """Read CPU and memory of all Workers' pods. Raises ApiError, but not where metrics.k8s.io is not served."""
        at = self._clock()
        try:
            found = await self._everywhere(POD_METRICS, SELECTOR)
        except NotFoundError:
            self.samples, self.samples_at = {}, None
            return
        self.samples = {(each["metadata"]["namespace"], each["metadata"]["name"]): each for each in found}
        self.samples_at = at

    async def refresh(self, key: Key) -> None:
        """Read one Worker's pool anew. Raises ApiError; what was seen before stays."""
        at, before = self._clock(), self.seen.get(key)
        if before is None:
            return
        own = f"{SELECTOR}={key[1]}"
        deployments, hpas, pods = [await self._list(kind, key[0], own) for kind in (DEPLOYMENT, HPA, POD)]
        seen = self._judge(key, at, before.worker, _one(deployments), _one(hpas), pods)
        if key in self.seen:
            self.seen[key] = replace(seen, worker=self.seen[key].worker)

    async def _everywhere(self, kind: Kind, labels: str = "") -> list[Object]:
        return [each for namespace in self._namespaces or (None,) for each in await self._list(kind, namespace, labels)]

    async def _list(self, kind: Kind, namespace: str | None, labels: str) -> list[Object]:
        return [each async for each in self._api.list(kind, namespace, labels=labels)]

    def _judge(
        self,
        key: Key,
        at: float,
        worker: Worker,
        deployment: Mapping[str, Any] | None,
        hpa: Mapping[str, Any] | None,
        pods: Iterable[Mapping[str, Any]],
    ) -> Seen:
        desired = int((deployment or {}).get("spec", {}).get("replicas", 0))
        changes = [self._clock() - (self._now() - last).total_seconds() for last in _scaled(hpa)]
        before = self.seen.get(key)
        if before is not None:
            changes += [] if before.changed is None else [before.changed]
            changes += [self._clock()] if before.present and before.desired != desired else []
        changed = min(max(changes), self._clock()) if changes else None
        return Seen(at, worker, deployment is not None, desired, changed, tuple(read_pod(each) for each in pods), hpa)


def _scaled(hpa: Mapping[str, Any] | None) -> list[datetime]:
    """When the HPA changed spec.replicas last. Nothing remembers when a person did: every replica notes it when it sees it."""
    last = ((hpa or {}).get("status") or {}).get("lastScaleTime")
    return [read_time(last)] if last else []


def _models(workers: Iterable[Mapping[str, Any]]) -> tuple[dict[Key, Worker], dict[Key, str]]:
    read: dict[Key, Worker] = {}
    refused: dict[Key, str] = {}
    for each in workers:
        key = each["metadata"]["namespace"], each["metadata"]["name"]
        try:
            read[key] = Worker.model_validate(each, extra="ignore")
        except ValidationError as error:
            refused[key] = str(error)
    return read, refused


def _key(each: Mapping[str, Any]) -> Key:
    return each["metadata"]["namespace"], each["metadata"]["labels"][SELECTOR]


def _first(objects: Iterable[Mapping[str, Any]]) -> dict[Key, Mapping[str, Any]]:
    return {_key(each): each for each in objects}


def _all(objects: Iterable[Mapping[str, Any]]) -> dict[Key, list[Mapping[str, Any]]]:
    found: dict[Key, list[Mapping[str, Any]]] = {}
    for each in objects:
        found.setdefault(_key(each), []).append(each)
    return found


def _one(objects: list[Object]) -> Object | None:
    return objects[0] if objects else None
