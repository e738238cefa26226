"""The guide's Monitoring: Prometheus metrics of runs, tasks and tools.

Names end in ``_total`` or ``_seconds``; labels are graph, worker and tool only, all names out of manifests, so that the
number of series is bounded by what was applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from arklex_api.base import JSON

RUN_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
"""Seconds: a run takes milliseconds to a day."""

TASK_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
"""Seconds of one attempt."""

_ENDED = {"Failed": "failed", "Cancelled": "cancelled", "Skipped": "skipped"}


@dataclass(frozen=True, slots=True)
class _Series:
    """What every run of a graph touches; looking a series up by its labels takes longer than counting."""

    runs: Counter
    run_seconds: Histogram
    tasks: Counter
    attempts: Counter


class Monitoring:
    """The metrics of one process, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._series: dict[str, _Series] = {}
        graph = ("graph",)
        self._runs = self._counter("arklex_runs", "Runs that ended.", graph)
        self._runs_ended = {
            "failed": self._counter("arklex_runs_failed", "Runs that failed.", graph),
            "cancelled": self._counter("arklex_runs_cancelled", "Runs that were cancelled.", graph),
        }
        self._run_seconds = self._histogram(
            "arklex_run_duration_seconds", "From acceptance to end of a run.", graph, RUN_BUCKETS
        )
        self._tasks = self._counter("arklex_tasks", "Tasks of runs that ended.", graph)
        self._tasks_ended = {
            "failed": self._counter("arklex_tasks_failed", "Tasks that failed for good.", graph),
            "cancelled": self._counter("arklex_tasks_cancelled", "Tasks that were cancelled.", graph),
            "skipped": self._counter("arklex_tasks_skipped", "Tasks that were skipped.", graph),
        }
        self._tasks_cached = self._counter("arklex_tasks_cached", "Tasks whose result came from the cache.", graph)
        self._attempts = self._counter("arklex_task_attempts", "Attempts started in runs that ended.", graph)
        by_worker, by_tool = ("graph", "worker"), ("graph", "tool")
        self._worker_seconds = self._histogram(
            "arklex_worker_attempt_seconds", "An attempt on a worker.", by_worker, TASK_BUCKETS
        )
        self._worker_failed = self._counter("arklex_worker_attempts_failed", "Attempts on a worker that failed.", by_worker)
        self._tool_seconds = self._histogram("arklex_tool_call_seconds", "One call of a tool.", by_tool, TASK_BUCKETS)
        self._tool_failed = self._counter("arklex_tool_calls_failed", "Calls of a tool that failed.", by_tool)

    def record_execution(self, result: Mapping[str, JSON]) -> None:
        """Counts a run that ended; ``result`` is its document (``{graph, phase, startedAt, finishedAt, tasks, …}``)."""
        graph = str(result.get("graph") or "")
        series = self._series.get(graph) or self._open(graph)
        series.runs.inc()
        ended = self._runs_ended.get(_ENDED.get(str(result.get("phase")), ""))
        if ended is not None:
            ended.labels(graph).inc()
        seconds = _seconds(result)
        if seconds is not None:
            series.run_seconds.observe(seconds)
        tasks = result.get("tasks")
        if isinstance(tasks, Mapping) and tasks:
            self._record_tasks(graph, series, list(tasks.values()))

    def _open(self, graph: str) -> _Series:
        made = _Series(
            self._runs.labels(graph), self._run_seconds.labels(graph), self._tasks.labels(graph), self._attempts.labels(graph)
        )
        self._series[graph] = made
        return made

    def record_attempt(self, graph: str, worker: str, seconds: float, *, failed: bool = False) -> None:
        """Counts one attempt on a worker."""
        self._worker_seconds.labels(graph, worker).observe(seconds)
        if failed:
            self._worker_failed.labels(graph, worker).inc()

    def record_tool_call(self, graph: str, tool: str, seconds: float, *, failed: bool = False) -> None:
        """Counts one call of a tool."""
        self._tool_seconds.labels(graph, tool).observe(seconds)
        if failed:
            self._tool_failed.labels(graph, tool).inc()

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _record_tasks(self, graph: str, series: _Series, tasks: list[Mapping[str, Any]]) -> None:
        """Counts tasks; each counter is touched once a run, since each touch takes a lock."""
        series.tasks.inc(len(tasks))
        series.attempts.inc(sum([task.get("attempts") or 0 for task in tasks]))
        cached = sum([bool(task.get("cached")) for task in tasks])
        if cached:
            self._tasks_cached.labels(graph).inc(cached)
        ended = [phase for task in tasks if (phase := task.get("phase")) in _ENDED]
        for phase in set(ended):
            self._tasks_ended[_ENDED[phase]].labels(graph).inc(ended.count(phase))

    def _counter(self, name: str, words: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, words, labels, registry=self.registry)

    def _histogram(self, name: str, words: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, words, labels, registry=self.registry, buckets=buckets)


def _seconds(result: Mapping[str, JSON]) -> float | None:
    """From startedAt to finishedAt (RFC 3339)."""
    started, finished = result.get("startedAt"), result.get("finishedAt")
    if not started or not finished:
        return None
    return max(0.0, (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds())
