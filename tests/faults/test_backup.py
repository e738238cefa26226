"""The journal is backed up under load, lost, and restored into a new database: what docs/operations.md promises holds (T15)."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest
import redis

from tests.faults.ledger import BEGIN, read_ledger
from tests.fleet import NAMESPACE, Replica, fleet, until
from tests.pods import Cluster, worker
from tests.services import PostgresServer

pytestmark = [pytest.mark.postgresql, pytest.mark.redis]

MANIFESTS = """
apiVersion: arklex.ai/v1alpha1
kind: Worker
metadata: {name: work}
spec: {type: custom, concurrency: 40, config: {handler: "tests.pod_handlers:work"}}
---
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: chain}
spec:
  tasks:
  - {name: a, worker: work, action: sleep, with: {seconds: 0.1}}
  - {name: b, dependsOn: [a], worker: work, action: sleep, with: {seconds: "${input.seconds}"}}
  - {name: c, dependsOn: [b], worker: work, action: sleep, with: {seconds: 0.1}}
---
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: gate}
spec:
  tasks:
  - {name: a, worker: work, action: echo}
  - {name: ask, dependsOn: [a], approval: {message: Go on?}}
  - {name: z, dependsOn: [ask], worker: work, action: echo}
"""
RUNS = 20


def begun(pods: Cluster) -> Counter[tuple[str, str]]:
    """How often each (run, task) was begun."""
    return Counter((entry.run, entry.task) for entry in read_ledger(pods.ledger) if entry.kind == BEGIN)


def is_done(replica: Replica, run: str, task: str) -> bool:
    """Whether a task's result is committed."""
    return bool(replica.show(run)["tasks"].get(task, {}).get("phase") == "Succeeded")


def start_once(replica: Replica, key: str) -> str:
    """Start a run under an Idempotency-Key; returns its id."""
    path, body = f"/v1/namespaces/{NAMESPACE}/taskgraphs/chain/runs", {"input": {"seconds": 0}}
    status, answer, _ = replica.call("POST", path, body, Idempotency_Key=key)
    assert status in (200, 202), answer
    return str(answer["run"])


@pytest.mark.parametrize("emptied", [False, True], ids=["redis-kept", "redis-empty"])
def test_a_restored_journal_goes_on(emptied: bool, tmp_path: Path, postgres: PostgresServer, redis_url: str) -> None:
    name = f"backup-{emptied}"
    pods = Cluster(redis_url, tmp_path, lease=3.0, namespace=NAMESPACE)
    try:
        pods.pod(worker(concurrency=40))
        with fleet(tmp_path, MANIFESTS, postgres.database(name), redis_url) as made:
            first = made.add()
            over = first.begin("chain", input={"seconds": 0})
            first.ended(over)
            gate = first.begin("gate")
            until(lambda: is_done(first, gate, "a"))
            flying = [first.begin("chain", input={"seconds": 1 + index % 4}) for index in range(RUNS)]
            until(lambda: all(is_done(first, run, "a") for run in flying))

            backup = postgres.dump(name)
            for run in flying[: RUNS // 2]:
                first.ended(run)
            late = start_once(first, "late")
            first.ended(late)
            first.stop(signal.SIGKILL)
            if emptied:
                with redis.Redis.from_url(redis_url) as client:
                    client.flushall()

            second = made.add(ARKLEX_JOURNAL_URL=postgres.restore(backup, f"{name}-restored"))
            again = [second.ended(run) for run in flying]
            status, _, _ = second.call("POST", f"/v1/namespaces/{NAMESPACE}/runs/{gate}/approvals/ask", {"approved": True})
            assert status == 200
            waited = second.ended(gate)
            forgotten, _, _ = second.call("GET", f"/v1/namespaces/{NAMESPACE}/runs/{late}")
            repeated = second.ended(start_once(second, "late"))
            kept = second.show(over)
    finally:
        pods.close()
    assert {document["phase"] for document in (*again, waited, kept, repeated)} == {"Succeeded"}
    assert forgotten == 404, "what the backup does not know is gone"
    counts = begun(pods)
    committed = [(run, "a") for run in (*flying, gate)] + [(over, task) for task in "abc"]
    assert {pair: counts[pair] for pair in committed if counts[pair] != 1} == {}, "in the backup, and begun again"
    assert {pair: count for pair, count in counts.items() if count > 2} == {}
    keys: dict[tuple[str, str], set[str]] = {}
    for entry in read_ledger(pods.ledger):
        keys.setdefault((entry.run, entry.task), set()).add(entry.key)
    assert {pair: found for pair, found in keys.items() if len(found) != 1} == {}, "a repeated task has the key it had"
