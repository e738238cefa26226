"""What tests of the journal share: runs, batches, and waiting for their commits."""

from __future__ import annotations

import asyncio
from typing import Any

from arklex_runtime.state.journal import Journal
from arklex_runtime.state.records import Batch, EndOfRun, NewRun

STARTED = 1_700_000_000.0


def accept(run_id: str, **extras: Any) -> Batch:
    """Return the first batch of a new run."""
    new = NewRun(run_id, "graph", "default", "digest", None, extras.pop("started_at", STARTED))
    return Batch(run_id, 1, b'[["accepted"]]', new_run=new, **extras)


def step(run_id: str, seq: int, text: str = "step", **extras: Any) -> Batch:
    """Return a later batch of a run."""
    return Batch(run_id, seq, f'[["{text}"]]'.encode(), **extras)


def end(run_id: str, seq: int, finished_at: float = STARTED + 1) -> Batch:
    """Return the last batch of a run."""
    return step(run_id, seq, "end", end=EndOfRun("Succeeded", finished_at))


def submit(journal: Journal, batch: Batch) -> asyncio.Future[None]:
    """Submit a batch; the future has its outcome."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(error: BaseException | None) -> None:
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    journal.submit(batch, done)
    return future


async def outcomes(journal: Journal, *batches: Batch) -> list[BaseException | None]:
    """Submit batches in one turn of the loop; return what came of each."""
    return await asyncio.gather(*[submit(journal, batch) for batch in batches], return_exceptions=True)


async def session(journal: Journal, session_id: str) -> dict[str, Any]:
    """Read a session the hot way."""
    future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def done(data: dict[str, Any], error: BaseException | None) -> None:
        if error is None:
            future.set_result(data)
        else:
            future.set_exception(error)

    journal.read_session(session_id, done)
    return await future


async def texts(journal: Journal, run_id: str) -> list[bytes]:
    """Return a run's batches."""
    stored = await journal.load(run_id)
    return stored.events if stored else []
