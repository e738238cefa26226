"""Runs whose processes are killed, stopped, evicted or cut off from the API server: each ends, and each result counts once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.cluster.convoy import EFFECTS, SELECTOR, Convoy
from tests.cluster.hits import busiest, delete_by_force, devour, draining, evict, ready_pod
from tests.cluster.kube import Kube
from tests.cluster.ledger import ledger_server
from tests.cluster.outage import Door, tells_the_truth
from tests.cluster.release import Release
from tests.cluster.spaces import namespace
from tests.cluster.victims import kill_one, ready_pods, signal_pod, stopped
from tests.faults.report import keep
from tests.faults.sizes import NIGHTLY

ROUNDS = 3 if NIGHTLY else 1
OUTAGES, OUTAGE = (10, 30) if NIGHTLY else (3, 20)
"""How often the API server is away, for how many seconds."""
RUNS = 8
POD = "probe-worker-"
NONE = {"active": 0, "failed": 0}
LIMITS = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}

Fault = Callable[[Release, Kube], None]


@pytest.fixture(scope="module")
def space(kube: Kube, release: Release) -> Iterator[Kube]:
    """Return the namespace of all tests here."""
    with namespace(kube, "deaths") as inside:
        yield inside


@pytest.fixture(scope="module")
def pool(space: Kube, release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Convoy]:
    """Return a pool of three pods and a graph over it, that all tests here share."""
    with ledger_server(tmp_path_factory.mktemp("deaths") / "ledger", release.node_address) as ledger:
        found = Convoy(space, ledger, release.journal_url, pods=3, resources=LIMITS)
        found.prepare()
        yield found


@pytest.fixture
def convoy(pool: Convoy, request: pytest.FixtureRequest) -> Iterator[Convoy]:
    """Return the pool with nothing done to it so far, and keep the figures of what was."""
    pool.turn_page()
    yield pool
    if pool.tally.runs:
        keep("T12-cluster" if "api_server" in request.node.name else "T13", pool.tally, request.node.name)


def runtime(release: Release, space: Kube) -> None:
    kill_one(release.kube, release.selects("runtime"))


def worker_pod(release: Release, space: Kube) -> None:
    kill_one(space, SELECTOR)


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
    pod = ready_pods(space, SELECTOR)[0]
    with stopped(pod):
        time.sleep(3 * release.lease)


def database(release: Release, space: Kube) -> None:
    assert release.postgres is not None
    release.postgres.stop(signal.SIGKILL)
    release.postgres.start()


def step_clock(release: Release, seconds: int) -> None:
    """Make every lease what it is after a step of the database's clock, by which alone leases are measured."""
    assert release.postgres is not None
    for table in ("owners", "leases"):
        release.postgres.psql(f"UPDATE {table} SET expires_at = expires_at - {seconds}", "arklex")


def clock_forward(release: Release, space: Kube) -> None:
    step_clock(release, 3600)


def clock_back(release: Release, space: Kube) -> None:
    """Who dies then has a lease for an hour."""
    pod = ready_pods(release.kube, release.selects("runtime"))[0]
    step_clock(release, -3600)
    signal_pod(pod, signal.SIGKILL)


FAULTS: list[Fault] = [
    runtime,
    worker_pod,
    operator,
    redis,
    redis_emptied,
    runtime_stopped,
    worker_stopped,
    database,
    clock_forward,
    clock_back,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_every_run_ends_and_each_result_once(fault: Fault, release: Release, space: Kube, convoy: Convoy) -> None:
    convoy.set_out(RUNS)
    assert convoy.unfinished() > RUNS // 2, "the fault must hit runs in flight"
    with convoy.hit(fault.__name__):
        fault(release, space)
    convoy.end()


def test_evictions_and_drains_repeat_nothing(release: Release, space: Kube, convoy: Convoy) -> None:
    """Whoever is asked to go finishes what it holds, or hands it over."""
    for _ in range(ROUNDS):
        for kind in ("worker", "runtime", "worker", "worker"):
            convoy.keep_up(RUNS, ms=1500)
            with convoy.hit(f"{kind} evicted"):
                if kind == "worker":
                    evict(space, busiest(convoy))
                else:
                    evict(release.kube, ready_pod(release.kube, release.selects("runtime")))
        convoy.keep_up(RUNS, ms=1500)
        with convoy.hit("drained"), draining(release.kube):
            space.until(
                lambda: space.all("pods", f"--selector={SELECTOR}", "--field-selector=status.phase=Pending"),
                "a pod waits for the node",
            )
    found = convoy.end()
    assert found.interrupted == found.unheard == 0, "what fits the drain was interrupted"
    assert convoy.tally.vacuous(5 * ROUNDS) == []


def test_deletes_by_force_and_the_memory_limit_leave_nothing_stuck(release: Release, space: Kube, convoy: Convoy) -> None:
    for _ in range(ROUNDS):
        for kind in ("worker", "runtime", "worker"):
            convoy.keep_up(RUNS, ms=1500)
            with convoy.hit(f"{kind} deleted by force"):
                if kind == "worker":
                    delete_by_force(space, busiest(convoy))
                else:
                    delete_by_force(release.kube, ready_pod(release.kube, release.selects("runtime")))
        for at in (1, 3):
            convoy.keep_up(RUNS, ms=1500)
            with convoy.hit("out of memory"):
                run = devour(convoy, at)
    assert convoy.end().lost > 0, "nothing was lost, so nothing was hit"
    assert any(f"in pod {POD}" in event["note"] for event in space.events(run) if event["reason"] == "WorkerLost")
    assert "OutOfMemory" in space.reasons("probe")
    assert convoy.tally.vacuous(5 * ROUNDS) == []


def test_runs_go_on_without_the_api_server(release: Release, space: Kube, convoy: Convoy) -> None:
    """Also one that is begun at the door meanwhile; afterwards every object says what the journal says."""
    door = Door(release)
    for _ in range(OUTAGES):
        names, ended = convoy.set_out(RUNS, ms=2000), convoy.ended()
        with convoy.hit("no API server"), release.no_api_server():
            began = time.monotonic()
            document = door.run(space.namespace, "convoy", {"ms": 100, "devour": -1})
            assert document["phase"] == "Succeeded", document
            convoy.take_in(document["run"])
            time.sleep(max(0.0, began + OUTAGE - time.monotonic()))
            assert convoy.ended() > ended + EFFECTS, "the runs stood still"
        convoy.end()
        space.until(partial(tells_the_truth, release, convoy, names), "the objects say what the journal says")
    space.until(
        lambda: space.status("taskgraph", "convoy").get("runs") == {**NONE, "succeeded": convoy.total}, "all are counted"
    )
