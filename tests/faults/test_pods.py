"""Pods that die, stall and drain, a Redis that loses everything, messages that lie: no run is lost, nothing repeated."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from arklex_runtime.dispatch.streams.link import Link
from arklex_runtime.dispatch.streams.wire import GROUP, Attempt, ResultMessage
from arklex_runtime.engine.history import history
from arklex_runtime.engine.program import Program
from arklex_runtime.orchestrator.driver import RunDriver
from arklex_runtime.orchestrator.host import RunHost
from arklex_runtime.orchestrator.requests import Request
from tests.faults.checker import Findings, check
from tests.faults.ledger import BEGIN, read_ledger
from tests.pods import KEYS, Cluster, ended, graph, program, task, until, worker
from tests.processes import hear, kill, start_python
from tests.services import RedisServer, redis_server

pytestmark = pytest.mark.redis


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def begun(cluster: Cluster) -> int:
    return sum(entry.kind == BEGIN for entry in read_ledger(cluster.ledger))


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("arklex_results_refused_total", {"reason": reason}) or 0.0


def sleeping(seconds: float, count: int = 1, **fields: Any) -> Any:
    items = list(range(count))
    return graph(
        maxParallel=1000,
        tasks=[task("nap", "sleep", forEach={"items": items}, given={"seconds": seconds, "i": "${item}"}, **fields)],
        output="${size(tasks.nap.output)}",
    )


async def begin(host: RunHost, program_: Any) -> RunDriver:
    return await host.start(program_, Request(input={}))


async def checked(cluster: Cluster, driver: RunDriver) -> Findings:
    findings = await check(cluster.db, cluster.ledger, [driver.run_id])
    assert findings.violations == []
    return findings


async def told(host: RunHost, driver: RunDriver, event: str) -> list[str]:
    """The messages of these events in the run's history, as ``arklex show --events`` has them."""
    stored = await host.journal.load(driver.run_id)
    assert stored is not None
    entries = history(Program.load(stored.document), stored.events)
    return [entry["message"] for entry in entries if entry["event"] == event]


async def redis_is_empty(redis: Link) -> None:
    """Nothing is left of what is over (I9)."""
    for _ in range(500):
        if await redis.send(("XLEN", KEYS.jobs("work")), ("XLEN", KEYS.results)) == [0, 0]:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(await redis.send(("XRANGE", KEYS.jobs("work"), "-", "+"), ("XRANGE", KEYS.results, "-", "+")))


async def test_a_killed_pods_attempts_run_elsewhere(cluster: Cluster) -> None:
    work = worker(concurrency=4)
    first = cluster.pod(work)
    async with cluster.host() as host, cluster.redis() as redis:
        driver = await begin(host, program(sleeping(3, 8), work))
        await until(lambda: begun(cluster) >= 4, "four attempts")
        cluster.pod(work)
        first.process.kill()
        document = await ended(driver)
        assert document["phase"] == "Succeeded"
        await redis_is_empty(redis)
        assert await told(host, driver, "Lost") == [f"the process that ran it, in pod {first.name}, died"] * 4
    findings = await checked(cluster, driver)
    assert findings.lost == 4 and findings.duplicates == 4


async def test_a_pod_that_stalls_has_its_late_results_refused(cluster: Cluster) -> None:
    work = worker(handler="block", concurrency=2)
    first = cluster.pod(work)
    async with cluster.host() as host, cluster.redis() as redis:
        driver = await begin(host, program(sleeping(1.5, 2), work))
        await until(lambda: begun(cluster) >= 2, "two attempts")
        first.signal(signal.SIGSTOP)
        cluster.pod(work)
        document = await ended(driver)
        first.signal(signal.SIGCONT)
        assert document["phase"] == "Succeeded" and document["tasks"]["nap"]["attempts"] == 4
        await until(lambda: first.said("was silent for longer than a lease: attempts may have been given to others"), "words")
        await redis_is_empty(redis)
    assert (await checked(cluster, driver)).lost == 2


async def test_work_given_to_a_pod_that_stood_still_is_not_begun_twice(cluster: Cluster) -> None:
    """Redis hands entries to the blocked read of a stopped process: another pod has run them when it goes on."""
    work = worker(concurrency=2)
    first = cluster.pod(work)
    await until(lambda: first.said("working"), "an idle pod")
    async with cluster.host() as host, cluster.redis() as redis:
        await asyncio.sleep(0.5)
        first.signal(signal.SIGSTOP)
        driver = await begin(host, program(sleeping(0.1, 2), work))
        cluster.pod(work)
        document = await ended(driver)
        first.signal(signal.SIGCONT)
        await until(lambda: first.said("was silent for longer than a lease: attempts may have been given to others"), "words")
        await asyncio.sleep(2)
        assert document["phase"] == "Succeeded" and document["tasks"]["nap"]["attempts"] == 2
        await redis_is_empty(redis)
    assert (await checked(cluster, driver)).lost == 0
    assert begun(cluster) == 2


