"""Queue and usage of every Worker, every ten seconds: what the status shows, what pods cost, and pools to wake."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from arklex_operator.cluster.api import Api
from arklex_operator.cluster.broker import RedisFailed
from arklex_operator.cluster.errors import ApiError
from arklex_operator.cluster.queues import Key, Queues
from arklex_operator.load.usage import Usage, read_pod, usage
from arklex_operator.manifests.kinds import Object
from arklex_operator.manifests.names import OURS
from arklex_operator.reconcile.worker import Figures

INTERVAL = 10.0
USAGE_PATH = "/apis/metrics.k8s.io/v1beta1"

log = logging.getLogger("arklex.operator.figures")


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
        queues: Queues,
        namespaces: Sequence[str],
        workers: Callable[[], Sequence[Key]],
        pods: Callable[[str, str], list[Object]],
        read: Callable[[Key, Figures], Awaitable[None]],
        *,
        interval: float = INTERVAL,
    ) -> None:
        self._api, self._queues, self._namespaces = api, queues, namespaces
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
        await self._queues.read(keys)
        self._queues.forget(keys)
        for key in keys:
            if (queue := self._queues.of(key)) is not None:
                await self._read(key, Figures(queue.queued, queue.in_flight, usage_of(self._pods(*key), measured)))
