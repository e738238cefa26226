"""TaskGraphRuns become runs: started by one replica, cancelled and approved as their spec says, ended with their object.

By level: ``look`` reads what the cache has and asks the replica for what is missing; it may be done again at any time, by
several replicas at once. The run's id comes from the object, and a cancel has one key in the journal, so that nothing happens
twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from arklex_api.durations import seconds
from arklex_api.run import TaskGraphRun, TaskGraphRunSpec
from arklex_runtime.errors import (
    AlreadyDecided,
    ArklexError,
    ConflictError,
    DatabaseUnavailable,
    GraphNotFoundError,
    NotFoundError,
    Overloaded,
    RunFinished,
    ValidationError,
    WorkerNotFoundError,
)
from arklex_runtime.kube.catalog import Catalog, GraphNotAccepted
from arklex_runtime.kube.conditions import TERMINAL
from arklex_runtime.kube.objects import Name, Objects, Run
from arklex_runtime.kube.ports import Origin, Replica
from arklex_runtime.kube.queueing import Queue
from arklex_runtime.observability.logs import get_logger
from arklex_runtime.orchestrator.requests import Request
from arklex_runtime.orchestrator.sources import tenant_session

TURN = 2.0
"""Seconds that each replica waits for the one before it in rank."""

GRAPH_PATIENCE = 30.0
"""Seconds that a run waits for its TaskGraph to be there: files of one ``kubectl apply`` come in any order."""

AGAIN = 1.0
"""Seconds until what did not succeed is looked at again."""

FULL = "the runtime drives as many runs as it may: this one waits for room, by spec.priority"

LONGEST = 10.0
"""Seconds at most between two looks of a run that waits for room."""

CANCEL = "cancel:object"
"""The journal's key of a cancel that an object asks for: by spec.cancel or by being deleted, it is one cancel."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What there is to say of a TaskGraphRun that has no run: it waits (Pending), or never will run (Failed)."""

    phase: str
    reason: str
    message: str


@dataclass(slots=True)
class Seen:
    """What this replica knows of one TaskGraphRun beside the object. ``since`` is monotonic."""

    since: float
    run_id: str | None = None
    verdict: Verdict | None = None
    cancelled: bool = False
    decided: set[str] = field(default_factory=set)


class Teller(Protocol):
    """Who is told what came of a look."""

    def started(self, run: Run, run_id: str, *, adopted: bool) -> None:
        """The object's run is this one."""

    def judged(self, run: Run) -> None:
        """Its verdict changed."""

    def refused(self, run: Run, reason: str, message: str) -> None:
        """A decision in its spec.approvals cannot be taken."""


