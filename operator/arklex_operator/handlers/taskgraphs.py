"""TaskGraphs: judged, run by version and by schedule, told about. What is decided is decided in ``reconcile/taskgraph*.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from arklex_operator.cluster.errors import ApiError
from arklex_operator.cluster.execute import execute
from arklex_operator.cluster.hub import GONE, Hub
from arklex_operator.cluster.store import Key, key_of
from arklex_operator.manifests.kinds import TASK_GRAPH, TASK_GRAPH_RUN, WORKER, Object
from arklex_operator.reconcile.plan import Plan, Say
from arklex_operator.reconcile.taskgraph import reconcile
from arklex_operator.reconcile.taskgraph_judge import Neighbours, workers_of
from arklex_operator.reconcile.taskgraph_keep import Graphs, Runs, Workers
from arklex_operator.reconcile.taskgraph_read import GraphFacts


def task_graphs(hub: Hub) -> None:
    """Set the controller up."""
    hub.run(TaskGraphs(hub))


class TaskGraphs:
    """The reconciler of TaskGraphs. ``now`` is the wall clock, UTC."""

    kind = TASK_GRAPH.name

    def __init__(self, hub: Hub, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._hub = hub
        self._now = now
        self._graphs, self._runs, self._workers = Graphs(), Runs(), Workers()
        self._graph_shelf = hub.watch(TASK_GRAPH, self._graph_changed, trim=self._graphs.keep)
        self._run_shelf = hub.watch(TASK_GRAPH_RUN, self._run_changed, trim=self._runs.keep)
        self._worker_shelf = hub.watch(WORKER, self._worker_changed)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Bring one TaskGraph there. A run that the API server refuses holds back no condition. Raises ApiError."""
        about, graph = self._graph_shelf.get(namespace, name), self._graphs.get(namespace, name)
        if about is None or graph is None:
            return GONE
        plan = self._plan(graph)
        if plan.creates and not await self._is_newest(about):
            return None
        try:
            await self._execute(about, Plan(creates=plan.creates))
        except ApiError as error:
            await self._execute(about, self._plan(graph, hold=True))
            await self._hub.events.tell(about, Say("Warning", "RunNotCreated", f"no run was created: {error}", "Create"))
            raise
        await self._execute(about, replace(plan, creates=[]))
        return plan.requeue_after

    async def failing(self, namespace: str, name: str, error: Exception, failures: int) -> None:
        """Say so in an event."""
        about = self._graph_shelf.get(namespace, name)
        if about is not None:
            note = f"failed {failures} times in a row: {error or type(error).__name__}"
            await self._hub.events.tell(about, Say("Warning", "ReconcileFailed", note))

    async def _is_newest(self, about: Object) -> bool:
        """Whether a TaskGraph is as it was watched; if not, what it is is taken in, which wakes it.

        A watch may be late: by a state from before its run was written down, a run that has ended and been forgotten since
        would be made again.
        """
        metadata = about["metadata"]
        live = await self._hub.api.get(TASK_GRAPH, metadata["namespace"], metadata["name"])
        if live is not None and live["metadata"]["resourceVersion"] == metadata["resourceVersion"]:
            return True
        self._hub.watches[TASK_GRAPH].take("DELETED" if live is None else None, live or about)
        return False

    def _plan(self, graph: GraphFacts, *, hold: bool = False) -> Plan:
        near = Neighbours(self._workers.within(graph.namespace), self._graphs.within(graph.namespace))
        return reconcile(graph, near, self._runs.of(graph.namespace, graph.name), self._now(), hold=hold)

    async def _execute(self, about: Object, plan: Plan) -> None:
        await execute(self._hub.api, self._hub.events, about, plan, self._hub.seen)

    def _graph_changed(self, value: Mapping[str, Any]) -> None:
        """Wake the graph; and those above it, if it says something else than before or is gone."""
        key = key_of(value)
        self._wake(key)
        if self._graph_shelf.get(*key) is None:
            self._graphs.forget(*key)
            self._wake_above(key)
        elif self._graphs.moved(*key):
            self._wake_above(key)

    def _run_changed(self, value: Mapping[str, Any]) -> None:
        key = key_of(value)
        if self._run_shelf.get(*key) is None:
            self._wake_all(key[0], self._runs.forget(*key))
        else:
            self._wake_all(key[0], self._runs.graphs_of(*key))

    def _worker_changed(self, value: Mapping[str, Any]) -> None:
        """Wake the graphs that use the Worker, if it is another one for them than before."""
        namespace, name = key_of(value)
        if self._workers.keep(namespace, name, self._worker_shelf.get(namespace, name)):
            self._wake_all(namespace, self._users(namespace, name))

    def _users(self, namespace: str, worker: str) -> Iterator[str]:
        near = Neighbours(self._workers.within(namespace), self._graphs.within(namespace))
        for name, graph in near.graphs.items():
            any_tool = graph.text.uses.tools or graph.text.uses.graphs
            if any_tool or worker in workers_of(graph, near):
                yield name

    def _wake_above(self, key: Key) -> None:
        self._wake_all(key[0], self._graphs.above(*key))

    def _wake_all(self, namespace: str, names: Iterator[str]) -> None:
        for name in names:
            self._wake((namespace, name))

    def _wake(self, key: Key) -> None:
        self._hub.wake(self.kind, *key)
