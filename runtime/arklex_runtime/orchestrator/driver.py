"""Drives one run: events into the engine, batches into the journal, commands out once they are durable.

Callbacks all the way, no task of its own: at 32 concurrent runs an asyncio task per run would cost more than the engine.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from arklex_api.base import JSON
from arklex_runtime.dispatch.jobs import Error, Grant, Job
from arklex_runtime.engine.commands import AskApproval, CancelAttempt, Command, EndRun, Lookup, SaveSession, Start, StoreResult
from arklex_runtime.engine.events import (
    Accepted,
    CacheHit,
    CacheMiss,
    CancelRequested,
    Decided,
    Event,
    Finished,
    Interrupted,
    Lost,
    SessionRead,
    Started,
    Tick,
)
from arklex_runtime.engine.program import Program
from arklex_runtime.engine.state import RunState, Status, Unit
from arklex_runtime.engine.step import outstanding, start, step, write_batch
from arklex_runtime.engine.turn import TurnError
from arklex_runtime.engine.units import running_of, start_of
from arklex_runtime.errors import ConflictError
from arklex_runtime.orchestrator.attempt import job_of, path_of
from arklex_runtime.state.records import NOWHERE, Batch, CachePut, EndOfRun, NewRun, Origin, Signal

if TYPE_CHECKING:
    from arklex_runtime.orchestrator.host import RunHost

FAR = 60.0
"""Seconds from which on no timer is set: nearly every run has a day's timeout and ends within a second."""


class HandedOver(ConflictError):
    """The run goes on under another owner."""


