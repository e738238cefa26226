"""The interface between dispatch and whatever runs a task."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from arklex_api.base import JSON

if TYPE_CHECKING:
    from arklex_runtime.security.secrets import SecretResolver
    from arklex_runtime.tools.registry import ToolRegistry
    from arklex_runtime.tools.sessions import HttpSessions


@dataclass(slots=True)
class TaskContext:
    """What a handler may know about the attempt it runs (semantics.md, "Kinds of task").

    ``attempt`` starts at 1 and counts lost attempts too. ``idempotency_key`` is the same for every attempt of a task, lost,
    retried or resumed. ``deadline`` is in epoch seconds, None without a timeout. ``session`` is the session as of the task's
    start; writing to it changes nothing (that is what saveState is for). ``tools`` are the tools of the graph.
    """

    run_id: str
    task_name: str
    action: str | None = None
    attempt: int = 1
    idempotency_key: str = ""
    deadline: float | None = None
    session: dict[str, JSON] = field(default_factory=dict)
    logger: Any = None
    tools: ToolRegistry | None = None

    def time_left(self, now: float | None = None) -> float | None:
        """Seconds until the deadline, never negative; None without one. ``now`` is in epoch seconds."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - (time.time() if now is None else now))


@runtime_checkable
class TaskWorker(Protocol):
    """Runs the tasks of one Worker; shared by all of them, so it must be reentrant.

    ``blocking`` says that ``execute`` holds its thread until it returns, so it must not be called in an event loop.
    ``execute`` raises TaskError, or anything else, which counts as a TaskError of type Failed.
    A worker may also have ``clear_cache()``, which gives memory back, and ``async aclose()``, which gives all back.
    """

    @property
    def blocking(self) -> bool:
        """Whether ``execute`` must run on a thread of its own."""
        ...

    def execute(self, inputs: JSON, context: TaskContext) -> JSON | Awaitable[JSON]:
        """The task's output, or what gives it when awaited."""
        ...


@dataclass(slots=True)
class WorkerServices:
    """What workers share, built once by the process that runs them.

    ``http`` gives the guarded aiohttp session of tools (made on first use, closed by its owner). ``clock`` is epoch seconds.
    """

    secrets: SecretResolver
    tools: ToolRegistry | None = None
    http: HttpSessions | None = None
    clock: Callable[[], float] = time.time


class AsyncWorker:
    """Base for workers whose ``execute`` is a coroutine function."""

    blocking: bool = False