async def test_long_attempts_are_not_run_twice(cluster: Cluster) -> None:
    work = worker(concurrency=10)
    cluster.pod(work)
    async with cluster.host() as host:
        driver = await begin(host, program(sleeping(6, 10), work))
        document = await ended(driver)
        assert document["tasks"]["nap"]["attempts"] == 10
    findings = await checked(cluster, driver)
    assert findings.lost == 0 and begun(cluster) == 10


async def test_a_draining_pod_finishes_what_it_holds(cluster: Cluster) -> None:
    work = worker(concurrency=4, drainSeconds=30)
    first = cluster.pod(work)
    async with cluster.host() as host, cluster.redis() as redis:
        driver = await begin(host, program(sleeping(1, 12), work))
        await until(lambda: begun(cluster) >= 4, "four attempts")
        cluster.pod(work)
        first.signal(signal.SIGTERM)
        assert first.wait() == 0
        document = await ended(driver)
        assert document["phase"] == "Succeeded" and document["tasks"]["nap"]["attempts"] == 12
        beats = (await redis.send(("HKEYS", KEYS.pods("work"))))[0]
        assert b"work-0" not in beats
        await redis_is_empty(redis)
    assert first.said("drained") is not None
    findings = await checked(cluster, driver)
    assert findings.interrupted == 0 and begun(cluster) == 12


@pytest.mark.parametrize("handler", ["work", "block"])
async def test_what_does_not_fit_the_drain_is_released_uncharged(cluster: Cluster, handler: str) -> None:
    work = worker(concurrency=2, drainSeconds=1, handler=handler)
    first = cluster.pod(work)
    async with cluster.host() as host:
        driver = await begin(host, program(sleeping(4, 2, retry={"lostLimit": 0}), work))
        await until(lambda: begun(cluster) >= 2, "two attempts")
        cluster.pod(work)
        first.signal(signal.SIGTERM)
        assert first.wait() == 0
        document = await ended(driver)
        assert document["phase"] == "Succeeded"
        words = f"given back at the shutdown of pod {first.name}, not charged"
        assert await told(host, driver, "Interrupted") == [words] * 2
    said = first.said("drained")
    assert said is not None and said["released"] == 2 and said["unsent"] == 0
    findings = await checked(cluster, driver)
    assert findings.lost == 0 and findings.interrupted == 2


async def test_sigterm_before_a_pod_has_begun_ends_it(cluster: Cluster) -> None:
    pod = cluster.pod(worker())
    pod.signal(signal.SIGTERM)
    assert pod.wait() in (0, -signal.SIGTERM)


async def test_an_attempt_that_ends_its_process_is_charged(cluster: Cluster) -> None:
    work = worker()
    pods = [cluster.pod(work, name="same")]

    async def restart() -> None:
        while True:
            if pods[-1].process.poll() is not None:
                pods.append(cluster.pod(work, name="same"))
            await asyncio.sleep(0.05)

    poison = graph(tasks=[task("poison", "exit", retry={"lostLimit": 2}), task("once", "exit-once", dependsOn=["poison"])])
    mild = graph("mild", tasks=[task("once", "exit-once", given={"x": 1})], output="${tasks.once.output.x}")
    async with cluster.host() as host:
        keeper = asyncio.create_task(restart())
        try:
            document = await ended(await begin(host, program(poison, work)))
            other = await ended(await begin(host, program(mild, work)))
        finally:
            keeper.cancel()
    assert document["phase"] == "Failed" and document["tasks"]["poison"]["error"]["type"] == "WorkerLost"
    assert document["tasks"]["poison"]["attempts"] == 3
    assert other["output"] == 1 and other["tasks"]["once"]["attempts"] == 2


async def flushed(redis: Link) -> None:
    await redis.send(("FLUSHALL",))


async def ungrouped(redis: Link) -> None:
    await redis.send(("XGROUP", "DESTROY", KEYS.jobs("work"), GROUP))


