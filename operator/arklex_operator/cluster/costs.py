"""Which pods a pool that may soon shrink loses first: written to the pods as controller.kubernetes.io/pod-deletion-cost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from arklex_api.worker import Worker
from arklex_operator.cluster.api import Api
from arklex_operator.cluster.errors import ApiError, NotFoundError
from arklex_operator.cluster.queues import GROUP, absent, stream
from arklex_operator.manifests.kinds import POD
from arklex_operator.reconcile.costs import ANNOTATION, INTERVAL, costs_to_write, nears_shrink

LOOK = 5.0
"""Seconds between two looks at the pools."""

log = logging.getLogger("arklex.operator.costs")


@dataclass(frozen=True, slots=True)
class Size:
    """A Worker's pool: spec.replicas, load, the Worker's pods as objects."""

    worker: Worker
    desired: int
    load: float
    pods: Sequence[Mapping[str, Any]]


class Costs:
    """Writes deletion costs. ``pools`` gives all pools as they are known; ``clock`` is monotonic, in seconds."""

    def __init__(
        self, api: Api, redis: Redis, pools: Callable[[], Iterable[Size]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api, self._redis, self._pools, self._clock = api, redis, pools, clock
        self._written: dict[str, float] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            for size in list(self._pools()):
                await self._try(size)
            await asyncio.sleep(LOOK)

    async def before_shrinking(self, namespace: str, name: str) -> None:
        """Write a pool's costs now, also to pods that were just written to: who shrinks it is told to only afterwards.

        What stands against it is logged.
        """
        for size in list(self._pools()):
            if (size.worker.metadata.namespace, size.worker.metadata.name) == (namespace, name):
                await self._try(size, at_once=True)

    async def _try(self, size: Size, *, at_once: bool = False) -> None:
        try:
            await self.write(size, at_once=at_once)
        except (ApiError, RedisError, OSError) as error:
            log.warning("deletion costs are not written", extra={"worker": size.worker.metadata.name, "error": str(error)})

    async def write(self, size: Size, *, at_once: bool = False) -> int:
        """Write the costs that changed, if the pool may soon shrink; returns how many.

        A pod that was written to within INTERVAL is left alone, unless they must be right ``at_once``.
        Raises ApiError, redis.RedisError or OSError.
        """
        worker = size.worker
        if not nears_shrink(size.load, worker.spec.scaling, size.desired):
            return 0
        now = self._clock()
        self._written = {pod: at for pod, at in self._written.items() if now - at < INTERVAL}
        staying = {
            each["metadata"]["name"]: each["metadata"] for each in size.pods if not each["metadata"].get("deletionTimestamp")
        }
        annotated = {name: (each.get("annotations") or {}).get(ANNOTATION) for name, each in staying.items()}
        written = {name: at for name, each in staying.items() if (at := self._written.get(each["uid"])) is not None}
        if at_once:
            written = {}
        costs = costs_to_write(await self._held(worker), annotated, written, now, worker.spec.concurrency)
        for name, cost in costs.items():
            self._written[staying[name]["uid"]] = now
            try:
                await self._api.patch(POD, worker.metadata.namespace, name, {"metadata": {"annotations": {ANNOTATION: cost}}})
            except NotFoundError:
                continue
        return len(costs)

    async def _held(self, worker: Worker) -> dict[str, int]:
        """How many attempts each pod holds: it says so in heartbeats, which may be old, and has claimed them from the stream.

        The larger counts: a Redis that was emptied knows of no claims. What is no heartbeat counts as nothing held.
        """
        namespace, name = worker.metadata.namespace, worker.metadata.name
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hgetall(f"arklex:{{{namespace}}}:pods:{name}")
            pipeline.xpending(stream((namespace, name)), GROUP)
            beats, pending = await pipeline.execute(raise_on_error=False)
        if isinstance(beats, Exception):
            raise beats
        if isinstance(pending, Exception) and not absent(pending):
            raise pending
        held = {_text(pod): _count(beat) for pod, beat in beats.items()}
        for claims in () if isinstance(pending, Exception) else pending["consumers"]:
            pod = _text(claims["name"])
            held[pod] = max(held.get(pod, 0), int(claims["pending"]))
        return held


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _count(beat: Any) -> int:
    try:
        held = orjson.loads(beat).get("held")
    except (ValueError, AttributeError):
        return 0
    return len(held) if isinstance(held, list) else 0
