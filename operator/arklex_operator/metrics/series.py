"""What Prometheus reads of ``arklex-metrics``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from arklex_operator.metrics.loads import Loads, StaleError


class Series:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("arklex_metrics_requests", "Answers of the metrics API.", ["code"], registry=self.registry)
        self.registered = Gauge(
            "arklex_metrics_registered",
            "1 while external.metrics.k8s.io is served by us, 0 while it is not (another owner, or not yet).",
            registry=self.registry,
        )
        self._ends = Gauge(
            "arklex_metrics_certificate_end_seconds", "When the serving certificate ends.", registry=self.registry
        )

    def certificate_ends(self, at: datetime) -> None:
        """Note when the certificate in use ends."""
        self._ends.set(at.astimezone(UTC).timestamp())

    def watch(self, loads: Loads) -> None:
        """Expose the loads: read when Prometheus asks, so that series go with their Workers."""
        self.registry.register(_Loads(loads))


class _Loads:
    def __init__(self, loads: Loads) -> None:
        self._loads = loads

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering does not collect."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Load, slots in use, what the HPA is told; the age of each source."""
        labels = ["namespace", "worker"]
        load = GaugeMetricFamily("arklex_worker_load", "max((cpu + memory) / 2, (queued + in flight) / slots).", labels=labels)
        told = GaugeMetricFamily("arklex_worker_load_published", "What the HPA is told.", labels=[*labels, "reason"])
        queued = GaugeMetricFamily("arklex_worker_queued", "Tasks that wait for a slot.", labels=labels)
        running = GaugeMetricFamily("arklex_worker_in_flight", "Tasks that pods hold.", labels=labels)
        stale = GaugeMetricFamily(
            "arklex_worker_load_stale", "1 where a source is too old to tell the HPA a value.", labels=labels
        )
        for key, seen in list(self._loads.observed.seen.items()):
            try:
                pool, answer = self._loads.pool(key, seen), self._loads.told(key)
            except StaleError:
                stale.add_metric(key, 1)
                continue
            stale.add_metric(key, 0)
            load.add_metric(key, pool.load)
            queued.add_metric(key, pool.queued)
            running.add_metric(key, pool.in_flight)
            if answer is not None:
                told.add_metric([*key, answer.reason], answer.value / 1000)
        age = GaugeMetricFamily("arklex_metrics_source_age_seconds", "Since a source was last read whole.", labels=["source"])
        for source, seconds in self._loads.age().items():
            age.add_metric([source], seconds)
        return load, told, queued, running, stale, age
