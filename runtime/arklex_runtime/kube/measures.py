"""What this room tells Prometheus; register a ``LinkCollector`` once in the process's registry."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from arklex_runtime.kube.link import ClusterLink


class LinkCollector(Collector):
    """The link's numbers when they are asked for; the label ``kind`` is one of three, the label-less need none."""

    def __init__(self, link: ClusterLink) -> None:
        self._link = link

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        link = self._link
        ages, lists = dict[str, float](), dict[str, int]()
        for watcher in link.watchers:
            kind = watcher.kind.name
            ages[kind] = max(watcher.age, ages.get(kind, 0.0))
            lists[kind] = watcher.lists + lists.get(kind, 0)
        age = GaugeMetricFamily(
            "arklex_kube_watch_age_seconds", "Since the API server last told something, bookmarks included.", labels=["kind"]
        )
        listed = CounterMetricFamily("arklex_kube_lists", "Full lists of a kind, after each expired watch.", labels=["kind"])
        for kind in ages:
            age.add_metric([kind], ages[kind])
            listed.add_metric([kind], lists[kind])
        yield age
        yield listed
        reports, events = link.reports, link.events
        yield CounterMetricFamily("arklex_kube_status_writes", "Statuses written.", value=reports.writes)
        yield CounterMetricFamily("arklex_kube_status_failures", "Statuses that could not be written.", value=reports.refused)
        yield GaugeMetricFamily("arklex_kube_status_waiting", "Objects whose status waits to be written.", value=len(reports))
        yield CounterMetricFamily("arklex_kube_events_dropped", "Kubernetes events given up.", value=events.dropped)
