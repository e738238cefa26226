"""The invariant checker (reliability.md, I1–I6 and I13): reads the journal and the effect ledger, believes nobody else.

The journal is folded with the engine, event by event, and each event is asked whether it was accepted or came too late.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arklex_runtime.engine.document import run_document
from arklex_runtime.engine.events import Event, Finished, Interrupted, Lost, Started, decode
from arklex_runtime.engine.program import Program
from arklex_runtime.engine.state import RunState, Scope, TaskState, Unit
from arklex_runtime.engine.step import read_batch, step
from arklex_runtime.orchestrator.attempt import path_of
from arklex_runtime.state.journal import open_journal
from arklex_runtime.state.records import StoredRun
from tests.faults.ledger import ACCEPTED, BEGIN, COMMITTED, END, Entry, read_ledger
from tests.faults.quantiles import spread

TERMINAL = ("Succeeded", "Failed", "Cancelled")
OK, FAILED, LOST, INTERRUPTED = "ok", "failed", "lost", "interrupted"


@dataclass(slots=True)
class Findings:
    """What one check found. ``violations`` are sentences that begin with the invariant.

    ``unheard`` are attempts that a pod began and nobody heard of: it and Redis were hit at once, and it ran again, uncharged.
    ``interrupted`` are the attempts that a death or a stop ended, ``lost`` those that a death ended, ``committed`` those whose
    output counts.
    """

    violations: list[str] = field(default_factory=list)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: int = 0
    succeeded: int = 0
    interrupted: int = 0
    lost: int = 0
    duplicates: int = 0
    unheard: int = 0
    refused: int = 0
    committed: int = 0


class Fold:
    """One run's journal, folded. ``fates`` tells of each attempt (path, number) what became of it; "" if nothing yet."""

    def __init__(self, program: Program, stored: StoredRun) -> None:
        self.program = program
        self.stored = stored
        self.state = RunState()
        self.fates: dict[tuple[str, int], str] = {}
        self.failures: Counter[str] = Counter()
        self.losses: Counter[str] = Counter()
        self.units: dict[str, Unit] = {}
        self.violations: list[str] = []
        self._results: dict[int, tuple[TaskState, tuple[Any, ...]]] = {}
        for batch in stored.events:
            for record, facts in read_batch(batch):
                event = decode(record)
                if event is not None:
                    self._take(event, facts)

    def _take(self, event: Event, facts: dict[str, Any]) -> None:
        key = getattr(event, "key", "")
        unit = self.state.open.get(key)
        refused = self.state.refused
        step(self.program, self.state, event, facts)
        if unit is not None and self.state.refused == refused:
            self._note(event, unit)
        self._settled()

    def _note(self, event: Event, unit: Unit) -> None:
        path = path_of(unit.key)
        if isinstance(event, Started):
            self.units[path] = unit
            if self.fates.setdefault((path, event.attempt), "") != "":
                self.violations.append(f"I2 {path}: attempt {event.attempt} started again")
            if any(fate == OK for (other, _), fate in self.fates.items() if other == path) and "@" not in unit.key:
                self.violations.append(f"I2 {path}: attempt {event.attempt} started after a result was committed")
            waiting = [d.node.name for d in _dependencies(unit.task) if not d.terminal]
            if waiting:
                self.violations.append(f"I4 {path} started before {waiting} had ended")
        elif isinstance(event, Finished):
            self.fates[path, event.attempt] = OK if event.error is None else FAILED
            self.failures[path] += event.error is not None
        elif isinstance(event, Lost):
            self.fates[path, event.attempt] = LOST
            self.losses[path] += 1
        elif isinstance(event, Interrupted):
            self.fates[path, event.attempt] = INTERRUPTED

    def _settled(self) -> None:
        """I2, I3: what is terminal stays as it is."""
        for task in tasks_of(self.state.root):
            result = (task.phase, repr(task.output), task.has_output, repr(task.error), task.finished_at)
            known = self._results.get(id(task))
            if known is not None and known[1] != result:
                self.violations.append(f"I3 {task.node.name}: was {known[1]}, then {result}")
            if task.terminal:
                self._results[id(task)] = (task, result)

    def limits(self) -> Iterable[str]:
        """I6: attempts within limits."""
        for path, unit in self.units.items():
            task = unit.task.node.task
            allowed = task.retry.limit + 1 + bool(task.fallback and task.fallback.worker)
            if self.failures[path] > allowed:
                yield f"I6 {path}: {self.failures[path]} failed attempts, {allowed} allowed"
            if self.losses[path] > task.retry.lost_limit + 1:
                yield f"I6 {path}: lost {self.losses[path]} times, lostLimit is {task.retry.lost_limit}"


