"""What the door asks of the replica behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from arklex_api.base import JSON
from arklex_runtime.state.records import AttemptLog, RunRow


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asks to run, as the body said; ``key`` is the Idempotency-Key."""

    query: str = ""
    input: JSON = None
    context: dict[str, JSON] | None = None
    session_id: str | None = None
    key: str | None = None


class Desk(Protocol):
    """Answers for every run of the namespaces that it serves, whoever owns it. All that is async may raise
    DatabaseUnavailable; what names a run raises RunNotFound, also for a run of another namespace."""

    async def start(self, namespace: str, graph: str, order: Order) -> tuple[str, str]:
        """Accept a run; its id and phase once that is durable, or those of the run that had the same key.

        Raises GraphNotFoundError, ValidationError for an input that the graph refuses or a key used for something else,
        Overloaded, what the catalogue says of a graph that cannot be run.
        """

    async def wait(self, run_id: str, seconds: float) -> bool:
        """Wait for the end of a run; whether it came in time."""

    async def runs(self, namespace: str, phase: str | None, graph: str | None, limit: int) -> list[RunRow]:
        """Runs, newest first."""

    async def document(self, namespace: str, run_id: str) -> dict[str, Any]:
        """The run's document, of what is durable."""

    async def history(self, namespace: str, run_id: str) -> list[dict[str, Any]]:
        """What happened, in order."""

    async def logs(self, namespace: str, run_id: str) -> list[AttemptLog]:
        """What attempts logged."""

    async def cancel(self, namespace: str, run_id: str, reason: str) -> None:
        """Ask a run to end. Raises RunFinished."""

    async def approve(self, namespace: str, run_id: str, task: str, *, approved: bool, by: str | None, data: JSON) -> None:
        """Decide on an approval. Raises ApprovalNotFound, AlreadyDecided, RunFinished, ValidationError."""
