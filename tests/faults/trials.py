"""One trial of T2: kill a process at a boundary, resume in another that may be killed too, and check what is left."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.faults.checker import TERMINAL, Findings, Tally, check, comparable
from tests.faults.forkserver import Server
from tests.faults.graphs import SESSION
from tests.faults.points import AFTER, BEFORE, DURING
from tests.faults.victim import Life

PAGES = 12
"""Pages after which a victim copies its log into the database, so that even a small run does."""
HISTORIES = Path(__file__).parent / "histories"
Kill = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Trial:
    """``kills[i]`` is the boundary at which the i-th process dies; the one after the last lives."""

    graph: str
    kills: tuple[Kill, ...]
    runs: int = 1
    seed: int = 0

    @classmethod
    def of(cls, line: str) -> Trial:
        """Read a line of a history."""
        raw = json.loads(line)
        return cls(raw["graph"], tuple((a, b, c) for a, b, c in raw["kills"]), raw["runs"], raw["seed"])

    @property
    def line(self) -> str:
        """This, for ``of``."""
        return json.dumps(asdict(self))


class Bench:
    """A folder, a fork server, and what undisturbed runs of the graph look like."""

    def __init__(self, server: Server, folder: Path, graph: str) -> None:
        self.server = server
        self.graph = graph
        self.tally = Tally()
        self._folder = folder
        self.trials = 0
        self.expected: dict[str, Any] = {}
        self.reached: dict[str, int] = {}

    async def undisturbed(self) -> None:
        """Learn what a run ends as, and which boundaries it passes how often."""
        life = self.life(1)
        code = self.server.run(life)
        assert code == 0, self._error(life)
        outcome = outcome_of(life)
        findings = await check(life.db, Path(life.ledger), life.runs)
        assert findings.violations == [] and findings.duplicates == 0
        self.expected = comparable(findings.documents["r0"])
        self.reached = outcome["reached"]

    def life(self, runs: int, plan: Kill | None = None, pace: float = 0.0) -> Life:
        """One life of this trial's processes."""
        folder = self._folder / f"trial{self.trials}"
        folder.mkdir(exist_ok=True)
        names = [f"r{i}" for i in range(runs)]
        db, ledger, out = (str(folder / name) for name in ("journal.db", "ledger", "out"))
        return Life(db, ledger, out, self.graph, names, plan, "s" if self.graph in SESSION else None, PAGES, pace)

    async def run(self, trial: Trial) -> list[str]:
        """Do one trial; returns what is wrong."""
        self.trials += 1
        violations: list[str] = []
        known: dict[str, list[bytes]] = {}
        for kill in (*trial.kills, None):
            life = self.life(trial.runs, kill)
            code = self.server.run(life)
            if code not in (0, -signal.SIGKILL):
                return [f"a victim ended with {code}: {self._error(life)}"]
            known, changed = self._snapshot(life, known)
            violations += changed
            if code == 0:
                break
            assert kill is not None
            self.tally.faults[f"{kill[0]} {kill[1]}"] += 1
        findings = await check(life.db, Path(life.ledger), life.runs)
        violations += findings.violations + self._compared(life, findings)
        self.tally.add(findings)
        if not violations:
            shutil.rmtree(Path(life.db).parent)
        return violations

    @staticmethod
    def _error(life: Life) -> Any:
        return outcome_of(life)["error"] if Path(life.out).exists() else "no word"

    def _snapshot(self, life: Life, known: dict[str, list[bytes]]) -> tuple[dict[str, list[bytes]], list[str]]:
        """What is durable now, of a copy, so that the next process finds what the dead one left; and what was lost of it."""
        source, target = Path(life.db), Path(life.db).with_name("copy.db")
        for ending in ("", "-wal"):
            Path(f"{target}{ending}").unlink(missing_ok=True)
            if Path(f"{source}{ending}").exists():
                shutil.copyfile(f"{source}{ending}", f"{target}{ending}")
        runs, events = _rows(target)
        self.tally.in_flight += any(phase not in TERMINAL for phase in runs.values())
        lost = [run for run, batches in known.items() if events.get(run, [])[: len(batches)] != batches]
        return events, [f"I2 {run}: what was durable is gone or changed" for run in lost]

    def _compared(self, life: Life, findings: Findings) -> list[str]:
        wrong = [
            f"{run} ended otherwise than undisturbed: {comparable(document)} instead of {self.expected}"
            for run, document in findings.documents.items()
            if without_times(comparable(document)) != without_times(self.expected)
        ]
        if missing := set(life.runs) - set(findings.documents):
            wrong.append(f"{sorted(missing)} never ran")
        for key, per_run in SESSION.get(self.graph, {}).items():
            found = _session(Path(life.db)).get(key)
            if found != per_run * len(life.runs):
                wrong.append(f"I2 the session's {key} is {found}, not {per_run * len(life.runs)}")
        return wrong


def outcome_of(life: Life) -> dict[str, Any]:
    """What a victim said at its end."""
    found: dict[str, Any] = json.loads(Path(life.out).read_text())
    return found


def _rows(db: Path) -> tuple[dict[str, str], dict[str, list[bytes]]]:
    events: dict[str, list[bytes]] = {}
    try:
        with closing(sqlite3.connect(db)) as connection:
            runs = dict(connection.execute("SELECT run_id, phase FROM runs").fetchall())
            for run, batch in connection.execute("SELECT run_id, events FROM events ORDER BY run_id, seq"):
                events.setdefault(run, []).append(batch)
    except sqlite3.OperationalError:
        return {}, {}
    return runs, events


def _session(db: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(db)) as connection:
        (data,) = connection.execute("SELECT data FROM sessions WHERE session_id = 's'").fetchone()
    found: dict[str, Any] = json.loads(data)
    return found


def without_times(document: dict[str, Any]) -> dict[str, Any]:
    """The decision of an approval carries its time."""
    check_task = document["tasks"].get("check")
    if check_task and check_task["output"]:
        check_task = {**check_task, "output": {**check_task["output"], "at": None}}
        return {**document, "tasks": {**document["tasks"], "check": check_task}}
    return document


def plans(graph: str, reached: dict[str, int], seed: int) -> Iterator[Trial]:
    """Trials without end, in rounds: each round has every boundary that the graph reaches, both sides, at seeded places."""
    rng = random.Random(f"{graph}-{seed}")
    while True:
        for name in sorted(reached):
            yield _trial(rng, graph, name, reached, seed)


def _trial(rng: random.Random, graph: str, name: str, reached: dict[str, int], seed: int) -> Trial:
    boundary, side = name.rsplit(" ", 1)
    kills: list[Kill] = [(boundary, side, rng.randint(1, reached[name]))]
    while rng.random() < 0.4 and len(kills) < 4:
        kills.append(_later(rng, reached))
    return Trial(graph, tuple(kills), rng.choice((1, 1, 2)), seed)


def _later(rng: random.Random, reached: dict[str, int]) -> Kill:
    """A boundary that a process which resumes passes, too; early ones, since less is left to do."""
    always = [("run.claim", BEFORE, 1), ("run.claim", AFTER, 1), ("events.last", AFTER, 1), ("owner.lock", BEFORE, 1)]
    if rng.random() < 0.3:
        return rng.choice(always)
    names = [n for n in sorted(reached) if not n.startswith(("schema", "bundle", "run.insert")) and DURING not in n]
    boundary, side = rng.choice(names).rsplit(" ", 1)
    return boundary, side, rng.randint(1, max(1, reached[f"{boundary} {side}"] // 3))
