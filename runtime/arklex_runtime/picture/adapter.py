"""From a compiled graph, and the document of a run of it, to a diagram."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from arklex_api import plan as compiled
from arklex_api.task import Task
from arklex_api.worker import Worker
from arklex_runtime.picture.model import Badge, Diagram, Edge, Node, NodeKind, NodeState
from arklex_runtime.picture.text import human_seconds


def diagram_of(
    plan: compiled.Plan,
    title: str,
    workers: Mapping[str, Worker] | None = None,
    document: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> Diagram:
    """``plan`` as a diagram; ``workers`` give the workers' types, ``document`` (a run's) the phases.

    ``now`` ends the durations of tasks that still run; without it they show none.
    """
    states = document["tasks"] if document else {}
    nodes = []
    for node in plan.nodes:
        entry = states.get(node.name) if document else None
        nodes.append(_node(node, workers or {}, _state(entry or {}, now) if document else None))
    phase = document["phase"] if document else None
    return Diagram(title, tuple(nodes), tuple(_edges(plan)), _subtitle(plan, document, now), phase)


def _subtitle(plan: compiled.Plan, document: Mapping[str, Any] | None, now: datetime | None) -> str:
    tasks, finals = plan.finals, len(plan.nodes) - plan.finals
    levels = len(plan.layers())
    parts = [f"{tasks} task{'' if tasks == 1 else 's'} in {levels} level{'' if levels == 1 else 's'}"]
    if finals:
        parts.append(f"{finals} finally")
    if document:
        took = _seconds(document, now)
        times = [human_seconds(took)] if took is not None else []
        parts = [f"run {document['run']}", document["phase"], *times, *parts]
    return " · ".join(parts)


def _node(node: compiled.Node, workers: Mapping[str, Worker], state: NodeState | None) -> Node:
    return Node(
        node.name,
        _kind(node, workers),
        node.level,
        _detail(node),
        (*_badges(node.task), *_state_badges(state)),
        "finally" if node.is_final else "tasks",
        state,
    )


def _kind(node: compiled.Node, workers: Mapping[str, Worker]) -> NodeKind:
    if node.kind != "worker":
        return node.kind
    worker = workers.get(node.worker or "")
    return worker.spec.type if worker is not None else "worker"


def _detail(node: compiled.Node) -> str:
    task = node.task
    if node.kind == "worker":
        return " · ".join(part for part in (node.worker, task.action) if part)
    texts = {"tool": f"tool {task.tool}", "graph": f"graph {task.graph}", "approval": "asks a person", "value": "expression"}
    return texts[node.kind]


def _badges(task: Task) -> Iterator[Badge]:
    if task.for_each is not None:
        yield Badge("forEach", f"each {task.for_each.as_}", f"runs for each of {_plain(task.for_each.items)}")
    if task.when is not None:
        yield Badge("when", "when", f"runs when {task.when}")
    if task.retry.limit:
        yield Badge("retry", f"↻ {task.retry.limit}", f"up to {task.retry.limit} retries")
    timeout = task.approval.timeout if task.approval is not None and task.approval.timeout else task.timeout
    if timeout:
        yield Badge("timeout", f"≤ {timeout}", f"at most {timeout}")
    if task.cache is not None:
        yield Badge("cache", f"cache {task.cache.ttl}", f"results are reused for {task.cache.ttl}")
    if task.fallback is not None:
        yield Badge("fallback", _fallback(task), f"on failure: {_fallback(task)}")
    if task.on_error == "continue":
        yield Badge("continue", "may fail", "its failure does not fail the run")
    if task.save_state is not None:
        yield Badge("saveState", "saves", f"writes the session: {', '.join(task.save_state)}")


def _fallback(task: Task) -> str:
    fallback = task.fallback
    if fallback is None or fallback.given("value"):
        return "else value"
    return f"else {fallback.worker or fallback.task}"


def _plain(items: object) -> str:
    return items if isinstance(items, str) else "a list"


def _state_badges(state: NodeState | None) -> Iterator[Badge]:
    if state is not None and state.attempts > 1:
        yield Badge("attempts", f"{state.attempts} ×", f"{state.attempts} attempts")
    if state is not None and state.cached:
        yield Badge("cached", "cached", "taken from the cache")


def _state(entry: Mapping[str, Any], now: datetime | None) -> NodeState:
    error = entry.get("error") or {}
    return NodeState(
        entry.get("phase", "Pending"),
        entry.get("attempts", 0),
        _seconds(entry, now),
        bool(entry.get("cached")),
        bool(entry.get("fallback")),
        f"{error['type']}: {error['message']}" if error else "",
    )


def _seconds(entry: Mapping[str, Any], now: datetime | None) -> float | None:
    started, finished = entry.get("startedAt"), entry.get("finishedAt")
    if not started or not (finished or now):
        return None
    end = datetime.fromisoformat(finished) if finished else now
    return max((end - datetime.fromisoformat(started)).total_seconds(), 0.0) if end else None


def _edges(plan: compiled.Plan) -> Iterator[Edge]:
    """Dependencies within a band; what a finally task reads of the main tasks would only clutter, as it may read them all."""
    for node in plan.nodes:
        for need in node.deps:
            source = plan.nodes[need.source]
            if source.is_final == node.is_final:
                yield Edge(source.name, node.name, "data" if need.reads else "order")
        if node.fallback_task is not None and plan.nodes[node.fallback_task].is_final == node.is_final:
            yield Edge(plan.nodes[node.fallback_task].name, node.name, "fallback")
