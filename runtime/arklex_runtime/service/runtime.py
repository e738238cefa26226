"""A replica of the runtime, put together: from its settings to its last word."""

from __future__ import annotations

import asyncio
import logging
import time

from aiohttp import web

from arklex_runtime.dispatch.jobs import Dispatcher
from arklex_runtime.dispatch.streams.dispatcher import StreamsDispatcher
from arklex_runtime.errors import DatabaseUnavailable
from arklex_runtime.gateway.door import Door
from arklex_runtime.gateway.token import Token
from arklex_runtime.orchestrator.host import RunHost
from arklex_runtime.orchestrator.remote import RemoteBench
from arklex_runtime.service.desk import RuntimeDesk
from arklex_runtime.service.housekeeping import PARKING, RETENTION, Memory, Parking, Retention, every
from arklex_runtime.service.metrics import Metrics
from arklex_runtime.service.ports import Cluster
from arklex_runtime.service.replica import LocalReplica
from arklex_runtime.service.settings import Settings
from arklex_runtime.service.takeover import Takeover
from arklex_runtime.state.replicas import ReplicaJournal, open_replica
from arklex_runtime.state.results import ResultCache

STALLED = 120.0
"""Seconds without a round of the takeover after which only a restart helps: each of its steps is bounded by the patience."""
SILENT = 3.0
"""Leases without the journal's word after which the replica is unready."""
PATIENCE = 15.0
"""Seconds for which the journal is tried again when it does not answer."""
LEAVE = 12.0
"""Seconds that a replica takes at most to leave."""

log = logging.getLogger("arklex.runtime")


class Runtime:
    """``run`` until ``stop`` is set: then nothing more is taken, what happened is committed, every run is let go at once."""

    def __init__(self, settings: Settings, stop: asyncio.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._metrics = Metrics(lambda: len(self._replica.host.runs) if self._replica else 0)
        self._replica: LocalReplica | None = None
        self._cluster: Cluster | None = None
        self._beat = time.monotonic()
        self._runners: list[web.AppRunner] = []
        self.ports: dict[str, int] = {}

    def healthy(self) -> str | None:
        """Why a restart would help; None where it would not."""
        if self._replica is None:
            return None
        if time.monotonic() - self._beat > STALLED:
            return "the takeover has stalled"
        if self._cluster is not None and not self._cluster.healthy:
            return "a watch of the API server has stalled"
        return None

    def ready(self) -> str | None:
        """Why it should not be asked; None where it should."""
        if self._replica is None or self._cluster is None:
            return "starting"
        if self._replica.draining:
            return "going down"
        if not self._cluster.synced:
            return "the objects are not all known yet"
        if time.monotonic() - self._replica.journal.confirmed > SILENT * self._settings.lease:
            return "the journal does not answer"
        return None

    async def run(self) -> None:
        """Serve until told to stop. Raises SettingsError, OSError (a port is taken), DatabaseUnavailable (for good)."""
        from arklex_runtime.pod.web import serve

        ops, self.ports["metrics"] = await serve(self._settings.ops_port, self.healthy, self.ready, self._metrics.text)
        self._runners.append(ops)
        try:
            journal = await self._journal()
            if journal is not None:
                await self._serve(journal)
        finally:
            for runner in self._runners:
                await runner.cleanup()

    async def _journal(self) -> ReplicaJournal | None:
        """The journal, waited for; None if told to stop meanwhile."""
        settings, wait = self._settings, 0.5
        while not self._stop.is_set():
            try:
                return await open_replica(settings.journal, lease=settings.lease, name=settings.pod, patience=PATIENCE)
            except DatabaseUnavailable as error:
                if error.cause not in ("locked", "unreachable"):
                    raise
                log.warning("waiting for the journal", extra={"error": str(error)})
            await self._stopped(wait)
            wait = min(5.0, 2 * wait)
        return None

    async def _stopped(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    async def _serve(self, journal: ReplicaJournal) -> None:
        settings = self._settings
        bench = RemoteBench(ResultCache())
        dispatcher: Dispatcher = StreamsDispatcher(settings.redis, bench.route_of, lease=settings.lease, name=settings.pod)
        host = RunHost(journal, bench, dispatcher=dispatcher)
        replica = LocalReplica(host, journal, self._metrics, settings.most_runs)
        cluster = await self._objects(replica)
        try:
            async with asyncio.TaskGroup() as group:
                takeover = Takeover(replica, group)
                takeover.told = cluster.taken_over
                loops = [
                    group.create_task(takeover.run(self._beaten)),
                    group.create_task(cluster.run()),
                    group.create_task(every(PARKING, Parking(replica, settings.park_after).look)),
                    group.create_task(every(PARKING, Memory(replica).look)),
                    group.create_task(every(RETENTION, Retention(replica, settings).look)),
                ]
                door = Door(RuntimeDesk(replica, cluster), Token(settings.token), self._count)
                await self._open(door.app)
                self._replica, self._cluster = replica, cluster
                log.info("running", extra={"owner": journal.owner, "pod": settings.pod, **self.ports})
                await self._stopped(None)
                replica.draining = True
                log.info("going down", extra={"runs": len(host.runs)})
                for task in (*loops, *takeover.tasks):
                    task.cancel()
        finally:
            replica.draining = True
            await self._leave(replica, cluster)

    async def _objects(self, replica: LocalReplica) -> Cluster:
        settings = self._settings
        if settings.manifests is not None:
            from arklex_runtime.service.folder import FolderCluster

            return FolderCluster(settings.manifests, settings.namespace)
        from arklex_runtime.kube.api import Api
        from arklex_runtime.kube.link import ClusterLink
        from arklex_runtime.kube.measures import LinkCollector

        link = ClusterLink(
            replica,
            await Api.connect(settings.kubeconfig),
            namespaces=settings.namespaces,
            writes_per_second=settings.writes_per_second,
            instance=settings.pod,
        )
        self._metrics.registry.register(LinkCollector(link))
        return link

    async def _open(self, app: web.Application) -> None:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, None, self._settings.door_port).start()
        self.ports["door"] = int(runner.addresses[0][1])

    async def _leave(self, replica: LocalReplica, cluster: Cluster) -> None:
        """Let every run go at once, so that the others take them over now; where that fails they notice by themselves."""
        try:
            async with asyncio.timeout(LEAVE):
                handed = await replica.host.hand_over()
                log.info("runs handed over", extra={"runs": len(handed)})
                await cluster.aclose()
                await replica.host.aclose()
        except (DatabaseUnavailable, TimeoutError) as error:
            log.warning("the runs were not handed over: the others will notice", extra={"error": str(error)})

    def _beaten(self) -> None:
        self._beat = time.monotonic()

    def _count(self, route: str, status: int) -> None:
        self._metrics.requests.labels(route, str(status)).inc()
