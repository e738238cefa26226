"""LangGraph with its own SQLite saver, durability "sync": each step's state is in the database before the next step starts."""

from __future__ import annotations

from pathlib import Path

import aiosqlite
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from bench.harness import main
from bench.peers.langgraph import LangGraph


class LangGraphSqlite(LangGraph):
    """The same graphs with a saver on a database in WAL mode, synchronous NORMAL as ours."""

    async def open(self, folder: Path) -> None:
        await super().open(folder)
        self._db = await aiosqlite.connect(folder / "langgraph.db")
        await self._db.execute("PRAGMA journal_mode=WAL")
        await self._db.execute("PRAGMA synchronous=NORMAL")
        self.saver = AsyncSqliteSaver(self._db)
        await self.saver.setup()

    async def close(self) -> None:
        await self._db.close()


if __name__ == "__main__":
    main(LangGraphSqlite())
