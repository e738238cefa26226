"""A namespace as values: TaskGraphs, Workers and TaskGraphRuns, and what carrying out a plan makes of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from arklex_api.base import API_VERSION
from arklex_operator.reconcile.plan import Plan
from arklex_operator.reconcile.taskgraph import reconcile
from arklex_operator.reconcile.taskgraph_judge import Neighbours, rfc3339
from arklex_operator.reconcile.taskgraph_read import SCHEDULED, read_graph, read_run, read_worker

START = datetime(2026, 1, 1, 10, 30, 15, tzinfo=UTC)
Object = dict[str, Any]


@dataclass
class Namespace:
    """Objects by name as the API server would return them; ``now`` is its clock."""

    now: datetime = START
    graphs: dict[str, Object] = field(default_factory=dict)
    workers: dict[str, Object] = field(default_factory=dict)
    runs: dict[str, Object] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    """Names of all runs ever created."""
    scheduled: list[str] = field(default_factory=list)
    """Of these those of schedules."""

    def graph(self, name: str = "g", **spec: Any) -> Object:
        """Create or update a TaskGraph; its generation goes up when its spec changes."""
        spec.setdefault("tasks", [{"name": "a", "value": 1}])
        found = self.graphs.setdefault(name, _object("TaskGraph", name, {}, self.now))
        if found["spec"] != spec:
            found["spec"] = spec
            found["metadata"]["generation"] += 1
        return found

    def worker(
        self, name: str = "w", kind: str = "custom", *, ready: int = 1, accepted: str = "True", least: int = 1
    ) -> Object:
        """Apply a Worker with so many ready pods."""
        spec: Object = {"type": kind, "config": {"handler": "m:f"}, "scaling": {"minReplicas": least}}
        found = self.workers.setdefault(name, _object("Worker", name, spec, self.now))
        found["spec"] = spec
        conditions = [{"type": "Accepted", "status": accepted, "reason": "Valid"}]
        found["status"] = {"readyReplicas": ready, "desiredReplicas": ready, "conditions": conditions}
        return found

    def run(self, name: str, graph: str = "g", phase: str | None = None, **metadata: Any) -> Object:
        """A TaskGraphRun that somebody created, or its phase."""
        found = self.runs.setdefault(name, _object("TaskGraphRun", name, {"graph": graph}, self.now))
        found["metadata"].update(metadata)
        if phase is not None:
            self.end(name, phase)
        return found

    def end(self, name: str, phase: str = "Succeeded") -> None:
        """The runtime reports a phase."""
        self.runs[name]["status"] = {"phase": phase}
        if phase in ("Succeeded", "Failed", "Cancelled"):
            self.runs[name]["status"]["completionTime"] = rfc3339(self.now)

    def plan(self, name: str = "g", *, hold: bool = False) -> Plan:
        """What the operator would do now."""
        graphs = {each: read_graph(body) for each, body in self.graphs.items()}
        workers = {each: read_worker(body) for each, body in self.workers.items()}
        runs = [run for run in map(read_run, self.runs.values()) if run.graph == name]
        return reconcile(graphs[name], Neighbours(workers, graphs), runs, self.now, hold=hold)

    def carry_out(self, plan: Plan, name: str = "g", steps: int | None = None) -> None:
        """Carry out a plan, or only its first ``steps`` writes."""
        writes: list[Callable[[], None]] = [partial(self._create, run) for run in plan.creates]
        writes += [partial(self._apply, each) for each in plan.applies]
        writes += [partial(self._delete, each.name, each.uid) for each in plan.deletes]
        if plan.status is not None:
            writes.append(partial(self._status, name, plan.status))
        for write in writes[:steps]:
            write()

    def settle(self, name: str = "g") -> Plan:
        """Plan and carry out, and again what is to follow at once; returns the plans as one."""
        plan = self.plan(name)
        self.carry_out(plan, name)
        if plan.requeue_after == 0:
            rest = self.plan(name)
            self.carry_out(rest, name)
            plan.deletes, plan.events, plan.requeue_after = rest.deletes, plan.events + rest.events, rest.requeue_after
        return plan

    def later(self, **time: float) -> None:
        """Let time pass."""
        self.now += timedelta(**time)

    def condition(self, kind: str, name: str = "g") -> tuple[str, str, str]:
        """Status, reason and message of a condition of a graph."""
        conditions = self.graphs[name]["status"]["conditions"]
        (found,) = [each for each in conditions if each["type"] == kind]
        return found["status"], found["reason"], found["message"]

    def _create(self, run: Object) -> None:
        name = run["metadata"]["name"]
        if name not in self.runs:
            self.made.append(name)
            if SCHEDULED in run["metadata"]["annotations"]:
                self.scheduled.append(name)
            made = _object("TaskGraphRun", name, run["spec"], self.now)
            made["metadata"].update(run["metadata"])
            self.runs[name] = made

    def _apply(self, part: Object) -> None:
        found = {"TaskGraph": self.graphs, "TaskGraphRun": self.runs}[part["kind"]][part["metadata"]["name"]]
        assert found["metadata"]["uid"] == part["metadata"]["uid"]
        found["metadata"].setdefault("annotations", {}).update(part["metadata"].get("annotations", {}))
        found["spec"].update(part.get("spec", {}))

    def _status(self, name: str, status: Object) -> None:
        known = self.graphs[name].setdefault("status", {})
        for key in ("observedGeneration", "conditions", "digest", "lastScheduleTime", "nextScheduleTime"):
            known.pop(key, None)
        known.update(status)

    def _delete(self, name: str, uid: str) -> None:
        if name in self.runs and self.runs[name]["metadata"]["uid"] == uid:
            del self.runs[name]


def _object(kind: str, name: str, spec: Object, now: datetime) -> Object:
    metadata = {
        "name": name,
        "namespace": "default",
        "uid": str(uuid.uuid4()),
        "generation": 0,
        "creationTimestamp": rfc3339(now),
    }
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
