"""What a runtime makes of the words of a pod, some of which were lost on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from arklex_runtime.dispatch.streams.link import ReplyError
from arklex_runtime.dispatch.streams.wire import GROUP, JobMessage, ResultMessage, fields_of
from arklex_runtime.orchestrator.requests import Request
from tests.pods import KEYS, Cluster, ended, graph, program, task, worker

pytestmark = pytest.mark.redis
POD = "by-hand"
JOBS = KEYS.jobs("work")


async def claim(redis: Any) -> tuple[bytes, JobMessage]:
    """Claim the next attempt as a pod does."""
    (made,) = await redis.send(("XGROUP", "CREATE", JOBS, GROUP, "0", "MKSTREAM"))
    assert not isinstance(made, ReplyError) or "BUSYGROUP" in str(made)
    for _ in range(200):
        (reply,) = await redis.send(("XREADGROUP", "GROUP", GROUP, POD, "COUNT", 1, "STREAMS", JOBS, ">"))
        for _, entries in reply or ():
            ((entry, fields),) = entries
            return entry, JobMessage.decode(fields_of(fields)[b"j"])
        await asyncio.sleep(0.02)
    raise AssertionError("no attempt is sent")


async def say(redis: Any, entry: bytes, message: ResultMessage) -> None:
    """What ends an attempt, as a pod says it."""
    await redis.send(("XADD", KEYS.results, "*", "r", message.encode()), ("XACK", JOBS, GROUP, entry), ("XDEL", JOBS, entry))


@pytest.mark.parametrize("ran", [True, False])
async def test_what_is_released_counts_if_it_ran_though_nobody_heard_it_begin(cluster: Cluster, ran: bool) -> None:
    """The word that it began is lost with a connection that dies as the pod drains: another pod must not begin it again."""
    work = worker()
    async with cluster.host() as host, cluster.redis() as redis:
        driver = await host.start(program(graph(tasks=[task("t", "echo")]), work), Request())
        entry, first = await claim(redis)
        await say(redis, entry, ResultMessage("released", first.attempt, POD, ran=ran))
        entry, second = await claim(redis)
        assert (first.attempt.number, second.attempt.number) == (1, 2 if ran else 1)
        assert first.idem == second.idem
        await say(redis, entry, ResultMessage("finished", second.attempt, POD, output=7, size=1))
        document = await ended(driver)
    assert document["phase"] == "Succeeded" and document["tasks"]["t"]["attempts"] == (2 if ran else 1)
    assert document["tasks"]["t"]["output"] == 7
