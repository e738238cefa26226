"""T2: kill -9 at every write boundary, both sides, over five graphs; then resume, perhaps to be killed again.

300 deaths here, 3,000 with ARKLEX_FAULTS=nightly. ARKLEX_FAULTS_SEED chooses others. What fails is written to
``.cache/faults``; a line moved from there to tests/faults/histories is tried again in every run for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.forkserver import Server
from tests.faults.graphs import GRAPHS
from tests.faults.report import keep as report
from tests.faults.sizes import NIGHTLY, SEED
from tests.faults.trials import HISTORIES, Bench, Trial, plans

DEATHS = 600 if NIGHTLY else 60
"""Of each graph."""
FAILED = Path(".cache/faults")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


async def bench_of(server: Server, folder: Path, graph: str) -> Bench:
    bench = Bench(server, folder, graph)
    await bench.undisturbed()
    return bench


@pytest.mark.parametrize("graph", GRAPHS)
async def test_runs_survive_kill_9_at_every_write_boundary(server: Server, tmp_path: Path, graph: str) -> None:
    bench = await bench_of(server, tmp_path, graph)
    failures: list[tuple[Trial, list[str]]] = []
    trials = plans(graph, bench.reached, SEED)
    while bench.trials < len(bench.reached) or (bench.tally.faults.total() < DEATHS and not failures):
        trial = next(trials)
        if violations := await bench.run(trial):
            failures.append((trial, violations))
            keep(trial)
    report("T2", bench.tally, graph)
    assert failures == []
    assert bench.tally.vacuous(DEATHS) == []


def keep(trial: Trial) -> None:
    FAILED.mkdir(parents=True, exist_ok=True)
    with (FAILED / "crashes.jsonl").open("a") as file:
        file.write(trial.line + "\n")


async def test_what_failed_once_holds(server: Server, tmp_path: Path) -> None:
    lines = [line for file in sorted(HISTORIES.glob("*.jsonl")) for line in file.read_text().splitlines()]
    for number, trial in enumerate(map(Trial.of, lines)):
        (folder := tmp_path / str(number)).mkdir()
        bench = await bench_of(server, folder, trial.graph)
        assert await bench.run(trial) == [], trial
