"""TaskGraphs under the real operator process on a real API server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeVar

import pytest

from arklex_api.versions import DIGEST, RERUN
from arklex_operator.reconcile.taskgraph_read import SCHEDULED
from tests.apiserver.api import Api, manifest
from tests.apiserver.operators import PATIENCE, Operator, operator
from tests.apiserver.test_bounds import FULL
from tests.controlplane import ControlPlane

pytestmark = pytest.mark.apiserver

T = TypeVar("T")
VALUE = [{"name": "a", "value": 1}]
MERGE = "application/merge-patch+json"


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane) -> Iterator[Operator]:
    with operator(control_plane.kubeconfig) as process:
        yield process


class Space:
    """A namespace while the operator runs."""

    def __init__(self, api: Api, namespace: str, process: Operator) -> None:
        self.api = api
        self.namespace = namespace
        self.process = process

    def apply(self, name: str = "g", kind: str = "TaskGraph", **spec: Any) -> dict[str, Any]:
        """Apply an object as a person would (server-side, under their own field manager)."""
        path = self.api.path(self.namespace, kind, name) + "?fieldManager=person&force=true"
        answer = self.api.call("PATCH", path, manifest(kind, name, spec), "application/apply-patch+yaml")
        assert answer.code in (200, 201), answer
        return answer.body

    def annotate(self, name: str, key: str, value: str) -> None:
        body = {"metadata": {"annotations": {key: value}}}
        assert self.api.call("PATCH", self.api.path(self.namespace, "TaskGraph", name), body, MERGE).code == 200

    def delete(self, kind: str, name: str) -> None:
        assert self.api.call("DELETE", self.api.path(self.namespace, kind, name)).code == 200

    def report(self, run: str, phase: str) -> None:
        """What the runtime says of a run."""
        status = {"phase": phase, "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:00Z"}
        path = self.api.path(self.namespace, "TaskGraphRun", run, "status")
        assert self.api.call("PATCH", path, {"status": status}, MERGE).code == 200

    def status(self, name: str = "g") -> dict[str, Any]:
        """The graph's status once it speaks of the graph as it is."""

        def look() -> dict[str, Any] | None:
            found = self.api.get(self.namespace, "TaskGraph", name)
            status: dict[str, Any] = found.get("status", {})
            return status if status.get("observedGeneration") == found["metadata"]["generation"] else None

        return self.until(look, f"a status of {name}")

    def condition(self, kind: str = "Accepted", name: str = "g") -> dict[str, Any]:
        return next(dict(each) for each in self.status(name)["conditions"] if each["type"] == kind)

    def accepted(self, status: str, reason: str, name: str = "g") -> str:
        """Wait until the graph is judged so; the message."""
        self.until(
            lambda: (self.condition(name=name)["status"], self.condition(name=name)["reason"]) == (status, reason),
            f"{name} Accepted={status} for {reason}",
        )
        return str(self.condition(name=name)["message"])

    def runs(self, graph: str = "g") -> list[dict[str, Any]]:
        items = self.api.call("GET", self.api.path(self.namespace, "TaskGraphRun")).body["items"]
        return sorted((each for each in items if each["spec"]["graph"] == graph), key=lambda run: str(run["metadata"]["name"]))

    def until_runs(self, count: int) -> None:
        """Wait until the graph has so many runs."""
        self.until(lambda: len(self.runs()) == count, f"{count} runs")

    def reasons(self) -> list[str]:
        path = f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events"
        return [each["reason"] for each in self.api.call("GET", path).body["items"]]

    def until(self, look: Callable[[], T | None], what: str) -> T:
        deadline = time.monotonic() + PATIENCE
        while not (found := look()):
            assert time.monotonic() < deadline, f"still not: {what}\n{self.process.log()}"
            time.sleep(0.05)
        return found

    def quiet(self, seconds: float = 1.5) -> None:
        """Let the operator do what it would."""
        time.sleep(seconds)


