"""The run's document, as ``arklex run --output json`` and the API print it (semantics.md, "The command line's documents")."""

from __future__ import annotations

from typing import Any

from arklex_runtime.engine.state import RunState, Scope, Status, TaskState
from arklex_runtime.engine.times import rfc3339, rfc3339_or_none

_LIVE = {
    Status.READY: "Waiting",
    Status.ISSUED: "Waiting",
    Status.RUNNING: "Running",
    Status.CHILD: "Running",
    Status.BACKOFF: "Retrying",
    Status.APPROVAL: "Waiting",
    Status.LOOKUP: "Waiting",
    Status.FALLBACK: "Waiting",
}
_ORDER = ("Running", "Retrying", "Waiting")


def run_document(state: RunState, graph: str) -> dict[str, Any]:
    """``{run, graph, phase, output, error, startedAt, finishedAt, tasks}``; a sub-graph's tasks are named ``parent/child``."""
    root = state.root
    over = state.finished_at is not None
    tasks: dict[str, Any] = {}
    if root is not None:
        _add(tasks, root, "")
    return {
        "run": state.run_id,
        "graph": graph,
        "phase": state.phase,
        "output": root.output if root and over else None,
        "error": root.error if root and over else None,
        "startedAt": rfc3339_or_none(state.started_at or None),
        "finishedAt": rfc3339_or_none(state.finished_at),
        "tasks": tasks,
    }


def _add(tasks: dict[str, Any], scope: Scope, prefix: str) -> None:
    for task in scope.tasks:
        path = prefix + task.node.name
        tasks[path] = task_document(task)
        for unit in task.units:
            if unit.child is not None:
                _add(tasks, unit.child, f"{path}[{unit.index}]/" if unit.index >= 0 else f"{path}/")


def task_document(task: TaskState) -> dict[str, Any]:
    """``{phase, attempts, startedAt, finishedAt, output, error, cached}`` and, where they say something, more."""
    units = task.units
    one = units[0] if len(units) == 1 else None
    document: dict[str, Any] = {
        "phase": task.phase if task.finished_at is not None else phase_of(task),
        "attempts": one.attempts if one else sum([unit.attempts for unit in units]),
        "startedAt": None if task.started_at is None else rfc3339(task.started_at),
        "finishedAt": None if task.finished_at is None else rfc3339(task.finished_at),
        "output": task.output if task.has_output else None,
        "error": task.error,
        "cached": one.cached if one else bool(units) and all(unit.cached for unit in units),
    }
    if one.fallback if one else any(unit.fallback for unit in units):
        document["fallback"] = True
    if task.reused:
        document["reused"] = True
    if task.reason:
        document["reason"] = task.reason
    if task.errors:
        document["errors"] = task.errors
    if task.node.items is not None and units:
        document["items"] = {"total": len(units), "done": task.done}
    if one is not None and one.status is Status.APPROVAL:
        document["message"] = one.message
    return document


def phase_of(task: TaskState) -> str:
    """Pending, Waiting, Running, Retrying, Succeeded, Failed, Skipped or Cancelled."""
    if task.terminal:
        return task.phase
    live = {_LIVE[unit.status] for unit in task.units if unit.status in _LIVE}
    return next((phase for phase in _ORDER if phase in live), "Pending")
