"""Who lives, in PostgreSQL: an owner of runs holds an advisory lock on a connection of its own, which its death ends.

A replica has a lease besides, a row in ``owners`` by the database's clock: a process that hangs still holds its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from arklex_runtime.state.statements import POSTGRES

BEAT = 2.0
"""Seconds between two looks at the connection."""
ANSWER = 5.0
"""Seconds the server may take to answer before the connection counts as lost."""

_TAKE = text(
    "INSERT INTO owners (owner, role, hostname, expires_at) "
    f"VALUES (:owner, :role, :hostname, {POSTGRES.clock} + CAST(:seconds AS DOUBLE PRECISION)) "
    "ON CONFLICT (owner) DO UPDATE SET expires_at = excluded.expires_at"
)
_RENEW = text(
    f"UPDATE owners SET expires_at = {POSTGRES.clock} + CAST(:seconds AS DOUBLE PRECISION) "
    f"WHERE owner = :owner AND expires_at > {POSTGRES.clock} RETURNING owner"
)
_GIVE_BACK = text("DELETE FROM owners WHERE owner = :owner")


@dataclass(frozen=True, slots=True)
class Lease:
    """A replica's: it is dead once it has not renewed for ``seconds``; ``role`` says among whom it counts."""

    seconds: float
    role: str = "runtime"


def lock_key(owner: str) -> int:
    """Return the advisory lock's key for an owner: 64 bits of its hash."""
    return int.from_bytes(hashlib.sha256(owner.encode()).digest()[:8], "big", signed=True)


class AdvisoryLock:
    """The lock from ``hold`` to ``release``, and the lease if there is one.

    When its connection is lost it is taken again on a new one, as soon as the server answers. In between anybody may claim
    our runs; their commits fence ours (``runs.owner``), so nothing depends on our noticing in time. A lease that ran out is
    never renewed: ``lost`` is called, once, and from then on this owner is dead to all.
    """

    def __init__(self, engine: AsyncEngine, owner: str, lease: Lease | None = None) -> None:
        self._engine = engine
        self.owner = owner
        self._key = lock_key(owner)
        self._lease = lease
        self._connection: AsyncConnection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.lost: Callable[[], None] = lambda: None
        self.renewed = time.monotonic()
        """When the server last confirmed that we live."""

    async def hold(self) -> None:
        """Take the lock and keep it. Raises the driver's errors."""
        await self._take(new=True)
        self._keeper = asyncio.create_task(self._keep(), name="journal-lock")

    async def _take(self, new: bool = False) -> None:
        connection = await self._engine.connect()
        try:
            connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": self._key})
            if self._lease is not None and new:
                row = {"role": self._lease.role, "hostname": socket.gethostname(), "seconds": self._lease.seconds}
                await connection.execute(_TAKE, {"owner": self.owner, **row})
        except BaseException:
            await _discard(connection)
            raise
        self._connection = connection
        self.renewed = time.monotonic()

    async def _keep(self) -> None:
        beat = BEAT if self._lease is None else min(BEAT, self._lease.seconds / 4)
        patience = ANSWER if self._lease is None else min(ANSWER, self._lease.seconds / 3)
        while True:
            await asyncio.sleep(beat)
            try:
                async with asyncio.timeout(patience):
                    if self._connection is None:
                        await self._take()
                    if not await self._renew():
                        self.lost()
                        return
                self.renewed = time.monotonic()
            except (SQLAlchemyError, OSError, TimeoutError):
                await self._drop()

    async def _renew(self) -> bool:
        """Whether we still live, by the server's word."""
        if self._connection is None:
            return True
        if self._lease is None:
            await self._connection.execute(text("SELECT 1"))
            return True
        result = await self._connection.execute(_RENEW, {"owner": self.owner, "seconds": self._lease.seconds})
        return result.first() is not None

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await _discard(connection)

    async def release(self) -> None:
        """Give the lock back with its connection, and the lease."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._connection is not None and self._lease is not None:
            with contextlib.suppress(SQLAlchemyError, OSError, TimeoutError):
                async with asyncio.timeout(ANSWER):
                    await self._connection.execute(_GIVE_BACK, {"owner": self.owner})
        await self._drop()


async def _discard(connection: AsyncConnection) -> None:
    with contextlib.suppress(SQLAlchemyError, OSError, TimeoutError):
        async with asyncio.timeout(ANSWER):
            await connection.invalidate()
            await connection.close()
