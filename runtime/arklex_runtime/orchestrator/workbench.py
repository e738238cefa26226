"""The workers and tools that this process has at hand, by the programs that name them."""

from __future__ import annotations

import gc
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, cast

import orjson

from arklex_api.base import JSON
from arklex_runtime.dispatch.breaker import Breaker
from arklex_runtime.dispatch.jobs import Job
from arklex_runtime.dispatch.local import Lane
from arklex_runtime.engine.program import Program
from arklex_runtime.errors import ToolNotFoundError, WorkerNotFoundError
from arklex_runtime.orchestrator.clock import SteadyClock
from arklex_runtime.security.redaction import Redactor
from arklex_runtime.security.secrets import SecretResolver
from arklex_runtime.state.results import ResultCache
from arklex_runtime.tools.registry import ToolRegistry
from arklex_runtime.tools.runner import ToolRunner
from arklex_runtime.workers.base import TaskWorker, WorkerServices
from arklex_runtime.workers.build import build_worker
from arklex_runtime.workers.imports import handler_path

if TYPE_CHECKING:
    from arklex_runtime.orchestrator.driver import RunDriver
    from arklex_runtime.tools.sessions import HttpSessions

LARGE = 2000
"""Tasks from which on a compiled graph is kept from the garbage collector.

It lives as long as its runs and holds a hundred objects a task: looking through them took 40 % of a run of 10,000 tasks.
"""

TOOL_CALLS = 1000
"""Calls of one tool at once; a graph's maxParallel and the tool's rate limit bound them before that."""


class Workbench:
    """Lanes and tool registries, made once for each Worker or set of tools and shared by all runs that name them.

    ``given`` are workers registered from Python, by name; ``tools`` the tools registered so.
    """

    def __init__(
        self,
        secrets: SecretResolver,
        cache: ResultCache,
        given: dict[str, TaskWorker] | None = None,
        tools: ToolRegistry | None = None,
    ) -> None:
        self.secrets = secrets
        self.clock = SteadyClock()
        self.cache = cache
        self._given = given or {}
        self._python_tools = tools
        self.redactor = Redactor()
        self._http: HttpSessions | None = None
        self._importable = ExitStack()
        self._paths: set[tuple[str, ...]] = set()
        self.log = logging.getLogger("arklex.task")
        self._lanes: dict[tuple[str, bytes], Lane] = {}
        self._registries: dict[tuple[str, bytes], ToolRegistry] = {}
        self._by_program: dict[str, tuple[dict[str, Lane], dict[str, ToolRegistry], dict[tuple[str, str], Lane]]] = {}

    def redact(self, value: JSON) -> JSON:
        """``value`` without the values of secrets; the very object where it holds none."""
        return self.redactor.json(value)

    def prepare(self, program: Program) -> None:
        """Build all that ``program`` names. Raises ManifestError, ToolNotFoundError: nothing has run then."""
        if program.digest in self._by_program:
            return
        if program.folders not in self._paths:
            self._paths.add(program.folders)
            self._importable.enter_context(handler_path((*program.folders, Path.cwd())))
        registries = {name: self._registry(program, name) for name in program.graphs}
        calls: dict[tuple[str, str], Lane] = {}
        for graph, plan in program.plans.items():
            for node in plan.nodes:
                if node.task.tool is not None and (graph, node.task.tool) not in calls:
                    if node.task.tool not in registries[graph].tools:
                        raise ToolNotFoundError(f"{node.path}.tool: there is no tool '{node.task.tool}'")
                    calls[graph, node.task.tool] = Lane(ToolRunner(registries[graph], node.task.tool), TOOL_CALLS)
        lanes = {name: self._lane(program, name) for name in program.workers if name in program.task_workers}
        self._by_program[program.digest] = (lanes, registries, calls)
        self.redactor = Redactor(self.secrets.all_values())
        if sum(len(plan.nodes) for plan in program.plans.values()) >= LARGE:
            gc.collect()
            gc.freeze()

    def _services(self) -> WorkerServices:
        """Made when first needed: aiohttp takes a while to import, and many graphs call no tool."""
        from arklex_runtime.tools.sessions import HttpSessions

        if self._http is None:
            self._http = HttpSessions()
        return WorkerServices(self.secrets, None, self._http, self.clock)

    def _lane(self, program: Program, name: str) -> Lane:
        worker = program.workers[name]
        key = (name, orjson.dumps(worker.spec.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS))
        if key not in self._lanes:
            built = self._given.get(name) or build_worker(
                worker, self._services() if worker.spec.type != "custom" else WorkerServices(self.secrets)
            )
            breaker = Breaker(worker.spec.circuit_breaker) if worker.spec.circuit_breaker else None
            self._lanes[key] = Lane(built, worker.spec.concurrency, breaker)
        return self._lanes[key]

    def _registry(self, program: Program, graph: str) -> ToolRegistry:
        tools = program.tools[graph]
        key = (
            graph,
            orjson.dumps({name: tool.model_dump(mode="json") for name, tool in tools.items()}, option=orjson.OPT_SORT_KEYS),
        )
        if key not in self._registries:
            registry = ToolRegistry()
            if tools:
                from arklex_runtime.tools.build import build_tools

                registry = build_tools(program.graphs[graph].spec.tools, self._services())
            for name, instance in (self._python_tools.tools if self._python_tools else {}).items():
                if name not in tools:
                    registry.register_tool(name, instance)
            self._registries[key] = registry
        return self._registries[key]

    def lane_of(self, job: Job) -> Lane:
        """Where ``job`` gets its slot. Raises WorkerNotFoundError."""
        lanes, _, calls = self._by_program[cast("RunDriver", job.owner).program.digest]
        if job.tool is not None:
            return calls[job.graph, job.tool]
        lane = lanes.get(job.worker or "")
        if lane is None:
            raise WorkerNotFoundError(f"Worker not found: {job.worker}")
        return lane

    def tools_of(self, program: Program, graph: str) -> ToolRegistry | None:
        """The tools of ``graph``, where they are called in this process."""
        return self._by_program[program.digest][1][graph]

    def reserve(self, job: Job) -> float:
        """Take one call of the tool's rate limit: 0, or the seconds to wait."""
        registry = self.tools_of(cast("RunDriver", job.owner).program, job.graph)
        return registry.admit(job.tool or "") if registry is not None else 0.0

    def clear_caches(self) -> None:
        """Give memory back: the result cache's first level and what workers and tools keep (MemoryManager)."""
        self.cache.clear()
        for holder in (*(lane.worker for lane in self._lanes.values()), *self._registries.values()):
            clear = getattr(holder, "clear_cache", None)
            if callable(clear):
                clear()

    async def aclose(self) -> None:
        """Close workers, tools and connections."""
        for holder in (*(lane.worker for lane in self._lanes.values()), *self._registries.values()):
            close = getattr(holder, "aclose", None)
            if callable(close):
                await close()
        await self.cache.aclose()
        self._importable.close()
        if self._http is not None:
            await self._http.aclose()