@pytest.fixture
def space(api: Api, namespace: str, running: Operator) -> Space:
    return Space(api, namespace, running)


def test_a_graph_is_accepted_and_its_run_made_once(space: Space) -> None:
    space.apply(tasks=VALUE, run={"query": "why", "input": {"n": 1.5}})
    status = space.status()
    (run,) = space.until(space.runs, "a run")
    graph = space.api.get(space.namespace, "TaskGraph", "g")
    digest = space.until(lambda: space.status().get("digest"), "a digest")
    assert run["metadata"]["name"] == f"g-{graph['metadata']['uid'][:8]}-{digest[:8]}"
    assert run["metadata"]["annotations"] == {DIGEST: digest}
    assert run["metadata"]["ownerReferences"][0]["uid"] == graph["metadata"]["uid"]
    assert run["spec"] == {"graph": "g", "query": "why", "input": {"n": 1.5}}
    assert graph["metadata"]["annotations"][DIGEST] == f"g/{digest}"
    assert "finalizers" not in graph["metadata"]
    assert {each["type"]: each["status"] for each in status["conditions"]} == {"Accepted": "True", "WorkersReady": "True"}
    space.until(lambda: "RunCreated" in space.reasons(), "the event")
    managers = {each["manager"] for each in graph["metadata"]["managedFields"]}
    assert managers == {"person", "arklex-operator"}


CIRCLE = [{"name": "a", "dependsOn": ["b"], "value": 1}, {"name": "b", "dependsOn": ["a"], "value": 1}]
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "cycle": ({"tasks": CIRCLE}, "Cycle"),
    "worker": ({"tasks": [{"name": "a", "worker": "nobody"}]}, "UnknownWorker"),
    "expression": ({"tasks": [{"name": "a", "value": "${1 +}"}]}, "InvalidExpression"),
    "task": ({"tasks": [{"name": "a", "value": "${tasks.b.output}"}]}, "UnknownTask"),
    "graph": ({"tasks": [{"name": "a", "graph": "nobody"}]}, "UnknownGraph"),
    "itself": ({"tasks": [{"name": "a", "graph": "itself"}]}, "GraphCycle"),
    "cron": ({"tasks": VALUE, "schedule": {"cron": "0 0 30 2 *"}}, "InvalidCron"),
    "zone": ({"tasks": VALUE, "schedule": {"cron": "0 0 * * *", "timeZone": "Mars/North"}}, "UnknownTimeZone"),
    "input": ({"tasks": VALUE, "input": {"schema": {"required": ["c"]}}, "run": {"input": {}}}, "InvalidInput"),
    "schema": ({"tasks": VALUE, "input": {"schema": {"type": "nonsense"}}}, "InvalidSchema"),
    "tool": ({"tasks": [{"name": "a", "tool": "nobody"}]}, "UnknownTool"),
}


def test_bad_graphs_are_refused_with_reason_and_field_and_others_go_on(space: Space) -> None:
    for name, (spec, _) in BAD.items():
        space.apply(name, **{**spec, "run": spec.get("run", {"query": "q"})})
    space.apply("good", tasks=VALUE, run={"query": "q"})
    for name, (_, reason) in BAD.items():
        assert space.accepted("False", reason, name).startswith("spec.")
        assert space.runs(name) == []
    space.until(lambda: space.runs("good"), "a run of the good one")
    space.until(lambda: space.reasons().count("InvalidGraph") == len(BAD), "an event for each")


def test_an_object_nested_thousands_deep_stops_nobody(space: Space) -> None:
    path, value = space.api.path(space.namespace, "TaskGraph"), b"[" * 9000 + b"1" + b"]" * 9000
    text = json.dumps(manifest("TaskGraph", "deep", {"tasks": [{"name": "a", "value": "HERE"}]})).encode()
    assert b'"uid"' in space.api.raw("POST", path, text.replace(b'"HERE"', value))
    space.until(lambda: b'"TooDeep"' in space.api.raw("GET", f"{path}/deep"), "that the deep one is refused")
    space.apply(tasks=VALUE)
    space.accepted("True", "Valid")
    assert b'"Success"' in space.api.raw("DELETE", f"{path}/deep")