def tasks_of(scope: Scope | None) -> Iterable[TaskState]:
    """Every task of the graph and of its sub-graphs."""
    for task in scope.tasks if scope else ():
        yield task
        for unit in task.units:
            yield from tasks_of(unit.child)


def _dependencies(task: TaskState) -> list[TaskState]:
    return [task.scope.tasks[edge.source] for edge in task.node.deps]


class Check:
    """One run's journal against its lines in the ledger."""

    def __init__(self, fold: Fold, entries: list[Entry], remote: bool = False) -> None:
        self._remote = remote
        self.unheard = 0
        self.fold = fold
        self.entries = entries
        self.violations = [*fold.violations, *fold.limits()]
        self.duplicates = 0
        self._ends = {(e.task, e.attempt): e.place for e in reversed(entries) if e.kind == END and e.ok}
        self._keys()
        self._terminal()
        begun: Counter[tuple[str, int]] = Counter()
        for entry in entries:
            if entry.kind == BEGIN:
                begun[entry.task, entry.attempt] += 1
                self._begin(entry, begun[entry.task, entry.attempt])
            elif entry.kind == COMMITTED and self.fold.fates.get((entry.task, entry.attempt), "") == "":
                self._wrong("I2", entry, "was acknowledged, but the journal has no such result")

    def _wrong(self, invariant: str, entry: Entry, what: str) -> None:
        self.violations.append(f"{invariant} {entry.run} {entry.task} attempt {entry.attempt}: {what}")

    def _terminal(self) -> None:
        row, state = self.fold.stored.row, self.fold.state
        if row.phase not in TERMINAL or state.finished_at is None:
            self.violations.append(f"I1 {row.run_id} is {row.phase}, and folds to {state.phase}")
        elif row.phase != state.phase or row.owner is not None:
            self.violations.append(f"I3 {row.run_id} is {row.phase} in the list and folds to {state.phase}")

    def _keys(self) -> None:
        """I5: one idempotency key for all attempts of a task or item, another one for its fallback, shared with nobody."""
        tasks: dict[str, set[str]] = defaultdict(set)
        keys: dict[str, set[str]] = defaultdict(set)
        for entry in self.entries:
            if entry.kind == BEGIN:
                tasks[entry.key].add(entry.task)
                keys[entry.task].add(entry.key)
        self.violations += [f"I5 one idempotency key for {sorted(names)}" for names in tasks.values() if len(names) > 1]
        for name, found in keys.items():
            unit = self.fold.units.get(name)
            fallback = unit.task.node.task.fallback if unit else None
            if len(found) > 1 + bool(fallback and fallback.worker):
                self.violations.append(f"I5 {name} had {len(found)} idempotency keys")

    def _begin(self, entry: Entry, times: int) -> None:
        fate = self.fold.fates.get((entry.task, entry.attempt))
        unit = self.fold.units.get(entry.task)
        if fate is None or unit is None:
            self._wrong("I6", entry, "began, but its start is not in the journal")
            return
        if times > 1 and self._remote:
            self.unheard += 1
        elif times > 1:
            self._wrong("I5", entry, "began twice")
        self.duplicates += fate in (LOST, INTERRUPTED)
        for other, attempt in ((a, n) for (a, n), f in self.fold.fates.items() if f == OK and a == entry.task):
            if attempt < entry.attempt and self._ends.get((other, attempt), entry.place) < entry.place:
                self._wrong("I2", entry, f"began after the result of attempt {attempt}")
        for dependency in _dependencies(unit.task):
            self._order(entry, dependency)

    def _order(self, entry: Entry, dependency: TaskState) -> None:
        """I4: all effects that the dependency's result is made of lie before this one."""
        prefix = path_of(dependency.scope.path + dependency.node.name)
        for (path, attempt), fate in self.fold.fates.items():
            if fate == OK and (path == prefix or path.startswith((prefix + "[", prefix + "/"))):
                place = self._ends.get((path, attempt))
                if place is None or place > entry.place:
                    self._wrong("I4", entry, f"began before {path} had ended")


