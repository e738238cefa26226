"""What the operator does about the size of a pool besides its HPA: which pods go first, and waking a pool at zero pods."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import orjson
from redis.asyncio import Redis

from arklex_api.worker import Worker
from arklex_operator.cluster.api import Api
from arklex_operator.cluster.errors import ConflictError, NotFoundError
from arklex_operator.cluster.queues import Key
from arklex_operator.manifests.kinds import DEPLOYMENT, POD, Object
from arklex_operator.reconcile.costs import ANNOTATION, INTERVAL, costs_to_write, nears_shrink
from arklex_operator.reconcile.wake import wakes


class Steering:
    """Remembers what was written to pods, and since when work has waited for pools at zero. ``clock``: monotonic seconds."""

    def __init__(self, api: Api, redis: Redis, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._redis, self._clock = api, redis, clock
        self._written: dict[str, float] = {}
        self._waiting: dict[Key, float] = {}

    async def cost(self, worker: Worker, desired: int, load: float, pods: Sequence[Mapping[str, Any]]) -> int:
        """Write the deletion costs that changed, if the pool may soon shrink; returns how many.

        ``pods`` are the Worker's. Raises ApiError, redis.RedisError or OSError.
        """
        if not nears_shrink(load, worker.spec.scaling, desired):
            return 0
        now = self._clock()
        self._written = {pod: at for pod, at in self._written.items() if now - at < INTERVAL}
        staying = {each["metadata"]["name"]: each["metadata"] for each in pods if not each["metadata"].get("deletionTimestamp")}
        annotated = {name: (each.get("annotations") or {}).get(ANNOTATION) for name, each in staying.items()}
        written = {name: at for name, each in staying.items() if (at := self._written.get(each["uid"])) is not None}
        held = await self._held(worker)
        costs = costs_to_write(held, annotated, written, now, worker.spec.concurrency)
        for name, cost in costs.items():
            self._written[staying[name]["uid"]] = now
            try:
                await self._api.patch(POD, worker.metadata.namespace, name, {"metadata": {"annotations": {ANNOTATION: cost}}})
            except NotFoundError:
                continue
        return len(costs)

    async def wake(self, worker: Worker, deployment: Mapping[str, Any], queued: int) -> Object | None:
        """Set spec.replicas to 1 where work has waited for a minute at zero pods; returns the Deployment then.

        ``queued`` is to be given at every look, also while there is nothing to do. Raises ApiError.
        """
        key, now = (worker.metadata.namespace, worker.metadata.name), self._clock()
        desired = int((deployment.get("spec") or {}).get("replicas", 1))
        if desired > 0 or queued == 0:
            self._waiting.pop(key, None)
            return None
        since = self._waiting.setdefault(key, now)
        if not wakes(worker.spec.scaling, desired=desired, queued_for=now - since):
            return None
        metadata = deployment["metadata"]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": {"replicas": 1}}
        try:
            return await self._api.patch(DEPLOYMENT, metadata["namespace"], metadata["name"], body)
        except ConflictError:  # somebody was faster: the next look tells
            return None

    def forget(self, living: Collection[Key]) -> None:
        """Drop Workers that are gone."""
        self._waiting = {key: since for key, since in self._waiting.items() if key in living}

    async def _held(self, worker: Worker) -> dict[str, int]:
        """How many attempts each pod says that it holds. What is no heartbeat counts as nothing held."""
        key = f"arklex:{{{worker.metadata.namespace}}}:pods:{worker.metadata.name}"
        beats: dict[Any, Any] = await self._redis.hgetall(key)
        return {_text(pod): _count(beat) for pod, beat in beats.items()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _count(beat: Any) -> int:
    try:
        held = orjson.loads(beat).get("held")
    except (ValueError, AttributeError):
        return 0
    return len(held) if isinstance(held, list) else 0