def test_workers_and_sub_graphs_that_come_and_go_change_the_judgement(space: Space) -> None:
    space.apply(tasks=[{"name": "a", "graph": "h"}], run={"query": "q"})
    space.accepted("False", "UnknownGraph")
    space.apply("h", tasks=[{"name": "b", "worker": "w"}])
    assert "no Worker 'w'" in space.accepted("False", "GraphNotAccepted")
    space.apply("w", "Worker", type="custom", config={"handler": "m:f"})
    space.accepted("True", "Valid")
    space.until(space.runs, "a run")
    assert space.condition("WorkersReady")["status"] == "False"
    space.delete("Worker", "w")
    space.accepted("False", "GraphNotAccepted")
    space.accepted("False", "UnknownWorker", "h")


def test_only_what_a_run_depends_on_starts_another(space: Space) -> None:
    space.apply(tasks=VALUE, run={"query": "q"})
    space.until(space.runs, "the first run")
    for same in ({"history": {"succeeded": 1}}, {"maxParallel": 2}, {"suspend": True}, {}):
        space.apply(tasks=VALUE, run={"query": "q"}, **same)
        space.status()
    space.quiet()
    assert len(space.runs()) == 1
    space.apply(tasks=VALUE, run={"query": "another"})
    space.until_runs(2)
    space.annotate("g", RERUN, "again")
    space.until_runs(3)
    space.annotate("g", RERUN, "again")
    space.quiet()
    assert len(space.runs()) == 3


def test_a_suspended_graph_starts_nothing_until_it_is_let_go(space: Space) -> None:
    space.apply(tasks=VALUE, run={"query": "q"}, suspend=True)
    assert space.condition()["status"] == "True"
    space.quiet()
    assert space.runs() == []
    space.apply(tasks=VALUE, run={"query": "q"})
    space.until(space.runs, "a run")


def test_a_schedule_starts_its_run_at_the_minute_and_no_other(space: Space) -> None:
    space.apply(tasks=VALUE, schedule={"cron": "* * * * *", "run": {"query": "every minute"}}, history={"succeeded": 0})
    space.until(lambda: "nextScheduleTime" in space.status(), "a next time")
    expected = datetime.fromisoformat(space.status()["nextScheduleTime"])
    (run,) = space.until(space.runs, "the scheduled run")
    created = datetime.fromisoformat(run["metadata"]["creationTimestamp"])
    assert run["metadata"]["name"].endswith(f"-{int(expected.timestamp()) // 60}")
    assert datetime.fromisoformat(run["metadata"]["annotations"][SCHEDULED]) == expected <= created
    assert run["spec"]["query"] == "every minute"
    space.until(lambda: space.status().get("lastScheduleTime"), "a last time")
    assert datetime.fromisoformat(space.status()["nextScheduleTime"]) > expected
    space.apply(tasks=VALUE, schedule={"cron": "* * * * *", "run": {"query": "every minute"}}, suspend=True)
    space.report(run["metadata"]["name"], "Succeeded")
    space.status()


def test_finished_runs_beyond_the_history_are_deleted_and_active_ones_stay(space: Space) -> None:
    space.apply(tasks=VALUE, run={"query": "0"}, history={"succeeded": 1, "failed": 1})
    space.until(space.runs, "a run")
    for number in range(1, 5):
        space.apply(tasks=VALUE, run={"query": str(number)}, history={"succeeded": 1, "failed": 1})
        space.until_runs(number + 1)
    for run in space.runs()[:4]:
        space.report(run["metadata"]["name"], "Succeeded")
    space.until_runs(2)
    space.quiet()
    phases = [run.get("status", {}).get("phase") for run in space.runs()]
    assert sorted(map(str, phases)) == ["None", "Succeeded"]
    assert "Pruned" in space.reasons()


