"""Makes the ToolRegistry of a graph from ``spec.tools``."""

from __future__ import annotations

from collections.abc import Sequence

from arklex_api.problems import ManifestError, Problem
from arklex_api.tool import Tool
from arklex_runtime.tools.http import HttpTool
from arklex_runtime.tools.registry import ToolRegistry
from arklex_runtime.workers.base import WorkerServices


def build_tools(tools: Sequence[Tool], services: WorkerServices) -> ToolRegistry:
    """The graph's tools; nothing is connected to yet.

    Raises ManifestError with the problems of every tool: expressions, schemas, secrets that are missing, headers and URLs
    that would be unsafe. ``services.http`` must be given where there are tools.
    """
    registry = ToolRegistry()
    problems: list[Problem] = []
    for index, tool in enumerate(tools):
        try:
            registry.register_tool(tool.name, HttpTool(tool, services, f"spec.tools[{index}]"))
        except ManifestError as error:
            problems.extend(error.problems)
    if problems:
        raise ManifestError(problems)
    return registry
