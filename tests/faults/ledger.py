"""The effect ledger: what handlers really did, one line each, in the order in which it happened.

Lines are appended with one ``write`` to a file opened with O_APPEND: a kill loses none that was written and tears none, and
the file's order is the order of the effects, of any number of processes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arklex_runtime.workers.base import TaskContext

ACCEPTED, BEGIN, END, COMMITTED = "accepted", "begin", "end", "committed"
"""A run was acknowledged; a handler began, returned or raised; a result was acknowledged as durable."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. ``place`` is its position in the file; ``ok`` whether the handler returned; ``key`` the idempotency key.

    ``at`` is when it was written, in monotonic seconds of this machine.
    """

    place: int
    kind: str
    run: str
    task: str
    attempt: int
    key: str
    ok: bool
    pid: int
    at: float = 0.0


class Ledger:
    """The writing end, one for each process."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, kind: str, run: str, task: str = "", attempt: int = 0, key: str = "", ok: bool = True) -> None:
        """Append one line."""
        line = json.dumps([kind, run, task, attempt, key, ok, os.getpid(), time.monotonic()]) + "\n"
        os.write(self._file, line.encode())

    def effect(self, kind: str, context: TaskContext, ok: bool = True) -> None:
        """Append what a handler does."""
        self.write(kind, context.run_id, context.task_name, context.attempt, context.idempotency_key, ok)


def read_ledger(path: Path) -> list[Entry]:
    """Every line of the ledger; none if nothing was ever written."""
    if not path.exists():
        return []
    return list(Reader(path).more())


class Reader:
    """The reading end, for whoever looks again and again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._place = 0

    def more(self) -> Iterator[Entry]:
        """The lines since the last look; one that is being written is left for the next."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            row: list[Any] = json.loads(line)
            yield Entry(self._place, *row)
            self._place += 1
