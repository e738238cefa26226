"""Which Secrets the tools of TaskGraphs need in which Workers' pods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class GraphUse:
    """What is kept of a TaskGraph: (Worker that calls the tool or None, Secret, key) of its tools, Workers of its tasks."""

    tools: frozenset[tuple[str | None, str, str]] = frozenset()
    workers: frozenset[str] = frozenset()


NOTHING = GraphUse()


def read_graph(graph: Mapping[str, Any]) -> GraphUse:
    """The use of a TaskGraph, read leniently: what is wrong with a graph is its own condition's to say."""
    spec = graph.get("spec") or {}
    tools = frozenset(found for tool in _maps(spec.get("tools")) if (found := _tool(tool)) is not None)
    if not tools:
        return NOTHING
    tasks = [*_maps(spec.get("tasks")), *_maps(spec.get("finally"))]
    names = {spec.get("llm"), *(task.get("worker") for task in tasks)}
    names |= {task["fallback"].get("worker") for task in tasks if isinstance(task.get("fallback"), Mapping)}
    return GraphUse(tools, frozenset(name for name in names if isinstance(name, str)))


def secrets_for(name: str, kind: str, uses: Iterable[GraphUse], tool_workers: Iterable[str]) -> frozenset[tuple[str, str]]:
    """(Secret, key) pairs for the pods of Worker ``name`` of type ``kind``, where ``uses`` are its namespace's graphs'.

    A Worker of type tool gets those of the tools that it calls, one of type llm those of every graph whose tasks it runs,
    since its model may call their tools; others none. ``tool_workers`` are the namespace's Workers of type tool.
    """
    if kind == "tool":
        only = list(tool_workers) == [name]
        return frozenset((s, k) for use in uses for who, s, k in use.tools if who == name or (who is None and only))
    if kind == "llm":
        return frozenset((s, k) for use in uses if name in use.workers for _, s, k in use.tools)
    return frozenset()


def _tool(tool: Mapping[str, Any]) -> tuple[str | None, str, str] | None:
    http: Any = tool.get("http")
    auth: Any = http.get("auth") if isinstance(http, Mapping) else None
    reference: Any = auth.get("secretRef") if isinstance(auth, Mapping) else None
    if not isinstance(reference, Mapping):
        return None
    worker, name, key = tool.get("worker"), reference.get("name"), reference.get("key")
    if not isinstance(name, str) or not isinstance(key, str):
        return None
    return (worker if isinstance(worker, str) else None), name, key


def _maps(values: Any) -> list[Mapping[str, Any]]:
    return [each for each in values if isinstance(each, Mapping)] if isinstance(values, list) else []
