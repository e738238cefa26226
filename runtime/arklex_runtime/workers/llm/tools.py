"""The graph's tools as function tools of the model."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from pydantic_ai import ModelRetry, Tool

from arklex_api.base import JSON
from arklex_runtime.errors import TaskError
from arklex_runtime.tools.registry import ToolRegistry
from arklex_runtime.workers.base import TaskContext

_ANYTHING: dict[str, JSON] = {"type": "object"}


def function_tools(names: list[str], context: TaskContext) -> list[Tool[None]]:
    """The tools of those names. Raises TaskError InvalidInput for one that the graph does not have."""
    registry = context.tools
    known = registry.tools if registry is not None else {}
    unknown = [name for name in names if name not in known]
    if unknown or registry is None:
        if not names:
            return []
        have = ", ".join(sorted(known)) or "none"
        raise TaskError("InvalidInput", f"with.tools: the graph has no tool {unknown[0]!r} (it has: {have})", retryable=False)
    return [_function_tool(name, registry, context) for name in dict.fromkeys(names)]


def _function_tool(name: str, registry: ToolRegistry, context: TaskContext) -> Tool[None]:
    tool = registry.tools[name]
    schema = getattr(tool, "input_schema", None) or _ANYTHING
    description = getattr(tool, "description", None) or None
    return Tool.from_schema(_caller(name, registry, context), name, description, {"type": "object", **schema})


def _caller(name: str, registry: ToolRegistry, context: TaskContext) -> Callable[..., Coroutine[Any, Any, JSON]]:
    # Which calls a model makes differs from attempt to attempt: the task's idempotency key does not name one of them.
    own = replace(context, idempotency_key="")

    async def call(**arguments: JSON) -> JSON:
        try:
            return await registry.call(name, arguments, own)
        except TaskError as error:
            if error.type == "InvalidInput":
                raise ModelRetry(error.message) from error
            raise

    return call
