"""One attempt on its way through a dispatcher."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from arklex_api.base import JSON
from arklex_runtime.workers.base import TaskContext

Error = dict[str, Any]


class Grant(Enum):
    """A dispatcher's answer to a job: it may start, it has to wait, or it cannot run here now."""

    GRANTED = 1
    QUEUED = 2
    REFUSED = 3


class JobOwner(Protocol):
    """Who asked for the job. Called in the event loop only."""

    def granted(self, job: Job) -> None:
        """A queued job has a slot now: launch it once its start is durable."""
        ...

    def finished(self, job: Job, output: JSON, size: int, error: Error | None) -> None:
        """The job ended; never called for a cancelled one. ``size`` is the output's JSON in bytes."""
        ...


@dataclass(slots=True, eq=False)
class Job:
    """One attempt: exactly one of ``worker`` and ``tool`` is set; ``graph`` is where the tool is defined."""

    owner: JobOwner
    key: str
    attempt: int
    worker: str | None
    tool: str | None
    graph: str
    inputs: JSON
    context: TaskContext
    timeout: float | None = None
    cancelled: bool = False
    launched: bool = False
    has_slot: bool = False
    lane: Any = None
    handle: Any = None
    refusal: Error | None = None
