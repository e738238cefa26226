"""The journal's schema, owned by SQLAlchemy. For migrations and tests: opening an up-to-date database needs none of it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()
_id = BigInteger().with_variant(Integer(), "sqlite")

bundles = Table(
    "bundles",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("stored_at", Double, nullable=False),
    Column("document", LargeBinary, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("graph", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("session_id", Text),
    Column("bundle", Text, nullable=False),
    Column("owner", Text),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double),
    Index("runs_by_start", "started_at"),
    sqlite_with_rowid=False,
)

events = Table(
    "events",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("events", LargeBinary, nullable=False),
)

signals = Table(
    "signals",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=True),
    Column("run_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("key", Text),
    Column("data", LargeBinary, nullable=False),
    Column("at", Double, nullable=False),
    Column("consumed", Integer, nullable=False, server_default=text("0")),
    UniqueConstraint("run_id", "key", name="signals_once"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    Column("version", Integer, nullable=False),
)

cache = Table(
    "cache",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("expires_at", Double, nullable=False),
    Index("cache_by_expiry", "expires_at"),
)
