"""What middleware sees of a run before it is accepted, and what a finished run gives back (the guide's names)."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Protocol

from arklex_api.base import JSON


@dataclass(slots=True)
class ExecutionContext:
    """One accepted-to-be run: what its expressions will see as query, context, input and session.

    ``metadata`` is for middleware among themselves; nothing of it reaches the run.
    """

    query: str = ""
    context: dict[str, JSON] = field(default_factory=dict)
    input: JSON = None
    session_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.query = self.query or ""
        self.context = dict(self.context or {})


class Middleware(Protocol):
    """Looks at, changes or refuses a run: once per accepted run, not on resume. An exception refuses the run."""

    def process(self, context: ExecutionContext) -> ExecutionContext | Awaitable[ExecutionContext]:
        """The context to go on with."""
        ...


async def apply(middleware: list[Middleware], context: ExecutionContext) -> ExecutionContext:
    """``context`` after each middleware in turn. Raises what they raise, and TypeError for one that returns something else."""
    for one in middleware:
        found = one.process(context)
        context = await found if inspect.isawaitable(found) else found
        if not isinstance(context, ExecutionContext):
            raise TypeError(
                f"middleware {type(one).__name__}.process must return an ExecutionContext, not {type(context).__name__}"
            )
    return context


class RunResult(dict[str, Any]):
    """The run's JSON document, with its main fields as attributes."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        return str(self["run"])

    @property
    def phase(self) -> str:
        """Succeeded, Failed or Cancelled."""
        return str(self["phase"])

    @property
    def ok(self) -> bool:
        """Whether the run succeeded."""
        return self.phase == "Succeeded"

    @property
    def output(self) -> JSON:
        """The graph's output; None if it has none or the run did not succeed."""
        return self["output"]

    @property
    def error(self) -> dict[str, Any] | None:
        """``{type, message, retryable, details}`` of a run that did not succeed."""
        error: dict[str, Any] | None = self["error"]
        return error

    @property
    def results(self) -> dict[str, JSON]:
        """The outputs of the tasks that succeeded, by name."""
        return {name: task["output"] for name, task in self["tasks"].items() if task["phase"] == "Succeeded"}


class RunFailed(Exception):
    """A run that failed or was cancelled, for callers who asked for an exception; ``result`` is its document."""

    def __init__(self, result: RunResult) -> None:
        super().__init__(f"run {result.run_id} {result.phase.lower()}: {(result.error or {}).get('message', '')}")
        self.result = result
