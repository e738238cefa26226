"""Many runs through one runtime, and whether anything grows: ``python -m bench.endurance [--runs 10000] [--minutes 60]``.

One ``arklex runtime`` and one worker pod as processes, a Redis, a PostgreSQL; 32 clients at the door, each starting a run
of three tasks in a row and waiting for its end. Runs are kept for 30 s, so that retention has to keep up. Every 3 s sizes are
taken: resident memory of the processes, the journal's rows and bytes, Redis' keys and stream entries. The picture goes to
``bench/pictures/endurance.svg``, the samples to ``bench/endurance.json``; the last line compares the first quarter after a
tenth of the runs with the last quarter. After so many minutes no more runs are begun.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import redis

from bench.charts import Panel, Points, svg
from tests.fleet import NAMESPACE, TOKEN, Replica, fleet, until
from tests.pods import Cluster, worker
from tests.services import PostgresServer, postgres_server, redis_server

HERE = Path(__file__).parent
CLIENTS = 32
EVERY = 3.0
"""Seconds between two samples."""
KEPT = "30s"
PATIENCE = 600.0
"""Seconds in which a runtime begins even where the machine has other things to do."""
WINDOW = 200
"""Runs over which latencies are summed up."""

MANIFESTS = """
apiVersion: arklex.ai/v1alpha1
kind: Worker
metadata: {name: work}
spec: {type: custom, config: {handler: "bench.peers.arklex:node"}, concurrency: 64}
---
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: chain}
spec:
  tasks:
  - {name: a, worker: work, with: {value: "${input.x}"}}
  - {name: b, dependsOn: [a], worker: work, with: {value: "${tasks.a.output}"}}
  - {name: c, dependsOn: [b], worker: work, with: {value: "${tasks.b.output}"}}
  output: ${tasks.c.output}
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was found when so many runs had ended: MiB, rows, keys."""

    runs: int
    seconds: float
    runtime_mib: float
    worker_mib: float
    redis_mib: float
    journal_mib: float
    run_rows: int
    event_rows: int
    other_rows: int
    keys: int
    entries: int


@dataclass
class Endurance:
    """``latencies`` are seconds from asking for a run to its document, in the order the runs ended."""

    most: int
    minutes: float
    replica: Replica
    pids: dict[str, int]
    postgres: PostgresServer
    database: str
    broker: redis.Redis
    latencies: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    begun: int = 0

    async def clients(self) -> None:
        """All runs, CLIENTS at a time. Raises AssertionError for one that did not end well."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self.replica.door}", headers=headers) as session:
            sampling = asyncio.create_task(self._sampling())
            await asyncio.gather(*(self._client(session) for _ in range(CLIENTS)))
            sampling.cancel()
        await asyncio.to_thread(self.sample)

    async def _client(self, session: aiohttp.ClientSession) -> None:
        until = self.began + 60 * self.minutes
        while self.begun < self.most and time.monotonic() < until:
            self.begun += 1
            body = {"input": {"x": f"{self.begun:06}" * 50}}
            began = time.perf_counter()
            async with session.post(f"/v1/namespaces/{NAMESPACE}/taskgraphs/chain/runs?wait=60s", json=body) as answer:
                document = await answer.json()
            while document.get("phase") == "Running":
                async with session.get(f"/v1/namespaces/{NAMESPACE}/runs/{document['run']}?wait=60s") as answer:
                    document = await answer.json()
            assert document.get("phase") == "Succeeded", document
            self.latencies.append(time.perf_counter() - began)

    async def _sampling(self) -> None:
        while True:
            await asyncio.to_thread(self.sample)
            await asyncio.sleep(EVERY)

    def sample(self) -> None:
        """Look at everything once."""
        tables = ("runs", "events", "bundles", "logs", "signals", "cache", "sessions", "leases", "owners", "graph_counts")
        counts = ", ".join(f"(SELECT COUNT(*) FROM {table})" for table in tables)
        size, *rows = map(
            int, self.postgres.psql(f"SELECT pg_database_size('{self.database}'), {counts}", self.database).split("|")
        )
        keys: list[Any] = list(self.broker.scan_iter())
        streams = [key for key in keys if self.broker.type(key) == b"stream"]
        resident = {name: _resident(pid) for name, pid in self.pids.items()}
        self.samples.append(
            Sample(
                len(self.latencies),
                time.monotonic() - self.began,
                resident["runtime"],
                resident["worker"],
                resident["redis"],
                size / 2**20,
                rows[0],
                rows[1],
                sum(rows[2:]),
                len(keys),
                sum(int(str(self.broker.xlen(key))) for key in streams),
            )
        )

    @property
    def runs(self) -> int:
        """How many have ended."""
        return len(self.latencies)

    def windows(self, of: Callable[[list[float]], float]) -> Points:
        """A figure of each WINDOW runs, in milliseconds."""
        starts = range(0, len(self.latencies) - WINDOW + 1, WINDOW)
        return [(start + WINDOW, of(sorted(self.latencies[start : start + WINDOW])) * 1000) for start in starts]


