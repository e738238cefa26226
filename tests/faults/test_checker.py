"""The checker itself: it must see each wrong that it is there for."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checker import Tally, check
from tests.faults.forkserver import Server
from tests.faults.victim import Life

Line = list[Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def life(server: Server, tmp_path: Path) -> Life:
    """A run that went well."""
    db, ledger, out = (str(tmp_path / name) for name in ("journal.db", "ledger", "out"))
    done = Life(db, ledger, out, "chain", ["r0"])
    assert server.run(done) == 0
    return done


def lines_of(life: Life) -> list[Line]:
    return [json.loads(line) for line in Path(life.ledger).read_text().splitlines()]


def rewrite(life: Life, change: Callable[[list[Line]], None]) -> None:
    lines = lines_of(life)
    change(lines)
    Path(life.ledger).write_text("".join(json.dumps(line) + "\n" for line in lines))


def first(lines: list[Line], kind: str, task: str) -> Line:
    return next(line for line in lines if line[0] == kind and line[2] == task)


def begin_again(lines: list[Line]) -> None:
    lines.append(first(lines, "begin", "t0"))


def begin_unknown(lines: list[Line]) -> None:
    lines.append([*first(lines, "begin", "t0")[:3], 2, "k", True, 1])


def end_late(lines: list[Line]) -> None:
    line = first(lines, "end", "t1")
    lines.remove(line)
    lines.append(line)


def other_key(lines: list[Line]) -> None:
    first(lines, "begin", "t2")[4] = first(lines, "begin", "t0")[4]


def acknowledge(lines: list[Line]) -> None:
    lines.append(["accepted", "r9", "", 0, "", True, 1])


def committed(lines: list[Line]) -> None:
    lines.append([*first(lines, "committed", "t0")[:3], 9, "", True, 1])


@pytest.mark.parametrize(
    ("change", "invariant"),
    [(begin_again, "I5"), (begin_unknown, "I6"), (end_late, "I4"), (other_key, "I5"), (acknowledge, "I1"), (committed, "I2")],
)
async def test_a_ledger_that_tells_of_a_wrong(life: Life, change: Callable[[list[Line]], None], invariant: str) -> None:
    assert (await check(life.db, Path(life.ledger))).violations == []
    rewrite(life, change)
    violations = (await check(life.db, Path(life.ledger))).violations
    assert any(violation.startswith(invariant) for violation in violations), violations


@pytest.mark.parametrize(
    ("statement", "invariant"),
    [
        ("DELETE FROM events WHERE seq = (SELECT MAX(seq) FROM events)", "I1"),
        ("DELETE FROM events WHERE seq > 2", "I6"),
        ("DELETE FROM runs", "I1"),
        ("UPDATE runs SET phase = 'Failed'", "I3"),
    ],
)
async def test_a_journal_that_lost_something(life: Life, statement: str, invariant: str) -> None:
    with closing(sqlite3.connect(life.db)) as connection, connection:
        connection.execute(statement)
    violations = (await check(life.db, Path(life.ledger))).violations
    assert any(violation.startswith(invariant) for violation in violations), violations


def test_what_hit_nothing_proves_nothing() -> None:
    tally = Tally()
    tally.faults["transaction.commit before"] = 10
    tally.runs, tally.succeeded, tally.in_flight = 10, 9, 4
    assert [reason.partition(" ")[0] for reason in tally.vacuous(20)] == ["I13"] * 3
    tally.succeeded, tally.in_flight = 10, 6
    assert tally.vacuous(10) == []
