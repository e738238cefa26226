"""The journal as replicas of the runtime share it: leases, takeover, parked runs, counts, retention."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from arklex_runtime.errors import DatabaseUnavailable
from arklex_runtime.state import replica_sql as sql
from arklex_runtime.state import steps
from arklex_runtime.state.database import Database, DatabaseJournal
from arklex_runtime.state.queue import Done
from arklex_runtime.state.records import Batch, GraphCounts, RunRow
from arklex_runtime.state.sqlite_file import SqliteUrl

if TYPE_CHECKING:
    from arklex_runtime.state.postgres import PostgresDatabase

BATCH = 100
"""Runs that retention deletes before it lets others have their turn."""


class ReplicaJournal(DatabaseJournal):
    """One replica's. All methods raise DatabaseUnavailable."""

    def __init__(self, database: Database, owner: str, now: Callable[[], float]) -> None:
        super().__init__(database, owner, now)
        self.lost: Callable[[], None] = lambda: None
        """Called once when this owner's lease ran out: it is dead to the others, see ``renew``."""
        self.timed: Callable[[float], None] = lambda seconds: None
        """Told how long each commit took, from ``submit`` on."""

    @override
    def submit(self, batch: Batch, done: Done) -> None:
        began = time.perf_counter()

        def timed(error: BaseException | None) -> None:
            self.timed(time.perf_counter() - began)
            done(error)

        super().submit(batch, timed)

    async def members(self) -> list[str]:
        """Return the living replicas, this one included."""
        return [self.owner]

    @property
    def confirmed(self) -> float:
        """Monotonic time when the database last confirmed that this owner lives."""
        return time.monotonic()

    async def renew(self) -> None:
        """Be an owner under a new identity."""

    async def awake(self) -> list[RunRow]:
        """Return the runs without a living owner that somebody should claim, oldest first; parked ones when they are due."""
        now, owner = self._now(), self.owner
        return await self._run(lambda: sql.awake(owner, now, self._database.alive), long=True)

    async def mine(self) -> set[str]:
        """Return the ids of the unfinished runs that this owner has."""
        rows = await self._run(lambda: steps.rows_of(sql.MINE, {"owner": self.owner}))
        return {row[0] for row in rows}

    async def park(self, run_id: str, wake_at: float) -> bool:
        """Stop owning a run that only waits: nobody claims it before ``wake_at`` or a signal. False if one is there already."""
        params = {"run_id": run_id, "owner": self.owner, "wake_at": wake_at}
        return bool(await self._run(lambda: steps.rows_of(sql.PARK, params), write=True))

    async def records(self, *, object_uids: Sequence[str] = (), run_ids: Sequence[str] = ()) -> list[RunRow]:
        """Return the runs of these TaskGraphRuns and with these ids, as far as they exist."""
        return await self._run(lambda: sql.records(object_uids, run_ids))

    async def unfinished(self, namespaces: Sequence[str] = ()) -> list[RunRow]:
        """Return the runs that are not over, of these namespaces or (none) of all, oldest first."""
        rows = [RunRow(*row) for row in await self._run(lambda: steps.rows_of(sql.OPEN, {}), long=True)]
        return [row for row in rows if not namespaces or row.namespace in namespaces]

    async def counts(self, graph_uid: str) -> GraphCounts:
        """Return how many runs a TaskGraph has and had, and its last one."""
        return await self._run(lambda: sql.counts(graph_uid))

    async def counted(self) -> list[tuple[str, str, str]]:
        """Return (UID, namespace, name) of the TaskGraphs of whose runs nothing is left but their counts."""
        rows = await self._run(lambda: steps.rows_of(sql.COUNTED, {}), long=True)
        return [(uid, namespace, graph) for uid, namespace, graph in rows]

    async def forget_counts(self, graph_uid: str) -> None:
        """Forget a TaskGraph that is gone, once it has no runs."""
        await self._run(lambda: steps.rows_of(sql.OLD_COUNTS, {"uid": graph_uid}), write=True)

    async def take_lease(self, name: str, seconds: float) -> bool:
        """Become, or stay, the only holder of a lease for so many seconds by the database's clock; False if another is."""
        dialect, owner = self._database.dialect, self.owner
        return await self._run(lambda: sql.take_lease(dialect, name, owner, seconds), write=True)

    async def drop_lease(self, name: str) -> None:
        """Give a lease back."""
        await self._run(lambda: steps.rows_of(sql.DROP_LEASE, {"name": name, "owner": self.owner}), write=True)

    async def retire(self, phase: str, before: float) -> int:
        """Delete up to BATCH runs that ended so before (epoch seconds); returns how many."""
        params = {"phase": phase, "before": before, "limit": BATCH}
        rows = await self._run(lambda: steps.rows_of(sql.OLD_RUNS, params), long=True)
        return await self._prune_runs([row[0] for row in rows], self._now())

    async def tidy(self) -> None:
        """Delete what runs left: expired results, unused bundles, old leases."""
        await self.prune(0.0)
        dialect = self._database.dialect
        await self._run(lambda: sql.sweep(dialect), write=True)