class RunDriver:
    """One run that this process owns. ``ended`` is resolved with the phase, or with what broke it off.

    ``committed`` is the seq of the last batch that is durable: 0 until the run is accepted. ``state`` may be ahead of it.
    ``epoch`` grows with every owner. ``began`` is the time up to which the run had come under earlier ones, else 0.0.
    """

    __slots__ = (
        "_after",
        "_ahead",
        "_armed",
        "_batch",
        "_dirty",
        "_events",
        "_jobs",
        "_leaving",
        "_lingers",
        "_reading",
        "_records",
        "_seq",
        "_shared",
        "_stopping",
        "_timer",
        "began",
        "broken",
        "committed",
        "ended",
        "epoch",
        "host",
        "origin",
        "program",
        "run_id",
        "state",
    )

    def __init__(
        self,
        host: RunHost,
        program: Program,
        run_id: str,
        state: RunState,
        seq: int,
        session_id: str | None,
        origin: Origin = NOWHERE,
    ) -> None:
        self.host = host
        self.program = program
        self.run_id = run_id
        self.state = state
        self.origin = origin
        self.began = state.now
        self.ended: asyncio.Future[str] = host.loop.create_future()
        self.broken: BaseException | None = None
        self.committed = seq - 1
        self.epoch = self._seq = seq
        self._shared = session_id
        self._records: list[tuple[list[JSON], dict[str, JSON]]] = []
        self._after: list[tuple[Any, ...]] = []
        self._batch = Batch(run_id, seq, b"", session_id=session_id)
        self._dirty = False
        self._lingers = False
        self._jobs: dict[str, Job] = {}
        self._leaving: set[Job] = set()
        self._events: deque[tuple[Event, Job | None]] | None = deque() if session_id else None
        self._reading = False
        self._stopping = False
        self._timer: asyncio.TimerHandle | None = None
        self._armed = math.inf
        self._ahead = max(0.0, state.now - host.now())

    def now(self) -> float:
        """Epoch seconds, never before what the journal has: an earlier owner's clock may have been ahead of ours."""
        return self.host.now() + self._ahead

    @property
    def latest(self) -> int:
        """The seq of the batch that holds the last of what ``state`` shows; durable once ``committed`` is there."""
        return self._seq if self._records or self._batch.signals else self._seq - 1

    def begin(self, event: Accepted, new_run: NewRun) -> None:
        """Accept the run."""
        self._batch.new_run = new_run
        self.deliver(event)

    def resume(self) -> None:
        """Go on after a replay: what was asked for is asked again. Attempts that ran are lost, or adopted where they run on."""
        asked, running = outstanding(self.state)
        for unit in running:
            if self.host.dispatcher.remote:
                self._adopt(running_of(unit), started=True)
            else:
                self.deliver(Lost(self.now(), unit.key, unit.attempts))
        for item in asked:
            if isinstance(item, Unit):
                self._again(item)
            else:
                self._obey(item)
        if self.state.finished_at is None and (due := self.state.next_due) is not None and due <= self.now():
            self._tick()
        self._mark()

    def _again(self, unit: Unit) -> None:
        if unit.status is not Status.ISSUED or self.state.open.get(unit.key) is not unit:
            return
        try:
            command = start_of(unit)
        except TurnError as error:
            self.deliver(Finished(self.now(), unit.key, unit.attempts + 1, error=error.error))
            return
        if self.host.dispatcher.remote:
            self._adopt(command, started=False)
        else:
            self._start(command)

    def _adopt(self, command: Start, *, started: bool) -> None:
        job = self._jobs[command.unit.key] = job_of(self, command)
        self.host.dispatcher.adopt(job, started=started)

    def tell(self, event: Event, job: Job | None = None) -> None:
        """Let an event from outside happen; with a shared session, one at a time, each after a look at the session.

        ``job``: its dispatcher keeps the news until they are durable.
        """
        if self._events is None:
            self._take(event, job)
            return
        self._events.append((event, job))
        if not self._reading:
            self._reading = True
            self._read_session()

    def _take(self, event: Event, job: Job | None) -> None:
        self.deliver(event)
        if job is not None and self.broken is None:
            self._after.append((self.host.dispatcher.settle, job))
            if job.log is not None:
                self._batch.logs.append(job.log)

    def _read_session(self) -> None:
        self.host.journal.read_session(self._shared or "", self._session_read)

    def _session_read(self, data: dict[str, JSON], error: BaseException | None) -> None:
        if error is not None:
            self.break_off(error)
        elif self._events:
            if data != self.state.session:
                self.deliver(SessionRead(self.now(), data))
            self._take(*self._events.popleft())
            self._after.append((self._next_event,))

    def _next_event(self) -> None:
        self._reading = bool(self._events)
        if self._reading:
            self._read_session()

    def deliver(self, event: Event) -> None:
        """Let ``event`` happen now; it is journaled at the end of this iteration of the loop."""
        if self.broken is not None:
            return
        try:
            result = step(self.program, self.state, event)
        except Exception as error:
            self.break_off(error)
            return
        self._records.append((event.encode(), result.facts))
        for command in result.commands:
            self._obey(command)
        if self.host.observer is not None:
            self._after.append((self.host.observer, self, event))
        if not self._dirty:
            self._mark()

    def _mark(self) -> None:
        self._dirty = True
        self.host.mark(self)

    def _obey(self, command: Command) -> None:
        if type(command) is Start:
            self._start(command)
        else:
            _OBEY[type(command)](self, command)

    def _start(self, command: Start) -> None:
        if self._stopping:
            return
        unit, host = command.unit, self.host
        job = job_of(self, command)
        self._jobs[unit.key] = job
        grant = host.dispatcher.acquire(job)
        if grant is Grant.GRANTED:
            self._grant(job, self.state.now)
        elif grant is Grant.REFUSED:
            self._jobs.pop(unit.key)
            self.deliver(Finished(self.now(), unit.key, command.attempt, error=job.refusal, jitter=host.random()))
        elif host.dispatcher.remote:
            self._after.append((host.dispatcher.durable, job))

    def granted(self, job: Job) -> None:
        """The job has a slot: commit its start, then launch it.

        Elsewhere it runs already, and the pod's word for it stays where it is until it is committed: that can wait for the
        result, which often comes at once, and share its commit.
        """
        self._grant(job, self.now())

    def _grant(self, job: Job, now: float) -> None:
        if job.timeout:
            job.context.deadline = self.host.now() + job.timeout
        event = Started(now, job.key, job.attempt)
        if self.broken is not None or not start(self.state, event):
            self.deliver(event)
            self.host.dispatcher.cancel(job)
            return
        self._records.append((event.encode(), {}))
        if self.host.observer is not None:
            self._after.append((self.host.observer, self, event))
        self._after.append((self.host.dispatcher.launch, job))
        if self._dirty or self._lingers:
            return
        if self.host.dispatcher.remote:
            self._lingers = True
            self.host.mark_soon(self, self._seq)
        else:
            self._mark()

    def settle(self, seq: int) -> None:
        """Journal what has waited for company, unless batch ``seq``, in which it was to be, took it along."""
        if self._lingers and not self._dirty and self._seq == seq:
            self._mark()

    def finished(self, job: Job, output: JSON, size: int, error: Error | None) -> None:
        """A job ended."""
        if self._jobs.get(job.key) is job:
            del self._jobs[job.key]
        kept = job if job.receipt is not None else None
        if error is None:
            self.tell(Finished(self.now(), job.key, job.attempt, output, None, size), kept)
        else:
            self.tell(Finished(self.now(), job.key, job.attempt, None, error, 0, self.host.random()), kept)

    def lost(self, job: Job) -> None:
        """The pod that ran a job died."""
        if self._jobs.get(job.key) is job:
            del self._jobs[job.key]
        self.tell(Lost(self.now(), job.key, job.attempt, job.pod))

    def released(self, job: Job) -> None:
        """The pod that ran a job gave it back."""
        if self._jobs.get(job.key) is job:
            del self._jobs[job.key]
        self.tell(Interrupted(self.now(), job.key, job.attempt, job.pod), job if job.receipt is not None else None)

    def _cancel_attempt(self, command: CancelAttempt) -> None:
        job = self._jobs.pop(command.key, None)
        if job is not None:
            self._stop(job, command.reason)

    def _stop(self, job: Job, reason: str | None = None) -> None:
        """Cancel a job: here at once; elsewhere once that is durable, or else another owner may be waiting for it."""
        if self.host.dispatcher.remote:
            self._leaving.add(job)
            self._after.append((self._stopped, job, reason))
        else:
            self.host.dispatcher.cancel(job, reason)

    def _stopped(self, job: Job, reason: str | None) -> None:
        self._leaving.discard(job)
        self.host.dispatcher.cancel(job, reason)

    def _save_session(self, command: SaveSession) -> None:
        if self._shared:
            self._batch.session_patches.append(command.patch)

    def _store_result(self, command: StoreResult) -> None:
        value = orjson.dumps(command.output)
        put = CachePut(command.cache_key, value, self.host.now() + command.ttl)
        self._batch.cache.append(put)
        self._after.append((self.host.cached, put))

    def _lookup(self, command: Lookup) -> None:
        self._after.append((self._look, command))

    def _look(self, command: Lookup) -> None:
        self.host.spawn(self._look_up(command))

    async def _look_up(self, command: Lookup) -> None:
        try:
            found = await self.host.cache_get(command.cache_key)
        except Exception as error:
            self.break_off(error)
            return
        now, key = self.now(), command.unit.key
        self.tell(CacheMiss(now, key) if found is None else CacheHit(now, key, orjson.loads(found)))

    def _ask(self, command: AskApproval) -> None:
        if self.host.on_approval is not None:
            self._after.append((self._asked, command))

    def _asked(self, command: AskApproval) -> None:
        if self.host.on_approval is not None and command.unit.status is Status.APPROVAL:
            self.host.on_approval(self, path_of(command.unit.key), command.message)

    def _end(self, command: EndRun) -> None:
        program = self.program
        self._batch.end = EndOfRun(command.phase, self.state.now, self.origin.graph_uid, program.namespace, program.root)
        for job in self._jobs.values():
            self._stop(job)
        self._jobs.clear()
        self._after.append((self._finish, command.phase))

    def _finish(self, phase: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.host.forget(self)
        self.host.dispatcher.over(self.run_id)
        if not self.ended.done():
            self.ended.set_result(phase)

    def signal(self, signal: Signal) -> None:
        """What another process, or a person, asks of the run; the signal goes with the event's commit."""
        self._batch.signals.append(signal.id)
        if signal.kind == "cancel":
            self.tell(CancelRequested(self.now(), str((signal.data or {}).get("reason") or "cancelled")))
        elif signal.kind == "approve":
            key = self.approval_key(signal.data["task"])
            if key is not None:
                self.tell(Decided(self.now(), key, signal.data["approved"], signal.data.get("by"), signal.data.get("data")))
        if not self._dirty:
            self._mark()

    def approval_key(self, task: str) -> str | None:
        """The key of the approval that waits under the path ``task``."""
        waiting = (unit.key for unit in self.state.open.values() if unit.status is Status.APPROVAL)
        return next((key for key in waiting if path_of(key) == task), None)

    def flush(self) -> None:
        """Hand what has happened since the last time to the journal, in one batch."""
        self._dirty = self._lingers = False
        after, self._after = self._after, []
        if self.broken is not None:
            return
        batch, records = self._batch, self._records
        if not records and not batch.signals:
            for call in after:
                call[0](*call[1:])
            self.arm()
            return
        try:
            batch.seq, batch.events = self._seq, write_batch(records)
        except (TypeError, ValueError) as error:
            self.break_off(error)
            return
        self._seq += 1
        self._records = []
        self._batch = Batch(self.run_id, self._seq, b"", session_id=self._shared)
        self.host.journal.submit(batch, partial(self._committed, after))
        self.arm()

    def _committed(self, after: list[tuple[Any, ...]], error: BaseException | None) -> None:
        if error is not None:
            for job in self._leaving:
                self.host.dispatcher.abandon(job)
            self.break_off(error)
            return
        self.committed += 1
        for call in after:
            call[0](*call[1:])

    def arm(self) -> None:
        """See to it that the run is woken when something is due; what is far off, when the host asks again."""
        due = self.state.next_due
        if due is None or due >= self._armed:
            return
        wait = due - self.now()
        if wait > FAR:
            self._armed = due
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed = due
        self._timer = self.host.loop.call_later(max(0.0, wait), self._tick)

    def rearm(self) -> None:
        """See to it that the run is woken for what was far off when it was last looked at."""
        if self._timer is None:
            self._armed = math.inf
            self.arm()

    def _tick(self) -> None:
        self._timer = None
        self._armed = math.inf
        due = self.state.next_due
        if due is None or self.broken is not None or self._stopping:
            return
        if due > self.now():
            self.arm()
        else:
            self.tell(Tick(self.now(), self.host.random()))

    def interrupt(self) -> None:
        """Give back what runs, for a resume; nothing is charged. What has ended is kept, read session or not."""
        self._stopping = True
        held, self._events = self._events, None
        for event, job_of_it in held or ():
            self._take(event, job_of_it)
        for job in list(self._jobs.values()):
            unit = self.state.open.get(job.key)
            if unit is not None and unit.status is Status.RUNNING:
                self.deliver(Interrupted(self.now(), job.key, job.attempt))
            self.host.dispatcher.cancel(job)
        self._jobs.clear()
        if self._timer is not None:
            self._timer.cancel()

    def idle_until(self) -> float | None:
        """When the run goes on by itself (epoch seconds), if all it does is wait for that or for a person; else None."""
        busy = self._dirty or self._records or self._jobs or self._reading or self.committed != self._seq - 1
        due = self.state.next_due
        if busy or due is None or self.state.finished_at is not None or self.broken is not None:
            return None
        waits = all(unit.status in (Status.APPROVAL, Status.BACKOFF) for unit in self.state.open.values())
        return due if waits else None

    def hand_over(self) -> None:
        """Leave the run to its next owner: what has happened is journaled, what runs goes on, nothing more is written.

        Results that are not journaled yet stay where the next owner finds them.
        """
        self._stopping = True
        self._events = None
        for job in self._jobs.values():
            self.host.dispatcher.abandon(job)
        self._jobs.clear()
        if self._timer is not None:
            self._timer.cancel()
        self.flush()
        if self.broken is None:
            self.broken = HandedOver(f"run '{self.run_id}' was handed over")

    def break_off(self, error: BaseException) -> None:
        """The journal refused a commit, or a defect of ours showed: this run ends here, it does not hang.

        A resume goes on from what is durable.
        """
        if self.broken is not None:
            return
        self.broken = error
        if self._timer is not None:
            self._timer.cancel()
        for job in (*self._jobs.values(), *self._leaving):
            self.host.dispatcher.abandon(job)
        self._jobs.clear()
        self._leaving.clear()
        self.host.forget(self)
        if not self.ended.done():
            self.ended.set_exception(error)


_OBEY: dict[type[Command], Callable[[RunDriver, Any], None]] = {
    CancelAttempt: RunDriver._cancel_attempt,
    SaveSession: RunDriver._save_session,
    StoreResult: RunDriver._store_result,
    Lookup: RunDriver._lookup,
    AskApproval: RunDriver._ask,
    EndRun: RunDriver._end,
}
