"""What a run executes: its graph, the sub-graphs and Workers it can reach, as accepted; stored by content.

Changing a file or an object later does not change a run (semantics.md, "Runs, durability, ownership").
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import orjson

from arklex_api.base import JSON
from arklex_api.plan import Plan, compile_graph
from arklex_api.problems import ManifestError, Problem
from arklex_api.schema import JsonSchema
from arklex_api.taskgraph import TaskGraph, Tool
from arklex_api.worker import Worker

FORMAT = 1
"""Of the stored document. An older engine refuses a newer one's."""

MAX_DEPTH = 8
"""How deep sub-graphs nest."""


class ProgramError(ValueError):
    """A stored program that this engine cannot run."""


class Program:
    """One accepted graph with all it needs. ``graphs`` and ``workers`` are by name, all of one namespace.

    ``folders`` are where its handlers are imported from, embedded; kept with the run, so that a resume finds them too.
    """

    def __init__(
        self,
        root: str,
        graphs: dict[str, TaskGraph],
        workers: dict[str, Worker],
        namespace: str = "default",
        folders: tuple[str, ...] = (),
    ) -> None:
        self.root = root
        self.folders = folders
        self.graphs = graphs
        self.workers = workers
        self.namespace = namespace
        self.plans: dict[str, Plan] = {name: compile_graph(graph.spec) for name, graph in graphs.items()}
        self.tools: dict[str, dict[str, Tool]] = {name: {t.name: t for t in g.spec.tools} for name, g in graphs.items()}
        self.inputs: dict[str, JsonSchema] = {name: JsonSchema(g.spec.input.schema_) for name, g in graphs.items()}
        self._digests: dict[tuple[str, str], str] = {}

    @classmethod
    def of(
        cls,
        root: str,
        graphs: dict[str, TaskGraph],
        workers: dict[str, Worker],
        namespace: str = "default",
        folders: tuple[str, ...] = (),
    ) -> Program:
        """The program of ``root``: only what it can reach is kept. Raises ManifestError: unknown names, cycles of graphs."""
        reached = _reachable(root, graphs)
        wanted = _workers(reached) | _tool_workers(reached, workers)
        used = {name: workers[name] for name in sorted(wanted) if name in workers}
        missing = sorted(_workers(reached) - used.keys())
        if missing:
            raise ManifestError([Problem("spec.tasks", "UnknownWorker", f"there is no Worker '{name}'") for name in missing])
        return cls(root, reached, used, namespace, folders)

    @property
    def plan(self) -> Plan:
        """The root graph's plan."""
        return self.plans[self.root]

    @cached_property
    def task_workers(self) -> set[str]:
        """The Workers that tasks name, as against those that only call tools."""
        return _workers(self.graphs)

    def tool_worker(self, graph: str, tool: str) -> str | None:
        """The Worker of type tool that calls ``tool``: its own, else the only one there is; None where that is nobody."""
        named = self.tools[graph][tool].worker if tool in self.tools[graph] else None
        if named is not None:
            return named if named in self.workers else None
        able = [name for name, worker in self.workers.items() if worker.spec.type == "tool"]
        return able[0] if len(able) == 1 else None

    @cached_property
    def document(self) -> bytes:
        """The program as canonical JSON; secrets are references in it, never values."""
        body = {
            "format": FORMAT,
            "root": self.root,
            "namespace": self.namespace,
            "folders": self.folders,
            "graphs": {name: _manifest(graph) for name, graph in self.graphs.items()},
            "workers": {name: _manifest(worker) for name, worker in self.workers.items()},
        }
        return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the document, hexadecimal."""
        return hashlib.sha256(self.document).hexdigest()

    @classmethod
    def load(cls, document: bytes) -> Program:
        """The program that ``document`` holds. Raises ProgramError for one of a newer engine."""
        body = orjson.loads(document)
        if body.get("format", 0) > FORMAT:
            raise ProgramError(f"the run was accepted by a newer arklex (format {body['format']}): use that version")
        graphs = {name: TaskGraph.model_validate(raw, extra="ignore") for name, raw in body["graphs"].items()}
        workers = {name: Worker.model_validate(raw, extra="ignore") for name, raw in body["workers"].items()}
        return cls(body["root"], graphs, workers, body["namespace"], tuple(body.get("folders", ())))

    def cache_key(self, kind: str, graph: str, name: str, action: str | None, content: JSON) -> str:
        """SHA-256 over (namespace, kind, name, digest of its result-relevant spec, action, content): semantics.md, "cache"."""
        body = [self.namespace, kind, name, self._spec_digest(kind, graph, name), action, content]
        return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def _spec_digest(self, kind: str, graph: str, name: str) -> str:
        where = (kind, f"{graph}/{name}")
        if where not in self._digests:
            self._digests[where] = hashlib.sha256(
                orjson.dumps(self._relevant(kind, graph, name), option=orjson.OPT_SORT_KEYS)
            ).hexdigest()
        return self._digests[where]

    def _relevant(self, kind: str, graph: str, name: str) -> Any:
        if kind == "worker":
            spec = self.workers[name].spec
            return [
                spec.type,
                spec.config,
                spec.llm.model_dump(mode="json") if spec.llm else None,
                (spec.template or {}).get("spec"),
            ]
        if kind == "tool":
            return self.tools[graph][name].model_dump(mode="json", exclude={"description", "rate_limit", "timeout"})
        reached = _reachable(name, self.graphs)
        names = sorted(_workers(reached))
        keep = {"tasks", "finally_", "output", "llm", "tools", "input"}
        return [
            {n: g.spec.model_dump(mode="json", include=keep, exclude_unset=True) for n, g in reached.items()},
            [self._relevant("worker", graph, n) for n in names if n in self.workers],
        ]


def _manifest(thing: TaskGraph | Worker) -> dict[str, Any]:
    body = thing.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"status", "metadata"})
    return {**body, "metadata": {"name": thing.metadata.name, "namespace": thing.metadata.namespace}}


def _workers(graphs: dict[str, TaskGraph]) -> set[str]:
    found: set[str] = set()
    for graph in graphs.values():
        for task in (*graph.spec.tasks, *graph.spec.finally_):
            if task.worker:
                found.add(task.worker)
            elif task.action and graph.spec.llm:
                found.add(graph.spec.llm)
            if task.fallback and task.fallback.worker:
                found.add(task.fallback.worker)
    return found


def _tool_workers(graphs: dict[str, TaskGraph], workers: dict[str, Worker]) -> set[str]:
    """The Workers that call the tools of ``graphs``; of a tool without its own all that could."""
    found: set[str] = set()
    for graph in graphs.values():
        called = {task.tool for task in (*graph.spec.tasks, *graph.spec.finally_) if task.tool}
        for tool in graph.spec.tools:
            if tool.name in called and tool.worker is not None:
                found.add(tool.worker)
            elif tool.name in called:
                found |= {name for name, worker in workers.items() if worker.spec.type == "tool"}
    return found


def _reachable(root: str, graphs: dict[str, TaskGraph]) -> dict[str, TaskGraph]:
    """The graphs that ``root`` can run, itself included; each is looked into once, however many ways lead to it."""
    heights: dict[str, int] = {}

    def too_deep(trail: tuple[str, ...]) -> ManifestError:
        message = f"sub-graphs nest deeper than {MAX_DEPTH}, by way of {' → '.join(trail)}"
        return ManifestError([Problem("spec.tasks", "TooDeep", message)])

    def height(name: str, trail: tuple[str, ...]) -> int:
        if name in trail:
            circle = " → ".join((*trail[trail.index(name) :], name))
            raise ManifestError([Problem("spec.tasks", "GraphCycle", f"the graphs run each other in a circle: {circle}")])
        if len(trail) >= MAX_DEPTH:
            raise too_deep(trail)
        if name not in graphs:
            raise ManifestError([Problem("spec.tasks", "UnknownGraph", f"there is no TaskGraph '{name}'")])
        if name not in heights:
            spec = graphs[name].spec
            children = sorted({task.graph for task in (*spec.tasks, *spec.finally_) if task.graph})
            heights[name] = 1 + max((height(child, (*trail, name)) for child in children), default=0)
        if len(trail) + heights[name] > MAX_DEPTH:
            deep = " → ".join((*trail, name))
            raise ManifestError(
                [Problem("spec.tasks", "TooDeep", f"sub-graphs nest deeper than {MAX_DEPTH}, by way of {deep}")]
            )
        return heights[name]

    height(root, ())
    return {name: graphs[name] for name in heights}
