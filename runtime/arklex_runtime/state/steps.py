"""What the journal does inside one transaction, as generators of statements: one logic above both drivers, no I/O here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson

from arklex_runtime.engine.session import merge
from arklex_runtime.errors import Fenced, RunFinished, RunNotFound, RunOwned
from arklex_runtime.state import statements as sql
from arklex_runtime.state.records import AttemptLog, Batch, EndOfRun, NewRun, RunRow, Signal, StoredRun
from arklex_runtime.state.statements import Dialect, Params, Steps

Alive = Callable[[str], "Steps[bool]"]
"""Tells whether an owner still lives, with the help of statements where the database holds the locks."""


class Conflict(Exception):
    """A unique key was taken, or a run of the group has another owner: the group is tried again batch by batch."""


def is_plain(batch: Batch) -> bool:
    """Whether the batch is nothing but events, as most are."""
    return not (batch.new_run or batch.end or batch.session_patches or batch.cache or batch.signals or batch.logs)


def event_row(batch: Batch) -> Params:
    """Return the parameters of the batch's row in ``events``."""
    return {"run_id": batch.run_id, "seq": batch.seq, "events": batch.events}


def commit(dialect: Dialect, owner: str, batches: Sequence[Batch]) -> Steps[None]:
    """Write a group of batches. Raises Conflict when one of them is fenced off; nothing may be kept then."""
    extras = [batch for batch in batches if not is_plain(batch)]
    new = [batch.new_run for batch in extras if batch.new_run]
    if new:
        yield sql.INSERT_RUN, [_run_row(run, owner) for run in new]
    if dialect.lock_owned:
        ids = sorted({batch.run_id for batch in batches})
        held = yield dialect.lock_owned, {"ids": ids, "owner": owner}
        if len(held) < len(ids):
            raise Conflict
    yield sql.INSERT_EVENTS, [event_row(batch) for batch in batches]
    if extras:
        yield from _extras(dialect, owner, extras)


def _run_row(run: NewRun, owner: str) -> Params:
    return {
        "run_id": run.run_id,
        "graph": run.graph,
        "namespace": run.namespace,
        "session_id": run.session_id,
        "bundle": run.bundle,
        "owner": owner,
        "started_at": run.started_at,
        "graph_uid": run.origin.graph_uid,
        "object_uid": run.origin.object_uid,
        "object_name": run.origin.object_name,
    }


def _extras(dialect: Dialect, owner: str, batches: Sequence[Batch]) -> Steps[None]:
    patches: dict[str, list[dict[str, Any]]] = {}
    for batch in batches:
        if batch.session_patches and batch.session_id is not None:
            patches.setdefault(batch.session_id, []).extend(batch.session_patches)
    for session_id in sorted(patches):
        yield from patch_session(dialect, session_id, patches[session_id])
    puts = {put.key: put for batch in batches for put in batch.cache}
    if puts:
        yield (
            sql.PUT_CACHE,
            [{"key": put.key, "value": put.value, "expires_at": put.expires_at} for _, put in sorted(puts.items())],
        )
    consumed: list[Params] = [{"id": signal} for batch in batches for signal in batch.signals]
    if consumed:
        yield sql.CONSUME_SIGNAL, consumed
    logs = [(batch.run_id, log) for batch in batches for log in batch.logs]
    if logs:
        yield sql.PUT_LOG, [_log_row(run_id, log) for run_id, log in logs]
    ends: list[Params] = [
        {"run_id": batch.run_id, "phase": batch.end.phase, "finished_at": batch.end.finished_at, "owner": owner}
        for batch in batches
        if batch.end
    ]
    if ends:
        yield sql.END_RUN, ends
    counted = [batch.end for batch in batches if batch.end and batch.end.graph_uid]
    if counted:
        yield from _count(counted)


def _log_row(run_id: str, log: AttemptLog) -> Params:
    text = log.text.replace("\0", "\ufffd")
    return {"run_id": run_id, "key": log.key, "attempt": log.attempt, "pod": log.pod, "node": log.node, "text": text}


def _count(ends: Sequence[EndOfRun]) -> Steps[None]:
    """Count ends at their graphs: last in the transaction, since others count there too; in one order, against deadlocks."""
    rows: dict[str, dict[str, Any]] = {}
    for end in ends:
        uid = end.graph_uid or ""
        zero = {"graph_uid": uid, "namespace": end.namespace, "graph": end.graph, "succeeded": 0, "failed": 0}
        rows.setdefault(uid, zero)["succeeded" if end.phase == "Succeeded" else "failed"] += 1
    yield sql.COUNT_END, [rows[uid] for uid in sorted(rows)]


