"""Replicas of the runtime over one PostgreSQL: a run is driven by one of them, and by another when that dies or hangs."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet import NAMESPACE, Fleet, fleet, until
from tests.services import PostgresServer, RedisServer, postgres_server

pytestmark = [pytest.mark.postgresql, pytest.mark.redis]

MANIFESTS = """
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: ask}
spec:
  tasks:
  - {name: first, value: 1}
  - {name: check, dependsOn: [first], approval: {message: "Go on?"}}
  - {name: done, dependsOn: [check], value: "${tasks.check.output.by}"}
  output: ${tasks.done.output}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Return a PostgreSQL that these tests may stop."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def replicas(tmp_path: Path, server: PostgresServer, redis_process: RedisServer) -> Iterator[Fleet]:
    """Return two replicas."""
    url = server.database(f"t{uuid.uuid4().hex}")
    with fleet(tmp_path, MANIFESTS, url, redis_process.url) as made:
        made.add()
        made.add()
        yield made


def owners(server: PostgresServer, replicas: Fleet) -> dict[str, str]:
    """Return the owner's pod of each unfinished run."""
    database = replicas.environ["ARKLEX_JOURNAL_URL"].rpartition("/")[2]
    rows = server.psql("SELECT run_id, COALESCE(owner, '@') FROM runs WHERE finished_at IS NULL", database)
    return {run: owner.partition("@")[2] for run, owner in (row.split("|") for row in rows.splitlines())}


def claims(server: PostgresServer, replicas: Fleet) -> int:
    """Return how often runs were taken over."""
    database = replicas.environ["ARKLEX_JOURNAL_URL"].rpartition("/")[2]
    return int(server.psql("SELECT COUNT(*) FROM events WHERE convert_from(events, 'UTF8') LIKE '[[\"claimed\"%'", database))


def decide(replicas: Fleet, through: int, runs: list[str]) -> None:
    """Approve, and see that each run ends once and well."""
    replica = replicas.replicas[through]
    for run in runs:
        status, answer, _ = replica.call(
            "POST", f"/v1/namespaces/{NAMESPACE}/runs/{run}/approvals/check", {"approved": True, "by": "ann"}
        )
        assert status == 200, answer
    for run in runs:
        document = replica.ended(run)
        assert (document["phase"], document["output"]) == ("Succeeded", "ann")


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_runs_of_a_dead_or_frozen_replica_go_on_elsewhere(how: str, replicas: Fleet, server: PostgresServer) -> None:
    one, two = replicas.replicas
    runs = [one.begin("ask") for _ in range(10)]
    assert set(owners(server, replicas).values()) == {"runtime-0"}
    one.send(signal.SIGKILL if how == "kill" else signal.SIGSTOP)
    until(lambda: set(owners(server, replicas).values()) == {"runtime-1"}, lambda: two.text())
    decide(replicas, 1, runs[:5])
    if how == "freeze":
        one.send(signal.SIGCONT)
        until(lambda: one.metrics()["arklex_leases_lost_total"] == 1, lambda: one.text())
        until(lambda: "an owner again" in one.text() and one.ready())
        assert one.metrics()["arklex_runs_active"] == 0
        decide(replicas, 0, [one.begin("ask")])
    decide(replicas, 1, runs[5:])
    assert claims(server, replicas) == len(runs)


def test_a_replica_that_is_told_to_go_hands_over_at_once(replicas: Fleet, server: PostgresServer) -> None:
    one, two = replicas.replicas
    runs = [one.begin("ask") for _ in range(10)]
    assert one.stop() == 0, one.text()
    assert "10" in next(line for line in one.text().splitlines() if "runs handed over" in line)
    until(lambda: set(owners(server, replicas).values()) == {"runtime-1"}, lambda: two.text())
    decide(replicas, 1, runs)
    assert claims(server, replicas) == len(runs)


def test_a_restart_of_the_database_loses_nothing(replicas: Fleet, server: PostgresServer) -> None:
    one, two = replicas.replicas
    runs = [replica.begin("ask") for replica in (one, two) for _ in range(5)]
    for _ in range(3):
        server.stop()
        server.start()
        until(lambda: one.ready() and two.ready())
        runs.append(one.begin("ask"))
    server.stop()
    until(lambda: one.probe("readyz") == 503 and two.probe("readyz") == 503)
    status, answer, headers = one.call("POST", f"/v1/namespaces/{NAMESPACE}/taskgraphs/ask/runs", {})
    assert (status, answer["type"].rpartition("/")[2]) == (503, "database-unavailable") and int(headers["Retry-After"]) >= 1
    assert one.probe("healthz") == 200
    server.start()
    until(lambda: one.ready() and two.ready(), lambda: one.text())
    decide(replicas, 0, runs)


def test_a_replica_waits_for_its_database_and_goes_when_told(
    tmp_path: Path, server: PostgresServer, redis_process: RedisServer
) -> None:
    url = server.database("late")
    server.stop()
    try:
        with fleet(tmp_path, MANIFESTS, url, redis_process.url) as made:
            told, waits = made.add(wait=False), made.add(wait=False)
            until(lambda: all("waiting for the journal" in each.text() for each in (told, waits)), lambda: told.text())
            assert (told.probe("healthz"), told.probe("readyz")) == (200, 503)
            assert told.stop() == 0
            server.start()
            until(waits.ready)
            decide(made, 1, [waits.begin("ask")])
    finally:
        if server.process is None:
            server.start()


def test_a_run_that_only_waits_is_put_away_and_woken(
    tmp_path: Path, server: PostgresServer, redis_process: RedisServer
) -> None:
    url = server.database("parked")
    with fleet(tmp_path, MANIFESTS, url, redis_process.url, ARKLEX_PARK_SECONDS="0.5") as made:
        one = made.add()
        runs = [one.begin("ask") for _ in range(5)]
        until(lambda: one.metrics()["arklex_runs_parked_total"] == 5, lambda: one.text())
        assert one.metrics()["arklex_runs_active"] == 0
        assert set(owners(server, made).values()) == {""}
        assert one.show(runs[0])["tasks"]["check"]["phase"] == "Waiting"
        decide(made, 0, runs)


def test_sqlite_takes_one_replica(tmp_path: Path, redis_process: RedisServer) -> None:
    with fleet(tmp_path, MANIFESTS, f"sqlite:///{tmp_path / 'journal.db'}", redis_process.url) as made:
        one = made.add()
        run = one.begin("ask")
        two = made.add(wait=False)
        until(lambda: "another runtime has" in two.text(), lambda: two.text())
        assert one.stop() == 0
        until(two.ready)
        decide(made, 1, [run])


def test_settings_that_make_no_runtime_are_said(tmp_path: Path, redis_process: RedisServer) -> None:
    with fleet(tmp_path, MANIFESTS, "", redis_process.url) as made:
        replica = made.add(wait=False)
        assert replica.process is not None and replica.process.wait(timeout=60) == 2
        assert "ARKLEX_JOURNAL_URL" in replica.text()
