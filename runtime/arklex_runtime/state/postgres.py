"""The PostgreSQL driver: SQLAlchemy's AsyncEngine over asyncpg, one group commit in flight, a lock that says who lives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import TextClause, make_url, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from arklex_runtime.errors import DatabaseCause, DatabaseUnavailable
from arklex_runtime.state import steps
from arklex_runtime.state.advisory import AdvisoryLock, Lease, lock_key
from arklex_runtime.state.database import DatabaseJournal
from arklex_runtime.state.ddl import check
from arklex_runtime.state.queue import LATER, Later, Outcome
from arklex_runtime.state.records import Batch
from arklex_runtime.state.statements import POSTGRES, VERSION, Steps

T = TypeVar("T")

EXPIRED = " ".join(["SELECT expires_at <=", POSTGRES.clock, "FROM owners WHERE owner = :owner"])
ATTEMPT = 5.0
"""Seconds for one try of a transaction: a half-open connection answers never. (Longer ones: as long as the patience.)"""

# Shared among those who ask; it collides with the owner's own lock alone.
TRY_LOCK = "SELECT pg_try_advisory_xact_lock_shared(:key)"
AGAIN = 0.2
"""Seconds between tries to reach the server."""
_STATES: dict[str, DatabaseCause] = {
    "08": "unreachable",
    "25006": "readonly",
    "28": "unreachable",
    "3D": "unreachable",
    "40": "locked",
    "42501": "readonly",
    "42703": "corrupt",
    "42P01": "corrupt",
    "53": "full",
    "53300": "unreachable",
    "55": "locked",
    "57": "unreachable",
    "58": "corrupt",
    "XX": "corrupt",
}
_LASTING = ("28", "3D")


def translate(error: Exception) -> Exception:
    """Return a driver's error as one of ours: Conflict, DatabaseUnavailable; our own mistakes as they are.

    By SQLSTATE, its class if need be; without one it is a connection that was lost or never made.
    """
    if isinstance(error, IntegrityError):
        return steps.Conflict(str(error))
    origin = getattr(error, "orig", None) or error
    state = _state(error)
    cause = _STATES.get(state) or _STATES.get(state[:2])
    lost = isinstance(error, (OSError, PoolTimeout)) or getattr(error, "connection_invalidated", False)
    if cause is None and lost:
        cause = "unreachable"
    return DatabaseUnavailable(cause, str(origin) or type(origin).__name__) if cause else error


def _state(error: Exception) -> str:
    return str(getattr(getattr(error, "orig", None) or error, "sqlstate", None) or "")


def _may_pass(error: Exception, ours: Exception) -> bool:
    """Whether to try again: not with a wrong password or the name of no database."""
    passing = isinstance(ours, DatabaseUnavailable) and ours.cause in ("unreachable", "locked")
    return passing and not _state(error).startswith(_LASTING)


class PostgresDatabase:
    """One database server, through a pool of connections and one more that holds this owner's lock."""

    dialect = POSTGRES

    def __init__(self, engine: AsyncEngine, owner: str, patience: float, lease: Lease | None = None) -> None:
        self._engine = engine
        self._owner = owner
        self._patience = patience
        self._lease = lease
        self._texts: dict[str, TextClause] = {}
        self.lock = AdvisoryLock(engine, owner, lease)

    def alive(self, owner: str) -> Steps[bool]:
        """Whether the owner of a run still lives: somebody's session holds its lock, and its lease, if any, runs."""
        if owner == self._owner:
            return True
        rows = yield TRY_LOCK, {"key": lock_key(owner)}
        if rows[0][0]:
            return False
        rows = yield EXPIRED, {"owner": owner}
        return not rows or not rows[0][0]

    def hold(self) -> None:
        """Nothing: an owner from ``start`` on."""

    async def start(self) -> None:
        """Reach the server, bring the schema to its head, and be an owner of runs. Raises DatabaseUnavailable."""
        await self._reaching(self._ensure_schema, each=None)
        await self._reaching(self.lock.hold)

    async def rename(self, owner: str) -> None:
        """Be another owner from here on. Raises DatabaseUnavailable."""
        await self.lock.release()
        self._owner = owner
        self.lock = AdvisoryLock(self._engine, owner, self._lease)
        await self._reaching(self.lock.hold)

    async def _ensure_schema(self) -> None:
        async with self._engine.begin() as connection:
            made = (await connection.execute(text("SELECT to_regclass('alembic_version') IS NOT NULL"))).scalar()
            found = (await connection.execute(text(VERSION))).scalar() if made else None
            if found and check(found):
                return
            from arklex_runtime.state.migrate import upgrade_postgres

            await connection.run_sync(upgrade_postgres)

    def changed(self) -> bool:
        """Always: to know would cost a round trip, as much as to look."""
        return True

    def try_commit(self, batches: list[Batch], alone: bool) -> Later:
        """Never on the spot."""
        return LATER

    async def commit(self, batches: list[Batch], alone: bool) -> Outcome:
        """Commit; a group that lost its connection is tried again, which is safe since (run_id, seq) is unique."""
        try:
            if alone:
                await self.run(lambda: steps.commit_alone(POSTGRES, self._owner, batches[0]), True)
            else:
                await self.run(lambda: steps.commit(POSTGRES, self._owner, batches), True)
        except Exception as error:
            return error
        return None

    def try_read(self, session_id: str) -> Later:
        """Never on the spot."""
        return LATER

    async def read(self, session_id: str) -> dict[str, Any] | BaseException:
        """Read a session."""
        try:
            return await self.run(lambda: steps.get_session(session_id))
        except Exception as error:
            return error

    async def run(self, make: Callable[[], Steps[T]], write: bool = False, long: bool = False, once: bool = False) -> T:
        """Run one transaction, again while the server cannot be reached or picks it as a deadlock's victim."""
        attempt = Attempt(self._engine, self._texts)
        each = None if long else max(ATTEMPT, self._patience / 3)
        return await self._reaching(lambda: attempt.run(make()), lambda: once and attempt.committing, each)

    async def _reaching(
        self, work: Callable[[], Awaitable[T]], unsure: Callable[[], bool] = lambda: False, each: float | None = ATTEMPT
    ) -> T:
        """Try for ``patience`` seconds in all, ``each`` a try, whatever hangs; not again when it may have happened."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while True:
            try:
                async with asyncio.timeout_at(deadline if each is None else min(deadline, loop.time() + each)):
                    return await work()
            except Exception as error:
                ours = translate(error)
                if unsure() or not _may_pass(error, ours) or loop.time() + AGAIN >= deadline:
                    raise ours from error
            await asyncio.sleep(AGAIN)

    async def close(self) -> None:
        """Stop being an owner, close the pool."""
        await self.lock.release()
        await self._engine.dispose()


class Attempt:
    """One transaction at a time; ``committing`` from when its COMMIT may have reached the server."""

    def __init__(self, engine: AsyncEngine, texts: dict[str, TextClause]) -> None:
        self._engine = engine
        self._texts = texts
        self.committing = False

    async def run(self, work: Steps[T]) -> T:
        """Run the steps, and commit."""
        self.committing = False
        connection = await self._engine.connect()
        try:
            await connection.begin()
            result = await self._drive(connection, work)
            self.committing = True
            await connection.commit()
            return result
        except asyncio.CancelledError:
            await connection.invalidate()  # whoever does not answer would not answer a ROLLBACK either
            raise
        finally:
            await connection.close()

    async def _drive(self, connection: AsyncConnection, work: Steps[T]) -> T:
        try:
            statement, params = next(work)
            while True:
                statement, params = work.send(await self._execute(connection, statement, params))
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _execute(
        self, connection: AsyncConnection, statement: str, params: Mapping[str, Any] | list[Mapping[str, Any]]
    ) -> list[Any]:
        clause = self._texts.get(statement)
        if clause is None:
            clause = self._texts[statement] = text(statement)
        result = await connection.execute(clause, params)
        return list(result.all()) if result.returns_rows else []


async def open_postgres(url: str, owner: str, now: Callable[[], float], patience: float) -> DatabaseJournal:
    """Open a journal in PostgreSQL; see ``open_journal``."""
    return DatabaseJournal(await open_server(url, owner, patience), owner, now)


async def open_server(url: str, owner: str, patience: float, lease: Lease | None = None) -> PostgresDatabase:
    """Reach the server, as an owner of runs. Raises DatabaseUnavailable.

    The server ends what a frozen process began: such a transaction would keep others from the runs it locked.
    """
    frozen = "0" if lease is None else str(int(lease.seconds * 1000))
    engine = create_async_engine(
        make_url(url).set(drivername="postgresql+asyncpg"),
        pool_size=10,
        max_overflow=20,
        pool_timeout=patience,
        connect_args={
            "timeout": min(patience, ATTEMPT),
            "server_settings": {
                "application_name": "arklex",
                "tcp_keepalives_idle": "10",
                "tcp_keepalives_interval": "5",
                "tcp_keepalives_count": "3",
                "jit": "off",
                "idle_in_transaction_session_timeout": frozen,
            },
        },
    )
    database = PostgresDatabase(engine, owner, patience, lease)
    try:
        await database.start()
    except BaseException:
        await database.close()
        raise
    return database