def test_a_run_that_the_api_server_refuses_holds_back_no_condition(space: Space) -> None:
    name = f"deny-{space.namespace}"
    rule = {"apiGroups": ["arklex.ai"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["taskgraphruns"]}
    policy = {
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": f"request.namespace != '{space.namespace}'", "message": "not today"}],
        },
    }
    binding = {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}}
    group = "/apis/admissionregistration.k8s.io/v1"
    assert space.api.call("POST", f"{group}/validatingadmissionpolicies", policy).code == 201
    assert space.api.call("POST", f"{group}/validatingadmissionpolicybindings", binding).code == 201
    probe = manifest("TaskGraphRun", "probe", {"graph": "x"})
    space.until(lambda: space.api.create(space.namespace, probe, dry_run=True).code == 422, "the policy to hold")
    space.apply(tasks=VALUE, run={"query": "q"})
    space.accepted("True", "Valid")
    space.until(lambda: "RunNotCreated" in space.reasons(), "the event")
    assert ("digest" in space.status(), space.runs()) == (False, [])
    assert space.api.call("DELETE", f"{group}/validatingadmissionpolicybindings/{name}").code == 200
    space.until(space.runs, "the run, once it is allowed")


def test_where_nothing_changes_nothing_is_written(space: Space) -> None:
    space.apply("w", "Worker", type="custom", config={"handler": "m:f"})
    for number in range(5):
        space.apply(f"g{number}", tasks=[{"name": "a", "worker": "w"}], schedule={"cron": "0 0 1 1 *"})
        space.status(f"g{number}")
    space.quiet(2)
    path = space.api.path(space.namespace, "TaskGraph")
    before = [each["metadata"]["resourceVersion"] for each in space.api.call("GET", path).body["items"]]
    space.annotate("g0", "anybody/s", "note")
    space.apply("w2", "Worker", type="custom", config={"handler": "m:f"})
    space.quiet(3)
    after = [each["metadata"]["resourceVersion"] for each in space.api.call("GET", path).body["items"]]
    assert (after[1:], after[0] == before[0]) == (before[1:], False)
    owned = [each["manager"] for each in space.api.get(space.namespace, "TaskGraph", "g0")["metadata"]["managedFields"]]
    assert owned.count("arklex-operator") == 1


def test_every_change_of_a_spec_is_judged_and_taken_back(space: Space) -> None:
    """T11 of reliability.md: each field of a full graph put into a small one and taken out again; nothing is left of it."""
    base: dict[str, Any] = {"tasks": VALUE}
    full = FULL["TaskGraph"]["spec"]
    changes = [{**base, key: value} for key, value in full.items() if key not in ("tasks", "run")]
    changes += [{"tasks": [task, *VALUE]} for task in full["tasks"]]
    space.apply(**base)
    before = {key: value for key, value in space.status().items() if key != "observedGeneration"}
    for spec in changes:
        space.apply(**spec)
        assert space.condition()["status"] in ("True", "False")
        space.apply(**base)
        space.accepted("True", "Valid")
        after = {key: value for key, value in space.status().items() if key != "observedGeneration"}
        assert _timeless(after) == _timeless(before), spec
    assert len(changes) > 15 and space.runs() == []
    lines = space.process.log_file.read_text().splitlines()
    assert [line for line in lines if "a reconcile failed" in line and space.namespace in line] == []


def _timeless(status: dict[str, Any]) -> dict[str, Any]:
    times = {"lastTransitionTime", "observedGeneration"}
    conditions = [{key: value for key, value in each.items() if key not in times} for each in status["conditions"]]
    return {**status, "conditions": conditions}
