"""The schema's revision, and the head for a new SQLite database without SQLAlchemy. Tests hold both equal to the migrations."""

from __future__ import annotations

from arklex_runtime.errors import DatabaseUnavailable

REVISIONS = ("0001", "0002", "0003")
"""Every revision this release can migrate from, oldest first."""
HEAD = REVISIONS[-1]
NEXT = f"{int(HEAD) + 1:04}"
"""The next release's, which this one runs on: a release adds at most one revision, and one that only expands."""


def check(found: str) -> bool:
    """Whether this release runs on a schema as it is; False: it has to be migrated. Raises DatabaseUnavailable("newer")."""
    if found in (HEAD, NEXT):
        return True
    if found not in REVISIONS:
        raise DatabaseUnavailable("newer", f"schema {found}, this release knows {HEAD}")
    return False


SQLITE_DDL = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))",
    "CREATE TABLE bundles (digest TEXT NOT NULL, stored_at DOUBLE NOT NULL, document BLOB NOT NULL, PRIMARY KEY (digest))",
    'CREATE TABLE cache ("key" TEXT NOT NULL, value BLOB NOT NULL, expires_at DOUBLE NOT NULL, PRIMARY KEY ("key"))',
    "CREATE INDEX cache_by_expiry ON cache (expires_at)",
    "CREATE TABLE events (run_id TEXT NOT NULL, seq INTEGER NOT NULL, events BLOB NOT NULL, PRIMARY KEY (run_id, seq))",
    "CREATE TABLE graph_counts (graph_uid TEXT NOT NULL, namespace TEXT NOT NULL, graph TEXT NOT NULL, "
    "succeeded BIGINT NOT NULL, failed BIGINT NOT NULL, PRIMARY KEY (graph_uid))",
    "CREATE TABLE leases (name TEXT NOT NULL, owner TEXT NOT NULL, expires_at DOUBLE NOT NULL, PRIMARY KEY (name))",
    'CREATE TABLE logs (run_id TEXT NOT NULL, "key" TEXT NOT NULL, attempt INTEGER NOT NULL, pod TEXT NOT NULL, '
    'node TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run_id, "key", attempt))',
    "CREATE TABLE owners (owner TEXT NOT NULL, role TEXT NOT NULL, hostname TEXT NOT NULL, expires_at DOUBLE NOT NULL, "
    "PRIMARY KEY (owner))",
    "CREATE TABLE runs (run_id TEXT NOT NULL, graph TEXT NOT NULL, namespace TEXT NOT NULL, phase TEXT NOT NULL, "
    "session_id TEXT, bundle TEXT NOT NULL, owner TEXT, started_at DOUBLE NOT NULL, finished_at DOUBLE, graph_uid TEXT, "
    "object_uid TEXT, object_name TEXT, wake_at DOUBLE, PRIMARY KEY (run_id)) WITHOUT ROWID",
    "CREATE INDEX runs_by_graph ON runs (graph_uid, started_at) WHERE graph_uid IS NOT NULL",
    "CREATE INDEX runs_by_object ON runs (object_uid) WHERE object_uid IS NOT NULL",
    "CREATE INDEX runs_by_start ON runs (started_at)",
    "CREATE INDEX runs_ended ON runs (phase, finished_at) WHERE finished_at IS NOT NULL AND graph_uid IS NOT NULL",
    "CREATE INDEX runs_open ON runs (graph_uid, wake_at) WHERE finished_at IS NULL AND graph_uid IS NOT NULL",
    "CREATE INDEX runs_unfinished ON runs (started_at) WHERE finished_at IS NULL AND graph_uid IS NOT NULL",
    "CREATE TABLE sessions (session_id TEXT NOT NULL, data BLOB NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (session_id))",
    'CREATE TABLE signals (id INTEGER NOT NULL, run_id TEXT NOT NULL, kind TEXT NOT NULL, "key" TEXT, data BLOB NOT NULL, '
    "at DOUBLE NOT NULL, consumed INTEGER DEFAULT 0 NOT NULL, PRIMARY KEY (id), "
    'CONSTRAINT signals_once UNIQUE (run_id, "key"))',
    "CREATE INDEX signals_open ON signals (run_id) WHERE consumed = 0",
)
