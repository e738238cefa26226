"""The facts of all TaskGraphs, Workers and TaskGraphRuns that are there, by namespace, and who concerns whom.

Shelves hold what is needed of an object to write to it; what judging needs is here, read once for each state of an object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from arklex_operator.manifests.kinds import Object
from arklex_operator.reconcile.taskgraph_read import GraphFacts, RunFacts, WorkerFacts, read_graph, read_run, read_worker

_KEPT = ("name", "namespace", "uid", "resourceVersion", "generation", "deletionTimestamp")
_TASK = ("name", "worker", "action", "tool", "graph")


class Graphs:
    """The TaskGraphs. ``keep`` is the trim of their shelf."""

    def __init__(self) -> None:
        self._facts: dict[str, dict[str, GraphFacts]] = {}
        self._callers: dict[tuple[str, str], set[str]] = {}
        self._moved: set[tuple[str, str]] = set()

    def keep(self, value: Mapping[str, Any]) -> Object:
        """Read an object; what is to be kept of it: of its spec the names of what it uses, and its tools."""
        metadata = value["metadata"]
        namespace, name = metadata.get("namespace") or "", metadata["name"]
        known = self._facts.setdefault(namespace, {})
        before = known.get(name)
        known[name] = read_graph(value, before)
        if before is None or before.text is not known[name].text:
            self._moved.add((namespace, name))
            self._link(namespace, before, known[name])
        return {**_head(value), "spec": _outline(value.get("spec"))}

    def get(self, namespace: str, name: str) -> GraphFacts | None:
        """The facts of one; None if there is none."""
        return self._facts.get(namespace, {}).get(name)

    def within(self, namespace: str) -> Mapping[str, GraphFacts]:
        """All of a namespace by name; it changes with what is there."""
        return self._facts.get(namespace, {})

    def moved(self, namespace: str, name: str) -> bool:
        """Whether its text is another one than at the last call."""
        moved = (namespace, name) in self._moved
        self._moved.discard((namespace, name))
        return moved

    def forget(self, namespace: str, name: str) -> None:
        """It is gone."""
        known = self._facts.get(namespace, {})
        self._link(namespace, known.pop(name, None), None)
        if not known:
            self._facts.pop(namespace, None)
        self._moved.discard((namespace, name))

    def above(self, namespace: str, name: str) -> Iterator[str]:
        """All graphs that run it as a sub-graph, at any depth."""
        found, waiting = {name}, [name]
        for each in waiting:
            parents = self._callers.get((namespace, each), set()) - found
            found |= parents
            waiting += parents
        return iter(found - {name})

    def _link(self, namespace: str, before: GraphFacts | None, after: GraphFacts | None) -> None:
        """Remember who runs whom."""
        if before is not None:
            for _, child in before.text.uses.graphs:
                self._callers[namespace, child].discard(before.name)
                if not self._callers[namespace, child]:
                    del self._callers[namespace, child]
        if after is not None:
            for _, child in after.text.uses.graphs:
                self._callers.setdefault((namespace, child), set()).add(after.name)


class Runs:
    """The TaskGraphRuns, by the graph that they name. ``keep`` is the trim of their shelf."""

    def __init__(self) -> None:
        self._by_graph: dict[tuple[str, str], dict[str, RunFacts]] = {}
        self._graph: dict[tuple[str, str], str] = {}

    def keep(self, value: Mapping[str, Any]) -> Object:
        """Read an object; what is to be kept of it."""
        facts, namespace = read_run(value), value["metadata"].get("namespace") or ""
        self.forget(namespace, facts.name)
        self._by_graph.setdefault((namespace, facts.graph), {})[facts.name] = facts
        self._graph[namespace, facts.name] = facts.graph
        return _head(value)

    def of(self, namespace: str, graph: str) -> list[RunFacts]:
        """All runs that name a graph."""
        return list(self._by_graph.get((namespace, graph), {}).values())

    def graphs_of(self, namespace: str, name: str) -> Iterator[str]:
        """The graph that a run names, if the run is there."""
        graph = self._graph.get((namespace, name))
        return iter(() if graph is None else (graph,))

    def forget(self, namespace: str, name: str) -> Iterator[str]:
        """It is gone; the graph that it named."""
        graph = self._graph.pop((namespace, name), None)
        if graph is None:
            return iter(())
        runs = self._by_graph.get((namespace, graph), {})
        runs.pop(name, None)
        if not runs:
            self._by_graph.pop((namespace, graph), None)
        return iter((graph,))


class Workers:
    """The Workers."""

    def __init__(self) -> None:
        self._facts: dict[str, dict[str, WorkerFacts]] = {}

    def keep(self, namespace: str, name: str, value: Mapping[str, Any] | None) -> bool:
        """Read an object, None if it is gone; whether it is another one for graphs than before."""
        known = self._facts.setdefault(namespace, {})
        before = known.pop(name, None)
        if value is None:
            return before is not None
        known[name] = read_worker(value)
        return known[name] != before

    def within(self, namespace: str) -> Mapping[str, WorkerFacts]:
        """All of a namespace by name; it changes with what is there."""
        return self._facts.get(namespace, {})


def _head(value: Mapping[str, Any]) -> Object:
    metadata = {key: value["metadata"][key] for key in _KEPT if key in value["metadata"]}
    return {"apiVersion": value.get("apiVersion"), "kind": value.get("kind"), "metadata": metadata}


def _outline(spec: object) -> Object:
    if not isinstance(spec, Mapping):
        return {}
    kept: Object = {key: spec[key] for key in ("llm", "tools") if key in spec}
    for part in ("tasks", "finally"):
        tasks = spec.get(part)
        kept[part] = [_task(task) for task in tasks if isinstance(task, Mapping)] if isinstance(tasks, list) else []
    return kept


def _task(task: Mapping[str, Any]) -> Object:
    kept = {key: task[key] for key in _TASK if key in task}
    given = task.get("with")
    if isinstance(given, Mapping) and "tools" in given:
        kept["with"] = {"tools": given["tools"]}
    fallback = task.get("fallback")
    if isinstance(fallback, Mapping) and "worker" in fallback:
        kept["fallback"] = {"worker": fallback["worker"]}
    return kept
