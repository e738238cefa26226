"""When a start that happened elsewhere is journaled: with the result if that comes at once, else soon, and then let go."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from arklex_api.taskgraph import TaskGraph
from arklex_api.worker import Worker
from arklex_runtime.dispatch.jobs import Grant, Job
from arklex_runtime.engine.program import Program
from arklex_runtime.errors import Overloaded
from arklex_runtime.orchestrator.driver import RunDriver
from arklex_runtime.orchestrator.host import RunHost
from arklex_runtime.orchestrator.remote import RemoteBench
from arklex_runtime.orchestrator.requests import Request
from arklex_runtime.state.journal import open_journal
from arklex_runtime.state.results import ResultCache

HEAD = {"apiVersion": "arklex.ai/v1alpha1"}
PATIENCE = 30.0


class ByHand:
    """A dispatcher whose pod is the test. ``calls`` are what it was told: (what, attempt's key)."""

    remote = True

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Job] = asyncio.Queue()
        self.calls: list[tuple[str, str]] = []
        self.let_go = asyncio.Event()

    def attach(self, namespace_of: Callable[[str], str | None]) -> None:
        """Nothing is read."""

    def acquire(self, job: Job) -> Grant:
        return Grant.QUEUED

    def durable(self, job: Job) -> None:
        self.sent.put_nowait(job)

    def adopt(self, job: Job, *, started: bool) -> None:
        self.calls.append(("started" if started else "asked", job.key))

    def launch(self, job: Job) -> None:
        self.calls.append(("launch", job.key))
        self.let_go.set()

    def settle(self, job: Job) -> None:
        self.calls.append(("settle", job.key))

    def cancel(self, job: Job, reason: str | None = None) -> None:
        self.calls.append(("cancel", job.key))

    def abandon(self, job: Job) -> None:
        self.calls.append(("abandon", job.key))

    def over(self, run_id: str) -> None:
        """Nothing comes late."""

    async def aclose(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def running(file: Path) -> AsyncIterator[tuple[RunHost, ByHand, RunDriver]]:
    """Two tasks in a row, the first of them sent."""
    tasks = [{"name": "a", "worker": "w"}, {"name": "b", "worker": "w", "dependsOn": ["a"]}]
    graph = TaskGraph.model_validate({**HEAD, "kind": "TaskGraph", "metadata": {"name": "g"}, "spec": {"tasks": tasks}})
    spec = {"type": "custom", "config": {"handler": "m:f"}}
    worker = Worker.model_validate({**HEAD, "kind": "Worker", "metadata": {"name": "w"}, "spec": spec})
    pod = ByHand()
    host = RunHost(await open_journal(f"sqlite:///{file}"), RemoteBench(ResultCache()), dispatcher=pod)
    try:
        yield host, pod, await host.start(Program.of("g", {"g": graph}, {"w": worker}), Request())
    finally:
        await host.aclose()


async def batches(host: RunHost, run_id: str) -> list[list[str]]:
    """The kinds of the events of each batch."""
    stored = await host.journal.load(run_id)
    assert stored is not None
    return [[event[0] for event, _ in orjson.loads(batch)] for batch in stored.events]


async def test_a_result_that_comes_at_once_shares_its_commit_with_the_start(tmp_path: Path) -> None:
    async with running(tmp_path / "a.db") as (host, pod, driver):
        for key in ("a", "b"):
            job = await pod.sent.get()
            job.owner.granted(job)
            job.receipt = b"1-1"
            job.owner.finished(job, {}, 2, None)
            assert ("launch", key) not in pod.calls, "let go of before it was durable"
        assert await driver.ended == "Succeeded"
        assert await batches(host, driver.run_id) == [["accepted"], ["started", "finished"], ["started", "finished"]]
        assert pod.calls == [("launch", "a"), ("settle", "a"), ("launch", "b"), ("settle", "b")]


async def test_a_start_alone_is_journaled_soon_and_only_then_let_go(tmp_path: Path) -> None:
    async with running(tmp_path / "a.db") as (host, pod, driver):
        job = await pod.sent.get()
        job.owner.granted(job)
        await asyncio.sleep(0)
        assert pod.calls == [] and await batches(host, driver.run_id) == [["accepted"]]
        await asyncio.wait_for(pod.let_go.wait(), PATIENCE)
        assert pod.calls == [("launch", "a")]
        assert await batches(host, driver.run_id) == [["accepted"], ["started"]]


async def test_a_run_that_is_handed_over_takes_a_start_along(tmp_path: Path) -> None:
    async with running(tmp_path / "a.db") as (host, pod, driver):
        job = await pod.sent.get()
        job.owner.granted(job)
        await host.hand_over()
        assert await batches(host, driver.run_id) == [["accepted"], ["started"]]


async def test_a_run_that_is_lost_leaves_its_attempts_and_nobody_is_told_who_does_not_ask(tmp_path: Path) -> None:
    """As when a replica's lease has run out: a run that it took over has nobody who waits for its end."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    async with running(tmp_path / "a.db") as (host, pod, driver):
        job = await pod.sent.get()
        host.lose_all(Overloaded("cut off"))
        assert pod.calls == [("abandon", job.key)] and host.runs == {}
        assert isinstance(driver.broken, Overloaded)
    del driver, job
    gc.collect()
    assert told == []