def _resident(pid: int) -> float:
    """MiB of a process that stay in memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def picture(done: Endurance) -> str:
    """The samples drawn over the number of runs."""

    def line(name: str) -> Points:
        return [(one.runs, float(getattr(one, name))) for one in done.samples]

    memory = {name: line(f"{name}_mib") for name in ("runtime", "worker", "redis")}
    latency = {"p50": done.windows(statistics.median), "p99": done.windows(lambda found: found[len(found) * 99 // 100])}
    panels = [
        Panel("Resident memory, MiB", memory),
        Panel(f"From asking for a run to its result, ms ({CLIENTS} clients)", latency),
        Panel(f"Rows in the journal (runs are kept for {KEPT})", {"runs": line("run_rows"), "events": line("event_rows")}),
        Panel("Journal on disk, MiB", {"PostgreSQL": line("journal_mib")}),
        Panel("Redis", {"keys": line("keys"), "stream entries": line("entries")}),
    ]
    return svg(f"{done.runs:,} runs through one runtime", "runs that have ended", panels)


def verdict(done: Endurance) -> dict[str, tuple[float, float]]:
    """Medians in the first quarter after a tenth of the runs, and in the last quarter."""
    first, last = (done.runs * 0.1, done.runs * 0.35), (done.runs * 0.75, done.runs)

    def middle(points: Points, part: tuple[float, float]) -> float:
        return round(statistics.median([y for x, y in points if part[0] <= x <= part[1]]), 1)

    names = [name for name in Sample.__slots__ if name not in ("runs", "seconds")]
    lines: dict[str, Points] = {name: [(one.runs, getattr(one, name)) for one in done.samples] for name in names}
    lines["p50_ms"] = done.windows(statistics.median)
    return {name: (middle(line, first), middle(line, last)) for name, line in lines.items()}


async def measured(runs: int, minutes: float, act: Callable[[Endurance], Awaitable[None]]) -> Endurance:
    """Everything brought up, ``act`` done, everything ended."""
    with tempfile.TemporaryDirectory() as name, postgres_server() as postgres, redis_server() as broker:
        folder = Path(name)
        url = postgres.database("arklex")
        pods = Cluster(broker.url, folder, lease=10.0, namespace=NAMESPACE)
        kept = {"ARKLEX_RETENTION_SUCCEEDED": KEPT, "ARKLEX_LEASE_SECONDS": "10"}
        try:
            with fleet(folder, MANIFESTS, url, broker.url, **kept) as replicas, redis.Redis(port=broker.port) as client:
                replica = replicas.add(wait=False)
                await asyncio.to_thread(until, replica.ready, replica.text, PATIENCE)
                pod = pods.pod(worker(config={"handler": "bench.peers.arklex:node"}, concurrency=64))
                started = [replica.process, pod.process, broker.process]
                pids = dict(zip(("runtime", "worker", "redis"), (one.pid for one in started if one), strict=True))
                done = Endurance(runs, minutes, replica, pids, postgres, "arklex", client)
                await act(done)
                return done
        finally:
            pods.close()


def main() -> None:
    """Measure, draw, say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=60)
    wanted = parser.parse_args()
    done = asyncio.run(measured(wanted.runs, wanted.minutes, Endurance.clients))
    (HERE / "pictures").mkdir(exist_ok=True)
    (HERE / "pictures/endurance.svg").write_text(picture(done))
    (HERE / "endurance.json").write_text(json.dumps([asdict(one) for one in done.samples]) + "\n")
    seconds = done.samples[-1].seconds
    found = {"runs": done.runs, "seconds": round(seconds), "per_second": round(done.runs / seconds, 1), **verdict(done)}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
