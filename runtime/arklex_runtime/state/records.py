"""What goes into the journal and what comes out of it: plain records, shared by orchestrator and state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Origin:
    """The objects a run comes from, on a cluster: the UID of its TaskGraph, UID and name of its TaskGraphRun."""

    graph_uid: str | None = None
    object_uid: str | None = None
    object_name: str | None = None


NOWHERE = Origin()


@dataclass(slots=True)
class NewRun:
    """A run at its acceptance; ``bundle`` is the digest of what it runs, stored by content."""

    run_id: str
    graph: str
    namespace: str
    bundle: str
    session_id: str | None
    started_at: float
    origin: Origin = NOWHERE


@dataclass(slots=True)
class EndOfRun:
    """A run's terminal transition; ``graph_uid``: the TaskGraph where it is counted."""

    phase: str
    finished_at: float
    graph_uid: str | None = None
    namespace: str = "default"
    graph: str = ""


@dataclass(slots=True)
class CachePut:
    """A result kept by content until ``expires_at`` (epoch seconds)."""

    key: str
    value: bytes
    expires_at: float


@dataclass(slots=True)
class AttemptLog:
    """What one attempt logged, at most its last 64 KiB, without secrets; ``key`` is the unit's, ``pod`` ran on ``node``."""

    key: str
    attempt: int
    pod: str
    node: str
    text: str


@dataclass(slots=True)
class Batch:
    """All that one turn of one run makes durable: one transaction, or part of a grouped one.

    (run_id, seq) is unique in the journal: a second owner of the run collides there and is fenced off.
    ``events`` is a JSON array. ``session_patches`` are merged shallowly into the session in the same transaction: null
    deletes a key, ``{"$increment": n}`` adds to the old value. ``signals`` are ids of consumed signals, deleted with it.
    """

    run_id: str
    seq: int
    events: bytes
    new_run: NewRun | None = None
    end: EndOfRun | None = None
    session_id: str | None = None
    session_patches: list[dict[str, Any]] = field(default_factory=list)
    cache: list[CachePut] = field(default_factory=list)
    signals: list[int] = field(default_factory=list)
    logs: list[AttemptLog] = field(default_factory=list)


@dataclass(slots=True)
class RunRow:
    """A run as the list of runs shows it. Times are epoch seconds."""

    run_id: str
    graph: str
    namespace: str
    phase: str
    session_id: str | None
    bundle: str
    owner: str | None
    started_at: float
    finished_at: float | None
    graph_uid: str | None = None
    object_uid: str | None = None
    object_name: str | None = None

    @property
    def origin(self) -> Origin:
        """The objects it comes from."""
        return Origin(self.graph_uid, self.object_uid, self.object_name)


@dataclass(slots=True)
class GraphCounts:
    """A TaskGraph's runs: those that are not over, those that ended (forgotten ones too), and the last to start."""

    active: int
    succeeded: int
    failed: int
    last: RunRow | None


@dataclass(slots=True)
class StoredRun:
    """A run with its whole journal: ``events[i]`` is the batch of seq i+1; ``document`` is its bundle's JSON."""

    row: RunRow
    document: bytes
    events: list[bytes]


@dataclass(slots=True)
class Signal:
    """What another process asks of a run: kind ``cancel`` or ``approve``; ``data`` is JSON."""

    id: int
    run_id: str
    kind: str
    data: Any
    at: float
