"""Who lives, in PostgreSQL: an owner of runs holds an advisory lock on a connection of its own, which its death ends."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

BEAT = 2.0
"""Seconds between two looks at the connection."""
ANSWER = 5.0
"""Seconds the server may take to answer before the connection counts as lost."""


def lock_key(owner: str) -> int:
    """Return the advisory lock's key for an owner: 64 bits of its hash."""
    return int.from_bytes(hashlib.sha256(owner.encode()).digest()[:8], "big", signed=True)


class AdvisoryLock:
    """The lock from ``hold`` to ``release``.

    When its connection is lost it is taken again on a new one, as soon as the server answers. In between anybody may claim
    our runs; their commits fence ours (``runs.owner``), so nothing depends on our noticing in time.
    """

    def __init__(self, engine: AsyncEngine, owner: str) -> None:
        self._engine = engine
        self._key = lock_key(owner)
        self._connection: AsyncConnection | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def hold(self) -> None:
        """Take the lock and keep it. Raises the driver's errors."""
        await self._take()
        self._keeper = asyncio.create_task(self._keep(), name="journal-lock")

    async def _take(self) -> None:
        connection = await self._engine.connect()
        try:
            connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": self._key})
        except BaseException:
            await connection.invalidate()
            await connection.close()
            raise
        self._connection = connection

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            try:
                async with asyncio.timeout(ANSWER):
                    if self._connection is None:
                        await self._take()
                    else:
                        await self._connection.execute(text("SELECT 1"))
            except (SQLAlchemyError, OSError, TimeoutError):
                await self._drop()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError, OSError, TimeoutError):
                async with asyncio.timeout(ANSWER):
                    await connection.invalidate()
                    await connection.close()

    async def release(self) -> None:
        """Give the lock back with its connection."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await self._drop()
