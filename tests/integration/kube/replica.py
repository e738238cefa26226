"""A small replica for tests of ``kube``: a real RunHost over a real journal, with Python handlers as workers.

Who lives and which object a run comes from is shared in memory between the replicas of one test, a ``World``.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from arklex_api.base import JSON
from arklex_runtime import Orchestrator
from arklex_runtime.engine.events import Event
from arklex_runtime.engine.program import Program
from arklex_runtime.engine.state import RunState
from arklex_runtime.errors import Fenced, RunFinished, RunNotFound
from arklex_runtime.kube.ports import GraphSummary, Listener, Origin, OwnedRun, RunRecord
from arklex_runtime.orchestrator.driver import RunDriver
from arklex_runtime.orchestrator.host import RunHost
from arklex_runtime.orchestrator.requests import Request
from arklex_runtime.state.records import RunRow


@dataclass
class World:
    """What replicas share beside the journal."""

    living: list[str] = field(default_factory=list)
    origins: dict[str, Origin] = field(default_factory=dict)
    leases: dict[str, str] = field(default_factory=dict)
    counted: list[tuple[str, str, str]] = field(default_factory=list)


class SmallReplica:
    """Implements ``kube.ports.Replica``."""

    def __init__(self, name: str, world: World, orchestrator: Orchestrator, host: RunHost) -> None:
        self.name = name
        self.most_runs = 1000
        self.started: list[str] = []
        self._world = world
        self._orchestrator = orchestrator
        self._host = host
        self._listeners: list[Listener] = []
        host.observer = self._heard
        world.living.append(name)

    @classmethod
    async def open(cls, name: str, world: World, db: str, **workers: Any) -> SmallReplica:
        orchestrator = Orchestrator(db=db)
        for worker, handler in workers.items():
            orchestrator.add_worker(worker, handler)
        return cls(name, world, orchestrator, await orchestrator.host())

    async def aclose(self) -> None:
        """Leave as a replica that dies does: what it runs is anybody's."""
        if self.name in self._world.living:
            self._world.living.remove(self.name)
        await self._orchestrator.aclose()

    def _heard(self, driver: RunDriver, event: Event) -> None:
        origin = self._world.origins.get(driver.run_id, Origin())
        run = OwnedRun(driver.run_id, driver.program.namespace, driver.program.root, origin)
        for listener in self._listeners:
            listener(run, driver.state, event)

    def now(self) -> float:
        return self._host.now()

    def rank(self, key: str) -> int:
        order = sorted(self._world.living, key=lambda name: hashlib.sha256(f"{key}/{name}".encode()).digest())
        return order.index(self.name) if self.name in order else len(order)

    @property
    def replicas(self) -> int:
        return max(1, len(self._world.living))

    @property
    def room(self) -> int:
        return self.most_runs - len(self._host.runs)

    def mute(self) -> None:
        """Die as far as reports go."""
        self._listeners.clear()

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def state(self, run_id: str) -> RunState | None:
        driver = self._host.runs.get(run_id)
        return driver.state if driver is not None else None

    async def start(self, program: Program, request: Request, origin: Origin) -> str:
        if request.run_id in self._host.runs or await self._host.journal.load(request.run_id or ""):
            raise Fenced(request.run_id or "")
        assert request.run_id is not None
        self._world.origins.setdefault(request.run_id, origin)
        await self._host.start(program, request)
        self.started.append(request.run_id)
        return request.run_id

    async def resume(self, run_id: str) -> None:
        """Take a run over."""
        await self._host.resume(run_id)

    async def fold(self, run_id: str) -> RunState:
        return (await self._host.stored(run_id))[2]

    async def cancel(self, run_id: str, reason: str, key: str) -> None:
        with contextlib.suppress(RunFinished, RunNotFound):
            await self._host.journal.add_signal(run_id, "cancel", {"reason": reason}, key)

    async def approve(self, run_id: str, task: str, *, approved: bool, by: str | None, data: JSON) -> None:
        await self._host.approve(run_id, task, approved=approved, by=by, data=data)

    def _record(self, row: RunRow) -> RunRecord:
        origin = self._world.origins.get(row.run_id, Origin())
        uids = origin.graph_uid, origin.object_uid
        return RunRecord(row.run_id, row.namespace, row.graph, row.phase, *uids, row.started_at, row.finished_at)

    async def _rows(self, namespace: str | None = None, graph: str | None = None) -> list[RunRecord]:
        rows = await self._host.journal.list_runs(graph=graph, limit=100_000, namespace=namespace)
        return [self._record(row) for row in rows]

    async def records(self, *, object_uids: Sequence[str] = (), run_ids: Sequence[str] = ()) -> list[RunRecord]:
        return [row for row in await self._rows() if row.object_uid in object_uids or row.run_id in run_ids]

    async def unfinished(self, namespaces: Sequence[str]) -> list[RunRecord]:
        rows = await self._rows()
        return [row for row in rows if row.finished_at is None and (not namespaces or row.namespace in namespaces)]

    async def summary(self, namespace: str, graph: str, graph_uid: str) -> GraphSummary:
        rows = [row for row in await self._rows(namespace, graph) if row.graph_uid == graph_uid]
        ended = [row.phase for row in rows if row.finished_at is not None]
        well = ended.count("Succeeded")
        return GraphSummary(len(rows) - len(ended), well, len(ended) - well, rows[0] if rows else None)

    async def counted(self) -> list[tuple[str, str, str]]:
        return list(self._world.counted)

    async def forget(self, graph_uid: str) -> None:
        self._world.counted = [each for each in self._world.counted if each[0] != graph_uid]

    async def lease(self, uid: str) -> bool:
        return self._world.leases.setdefault(uid, self.name) == self.name

    async def give_up(self, uid: str) -> None:
        if self._world.leases.get(uid) == self.name:
            del self._world.leases[uid]
