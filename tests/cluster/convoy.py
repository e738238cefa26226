"""Runs in flight while something is done to them, and what must be true of them afterwards (reliability.md, I1–I7, I13)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.kube import ENDED, Kube, Object, graph, run_of, step, worker
from tests.cluster.ledger import LedgerServer
from tests.cluster.victims import ready_pods
from tests.faults.checker import Findings, Tally, check
from tests.faults.ledger import ACCEPTED, BEGIN, END, Entry, read_ledger

EFFECTS = 5
SELECTOR = "arklex.ai/worker=probe"


@dataclass
class Convoy:
    """Runs of five effects each over ``pods`` pods. ``resources`` are those of the pods' container.

    ``under_way`` are the runs that nobody has waited for yet, ``sent`` counts those since ``page`` began, ``guests`` those
    begun elsewhere, and ``total`` all; ``tally`` is of what was done to those of the page.
    """

    space: Kube
    ledger: LedgerServer
    journal: str
    pods: int = 2
    resources: Object = field(default_factory=lambda: {"requests": {"cpu": "10m", "memory": "64Mi"}})
    under_way: list[str] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    sent: int = 0
    total: int = 0
    page: int = 0
    guests: int = 0

    def prepare(self) -> None:
        """Make the pool and the graph, and wait for them."""
        pool = worker("probe", scaling={"minReplicas": self.pods, "maxReplicas": self.pods}, concurrency=8)
        container = pool["spec"]["template"]["spec"]["containers"][0]
        container |= {"env": [{"name": "LEDGER", "value": self.ledger.url}], "resources": self.resources}
        tasks: list[Object] = []
        for n in range(EFFECTS):
            before = [tasks[-1]["name"]] if tasks else []
            given = {"ms": "${input.ms}", "devour": f"${{input.devour == {n}}}"}
            tasks.append(step(f"e{n}", "effect", *before, given=given, retry={"lostLimit": 20}))
        self.space.apply(pool, graph("convoy", tasks))
        self.space.until_condition("taskgraph", "convoy", "WorkersReady")

    def turn_page(self) -> None:
        """Begin anew, over the same pool and graph: what was so far is not looked at any more."""
        self.page += 1
        self.sent, self.guests, self.tally, self.under_way = 0, 0, Tally(), []
        self.ledger.turn(self.ledger.path.with_name(f"ledger-{self.page}"))

    def set_out(self, runs: int, ms: int = 1000, devour: int = -1) -> list[str]:
        """Begin runs whose effects take ``ms`` milliseconds, and return when every one of them is in the middle.

        The effect number ``devour`` takes more memory at its first attempt than its pod may have.
        """
        self.space.until(lambda: len(ready_pods(self.space, SELECTOR)) >= self.pods, "the pool is ready")
        names = [f"{self._prefix}{self.sent + n}" for n in range(runs)]
        self.sent += runs
        self.total += runs
        self.under_way += names
        self.space.create_all(*(run_of(name, "convoy", input={"ms": ms, "devour": devour}) for name in names))
        self.space.until(lambda: len({entry.run for entry in self._written(BEGIN)}) >= self.sent, "all are under way")
        return names

    def keep_up(self, runs: int, ms: int = 1000) -> None:
        """Begin as many runs as are needed for so many to be in the middle."""
        if (missing := runs - self.unfinished()) > 0:
            self.set_out(missing, ms)

    @contextmanager
    def hit(self, kind: str) -> Iterator[None]:
        """Count what is done inside as one fault, that hit runs in flight where there were any."""
        self.tally.faults[kind] += 1
        self.tally.in_flight += self.unfinished() > 0
        yield

    def take_in(self, run_id: str) -> None:
        """Look after a run that was begun elsewhere and has ended."""
        self.guests += 1
        self.total += 1
        self.ledger.ledger.write(ACCEPTED, run_id)

    @property
    def _prefix(self) -> str:
        return f"p{self.page}-"

    def _written(self, *kinds: str) -> list[Entry]:
        """What the ledger says of runs of this page; others may still be told of by pods that were stopped."""
        entries = read_ledger(self.ledger.path)
        return [entry for entry in entries if entry.kind in kinds and entry.run.startswith(self._prefix)]

    def ended(self) -> int:
        """How many effects have ended."""
        return len(self._written(END))

    def unfinished(self) -> int:
        """How many runs have effects yet to come: what a fault hits now."""
        ended: dict[str, int] = {}
        for entry in self._written(BEGIN, END):
            ended[entry.run] = ended.get(entry.run, 0) + (entry.kind == END)
        return sum(count < EFFECTS for count in ended.values())

    def statuses(self) -> dict[str, Any]:
        """The status of each run's object."""
        return {one["metadata"]["name"]: one.get("status") or {} for one in self.space.all("taskgraphruns")}

    def end(self, patience: float = 240) -> Findings:
        """Wait for the end of every run that is under way, and check every invariant of all runs of this page."""

        def over() -> dict[str, Any] | None:
            found = self.statuses()
            left = [name for name in self.under_way if found.get(name, {}).get("phase") not in ENDED]
            return None if left else found

        if self.under_way:
            found = self.space.until(over, f"every run of {self.under_way} has ended", patience, pause=1) or {}
            for name in self.under_way:
                self.ledger.ledger.write(ACCEPTED, found[name]["runId"])
            self.under_way.clear()
        findings = asyncio.run(check(self.journal, self.ledger.path, remote=True))
        assert not findings.violations, "\n".join(findings.violations)
        assert findings.runs == findings.succeeded == self.sent + self.guests
        tally = self.tally
        tally.runs, tally.succeeded = findings.runs, findings.succeeded
        tally.duplicates, tally.interrupted = findings.duplicates, findings.interrupted
        print(tally, f"({findings.unheard} unheard)")
        return findings
