"""Tools that a model or a handler calls from within its attempt: their rate limits are shared by everybody through Redis."""

from __future__ import annotations

import asyncio
import inspect
import secrets
import time

from arklex_api.base import JSON
from arklex_runtime.dispatch.streams.link import Line, ReplyError
from arklex_runtime.dispatch.streams.scripts import TAKE
from arklex_runtime.dispatch.streams.wire import Keys
from arklex_runtime.errors import TaskError
from arklex_runtime.tools.registry import ToolRegistry
from arklex_runtime.workers.base import TaskContext

PAUSE = 0.25
"""Seconds before Redis is asked again when it did not answer: a limit never fails open."""


class SharedTools(ToolRegistry):
    """A graph's tools in a pod. Tasks with ``tool`` have asked for their call before they were sent; others ask here."""

    def __init__(self, line: Line, keys: Keys, graph: str) -> None:
        super().__init__()
        self._line = line
        self._keys = keys
        self._graph = graph

    async def call(self, tool_name: str, input_data: JSON, context: TaskContext | None = None) -> JSON:
        """As ToolRegistry.call, under the limit that all pods and runtimes share."""
        limiter = self.rate_limiters.get(tool_name)
        if limiter is not None:
            await self._wait(tool_name, limiter.requests_per_minute, limiter.burst_size, context)
        if self.is_blocking(tool_name):
            result = await asyncio.to_thread(self.execute_admitted, tool_name, input_data, context)
        else:
            result = self.execute_admitted(tool_name, input_data, context)
        return await result if inspect.isawaitable(result) else result

    async def _wait(self, tool_name: str, minute: int, burst: int, context: TaskContext | None) -> None:
        started = time.monotonic()
        while (wait := await self._take(tool_name, minute, burst)) > 0:
            bounds = (context.time_left() if context is not None else None, self._patience(tool_name, started))
            if any(left is not None and left <= wait for left in bounds):
                raise TaskError("RateLimited", f"tool {tool_name!r} is at its rate limit", details={"retryAfter": wait})
            await asyncio.sleep(wait)

    async def _take(self, tool_name: str, minute: int, burst: int) -> float:
        """0.0 where a call was taken, else the seconds to wait."""
        key = self._keys.limits(self._graph, tool_name)
        try:
            (reply,) = await self._line.send(TAKE.call([key], minute, burst, 1, secrets.token_hex(8)))
        except ConnectionError:
            return PAUSE
        if isinstance(reply, ReplyError):
            return PAUSE
        return 0.0 if int(reply[0]) else max(0.001, int(reply[1]) / 1e6)
