"""Opening a SQLite journal: its URL, its pragmas, its schema's version, its errors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote

from arklex_runtime.errors import DatabaseCause, DatabaseUnavailable, ValidationError
from arklex_runtime.state.ddl import HEAD, SQLITE_DDL, check
from arklex_runtime.state.statements import VERSION
from arklex_runtime.state.steps import Conflict

_CAUSES: dict[int, DatabaseCause] = {
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_ERROR: "corrupt",
    sqlite3.SQLITE_CORRUPT: "corrupt",
    sqlite3.SQLITE_NOTADB: "corrupt",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "readonly",
    sqlite3.SQLITE_PERM: "readonly",
    sqlite3.SQLITE_CANTOPEN: "unreachable",
    sqlite3.SQLITE_IOERR: "unreachable",
}
_WRITES_FAILED = (
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMMAP,
)
_TAKEN = (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_ROWID)


def translate(error: sqlite3.Error) -> Exception:
    """Return the error as one of ours: Conflict for a taken key, DatabaseUnavailable; others are our own mistakes, as they are.

    A write past a quota or a limit comes from SQLite as an I/O error of a write.
    """
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return error
    if code in _TAKEN:
        return Conflict(str(error))
    if code in _WRITES_FAILED:
        return DatabaseUnavailable("full", str(error))
    cause = _CAUSES.get(code & 0xFF)
    return DatabaseUnavailable(cause, str(error)) if cause else error


@dataclass(frozen=True, slots=True)
class SqliteUrl:
    """Where a SQLite database is. ``path`` None: in memory. ``full``: synchronous=FULL, which survives a power cut."""

    path: Path | None
    full: bool

    @classmethod
    def parse(cls, url: str) -> SqliteUrl:
        """Read ``sqlite:///relative``, ``sqlite:////absolute``, ``sqlite://`` or a bare path. Raises ValidationError."""
        location, _, query = url.partition("?")
        if "://" in location:
            location = unquote(location.partition("://")[2].removeprefix("/"))
        synchronous = parse_qs(query).get("synchronous", ["NORMAL"])[-1].upper()
        if synchronous not in ("NORMAL", "FULL"):
            raise ValidationError(f"{url!r}: synchronous must be NORMAL or FULL")
        memory = location in ("", ":memory:")
        return cls(None if memory else Path(location).expanduser(), synchronous == "FULL")


@dataclass(frozen=True, slots=True)
class Opened:
    """A database whose schema is the head, by two connections (in memory: one), and the way to open one more."""

    url: SqliteUrl
    connection: sqlite3.Connection
    second: sqlite3.Connection

    @property
    def memory(self) -> bool:
        """Whether the database lives and dies with this connection."""
        return self.url.path is None

    @property
    def full(self) -> bool:
        """Whether each commit waits for the disk."""
        return self.url.full and not self.memory

    def connect(self) -> sqlite3.Connection:
        """Open one more connection. Raises DatabaseUnavailable."""
        return connect(self.url)


def connect(url: SqliteUrl) -> sqlite3.Connection:
    """Open a connection with the journal's pragmas; the file is made for its owner alone. Raises DatabaseUnavailable."""
    try:
        if url.path is not None:
            url.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make_private(url.path)
        connection = sqlite3.connect(
            url.path or ":memory:", isolation_level=None, check_same_thread=False, timeout=0.003, cached_statements=64
        )
    except OSError as error:
        raise DatabaseUnavailable("unreachable", str(error)) from error
    except sqlite3.Error as error:
        raise _translated(error, url) from error
    try:
        connection.execute(f"PRAGMA synchronous = {'FULL' if url.full else 'NORMAL'}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
    except sqlite3.Error as error:
        connection.close()
        raise _translated(error, url) from error
    return connection


def _make_private(path: Path) -> None:
    """Make an empty file that only its owner may read, if there is none; where that fails SQLite itself will say why.

    By a link to a file that is closed already: to open and close the database itself, even once, would drop all POSIX
    locks that this process has on it, and the next process to leave would remove the log from under our commits.
    """
    if path.exists():
        return
    with contextlib.suppress(OSError):
        handle, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        os.close(handle)
        try:
            os.link(made, path)
        finally:
            os.unlink(made)


def open_database(url: SqliteUrl, patience: float) -> Opened:
    """Open the database, make or migrate its schema when needed; waits at most ``patience`` seconds for locks.

    Raises DatabaseUnavailable: corrupt, newer, readonly, locked, full, unreachable.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            opened = _open_once(url)
            if opened is not None:
                return opened
        except DatabaseUnavailable as error:
            if error.cause != "locked" or time.monotonic() >= deadline:
                raise
            time.sleep(0.005)


def _open_once(url: SqliteUrl) -> Opened | None:
    """Open both connections; None if the schema has just been migrated: then again. All that can be locked is in here."""
    connection = connect(url)
    try:
        if not ensure_schema(connection, url):
            return None
        return Opened(url, connection, connection if url.path is None else connect(url))
    except sqlite3.Error as error:
        connection.close()
        raise _translated(error, url) from error
    except BaseException:
        connection.close()
        raise


def version(connection: sqlite3.Connection) -> str | None:
    """Return the revision of the schema: None for an empty database, "" for one that was taken down to nothing."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
        return None
    row = connection.execute(VERSION).fetchone()
    return str(row[0]) if row else ""


def ensure_schema(connection: sqlite3.Connection, url: SqliteUrl) -> bool:
    """Bring the schema to the head; False if another process was at it and the database has to be opened again."""
    found = version(connection)
    if found and check(found):
        return True
    connection.execute("PRAGMA journal_mode = WAL")
    if found is None:
        _create(connection)
    elif url.path is not None:
        connection.close()
        from arklex_runtime.state.migrate import upgrade_sqlite

        upgrade_sqlite(url.path)
        return False
    return True


def _create(connection: sqlite3.Connection) -> None:
    """Make the schema at its head; a test holds it equal to what the migrations make."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if version(connection) is None:
            for statement in SQLITE_DDL:
                connection.execute(statement)
            connection.execute("INSERT INTO alembic_version (version_num) VALUES (:head)", {"head": HEAD})
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _translated(error: sqlite3.Error, url: SqliteUrl) -> Exception:
    ours = translate(error)
    vague = isinstance(ours, DatabaseUnavailable) and ours.cause == "unreachable"
    if vague and url.path and url.path.exists() and not (os.access(url.path.parent, os.W_OK) and os.access(url.path, os.W_OK)):
        return DatabaseUnavailable("readonly", str(error))
    return ours
