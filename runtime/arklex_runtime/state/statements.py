"""The SQL of the journal, portable between SQLite and PostgreSQL but for what ``Dialect`` holds. Parameters are ``:named``."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Params: TypeAlias = Mapping[str, Any]
Rows: TypeAlias = Sequence[Sequence[Any]]
Steps: TypeAlias = Generator[tuple[str, Params | list[Params]], Rows, T]
"""One transaction's work without its I/O: yields (sql, params), is sent the rows; a list of params runs once for each."""

DELETED = "Deleted"
"""Phase of a run whose rows are being removed: no longer to be seen, and prune finishes what a crash left."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where the databases differ: how a row is locked, whether a group must lock its runs before it writes, what its clock is.

    SQLite has one writer at a time, so BEGIN IMMEDIATE locks everything. ``clock``: epoch seconds.
    """

    name: str
    for_update: str
    lock_owned: str | None
    clock: str


SQLITE = Dialect("sqlite", "", None, "((julianday('now') - 2440587.5) * 86400.0)")
POSTGRES = Dialect(
    "postgresql",
    " FOR UPDATE",
    "SELECT run_id FROM runs WHERE run_id = ANY(:ids) AND owner = :owner ORDER BY run_id FOR SHARE",
    "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)",
)

VERSION = "SELECT version_num FROM alembic_version"

INSERT_RUN = (
    "INSERT INTO runs (run_id, graph, namespace, phase, session_id, bundle, owner, started_at, "
    "graph_uid, object_uid, object_name) VALUES (:run_id, :graph, :namespace, 'Running', :session_id, :bundle, :owner, "
    ":started_at, :graph_uid, :object_uid, :object_name)"
)
END_RUN = "UPDATE runs SET phase = :phase, finished_at = :finished_at, owner = NULL WHERE run_id = :run_id AND owner = :owner"
INSERT_EVENTS = "INSERT INTO events (run_id, seq, events) VALUES (:run_id, :seq, :events)"
STORED_EVENTS = (
    "SELECT e.events, r.owner, r.finished_at FROM events e JOIN runs r ON r.run_id = e.run_id "
    "WHERE e.run_id = :run_id AND e.seq = :seq"
)
LAST_SEQ = "SELECT COALESCE(MAX(seq), 0) FROM events WHERE run_id = :run_id"
ALL_EVENTS = "SELECT seq, events FROM events WHERE run_id = :run_id ORDER BY seq"

COUNT_END = (
    "INSERT INTO graph_counts (graph_uid, namespace, graph, succeeded, failed) "
    "VALUES (:graph_uid, :namespace, :graph, :succeeded, :failed) ON CONFLICT (graph_uid) DO UPDATE "
    "SET succeeded = graph_counts.succeeded + excluded.succeeded, failed = graph_counts.failed + excluded.failed"
)
PUT_LOG = (
    "INSERT INTO logs (run_id, key, attempt, pod, node, text) VALUES (:run_id, :key, :attempt, :pod, :node, :text) "
    "ON CONFLICT (run_id, key, attempt) DO UPDATE SET pod = excluded.pod, node = excluded.node, text = excluded.text"
)
LOGS = "SELECT key, attempt, pod, node, text FROM logs WHERE run_id = :run_id ORDER BY key, attempt"

RUN_COLUMNS = (
    "run_id, graph, namespace, phase, session_id, bundle, owner, started_at, finished_at, graph_uid, object_uid, object_name"
)
SELECT_RUN = " ".join(["SELECT", RUN_COLUMNS, "FROM runs WHERE run_id = :run_id AND phase <> 'Deleted'"])
LOCK_RUN = "SELECT phase, owner, finished_at FROM runs WHERE run_id = :run_id"
TAKE_RUN = "UPDATE runs SET owner = :owner, phase = 'Running', finished_at = NULL, wake_at = NULL WHERE run_id = :run_id"
RELEASE_ALL = "UPDATE runs SET owner = NULL WHERE owner = :owner RETURNING run_id"
WAKE_RUN = "UPDATE runs SET wake_at = NULL WHERE run_id = :run_id AND wake_at IS NOT NULL"
RELEASE_RUN = "UPDATE runs SET owner = NULL WHERE run_id = :run_id AND owner = :owner"
OWNED_RUNS = "SELECT run_id FROM runs WHERE owner = :owner"
OWNERS = "SELECT DISTINCT owner FROM runs WHERE owner IS NOT NULL"
UNFINISHED = " ".join(["SELECT", RUN_COLUMNS, "FROM runs WHERE finished_at IS NULL ORDER BY started_at, run_id"])