class ServerJournal(ReplicaJournal):
    """In PostgreSQL, with others."""

    def __init__(self, database: PostgresDatabase, owner: str, now: Callable[[], float], name: str, role: str) -> None:
        super().__init__(database, owner, now)
        self._server = database
        self._name = name
        self._role = role
        self._listen()

    def _listen(self) -> None:
        self._server.lock.lost = lambda: self.lost()

    @override
    async def members(self) -> list[str]:
        dialect, role = self._server.dialect, self._role
        found = await self._run(lambda: sql.members(dialect, role))
        return found if self.owner in found else sorted([*found, self.owner])

    @property
    @override
    def confirmed(self) -> float:
        return self._server.lock.renewed

    @override
    async def renew(self) -> None:
        await self._queue.idle()
        owner = new_owner(self._name)
        await self._server.rename(owner)
        self.owner = owner
        self._listen()


class FileJournal(ReplicaJournal):
    """In a SQLite file, which one replica may have: an OS lock says which, and its death releases it."""

    def __init__(self, database: Database, owner: str, now: Callable[[], float], lock: int) -> None:
        super().__init__(database, owner, now)
        self._lock = lock
        database.hold()

    @override
    async def close(self) -> None:
        await super().close()
        os.close(self._lock)


def new_owner(name: str) -> str:
    """An owner's id that nobody ever had: ``<pid>-<token>@<name>``."""
    return f"{os.getpid()}-{secrets.token_hex(6)}@{name}"


async def open_replica(
    url: str, *, lease: float = 10.0, name: str = "", now: Callable[[], float] = time.time, patience: float = 10.0
) -> ReplicaJournal:
    """Open the journal as one of the replicas; ``name`` is the pod's, ``lease`` in seconds. SQLite must be a file.

    Raises DatabaseUnavailable ("locked": another replica has the file), ValidationError (the URL).
    """
    owner = new_owner(name or socket.gethostname())
    if url.startswith(("postgresql", "postgres:")):
        from arklex_runtime.state.advisory import Lease
        from arklex_runtime.state.postgres import open_server

        role = "runtime"
        server = await open_server(url, owner, patience, Lease(lease, role))
        return ServerJournal(server, owner, now, name or socket.gethostname(), role)
    from arklex_runtime.state.sqlite import open_file

    path = SqliteUrl.parse(url).path
    if path is None:
        raise DatabaseUnavailable("unreachable", "a runtime needs a journal that outlives it: a file or PostgreSQL")
    lock = _lock_alone(path)
    try:
        return FileJournal(await open_file(url, owner, patience), owner, now, lock)
    except BaseException:
        os.close(lock)
        raise


def _lock_alone(path: Path) -> int:
    """Lock ``<database>.runtime``. Raises DatabaseUnavailable."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(path.with_name(path.name + ".runtime"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DatabaseUnavailable("full" if error.errno == errno.ENOSPC else "readonly", str(error)) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with contextlib.suppress(OSError):
            os.close(lock)
        raise DatabaseUnavailable("locked", f"another runtime has {path}: SQLite takes one replica, PostgreSQL many") from None
    return lock
