"""The operator as a process: stand by, lead, watch and reconcile, stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from arklex_operator.cluster.api import Api
from arklex_operator.cluster.ending import end
from arklex_operator.cluster.errors import ApiError
from arklex_operator.cluster.events import Events
from arklex_operator.cluster.hub import Hub
from arklex_operator.cluster.leader import Leader, end_process
from arklex_operator.cluster.monitoring import Monitoring
from arklex_operator.handlers.probes import Probes
from arklex_operator.handlers.queue import WorkQueue
from arklex_operator.handlers.watchdog import Watchdog
from arklex_operator.handlers.watches import watch
from arklex_operator.manifests.kinds import TASK_GRAPH, TASK_GRAPH_RUN, WORKER
from arklex_operator.settings import Settings

log = logging.getLogger("arklex.operator")

Controller = Callable[[Hub], None]
"""Sets a controller up: it asks the hub for watches, reconciles and tasks."""


class Operator:
    """One process. ``run`` returns when ``stop`` is set, and raises what must end the process.

    ``take_signals`` is called when kopf has taken the process' signals, to have them back.
    """

    def __init__(
        self,
        settings: Settings,
        api: Api,
        monitoring: Monitoring,
        controllers: list[Controller],
        *,
        take_signals: Callable[[], None] = lambda: None,
        on_loss: Callable[[], object] = end_process,
        host: str | None = None,
    ) -> None:
        self.settings = settings
        self.take_signals = take_signals
        self.hub = Hub(settings, api, Events(api, settings.pod_name, monitoring), monitoring)
        self.leader = Leader(
            api, settings.pod_namespace, settings.leader_lease, settings.pod_name, settings.leader_seconds, on_loss
        )
        self.probes = Probes(monitoring.registry, settings.health_port, settings.metrics_port, host)
        self.ports = (0, 0)
        self.watching = asyncio.Event()
        for controller in controllers:
            controller(self.hub)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve probes, wait to lead, lead until ``stop``; the Lease is given back last."""
        self.ports = await self.probes.start()
        try:
            if await self._until(stop, self._stand_by()):
                self.hub.monitoring.leader.set(1)
                await self._lead(stop)
        finally:
            self.hub.monitoring.leader.set(0)
            await self.leader.release()
            await self.probes.aclose()

    async def _stand_by(self) -> None:
        log.info("standing by", extra={"identity": self.leader.identity})
        await self.leader.acquire()

    async def _lead(self, stop: asyncio.Event) -> None:
        queues = [WorkQueue(reconciler, self.hub.monitoring, width=width) for reconciler, width in self.hub.reconcilers]
        self.hub.queues |= {queue.kind: queue for queue in queues}
        if not await self._until(stop, self._prime()):
            return
        watches = list(self.hub.watches.values())
        dog = Watchdog(self.hub.api, watches, self.settings.namespaces)
        self.probes.health.append(lambda: dog.dead)
        self.probes.health.extend(queue.stalled for queue in queues)
        self.probes.ready.append(lambda: None if self.watching.is_set() else "watches have not begun")
        ended = asyncio.Event()
        tasks = [asyncio.create_task(each) for each in (*(queue.run() for queue in queues), dog.run())]
        tasks += [asyncio.create_task(_kept_up(task)) for task in self.hub.tasks]
        kopf_ = asyncio.create_task(
            watch(watches, self.settings.namespaces, self.hub.monitoring, self.watching, ended, self.take_signals)
        )
        waiting = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([waiting, kopf_, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.hub.queues.clear()
            await end([waiting, *tasks])
            ended.set()
            await kopf_
        for task in done - {waiting, kopf_}:
            task.result()
        if waiting not in done:
            log.info("the watches have ended")

    async def _prime(self) -> None:
        """Wait for the CRDs and for the first list of everything."""
        delay = 1.0
        while True:
            try:
                served = await self.hub.api.raw(f"/apis/{WORKER.api_version}")
                names = {each["name"] for each in (served or {}).get("resources") or ()}
                missing = {kind.plural for kind in (WORKER, TASK_GRAPH, TASK_GRAPH_RUN)} - names
                if not missing:
                    await self.hub.prime()
                    return
                log.warning("waiting for CRDs", extra={"missing": sorted(missing)})
            except ApiError as error:
                log.warning("the first list failed", extra={"error": str(error)})
            await asyncio.sleep(delay)
            delay = min(30.0, delay * 2)

    async def _until(self, stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
        """Do ``work`` unless ``stop`` is set first; whether it was done."""
        task, waiting = asyncio.create_task(work), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                return False
            task.result()
            return True
        finally:
            await end([task, waiting])


async def _kept_up(task: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``task`` until cancelled; one that fails begins again, since the others do not depend on it."""
    while True:
        try:
            await task()
        except Exception:
            log.exception("a task failed and begins again", extra={"task": getattr(task, "__qualname__", "")})
        await asyncio.sleep(5.0)
