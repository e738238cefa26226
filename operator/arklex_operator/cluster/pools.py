"""Workers' pools between reconciles: which figures their status shows, how large they are, and that none sleeps over work."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from arklex_api.worker import Worker
from arklex_operator.cluster.costs import Size
from arklex_operator.cluster.errors import ApiError
from arklex_operator.cluster.execute import scaled
from arklex_operator.cluster.hub import Hub
from arklex_operator.cluster.store import Key, Shelf, key_of
from arklex_operator.manifests.kinds import WORKER, Object
from arklex_operator.manifests.names import child_name
from arklex_operator.reconcile.plan import Say, Scale
from arklex_operator.reconcile.wake import wakes
from arklex_operator.reconcile.worker import Figures
from arklex_operator.reconcile.worker_status import load_of, worth_telling

log = logging.getLogger("arklex.operator.pools")


class Pools:
    """Figures of all pools. ``pods_of`` gives a Worker's pods; ``parse`` a Worker as it was read, None if it cannot be."""

    def __init__(
        self,
        hub: Hub,
        workers: Shelf,
        deployments: Shelf,
        pods_of: Callable[[str, str], list[Object]],
        parse: Callable[[Object], Worker | None],
    ) -> None:
        self._hub = hub
        self._workers, self._deployments = workers, deployments
        self._pods_of, self._parse = pods_of, parse
        self.shown: dict[Key, Figures] = {}
        self._newest: dict[Key, Figures] = {}
        self._waiting: dict[Key, float] = {}
        self._known: dict[Key, tuple[Any, Worker | None]] = {}

    async def read(self, key: Key, figures: Figures) -> None:
        """Take in new figures: wakes the Worker if its status should show them, and its pool if nothing else does."""
        self._newest[key] = figures
        worker, deployment = self._spec_of(key), self._deployments.get(key[0], child_name(key[1]))
        if worker is None:
            return
        pods, shown = self._pods_of(*key), self.shown.get(key)
        loads = [load_of(worker, pods, deployment, each or figures) or 0.0 for each in (shown, figures)]
        if shown is None or worth_telling(shown, figures, *loads):
            self.shown[key] = figures
            self._hub.wake(WORKER.name, *key)
        if deployment is not None:
            await self._wake_pool(key, worker, deployment, figures.queued or 0)

    def sizes(self) -> Iterator[Size]:
        """Every pool as it is known."""
        for key in [key_of(worker) for worker in self._workers]:
            worker, deployment = self._spec_of(key), self._deployments.get(key[0], child_name(key[1]))
            pods, figures = self._pods_of(*key), self._newest.get(key)
            if worker is None or deployment is None or figures is None:
                continue
            load = load_of(worker, pods, deployment, figures)
            if load is not None:
                yield Size(worker, (deployment.get("spec") or {}).get("replicas", 1), load, pods)

    async def _wake_pool(self, key: Key, worker: Worker, deployment: Object, queued: int) -> None:
        """Set a pool at zero pods that has had work for a minute to one."""
        desired = (deployment.get("spec") or {}).get("replicas", 1)
        if desired or not queued:
            self._waiting.pop(key, None)
            return
        waited = time.monotonic() - self._waiting.setdefault(key, time.monotonic())
        if not wakes(worker.spec.scaling, desired=desired, queued_for=waited):
            return
        metadata = deployment["metadata"]
        try:
            self._hub.seen(await scaled(self._hub.api, Scale(key[0], metadata["name"], 1, metadata["resourceVersion"])))
        except ApiError as error:  # somebody was faster, or the next look tries again
            log.warning("a pool was not woken", extra={"namespace": key[0], "object": key[1], "error": str(error)})
            return
        if (about := self._workers.get(*key)) is not None:
            note = "tasks have waited for a minute at no pods, and no metric woke the pool: it was set to one pod"
            await self._hub.events.tell(about, Say("Warning", "WokenWithoutMetric", note, "Scale"))

    def forget(self, key: Key) -> None:
        """Drop a Worker that is gone."""
        for known in (self.shown, self._newest, self._waiting, self._known):
            known.pop(key, None)

    def _spec_of(self, key: Key) -> Worker | None:
        """The Worker as it was read; read once for each generation."""
        value = self._workers.get(*key)
        if value is None:
            return None
        version = (value["metadata"].get("uid"), value["metadata"].get("generation"))
        known = self._known.get(key)
        if known is None or known[0] != version:
            known = self._known[key] = (version, self._parse(value))
        return known[1]