@pytest.mark.parametrize("fault", [flushed, ungrouped])
async def test_an_emptied_redis_loses_and_repeats_nothing(cluster: Cluster, fault: Any) -> None:
    """Ten attempts run and thirty wait when it happens, twice."""
    work = worker(concurrency=5)
    cluster.pod(work)
    cluster.pod(work)
    async with cluster.host() as host, cluster.redis() as redis:
        driver = await begin(host, program(sleeping(2.5, 40), work))
        await until(lambda: begun(cluster) >= 10, "ten attempts")
        await fault(redis)
        await until(lambda: begun(cluster) >= 25, "more of them")
        await fault(redis)
        document = await ended(driver)
        assert document["phase"] == "Succeeded" and document["tasks"]["nap"]["attempts"] == 40
        await redis_is_empty(redis)
    findings = await checked(cluster, driver)
    assert findings.lost == 0 and begun(cluster) == 40


async def test_a_redis_that_restarts_without_its_data(own_redis: RedisServer, tmp_path: Path) -> None:
    cluster = Cluster(own_redis.url, tmp_path)
    work = worker(concurrency=5)
    try:
        cluster.pod(work)
        cluster.pod(work)
        async with cluster.host() as host:
            driver = await begin(host, program(sleeping(4, 30), work))
            await until(lambda: begun(cluster) >= 10, "ten attempts")
            own_redis.stop()
            await asyncio.sleep(2.5)
            own_redis.start()
            document = await ended(driver)
            assert document["phase"] == "Succeeded" and document["tasks"]["nap"]["attempts"] == 30
        findings = await checked(cluster, driver)
        assert findings.lost == 0 and begun(cluster) == 30
    finally:
        cluster.close()


@asynccontextmanager
async def taken_over(cluster: Cluster, first: RunHost, driver: RunDriver) -> AsyncIterator[RunDriver]:
    """The run under a second owner, after the first has handed it over."""
    assert await first.hand_over() == [driver.run_id]
    async with cluster.host() as second:
        found = await second.resume(driver.run_id)
        assert isinstance(found, RunDriver)
        yield found


async def test_a_handed_over_run_repeats_nothing(cluster: Cluster) -> None:
    """Five run and fifteen wait at the time; results arrive while nobody owns the run."""
    work = worker(concurrency=5)
    cluster.pod(work)
    async with cluster.host() as first, cluster.redis() as redis:
        driver = await begin(first, program(sleeping(1.5, 20), work))
        await until(lambda: begun(cluster) >= 5, "five attempts")
        await first.hand_over()
        await until(lambda: begun(cluster) >= 10, "attempts without an owner")
        async with cluster.host() as second:
            found = await second.resume(driver.run_id)
            assert isinstance(found, RunDriver)
            document = await ended(found)
            assert document["phase"] == "Succeeded" and document["tasks"]["nap"]["attempts"] == 20
        await redis_is_empty(redis)
    findings = await checked(cluster, driver)
    assert findings.lost == findings.interrupted == 0 and begun(cluster) == 20


async def test_what_died_without_an_owner_is_lost_once(cluster: Cluster) -> None:
    work = worker(concurrency=2)
    pod = cluster.pod(work)
    async with cluster.host() as first:
        driver = await begin(first, program(sleeping(2, 2), work))
        await until(lambda: begun(cluster) >= 2, "two attempts")
        await asyncio.sleep(0.3)
        async with taken_over(cluster, first, driver) as second:
            pod.process.kill()
            cluster.pod(work)
            document = await ended(second)
            assert document["phase"] == "Succeeded"
    findings = await checked(cluster, driver)
    assert findings.lost == 2 and begun(cluster) == 4


async def test_a_cancelled_run_stops_its_attempts(cluster: Cluster) -> None:
    work = worker(concurrency=2)
    pod = cluster.pod(work)
    async with cluster.host() as host, cluster.redis() as redis:
        driver = await begin(host, program(sleeping(600, 5), work))
        await until(lambda: begun(cluster) >= 2, "two attempts")
        await host.cancel(driver.run_id)
        assert (await ended(driver))["phase"] == "Cancelled"
        await redis_is_empty(redis)
        pod.signal(signal.SIGTERM)
        assert pod.wait(20) == 0
    said = pod.said("drained")
    assert said is not None and said["released"] == 0 and begun(cluster) == 2


@pytest.mark.parametrize("handler", ["work", "block"])
async def test_an_attempt_has_its_timeout(cluster: Cluster, handler: str) -> None:
    work = worker(handler=handler, concurrency=2)
    cluster.pod(work)
    async with cluster.host() as host:
        slow = graph(tasks=[task("slow", "sleep", given={"seconds": 5}, timeout="300ms", retry={"limit": 1})])
        document = await ended(await begin(host, program(slow, work)))
        error = document["tasks"]["slow"]["error"]
        assert error["type"] == "Timeout" and document["tasks"]["slow"]["attempts"] == 2