def commit_alone(dialect: Dialect, owner: str, batch: Batch) -> Steps[None]:
    """Write one batch whose group met a conflict; a batch that is already there, ours, is a success.

    (A commit whose acknowledgement was lost with the connection is sent again; the run may have ended with it, or in the same
    group.) Raises Fenced.
    """
    rows = yield sql.STORED_EVENTS, {"run_id": batch.run_id, "seq": batch.seq}
    if rows:
        events, holder, finished_at = rows[0]
        if bytes(events) == batch.events and (holder == owner or finished_at is not None):
            return
        raise Fenced(batch.run_id)
    try:
        yield from commit(dialect, owner, [batch])
    except Conflict:
        raise Fenced(batch.run_id) from None


def patch_session(dialect: Dialect, session_id: str, patches: Iterable[Mapping[str, Any]]) -> Steps[dict[str, Any]]:
    """Merge patches into a session under its row's lock; returns the result."""
    key = {"session_id": session_id}
    locked = sql.GET_SESSION + dialect.for_update
    rows = yield locked, key
    if not rows:
        yield sql.ADD_SESSION, key | {"data": b"{}"}
        rows = yield locked, key
    data: dict[str, Any] = orjson.loads(rows[0][0])
    for patch in patches:
        data = merge(data, patch, forgiving=True)
    yield sql.SET_SESSION, key | {"data": orjson.dumps(data)}
    return data


def get_session(session_id: str) -> Steps[dict[str, Any]]:
    """Return the session, empty if there is none."""
    rows = yield sql.GET_SESSION, {"session_id": session_id}
    return orjson.loads(rows[0][0]) if rows else {}


def load(run_id: str) -> Steps[StoredRun | None]:
    """Return the run with its journal and bundle, or None."""
    rows = yield sql.SELECT_RUN, {"run_id": run_id}
    if not rows:
        return None
    row = RunRow(*rows[0])
    document = yield sql.GET_BUNDLE, {"digest": row.bundle}
    events = yield sql.ALL_EVENTS, {"run_id": run_id}
    return StoredRun(row, bytes(document[0][0]) if document else b"", [bytes(event) for _, event in events])


def _lock_run(dialect: Dialect, run_id: str) -> Steps[tuple[str, str | None, float | None]]:
    rows = yield sql.LOCK_RUN + dialect.for_update, {"run_id": run_id}
    if not rows or rows[0][0] == sql.DELETED:
        raise RunNotFound(run_id)
    phase, owner, finished_at = rows[0]
    return phase, owner, finished_at


def claim(dialect: Dialect, owner: str, run_id: str, now: float, alive: Alive, reopen: bool) -> Steps[int]:
    """Take the run over from a dead owner or none, append ``[["claimed", owner, now]]``; returns the next seq.

    Done again (its acknowledgement was lost with the connection) it finds itself done.
    """
    _, holder, finished_at = yield from _lock_run(dialect, run_id)
    if finished_at is not None and not reopen:
        raise RunFinished(f"run {run_id!r} has finished")
    rows = yield sql.LAST_SEQ, {"run_id": run_id}
    seq = int(rows[0][0])
    events = orjson.dumps([["claimed", owner, now]])
    if holder == owner and (yield from _stored(run_id, seq)) == events:
        return seq + 1
    if holder is not None and (yield from alive(holder)):
        raise RunOwned(pid_of(holder))
    yield sql.TAKE_RUN, {"run_id": run_id, "owner": owner}
    yield sql.INSERT_EVENTS, {"run_id": run_id, "seq": seq + 1, "events": events}
    return seq + 2


def _stored(run_id: str, seq: int) -> Steps[bytes | None]:
    rows = yield sql.STORED_EVENTS, {"run_id": run_id, "seq": seq}
    return bytes(rows[0][0]) if rows else None


def add_signal(dialect: Dialect, run_id: str, kind: str, data: Any, key: str | None, now: float) -> Steps[bool]:
    """Append a signal; False if one with this key was ever added. Raises RunNotFound, RunFinished."""
    _, _, finished_at = yield from _lock_run(dialect, run_id)
    if key is not None and (yield sql.GET_SIGNAL, {"run_id": run_id, "key": key}):
        return False
    if finished_at is not None:
        raise RunFinished(f"run {run_id!r} has finished")
    row = {"run_id": run_id, "kind": kind, "key": key, "data": orjson.dumps(data), "at": now}
    added = yield sql.ADD_SIGNAL, row
    yield sql.WAKE_RUN, {"run_id": run_id}
    return bool(added)


