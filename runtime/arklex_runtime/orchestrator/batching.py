"""Events into the engine, what they bring into the journal in batches, and what has to wait until that is durable."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any

from arklex_api.base import JSON
from arklex_runtime.engine.commands import Command
from arklex_runtime.engine.events import Event
from arklex_runtime.engine.program import Program
from arklex_runtime.engine.state import RunState
from arklex_runtime.engine.step import step, write_batch
from arklex_runtime.state.records import Batch

if TYPE_CHECKING:
    from arklex_runtime.orchestrator.host import RunHost


class Batching(ABC):
    """The part of a run's driver that journals.

    ``committed`` is the seq of the last batch that is durable: 0 until the run is accepted. ``state`` may be ahead of it.
    ``broken`` is what broke the run off. ``_after`` are calls to make once the next batch is durable: (function, argument …).
    """

    __slots__ = (
        "_after",
        "_ahead",
        "_batch",
        "_dirty",
        "_lingers",
        "_records",
        "_seq",
        "_session_id",
        "broken",
        "committed",
        "host",
        "program",
        "run_id",
        "state",
    )

    def __init__(self, host: RunHost, program: Program, run_id: str, state: RunState, seq: int, session_id: str | None) -> None:
        self.host = host
        self.program = program
        self.run_id = run_id
        self.state = state
        self.broken: BaseException | None = None
        self.committed = seq - 1
        self._seq = seq
        self._session_id = session_id
        self._records: list[tuple[list[JSON], dict[str, JSON]]] = []
        self._after: list[tuple[Any, ...]] = []
        self._batch = Batch(run_id, seq, b"", session_id=session_id)
        self._dirty = False
        self._lingers = False
        self._ahead = max(0.0, state.now - host.now())

    def now(self) -> float:
        """Epoch seconds, never before what the journal has: an earlier owner's clock may have been ahead of ours."""
        return self.host.now() + self._ahead

    @property
    def latest(self) -> int:
        """The seq of the batch that holds the last of what ``state`` shows; durable once ``committed`` is there."""
        return self._seq if self._records or self._batch.signals else self._seq - 1

    @abstractmethod
    def break_off(self, error: BaseException) -> None:
        """End the run here; a resume goes on from what is durable."""

    @abstractmethod
    def arm(self) -> None:
        """See to it that the run is woken when something is due."""

    @abstractmethod
    def _obey(self, command: Command) -> None:
        """Do what the engine asks."""

    @abstractmethod
    def _abandon_leaving(self) -> None:
        """What was to be stopped once that was durable is the next owner's."""

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
        self.host.flusher.mark(self)

    def settle(self, seq: int) -> None:
        """Journal what has waited for company, unless batch ``seq``, in which it was to be, took it along."""
        if self._lingers and not self._dirty and self._seq == seq:
            self._mark()

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
        self._batch = Batch(self.run_id, self._seq, b"", session_id=self._session_id)
        self.host.journal.submit(batch, partial(self._committed, after))
        self.arm()

    def _committed(self, after: list[tuple[Any, ...]], error: BaseException | None) -> None:
        if error is not None:
            self._abandon_leaving()
            self.break_off(error)
            return
        self.committed += 1
        for call in after:
            call[0](*call[1:])
