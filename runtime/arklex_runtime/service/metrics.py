"""The metrics of a replica. Labels are names out of manifests alone: namespace, graph, worker."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from arklex_runtime.dispatch.streams.inbox import REFUSED
from arklex_runtime.engine.events import Accepted, Event, Finished, Interrupted, Lost, Started
from arklex_runtime.orchestrator.driver import RunDriver

COMMIT_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
RUN_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
_GRAPH = ("namespace", "graph")


class Metrics:
    """One process's, in a registry of their own."""

    def __init__(self, active: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self._accepted = Counter("arklex_runs_accepted", "Runs accepted.", _GRAPH, registry=self.registry)
        self._ended = Counter("arklex_runs_ended", "Runs that ended.", (*_GRAPH, "phase"), registry=self.registry)
        self._seconds = Histogram(
            "arklex_run_duration_seconds", "From acceptance to end.", _GRAPH, registry=self.registry, buckets=RUN_BUCKETS
        )
        self._attempts = Counter("arklex_attempts_started", "Attempts started.", (*_GRAPH, "worker"), registry=self.registry)
        self._failed = Counter("arklex_attempts_failed", "Attempts that failed.", _GRAPH, registry=self.registry)
        self._lost = Counter("arklex_attempts_lost", "Attempts whose pod died.", _GRAPH, registry=self.registry)
        self._released = Counter("arklex_attempts_released", "Attempts that a pod gave back.", _GRAPH, registry=self.registry)
        self.commits = Histogram(
            "arklex_commit_seconds", "From submitting a batch to its commit.", registry=self.registry, buckets=COMMIT_BUCKETS
        )
        self.taken_over = Counter("arklex_runs_taken_over", "Runs claimed from an owner that was gone.", registry=self.registry)
        self.adoptions_failed = Counter("arklex_takeovers_failed", "Runs that could not be taken over.", registry=self.registry)
        self.parked = Counter("arklex_runs_parked", "Runs put away because they only wait.", registry=self.registry)
        self.broken = Counter("arklex_runs_broken_off", "Runs that this replica had to leave.", registry=self.registry)
        self.leases_lost = Counter("arklex_leases_lost", "Times that this replica's lease ran out.", registry=self.registry)
        self.retired = Counter("arklex_runs_retired", "Runs that retention deleted.", registry=self.registry)
        self.requests = Counter("arklex_door_requests", "Requests at the door.", ("route", "status"), registry=self.registry)
        self.registry.register(REFUSED)
        Gauge("arklex_runs_active", "Runs that this replica drives.", registry=self.registry).set_function(active)

    def event(self, driver: RunDriver, event: Event) -> None:
        """Something durable happened in a run."""
        labels = (driver.program.namespace, driver.program.root)
        if isinstance(event, Started):
            unit = driver.state.open.get(event.key)
            node = unit.task.node if unit is not None else None
            self._attempts.labels(*labels, (node.worker or node.task.tool or "") if node is not None else "").inc()
        elif isinstance(event, Finished):
            if event.error is not None:
                self._failed.labels(*labels).inc()
        elif isinstance(event, Accepted):
            self._accepted.labels(*labels).inc()
        elif isinstance(event, Lost):
            self._lost.labels(*labels).inc()
        elif isinstance(event, Interrupted):
            self._released.labels(*labels).inc()

    def ended(self, driver: RunDriver, phase: str) -> None:
        """A run ended here."""
        labels = (driver.program.namespace, driver.program.root)
        self._ended.labels(*labels, phase).inc()
        state = driver.state
        if state.finished_at is not None:
            self._seconds.labels(*labels).observe(max(0.0, state.finished_at - state.started_at))

    def text(self) -> bytes:
        """All in Prometheus' text format."""
        return generate_latest(self.registry)
