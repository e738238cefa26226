"""Runs in flight while something is killed, and what must be true of them afterwards (reliability.md, I1–I7, I13)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from tests.cluster.kube import Kube, Object, graph, run_of, step, worker
from tests.cluster.ledger import LedgerServer
from tests.faults.checker import check
from tests.faults.ledger import ACCEPTED, BEGIN, END, read_ledger

ENDED = ("Succeeded", "Failed", "Cancelled")


@dataclass
class Convoy:
    """``runs`` runs of five effects each, of ``ms`` milliseconds, over ``pods`` pods."""

    space: Kube
    ledger: LedgerServer
    journal: str
    runs: int = 8
    pods: int = 2
    ms: int = 700
    names: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Begin all runs, and return when every one of them is in the middle."""
        pool = worker("probe", scaling={"minReplicas": self.pods, "maxReplicas": self.pods}, concurrency=8)
        pool["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "LEDGER", "value": self.ledger.url}]
        tasks: list[Object] = []
        for n in range(5):
            before = [tasks[-1]["name"]] if tasks else []
            tasks.append(step(f"e{n}", "effect", *before, given={"ms": self.ms}, retry={"lostLimit": 20}))
        self.space.apply(pool, graph("convoy", tasks))
        self.space.until(lambda: self.space.status("worker", "probe").get("readyReplicas", 0) >= self.pods, "the pool is ready")
        self.space.until_condition("taskgraph", "convoy", "WorkersReady")
        self.names = [f"r{n}" for n in range(self.runs)]
        for name in self.names:
            self.space.create(run_of(name, "convoy"))
        self.space.until(lambda: self._begun() >= self.runs, "every run is under way")

    def _begun(self) -> int:
        return len({entry.run for entry in read_ledger(self.ledger.path) if entry.kind == BEGIN})

    def unfinished(self) -> int:
        """How many runs have effects yet to come: what a fault hits now."""
        ended: dict[str, int] = {}
        for entry in read_ledger(self.ledger.path):
            ended[entry.run] = ended.get(entry.run, 0) + (entry.kind == END)
        return sum(count < 5 for count in ended.values())

    def end(self, patience: float = 240) -> None:
        """Wait for the end of every run, and check every invariant."""
        for name in self.names:
            status = self.space.until_phase("taskgraphrun", name, ENDED, patience)
            self.ledger.ledger.write(ACCEPTED, status["runId"])
        found = asyncio.run(check(self.journal, self.ledger.path))
        assert not found.violations, "\n".join(found.violations)
        assert (found.runs, found.succeeded) == (self.runs, self.runs)