PUT_BUNDLE = (
    "INSERT INTO bundles (digest, stored_at, document) VALUES (:digest, :now, :document) "
    "ON CONFLICT (digest) DO UPDATE SET stored_at = excluded.stored_at"
)
BUNDLE_STORED_AT = "SELECT stored_at FROM bundles WHERE digest = :digest"
GET_BUNDLE = "SELECT document FROM bundles WHERE digest = :digest"

ADD_SESSION = "INSERT INTO sessions (session_id, data, version) VALUES (:session_id, :data, 0) ON CONFLICT DO NOTHING"
GET_SESSION = "SELECT data FROM sessions WHERE session_id = :session_id"
SET_SESSION = "UPDATE sessions SET data = :data, version = version + 1 WHERE session_id = :session_id"

PUT_CACHE = (
    "INSERT INTO cache (key, value, expires_at) VALUES (:key, :value, :expires_at) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at"
)
GET_CACHE = "SELECT value, expires_at FROM cache WHERE key = :key AND expires_at > :now"
DELETE_CACHED = "DELETE FROM cache WHERE key = :key"
CLEAR_CACHED = "DELETE FROM cache WHERE SUBSTR(key, 1, :length) = :prefix"

ADD_SIGNAL = (
    "INSERT INTO signals (run_id, kind, key, data, at, consumed) "
    "VALUES (:run_id, :kind, :key, :data, :at, 0) ON CONFLICT (run_id, key) DO NOTHING RETURNING id"
)
GET_SIGNAL = "SELECT id, run_id, kind, data, at FROM signals WHERE run_id = :run_id AND key = :key"
OPEN_SIGNALS = (
    "SELECT s.id, s.run_id, s.kind, s.data, s.at FROM signals s JOIN runs r ON r.run_id = s.run_id "
    "WHERE s.consumed = 0 AND r.owner = :owner ORDER BY s.id"
)
RUN_SIGNALS = "SELECT id, run_id, kind, data, at FROM signals WHERE run_id = :run_id AND consumed = 0 ORDER BY id"
CONSUME_SIGNAL = "UPDATE signals SET consumed = 1 WHERE id = :id"

HIDE_RUN = "UPDATE runs SET phase = 'Deleted', owner = NULL, finished_at = :now WHERE run_id = :run_id"
DELETE_EVENTS = (
    "DELETE FROM events WHERE run_id = :run_id AND seq IN "
    "(SELECT seq FROM events WHERE run_id = :run_id ORDER BY seq LIMIT :limit) RETURNING seq"
)
DELETE_SIGNALS = "DELETE FROM signals WHERE run_id = :run_id"
DELETE_LOGS = "DELETE FROM logs WHERE run_id = :run_id"
DELETE_RUN = "DELETE FROM runs WHERE run_id = :run_id"
PRUNABLE = (
    "SELECT run_id FROM runs WHERE finished_at IS NOT NULL AND (finished_at < :before OR phase = 'Deleted') "
    "ORDER BY finished_at LIMIT :limit"
)
DELETE_EXPIRED = "DELETE FROM cache WHERE key IN (SELECT key FROM cache WHERE expires_at <= :now LIMIT :limit) RETURNING key"
DELETE_ORPHANS = (
    "DELETE FROM bundles WHERE digest IN (SELECT digest FROM bundles WHERE stored_at < :before "
    "AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.bundle = bundles.digest) LIMIT :limit) RETURNING digest"
)


def list_runs(phase: str | None, graph: str | None, namespace: str | None) -> str:
    """Return the query of the list of runs, newest first, with only the filters that are set."""
    filters = {"phase": phase, "graph": graph, "namespace": namespace}
    where = [f"AND {column} = :{column}" for column, value in filters.items() if value is not None]
    start = ["SELECT", RUN_COLUMNS, "FROM runs WHERE phase <> 'Deleted'"]
    return " ".join([*start, *where, "ORDER BY started_at DESC, run_id DESC LIMIT :limit"])
