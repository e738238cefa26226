"""A floor: plain asyncio and one SQLite commit (WAL, NORMAL) for each step. No graph, no retries, no resume: only writes."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from bench.harness import Run, main
from bench.shapes import Shape, Value


async def node(value: Value) -> Value:
    """A task that returns its input."""
    return value


class Floor:
    """The steps of each level at once, level after level."""

    async def open(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "floor.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("CREATE TABLE steps (run INTEGER, task TEXT, value TEXT, PRIMARY KEY (run, task)) WITHOUT ROWID")
        self._runs = 0

    def prepare(self, shape: Shape) -> Run:
        levels = shape.levels()

        async def run(given: Value) -> Value:
            self._runs += 1
            number = self._runs
            values: dict[str, Value] = {}

            async def step(task: str) -> None:
                values[task] = value = await node(shape.received(task, given, values))
                self._db.execute("INSERT INTO steps VALUES (?, ?, ?)", (number, task, str(value)))

            for level in levels:
                if len(level) == 1:
                    await step(level[0])
                else:
                    await asyncio.gather(*map(step, level))
            return values[shape.last]

        return run

    async def close(self) -> None:
        self._db.close()


if __name__ == "__main__":
    main(Floor())
