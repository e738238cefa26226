"""Seeded chaos on the distributed path: pods killed, stalled and drained, Redis emptied and restarted, runtimes replaced."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from arklex_api.taskgraph import TaskGraph
from arklex_runtime.dispatch.streams.wire import GROUP
from arklex_runtime.errors import Fenced
from arklex_runtime.orchestrator.driver import RunDriver
from arklex_runtime.orchestrator.host import RunHost
from arklex_runtime.orchestrator.requests import Request
from tests.faults.checker import Tally, check
from tests.faults.ledger import ACCEPTED, BEGIN, END, Ledger, read_ledger
from tests.faults.report import keep
from tests.faults.sizes import NIGHTLY
from tests.pods import KEYS, Cluster, PodProcess, graph, program, task, until, worker
from tests.services import RedisServer, redis_server

pytestmark = pytest.mark.redis
RUNS, FAULTS = (200, 60) if NIGHTLY else (40, 10)
KINDS = ("kill", "kill", "stall", "drain", "empty", "ungroup", "restart", "replace")
HARMLESS = frozenset({"drain", "empty", "ungroup", "replace"})
"""Faults that may neither lose nor repeat an attempt."""


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def shape(number: int) -> TaskGraph:
    """A diamond with items in the middle; tasks take a tenth to half a second."""
    naps = task("naps", "sleep", forEach={"items": [0, 1, 2, 3]}, given={"seconds": 0.1 + number % 5 / 10, "i": "${item}"})
    first = task("first", "sleep", "thread", given={"seconds": 0.1, "n": number})
    naps["dependsOn"] = ["first"]
    last = task("last", "echo", given={"n": "${tasks.first.output.n}", "all": "${tasks.naps.output}"})
    return graph("chaos", tasks=[first, naps, last], output="${[tasks.last.output.n, size(tasks.last.output.all)]}")


class Chaos:
    """A cluster with two Workers of two pods each, one runtime at a time, and faults one after the other."""

    def __init__(self, redis: RedisServer, folder: Path, seed: int, lease: float = 1.0) -> None:
        self.cluster = Cluster(redis.url, folder, lease)
        self.seed = seed
        self.random = random.Random(seed)
        self.tally = Tally()
        self._redis = redis
        self._ledger = Ledger(str(self.cluster.ledger))
        self._workers = [worker(concurrency=8, drainSeconds=10), worker("thread", "block", concurrency=8, drainSeconds=10)]
        self._names = 0
        self.runs: dict[str, int] = {}
        self.documents: dict[str, RunDriver] = {}

    def pod(self, which: int) -> None:
        self._names += 1
        self.cluster.pod(self._workers[which], name=f"pod-{self._names}")

    async def submit(self, host: RunHost) -> None:
        number = len(self.runs)
        driver = await host.start(program(shape(number), *self._workers), Request(input={}))
        await until(lambda: driver.committed, "the acceptance")
        self._ledger.write(ACCEPTED, driver.run_id)
        self.runs[driver.run_id] = number
        self.documents[driver.run_id] = driver

    def busy(self) -> list[PodProcess]:
        """The pods at work right now."""
        at_work: dict[tuple[str, str, int], int] = {}
        for entry in read_ledger(self.cluster.ledger):
            name = (entry.run, entry.task, entry.attempt)
            if entry.kind == BEGIN:
                at_work[name] = entry.pid
            elif entry.kind == END:
                at_work.pop(name, None)
        return [pod for pod in self.alive() if pod.process.pid in at_work.values()]

    def alive(self) -> list[PodProcess]:
        """The pods that have not ended."""
        return [pod for pod in self.cluster.pods if pod.process.poll() is None]

    async def fault(self, kind: str) -> None:
        """One fault, in flight if it can be."""
        with contextlib.suppress(AssertionError):
            await until(self.busy, "an attempt at work", patience=20)
        self.tally.faults[kind] += 1
        busy = self.busy()
        self.tally.in_flight += bool(busy)
        pod = self.random.choice(busy or self.alive())
        which = 1 if "thread" in pod.worker else 0
        if kind == "kill":
            pod.process.kill()
            self.pod(which)
        elif kind == "drain":
            self.pod(which)
            pod.signal(signal.SIGTERM)
        elif kind == "stall":
            pod.signal(signal.SIGSTOP)
            await asyncio.sleep(3 * self.cluster.lease)
            pod.signal(signal.SIGCONT)
        elif kind == "restart":
            self._redis.stop()
            await asyncio.sleep(self.random.uniform(0.1, 2))
            self._redis.start()
        else:
            async with self.cluster.redis() as redis:
                jobs = self.random.choice(["work", "thread"])
                command = ("FLUSHALL",) if kind == "empty" else ("XGROUP", "DESTROY", KEYS.jobs(jobs), GROUP)
                await redis.send(command)

    async def ended(self) -> None:
        """Wait for every run."""
        async with asyncio.timeout(150):
            for driver in self.documents.values():
                with contextlib.suppress(asyncio.CancelledError, Fenced):
                    await driver.ended


async def play(chaos: Chaos, kinds: list[str]) -> None:
    for which in (0, 0, 1, 1):
        chaos.pod(which)
    for pod in chaos.cluster.pods:
        await until(partial(pod.said, "working"), "a pod")
    stack = contextlib.AsyncExitStack()
    try:
        host = await stack.enter_async_context(chaos.cluster.host())
        share = RUNS // (len(kinds) + 1)
        for kind in kinds:
            for _ in range(share):
                await chaos.submit(host)
            if kind != "replace":
                await chaos.fault(kind)
                await asyncio.sleep(chaos.random.uniform(0, 1))
                continue
            chaos.tally.faults[kind] += 1
            chaos.tally.in_flight += bool(chaos.busy())
            open_runs = await host.hand_over()
            await stack.aclose()
            host = await stack.enter_async_context(chaos.cluster.host())
            for run_id in open_runs:
                found = await host.resume(run_id)
                if isinstance(found, RunDriver):
                    chaos.documents[run_id] = found
        while len(chaos.runs) < RUNS:
            await chaos.submit(host)
        await chaos.ended()
        await swept(chaos, kinds)
    finally:
        await stack.aclose()
        chaos.cluster.close()


async def swept(chaos: Chaos, kinds: list[str]) -> None:
    """I9: no attempt is left. Results may be, said again after Redis had lost them, of runs that ended under a former owner."""
    forgotten = "replace" in kinds and bool({"empty", "restart"} & set(kinds))
    keys = [KEYS.jobs("work"), KEYS.jobs("thread"), *([] if forgotten else [KEYS.results])]
    async with chaos.cluster.redis() as redis:
        for _ in range(3000):
            if not any(await redis.send(*(("XLEN", key) for key in keys))):
                break
            await asyncio.sleep(0.02)
        assert not any(await redis.send(*(("XRANGE", key, "-", "+") for key in keys))), "I9"


async def judged(chaos: Chaos, faults: int) -> None:
    findings = await check(chaos.cluster.db, chaos.cluster.ledger, remote=True)
    chaos.tally.add(findings)
    print(f"\n{findings.unheard} unheard")
    keep("T5-mixed", chaos.tally, str(chaos.seed))
    deaths, losses = chaos.tally.faults["kill"], chaos.tally.faults["empty"] + chaos.tally.faults["restart"]
    assert findings.unheard <= 8 * min(deaths, losses)
    assert findings.violations == []
    assert chaos.tally.vacuous(faults) == []
    for run_id, number in chaos.runs.items():
        assert findings.documents[run_id]["output"] == [number, 4]


@pytest.mark.parametrize("seed", [1, 3])
async def test_chaos_loses_nothing(own_redis: RedisServer, tmp_path: Path, seed: int) -> None:
    """Whatever happens: every run ends with its result, and effects are repeated only of attempts that were interrupted."""
    chaos = Chaos(own_redis, tmp_path, seed)
    kinds = [KINDS[i % len(KINDS)] for i in range(FAULTS)]
    chaos.random.shuffle(kinds)
    await play(chaos, kinds)
    await judged(chaos, FAULTS)


async def test_faults_that_stop_no_attempt_repeat_none(own_redis: RedisServer, tmp_path: Path) -> None:
    """Pods drained, Redis emptied, groups destroyed, the runtime replaced: not one attempt is charged or repeated."""
    chaos = Chaos(own_redis, tmp_path, 2, lease=5.0)
    kinds = [sorted(HARMLESS)[i % len(HARMLESS)] for i in range(8)]
    chaos.random.shuffle(kinds)
    await play(chaos, kinds)
    await judged(chaos, 8)
    assert chaos.tally.interrupted == chaos.tally.duplicates == 0
