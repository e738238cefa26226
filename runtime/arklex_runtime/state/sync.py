"""The journal's database for callers without an event loop: blocking, safe from threads, opened when first used."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from arklex_runtime.state.sqlite import transact
from arklex_runtime.state.sqlite_file import SqliteUrl, open_database
from arklex_runtime.state.statements import POSTGRES, SQLITE, Dialect, Steps

if TYPE_CHECKING:
    from sqlalchemy import Engine

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds to wait for a lock or for the server."""


def default_database(environ: Mapping[str, str]) -> str:
    """Return the database of all commands: ``$XDG_STATE_HOME/arklex/arklex.db`` (by default below ``~/.local/state``)."""
    given = environ.get("XDG_STATE_HOME", "")
    folder = Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state"
    return str(folder / "arklex" / "arklex.db")


class SyncDatabase(Protocol):
    """A database that runs transactions."""

    dialect: Dialect

    def run(self, make: Callable[[], Steps[T]], write: bool = True) -> T:
        """Run one transaction. Raises DatabaseUnavailable."""

    def close(self) -> None:
        """Close it; it opens again when it is used again."""


def sync_database(url: str | None) -> SyncDatabase:
    """Return the database at ``url`` (see ``open_journal``), None: that of all commands. Nothing is opened yet."""
    if url and url.startswith(("postgresql", "postgres:")):
        return SyncPostgres(url)
    return SyncSqlite(url if url is not None else default_database(os.environ))


class SyncSqlite:
    """One connection, one thread at a time."""

    dialect = SQLITE

    def __init__(self, url: str) -> None:
        self._url = SqliteUrl.parse(url)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def run(self, make: Callable[[], Steps[T]], write: bool = True) -> T:
        """Run one transaction."""
        with self._lock:
            if self._connection is None:
                self._connection = self._open()
            return transact(self._connection, make(), "BEGIN IMMEDIATE" if write else "BEGIN")

    def _open(self) -> sqlite3.Connection:
        opened = open_database(self._url, PATIENCE)
        if opened.second is not opened.connection:
            opened.second.close()
        opened.connection.execute(f"PRAGMA busy_timeout = {int(PATIENCE * 1000)}")
        opened.connection.execute("PRAGMA wal_autocheckpoint = 1000")
        return opened.connection

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()


class SyncPostgres:
    """SQLAlchemy's engine over psycopg, with its pool."""

    dialect = POSTGRES

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    def run(self, make: Callable[[], Steps[T]], write: bool = True) -> T:
        """Run one transaction."""
        from sqlalchemy.exc import SQLAlchemyError

        from arklex_runtime.state.postgres import translate

        try:
            return self._transact(self._opened(), make())
        except (SQLAlchemyError, OSError) as error:
            raise translate(error) from error

    def _opened(self) -> Engine:
        from sqlalchemy import create_engine, make_url

        from arklex_runtime.state.migrate import upgrade_postgres

        with self._lock:
            if self._engine is None:
                url = make_url(self._url).set(drivername="postgresql+psycopg")
                engine = create_engine(url, pool_size=10, max_overflow=20, connect_args={"connect_timeout": int(PATIENCE)})
                with engine.begin() as connection:
                    upgrade_postgres(connection)
                self._engine = engine
            return self._engine

    def _transact(self, engine: Engine, work: Steps[T]) -> T:
        from sqlalchemy import text

        with engine.begin() as connection:
            try:
                statement, params = next(work)
                while True:
                    result = connection.execute(text(statement), params)
                    statement, params = work.send(list(result.all()) if result.returns_rows else [])
            except StopIteration as stop:
                value: T = stop.value
                return value

    def close(self) -> None:
        """Close the pool."""
        with self._lock:
            engine, self._engine = self._engine, None
            if engine is not None:
                engine.dispose()
