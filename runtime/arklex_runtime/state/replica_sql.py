"""What replicas of the runtime ask of the journal besides: SQL and steps, over runs that come from objects only.

(A journal may hold embedded runs too; their handlers are on somebody's machine, so nobody takes them over.)
"""

from __future__ import annotations

from collections.abc import Sequence

from arklex_runtime.state.records import GraphCounts, RunRow
from arklex_runtime.state.statements import RUN_COLUMNS, Dialect, Steps
from arklex_runtime.state.steps import Alive

_OPEN = "finished_at IS NULL AND graph_uid IS NOT NULL"
_RUNS = " ".join(["SELECT", RUN_COLUMNS, "FROM runs"])

AWAKE = (
    f"{_RUNS} WHERE {_OPEN} AND (wake_at IS NULL OR wake_at <= :now) AND (owner IS NULL OR owner <> :owner) ORDER BY started_at"
)
OPEN = f"{_RUNS} WHERE {_OPEN} ORDER BY started_at"
MINE = f"SELECT run_id FROM runs WHERE {_OPEN} AND owner = :owner"
BY_ID = f"{_RUNS} WHERE run_id = :run_id AND phase <> 'Deleted'"
BY_OBJECT = f"{_RUNS} WHERE object_uid = :uid AND object_uid IS NOT NULL AND phase <> 'Deleted' ORDER BY started_at"
LAST_OF_GRAPH = (
    f"{_RUNS} WHERE graph_uid = :uid AND graph_uid IS NOT NULL AND phase <> 'Deleted' "
    "ORDER BY started_at DESC, run_id DESC LIMIT 1"
)
ACTIVE = f"SELECT COUNT(*) FROM runs WHERE {_OPEN} AND graph_uid = :uid"
COUNTS = "SELECT succeeded, failed FROM graph_counts WHERE graph_uid = :uid"
PARK = (
    "UPDATE runs SET owner = NULL, wake_at = :wake_at WHERE run_id = :run_id AND owner = :owner AND NOT EXISTS "
    "(SELECT 1 FROM signals s WHERE s.run_id = runs.run_id AND s.consumed = 0) RETURNING run_id"
)
DROP_LEASE = "DELETE FROM leases WHERE name = :name AND owner = :owner"
OLD_RUNS = (
    "SELECT run_id FROM runs WHERE finished_at IS NOT NULL AND graph_uid IS NOT NULL AND phase = :phase "
    "AND finished_at < :before ORDER BY finished_at LIMIT :limit"
)
COUNTED = (
    "SELECT graph_uid, namespace, graph FROM graph_counts c WHERE NOT EXISTS "
    "(SELECT 1 FROM runs r WHERE r.graph_uid = c.graph_uid AND r.graph_uid IS NOT NULL)"
)
OLD_COUNTS = (
    "DELETE FROM graph_counts WHERE graph_uid = :uid AND NOT EXISTS "
    "(SELECT 1 FROM runs WHERE graph_uid = :uid AND graph_uid IS NOT NULL)"
)


def members(dialect: Dialect, role: str) -> Steps[list[str]]:
    """Return the owners of this role whose lease runs."""
    statement = " ".join(["SELECT owner FROM owners WHERE role = :role AND expires_at >", dialect.clock, "ORDER BY owner"])
    rows = yield statement, {"role": role}
    return [row[0] for row in rows]


def awake(owner: str, now: float, alive: Alive) -> Steps[list[RunRow]]:
    """Return the runs that somebody should claim, oldest first: no living owner, and not parked or due to wake."""
    rows = [RunRow(*row) for row in (yield AWAKE, {"owner": owner, "now": now})]
    living: dict[str | None, bool] = {None: False}
    for row in rows:
        if row.owner is not None and row.owner not in living:
            living[row.owner] = yield from alive(row.owner)
    return [row for row in rows if not living[row.owner]]


def records(object_uids: Sequence[str], run_ids: Sequence[str]) -> Steps[list[RunRow]]:
    """Return the runs of these TaskGraphRuns and with these ids, each once."""
    found: dict[str, RunRow] = {}
    asked = [(BY_OBJECT, {"uid": uid}) for uid in object_uids] + [(BY_ID, {"run_id": run_id}) for run_id in run_ids]
    for statement, params in asked:
        for values in (yield statement, params):
            found.setdefault(values[0], RunRow(*values))
    return list(found.values())


def counts(uid: str) -> Steps[GraphCounts]:
    """Return a TaskGraph's counts and its last run."""
    active = yield ACTIVE, {"uid": uid}
    ended = yield COUNTS, {"uid": uid}
    last = yield LAST_OF_GRAPH, {"uid": uid}
    succeeded, failed = ended[0] if ended else (0, 0)
    return GraphCounts(active[0][0], succeeded, failed, RunRow(*last[0]) if last else None)


def take_lease(dialect: Dialect, name: str, owner: str, seconds: float) -> Steps[bool]:
    """Become, or stay, the holder of a lease for so many seconds; False while somebody else is."""
    statement = (
        "INSERT INTO leases (name, owner, expires_at) "
        f"VALUES (:name, :owner, {dialect.clock} + CAST(:seconds AS DOUBLE PRECISION)) "
        "ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at "
        f"WHERE leases.owner = excluded.owner OR leases.expires_at <= {dialect.clock} RETURNING owner"
    )
    rows = yield statement, {"name": name, "owner": owner, "seconds": seconds}
    return bool(rows)


def sweep(dialect: Dialect) -> Steps[None]:
    """Forget leases and owners that ran out an hour ago."""
    for table in ("leases", "owners"):
        yield f"DELETE FROM {table} WHERE expires_at < {dialect.clock} - 3600", {}
