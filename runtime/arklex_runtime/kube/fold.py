"""A run's state as the status of an object shows it: pure, and bounded whatever the run holds (design.md, guarantee 5).

A status takes at most 64 KiB. What is not bounded by nature (messages, paths, outputs) is cut by its bytes as JSON, so that
the sum holds: ``progress_of`` makes at most 24 KiB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from arklex_runtime.engine.document import phase_of
from arklex_runtime.engine.state import FAILED, RunState, Scope, Status, TaskState, Unit
from arklex_runtime.engine.times import rfc3339, rfc3339_or_none
from arklex_runtime.kube.texts import command, cut, error_text, excerpt
from arklex_runtime.orchestrator.attempt import path_of

Progress: TypeAlias = dict[str, Any]
"""The fields of RunProgress (arklex_api.taskgraph) that say something, by their names in a manifest."""

MAX_SHOWN = 5
MESSAGE, OUTPUT, PATH, TYPE = 1024, 2048, 512, 63
"""Bytes, as JSON, of a message, an output's excerpt, a task's path and an error's type."""

_COUNTED = {"Retrying": "running"}
_ENDED = ("succeeded", "failed", "skipped", "cancelled")


def progress_of(state: RunState) -> Progress:
    """How far the run is. Tasks are those of the graph itself; failures and approvals are looked for in sub-graphs too."""
    root = state.root
    if root is None:
        return {"phase": "Pending"}
    over = state.finished_at is not None
    tasks = Counter(_counted(task) for task in root.tasks)
    done = sum(tasks[name] for name in _ENDED)
    waiting = [] if over else list(_approvals(state))
    shown: Progress = {
        "phase": state.phase,
        "progress": f"{done}/{len(root.tasks)}",
        "startTime": rfc3339(state.started_at),
        "completionTime": rfc3339_or_none(state.finished_at),
        "duration": go_duration((state.finished_at if state.finished_at is not None else state.now) - state.started_at),
        "message": cut(error_text(root.error) if over else _doing(state, root, waiting), MESSAGE),
        "output": excerpt(root.output, OUTPUT) if over and root.plan.output is not None and root.phase == "Succeeded" else None,
        "tasks": {"total": len(root.tasks), **{name: count for name, count in sorted(tasks.items()) if count}},
        "failures": [_failure(state.run_id, path, error) for path, error in first_failures(root)],
        "approvals": [cut(path_of(unit.key), PATH) for unit in waiting],
    }
    return {name: value for name, value in shown.items() if value not in (None, "", [])}


def _counted(task: TaskState) -> str:
    phase = task.phase if task.terminal else phase_of(task)
    return _COUNTED.get(phase, phase.lower())


def unit_at(state: RunState, key: str) -> Unit | None:
    """The unit with this key, such as ``ask``, ``page[3]`` or ``parent@2/child``, if the run has it now."""
    scope, unit = state.root, None
    for part in key.split("/"):
        name, _, item = part.partition("@")[0].partition("[")
        if scope is None or name not in scope.plan.by_name:
            return None
        units = scope.tasks[scope.plan.by_name[name]].units
        index = int(item[:-1]) if item else 0
        if index >= len(units) or units[index].key.split("/")[-1].partition("@")[0] != part.partition("@")[0]:
            return None
        unit, scope = units[index], units[index].child
    return unit if unit is not None and unit.key == key else None


def _approvals(state: RunState) -> Iterator[Unit]:
    """The first approvals that wait, oldest first."""
    shown = 0
    for unit in state.open.values():
        if unit.status is Status.APPROVAL:
            yield unit
            shown += 1
            if shown == MAX_SHOWN:
                return


def _failure(run_id: str, path: str, error: dict[str, Any]) -> dict[str, Any]:
    return {
        "task": cut(path, PATH),
        "type": cut(str(error.get("type") or "Failed"), TYPE),
        "message": cut(str(error.get("message") or ""), MESSAGE),
        "logs": cut(command("logs", run_id, path), MESSAGE),
    }


def first_failures(root: Scope) -> list[tuple[str, dict[str, Any]]]:
    """(path, error) of the first tasks that failed for good, the innermost first: what a person should look at."""
    found = [
        (task.finished_at or 0.0, -scope.depth, order, *_blamed(task))
        for order, (scope, task) in enumerate(_failed(root))
    ]  # fmt: skip
    return [(path, error) for *_, path, error in sorted(found, key=lambda each: each[:3])[:MAX_SHOWN]]


def _failed(root: Scope) -> Iterator[tuple[Scope, TaskState]]:
    """Failed tasks of the graph and of sub-graphs that have not ended well."""
    scopes = [root]
    for scope in scopes:
        for task in scope.tasks:
            if task.phase == FAILED:
                yield scope, task
            scopes += [unit.child for unit in task.units if unit.child is not None and _suspect(unit.child)]


def _suspect(child: Scope) -> bool:
    return not child.ended or child.phase == FAILED


def _blamed(task: TaskState) -> tuple[str, dict[str, Any]]:
    path = path_of(task.scope.path + task.node.name)
    if task.errors:
        first = task.errors[0]
        return f"{path}[{first.get('index')}]", first
    error = task.error or {}
    index = (error.get("details") or {}).get("index") if task.node.items is not None else None
    return (path if index is None else f"{path}[{index}]"), error


def _doing(state: RunState, root: Scope, approvals: list[Unit]) -> str:
    """What the run is at, for people: what needs a person first, then what is in trouble, then what goes on."""
    if approvals:
        path = path_of(approvals[0].key)
        return f"waits for a decision: {command('approve', state.run_id, path)}"
    parts: list[str] = []
    for task in root.tasks:
        if not task.terminal and task.units:
            parts.append(_part(task))
            if len(parts) > MAX_SHOWN:
                parts[-1] = "…"
                break
    return ", ".join(parts)


def _part(task: TaskState) -> str:
    name, total = task.node.name, len(task.units)
    if task.node.items is not None:
        return f"{name} {task.done}/{total} items"
    unit = task.units[0]
    if unit.status is Status.BACKOFF and unit.error:
        return f"{name} retries after {cut(error_text(unit.error), 200)}"
    if unit.status is Status.ISSUED and task.node.worker is not None:
        return f"{name} waits for a free pod of Worker {task.node.worker}"
    return f"{name} {phase_of(task).lower()}"


def go_duration(seconds: float) -> str:
    """Seconds as Go prints them, to the millisecond below a minute and to the second from there: ``1.25s``, ``3m4s``."""
    seconds = max(0.0, seconds)
    if seconds < 59.9995:
        return f"{round(seconds, 3):.3f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + f"{minutes}m{rest}s"


def differs(wanted: Any, there: Any) -> bool:
    """Whether ``there``, as the API server has it, says something else than ``wanted``; times passing alone do not count."""
    return bool(_still(wanted) != _still(there))


def _still(value: Any) -> Any:
    """``value`` without what moves by itself: the duration of a run that has not ended, absent and empty fields."""
    if isinstance(value, list):
        return [_still(each) for each in value]
    if not isinstance(value, dict):
        return value
    moving: Iterable[str] = () if value.get("completionTime") else ("duration",)
    return {name: _still(each) for name, each in value.items() if name not in moving and each not in (None, "", [], {})}