async def check(
    db: str, ledger: Path, runs: Iterable[str] = (), *, remote: bool = False, only: Collection[str] | None = None
) -> Findings:
    """Check every run that was acknowledged, and those of ``runs`` that exist; of them all ``only`` these, if it is given.

    ``remote``: attempts run in pods, whose word that one has begun may be lost with Redis.
    """
    entries: dict[str, list[Entry]] = defaultdict(list)
    for entry in read_ledger(ledger):
        entries[entry.run].append(entry)
    acknowledged = {run for run, lines in entries.items() if any(line.kind == ACCEPTED for line in lines)}
    findings = Findings()
    journal = await open_journal(db)
    try:
        chosen = acknowledged | set(runs)
        for run_id in sorted(chosen if only is None else chosen & set(only)):
            stored = await journal.load(run_id)
            if stored is None:
                findings.violations.append(
                    f"I1 {run_id} was acknowledged and is gone" if run_id in acknowledged else f"{run_id}: none"
                )
                continue
            _add(findings, Check(Fold(Program.load(stored.document), stored), entries[run_id], remote))
    finally:
        await journal.close()
    return findings


def _add(findings: Findings, one: Check) -> None:
    fold, row = one.fold, one.fold.stored.row
    findings.violations += one.violations
    findings.documents[row.run_id] = run_document(fold.state, row.graph)
    findings.runs += 1
    findings.succeeded += row.phase == "Succeeded"
    findings.interrupted += sum(fate in (LOST, INTERRUPTED) for fate in fold.fates.values())
    findings.committed += sum(fate == OK for fate in fold.fates.values())
    findings.lost += sum(fate == LOST for fate in fold.fates.values())
    findings.duplicates += one.duplicates
    findings.unheard += one.unheard
    findings.refused += fold.state.refused


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    """What must be the same whatever happened meanwhile: no times, no counts of attempts, no run id."""
    tasks = {
        name: {k: task.get(k) for k in ("phase", "output", "error", "reason", "fallback")}
        for name, task in document["tasks"].items()
    }
    return {"phase": document["phase"], "output": document["output"], "error": document["error"], "tasks": tasks}


@dataclass(slots=True)
class Tally:
    """All of a test's trials, for I13 and the one line that is reported.

    ``recoveries`` are the seconds from a fault to the next task that began in each run that was in flight then, ``starts``
    those from a run's acceptance to its first task.
    """

    faults: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    runs: int = 0
    succeeded: int = 0
    lost: int = 0
    duplicates: int = 0
    interrupted: int = 0
    recoveries: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)

    def add(self, findings: Findings) -> None:
        """One more trial."""
        self.runs += findings.runs
        self.succeeded += findings.succeeded
        self.lost += sum(violation.startswith("I1") for violation in findings.violations)
        self.duplicates += findings.duplicates
        self.interrupted += findings.interrupted

    def vacuous(self, faults: int) -> list[str]:
        """I13: why this proves nothing; empty if it does."""
        count = self.faults.total()
        return [
            what
            for what, holds in (
                (f"I13 {count} faults, {faults} wanted", count >= faults),
                (f"I13 {self.in_flight} of {count} faults hit a run in flight", self.in_flight >= count / 2),
                (f"I13 {self.succeeded} of {self.runs} runs succeeded", self.succeeded >= 0.95 * self.runs and self.runs > 0),
            )
            if not holds
        ]

    def __str__(self) -> str:
        return (
            f"{self.faults.total()} faults of {len(self.faults)} kinds ({self.in_flight} in flight), {self.runs} runs, "
            f"{self.lost} lost, {self.duplicates} duplicated effects of {self.interrupted} interrupted attempts, "
            f"recovery p50/p99 {spread(self.recoveries)}, start p50/p99 {spread(self.starts)}"
        )
