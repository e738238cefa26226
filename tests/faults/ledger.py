"""The effect ledger: what handlers really did, one line each, in the order in which it happened.

Lines are appended with one ``write`` to a file opened with O_APPEND: a kill loses none that was written and tears none, and
the file's order is the order of the effects, of any number of processes.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arklex_runtime.workers.base import TaskContext

ACCEPTED, BEGIN, END, COMMITTED = "accepted", "begin", "end", "committed"
"""A run was acknowledged; a handler began, returned or raised; a result was acknowledged as durable."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. ``place`` is its position in the file; ``ok`` whether the handler returned; ``key`` the idempotency key."""

    place: int
    kind: str
    run: str
    task: str
    attempt: int
    key: str
    ok: bool
    pid: int


class Ledger:
    """The writing end, one for each process."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, kind: str, run: str, task: str = "", attempt: int = 0, key: str = "", ok: bool = True) -> None:
        """Append one line."""
        line = json.dumps([kind, run, task, attempt, key, ok, os.getpid()]) + "\n"
        os.write(self._file, line.encode())

    def effect(self, kind: str, context: TaskContext, ok: bool = True) -> None:
        """Append what a handler does."""
        self.write(kind, context.run_id, context.task_name, context.attempt, context.idempotency_key, ok)


def read_ledger(path: Path) -> list[Entry]:
    """Every line of the ledger; none if nothing was ever written."""
    if not path.exists():
        return []
    rows: list[list[Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    return [Entry(place, *row) for place, row in enumerate(rows)]
