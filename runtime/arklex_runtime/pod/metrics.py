"""A pod's Prometheus metrics; labels are namespace and worker, never run or task."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from arklex_runtime.observability.monitoring import TASK_BUCKETS

LABELS = ["namespace", "worker"]


class PodMetrics:
    """Counted by one pod, in a registry of its own."""

    def __init__(self, namespace: str, worker: str, slots: int) -> None:
        self.registry = CollectorRegistry()
        self._labels = (namespace, worker)
        self._attempts = Counter(
            "arklex_worker_attempts_total", "Attempts by outcome.", [*LABELS, "outcome"], registry=self.registry
        )
        self._outcomes: dict[str, Counter] = {}
        self._seconds = Histogram(
            "arklex_worker_attempt_seconds", "Seconds of one attempt.", LABELS, buckets=TASK_BUCKETS, registry=self.registry
        ).labels(*self._labels)
        gauge = Gauge("arklex_worker_slots", "Attempts that the pod runs at once.", LABELS, registry=self.registry)
        gauge.labels(*self._labels).set(slots)
        ProcessCollector(registry=self.registry)

    def watch(
        self, in_flight: Callable[[], float], heartbeat_age: Callable[[], float], memory_short: Callable[[], float]
    ) -> None:
        """Ask these when somebody asks us."""
        for name, words, ask in (
            ("arklex_worker_in_flight", "Attempts in progress.", in_flight),
            ("arklex_worker_heartbeat_age_seconds", "Seconds since Redis last took the pod's heartbeat.", heartbeat_age),
            ("arklex_worker_memory_short", "1: memory is short, and nothing is claimed until it is not.", memory_short),
        ):
            Gauge(name, words, LABELS, registry=self.registry).labels(*self._labels).set_function(ask)

    def ended(self, outcome: str, seconds: float) -> None:
        """An attempt ended: succeeded, failed, timeout, cancelled or released."""
        counter = self._outcomes.get(outcome)
        if counter is None:
            counter = self._outcomes[outcome] = self._attempts.labels(*self._labels, outcome)
        counter.inc()
        self._seconds.observe(seconds)

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self.registry)
