"""The guide's TaskGraphEngine and DependencyResolver, over the plan and the pure step."""

from __future__ import annotations

from typing import Any

from arklex_api.base import JSON
from arklex_api.plan import compile_graph
from arklex_api.taskgraph import TaskGraph, TaskGraphSpec
from arklex_runtime.dispatch.pool import TaskExecutor
from arklex_runtime.orchestrator.context import ExecutionContext
from arklex_runtime.orchestrator.orchestrator import Orchestrator
from arklex_runtime.orchestrator.sources import GraphSource, manifests_of


class DependencyResolver:
    """Puts tasks in an order in which each comes after all that it depends on (guide, "Task Graph Engine")."""

    def resolve(self, task_graph: TaskGraph | TaskGraphSpec | dict[str, Any]) -> list[str]:
        """Names of the graph's tasks, topologically sorted, by level. Raises ManifestError naming cycles and unknown tasks."""
        return [name for layer in self.layers(task_graph) for name in layer]

    def layers(self, task_graph: TaskGraph | TaskGraphSpec | dict[str, Any]) -> list[list[str]]:
        """The same, level by level: the tasks of a level do not depend on each other and may run in parallel."""
        if isinstance(task_graph, dict):
            parsed = manifests_of(task_graph)
            if not isinstance(parsed, TaskGraph):
                raise TypeError("a dict must hold one TaskGraph")
            task_graph = parsed
        spec = task_graph.spec if isinstance(task_graph, TaskGraph) else task_graph
        return [[node.name for node in layer] for layer in compile_graph(spec).layers()]


class TaskGraphEngine:
    """Executes one graph over the workers of its executor's pool and gives the tasks' outputs (guide, "Task Graph Engine").

    ``execution_plan`` holds the last graph's layers by graph name.
    """

    def __init__(self, executor: TaskExecutor | None = None) -> None:
        self.execution_plan: dict[str, list[list[str]]] = {}
        self.dependency_resolver = DependencyResolver()
        self.executor = executor or TaskExecutor()

    def execute(self, task_graph: GraphSource, context: ExecutionContext | None = None) -> dict[str, JSON]:
        """Outputs by task name, of the tasks that succeeded. Raises RunFailed if the graph did not."""
        with self._orchestrator(task_graph) as orchestrator:
            given = context or ExecutionContext()
            options: dict[str, Any] = {"input": given.input, "session_id": given.session_id, "check": True}
            return orchestrator.run(task_graph, given.query, given.context, **options).results

    async def aexecute(self, task_graph: GraphSource, context: ExecutionContext | None = None) -> dict[str, JSON]:
        """``execute``, inside a running event loop."""
        given = context or ExecutionContext()
        async with self._orchestrator(task_graph) as orchestrator:
            result = await orchestrator.arun(
                task_graph, given.query, given.context, input=given.input, session_id=given.session_id, check=True
            )
            return result.results

    def _orchestrator(self, task_graph: GraphSource) -> Orchestrator:
        parsed = manifests_of(task_graph)
        if isinstance(parsed, TaskGraph):
            self.execution_plan[parsed.metadata.name] = self.dependency_resolver.layers(parsed)
        pool = self.executor.pool
        orchestrator = Orchestrator(max_workers=pool.max_workers)
        for name, worker in pool.workers.items():
            orchestrator.add_worker(name, worker)
        return orchestrator
