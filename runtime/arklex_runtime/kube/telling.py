"""What happens to runs, heard in the event loop, becomes statuses to write and events for people. Quick: it is the hot path."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from arklex_runtime.engine.events import Accepted, Event, Finished, Lost
from arklex_runtime.engine.state import RunState, Status
from arklex_runtime.kube.api import GRAPHS, RUNS, Kind
from arklex_runtime.kube.events import Events
from arklex_runtime.kube.fold import first_failures, unit_at
from arklex_runtime.kube.intake import Intake
from arklex_runtime.kube.objects import Entry, Objects, Run
from arklex_runtime.kube.ports import OwnedRun, Replica
from arklex_runtime.kube.reports import HOLD, Reports
from arklex_runtime.kube.texts import command, cut, error_text
from arklex_runtime.orchestrator.attempt import path_of

GRAPH_AFTER = 0.05
"""Seconds that a graph's status waits after a run's end: the run's own goes first."""


KEPT = 1000
"""Runs taken over whose object has not been looked at yet."""


class Telling:
    """A listener of the replica, and the intake's and the reports' teller."""

    def __init__(self, objects: Objects, events: Events, replica: Replica) -> None:
        self._objects = objects
        self._events = events
        self._replica = replica
        self._took: OrderedDict[str, None] = OrderedDict()
        self.intake: Intake
        self.reports: Reports

    def heard(self, run: OwnedRun, state: RunState, event: Event) -> None:
        """What happened to a run that this replica owns."""
        over, first = state.finished_at is not None and self._replica.state(run.run_id) is None, type(event) is Accepted
        if over:
            if self.reports.facts.has_ended(run.run_id):
                return
            self.reports.facts.ended(run.run_id, state)
        entry = self._object(run)
        if entry is not None:
            self.reports.want("run", *entry.key, urgent=over or first, hold=0.0 if over else HOLD)
            if first:
                self._events.say(RUNS, entry, "RunStarted", f"run {run.run_id} started")
        self.reports.want("graph", run.namespace, run.graph, urgent=over or first, hold=GRAPH_AFTER if over else HOLD)
        if over:
            self._end(run, state)
        elif type(event) is Lost:
            where = f" in pod {event.pod}" if event.pod else ""
            what = f"attempt {event.attempt} of task '{path_of(event.key)}' was lost{where}"
            self._trouble(run, "WorkerLost", f"{what}: it runs again")
        elif type(event) is Finished and event.error is not None:
            unit = unit_at(state, event.key)
            if unit is not None and unit.status is Status.BACKOFF:
                what = f"attempt {event.attempt} of task '{path_of(event.key)}' failed and will be retried"
                self._trouble(run, "TaskRetrying", f"{what}: {error_text(event.error)}")

    def _object(self, run: OwnedRun) -> Run | None:
        """The run's object, if it has one and that is still there."""
        name = self.intake.of_run.get(run.run_id) if run.origin.object_uid is not None else None
        entry = self._objects.run(*name) if name is not None else None
        return entry if entry is not None and entry.uid == run.origin.object_uid else None

    def taken_over(self, run_id: str) -> None:
        """This replica goes on with a run whose owner is gone."""
        name = self.intake.of_run.get(run_id)
        if name is None:
            self._took[run_id] = None
            if len(self._took) > KEPT:
                self._took.popitem(last=False)
            return
        entry = self._objects.run(*name)
        if entry is not None:
            self._events.say(RUNS, entry, "RunTakenOver", f"the replica that ran {run_id} is gone: another one goes on with it")

    def _trouble(self, run: OwnedRun, reason: str, note: str) -> None:
        """On the TaskGraphRun; a run without one would fill its graph's events."""
        entry = self._object(run)
        if entry is not None:
            self._events.say(RUNS, entry, reason, note, type="Warning")

    def _end(self, run: OwnedRun, state: RunState) -> None:
        entry, root = self._object(run), state.root
        error = root.error if root is not None else None
        if state.phase == "Failed":
            note = cut(f"run {run.run_id} failed: {error_text(error)}", 500)
            failures = first_failures(root) if root is not None else []
            if failures:
                note += f"; see: {command('logs', run.run_id, failures[0][0])}"
            graph = self._objects.graph(run.namespace, run.graph)
            if entry is not None:
                self._events.say(RUNS, entry, "RunFailed", note, type="Warning")
            elif graph is not None:
                self._events.say(GRAPHS, graph, "RunFailed", note, type="Warning")
        elif entry is not None:
            said = error_text(error) if state.phase == "Cancelled" else ""
            note = f"run {run.run_id} {state.phase.lower()}" + (f": {said}" if said else "")
            self._events.say(RUNS, entry, f"Run{state.phase}", note)

    def started(self, run: Run, run_id: str, *, adopted: bool) -> None:
        """The object's run is this one; what happened to it before anybody knew is told now."""
        if run_id in self._took:
            del self._took[run_id]
            self.taken_over(run_id)
        if self.reports.facts.has_ended(run_id):
            self.reports.want("run", *run.key, urgent=True, hold=0.0)
        elif not adopted or self._replica.state(run_id) is not None:
            self.reports.want("run", *run.key, urgent=True)

    def judged(self, run: Run) -> None:
        """A TaskGraphRun waits for something, or will never run."""
        verdict = self.intake.seen[run.uid].verdict
        if verdict is not None:
            failed = verdict.phase == "Failed"
            if failed and not self._replica.rank(run.uid):
                self._events.say(RUNS, run, "RunFailed", f"the run was not started: {verdict.message}", type="Warning")
            self.reports.want("run", *run.key, urgent=True, hold=0.0 if failed else 1.0)
            if run.model is not None:
                self.reports.want("graph", run.namespace, run.model.spec.graph, urgent=True, hold=HOLD)

    def refused(self, run: Run, reason: str, message: str) -> None:
        """A decision in spec.approvals cannot be taken."""
        self._events.say(RUNS, run, "ApprovalRefused", f"{message} ({reason})", type="Warning", about=message)

    def asks(self, kind: Kind, entry: Entry[Any], run_id: str, tasks: Sequence[str]) -> None:
        """Approvals that nobody has been told of: on the TaskGraphRun, or for a run without one on its TaskGraph."""
        for task in tasks:
            how = command("approve", run_id, task) + (", or put it into spec.approvals" if kind is RUNS else "")
            note = f"task '{task}' of run {run_id} waits for a decision: {how}"
            self._events.say(kind, entry, "ApprovalNeeded", note, about=f"{run_id}/{task}")
