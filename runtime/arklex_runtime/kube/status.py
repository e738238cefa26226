"""The statuses that the runtime writes, put together: pure. Each is the complete set of the fields that it owns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arklex_api.versions import DIGEST
from arklex_runtime.engine.times import rfc3339, rfc3339_or_none
from arklex_runtime.kube.conditions import OWNED, TERMINAL, conditions_of
from arklex_runtime.kube.fold import MESSAGE, Progress, differs, go_duration
from arklex_runtime.kube.intake import Verdict
from arklex_runtime.kube.objects import Graph, Run
from arklex_runtime.kube.ports import GraphSummary, RunRecord
from arklex_runtime.kube.texts import cut

PROGRESS = (
    "phase",
    "progress",
    "startTime",
    "completionTime",
    "duration",
    "message",
    "output",
    "tasks",
    "failures",
    "approvals",
)
RUN_FIELDS = (*PROGRESS, "runId", "observedGeneration")
GRAPH_FIELDS = ("phase", "lastRun", "runs")


def run_status(run: Run, progress: Progress, run_id: str | None, reason: str | None, now: str) -> dict[str, Any]:
    """The status of a TaskGraphRun. ``reason``: why it waits or failed, where the phase does not say it."""
    status: dict[str, Any] = {**progress, "observedGeneration": run.generation}
    if run_id is not None:
        status["runId"] = run_id
    status["conditions"] = conditions_of(progress, reason, run.generation, run.conditions, now)
    return status


def verdict_progress(verdict: Verdict, at: str) -> Progress:
    """The progress of a run that was not started; one that never will be is over ``at`` this time."""
    progress: Progress = {"phase": verdict.phase, "message": cut(verdict.message, MESSAGE)}
    return {**progress, "completionTime": at} if verdict.phase in TERMINAL else progress


def record_progress(record: RunRecord) -> Progress:
    """What a run's row tells of it."""
    shown = {
        "phase": record.phase,
        "startTime": rfc3339(record.started_at),
        "completionTime": rfc3339_or_none(record.finished_at),
    }
    if record.finished_at is not None:
        shown["duration"] = go_duration(record.finished_at - record.started_at)
    return {name: value for name, value in shown.items() if value}


def progress_in(status: Mapping[str, Any]) -> Progress:
    """The progress that a status shows."""
    return {name: status[name] for name in PROGRESS if name in status}


def failure_reason(progress: Progress, error: Mapping[str, Any] | None) -> str | None:
    """The reason of Succeeded for a run that failed: its error's type."""
    return str(error.get("type") or "Failed") if error and progress.get("phase") == "Failed" else None


def graph_status(
    graph: Graph, summary: GraphSummary, last: tuple[str, Progress] | None, own: tuple[Progress, str | None] | None, now: str
) -> dict[str, Any]:
    """The status of a TaskGraph: the runtime's fields of it.

    ``last`` are name and progress of the run that was started last, ``own`` progress and reason of the run of ``spec.run`` as
    it is now; without it the conditions stay as they are, for the generation that they were judged for.
    """
    status: dict[str, Any] = {}
    if last is not None:
        name, progress = last
        status["phase"] = progress.get("phase")
        status["lastRun"] = {"name": name, **progress}
    if last is not None or summary.active or summary.succeeded or summary.failed:
        status["runs"] = {"active": summary.active, "succeeded": summary.succeeded, "failed": summary.failed}
    kept = [each for each in graph.conditions if each.get("type") in OWNED]
    if own is not None:
        status["conditions"] = conditions_of(own[0], own[1], graph.generation, kept, now)
    elif kept and graph.model is not None and graph.model.spec.run is not None:
        status["conditions"] = kept
    return status


def changes(wanted: Mapping[str, Any], there: Mapping[str, Any], fields: tuple[str, ...]) -> bool:
    """Whether writing ``wanted`` would change what our ``fields`` and conditions say ``there``."""
    owned = {name: there.get(name) for name in fields}
    owned["conditions"] = [each for each in there.get("conditions") or () if each.get("type") in OWNED]
    return differs(_sorted(wanted), _sorted(owned))


def _sorted(status: Mapping[str, Any]) -> dict[str, Any]:
    conditions = sorted(status.get("conditions") or (), key=lambda each: str(each.get("type")))
    return {**status, "conditions": conditions}


def is_of_version(run: Run, graph: Graph) -> bool:
    """Whether the operator made ``run`` for ``spec.run`` of the graph as it is now."""
    return graph.uid in run.owners and run.annotations.get(DIGEST) == graph.digest
