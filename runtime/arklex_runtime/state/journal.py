"""The journal of runs: the truth about what was accepted and what came of it (design.md, "Journal")."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol

from arklex_runtime.state.queue import Done, Read
from arklex_runtime.state.records import AttemptLog, Batch, RunRow, Signal, StoredRun

PATIENCE = 10.0
"""Seconds to wait for a lock or for the server before DatabaseUnavailable."""


class Journal(Protocol):
    """What orchestrator and command line need of the database. One object is one owner of runs.

    All methods raise DatabaseUnavailable. What was submitted before a call is visible to it.
    """

    owner: str

    def submit(self, batch: Batch, done: Done) -> None:
        """Make a batch durable.

        ``done(None)`` follows from the event loop, never from inside this call, in submit order; or ``done(error)`` with
        Fenced or DatabaseUnavailable: then nothing of the batch is visible, and later batches of the run
        fail likewise until this seq is submitted again. (After ``unreachable`` a commit may have happened unseen; to submit
        the same batch again settles it.)
        """

    def read_session(self, session_id: str, done: Read) -> None:
        """Read a session; ``done(data, error)`` follows from the event loop, ``{}`` if there is none."""

    async def put_bundle(self, digest: str, document: bytes) -> None:
        """Store what a run runs, by content."""

    async def load(self, run_id: str) -> StoredRun | None:
        """Return a run with its whole journal."""

    async def claim(self, run_id: str, *, reopen: bool = False) -> int:
        """Become the owner of a run whose owner is gone, appending the batch ``[["claimed", owner, at]]``.

        Returns the next seq. ``reopen``: also of a terminal run, which is Running again. Raises RunNotFound, RunOwned,
        RunFinished.
        """

    async def release(self, run_id: str) -> None:
        """Stop owning a run, so that anybody can claim it."""

    async def release_all(self) -> None:
        """Stop owning every run, at once."""

    async def owned(self) -> set[str]:
        """Return the ids of the unfinished runs that this owner still has."""

    async def list_runs(
        self, phase: str | None = None, graph: str | None = None, limit: int = 100, namespace: str | None = None
    ) -> list[RunRow]:
        """Return runs, newest first."""

    async def orphans(self) -> list[RunRow]:
        """Return the unfinished runs whose owner is gone, oldest first: what a takeover should claim."""

    async def add_signal(self, run_id: str, kind: str, data: Any, key: str | None = None) -> bool:
        """Ask something of a run; False if a signal with this key was ever added. Raises RunNotFound, RunFinished."""

    async def get_signal(self, run_id: str, key: str) -> Signal | None:
        """Return the first signal with this key, consumed or not."""

    async def signals(self, run_id: str | None = None) -> list[Signal]:
        """Return the signals not yet consumed of one run, or of all this owner's."""

    async def attempt_logs(self, run_id: str) -> list[AttemptLog]:
        """Return what the run's attempts logged, by unit key and attempt."""

    def changed(self) -> bool:
        """Whether anybody may have written since the last call: cheap enough to ask many times a second."""

    async def get_session(self, session_id: str) -> dict[str, Any]:
        """Return a session, empty if there is none."""

    async def update_session(self, session_id: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Merge a patch into a session atomically; returns the result."""

    async def cache_get(self, key: str, now: float) -> bytes | None:
        """Return a cached value that has not expired (``now``: epoch seconds)."""

    async def cache_entry(self, key: str, now: float) -> tuple[bytes, float] | None:
        """Return it with the time it expires at (epoch seconds)."""

    async def delete_run(self, run_id: str) -> None:
        """Remove a run and its journal, in small transactions. Raises RunNotFound, RunOwned."""

    async def prune(self, before: float) -> int:
        """Remove terminal runs that finished before (epoch seconds), expired cache rows, unused bundles; returns the runs."""

    async def close(self) -> None:
        """Finish what was submitted, close, and stop owning runs."""


async def open_journal(
    url: str,
    *,
    now: Callable[[], float] = time.time,
    token: Callable[[], str] = lambda: secrets.token_hex(6),
    patience: float = PATIENCE,
) -> Journal:
    """Open the journal at ``url``, making or migrating its schema when needed.

    ``sqlite:///relative``, ``sqlite:////absolute``, a bare path (each with ``?synchronous=FULL``), ``sqlite://`` (in memory),
    or ``postgresql://…``. Raises DatabaseUnavailable, ValidationError (the URL).
    """
    owner = f"{os.getpid()}-{token()}"
    if url.startswith(("postgresql", "postgres:")):
        from arklex_runtime.state.postgres import open_postgres

        return await open_postgres(url, f"{owner}@{socket.gethostname()}", now, patience)
    from arklex_runtime.state.sqlite import open_sqlite

    return await open_sqlite(url, owner, now, patience)
