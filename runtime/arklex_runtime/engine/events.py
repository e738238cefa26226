"""What happens to a run, as the engine is told. Every event is journaled before anything that follows from it is done.

Times (``at``) are epoch seconds from the caller's clock, never read here. ``encode`` gives the journal's form, a JSON array
whose first item is the event's tag; ``decode`` reads it back. Tags and positions are part of the journal's format: add at
the end only (semantics.md, "Version skew").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from arklex_api.base import JSON

Error = dict[str, Any]
"""``{type, message, retryable, details}``; see semantics.md, "Failure"."""


@dataclass(slots=True)
class Event:
    """Base of all events."""

    tag: ClassVar[str] = ""
    at: float

    def encode(self) -> list[JSON]:
        """The journal's form."""
        return [self.tag, self.at]


@dataclass(slots=True)
class Accepted(Event):
    """The run begins, with what it was given; ``session`` is the session's data at acceptance.

    ``reuse`` holds outputs of an earlier run, by task: those tasks have succeeded without running (``arklex retry``).
    """

    tag: ClassVar[str] = "accepted"
    run_id: str
    query: str
    input: JSON
    context: dict[str, JSON]
    session: dict[str, JSON]
    reuse: dict[str, JSON] | None = None

    def encode(self) -> list[JSON]:
        """The journal's form."""
        given = [self.tag, self.at, self.run_id, self.query, self.input, self.context, self.session]
        return [*given, self.reuse] if self.reuse else given


@dataclass(slots=True)
class Started(Event):
    """An attempt has a slot and runs."""

    tag: ClassVar[str] = "started"
    key: str
    attempt: int

    def encode(self) -> list[JSON]:
        """The journal's form."""
        return [self.tag, self.at, self.key, self.attempt]


@dataclass(slots=True)
class Finished(Event):
    """An attempt gave ``output`` or, if ``error`` is set, failed. ``size``: its bytes of JSON; ``jitter`` in [0, 1)."""

    tag: ClassVar[str] = "finished"
    key: str
    attempt: int
    output: JSON = None
    error: Error | None = None
    size: int = 0
    jitter: float = 0.5

    def encode(self) -> list[JSON]:
        """The journal's form."""
        if self.error is None:
            given = [self.tag, self.at, self.key, self.attempt, self.output, None, self.size]
            return given if self.jitter == 0.5 else [*given, self.jitter]
        return [self.tag, self.at, self.key, self.attempt, None, self.error, 0, self.jitter]


@dataclass(slots=True)
class Lost(Event):
    """The process that ran the attempt died, in ``pod`` if it ran in one: charged to ``retry.lostLimit``."""

    tag: ClassVar[str] = "lost"
    key: str
    attempt: int
    pod: str = ""

    def encode(self) -> list[JSON]:
        """The journal's form."""
        given = [self.tag, self.at, self.key, self.attempt]
        return [*given, self.pod] if self.pod else given


@dataclass(slots=True)
class Interrupted(Event):
    """The attempt was given back at a shutdown, of ``pod`` if it ran in one: it runs again and nothing is charged."""

    tag: ClassVar[str] = "interrupted"
    key: str
    attempt: int
    pod: str = ""

    def encode(self) -> list[JSON]:
        """The journal's form."""
        given = [self.tag, self.at, self.key, self.attempt]
        return [*given, self.pod] if self.pod else given


@dataclass(slots=True)
class CacheHit(Event):
    """A lookup found a result that is still fresh."""

    tag: ClassVar[str] = "cachehit"
    key: str
    output: JSON

    def encode(self) -> list[JSON]:
        """The journal's form."""
        return [self.tag, self.at, self.key, self.output]


@dataclass(slots=True)
class CacheMiss(Event):
    """A lookup found nothing: the task runs."""

    tag: ClassVar[str] = "cachemiss"
    key: str

    def encode(self) -> list[JSON]:
        """The journal's form."""
        return [self.tag, self.at, self.key]


@dataclass(slots=True)
class Decided(Event):
    """A person answered an approval."""

    tag: ClassVar[str] = "decided"
    key: str
    approved: bool
    by: str | None = None
    data: JSON = None

    def encode(self) -> list[JSON]:
        """The journal's form."""
        return [self.tag, self.at, self.key, self.approved, self.by, self.data]


@dataclass(slots=True)
class CancelRequested(Event):
    """Someone wants the run to end; a second one ends its finally tasks too."""

    tag: ClassVar[str] = "cancel"
    reason: str = "cancelled"

    def encode(self) -> list[JSON]:
        """The journal's form."""
        return [self.tag, self.at, self.reason]


@dataclass(slots=True)
class Tick(Event):
    """Time has come to ``at``: whatever is due by then happens. ``jitter`` in [0, 1)."""

    tag: ClassVar[str] = "tick"
    jitter: float = 0.5

    def encode(self) -> list[JSON]:
        """The journal's form."""
        return [self.tag, self.at, self.jitter]


@dataclass(slots=True)
class SessionRead(Event):
    """The shared session as it is now, others' changes included; tasks that start later see it."""

    tag: ClassVar[str] = "session"
    data: dict[str, JSON]

    def encode(self) -> list[JSON]:
        """The journal's form."""
        return [self.tag, self.at, self.data]


_KINDS: dict[str, type[Event]] = {
    kind.tag: kind
    for kind in (
        Accepted,
        Started,
        Finished,
        Lost,
        Interrupted,
        CacheHit,
        CacheMiss,
        Decided,
        CancelRequested,
        Tick,
        SessionRead,
    )
}


def decode(record: list[JSON]) -> Event | None:
    """The event that ``record`` is, or None for a record that is not an event (an owner's claim)."""
    kind = _KINDS.get(record[0])
    return kind(*record[1:]) if kind else None
