"""The SQLite driver: transactions on the loop's thread while they cost microseconds, in a thread when they would wait."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

from arklex_runtime.errors import DatabaseUnavailable
from arklex_runtime.state import steps
from arklex_runtime.state.database import DatabaseJournal
from arklex_runtime.state.owners import OwnerLock
from arklex_runtime.state.queue import LATER, Later, Outcome
from arklex_runtime.state.records import Batch
from arklex_runtime.state.sqlite_file import Opened, SqliteUrl, open_database, translate
from arklex_runtime.state.statements import INSERT_EVENTS, SQLITE, Params, Steps

T = TypeVar("T")

ON_THE_SPOT = 3
"""Milliseconds that the loop may be held up by another process's commit; then a thread waits."""
CHECKPOINT_PAGES = 2000
"""Pages written (8 MB) after which a thread copies the log into the database: that is where NORMAL calls fsync."""
ROWS = 64
"""Rows of events that one statement inserts at most; sqlite3 keeps that many statements compiled."""
LONG_LOG = 16_000
"""Pages in the log (64 MB) at which writers are made to wait so that it starts afresh: under steady load it never would.

(RESTART, since TRUNCATE kept them waiting several times as long, for the file system.)
"""


def transact(connection: sqlite3.Connection, work: Steps[T], begin: str = "BEGIN IMMEDIATE") -> T:
    """Run the steps as one transaction; on any error it is rolled back and the error raised as one of ours."""
    try:
        connection.execute(begin)
        result = _drive(connection, work)
        connection.execute("COMMIT")
        return result
    except BaseException as error:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise translate(error) from error
        raise


def _drive(connection: sqlite3.Connection, work: Steps[T]) -> T:
    rows: list[Any] = []
    try:
        statement, params = next(work)
        while True:
            if statement is INSERT_EVENTS and isinstance(params, list):
                _append(connection, params)
                rows = []
            elif isinstance(params, list):
                connection.executemany(statement, params)
                rows = []
            else:
                rows = connection.execute(statement, params).fetchall()
            statement, params = work.send(rows)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _append(connection: sqlite3.Connection, rows: list[Params]) -> None:
    """Insert events, many rows a statement: a group's insert takes two thirds of the time of one for each row."""
    for start in range(0, len(rows), ROWS):
        chunk = rows[start : start + ROWS]
        values: list[Any] = []
        for row in chunk:
            values += (row["run_id"], row["seq"], row["events"])
        connection.execute(_insert(len(chunk)), values)


@lru_cache(maxsize=ROWS)
def _insert(rows: int) -> str:
    return f"INSERT INTO events (run_id, seq, events) VALUES {', '.join(['(?, ?, ?)'] * rows)}"


