"""The schema's revision, and the head for a new SQLite database without SQLAlchemy. Tests hold both equal to the migrations."""

from __future__ import annotations

REVISIONS = ("0001",)
"""Every revision this release can read or migrate from, oldest first; any other comes from a newer one."""
HEAD = REVISIONS[-1]

SQLITE_DDL = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))",
    "CREATE TABLE bundles (digest TEXT NOT NULL, stored_at DOUBLE NOT NULL, document BLOB NOT NULL, PRIMARY KEY (digest))",
    'CREATE TABLE cache ("key" TEXT NOT NULL, value BLOB NOT NULL, expires_at DOUBLE NOT NULL, PRIMARY KEY ("key"))',
    "CREATE INDEX cache_by_expiry ON cache (expires_at)",
    "CREATE TABLE events (run_id TEXT NOT NULL, seq INTEGER NOT NULL, events BLOB NOT NULL, PRIMARY KEY (run_id, seq))",
    "CREATE TABLE runs (run_id TEXT NOT NULL, graph TEXT NOT NULL, namespace TEXT NOT NULL, phase TEXT NOT NULL, "
    "session_id TEXT, bundle TEXT NOT NULL, owner TEXT, started_at DOUBLE NOT NULL, finished_at DOUBLE, "
    "PRIMARY KEY (run_id)) WITHOUT ROWID",
    "CREATE INDEX runs_by_start ON runs (started_at)",
    "CREATE TABLE sessions (session_id TEXT NOT NULL, data BLOB NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (session_id))",
    'CREATE TABLE signals (id INTEGER NOT NULL, run_id TEXT NOT NULL, kind TEXT NOT NULL, "key" TEXT, data BLOB NOT NULL, '
    "at DOUBLE NOT NULL, consumed INTEGER DEFAULT 0 NOT NULL, PRIMARY KEY (id), "
    'CONSTRAINT signals_once UNIQUE (run_id, "key"))',
)
