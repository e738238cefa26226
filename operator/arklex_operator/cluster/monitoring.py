"""The operator's own metrics, on port 9090. Labels are kinds and words, never names of objects."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=None)


@dataclass(slots=True)
class Monitoring:
    """Every metric of one operator process, in ``registry``."""

    reconciles: Counter = field(
        default_factory=lambda: _counter(
            "arklex_operator_reconciles_total", "Reconciles, by kind and result.", "kind", "result"
        )
    )
    seconds: Histogram = field(
        default_factory=lambda: Histogram(
            "arklex_operator_reconcile_seconds", "Time of a reconcile.", ["kind"], buckets=_SECONDS, registry=None
        )
    )
    depth: Gauge = field(
        default_factory=lambda: Gauge(
            "arklex_operator_queue_depth", "Objects that wait for a reconcile.", ["kind"], registry=None
        )
    )
    writes: Counter = field(
        default_factory=lambda: _counter("arklex_operator_writes_total", "Writes to the API server.", "kind", "verb")
    )
    errors: Counter = field(
        default_factory=lambda: _counter(
            "arklex_operator_api_errors_total", "Calls that the API server refused.", "kind", "code"
        )
    )
    events: Counter = field(
        default_factory=lambda: _counter("arklex_operator_events_total", "Events told or held back.", "reason", "result")
    )
    wakes: Counter = field(
        default_factory=lambda: _counter("arklex_operator_watch_events_total", "Changes that watches brought.", "kind")
    )
    leader: Gauge = field(default_factory=lambda: Gauge("arklex_operator_leader", "1 while this process leads.", registry=None))
    redis_up: Gauge = field(default_factory=lambda: Gauge("arklex_operator_redis_up", "1 while Redis answers.", registry=None))
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        for metric in (
            *(self.reconciles, self.seconds, self.depth, self.writes, self.errors, self.events, self.wakes, self.leader),
            self.redis_up,
        ):
            self.registry.register(metric)