def get_signal(run_id: str, key: str) -> Steps[Signal | None]:
    """Return the signal that was first with this key, consumed or not."""
    rows = yield sql.GET_SIGNAL, {"run_id": run_id, "key": key}
    return _signal(rows[0]) if rows else None


def signals(owner: str, run_id: str | None) -> Steps[list[Signal]]:
    """Return the open signals of one run, or of all the owner's runs, oldest first."""
    if run_id is not None:
        rows = yield sql.RUN_SIGNALS, {"run_id": run_id}
    else:
        rows = yield sql.OPEN_SIGNALS, {"owner": owner}
    return [_signal(row) for row in rows]


def _signal(row: Sequence[Any]) -> Signal:
    return Signal(row[0], row[1], row[2], orjson.loads(row[3]), row[4])


def put_bundle(digest: str, document: bytes, now: float) -> Steps[None]:
    """Store what runs, by content; refresh its age so that prune leaves it to the run that follows."""
    yield sql.PUT_BUNDLE, {"digest": digest, "document": document, "now": now}


def bundle_stored_at(digest: str) -> Steps[float | None]:
    """Return when the bundle was last stored, or None."""
    rows = yield sql.BUNDLE_STORED_AT, {"digest": digest}
    return rows[0][0] if rows else None


def logs(run_id: str) -> Steps[list[AttemptLog]]:
    """Return what the run's attempts logged."""
    rows = yield sql.LOGS, {"run_id": run_id}
    return [AttemptLog(*row) for row in rows]


def rows_of(statement: str, params: Params) -> Steps[list[Sequence[Any]]]:
    """Run one statement and return its rows."""
    rows = yield statement, params
    return list(rows)


def orphans(alive: Alive) -> Steps[list[RunRow]]:
    """Return the unfinished runs without a living owner, oldest first."""
    rows = [RunRow(*row) for row in (yield sql.UNFINISHED, {})]
    living: dict[str | None, bool] = {None: False}
    for row in rows:
        if row.owner is not None and row.owner not in living:
            living[row.owner] = yield from alive(row.owner)
    return [row for row in rows if not living[row.owner]]


def hide_run(dialect: Dialect, run_id: str, now: float, alive: Alive) -> Steps[None]:
    """First half of a delete: from here on nobody sees, claims or signals the run. Raises RunNotFound, RunOwned."""
    _, holder, _ = yield from _lock_run(dialect, run_id)
    if holder is not None and (yield from alive(holder)):
        raise RunOwned(pid_of(holder))
    yield sql.HIDE_RUN, {"run_id": run_id, "now": now}


def hide_finished(dialect: Dialect, run_ids: Sequence[str], now: float) -> Steps[list[str]]:
    """First half of a prune: the same for those that are terminal still, which are returned."""
    hidden: list[str] = []
    for run_id in run_ids:
        rows = yield sql.LOCK_RUN + dialect.for_update, {"run_id": run_id}
        if rows and rows[0][2] is not None:
            hidden.append(run_id)
    if hidden:
        yield sql.HIDE_RUN, [{"run_id": run_id, "now": now} for run_id in hidden]
    return hidden


def delete_events(run_ids: Sequence[str], limit: int) -> Steps[Sequence[str]]:
    """Delete up to ``limit`` events of these runs; returns the runs that may have more."""
    for index, run_id in enumerate(run_ids):
        rows = yield sql.DELETE_EVENTS, {"run_id": run_id, "limit": limit}
        limit -= len(rows)
        if limit <= 0:
            return run_ids[index:]
    return ()


def delete_rest(run_ids: Sequence[str]) -> Steps[None]:
    """Last half of a delete, when the events are gone."""
    for statement in (sql.DELETE_SIGNALS, sql.DELETE_LOGS, sql.DELETE_RUN):
        yield statement, [{"run_id": run_id} for run_id in run_ids]


def pid_of(owner: str) -> int | None:
    """Return the pid in an owner's id, ``PID-TOKEN`` or ``PID-TOKEN@HOST`` (no pid of ours: None)."""
    if "@" in owner:
        return None
    pid = owner.partition("-")[0]
    return int(pid) if pid.isdigit() else None
