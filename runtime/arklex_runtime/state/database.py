"""The journal's one implementation, above either driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from typing_extensions import override

from arklex_runtime.state import statements as sql
from arklex_runtime.state import steps
from arklex_runtime.state.journal import Journal
from arklex_runtime.state.queue import Done, GroupQueue, Read, Writer
from arklex_runtime.state.records import AttemptLog, Batch, RunRow, Signal, StoredRun
from arklex_runtime.state.statements import Dialect, Steps

T = TypeVar("T")

BUNDLE_GRACE = 3600.0
"""Seconds for which prune leaves a bundle without runs alone: the run that it was stored for may be on its way."""
DELETE_AT_ONCE = 500
"""Rows deleted in one transaction, so that others get their turn."""


class Database(Writer, Protocol):
    """What the journal needs of a driver beyond the queue's part."""

    @property
    def dialect(self) -> Dialect:
        """How its SQL differs."""

    def alive(self, owner: str) -> Steps[bool]:
        """Whether an owner still lives."""

    def hold(self) -> None:
        """Be an owner of runs from here on."""

    def changed(self) -> bool:
        """Whether anybody may have written since the last call."""

    async def run(self, make: Callable[[], Steps[T]], write: bool = False, long: bool = False, once: bool = False) -> T:
        """Run one transaction; ``once``: not again if it may have happened, since twice is not the same."""

    async def close(self) -> None:
        """Let go of everything."""


class DatabaseJournal(Journal):
    """See Journal for the methods."""

    def __init__(self, database: Database, owner: str, now: Callable[[], float]) -> None:
        self.owner = owner
        self._database = database
        self._now = now
        self._queue = GroupQueue(database, asyncio.get_running_loop())

    @override
    def submit(self, batch: Batch, done: Done) -> None:
        self._queue.submit(batch, done)

    @override
    def read_session(self, session_id: str, done: Read) -> None:
        self._queue.read(session_id, done)

    @override
    def changed(self) -> bool:
        return self._database.changed()

    async def _run(self, make: Callable[[], Steps[T]], *, write: bool = False, long: bool = False, once: bool = False) -> T:
        await self._queue.drained()
        return await self._database.run(make, write, long, once)

    @override
    async def put_bundle(self, digest: str, document: bytes) -> None:
        now = self._now()
        stored_at = await self._run(lambda: steps.bundle_stored_at(digest))
        if stored_at is None or stored_at < now - BUNDLE_GRACE / 4:
            await self._run(lambda: steps.put_bundle(digest, document, now), write=True)

    @override
    async def load(self, run_id: str) -> StoredRun | None:
        return await self._run(lambda: steps.load(run_id), long=True)

    @override
    async def claim(self, run_id: str, *, reopen: bool = False) -> int:
        self._database.hold()
        now = self._now()
        dialect, alive = self._database.dialect, self._database.alive
        seq = await self._run(lambda: steps.claim(dialect, self.owner, run_id, now, alive, reopen), write=True)
        self._queue.forget(run_id)
        return seq

    @override
    async def release(self, run_id: str) -> None:
        await self._run(lambda: steps.rows_of(sql.RELEASE_RUN, {"run_id": run_id, "owner": self.owner}), write=True)

    @override
    async def release_all(self) -> None:
        await self._run(lambda: steps.rows_of(sql.RELEASE_ALL, {"owner": self.owner}), write=True)

    @override
    async def owned(self) -> set[str]:
        rows = await self._run(lambda: steps.rows_of(sql.OWNED_RUNS, {"owner": self.owner}))
        return {row[0] for row in rows}

    @override
    async def list_runs(
        self, phase: str | None = None, graph: str | None = None, limit: int = 100, namespace: str | None = None
    ) -> list[RunRow]:
        statement = sql.list_runs(phase, graph, namespace)
        params = {"phase": phase, "graph": graph, "namespace": namespace, "limit": limit}
        used = {name: value for name, value in params.items() if value is not None}
        return [RunRow(*row) for row in await self._run(lambda: steps.rows_of(statement, used), long=limit > 1000)]

    @override
    async def orphans(self) -> list[RunRow]:
        return await self._run(lambda: steps.orphans(self._database.alive), long=True)

    @override
    async def add_signal(self, run_id: str, kind: str, data: Any, key: str | None = None) -> bool:
        dialect, now = self._database.dialect, self._now()
        return await self._run(lambda: steps.add_signal(dialect, run_id, kind, data, key, now), write=True)

    @override
    async def get_signal(self, run_id: str, key: str) -> Signal | None:
        return await self._run(lambda: steps.get_signal(run_id, key))

    @override
    async def signals(self, run_id: str | None = None) -> list[Signal]:
        return await self._run(lambda: steps.signals(self.owner, run_id))

    @override
    async def attempt_logs(self, run_id: str) -> list[AttemptLog]:
        return await self._run(lambda: steps.logs(run_id), long=True)

    @override
    async def get_session(self, session_id: str) -> dict[str, Any]:
        return await self._run(lambda: steps.get_session(session_id))

    @override
    async def update_session(self, session_id: str, patch: dict[str, Any]) -> dict[str, Any]:
        dialect = self._database.dialect
        return await self._run(lambda: steps.patch_session(dialect, session_id, [patch]), write=True, once=True)

    @override
    async def cache_get(self, key: str, now: float) -> bytes | None:
        entry = await self.cache_entry(key, now)
        return entry[0] if entry else None

    @override
    async def cache_entry(self, key: str, now: float) -> tuple[bytes, float] | None:
        rows = await self._run(lambda: steps.rows_of(sql.GET_CACHE, {"key": key, "now": now}))
        return (bytes(rows[0][0]), rows[0][1]) if rows else None

    @override
    async def delete_run(self, run_id: str) -> None:
        dialect, alive, now = self._database.dialect, self._database.alive, self._now()
        await self._run(lambda: steps.hide_run(dialect, run_id, now, alive), write=True)
        await self._delete_rest([run_id])

    async def _prune_runs(self, run_ids: Sequence[str], now: float) -> int:
        """Delete those that are terminal still, many in each transaction: as their commits were, or it would not keep up."""
        dialect = self._database.dialect
        hidden = await self._run(lambda: steps.hide_finished(dialect, run_ids, now), write=True, long=True)
        if hidden:
            await self._delete_rest(hidden)
        return len(hidden)

    async def _delete_rest(self, run_ids: Sequence[str]) -> None:
        left = run_ids
        while left:
            left = await self._run(partial(steps.delete_events, left, DELETE_AT_ONCE), write=True, long=True)
        await self._run(lambda: steps.delete_rest(run_ids), write=True, long=True)

    async def _delete_all(self, statement: str, params: dict[str, Any]) -> None:
        """Run a limited DELETE until nothing is left; each in a transaction of its own, off the loop's thread."""
        limited = params | {"limit": DELETE_AT_ONCE}
        while len(await self._run(lambda: steps.rows_of(statement, limited), write=True, long=True)) == DELETE_AT_ONCE:
            pass

    @override
    async def prune(self, before: float) -> int:
        now = self._now()
        count = 0
        while rows := await self._run(lambda: steps.rows_of(sql.PRUNABLE, {"before": before, "limit": 100}), long=True):
            count += await self._prune_runs([row[0] for row in rows], now)
        await self._delete_all(sql.DELETE_EXPIRED, {"now": now})
        await self._delete_all(sql.DELETE_ORPHANS, {"before": now - BUNDLE_GRACE})
        return count

    @override
    async def close(self) -> None:
        await self._queue.idle()
        await self._database.close()
