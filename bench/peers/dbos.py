"""DBOS with SQLite: each step's result is committed before the workflow goes on.

Written for speed: async steps, those of one level gathered. SQLite in WAL mode, synchronous NORMAL as ours (its own default, a
rollback journal with FULL, is several times slower).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import sqlalchemy
from dbos import DBOS

from bench.harness import Run, main
from bench.shapes import Shape, Value, shape


def engine(file: Path) -> sqlalchemy.Engine:
    """The engine DBOS would make, with the two settings changed."""
    made = sqlalchemy.create_engine(f"sqlite:///{file}", pool_timeout=30, max_overflow=0, pool_size=20, pool_pre_ping=True)

    @sqlalchemy.event.listens_for(made, "connect")
    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        for setting in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=30000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {setting}")

    return made


@DBOS.step()
async def node(value: Value) -> Value:
    """A task that returns its input."""
    return value


@DBOS.workflow()
async def workflow(name: str, given: Value) -> Value:
    """The graph of that name."""
    graph = shape(name) if name not in SHAPES else SHAPES[name]
    values: dict[str, Value] = {}
    for level in graph.levels():
        if len(level) == 1:
            values[level[0]] = await node(graph.received(level[0], given, values))
        else:
            results = await asyncio.gather(*(node(graph.received(task, given, values)) for task in level))
            values.update(zip(level, results, strict=True))
    return values[graph.last]


SHAPES: dict[str, Shape] = {}


class Dbos:
    """One DBOS process."""

    async def open(self, folder: Path) -> None:
        DBOS(
            config={
                "name": "bench",
                "system_database_url": f"sqlite:///{folder}/dbos.db",
                "system_database_engine": engine(folder / "dbos.db"),
                "log_level": "ERROR",
                "run_admin_server": False,
            }
        )
        DBOS.launch()

    def prepare(self, shape: Shape) -> Run:
        SHAPES[shape.name] = shape

        async def run(given: Value) -> Value:
            return await workflow(shape.name, given)

        return run

    async def close(self) -> None:
        DBOS.destroy()


if __name__ == "__main__":
    main(Dbos())