class Intake:
    """The TaskGraphRuns that have not ended, by UID."""

    def __init__(
        self,
        objects: Objects,
        catalog: Catalog,
        replica: Replica,
        teller: Teller,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects = objects
        self._catalog = catalog
        self._replica = replica
        self._teller = teller
        self._clock = clock
        self._log = get_logger("arklex.kube")
        self.seen: dict[str, Seen] = {}
        self.of_run: dict[str, Name] = {}
        self._queue: Queue[str] = Queue()

    def forget(self, uid: str) -> Seen | None:
        """The object has ended, or is gone."""
        seen = self.seen.pop(uid, None)
        self._queue.leave(uid)
        if seen is not None and seen.run_id is not None:
            self.of_run.pop(seen.run_id, None)
        return seen

    def pending(self, namespace: str) -> list[Name]:
        """TaskGraphRuns of a namespace that wait for something that is not there yet."""
        entries = (self._objects.run(*run.key) for run in self._objects.runs() if run.namespace == namespace)
        return [run.key for run in entries if run is not None and (s := self.seen.get(run.uid)) is not None and s.verdict]

    async def look(self, name: Name) -> float | None:
        """Do what the object asks for; returns the seconds until the next look, None if only a change makes one worthwhile."""
        run = self._objects.run(*name)
        if run is None or run.model is None:
            return None
        if run.status.get("phase") in TERMINAL:
            self.forget(run.uid)
            return None
        seen = self.seen.setdefault(run.uid, Seen(self._clock()))
        if seen.verdict is not None and seen.verdict.phase in TERMINAL:
            return None
        try:
            if seen.run_id is None:
                wait = await self._place(run, run.model, seen)
                if seen.run_id is None:
                    return wait
            return await self._ask(run.model.spec, run, seen, seen.run_id)
        except DatabaseUnavailable as error:
            self._log.warning("run not looked at", namespace=run.namespace, name=run.name, error=str(error))
            return AGAIN

    async def _place(self, run: Run, model: TaskGraphRun, seen: Seen) -> float | None:
        """Find the object's run, or start it."""
        known = await self._replica.records(object_uids=[run.uid])
        if known:
            self._has(run, seen, known[0].run_id, adopted=True)
            return None
        turn = seen.since + TURN * self._replica.rank(run.uid) - self._clock()
        if turn > 0:
            return turn
        if model.spec.cancel:
            self._judge(run, seen, Verdict("Cancelled", "Cancelled", "spec.cancel was true before the run was started"))
            return None
        before = self._queue.join(run.uid, model.spec.priority, seen.since)
        if before >= self._replica.room:
            self._judge(run, seen, Verdict("Pending", Overloaded.reason, FULL))
            return min(LONGEST, 0.5 + 0.02 * before)
        try:
            run_id = await self._start(run, model)
        except Overloaded as error:
            self._judge(run, seen, Verdict("Pending", error.reason, FULL))
            return max(error.retry_after, 0.5)
        except DatabaseUnavailable:
            raise
        except ArklexError as error:
            self._queue.leave(run.uid)
            return self._wait_for(run, model, seen, error)
        if run_id is not None:
            self._has(run, seen, run_id, adopted=False)
        return AGAIN if run_id is None else None

    async def _start(self, run: Run, model: TaskGraphRun) -> str | None:
        """Start the run under the object's name, or under name and UID where another namespace has that name."""
        spec = model.spec
        program = self._catalog.program_of(run.namespace, spec.graph)
        graph = self._objects.graph(run.namespace, spec.graph)
        origin = Origin(graph.uid if graph else None, run.uid)
        for run_id in run_ids(run):
            if self.of_run.setdefault(run_id, run.key) != run.key:
                continue
            request = Request(
                spec.query or "", spec.input, spec.context or {}, tenant_session(program.namespace, spec.session_id), run_id
            )
            try:
                return await self._replica.start(program, request, origin)
            except ConflictError:
                taken = await self._replica.records(run_ids=[run_id])
                if any(record.object_uid == run.uid for record in taken):
                    return run_id
                del self.of_run[run_id]
            except BaseException:
                self.of_run.pop(run_id, None)
                raise
        self._log.error("run not started: its ids are taken", namespace=run.namespace, name=run.name)
        return None

    def _has(self, run: Run, seen: Seen, run_id: str, *, adopted: bool) -> None:
        seen.run_id, seen.verdict = run_id, None
        self._queue.leave(run.uid)
        self.of_run[run_id] = run.key
        self._teller.started(run, run_id, adopted=adopted)

    def _wait_for(self, run: Run, model: TaskGraphRun, seen: Seen, error: ArklexError) -> float | None:
        """A run that cannot start: what may come by itself is waited for, and anything else is its end."""
        patience, name = 0.0, model.spec.graph
        if isinstance(error, GraphNotFoundError):
            patience = GRAPH_PATIENCE
        elif isinstance(error, WorkerNotFoundError | GraphNotAccepted):
            graph = self._objects.graph(run.namespace, name)
            patience = seconds(graph.model.spec.timeout) if graph is not None and graph.model is not None else 0.0
        left = patience - self._waited(run, seen)
        if left > 0:
            self._judge(run, seen, Verdict("Pending", error.reason, str(error)))
            return min(left + 0.05, 60.0)
        reason = "InvalidInput" if isinstance(error, ValidationError) else error.reason
        self._judge(run, seen, Verdict("Failed", reason, str(error)))
        return None

    def _waited(self, run: Run, seen: Seen) -> float:
        """Seconds the object has waited: also before this process began, as far as the clocks of two machines agree."""
        here = self._clock() - seen.since
        try:
            return max(here, self._replica.now() - datetime.fromisoformat(run.created).timestamp() - 5.0)
        except ValueError:
            return here

    def _judge(self, run: Run, seen: Seen, verdict: Verdict) -> None:
        if seen.verdict != verdict:
            seen.verdict = verdict
            self._teller.judged(run)

    async def _ask(self, spec: TaskGraphRunSpec, run: Run, seen: Seen, run_id: str) -> float | None:
        """Deliver what the spec asks of the run: by its owner, or by the first in rank."""
        wanted = (spec.cancel and not seen.cancelled) or any(one.task not in seen.decided for one in spec.approvals)
        if not wanted:
            return None
        if self._replica.state(run_id) is None and self._replica.rank(run.uid):
            return AGAIN
        if spec.cancel and not seen.cancelled:
            await self._replica.cancel(run_id, "spec.cancel is true", CANCEL)
            seen.cancelled = True
        again = None
        for one in spec.approvals:
            if one.task not in seen.decided:
                try:
                    await self._replica.approve(run_id, one.task, approved=one.approved, by=one.by, data=one.data)
                except (AlreadyDecided, RunFinished, NotFoundError, ValidationError) as error:
                    self._teller.refused(run, error.reason, f"spec.approvals of '{one.task}': {error}")
                except ConflictError:
                    again = AGAIN
                    continue
                seen.decided.add(one.task)
        return again


def run_ids(run: Run) -> tuple[str, str]:
    """The ids that the object's run may have: its name, or where that is taken its name and the beginning of its UID."""
    return run.name, f"{run.name[:244]}-{run.uid[:8]}"
