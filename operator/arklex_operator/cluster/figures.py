"""Queue and usage of every Worker, every ten seconds: what the status shows, what pods cost, and pools to wake."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from arklex_operator.cluster.api import Api
from arklex_operator.cluster.broker import RedisFailed
from arklex_operator.cluster.errors import ApiError
from arklex_operator.cluster.store import Key
from arklex_operator.load.usage import Usage, read_pod, usage
from arklex_operator.manifests.kinds import Object
from arklex_operator.manifests.names import OURS
from arklex_operator.reconcile.worker import Figures

INTERVAL = 10.0
GROUP = "pool"
USAGE_PATH = "/apis/metrics.k8s.io/v1beta1"

log = logging.getLogger("arklex.operator.figures")


def jobs_key(namespace: str, worker: str) -> str:
    """The stream of a Worker's attempts."""
    return f"arklex:{{{namespace}}}:jobs:{worker}"


def pods_key(namespace: str, worker: str) -> str:
    """The hash of its pods' heartbeats."""
    return f"arklex:{{{namespace}}}:pods:{worker}"


async def queues(redis: Redis, keys: Sequence[Key]) -> dict[Key, tuple[int, int]]:
    """(queued, in flight) of Workers; those whose stream cannot be read are left out. Raises RedisFailed."""
    if not keys:
        return {}
    pipeline = redis.pipeline(transaction=False)
    for namespace, worker in keys:
        pipeline.xlen(jobs_key(namespace, worker))
        pipeline.xpending(jobs_key(namespace, worker), GROUP)
    answers: list[Any] = await pipeline.execute(raise_on_error=False)
    found = {}
    for key, length, pending in zip(keys, answers[::2], answers[1::2], strict=True):
        if isinstance(length, int):
            flying = pending.get("pending", 0) if isinstance(pending, dict) else 0
            found[key] = (max(0, length - flying), flying)
    return found


async def samples(api: Api, namespaces: Sequence[str]) -> dict[Key, Object] | None:
    """PodMetrics of Workers' pods by namespace and name; None where metrics.k8s.io is not served."""
    found: dict[Key, Object] = {}
    paths = [f"{USAGE_PATH}/namespaces/{each}/pods" for each in namespaces] or [f"{USAGE_PATH}/pods"]
    try:
        for path in paths:
            page = await api.call("GET", path, [("labelSelector", OURS)])
            for item in page.get("items") or ():
                found[item["metadata"]["namespace"], item["metadata"]["name"]] = item
    except ApiError as error:
        log.debug("no usage", extra={"error": str(error)})
        return None
    return found


def usage_of(pods: Iterable[Object], measured: Mapping[Key, Object] | None) -> Usage | None:
    """The usage of one Worker's pods."""
    if measured is None:
        return None
    pods = list(pods)
    mine = {
        pod["metadata"]["name"]: sample
        for pod in pods
        if (sample := measured.get((pod["metadata"]["namespace"], pod["metadata"]["name"]))) is not None
    }
    return usage([read_pod(pod) for pod in pods], mine)


class Meter:
    """Reads figures on and on. ``workers`` names them all, ``pods`` gives one's pods; ``read`` is told each new Figures."""

    def __init__(
        self,
        api: Api,
        redis: Redis,
        namespaces: Sequence[str],
        workers: Callable[[], Sequence[Key]],
        pods: Callable[[str, str], list[Object]],
        read: Callable[[Key, Figures], object],
        *,
        interval: float = INTERVAL,
    ) -> None:
        self._api, self._redis, self._namespaces = api, redis, namespaces
        self._workers, self._pods, self._read = workers, pods, read
        self._interval = interval

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            began = time.monotonic()
            try:
                await self.once()
            except RedisFailed as error:
                log.warning("no figures from Redis", extra={"error": str(error)})
            await asyncio.sleep(max(0.0, self._interval - (time.monotonic() - began)))

    async def once(self) -> None:
        """Read all figures once. Raises RedisFailed."""
        keys = self._workers()
        measured = await samples(self._api, self._namespaces) if keys else None
        found = await queues(self._redis, keys)
        for key in keys:
            if key in found:
                queued, flying = found[key]
                self._read(key, Figures(queued, flying, usage_of(self._pods(*key), measured)))
