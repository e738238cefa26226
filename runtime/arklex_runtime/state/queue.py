"""Group commit: what one turn of the event loop submits becomes durable together, and is answered in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeAlias

from arklex_runtime.errors import DatabaseUnavailable, Fenced
from arklex_runtime.state.records import Batch

Done: TypeAlias = Callable[[BaseException | None], None]
Read: TypeAlias = Callable[[dict[str, Any], BaseException | None], None]
Outcome: TypeAlias = BaseException | None


class Later:
    """The driver's answer to ``try_*``: not without waiting."""


LATER = Later()


class Writer(Protocol):
    """What the queue needs of a driver. Errors are returned, never raised; ``alone``: the batch's group met a conflict."""

    def try_commit(self, batches: list[Batch], alone: bool) -> Outcome | Later:
        """Commit on the spot, or answer LATER having changed nothing."""

    async def commit(self, batches: list[Batch], alone: bool) -> Outcome:
        """Commit, off the loop's thread."""

    def try_read(self, session_id: str) -> dict[str, Any] | BaseException | Later:
        """Read a session on the spot, or answer LATER."""

    async def read(self, session_id: str) -> dict[str, Any] | BaseException:
        """Read a session, off the loop's thread."""


class GroupQueue:
    """One transaction in flight at most; what arrives meanwhile makes the next one.

    A failed batch leaves a gap: later batches of its run fail with the same error, until the missing one is submitted again
    (Fenced: until the run is claimed again).
    """

    def __init__(self, writer: Writer, loop: asyncio.AbstractEventLoop) -> None:
        self._writer = writer
        self._loop = loop
        self._pending: list[tuple[Batch, Done]] = []
        self._reads: list[tuple[str, Read]] = []
        self._gaps: dict[str, tuple[int, BaseException]] = {}
        self._scheduled = False
        self._flight: asyncio.Task[None] | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._next_waiters: list[asyncio.Future[None]] = []

    def submit(self, batch: Batch, done: Done) -> None:
        """Queue a batch; ``done`` is called from the loop when it is durable or has failed."""
        self._pending.append((batch, done))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def read(self, session_id: str, done: Read) -> None:
        """Queue a read that sees every batch submitted before it."""
        self._reads.append((session_id, done))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def forget(self, run_id: str) -> None:
        """The run was claimed (again): its gap is closed."""
        self._gaps.pop(run_id, None)

    async def drained(self) -> None:
        """Wait until all that was submitted so far has been answered, whatever is submitted meanwhile."""
        if self._pending or self._reads:
            waiters = self._next_waiters
        elif self._flight is not None:
            waiters = self._waiters
        else:
            return
        waiter = self._loop.create_future()
        waiters.append(waiter)
        await waiter

    async def idle(self) -> None:
        """Wait until nothing is left to answer."""
        while self._pending or self._reads or self._flight is not None:
            await self.drained()

    def _flush(self) -> None:
        self._scheduled = False
        if self._flight is not None:
            return
        group, self._pending = self._pending, []
        reads, self._reads = self._reads, []
        waiters, self._next_waiters = self._next_waiters, []
        self._waiters += waiters
        if not self._gaps:
            outcome = self._writer.try_commit([batch for batch, _ in group], False) if group else None
            if outcome is None and not reads:
                self._succeed(group)
                return
            self._drive(self._work(group, reads, outcome), outcome is LATER)
        else:
            self._drive(self._work(group, reads, LATER), False)

    def _drive(self, work: Generator[Try, Any, None], wait: bool) -> None:
        """Do the work on the loop's thread for as long as the driver need not wait, the rest in a task."""
        try:
            step = next(work)
            while not wait and (result := step.now(self._writer)) is not LATER:
                step = work.send(result)
        except StopIteration:
            self._wake()
        else:
            self._flight = self._loop.create_task(self._continue(work, step))

    async def _continue(self, work: Generator[Try, Any, None], step: Try) -> None:
        try:
            while True:
                step = work.send(await step.later(self._writer))
        except StopIteration:
            pass
        finally:
            self._flight = None
            self._wake()
            if self._pending or self._reads:
                self._flush()

    def _work(self, group: list[tuple[Batch, Done]], reads: list[tuple[str, Read]], first: Any) -> Generator[Try, Any, None]:
        """Commit the group, then answer the reads; ``first`` is what a first try came to, LATER if it has to be made."""
        outcomes = self._gaps_of([batch for batch, _ in group])
        todo = [index for index, outcome in enumerate(outcomes) if outcome is None]
        batches = [group[index][0] for index in todo]
        if batches:
            outcome = first if first is not LATER else (yield Try(batches=batches))
            if outcome is None or isinstance(outcome, DatabaseUnavailable):
                results: list[Outcome] = [outcome] * len(batches)
            else:
                results = yield from self._one_by_one(batches)
            for index, result in zip(todo, results, strict=True):
                outcomes[index] = result
        for (batch, done), outcome in zip(group, outcomes, strict=True):
            self._note(batch, outcome)
            self._call(done, outcome)
        for session_id, read in reads:
            data = yield Try(session_id=session_id)
            failed = isinstance(data, BaseException)
            self._call(read, {} if failed else data, data if failed else None)

    def _one_by_one(self, batches: list[Batch]) -> Generator[Try, Any, list[Outcome]]:
        results: list[Outcome] = []
        failed: dict[str, BaseException] = {}
        for batch in batches:
            outcome = failed.get(batch.run_id)
            if outcome is None:
                outcome = yield Try(batches=[batch], alone=True)
            if outcome is not None:
                failed[batch.run_id] = outcome
            results.append(outcome)
        return results

    def _gaps_of(self, batches: list[Batch]) -> list[Outcome]:
        """Return for each batch the error that it shares with a missing one before it, or None."""
        closed: set[str] = set()
        outcomes: list[Outcome] = []
        for batch in batches:
            seq, error = self._gaps.get(batch.run_id, (0, None))
            if batch.seq <= seq and not isinstance(error, Fenced):
                closed.add(batch.run_id)
            outcomes.append(None if batch.run_id in closed else error)
        return outcomes

    def _note(self, batch: Batch, outcome: Outcome) -> None:
        if outcome is not None:
            self._gaps.setdefault(batch.run_id, (batch.seq, outcome))
        elif self._gaps:
            self._gaps.pop(batch.run_id, None)

    def _succeed(self, group: list[tuple[Batch, Done]]) -> None:
        for _, done in group:
            try:
                done(None)
            except Exception as error:
                self._complain(error)
        if self._waiters:
            self._wake()

    def _call(self, callback: Callable[..., None], *args: Any) -> None:
        try:
            callback(*args)
        except Exception as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        self._loop.call_exception_handler({"message": "a callback of the journal failed", "exception": error})

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Try:
    """One thing asked of the driver: commit batches or read a session, now or later."""

    __slots__ = ("alone", "batches", "session_id")

    def __init__(self, batches: list[Batch] | None = None, alone: bool = False, session_id: str = "") -> None:
        self.batches = batches
        self.alone = alone
        self.session_id = session_id

    def now(self, writer: Writer) -> Any:
        """Try it on the spot; LATER if that would wait."""
        return writer.try_read(self.session_id) if self.batches is None else writer.try_commit(self.batches, self.alone)

    async def later(self, writer: Writer) -> Any:
        """Do it without blocking the loop."""
        if self.batches is None:
            return await writer.read(self.session_id)
        return await writer.commit(self.batches, self.alone)
