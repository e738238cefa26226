"""What this room asks of the replica it runs in (the service implements it): runs, the journal, and who else is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from arklex_api.base import JSON
from arklex_runtime.engine.events import Event
from arklex_runtime.engine.program import Program
from arklex_runtime.engine.state import RunState
from arklex_runtime.orchestrator.requests import Request


@dataclass(frozen=True, slots=True)
class Origin:
    """The objects a run comes from, by UID: its TaskGraph, and its TaskGraphRun (None for a run started over HTTP)."""

    graph_uid: str | None = None
    object_uid: str | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the journal has it. Times are epoch seconds."""

    run_id: str
    namespace: str
    graph: str
    phase: str
    graph_uid: str | None
    object_uid: str | None
    started_at: float
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class GraphSummary:
    """A TaskGraph's runs: how many, and the one that was started last. Forgotten runs are counted still."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0
    last: RunRecord | None = None


@dataclass(frozen=True, slots=True)
class OwnedRun:
    """A run that this replica owns."""

    run_id: str
    namespace: str
    graph: str
    origin: Origin


Listener = Callable[[OwnedRun, RunState, Event], None]
"""Told of what happened once it is durable, in the event loop; must be quick and must not raise."""


class Replica(Protocol):
    """One replica of the runtime. All that is async may raise DatabaseUnavailable."""

    def now(self) -> float:
        """Epoch seconds."""

    def rank(self, key: str) -> int:
        """This replica's place among the living ones for ``key`` (rendezvous hashing): 0 acts, the others wait."""

    @property
    def replicas(self) -> int:
        """Living replicas, this one included."""

    @property
    def room(self) -> int:
        """How many more runs this replica takes now."""

    def listen(self, listener: Listener) -> None:
        """Tell ``listener`` of every durable event of every run that this replica owns, the last one included."""

    def state(self, run_id: str) -> RunState | None:
        """The state of a run that this replica owns now. It may be ahead of what is durable."""

    async def start(self, program: Program, request: Request, origin: Origin) -> str:
        """Accept a run, durably; returns its id. Raises ConflictError when ``request.run_id`` is taken, ValidationError for a
        bad input, ArklexError for what cannot be built, Overloaded when this replica takes no more."""

    async def fold(self, run_id: str) -> RunState:
        """The state of any run, folded from the journal. Raises RunNotFound."""

    async def cancel(self, run_id: str, reason: str, key: str) -> None:
        """Ask a run to end, wherever it runs; done again with the same ``key`` it changes nothing. A run that is over or
        unknown is left as it is."""

    async def approve(self, run_id: str, task: str, *, approved: bool, by: str | None, data: JSON) -> None:
        """Decide on an approval. Raises as RunHost.approve does."""

    async def records(self, *, object_uids: Sequence[str] = (), run_ids: Sequence[str] = ()) -> list[RunRecord]:
        """The runs of these TaskGraphRuns, and those with these ids, as far as they exist."""

    async def unfinished(self, namespaces: Sequence[str]) -> list[RunRecord]:
        """All runs that are not over, of these namespaces or (empty) of all."""

    async def summary(self, namespace: str, graph: str, graph_uid: str) -> GraphSummary:
        """Counts and last run of a TaskGraph."""

    async def counted(self) -> list[tuple[str, str, str]]:
        """(UID, namespace, name) of the TaskGraphs of whose runs only the counts are left."""

    async def forget(self, graph_uid: str) -> None:
        """Forget the counts of a TaskGraph that is gone."""

    async def lease(self, uid: str) -> bool:
        """Become, or stay, the one writer of this object's status for some seconds; False while another replica is."""

    async def give_up(self, uid: str) -> None:
        """Let another replica write it."""
