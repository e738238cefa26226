"""A replica whose connections to the database are half open: its runs go on elsewhere, and it comes back by itself."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.fleet import NAMESPACE, fleet, until
from tests.integration.test_replicas import MANIFESTS
from tests.proxies import proxy
from tests.services import PostgresServer, RedisServer

pytestmark = [pytest.mark.postgresql, pytest.mark.redis]


def test_half_open_connections(tmp_path: Path, postgres: PostgresServer, redis_process: RedisServer) -> None:
    url = postgres.database("halfopen")
    with proxy(postgres.port) as between, fleet(tmp_path, MANIFESTS, url, redis_process.url) as made:
        one = made.add(ARKLEX_JOURNAL_URL=url.replace(f":{postgres.port}/", f":{between.port}/"))
        two = made.add()
        runs = [one.begin("ask") for _ in range(6)]
        between.silent = True
        until(lambda: two.metrics()["arklex_runs_taken_over_total"] == len(runs), two.text)
        until(lambda: one.probe("readyz") == 503, one.text)
        for run in runs:
            path = f"/v1/namespaces/{NAMESPACE}/runs/{run}/approvals/check"
            assert two.call("POST", path, {"approved": True, "by": "ann"})[0] == 200
        assert [two.ended(run)["output"] for run in runs] == ["ann"] * len(runs)
        answers: list[int] = []
        asked = threading.Thread(
            target=lambda: answers.append(one.call("POST", f"/v1/namespaces/{NAMESPACE}/taskgraphs/ask/runs", {})[0])
        )
        asked.start()
        asked.join(60)
        assert answers == [503]
        assert one.probe("healthz") == 200
        between.silent = False
        until(lambda: "an owner again" in one.text() and one.ready(), one.text)
        run = one.begin("ask")
        assert one.call("POST", f"/v1/namespaces/{NAMESPACE}/runs/{run}/cancel", {})[0] == 202
        assert one.ended(run)["phase"] == "Cancelled"
