"""A tool where a worker is expected: tasks with ``tool`` run like any other."""

from __future__ import annotations

from collections.abc import Awaitable

from arklex_api.base import JSON
from arklex_runtime.tools.registry import ToolRegistry
from arklex_runtime.workers.base import TaskContext


class ToolRunner:
    """A tool as a worker. Its rate limit has been asked already."""

    def __init__(self, registry: ToolRegistry, name: str) -> None:
        self._registry = registry
        self._name = name
        self.blocking = registry.is_blocking(name)

    def execute(self, inputs: JSON, context: TaskContext) -> JSON | Awaitable[JSON]:
        """The tool's output."""
        return self._registry.execute_admitted(self._name, inputs, context)
