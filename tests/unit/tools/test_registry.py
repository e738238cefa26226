"""The tool registry: by name, at its rate."""

from __future__ import annotations

import time
from typing import Any

import pytest

from arklex_api.tool import RateLimit
from arklex_runtime.errors import RateLimitExceeded, TaskError, ToolNotFoundError
from arklex_runtime.tools.registry import ToolRegistry
from arklex_runtime.workers import TaskContext


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Echo:
    def __init__(self, rate_limit: Any = None) -> None:
        if rate_limit is not None:
            self.rate_limit = rate_limit
        self.cleared = self.closed = 0

    def execute(self, input_data: Any) -> Any:
        return {"echo": input_data}

    def clear_cache(self) -> None:
        self.cleared += 1

    async def aclose(self) -> None:
        self.closed += 1


class AsyncEcho:
    async def execute(self, input_data: Any, context: TaskContext | None = None) -> Any:
        return [input_data, context.run_id if context else None]


async def test_tools_are_called_by_name_sync_or_async_with_the_context_they_want() -> None:
    registry = ToolRegistry()
    registry.register_tool("echo", Echo())
    registry.register_tool("later", AsyncEcho())
    assert registry.execute_tool("echo", 1) == {"echo": 1}
    assert await registry.execute_tool("later", 1) == [1, None]
    context = TaskContext("r", "t")
    assert await registry.call("echo", 2, context) == {"echo": 2}
    assert await registry.call("later", 2, context) == [2, "r"]
    assert registry.is_blocking("echo") and not registry.is_blocking("later")


async def test_an_unknown_tool_is_named_with_those_there_are() -> None:
    registry = ToolRegistry()
    registry.register_tool("echo", Echo())
    for act in (registry.execute_tool, registry.execute_admitted):
        with pytest.raises(ToolNotFoundError, match=r"Tool not found: ecko \(there is: echo\)"):
            act("ecko", {})
    with pytest.raises(ToolNotFoundError):
        await registry.call("ecko", {})


@pytest.mark.parametrize("limit", [2, RateLimit(requests_per_minute=2)])
def test_each_tool_has_its_own_rate(limit: Any) -> None:
    clock = Clock()
    registry = ToolRegistry(clock)
    registry.register_tool("slow", Echo(limit))
    registry.register_tool("free", Echo())
    registry.execute_tool("slow", 1)
    assert registry.admit("slow") == 0.0
    with pytest.raises(RateLimitExceeded) as caught:
        registry.execute_tool("slow", 1)
    assert caught.value.retry_after == 60.0 and registry.admit("slow") == 60.0 and registry.admit("free") == 0.0
    clock.now += 60
    assert registry.execute_tool("slow", 1)


async def test_waiting_for_the_rate_ends_at_the_deadline() -> None:
    registry = ToolRegistry()
    registry.register_tool("slow", Echo(1))
    await registry.call("slow", 1)
    with pytest.raises(TaskError) as caught:
        await registry.call("slow", 1, TaskContext("r", "t", deadline=time.time() + 5))
    assert caught.value.type == "RateLimited" and caught.value.details
    quick = Echo(RateLimit(requests_per_minute=100, burst=1))
    registry.register_tool("quick", quick)
    assert [await registry.call("quick", number) for number in (1, 2)] == [{"echo": 1}, {"echo": 2}]


async def test_housekeeping_reaches_every_tool() -> None:
    registry, echo = ToolRegistry(), Echo()
    registry.register_tool("echo", echo)
    registry.register_tool("later", AsyncEcho())
    registry.clear_cache()
    await registry.aclose()
    assert (echo.cleared, echo.closed) == (1, 1)
