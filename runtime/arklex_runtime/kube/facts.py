"""What there is to say of runs and graphs, from memory where this replica runs or ran them, else from the journal."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, TypeAlias

from arklex_api.versions import run_name
from arklex_runtime.engine.state import RunState
from arklex_runtime.errors import RunNotFound
from arklex_runtime.kube.conditions import TERMINAL
from arklex_runtime.kube.fold import Progress, progress_of
from arklex_runtime.kube.intake import Intake
from arklex_runtime.kube.objects import Graph, Objects, Run
from arklex_runtime.kube.ports import GraphSummary, Replica, RunRecord
from arklex_runtime.kube.status import (
    failure_reason,
    graph_status,
    is_of_version,
    progress_in,
    record_progress,
    run_status,
    verdict_progress,
)

KEPT = 500
"""Runs that ended whose last progress is kept; what is not is folded from the journal."""

Ended: TypeAlias = tuple[Progress, str | None]
"""Progress, and the reason of a failure."""


class Facts:
    """Statuses as they should be. Its methods may raise DatabaseUnavailable."""

    def __init__(self, objects: Objects, intake: Intake, replica: Replica) -> None:
        self._objects = objects
        self._intake = intake
        self._replica = replica
        self._ended: OrderedDict[str, Ended] = OrderedDict()

    def ended(self, run_id: str, state: RunState) -> None:
        """Keep what is to be said of a run that is over; its state is let go."""
        progress = progress_of(state)
        self._ended[run_id] = progress, failure_reason(progress, state.root.error if state.root else None)
        if len(self._ended) > KEPT:
            self._ended.popitem(last=False)

    def has_ended(self, run_id: str) -> bool:
        """Whether the run's end is known here."""
        return run_id in self._ended

    async def of_run(self, run: Run, now: str) -> dict[str, Any] | None:
        """The status of a TaskGraphRun; None where another replica has it, or it is said already."""
        seen = self._intake.seen.get(run.uid)
        if seen is None or run.status.get("phase") in TERMINAL:
            return None
        if seen.run_id is not None:
            known = await self._known(seen.run_id)
            return None if known is None else run_status(run, known[0], seen.run_id, known[1], now)
        if seen.verdict is not None:
            return run_status(run, verdict_progress(seen.verdict, now), None, seen.verdict.reason, now)
        return None

    async def of_graph(self, graph: Graph, now: str) -> dict[str, Any]:
        """The status of a TaskGraph."""
        summary = await self._replica.summary(graph.namespace, graph.name, graph.uid)
        last = await self._last_run(graph, summary)
        return graph_status(graph, summary, last, await self._own_run(graph), now)

    async def _known(self, run_id: str) -> Ended | None:
        """How far a run is: by its end, by its state here, or by the journal alone."""
        if run_id in self._ended:
            return self._ended[run_id]
        state = self._replica.state(run_id)
        if state is not None:  # an end counts once it is durable, and is heard of then
            return (progress_of(state), None) if state.finished_at is None else None
        records = await self._replica.records(run_ids=[run_id])
        return await self._folded(records[0]) if records else None

    async def _folded(self, record: RunRecord) -> Ended:
        try:
            state = await self._replica.fold(record.run_id)
        except RunNotFound:
            return record_progress(record), None
        if state.finished_at is None:  # nobody drives it at the moment, or another replica does
            return progress_of(state), None
        self.ended(record.run_id, state)
        return self._ended[record.run_id]

    async def _last_run(self, graph: Graph, summary: GraphSummary) -> tuple[str, Progress] | None:
        """The run that was started last. One that another replica runs is shown as that replica showed it last."""
        record = summary.last
        if record is None:
            return None
        run = self._run_of(graph.namespace, record)
        name = run.name if run is not None else record.run_id
        shown = graph.status.get("lastRun") or {}
        there = progress_in(shown) if shown.get("name") == name else None
        if record.run_id in self._ended or self._replica.state(record.run_id) is not None:
            known = await self._known(record.run_id)
            return name, known[0] if known else record_progress(record)
        if run is not None and (run.status.get("phase") in TERMINAL) == (record.finished_at is not None) and run.status:
            return name, progress_in(run.status)
        if record.finished_at is not None and (there is None or there.get("phase") not in TERMINAL):
            return name, (await self._folded(record))[0]
        return name, there or record_progress(record)

    def _run_of(self, namespace: str, record: RunRecord) -> Run | None:
        """The object of a run, if it has one and that is still there."""
        if record.object_uid is None:
            return None
        key = self._intake.of_run.get(record.run_id)
        names = [key[1]] if key else [record.run_id, record.run_id[:-9]]
        found = (self._objects.run(namespace, name) for name in names)
        return next((run for run in found if run is not None and run.uid == record.object_uid), None)

    async def _own_run(self, graph: Graph) -> Ended | None:
        """How far the run of ``spec.run`` is; None where the conditions should stay as they are."""
        if graph.model is None or graph.model.spec.run is None:
            return None
        waiting = (
            None if _judged(graph) else ({"phase": "Pending", "message": "the operator has not started spec.run yet"}, None)
        )
        name = run_name(graph.name, graph.uid, graph.digest)
        run = self._objects.run(graph.namespace, name)
        if run is not None and is_of_version(run, graph):
            return await self._of_object(run)
        records = await self._replica.records(run_ids=[name])
        if records and records[0].graph_uid == graph.uid and records[0].finished_at is not None:
            return await self._folded(records[0])
        return waiting

    async def _of_object(self, run: Run) -> Ended:
        seen = self._intake.seen.get(run.uid)
        if seen is not None and seen.run_id is not None and run.status.get("phase") not in TERMINAL:
            known = await self._known(seen.run_id)
            if known is not None:
                return known
        if seen is not None and seen.verdict is not None:
            return verdict_progress(seen.verdict, ""), seen.verdict.reason
        succeeded = next((each for each in run.conditions if each.get("type") == "Succeeded"), {})
        return {"phase": "Pending", **progress_in(run.status)}, succeeded.get("reason")


def _judged(graph: Graph) -> bool:
    return any(each.get("type") == "Completed" for each in graph.conditions)
