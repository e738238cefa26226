"""Migrations, run when a database is older than this release. The only module that imports alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from arklex_runtime.state.ddl import check

LOCK = 4_163_507_710_482_201_001
"""Key of the advisory lock that lets one process migrate a PostgreSQL database at a time."""


def config(connection: Connection | None = None) -> Config:
    """Return alembic's configuration for the packaged migrations."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


def revisions() -> list[str]:
    """Return the revisions of the packaged migrations, oldest first."""
    script = ScriptDirectory.from_config(config())
    return [revision.revision for revision in reversed(list(script.walk_revisions()))]


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema up, in the connection's transaction."""
    command.upgrade(config(connection), revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Take the schema down to an older revision, in the connection's transaction."""
    command.downgrade(config(connection), revision)


def upgrade_sqlite(path: Path) -> None:
    """Migrate a SQLite file, under its write lock: one process at a time, all or nothing."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 10})

    @event.listens_for(engine, "connect")
    def own_transactions(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        with engine.begin() as connection:
            upgrade(connection)
    finally:
        engine.dispose()


def upgrade_postgres(connection: Connection) -> None:
    """Migrate a PostgreSQL database, in the connection's transaction. Raises DatabaseUnavailable("newer")."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    if connection.dialect.has_table(connection, "alembic_version"):
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if found is not None and check(found):
            return
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    upgrade(connection)
