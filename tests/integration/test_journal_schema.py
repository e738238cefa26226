"""The schema: metadata, migrations, the ready-made head for SQLite, and databases of other releases."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from arklex_runtime.errors import DatabaseUnavailable
from arklex_runtime.state import migrate
from arklex_runtime.state.ddl import HEAD, NEXT, REVISIONS, SQLITE_DDL
from arklex_runtime.state.journal import open_journal
from arklex_runtime.state.schema import metadata
from tests.journals import accept, submit
from tests.processes import finish, finish_all, start_python


@contextlib.contextmanager
def sqlite_connection(path: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def statements(path: Path) -> dict[str, str]:
    """Return the SQL of every table and index, without spaces or quotes, as its columns and constraints are set."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: "".join(sql.replace('"', "").split()) for name, sql in rows}


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))


def test_the_head_is_the_constant() -> None:
    assert tuple(migrate.revisions()) == REVISIONS
    assert REVISIONS[-1] == HEAD


def test_migrations_make_the_metadata_in_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "migrated.db"
    migrate.upgrade_sqlite(path)
    with sqlite_connection(path) as connection:
        assert differences(connection) == []


def test_the_ready_made_schema_is_what_migrations_make(tmp_path: Path) -> None:
    migrate.upgrade_sqlite(tmp_path / "migrated.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "made.db")) as connection:
        for statement in SQLITE_DDL:
            connection.execute(statement)
    assert statements(tmp_path / "made.db") == statements(tmp_path / "migrated.db")


def test_migrations_go_down_and_up_again_in_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "migrated.db"
    migrate.upgrade_sqlite(path)
    with sqlite_connection(path) as connection:
        migrate.downgrade(connection, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
    migrate.upgrade_sqlite(path)
    with sqlite_connection(path) as connection:
        assert differences(connection) == []


@pytest.mark.postgresql
async def test_migrations_make_the_metadata_in_postgresql_and_go_down(postgres_url: str) -> None:
    await (await open_journal(postgres_url)).close()
    engine = create_async_engine(make_url(postgres_url))
    async with engine.begin() as connection:
        assert await connection.run_sync(differences) == []
        await connection.run_sync(migrate.downgrade, "base")
        assert await connection.run_sync(lambda sync: inspect(sync).get_table_names()) == ["alembic_version"]
        await connection.run_sync(migrate.upgrade)
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_an_older_file_is_migrated_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    migrate.upgrade_sqlite(path)
    with sqlite_connection(path) as connection:
        migrate.downgrade(connection, "base")
    journal = await open_journal(str(path))
    await submit(journal, accept("r"))
    await journal.close()
    with sqlite_connection(path) as connection:
        assert differences(connection) == []


async def test_a_file_of_the_first_release_keeps_its_runs(tmp_path: Path) -> None:
    path = tmp_path / "first.db"
    migrate.upgrade_sqlite(path)
    with sqlite_connection(path) as connection:
        migrate.downgrade(connection, "0001")
        connection.exec_driver_sql(
            "INSERT INTO runs (run_id, graph, namespace, phase, bundle, owner, started_at) "
            "VALUES ('old', 'g', 'default', 'Running', 'digest', NULL, 1.0)"
        )
        connection.exec_driver_sql("INSERT INTO events (run_id, seq, events) VALUES ('old', 1, X'5b5d')")
    journal = await open_journal(str(path))
    stored = await journal.load("old")
    assert stored is not None and (stored.events, stored.row.origin.graph_uid) == ([b"[]"], None)
    assert await journal.claim("old") == 3
    await journal.close()


async def test_this_release_runs_on_the_next_ones_schema(journal_url: str, tmp_path: Path) -> None:
    journal = await open_journal(journal_url)
    await submit(journal, accept("r"))
    await journal.close()
    await say_version(journal_url, tmp_path / "journal.db", NEXT)
    journal = await open_journal(journal_url)
    assert await journal.load("r") is not None
    await submit(journal, accept("s"))
    await journal.close()


async def say_version(url: str, path: Path, version: str) -> None:
    """Let the database say that it has this revision."""
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
        return
    engine = create_async_engine(make_url(url))
    async with engine.begin() as server:
        await server.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'")
    await engine.dispose()


async def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    await (await open_journal(str(path))).close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseUnavailable, match="9999") as caught:
        await open_journal(str(path))
    assert (caught.value.cause, caught.value.exit_code) == ("newer", 3)


@pytest.mark.postgresql
async def test_a_newer_server_is_refused(postgres_url: str) -> None:
    await (await open_journal(postgres_url)).close()
    engine = create_async_engine(make_url(postgres_url))
    async with engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    await engine.dispose()
    with pytest.raises(DatabaseUnavailable) as caught:
        await open_journal(postgres_url)
    assert caught.value.cause == "newer"


OPEN = """
import asyncio, sys
from arklex_runtime.state.journal import open_journal
async def main():
    journal = await open_journal(sys.argv[1])
    await journal.list_runs()
    await journal.close()
asyncio.run(main())
"""
LIGHT = """
heavy = [name for name in ("sqlalchemy", "alembic", "asyncpg", "redis") if name in sys.modules]
sys.exit(f"imported {heavy}" if heavy else 0)
"""


def test_a_current_sqlite_file_needs_no_sqlalchemy(tmp_path: Path) -> None:
    for _ in ("new", "current"):
        finish(start_python(OPEN + LIGHT, str(tmp_path / "journal.db")))


def test_processes_that_open_a_new_file_at_once_make_it_once(tmp_path: Path) -> None:
    processes = [start_python(OPEN, str(tmp_path / "journal.db")) for _ in range(6)]
    finish_all(processes)


@pytest.mark.postgresql
def test_processes_that_open_an_empty_server_at_once_make_it_once(postgres_url: str) -> None:
    processes = [start_python(OPEN, postgres_url) for _ in range(4)]
    finish_all(processes)
