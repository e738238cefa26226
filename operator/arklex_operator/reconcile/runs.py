"""The TaskGraphRuns of a TaskGraph: how they are called, what is in them, which are forgotten (cluster.md, "Runs")."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from arklex_api.base import API_VERSION, JSON
from arklex_api.durations import seconds
from arklex_api.taskgraph import History
from arklex_api.versions import DIGEST, run_name
from arklex_operator.reconcile.taskgraph_judge import rfc3339
from arklex_operator.reconcile.taskgraph_read import SCHEDULED, GraphFacts, RunFacts

GRAPH_LABEL = "arklex.ai/graph"
"""Label of a TaskGraphRun that the operator made: its TaskGraph."""


def run_of_version(graph: GraphFacts) -> dict[str, JSON]:
    """The run that ``spec.run`` asks for; the same object for the same version of the same TaskGraph."""
    name = run_name(graph.name, graph.uid, graph.wanted)
    return _run(graph, name, {DIGEST: graph.wanted}, graph.text.run or {})


def run_of_schedule(graph: GraphFacts, time: datetime) -> dict[str, JSON]:
    """The run for one ``time`` of the graph's schedule; its inputs are schedule.run's, else spec.run's."""
    inputs = graph.text.run or {} if graph.text.scheduled is None else graph.text.scheduled
    name = f"{graph.name}-{graph.uid[:8]}-{int(time.timestamp()) // 60}"
    return _run(graph, name, {SCHEDULED: rfc3339(time)}, inputs)


def _run(graph: GraphFacts, name: str, annotations: dict[str, str], inputs: dict[str, JSON]) -> dict[str, JSON]:
    owner = {"apiVersion": API_VERSION, "kind": "TaskGraph", "name": graph.name, "uid": graph.uid, "controller": True}
    return {
        "apiVersion": API_VERSION,
        "kind": "TaskGraphRun",
        "metadata": {
            "name": name,
            "namespace": graph.namespace,
            "labels": {"app.kubernetes.io/managed-by": "arklex-operator", GRAPH_LABEL: graph.name},
            "annotations": annotations,
            "ownerReferences": [owner],
        },
        "spec": {**inputs, "graph": graph.name},
    }


def active_scheduled(graph: GraphFacts, runs: Iterable[RunFacts]) -> list[RunFacts]:
    """The runs of the graph's schedule that have not ended, oldest first."""
    found = (run for run in runs if run.owner == graph.uid and run.scheduled and not run.finished and not run.deleting)
    return sorted(found, key=lambda run: (run.created, run.name))


def forgotten(graph: GraphFacts, runs: Iterable[RunFacts], now: datetime) -> list[RunFacts]:
    """Finished runs to delete, by name: of those the graph owns all but the newest of ``history``, and what is past its ttl.

    As with CronJob and Job, the counts are for what the graph started; the ttl is for every finished run of it.
    """
    history, finished = graph.text.history, [run for run in runs if run.finished and not run.deleting]
    if history is None:
        return []
    owned = [run for run in finished if run.owner == graph.uid]
    well = [run for run in owned if run.phase == "Succeeded"]
    ill = [run for run in owned if run.phase != "Succeeded"]
    gone = {run.name: run for run in (*_beyond(well, history.succeeded), *_beyond(ill, history.failed))}
    if history.ttl is not None:
        gone.update((run.name, run) for run in finished if now - run.completed >= _ttl(history))
    return [gone[name] for name in sorted(gone)]


def next_expiry(graph: GraphFacts, runs: Iterable[RunFacts]) -> datetime | None:
    """When the next finished run passes its ttl; None without a ttl or a run."""
    history = graph.text.history
    if history is None or history.ttl is None:
        return None
    times = [run.completed + _ttl(history) for run in runs if run.finished and not run.deleting]
    return min(times, default=None)


def _beyond(runs: list[RunFacts], count: int) -> list[RunFacts]:
    return sorted(runs, key=lambda run: (run.completed, run.name), reverse=True)[count:]


def _ttl(history: History) -> timedelta:
    return timedelta(seconds=seconds(history.ttl)) if history.ttl else timedelta.max
