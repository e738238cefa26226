"""Runs over Redis Streams with real pods: what must hold when nothing goes wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.pods import KEYS, Cluster, graph, program, run, task, until, worker

pytestmark = pytest.mark.redis


def chain(length: int) -> Any:
    tasks = [task("t0", "echo", given={"x": "${input.x}"})]
    tasks += [task(f"t{i}", "echo", given={"x": f"${{tasks.t{i - 1}.output.x}}"}) for i in range(1, length)]
    return graph(tasks=tasks, output=f"${{tasks.t{length - 1}.output.x}}")


async def test_a_chain_runs_on_a_pod(cluster: Cluster) -> None:
    work = worker()
    cluster.pod(work)
    async with cluster.host() as host, cluster.redis() as redis:
        document = await run(host, program(chain(5), work), x=7)
        assert document["phase"] == "Succeeded" and document["output"] == 7
        assert all(t["attempts"] == 1 for t in document["tasks"].values())

        async def empty() -> bool:
            lengths = await redis.send(("XLEN", KEYS.jobs("work")), ("XLEN", KEYS.results))
            return lengths == [0, 0]

        for _ in range(200):
            if await empty():
                break
            await asyncio.sleep(0.02)
        assert await empty()


@pytest.mark.parametrize("handler", ["work", "block"])
async def test_many_run_in_parallel(cluster: Cluster, handler: str) -> None:
    work = worker(handler=handler, concurrency=20)
    cluster.pod(work)
    cluster.pod(work)
    items = list(range(300))
    fan = graph(
        maxParallel=300,
        tasks=[task("each", "echo", forEach={"items": "${input.items}"}, given={"i": "${item}"})],
        output="${tasks.each.output}",
    )
    async with cluster.host() as host:
        document = await run(host, program(fan, work), items=items)
        assert document["output"] == [{"i": i} for i in items]
        assert document["tasks"]["each"]["attempts"] == 300
    await until(lambda: len(cluster.ledger.read_text().splitlines()) == 600, "every effect, once")