async def test_forged_results_are_refused(cluster: Cluster) -> None:
    """Another namespace's pod, an attempt that is not out, and what is no message: none is believed."""
    work = worker()
    cluster.pod(work)
    async with cluster.host() as host, cluster.redis() as redis:
        other = program(graph("other", tasks=[task("t", "echo")]), work, namespace="other")
        stranger = await begin(host, other)
        driver = await begin(host, program(sleeping(2), work))
        await until(lambda: begun(cluster) >= 1, "the attempt")
        before = {reason: refused(reason) for reason in ("foreign", "late", "unreadable")}
        forged = ResultMessage("finished", Attempt(driver.run_id, "nap[0]", 1), "evil", output={"i": 666}, size=9)
        wrong = ResultMessage("finished", Attempt(driver.run_id, "nap[0]", 7), "evil", output={"i": 666}, size=9)
        await redis.send(
            ("XADD", "arklex:{other}:results", "*", "r", forged.encode()),
            ("XADD", KEYS.results, "*", "r", wrong.encode()),
            ("XADD", KEYS.results, "*", "r", b"{"),
            ("XADD", KEYS.results, "*", "x", b"y"),
        )
        document = await ended(driver)
        assert document["tasks"]["nap"]["output"] == [{"seconds": 2, "i": 0}]
        assert refused("foreign") == before["foreign"] + 1
        assert refused("late") == before["late"] + 1
        assert refused("unreadable") == before["unreadable"] + 2
        await host.cancel(stranger.run_id)
        await ended(stranger)
    await checked(cluster, driver)


async def test_doubled_entries_run_once(cluster: Cluster) -> None:
    """A failover of Redis brings back what was acknowledged: attempts are told apart by their name."""
    work = worker(concurrency=4)
    cluster.pod(work)
    async with cluster.host() as host, cluster.redis() as redis:
        driver = await begin(host, program(sleeping(2), work))
        await until(lambda: begun(cluster) >= 1, "the attempt")
        (entries,) = await redis.send(("XRANGE", KEYS.jobs("work"), "-", "+"))
        await redis.send(("XADD", KEYS.jobs("work"), "*", *entries[0][1]))
        assert (await ended(driver))["phase"] == "Succeeded"
        await redis_is_empty(redis)
    assert Counter(entry.attempt for entry in read_ledger(cluster.ledger) if entry.kind == BEGIN) == {1: 1}


VICTIM = """
import asyncio, sys
from pathlib import Path
from arklex_runtime.orchestrator.requests import Request
from tests.faults.test_pods import sleeping
from tests.pods import Cluster, program, worker

async def main():
    cluster = Cluster(sys.argv[1], Path(sys.argv[2]))
    async with cluster.host() as host:
        driver = await host.start(program(sleeping(1.5, 20), worker(concurrency=5)), Request(input={}))
        while not driver.committed:
            await asyncio.sleep(0.01)
        print(driver.run_id, flush=True)
        await driver.ended

asyncio.run(main())
"""


@pytest.mark.parametrize("moment", [5, 8, 12])
async def test_a_killed_runtimes_run_repeats_nothing(cluster: Cluster, moment: int) -> None:
    """Killed with -9 with attempts running and waiting; the next owner adopts them, whatever was on its way."""
    cluster.pod(worker(concurrency=5))
    victim = start_python(VICTIM, cluster.url, str(cluster.folder))
    run_id = hear(victim)
    await until(lambda: begun(cluster) >= moment, "attempts")
    kill(victim)
    async with cluster.host() as host, cluster.redis() as redis:
        driver = await host.resume(run_id)
        assert isinstance(driver, RunDriver)
        document = await ended(driver)
        assert document["phase"] == "Succeeded" and document["tasks"]["nap"]["attempts"] == 20
        await redis_is_empty(redis)
    findings = await checked(cluster, driver)
    assert findings.lost == findings.interrupted == 0 and begun(cluster) == 20


async def test_a_redis_that_hangs_loses_nothing(own_redis: RedisServer, tmp_path: Path) -> None:
    """It stops for three leases and goes on: connections are there, and nobody answers."""
    cluster = Cluster(own_redis.url, tmp_path)
    work = worker(concurrency=5)
    try:
        cluster.pod(work)
        async with cluster.host() as host:
            driver = await begin(host, program(sleeping(1.5, 15), work))
            await until(lambda: begun(cluster) >= 5, "five attempts")
            assert own_redis.process is not None
            own_redis.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(3)
            own_redis.process.send_signal(signal.SIGCONT)
            document = await ended(driver)
            assert document["phase"] == "Succeeded" and document["tasks"]["nap"]["attempts"] == 15
        findings = await checked(cluster, driver)
        assert findings.lost == 0 and begun(cluster) == 15
    finally:
        cluster.close()
