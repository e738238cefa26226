"""The guide's ToolRegistry: tools by name, each with a rate limit of its own."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, runtime_checkable

from arklex_api.base import JSON
from arklex_api.tool import RateLimit
from arklex_runtime.errors import TaskError, ToolNotFoundError
from arklex_runtime.security.limits import RateLimiter
from arklex_runtime.workers.base import TaskContext
from arklex_runtime.workers.custom import CustomWorker


@runtime_checkable
class ToolInstance(Protocol):
    """A tool: an object with ``execute``, sync or async, which takes the input and, if it wants it, the TaskContext.

    A function of that kind is a tool too. It may have ``description`` and ``input_schema`` (what a model is told),
    ``rate_limit`` (requests per minute, a RateLimit or a RateLimiter), ``clear_cache()`` and ``async aclose()``.
    """

    @property
    def execute(self) -> Callable[..., Any]:
        """Runs the tool: ``execute(input)`` or ``execute(input, context)``, sync or async."""
        ...


class ToolRegistry:
    """The tools of one graph. Registering is for set-up; calling is safe in threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is the rate limiters' (monotonic seconds)."""
        self.tools: dict[str, Any] = {}
        self.rate_limiters: dict[str, RateLimiter] = {}
        self._workers: dict[str, CustomWorker] = {}
        self._clock = clock

    def register_tool(self, tool_name: str, tool_instance: ToolInstance | Callable[..., Any]) -> None:
        """Makes ``tool_instance`` callable as ``tool_name``, in place of what had that name. Raises HandlerError."""
        self._workers[tool_name] = CustomWorker(tool_instance, f"of tool {tool_name!r}")
        self.tools[tool_name] = tool_instance
        limit = getattr(tool_instance, "rate_limit", None)
        self.rate_limiters.pop(tool_name, None)
        if limit is not None:
            self.rate_limiters[tool_name] = self._limiter(limit)

    def execute_tool(self, tool_name: str, input_data: JSON, context: TaskContext | None = None) -> JSON | Awaitable[JSON]:
        """What the tool's ``execute`` returns: its output, or what gives it when awaited.

        Raises ToolNotFoundError, RateLimitExceeded, and what the tool raises.
        """
        self._known(tool_name)
        limiter = self.rate_limiters.get(tool_name)
        if limiter is not None:
            limiter.acquire()
        return self.execute_admitted(tool_name, input_data, context)

    def admit(self, tool_name: str) -> float:
        """Takes one call of the tool's rate limit: 0.0, or the seconds to wait before asking again (nothing was taken)."""
        self._known(tool_name)
        limiter = self.rate_limiters.get(tool_name)
        return 0.0 if limiter is None else limiter.try_acquire()

    def execute_admitted(self, tool_name: str, input_data: JSON, context: TaskContext | None = None) -> JSON | Awaitable[JSON]:
        """As ``execute_tool``, after an ``admit`` that gave 0.0."""
        self._known(tool_name)
        return self._workers[tool_name].execute(input_data, context)

    def is_blocking(self, tool_name: str) -> bool:
        """Whether the tool's ``execute`` must run on a thread."""
        self._known(tool_name)
        return self._workers[tool_name].blocking

    async def call(self, tool_name: str, input_data: JSON, context: TaskContext | None = None) -> JSON:
        """The tool's output, sync tools on a thread; waits at the rate limit, at most the tool's ``timeout`` (seconds) and
        not past the context's deadline.

        Raises ToolNotFoundError, TaskError RateLimited, and what the tool raises.
        """
        started = self._clock()
        while (wait := self.admit(tool_name)) > 0:
            bounds = (context.time_left() if context is not None else None, self._patience(tool_name, started))
            if any(left is not None and left <= wait for left in bounds):
                raise TaskError("RateLimited", f"tool {tool_name!r} is at its rate limit", details={"retryAfter": wait})
            await asyncio.sleep(wait)
        if self.is_blocking(tool_name):
            result = await asyncio.to_thread(self.execute_admitted, tool_name, input_data, context)
        else:
            result = self.execute_admitted(tool_name, input_data, context)
        return await result if inspect.isawaitable(result) else result

    def clear_cache(self) -> None:
        """Clears the caches of all tools that have one."""
        for tool in self.tools.values():
            clear = getattr(tool, "clear_cache", None)
            if callable(clear):
                clear()

    async def aclose(self) -> None:
        """Closes all tools that can be closed."""
        for tool in self.tools.values():
            close = getattr(tool, "aclose", None)
            if callable(close):
                await close()

    def _patience(self, tool_name: str, started: float) -> float | None:
        timeout = getattr(self.tools[tool_name], "timeout", None)
        return None if timeout is None else timeout - (self._clock() - started)

    def _known(self, tool_name: str) -> None:
        if tool_name not in self.tools:
            have = ", ".join(sorted(self.tools)) or "none"
            raise ToolNotFoundError(f"Tool not found: {tool_name} (there is: {have})")

    def _limiter(self, limit: RateLimiter | RateLimit | int) -> RateLimiter:
        if isinstance(limit, RateLimiter):
            return limit
        if isinstance(limit, RateLimit):
            return RateLimiter(limit.requests_per_minute, limit.burst, clock=self._clock)
        return RateLimiter(limit, clock=self._clock)
