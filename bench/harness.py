"""What every peer is put through, and how it is timed: one JSON line per shape on standard output.

Small shapes: latency one at a time, then throughput with 32 runs at once. Large ones: seconds for one run, the median of three.
Every run's result is checked. Each measurement ends after its runs or its seconds, whichever comes first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import uvloop

from bench.shapes import Shape, Value, shape
from bench.usage import processor_seconds, spent

Run = Callable[[Value], Awaitable[Value]]
CONCURRENCY = 32
WARM_UP = 10


class Peer(Protocol):
    """One way to run a graph."""

    async def open(self, folder: Path) -> None:
        """Start; files go to ``folder``."""

    def prepare(self, shape: Shape) -> Run:
        """Compile the graph: what a server would do once. The result runs it."""

    async def close(self) -> None:
        """Stop."""


def main(peer: Peer) -> None:
    """Measure ``peer`` as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shapes", default="chain5,fan5,wide1000,deep1000,dag500")
    parser.add_argument("--seconds", type=float, default=3.0, help="at most so long for each measurement")
    parser.add_argument("--folder", type=Path, help="where databases go; a temporary folder by default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder, ignore_cleanup_errors=True) as folder:
        uvloop.run(_measure(peer, given.shapes.split(","), given.seconds, Path(folder)))


async def _measure(peer: Peer, names: list[str], seconds: float, folder: Path) -> None:
    await peer.open(folder)
    for name in names:
        graph = shape(name)
        started = time.perf_counter()
        run = _checked(graph, peer.prepare(graph))
        prepared = time.perf_counter() - started
        small = len(graph.needs) < 100
        found: dict[str, Any] = dict(await _small(run, seconds) if small else await _large(run, seconds))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"shape": name, **found, "prepare_s": prepared, "peak_mib": peak}), flush=True)
    await peer.close()


def _checked(graph: Shape, run: Run) -> Run:
    async def checked(given: Value) -> None:
        result = await run(given)
        if result != graph.expected(given):
            raise AssertionError(f"{graph.name} returned {result!r} for {given!r}")

    return checked


async def _small(run: Run, seconds: float) -> dict[str, float | dict[str, float]]:
    for i in range(WARM_UP):
        await run(f"w{i}")
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < 2000 and (started := time.perf_counter()) < until:
        await run(f"r{len(times)}")
        times.append(time.perf_counter() - started)
    times.sort()
    return {
        "p50_ms": statistics.median(times) * 1e3,
        "p99_ms": times[min(len(times) - 1, len(times) * 99 // 100)] * 1e3,
        "runs": len(times),
        **await _throughput(run, seconds),
    }


async def _throughput(run: Run, seconds: float) -> dict[str, float | dict[str, float]]:
    """Runs a second with 32 at once, each taken up as soon as one before it ends; processor time of a run in µs."""
    before = processor_seconds()
    started = time.perf_counter()
    until = started + seconds
    done = 0

    async def client(number: int) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await run(f"c{number}")
            done += 1

    await asyncio.gather(*map(client, range(CONCURRENCY)))
    rate = done / (time.perf_counter() - started)
    used = spent(before, processor_seconds())
    return {"per_second": rate, "processor_us": {name: value / done * 1e6 for name, value in used.items()}}


async def _large(run: Run, seconds: float) -> dict[str, float]:
    times: list[float] = []
    while len(times) < 3 and sum(times) < 2 * seconds:
        started = time.perf_counter()
        await run(f"r{len(times)}")
        times.append(time.perf_counter() - started)
    return {"seconds": statistics.median(times), "runs": len(times)}
