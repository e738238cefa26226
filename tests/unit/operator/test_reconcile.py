"""Refusals, rollouts, Secrets of tools, the status and its events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from arklex_operator.load.usage import Usage
from arklex_operator.manifests.kinds import DEPLOYMENT, HPA, kind_of
from arklex_operator.reconcile.pods import Trouble
from arklex_operator.reconcile.rollouts import Rollouts, rolling
from arklex_operator.reconcile.secrets import read_graph, secrets_for
from arklex_operator.reconcile.worker import Facts, Figures, judge, plan
from arklex_operator.reconcile.worker_status import differs, events, status, worth_telling
from tests.unit.operator.examples import CPU, EXTERNAL, KEDA, SETTINGS, facts, raw

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def settled(given: Facts) -> Facts:
    """The facts after what was planned."""
    for child in plan(given, judge(given)).applies:
        metadata = {**child["metadata"], "uid": f"uid-{child['kind']}", "generation": 1, "resourceVersion": "9"}
        given.live[kind_of(child)] = {**child, "metadata": metadata, "status": {"observedGeneration": 1}}
    return given


def condition(told: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(each for each in told["conditions"] if each["type"] == kind)


def test_a_new_pool_starts_at_its_least_and_never_at_none() -> None:
    assert [each.replicas for each in plan(facts("custom"), judge(facts("custom"))).scales] == [2]
    assert plan(facts("llm"), judge(facts("llm"))).scales == []
    again = settled(facts("custom"))
    again.worker["spec"]["concurrency"] = 3
    made = plan(again, judge(again))
    assert [each["kind"] for each in made.applies] == ["Deployment"] and made.scales == []


def test_another_image_of_ours_waits_for_its_turn_and_the_authors_change_does_not() -> None:
    given = settled(facts("custom"))
    given.settings = type(SETTINGS)(**{**_fields(SETTINGS), "images": {"custom": "arklex/worker:2"}})
    given.may_roll = lambda: False
    waits = plan(given, judge(given))
    assert waits.applies == [] and waits.requeue_after is not None
    given.worker["spec"]["drainSeconds"] = 5
    assert [each["kind"] for each in plan(given, judge(given)).applies] == ["Deployment"]


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in type(value).__dataclass_fields__}


def test_rollouts_are_counted_until_they_are_done() -> None:
    done = {"metadata": {"generation": 2}, "spec": {"replicas": 2}}
    done["status"] = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}
    under_way = {**done, "status": {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "readyReplicas": 2}}
    assert rolling(under_way) and not rolling(done)
    counted = Rollouts(0.1)
    a, b, c = (("n", name) for name in "abc")
    assert counted.begin(a, 5) and counted.begin(a, 5) and not counted.begin(b, 5)
    assert counted.begin(b, 20)
    counted.observe(b, done)
    counted.observe(a, under_way)
    stuck = {**under_way, "status": {**under_way["status"], "conditions": [{"reason": "ProgressDeadlineExceeded"}]}}
    counted.observe(a, stuck)
    assert not counted.begin(b, 5)
    counted.observe(a, done)
    counted.observe(c, under_way)
    assert not counted.begin(b, 5)
    counted.observe(c, stuck)
    assert counted.begin(b, 5)


def test_the_next_in_turn_is_named_when_a_rollout_ends() -> None:
    done = {"metadata": {"generation": 1}, "spec": {"replicas": 0}, "status": {"observedGeneration": 1}}
    counted = Rollouts(0.1)
    a, b, c, d = (("n", name) for name in "abcd")
    assert [counted.begin(each, 4) for each in (a, b, c, d, b)] == [True, False, False, False, False]
    assert counted.observe(b, done) is None
    assert counted.observe(b, None) is None
    assert counted.observe(a, done) == c
    assert counted.begin(c, 4)
    assert counted.observe(c, done) == d


def test_only_those_who_call_a_tool_get_its_secret() -> None:
    tools = [
        {"name": "x", "http": {"auth": {"secretRef": {"name": "sx", "key": "k"}}}},
        {"name": "y", "worker": "b", "http": {"auth": {"secretRef": {"name": "sy", "key": "k"}}}},
        {"name": "z", "http": {"url": "https://open.example"}},
    ]
    use = read_graph({"spec": {"tools": tools, "tasks": [{"name": "t", "worker": "m"}, {"name": "u", "tool": "x"}]}})
    assert secrets_for("a", "tool", [use], ["a"]) == {("sx", "k")}
    assert secrets_for("a", "tool", [use], ["a", "b"]) == frozenset()
    assert secrets_for("b", "tool", [use], ["a", "b"]) == {("sy", "k")}
    assert secrets_for("m", "llm", [use], []) == {("sx", "k"), ("sy", "k")}
    assert secrets_for("other", "llm", [use], []) == frozenset()
    assert secrets_for("m", "custom", [use], []) == frozenset()


@pytest.mark.parametrize("spec", [{}, {"tools": "no"}, {"tools": [{"http": {"auth": 3}}]}, {"tools": [1], "tasks": [None]}])
def test_a_wrong_graph_needs_no_secret(spec: dict[str, Any]) -> None:
    assert read_graph({"spec": spec}).tools == frozenset()


def test_the_hpa_leaves_when_keda_scales() -> None:
    given = settled(facts("custom"))
    given.found = KEDA
    made = plan(given, judge(given))
    assert [each.kind for each in made.deletes] == [HPA]
    assert {each["kind"] for each in made.applies} == {"TriggerAuthentication", "ScaledObject"}


def test_a_status_is_written_once() -> None:
    given = settled(facts("custom", CPU))
    first = status(given, judge(given), NOW)
    given.worker["status"] = first
    later = status(given, judge(given), NOW + timedelta(hours=1))
    assert not differs(first, later)
    assert all(
        each["observedGeneration"] == 1 and each["lastTransitionTime"] == "2026-01-01T00:00:00Z" for each in later["conditions"]
    )


def test_conditions_tell_what_is_observed() -> None:
    given = settled(facts("custom"))
    assert condition(status(given, judge(given), NOW), "Available")["reason"] == "Starting"
    given.live[DEPLOYMENT]["spec"]["replicas"] = 0
    assert condition(status(given, judge(given), NOW), "Available")["reason"] == "Asleep"
    given.live[DEPLOYMENT]["spec"]["replicas"] = 2
    given.live[DEPLOYMENT]["status"] = {"replicas": 2, "readyReplicas": 1}
    told = status(given, judge(given), NOW)
    assert condition(told, "Available")["status"] == "True"
    assert (told["replicas"], told["readyReplicas"], told["desiredReplicas"]) == (2, 1, 2)


def test_a_change_of_size_is_dated() -> None:
    given = settled(facts("custom"))
    given.live[DEPLOYMENT]["spec"]["replicas"] = 2
    given.worker["status"] = status(given, judge(given), NOW)
    assert "lastScaleTime" not in given.worker["status"]
    given.live[DEPLOYMENT]["spec"]["replicas"] = 3
    assert status(given, judge(given), NOW)["lastScaleTime"] == "2026-01-01T00:00:00Z"


def test_what_the_api_server_refused_is_said() -> None:
    given = facts("custom", refused=[Trouble("Forbidden", "the namespace is being terminated")])
    told = status(given, judge(given), NOW)
    assert condition(told, "Accepted")["reason"] == condition(told, "Available")["reason"] == "Forbidden"
    (said,) = events({}, told)
    assert (said.type, said.reason) == ("Warning", "Forbidden")
    assert events(told, told) == []


def test_idle_pods_above_the_threshold_are_told_with_steady_figures() -> None:
    given = settled(facts("custom"))
    given.figures = Figures(0, 0, Usage(0.1, 0.6, 2))
    given.worker["status"] = status(given, judge(given), NOW)
    assert condition(given.worker["status"], "IdleBelowThreshold")["status"] == "False"
    given.figures = Figures(0, 0, Usage(0.1, 0.61, 2))
    assert not differs(given.worker["status"], status(given, judge(given), NOW))
    given.figures = Figures(3, 0, Usage(0.1, 0.1, 2))
    assert condition(status(given, judge(given), NOW), "IdleBelowThreshold")["status"] == "False"


@pytest.mark.parametrize(
    ("shown", "now", "loads", "worth"),
    [
        (Figures(100, 10), Figures(104, 10), (1.0, 1.04), False),
        (Figures(100, 10), Figures(105, 10), (1.0, 1.0), True),
        (Figures(100, 10), Figures(100, 10), (1.0, 1.06), True),
        (Figures(0, 0), Figures(1, 0), (0.0, 0.1), True),
        (Figures(1, 0), Figures(0, 0), (0.1, 0.0), True),
        (Figures(None, None), Figures(0, 0), (0.0, 0.0), True),
    ],
)
def test_small_changes_are_not_worth_a_write(shown: Figures, now: Figures, loads: tuple[float, float], worth: bool) -> None:
    assert worth_telling(shown, now, *loads) is worth


def test_a_worker_that_cannot_be_read_keeps_its_pods() -> None:
    given = settled(facts("custom"))
    given.worker = raw("custom", concurrency="many")
    judged = judge(given)
    assert judged.refusal is not None and judged.refusal.reason == "Invalid" and "spec.concurrency" in judged.refusal.message
    assert plan(given, judged).writes == 0
    told = status(given, judged, NOW)
    assert condition(told, "Accepted")["status"] == "False" and condition(told, "Available")["reason"] == "Starting"


def test_an_object_without_an_image_is_not_made() -> None:
    given = Facts(raw("llm"), type(SETTINGS)(redis_url="redis://r"), EXTERNAL)
    judged = judge(given)
    assert judged.refusal is not None and judged.refusal.reason == "ImageUnset"
