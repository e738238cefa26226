"""Monitors find the ports there are; alerts are PromQL over metrics that exist, and docs/operations.md names each of them."""

from __future__ import annotations

import re
from pathlib import Path

import promql_parser
import pytest

from tests.helm.charts import Object, case, one, render

DOCUMENT = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
METRICS = {*re.findall(r"`(arklex_[a-z_]+)`", DOCUMENT.split("\n## Metrics\n")[1].split("\n## ")[0]), "up"}
MONITORED = case("monitored")
(RULES,) = [group["rules"] for group in one(MONITORED, "PrometheusRule", "arklex-alerts")["spec"]["groups"]]


def jobs() -> set[str]:
    """What Prometheus calls the targets of the ServiceMonitors: the Services with the port that they select."""
    found = set()
    for monitor in (each for each in MONITORED if each["kind"] == "ServiceMonitor"):
        labels, (endpoint,) = monitor["spec"]["selector"]["matchLabels"], monitor["spec"]["endpoints"]
        services = [
            service["metadata"]["name"]
            for service in MONITORED
            if service["kind"] == "Service"
            and service["metadata"]["labels"].items() >= labels.items()
            and endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        ]
        assert len(services) == 1, monitor["metadata"]["name"]
        found.update(services)
    return found


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    """The metrics that an expression asks for; it must be PromQL."""
    found: list[promql_parser.VectorSelector] = []

    def visit(part: object) -> None:
        if isinstance(part, promql_parser.VectorSelector):
            found.append(part)

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def test_every_process_is_found() -> None:
    assert jobs() == {"arklex-operator", "arklex-metrics", "arklex-runtime-metrics"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_asks_for_what_there_is(rule: Object) -> None:
    asked = selectors(rule["expr"])
    assert asked
    for each in asked:
        name = (each.name or "").removesuffix("_bucket")
        assert name in METRICS or name.removesuffix("_total") in METRICS, each.name
        assert {matcher.value for matcher in each.matchers.matchers} <= jobs()
    assert f"`{rule['alert']}`" in DOCUMENT


def test_no_alert_is_described_that_is_not_there() -> None:
    assert set(re.findall(r"`(Arklex[A-Z]\w+)`", DOCUMENT)) == {rule["alert"] for rule in RULES}


def test_nothing_of_it_is_there_by_default() -> None:
    assert not [found for found in case("default") if found["apiVersion"].startswith("monitoring.coreos.com/")]


def test_workers_are_looked_for_in_the_namespaces_that_are_served() -> None:
    everywhere = one(MONITORED, "PodMonitor", "arklex-workers")
    assert everywhere["spec"]["namespaceSelector"] == {"any": True}
    served = one(render("--set=monitoring.enabled=true,watchNamespaces={a,b}"), "PodMonitor", "arklex-workers")
    assert served["spec"]["namespaceSelector"] == {"matchNames": ["a", "b"]}


def test_without_a_metrics_api_nobody_waits_for_it() -> None:
    objects = render("--set=monitoring.enabled=true,metrics.enabled=false")
    assert {each["metadata"]["name"] for each in objects if each["kind"] == "ServiceMonitor"} == {
        "arklex-operator",
        "arklex-runtime",
    }
    (group,) = one(objects, "PrometheusRule", "arklex-alerts")["spec"]["groups"]
    assert {rule["alert"] for rule in RULES} - {rule["alert"] for rule in group["rules"]} == {
        "ArklexMetricsAPIDown",
        "ArklexMetricsAPIUnregistered",
        "ArklexWorkerLoadStale",
    }


def test_alerts_can_be_left_out() -> None:
    objects = render("--set=monitoring.enabled=true,monitoring.alerts.enabled=false")
    assert "PrometheusRule" not in {each["kind"] for each in objects}
