"""A wave: runs that are begun all the time, faults one after the other, and the judgement of it all by the invariants."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.checker import Findings, Tally, check
from tests.faults.quantiles import spread
from tests.faults.report import keep
from tests.faults.sizes import SEED
from tests.faults.stand import PATIENCE, Stand
from tests.faults.traffic import Traffic, Witness
from tests.fleet import until

Fault = Callable[[], None]


@dataclass
class Wave:
    """One test's. ``moments`` are its faults and when they began, in monotonic seconds."""

    name: str
    stand: Stand
    traffic: Traffic
    witness: Witness
    random: random.Random
    tally: Tally = field(default_factory=Tally)
    moments: list[tuple[str, float]] = field(default_factory=list)

    def hit(self, kind: str, fault: Fault) -> None:
        """One fault, once attempts are at work."""
        until(lambda: bool(self.witness.busy()), self.stand.logs, PATIENCE)
        self.tally.faults[kind] += 1
        self.tally.in_flight += bool(self.witness.busy())
        self.moments.append((kind, time.monotonic()))
        fault()

    def pause(self, least: float, most: float) -> None:
        """Let so many seconds pass."""
        time.sleep(self.random.uniform(least, most))

    def end(self) -> Findings:
        """Wait for every run to end and for Redis to be empty, then judge. The figures are printed and kept."""
        self._settle(lambda: self.stand.unfinished() == 0, lambda: f"I1 {self.stand.unfinished()} runs do not end")
        self._settle(lambda: not self.stand.left(), lambda: f"I9 left in Redis: {self.stand.left()}")
        runs, stand = self.traffic.runs, self.stand
        findings = asyncio.run(check(stand.url, stand.ledger, remote=True, only=runs))
        self.tally.add(findings)
        self.witness.look()
        recoveries = self.witness.recoveries(self.moments, runs)
        for kind, seconds in recoveries.items():
            print(f"{self.name} {kind}: recovery p50/p99 {spread(seconds)} of {len(seconds)}")
            self.tally.recoveries += seconds
        self.tally.starts += self.witness.starts(runs)
        keep(self.name, self.tally)
        assert findings.violations == []
        wrong = {run: findings.documents[run] for run, number in runs.items() if findings.documents[run]["output"] != number}
        assert wrong == {}
        return findings

    def _settle(self, done: Callable[[], bool], said: Callable[[], str]) -> None:
        until(done, lambda: f"{said()}\n{self.stand.logs()}", PATIENCE)

    def proven(self, faults: int, runs: int) -> None:
        """I13: so many faults and runs, and they met each other."""
        assert self.tally.vacuous(faults) == []
        assert len(self.traffic.runs) >= runs, "I13 too few runs"


def wave(name: str, stand: Stand, graph: str, rate: float) -> Wave:
    """A wave over runs of a graph, ``rate`` of which begin in a second."""
    return Wave(name, stand, Traffic(stand, graph, rate), Witness(stand), random.Random(f"{name}-{SEED}"))