class SqliteDatabase:
    """One database, by two connections: the queue's own ("hot"), and one for everything else (in memory: the same)."""

    dialect = SQLITE

    def __init__(self, opened: Opened, owner: str, lock: OwnerLock | None, patience: float) -> None:
        self._memory = opened.memory
        self._full = opened.full
        self._opened = opened
        self._hot = opened.connection
        self._cold = opened.second
        self._patience = patience
        self._owner = owner
        self._lock = lock
        self._flying = False
        self._cold_lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._pages = 0
        self._data_version = -1

    def alive(self, owner: str) -> Steps[bool]:
        """Whether the owner of a run still lives."""
        yield from ()
        return owner == self._owner if self._lock is None else self._lock.alive(owner)

    def hold(self) -> None:
        """Be an owner of runs from here on."""
        if self._lock is not None:
            self._lock.hold()

    def changed(self) -> bool:
        """Whether another connection may have written since the last call."""
        if self._flying:
            return True
        try:
            (version,) = self._hot.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error as error:
            raise translate(error) from error
        seen, self._data_version = self._data_version, version
        return bool(seen != version)

    def try_commit(self, batches: list[Batch], alone: bool) -> Outcome | Later:
        """Commit on the spot unless that would wait for the disk (FULL) or for another process."""
        if self._full:
            return LATER
        try:
            self._commit(batches, alone)
        except Exception as error:
            return LATER if _is_locked(error) and not self._memory else error
        return None

    async def commit(self, batches: list[Batch], alone: bool) -> Outcome:
        """Commit in a thread, waiting for locks."""
        self._flying = True
        try:
            await self._thread(lambda: self._commit_patiently(batches, alone))
        except Exception as error:
            return error
        return None

    def _commit_patiently(self, batches: list[Batch], alone: bool) -> None:
        try:
            with _patient(self._hot, self._patience):
                self._commit(batches, alone)
        finally:
            self._flying = False

    def _commit(self, batches: list[Batch], alone: bool) -> None:
        first = batches[0]
        if len(batches) == 1 and not alone and steps.is_plain(first):
            try:
                self._hot.execute(INSERT_EVENTS, steps.event_row(first))
            except sqlite3.Error as error:
                raise translate(error) from error
        else:
            if self._lock is not None and not self._lock.held and any(batch.new_run for batch in batches):
                self._lock.hold()
            if alone:
                transact(self._hot, steps.commit_alone(SQLITE, self._owner, first))
            else:
                transact(self._hot, steps.commit(SQLITE, self._owner, batches))
        self._count(batches)

    def _count(self, batches: list[Batch]) -> None:
        """Estimate the growth of the log: a commit writes the last pages of a table and two indices, and its events' bytes."""
        self._pages += 5 + (sum([len(batch.events) for batch in batches]) >> 11)
        if self._pages >= CHECKPOINT_PAGES and not self._memory:
            self._pages = 0
            self._pool().submit(self._checkpoint)

    def _checkpoint(self) -> None:
        with contextlib.suppress(sqlite3.Error, DatabaseUnavailable), contextlib.closing(self._opened.connect()) as connection:
            _, log, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if log > LONG_LOG:
                connection.execute("PRAGMA busy_timeout = 1000")
                connection.execute("PRAGMA wal_checkpoint(RESTART)")

    def try_read(self, session_id: str) -> dict[str, Any] | BaseException | Later:
        """Read a session on the spot: readers hardly ever wait."""
        try:
            return transact(self._hot, steps.get_session(session_id), "BEGIN")
        except Exception as error:
            return LATER if _is_locked(error) and not self._memory else error

    async def read(self, session_id: str) -> dict[str, Any] | BaseException:
        """Read a session in a thread, waiting for locks."""
        try:
            return await self.run(lambda: steps.get_session(session_id), long=True)
        except Exception as error:
            return error

    async def run(self, make: Callable[[], Steps[T]], write: bool = False, long: bool = False, once: bool = False) -> T:
        """Run a transaction other than a commit; ``long``: never on the loop's thread. Here each happens once or not at all."""
        begin = "BEGIN IMMEDIATE" if write else "BEGIN"
        if self._memory:
            return transact(self._cold, make(), begin)
        if not long and not (write and self._full) and self._cold_lock.acquire(blocking=False):
            try:
                return transact(self._cold, make(), begin)
            except DatabaseUnavailable as error:
                if not _is_locked(error):
                    raise
            finally:
                self._cold_lock.release()
        return await self._thread(lambda: self._run_patiently(make, begin))

    def _run_patiently(self, make: Callable[[], Steps[T]], begin: str) -> T:
        with self._cold_lock, _patient(self._cold, self._patience):
            return transact(self._cold, make(), begin)

    async def _thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool(), work)

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(3, "journal")
        return self._threads

    async def close(self) -> None:
        """Wait for the threads, close the connections, stop being an owner."""
        if self._threads is not None:
            await asyncio.to_thread(self._threads.shutdown)
        try:
            for connection in {self._hot, self._cold}:
                connection.close()
        except sqlite3.Error as error:
            raise translate(error) from error
        finally:
            if self._lock is not None:
                self._lock.release()


async def open_sqlite(url: str, owner: str, now: Callable[[], float], patience: float) -> DatabaseJournal:
    """Open a journal in a file or in memory; see ``open_journal``."""
    return DatabaseJournal(await open_file(url, owner, patience), owner, now)


async def open_file(url: str, owner: str, patience: float) -> SqliteDatabase:
    """Open the database alone."""
    parsed = SqliteUrl.parse(url)
    try:
        opened = open_database(parsed, 0.0)
    except DatabaseUnavailable as error:
        if not _is_locked(error):
            raise
        opened = await asyncio.to_thread(open_database, parsed, patience)
    lock = OwnerLock(parsed.path.absolute(), owner) if parsed.path else None
    return SqliteDatabase(opened, owner, lock, patience)


def _is_locked(error: BaseException) -> bool:
    return isinstance(error, DatabaseUnavailable) and error.cause == "locked"


@contextlib.contextmanager
def _patient(connection: sqlite3.Connection, seconds: float) -> Iterator[None]:
    connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA busy_timeout = {ON_THE_SPOT}")
