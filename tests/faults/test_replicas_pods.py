"""Replicas go while pods work: told to, or killed. No run is lost and no task runs twice; the next owner waits for results."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.ledger import BEGIN, read_ledger
from tests.fleet import NAMESPACE, fleet, until
from tests.pods import Cluster, worker
from tests.services import PostgresServer

pytestmark = [pytest.mark.postgresql, pytest.mark.redis]

MANIFESTS = """
apiVersion: arklex.ai/v1alpha1
kind: Worker
metadata: {name: work}
spec: {type: custom, concurrency: 20, config: {handler: "tests.pod_handlers:work"}}
---
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: chain}
spec:
  tasks:
  - {name: a, worker: work, action: sleep, with: {seconds: 0.3}}
  - {name: b, dependsOn: [a], worker: work, action: sleep, with: {seconds: 0.3}}
  - {name: c, dependsOn: [b], worker: work, action: sleep, with: {seconds: 0.3}}
  - {name: d, dependsOn: [c], worker: work, action: sleep, with: {seconds: 0.3}}
"""
RUNS = 40
ROUNDS = 3


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_task_runs_twice(how: signal.Signals, tmp_path: Path, postgres: PostgresServer, redis_url: str) -> None:
    url = postgres.database(f"pods{how.name.lower()}")
    pods = Cluster(redis_url, tmp_path, lease=3.0, namespace=NAMESPACE)
    try:
        for _ in range(2):
            pods.pod(worker(concurrency=20))
        with fleet(tmp_path, MANIFESTS, url, redis_url) as made:
            made.add()
            runs: list[str] = []
            for round_ in range(ROUNDS):
                fresh = made.add()
                old = made.replicas[round_]
                for index in range(RUNS // ROUNDS + 1):
                    runs.append((old if index % 2 else fresh).begin("chain"))
                    time.sleep(0.05)
                assert old.stop(how) == (0 if how is signal.SIGTERM else -signal.SIGKILL), old.text()
            last = made.replicas[-1]
            documents = [last.ended(run) for run in runs]
            until(lambda: last.metrics()["arklex_runs_active"] == 0)
            taken = last.metrics()["arklex_runs_taken_over_total"]
    finally:
        pods.close()
    assert [document["phase"] for document in documents] == ["Succeeded"] * len(runs)
    begun = Counter((entry.run, entry.task) for entry in read_ledger(pods.ledger) if entry.kind == BEGIN)
    assert len(begun) == 4 * len(runs)
    assert {pair: count for pair, count in begun.items() if count != 1} == {}
    assert {task["attempts"] for document in documents for task in document["tasks"].values()} == {1}
    assert taken > 0
