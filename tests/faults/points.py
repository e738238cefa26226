"""The write boundaries at which a victim kills itself, found from outside: by wrapping what it calls, in the victim alone.

A boundary has a name and two sides, before and after; the n-th time that the planned one is reached the process gets SIGKILL.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

BEFORE, AFTER, DURING = "before", "after", "during"

STATEMENTS = (
    ("CREATE", "schema.create"),
    ("INSERT INTO alembic_version", "schema.version"),
    ("PRAGMA journal_mode", "schema.wal"),
    ("INSERT INTO bundles", "bundle.put"),
    ("INSERT INTO runs", "run.insert"),
    ("UPDATE runs SET phase", "run.end"),
    ("UPDATE runs SET owner", "run.claim"),
    ("INSERT INTO events", "events.insert"),
    ("SELECT COALESCE(MAX(seq)", "events.last"),
    ("INSERT INTO sessions", "session.add"),
    ("UPDATE sessions", "session.patch"),
    ("SELECT data FROM sessions", "session.read"),
    ("INSERT INTO cache", "cache.put"),
    ("SELECT value, expires_at FROM cache", "cache.get"),
    ("INSERT INTO signals", "signal.add"),
    ("UPDATE signals", "signal.consume"),
    ("PRAGMA wal_checkpoint", "wal.checkpoint"),
    ("BEGIN IMMEDIATE", "transaction.begin"),
    ("COMMIT", "transaction.commit"),
)
"""Statements by how they start, and their boundaries' names; others are none."""


class Faults:
    """Counts the boundaries reached, and dies at the planned one: ``(name, side, n)``."""

    def __init__(self, plan: tuple[str, str, int] | None) -> None:
        self.counts: Counter[str] = Counter()
        self._plan = plan

    def reach(self, name: str, side: str) -> None:
        """The process is at this boundary now."""
        self.counts[f"{name} {side}"] += 1
        if self._plan is not None and self._plan == (name, side, self.counts[f"{name} {side}"]):
            os.kill(os.getpid(), signal.SIGKILL)

    def call(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call the function between the two sides of the boundary."""
        self.reach(name, BEFORE)
        if name == "wal.checkpoint":
            self._during(name)
        result = function(*args)
        self.reach(name, AFTER)
        return result

    def _during(self, name: str) -> None:
        """Die in the middle of what follows, from another thread."""
        self.counts[f"{name} {DURING}"] += 1
        if self._plan is not None and self._plan == (name, DURING, self.counts[f"{name} {DURING}"]):
            threading.Thread(target=_die_soon, daemon=True).start()

    def wrap(self, owner: object, method: str, name: str) -> None:
        """Let every call of the object's (or module's) method pass the boundary."""
        vars(owner)[method] = partial(self.call, name, getattr(owner, method))

    def wrap_submit(self, journal: Any) -> None:
        """``submit`` and the acknowledgement that it gives later are two boundaries."""
        submit = journal.submit

        def wrapped(batch: Any, done: Callable[..., None]) -> None:
            self.call("journal.submit", submit, batch, partial(self.call, "journal.done", done))

        vars(journal)["submit"] = wrapped

    def install(self) -> None:
        """Watch every SQLite statement and file lock of this process from here on."""
        faults = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
                return _watched(faults, sql, super().execute, sql, parameters)

            def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
                return _watched(faults, sql, super().executemany, sql, parameters)

        vars(sqlite3)["connect"] = partial(sqlite3.connect, factory=Connection)
        self.wrap(fcntl, "flock", "owner.lock")


def _watched(faults: Faults, sql: str, function: Callable[..., Any], *args: Any) -> sqlite3.Cursor:
    name = next((name for start, name in STATEMENTS if sql.startswith(start)), None)
    result: sqlite3.Cursor = faults.call(name, function, *args) if name else function(*args)
    return result


def _die_soon() -> None:
    time.sleep(0.0002)
    os.kill(os.getpid(), signal.SIGKILL)
