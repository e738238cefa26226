"""One replica of the runtime as its rooms see it: it starts runs and answers for all of them, whoever owns them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from arklex_api.base import JSON
from arklex_runtime.engine.events import Event
from arklex_runtime.engine.program import Program
from arklex_runtime.engine.state import RunState
from arklex_runtime.errors import ConflictError, Overloaded, RunFinished, RunNotFound
from arklex_runtime.kube.ports import GraphSummary, Listener, Origin, OwnedRun, RunRecord
from arklex_runtime.orchestrator.driver import RunDriver
from arklex_runtime.orchestrator.host import TERMINAL, RunHost
from arklex_runtime.orchestrator.requests import Request
from arklex_runtime.service.metrics import Metrics
from arklex_runtime.service.rank import rank
from arklex_runtime.state import records
from arklex_runtime.state.replicas import ReplicaJournal

STATUS_LEASE = 10.0
"""Seconds for which one replica is the writer of an object's status."""

log = logging.getLogger("arklex.runtime")


class LocalReplica:
    """``kube.ports.Replica``, and what the door asks. ``members`` are the living replicas, kept fresh by the takeover."""

    def __init__(self, host: RunHost, journal: ReplicaJournal, metrics: Metrics, most_runs: int) -> None:
        self.host = host
        self.journal = journal
        self.metrics = metrics
        self.members: list[str] = [journal.owner]
        self.draining = False
        self.crowded = False
        """Whether memory is short; kept fresh by the housekeeping."""
        self.starting: set[str] = set()
        self._most_runs = most_runs
        self._listeners: list[Listener] = []
        self._accepting: dict[str, asyncio.Future[None]] = {}
        self._endings: set[Callable[[str], None]] = set()
        host.observer = self._observed
        journal.timed = metrics.commits.observe

    def now(self) -> float:
        """Epoch seconds."""
        return self.host.now()

    def rank(self, key: str) -> int:
        """This replica's place among the living ones for ``key``: 0 acts, the others wait."""
        return rank(key, self.journal.owner, self.members)

    @property
    def replicas(self) -> int:
        """Living replicas, this one included."""
        return max(1, len(self.members))

    @property
    def room(self) -> int:
        """How many more runs this replica takes now."""
        if self.draining or self.crowded:
            return 0
        return max(0, self._most_runs - len(self.host.runs) - len(self.starting))

    def listen(self, listener: Listener) -> None:
        """Tell ``listener`` of every durable event of every run that this replica owns."""
        self._listeners.append(listener)

    def state(self, run_id: str) -> RunState | None:
        """The state of a run that this replica owns now; it may be ahead of what is durable."""
        driver = self.host.runs.get(run_id)
        return None if driver is None else driver.state

    def check_room(self) -> None:
        """Raises Overloaded while this replica takes no more runs."""
        if self.draining:
            raise Overloaded("this replica is going down: ask again", 1.0)
        if self.crowded:
            raise Overloaded("this replica is short of memory: ask again", 2.0)
        if self.room <= 0:
            raise Overloaded(f"this replica drives {self._most_runs} runs already, as many as it may", 2.0)

    async def start(self, program: Program, request: Request, origin: Origin) -> str:
        """Accept a run, durably; returns its id. Raises ConflictError when ``request.run_id`` is taken, Overloaded, and what
        ``RunHost.start`` raises."""
        self.check_room()
        name = request.run_id
        if name is not None and (name in self.host.runs or name in self.starting):
            raise ConflictError(f"run '{name}' exists")
        token = name or f"?{id(request)}"
        self.starting.add(token)
        try:
            known = records.Origin(origin.graph_uid, origin.object_uid, name if origin.object_uid else None)
            driver = await self.host.start(program, replace(request, origin=known))
            accepted = self._accepting[driver.run_id] = self.host.loop.create_future()
            self.watch(driver)
            await accepted
        finally:
            self.starting.discard(token)
        return driver.run_id

    def watch(self, driver: RunDriver) -> None:
        """See to it that the end of a driver is counted, and that nobody waits for one that was broken off."""
        driver.ended.add_done_callback(lambda ended: self._over(driver, ended))

    def _over(self, driver: RunDriver, ended: asyncio.Future[str]) -> None:
        error: BaseException | None = None
        if ended.cancelled():
            error = Overloaded("this replica is going down: ask again", 1.0)
        elif (error := ended.exception()) is not None:
            self.metrics.broken.inc()
            log.warning("run broken off here", extra={"run": driver.run_id, "error": str(error)})
        else:
            self.metrics.ended(driver, ended.result())
        waiting = self._accepting.pop(driver.run_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_exception(error or ConflictError("the run ended before it was accepted"))

    def _observed(self, driver: RunDriver, event: Event) -> None:
        waiting = self._accepting.pop(driver.run_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
        self.metrics.event(driver, event)
        if self._listeners:
            origin = Origin(driver.origin.graph_uid, driver.origin.object_uid)
            run = OwnedRun(driver.run_id, driver.program.namespace, driver.program.root, origin)
            for listener in self._listeners:
                listener(run, driver.state, event)

    async def fold(self, run_id: str) -> RunState:
        """The state of any run, folded from the journal. Raises RunNotFound."""
        return (await self.host.stored(run_id))[2]

    async def cancel(self, run_id: str, reason: str, key: str | None) -> None:
        """Ask a run to end, wherever it runs; again with the same ``key`` it changes nothing, nor for one that is over."""
        try:
            await self.journal.add_signal(run_id, "cancel", {"reason": reason}, key)
        except (RunNotFound, RunFinished):
            return

    async def approve(self, run_id: str, task: str, *, approved: bool, by: str | None, data: JSON) -> None:
        """Decide on an approval. Raises as RunHost.approve does."""
        await self.host.approve(run_id, task, approved=approved, by=by, data=data)

    async def records(self, *, object_uids: Sequence[str] = (), run_ids: Sequence[str] = ()) -> list[RunRecord]:
        """The runs of these TaskGraphRuns, and those with these ids, as far as they exist."""
        return [record(row) for row in await self.journal.records(object_uids=object_uids, run_ids=run_ids)]

    async def unfinished(self, namespaces: Sequence[str]) -> list[RunRecord]:
        """All runs that are not over, of these namespaces or (empty) of all."""
        return [record(row) for row in await self.journal.unfinished(namespaces)]

    async def summary(self, namespace: str, graph: str, graph_uid: str) -> GraphSummary:
        """Counts and last run of a TaskGraph."""
        found = await self.journal.counts(graph_uid)
        return GraphSummary(found.active, found.succeeded, found.failed, record(found.last) if found.last else None)

    async def counted(self) -> list[tuple[str, str, str]]:
        """(UID, namespace, name) of the TaskGraphs of whose runs only the counts are left."""
        return await self.journal.counted()

    async def forget(self, graph_uid: str) -> None:
        """Forget the counts of a TaskGraph that is gone."""
        await self.journal.forget_counts(graph_uid)

    async def lease(self, uid: str) -> bool:
        """Become, or stay, the one writer of this object's status for some seconds; False while another replica is."""
        return await self.journal.take_lease(f"status/{uid}", STATUS_LEASE)

    async def give_up(self, uid: str) -> None:
        """Let another replica write it."""
        await self.journal.drop_lease(f"status/{uid}")

    async def wait(self, run_id: str, seconds: float) -> bool:
        """Wait for the end of any run; whether it came in time. Raises RunNotFound."""
        deadline = self.host.loop.time() + seconds
        while (left := deadline - self.host.loop.time()) > 0 and not self.draining:
            driver = self.host.runs.get(run_id)
            if driver is not None:
                await asyncio.wait([driver.ended], timeout=min(left, 1.0))
            found = await self.journal.records(run_ids=[run_id])
            if not found:
                raise RunNotFound(run_id)
            if found[0].phase in TERMINAL:
                return True
            if driver is None:
                await asyncio.sleep(min(left, 0.25))
        return False


def record(row: records.RunRow) -> RunRecord:
    """A row as the kube room knows it."""
    return RunRecord(
        row.run_id,
        row.namespace,
        row.graph,
        row.phase,
        row.graph_uid,
        row.object_uid,
        row.started_at,
        row.finished_at,
    )
