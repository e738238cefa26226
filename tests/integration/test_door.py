"""The door of a real replica: what it takes, what it refuses, and how it says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fleet import NAMESPACE, Fleet, Replica, fleet, until
from tests.services import PostgresServer, RedisServer

pytestmark = [pytest.mark.postgresql, pytest.mark.redis]

MANIFESTS = """
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: greet}
spec:
  input: {schema: {type: object, required: [who], properties: {who: {type: string}}}}
  tasks:
  - {name: hello, value: "Hello ${input.who}"}
  output: ${tasks.hello.output}
---
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: ask}
spec:
  tasks:
  - {name: check, approval: {message: "Go on?"}}
  - {name: done, dependsOn: [check], value: "${tasks.check.output.by}"}
  output: ${tasks.done.output}
"""
RUNS = f"/v1/namespaces/{NAMESPACE}/runs"
GREET = f"/v1/namespaces/{NAMESPACE}/taskgraphs/greet/runs"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, redis_process: RedisServer) -> Iterator[Fleet]:
    """One replica over PostgreSQL."""
    url = postgres.database("door")
    with fleet(tmp_path_factory.mktemp("door"), MANIFESTS, url, redis_process.url, ARKLEX_MAX_RUNS="40") as made:
        made.add()
        yield made


@pytest.fixture
def door(servers: Fleet) -> Replica:
    return servers.replicas[0]


def errors(answer: dict[str, Any]) -> list[str]:
    return [error["path"] for error in answer.get("errors", [])]


def test_a_run_is_started_and_waited_for(door: Replica) -> None:
    status, answer, _ = door.call("POST", GREET + "?wait=30s", {"input": {"who": "Ada"}})
    assert (status, answer["phase"], answer["output"]) == (200, "Succeeded", "Hello Ada")
    status, answer, headers = door.call("POST", GREET, {"input": {"who": "Bob"}})
    assert status == 202 and headers["Location"] == f"{RUNS}/{answer['run']}"
    assert door.ended(answer["run"])["output"] == "Hello Bob"
    status, answer, _ = door.call("GET", f"{RUNS}?graph=greet&phase=Succeeded&limit=1")
    assert status == 200 and [row["graph"] for row in answer["runs"]] == ["greet"]


@pytest.mark.parametrize("token", [None, "", "wrong", "a-token-of-test", "a-token-of-testsX"])
@pytest.mark.parametrize("path", [RUNS, GREET, "/", "/v1/nothing"])
def test_nothing_is_answered_without_the_token(door: Replica, token: str | None, path: str) -> None:
    status, answer, headers = door.call("GET", path, token=token)
    assert (status, answer["status"], answer["type"].rpartition("/")[2]) == (401, 401, "unauthenticated")
    assert headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "input"),
        ({"input": {"who": 1}}, "input.who"),
        ({"input": {"who": "x"}, "qurey": "x"}, "qurey"),
        ({"query": 1}, "query"),
        ({"context": []}, "context"),
        ({"input": {"who": "x"}, "query": "x" * 10_001}, "query"),
        (b"{", ""),
        (b"[]", ""),
        (b'{"input": {"who": "x"}, "context": {"n": 99999999999999999999}}', ""),
    ],
)
def test_bad_input_is_refused_with_the_field(door: Replica, body: Any, field: str) -> None:
    status, answer, headers = door.call("POST", GREET, body)
    assert (status, headers["Content-Type"]) == (422, "application/problem+json"), answer
    assert errors(answer) == [field] or field in answer["detail"]


def test_a_large_body_is_refused_and_a_megabyte_is_not(door: Replica) -> None:
    status, answer, _ = door.call("POST", GREET, {"input": {"who": "x" * (1_200_000)}})
    assert (status, answer["type"].rpartition("/")[2]) == (413, "too-large")
    status, answer, _ = door.call("POST", GREET, {"input": {"who": "x" * 1_000_000}})
    assert status == 202, answer


def test_unknown_and_foreign_things_do_not_exist(door: Replica) -> None:
    run = door.begin("greet", input={"who": "x"})
    for path in (f"{RUNS}/nothing", f"/v1/namespaces/other/runs/{run}", f"/v1/namespaces/other/runs/{run}/events"):
        assert door.call("GET", path)[0] == 404, path
    assert door.call("POST", "/v1/namespaces/other/taskgraphs/greet/runs", {})[0] == 404
    assert door.call("POST", f"/v1/namespaces/{NAMESPACE}/taskgraphs/nothing/runs", {})[0] == 404
    assert door.call("DELETE", f"{RUNS}/{run}")[0] == 405
    assert door.call("GET", "/v1/namespaces/other/runs")[1] == {"runs": []}


def test_one_key_is_one_run(door: Replica) -> None:
    answers = [door.call("POST", GREET, {"input": {"who": "K"}}, Idempotency_Key="k-1") for _ in range(3)]
    assert {status for status, *_ in answers} == {202}
    assert len({answer["run"] for _, answer, _ in answers}) == 1
    status, answer, _ = door.call("POST", GREET, {"input": {"who": "L"}}, Idempotency_Key="k-1")
    assert status == 422 and errors(answer) == ["Idempotency-Key"]
    other = door.call("POST", GREET, {"input": {"who": "K"}}, Idempotency_Key="k-2")[1]["run"]
    assert other != answers[0][1]["run"]


def test_an_approval_is_decided_once(door: Replica) -> None:
    run = door.begin("ask")
    until(lambda: door.show(run)["tasks"]["check"]["phase"] == "Waiting")
    place = f"{RUNS}/{run}/approvals/check"
    assert door.call("POST", place, {"approved": "yes"})[0] == 422
    assert door.call("POST", f"{RUNS}/{run}/approvals/nothing", {"approved": True})[0] == 404
    assert door.call("POST", place, {"approved": True, "by": "eve"})[0] == 200
    assert door.call("POST", place, {"approved": True, "by": "mallory"})[0] == 200
    assert door.call("POST", place, {"approved": False})[0] == 409
    assert door.ended(run)["output"] == "eve"
    events = door.call("GET", f"{RUNS}/{run}/events")[1]["events"]
    assert len(events) > 2


def test_a_run_is_cancelled(door: Replica) -> None:
    run = door.begin("ask")
    status, answer, _ = door.call("POST", f"{RUNS}/{run}/cancel", {"reason": "enough"})
    assert (status, answer["cancel"]) == (202, "requested")
    document = door.ended(run)
    assert (document["phase"], document["error"]["message"]) == ("Cancelled", "enough")
    assert door.call("POST", f"{RUNS}/{run}/cancel", {})[0] == 409
    assert door.call("GET", f"{RUNS}/{run}/logs?task=check")[1] == {"logs": []}


def test_a_full_replica_says_when_to_ask_again(door: Replica) -> None:
    runs: list[str] = []
    until(lambda: door.metrics()["arklex_runs_active"] == 0)
    while len(runs) < 40:
        runs.append(door.begin("ask"))
    status, answer, headers = door.call("POST", GREET, {"input": {"who": "x"}})
    assert (status, answer["type"].rpartition("/")[2]) == (503, "overloaded") and int(headers["Retry-After"]) >= 1
    for run in runs:
        door.call("POST", f"{RUNS}/{run}/cancel", {})
    for run in runs:
        assert door.ended(run)["phase"] == "Cancelled"
    assert door.call("POST", GREET, {"input": {"who": "x"}})[0] == 202


def test_probes_metrics_and_logs(door: Replica) -> None:
    door.ended(door.begin("greet", input={"who": "x"}))
    assert (door.probe("healthz"), door.probe("readyz")) == (200, 200)
    labels = f'graph="greet",namespace="{NAMESPACE}",phase="Succeeded"'
    assert door.metrics()[f"arklex_runs_ended_total{{{labels}}}"] >= 1
    lines = [json.loads(line) for line in door.text().splitlines()]
    assert any(line["event"] == "running" for line in lines)
    assert "a-token-of-tests" not in door.text()
