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


def _where(name: str, *columns: str, where: str) -> Index:
    """An index of some rows alone. Those of runs from objects cost embedded runs nothing."""
    return Index(name, *columns, postgresql_where=text(where), sqlite_where=text(where))


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
    Column("graph_uid", Text),
    Column("object_uid", Text),
    Column("object_name", Text),
    Column("wake_at", Double),
    Index("runs_by_start", "started_at"),
    _where("runs_by_graph", "graph_uid", "started_at", where="graph_uid IS NOT NULL"),
    _where("runs_by_object", "object_uid", where="object_uid IS NOT NULL"),
    _where("runs_open", "graph_uid", "wake_at", where="finished_at IS NULL AND graph_uid IS NOT NULL"),
    _where("runs_unfinished", "started_at", where="finished_at IS NULL AND graph_uid IS NOT NULL"),
    _where("runs_ended", "phase", "finished_at", where="finished_at IS NOT NULL AND graph_uid IS NOT NULL"),
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
    _where("signals_open", "run_id", where="consumed = 0"),
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

logs = Table(
    "logs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("pod", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("text", Text, nullable=False),
)

owners = Table(
    "owners",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("hostname", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
)

graph_counts = Table(
    "graph_counts",
    metadata,
    Column("graph_uid", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("graph", Text, nullable=False),
    Column("succeeded", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
)
