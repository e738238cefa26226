"""A worker pod that is short of memory: it clears its caches, claims nothing, not even with a read that waits, and goes on."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from arklex_runtime.dispatch.jobs import Job
from arklex_runtime.dispatch.streams.link import Address
from arklex_runtime.dispatch.streams.wire import GROUP, Attempt
from arklex_runtime.pod.pod import Pod
from arklex_runtime.pod.settings import Settings
from arklex_runtime.scaling.memory import MemoryManager, MemoryMonitor
from tests.pods import KEYS, Cluster, job_fields, until, worker

pytestmark = pytest.mark.redis
JOBS = KEYS.jobs("work")


class Dial(MemoryMonitor):
    """What the cgroup says, as the test wants it; ``looks`` counts."""

    def __init__(self) -> None:
        super().__init__()
        self.share, self.looks = 0.5, 0

    def get_memory_usage(self) -> float:
        self.looks += 1
        return self.share


async def test_what_comes_while_memory_is_short_waits(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARKLEX_TEST_LEDGER", str(tmp_path / "ledger"))
    dial = Dial()
    cleared: list[bool] = []
    memory = MemoryManager(monitor=dial, also=(lambda: cleared.append(True),))
    pod = Pod(Settings(worker(concurrency=8), "default", "pod-1", "node-1", Address.of(redis_url), tmp_path), memory)
    running = asyncio.create_task(pod.run())
    cluster = Cluster(redis_url, tmp_path)
    try:
        async with cluster.redis() as redis:
            await until(lambda: not pod.ready(), "it waits for work")
            dial.share = 0.9
            await until(lambda: _short(pod) == 1.0, "it says so")
            assert cleared
            await redis.send(("XADD", JOBS, "*", *job_fields(Attempt("run-1", "task", 1), {"x": 1})))
            seen = dial.looks
            await until(lambda: dial.looks >= seen + 6, "some more looks at the memory")
            ((waiting,), (pending,)) = [await redis.send(each) for each in (("XLEN", JOBS), ("XPENDING", JOBS, GROUP))]
            assert (waiting, pending[0]) == (1, 0), "it is neither held nor done"
            dial.share = 0.5
            await until(lambda: _short(pod) == 0.0, "memory has come free")
            await until(lambda: b'outcome="succeeded"' in pod.metrics.text(), "what waited runs")
    finally:
        pod.stop()
        await running


async def test_a_cancelled_attempt_leaves_nothing_for_the_collector(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARKLEX_TEST_LEDGER", str(tmp_path / "ledger"))
    pod = Pod(Settings(worker(), "default", "pod-1", "node-1", Address.of(redis_url), tmp_path))
    running = asyncio.create_task(pod.run())
    attempt = Attempt("run-1", "task", 1)
    try:
        async with Cluster(redis_url, tmp_path).redis() as redis:
            await until(lambda: not pod.ready(), "it waits for work")
            gc.collect()
            gc.disable()
            await redis.send(("XADD", JOBS, "*", *job_fields(attempt, {"seconds": 600}, "sleep")))
            await until(lambda: any(each.job.handle for each in pod.attempts.held.values()), "the handler is in the middle")
            pod.attempts.cancel(attempt)
            await until(lambda: not any(isinstance(each, Job) for each in gc.get_objects()), "nothing holds it", 20)
    finally:
        gc.enable()
        pod.stop()
        await running


def _short(pod: Pod) -> float | None:
    labels = {"namespace": "default", "worker": "work"}
    return pod.metrics.registry.get_sample_value("arklex_worker_memory_short", labels)
