"""Drives one run: events into the engine, batches into the journal, commands out once they are durable.

Callbacks all the way, no task of its own: at 32 concurrent runs an asyncio task per run would cost more than the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from arklex_runtime.dispatch.jobs import Job
from arklex_runtime.engine.commands import AskApproval, CancelAttempt, Command, EndRun, Lookup, SaveSession, Start, StoreResult
from arklex_runtime.engine.events import (
    Accepted,
    CacheHit,
    CacheMiss,
    CancelRequested,
    Decided,
    Event,
    Tick,
)
from arklex_runtime.engine.program import Program
from arklex_runtime.engine.state import RunState, Status, Unit
from arklex_runtime.engine.step import outstanding
from arklex_runtime.errors import ConflictError
from arklex_runtime.orchestrator.alarm import Alarm
from arklex_runtime.orchestrator.attempt import path_of
from arklex_runtime.orchestrator.attempts import Attempts
from arklex_runtime.orchestrator.sharing import SharedSession
from arklex_runtime.state.records import NOWHERE, CachePut, EndOfRun, NewRun, Origin, Signal

if TYPE_CHECKING:
    from arklex_runtime.orchestrator.host import RunHost


class HandedOver(ConflictError):
    """The run goes on under another owner."""


class RunDriver(Attempts):
    """One run that this process owns. ``ended`` is resolved with the phase, or with what broke it off.

    ``began`` is the time up to which the run had come under earlier owners, else 0.0.
    """

    __slots__ = ("_alarm", "_shared", "began", "ended", "origin")

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
        super().__init__(host, program, run_id, state, seq, session_id)
        self.origin = origin
        self.began = state.now
        self.ended: asyncio.Future[str] = host.loop.create_future()
        self._alarm = Alarm(host.loop)
        self._shared = SharedSession(self, session_id) if session_id else None

    def begin(self, event: Accepted, new_run: NewRun) -> None:
        """Accept the run."""
        self._batch.new_run = new_run
        self.deliver(event)

    def resume(self) -> None:
        """Go on after a replay: what was asked for is asked again. Attempts that ran are lost, or adopted where they run on."""
        asked, running = outstanding(self.state)
        for unit in running:
            self._go_on_with(unit)
        for item in asked:
            if isinstance(item, Unit):
                self._start_again(item)
            else:
                self._obey(item)
        if self.state.finished_at is None and (due := self.state.next_due) is not None and due <= self.now():
            self._tick()
        self._mark()

    def tell(self, event: Event, job: Job | None = None) -> None:
        """Let an event from outside happen; with a shared session, one at a time, each after a look at the session.

        ``job``: its dispatcher keeps the news until they are durable.
        """
        if self._shared is None:
            self.take(event, job)
        else:
            self._shared.put(event, job)

    def take(self, event: Event, job: Job | None = None, then: Callable[[], None] | None = None) -> None:
        """Let an event from outside happen now; ``then`` is called once it is durable."""
        self.deliver(event)
        if job is not None and self.broken is None:
            self._after.append((self.host.dispatcher.settle, job))
            if job.log is not None:
                self._batch.logs.append(job.log)
        if then is not None:
            self._after.append((then,))

    def _obey(self, command: Command) -> None:
        if type(command) is Start:
            self._start(command)
        else:
            _OBEY[type(command)](self, command)

    def _save_session(self, command: SaveSession) -> None:
        if self._session_id:
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
        self._stop_all()
        self._after.append((self._finish, command.phase))

    def _finish(self, phase: str) -> None:
        self._alarm.stop()
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

    def arm(self) -> None:
        """See to it that the run is woken when something is due; what is far off, when the host asks again."""
        due = self.state.next_due
        if due is not None and due < self._alarm.at:
            self._alarm.set(due, due - self.now(), self._tick)

    def rearm(self) -> None:
        """See to it that the run is woken for what was far off when it was last looked at."""
        if self._alarm.ask_again():
            self.arm()

    def _tick(self) -> None:
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
        shared, self._shared = self._shared, None
        for event, job in shared.close() if shared else ():
            self.take(event, job)
        self._give_back()
        self._alarm.stop()

    def idle_until(self) -> float | None:
        """When the run goes on by itself (epoch seconds), if all it does is wait for that or for a person; else None."""
        reading = self._shared is not None and self._shared.reading
        busy = self._dirty or self._records or self._jobs or reading or self.committed != self._seq - 1
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
        if self._shared is not None:
            self._shared.close()
            self._shared = None
        self._abandon()
        self._alarm.stop()
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
        self._alarm.stop()
        self._abandon()
        self._abandon_leaving()
        self.host.forget(self)
        if not self.ended.done():
            self.ended.set_exception(error)
            self.ended.exception()  # a run that was taken over has nobody who waits for its end


_OBEY: dict[type[Command], Callable[[RunDriver, Any], None]] = {
    CancelAttempt: RunDriver._cancel_attempt,
    SaveSession: RunDriver._save_session,
    StoreResult: RunDriver._store_result,
    Lookup: RunDriver._lookup,
    AskApproval: RunDriver._ask,
    EndRun: RunDriver._end,
}
