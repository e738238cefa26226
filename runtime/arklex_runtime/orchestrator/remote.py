"""The Workbench of a runtime on a cluster: it runs nothing, reads no tenant's Secret, and knows where attempts go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from arklex_api.base import JSON
from arklex_api.problems import ManifestError, Problem
from arklex_runtime.dispatch.jobs import Job
from arklex_runtime.dispatch.streams.routes import Route
from arklex_runtime.engine.program import Program
from arklex_runtime.errors import WorkerNotFoundError
from arklex_runtime.orchestrator.workbench import Workbench
from arklex_runtime.security.secrets import SecretResolver
from arklex_runtime.state.results import ResultCache

if TYPE_CHECKING:
    from arklex_runtime.orchestrator.driver import RunDriver
    from arklex_runtime.tools.registry import ToolRegistry

_Routes = dict[tuple[str, str, bool], Route]


class RemoteBench(Workbench):
    """Routes by (graph, name, is a tool), for each program while it lives; ``route_of`` is what a StreamsDispatcher asks."""

    def __init__(self, cache: ResultCache) -> None:
        super().__init__(SecretResolver(environ={}), cache)
        self._routes: WeakKeyDictionary[Program, _Routes] = WeakKeyDictionary()

    def prepare(self, program: Program) -> None:
        """Find where everything goes. Raises ManifestError for a tool that no Worker calls."""
        if program in self._routes:
            return
        routes: _Routes = {}
        problems: list[Problem] = []
        for graph, plan in program.plans.items():
            tools = {name: tool.model_dump(mode="json", by_alias=True) for name, tool in program.tools[graph].items()}
            for name, worker in program.workers.items():
                routes[graph, name, False] = Route(program.namespace, name, worker.spec.circuit_breaker, list(tools.values()))
            for node in plan.nodes:
                if (tool := node.task.tool) is not None:
                    route = _tool_route(program, graph, tool, tools)
                    if route is None:
                        problems.append(Problem(f"{node.path}.tool", "NoToolWorker", _nobody(program, graph, tool)))
                    else:
                        routes[graph, tool, True] = route
        if problems:
            raise ManifestError(problems)
        self._routes[program] = routes

    def route_of(self, job: Job) -> Route:
        """Where ``job`` goes. Raises WorkerNotFoundError."""
        routes = self._routes[cast("RunDriver", job.owner).program]
        route = routes.get((job.graph, job.tool or job.worker or "", job.tool is not None))
        if route is None:
            raise WorkerNotFoundError(f"Worker not found: {job.tool or job.worker}")
        return route

    def tools_of(self, program: Program, graph: str) -> ToolRegistry | None:
        """Tools are called by pods."""
        return None

    def redact(self, value: JSON) -> JSON:
        """Pods have redacted what they send."""
        return value


def _tool_route(program: Program, graph: str, tool: str, tools: dict[str, dict[str, Any]]) -> Route | None:
    name = program.tool_worker(graph, tool)
    if name is None or tool not in tools:
        return None
    worker = program.workers[name]
    return Route(program.namespace, name, worker.spec.circuit_breaker, [tools[tool]], program.tools[graph][tool].rate_limit)


def _nobody(program: Program, graph: str, tool: str) -> str:
    if tool not in program.tools[graph]:
        return f"there is no tool '{tool}'"
    named = program.tools[graph][tool].worker
    able = [name for name, worker in program.workers.items() if worker.spec.type == "tool"]
    if named is not None:
        return f"tool '{tool}' names the Worker '{named}', which does not exist"
    if able:
        return f"tool '{tool}' could be called by the Workers {', '.join(able)}: name one in spec.tools[].worker"
    return f"nobody can call tool '{tool}': make a Worker of type tool in namespace {program.namespace}"
