"""What the engine wants done. The caller does it only after the event that led to it is durable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from arklex_api.base import JSON

if TYPE_CHECKING:
    from arklex_runtime.engine.state import Unit


@dataclass(slots=True)
class Command:
    """Base of all commands."""


@dataclass(slots=True)
class Start(Command):
    """Run attempt ``attempt`` of ``unit``: exactly one of ``worker`` and ``tool`` is set."""

    unit: Unit
    attempt: int
    worker: str | None
    tool: str | None
    action: str | None
    inputs: JSON


@dataclass(slots=True)
class CancelAttempt(Command):
    """Stop the attempt, or forget it if it has not started; whatever it still gives is refused.

    ``reason`` is Timeout for an attempt that ran out of its own time, else None.
    """

    key: str
    attempt: int
    reason: str | None = None


@dataclass(slots=True)
class Lookup(Command):
    """Look for a result under ``cache_key``; answer with CacheHit or CacheMiss."""

    unit: Unit
    cache_key: str


@dataclass(slots=True)
class StoreResult(Command):
    """Keep a result, in the same transaction as the event: ``ttl`` in seconds."""

    cache_key: str
    output: JSON
    ttl: float


@dataclass(slots=True)
class SaveSession(Command):
    """Merge ``patch`` into the session, in the same transaction as the event."""

    patch: dict[str, JSON]


@dataclass(slots=True)
class AskApproval(Command):
    """A person is to decide on the approval named ``key``."""

    unit: Unit
    message: str


@dataclass(slots=True)
class EndRun(Command):
    """The run is over; nothing follows."""

    phase: str
