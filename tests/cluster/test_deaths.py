"""Killed in mid-run, one at a time: the run ends and each result counts once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.convoy import Convoy
from tests.cluster.kube import Kube
from tests.cluster.ledger import ledger_server
from tests.cluster.release import Release
from tests.cluster.victims import kill_one, ready_pods, signal_pod, stopped

Fault = Callable[[Release, Kube], None]


def runtime(release: Release, space: Kube) -> None:
    kill_one(release.kube, release.selects("runtime"))


def worker_pod(release: Release, space: Kube) -> None:
    kill_one(space, "arklex.ai/worker=probe")


def operator(release: Release, space: Kube) -> None:
    for pod in ready_pods(release.kube, release.selects("operator")):
        signal_pod(pod, signal.SIGKILL)


def redis(release: Release, space: Kube) -> None:
    kill_one(release.kube, release.selects("redis"))


def redis_emptied(release: Release, space: Kube) -> None:
    release.redis_cli("FLUSHALL")


def runtime_stopped(release: Release, space: Kube) -> None:
    pod = ready_pods(release.kube, release.selects("runtime"))[0]
    with stopped(pod):
        time.sleep(3 * release.lease)


def worker_stopped(release: Release, space: Kube) -> None:
    pod = ready_pods(space, "arklex.ai/worker=probe")[0]
    with stopped(pod):
        time.sleep(3 * release.lease)


def database(release: Release, space: Kube) -> None:
    assert release.postgres is not None
    release.postgres.stop(signal.SIGKILL)
    release.postgres.start()


def api_server(release: Release, space: Kube) -> None:
    release.kill_api_server()


FAULTS: list[Fault] = [
    runtime,
    worker_pod,
    operator,
    redis,
    redis_emptied,
    runtime_stopped,
    worker_stopped,
    database,
    api_server,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_every_run_ends_and_each_result_once(fault: Fault, release: Release, space: Kube, tmp_path: Path) -> None:
    with ledger_server(tmp_path / "ledger", release.node_address) as ledger:
        convoy = Convoy(space, ledger, release.journal_url)
        convoy.start()
        assert convoy.unfinished() == convoy.runs, "the fault must hit runs in flight"
        fault(release, space)
        convoy.end()
