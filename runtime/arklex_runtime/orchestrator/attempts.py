"""The attempts of one run: asked of the dispatcher, begun once that is durable, ended, stopped."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from arklex_api.base import JSON
from arklex_runtime.dispatch.jobs import Error, Grant, Job
from arklex_runtime.engine.commands import CancelAttempt, Start
from arklex_runtime.engine.events import Event, Finished, Interrupted, Lost, Started
from arklex_runtime.engine.program import Program
from arklex_runtime.engine.state import RunState, Status, Unit
from arklex_runtime.engine.step import start
from arklex_runtime.engine.turn import TurnError
from arklex_runtime.engine.units import running_of, start_of
from arklex_runtime.orchestrator.attempt import job_of
from arklex_runtime.orchestrator.batching import Batching

if TYPE_CHECKING:
    from arklex_runtime.orchestrator.host import RunHost


class Attempts(Batching):
    """The part of a run's driver that owns jobs (a JobOwner). ``epoch`` grows with every owner of the run."""

    __slots__ = ("_jobs", "_leaving", "_stopping", "epoch")

    def __init__(self, host: RunHost, program: Program, run_id: str, state: RunState, seq: int, session_id: str | None) -> None:
        super().__init__(host, program, run_id, state, seq, session_id)
        self.epoch = seq
        self._jobs: dict[str, Job] = {}
        self._leaving: set[Job] = set()
        self._stopping = False

    @abstractmethod
    def tell(self, event: Event, job: Job | None = None) -> None:
        """Let an event from outside happen; ``job``: its dispatcher keeps the news until they are durable."""

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

    def _start_again(self, unit: Unit) -> None:
        """After a replay, of an attempt that was asked for, and perhaps sent."""
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

    def _go_on_with(self, unit: Unit) -> None:
        """After a replay, of an attempt that ran: it is lost, or adopted where it runs on."""
        if self.host.dispatcher.remote:
            self._adopt(running_of(unit), started=True)
        else:
            self.deliver(Lost(self.now(), unit.key, unit.attempts))

    def _adopt(self, command: Start, *, started: bool) -> None:
        job = self._jobs[command.unit.key] = job_of(self, command)
        self.host.dispatcher.adopt(job, started=started)

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
            self.host.flusher.mark_soon(self, self._seq)
        else:
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

    def _stop_all(self) -> None:
        for job in self._jobs.values():
            self._stop(job)
        self._jobs.clear()

    def _give_back(self) -> None:
        """Interrupt what runs, for a resume; nothing is charged."""
        for job in list(self._jobs.values()):
            unit = self.state.open.get(job.key)
            if unit is not None and unit.status is Status.RUNNING:
                self.deliver(Interrupted(self.now(), job.key, job.attempt))
            self.host.dispatcher.cancel(job)
        self._jobs.clear()

    def _abandon(self) -> None:
        """Leave what runs to the run's next owner."""
        for job in self._jobs.values():
            self.host.dispatcher.abandon(job)
        self._jobs.clear()

    def _abandon_leaving(self) -> None:
        for job in self._leaving:
            self.host.dispatcher.abandon(job)
        self._leaving.clear()
