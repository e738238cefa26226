"""Hundreds of runs leave nothing behind: not in the process, not in Redis, and in the journal what retention keeps.

``bench/endurance.py`` does it with thousands, and measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from typing_extensions import override

from arklex_runtime.dispatch.streams.dispatcher import StreamsDispatcher
from arklex_runtime.dispatch.streams.link import Address
from arklex_runtime.orchestrator.clock import SteadyClock
from arklex_runtime.orchestrator.driver import RunDriver
from arklex_runtime.orchestrator.flushing import LINGER
from arklex_runtime.orchestrator.host import RunHost
from arklex_runtime.orchestrator.remote import RemoteBench
from arklex_runtime.orchestrator.requests import Request
from arklex_runtime.state import database
from arklex_runtime.state.records import Origin
from arklex_runtime.state.replicas import ReplicaJournal, open_replica
from arklex_runtime.state.results import ResultCache
from tests.pods import Cluster, ended, graph, program, task, worker

pytestmark = pytest.mark.redis

FEW, MANY = 30, 300
AT_ONCE = 20
DAY = 86400.0
PATIENCE = 60.0
WORK = worker(concurrency=AT_ONCE)
CHAIN = program(graph(tasks=[task("a", "echo", given={"x": 1}), task("b", "log", given={"text": "x"}, dependsOn=["a"])]), WORK)


class Clock(SteadyClock):
    """A steady one that a test puts forward."""

    __slots__ = ("ahead",)

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    @override
    def __call__(self) -> float:
        return super().__call__() + self.ahead


def drivers() -> int:
    """How many there are, ended or not."""
    gc.collect()
    return sum(isinstance(one, RunDriver) for one in gc.get_objects())


class Replica:
    """A runtime in this process, its journal in a SQLite file."""

    def __init__(self, host: RunHost, journal: ReplicaJournal, cluster: Cluster, clock: Clock) -> None:
        self.host, self.journal, self.cluster, self.clock = host, journal, cluster, clock

    async def run(self, count: int) -> None:
        """So many runs to their end, AT_ONCE at a time."""
        for _ in range(0, count, AT_ONCE):
            await asyncio.gather(*(self.one() for _ in range(min(AT_ONCE, count))))

    async def one(self) -> str:
        """One run; its id."""
        document = await ended(await self.host.start(CHAIN, Request(origin=Origin("graph-uid"))))
        assert document["phase"] == "Succeeded", document
        return str(document["run"])

    def rows(self) -> dict[str, int]:
        """The journal's rows by table, without empty ones."""
        with contextlib.closing(sqlite3.connect(self.cluster.folder / "journal.db")) as file:
            names = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            found = {name: int(file.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0]) for name in names}
        return {name: count for name, count in found.items() if count}

    def keys(self) -> dict[str, int]:
        """Redis' keys, and how much is in each."""
        with redis.Redis.from_url(self.cluster.url, decode_responses=True) as client:
            sizes: dict[str, Any] = {
                "stream": client.xlen, "hash": client.hlen, "zset": client.zcard, "set": client.scard, "string": client.strlen
            }  # fmt: skip
            return {name: sizes[str(client.type(name))](name) for name in sorted(client.scan_iter())}


@pytest.fixture
async def replica(cluster: Cluster) -> AsyncIterator[Replica]:
    clock, bench = Clock(), RemoteBench(ResultCache())
    bench.clock = clock
    journal = await open_replica(cluster.db, now=clock)
    dispatcher = StreamsDispatcher(Address.of(cluster.url), bench.route_of, lease=cluster.lease)
    host = RunHost(journal, bench, dispatcher=dispatcher)
    cluster.pod(WORK)
    yield Replica(host, journal, cluster, clock)
    await host.aclose()


async def test_many_runs_leave_no_more_behind_than_few(replica: Replica) -> None:
    await replica.run(FEW)
    before = replica.keys()
    await replica.run(MANY)
    assert replica.host.runs == {}
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while drivers() > 1:  # the host's look for signals may still hold the one it saw last
        assert asyncio.get_running_loop().time() < deadline, f"{drivers()} drivers are left"
        await asyncio.sleep(2 * LINGER)
    assert replica.keys() == before


async def test_what_retention_deletes_is_gone_and_the_next_run_is_whole(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the program, which the host had stored before; the next run has it stored again."""
    monkeypatch.setattr(database, "DELETE_AT_ONCE", FEW)  # less than the events of the runs
    await replica.run(FEW)
    assert replica.rows()["runs"] >= FEW
    replica.clock.ahead = DAY
    while await replica.journal.retire("Succeeded", replica.clock() - 60):
        pass
    await replica.journal.tidy()
    left = replica.rows()
    assert set(left) <= {"alembic_version", "graph_counts", "owners", "leases"}, left
    stored = await replica.journal.load(await replica.one())
    assert stored is not None and stored.document
