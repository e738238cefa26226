"""SIGTERM at any moment, over the five graphs: nothing is charged, nothing is lost, and the run ends as it would have."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.checker import Findings, check, comparable
from tests.faults.forkserver import Server
from tests.faults.graphs import GRAPHS
from tests.faults.ledger import read_ledger
from tests.faults.sizes import NIGHTLY, SEED
from tests.faults.test_crashes import bench_of
from tests.faults.trials import Bench, outcome_of, without_times

TRIALS = 60 if NIGHTLY else 4
"""Of each graph, of three stops each."""
PACE = 0.02
"""Seconds that a handler takes."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.mark.parametrize("graph", GRAPHS)
async def test_a_stop_at_any_moment_charges_nothing(server: Server, tmp_path: Path, graph: str) -> None:
    rng = random.Random(f"{graph}-{SEED}")
    bench = await bench_of(server, tmp_path, graph)
    stopped = interrupted = 0
    for _ in range(TRIALS):
        bench.trials += 1
        for _ in range(3):
            stopped += stop(bench, rng.randint(1, 6))
        findings = await end(bench)
        assert (findings.violations, findings.lost) == ([], 0)
        assert without_times(comparable(findings.documents["r0"])) == without_times(bench.expected)
        interrupted += findings.interrupted
    print(f"\n{graph}: {stopped} stops, {interrupted} attempts given back")
    assert stopped >= TRIALS and interrupted > 0


def stop(bench: Bench, lines: int) -> bool:
    """Stop a process once it has written so many lines into the ledger; whether the run was in progress still."""
    life = bench.life(1, pace=PACE)
    ledger = Path(life.ledger)
    wanted = len(read_ledger(ledger)) + lines
    victim = bench.server.start(life)
    while victim.alive and len(read_ledger(ledger)) < wanted:
        time.sleep(0.002)
    victim.send(signal.SIGTERM)
    assert victim.end() == 0, outcome_of(life)
    return bool(outcome_of(life)["stopped"])


async def end(bench: Bench) -> Findings:
    life = bench.life(1)
    assert bench.server.run(life) == 0, outcome_of(life)
    return await check(life.db, Path(life.ledger), life.runs)
