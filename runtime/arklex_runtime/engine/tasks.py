"""Tasks: when they run, what they make of their units' results, and who may go on after them.

Order of decisions: dependencies, skip check, ``when``, ``forEach.items``, ``with``, attempts.
Source: semantics.md, "When a task runs".
"""

from __future__ import annotations

from typing import Any

from arklex_api.base import JSON
from arklex_runtime.engine import units
from arklex_runtime.engine.commands import SaveSession
from arklex_runtime.engine.events import Error
from arklex_runtime.engine.session import SessionError, merge
from arklex_runtime.engine.state import CANCELLED, FAILED, PENDING, RUNNING, SKIPPED, SUCCEEDED, Scope, Status, TaskState, Unit
from arklex_runtime.engine.turn import Turn, TurnError, Views, bounded, evaluate, failure, values

MAX_ITEMS = 10_000


def activate(turn: Turn, scope: Scope, index: int) -> None:
    """All dependencies of the task are terminal: skip it or run it."""
    task = scope.tasks[index]
    node = task.node
    if task.phase != PENDING or scope.halted or node.is_final != scope.finally_stage or (node.fallback_for and not task.wanted):
        return
    if turn.state.reuse and scope.parent is None and node.name in turn.state.reuse:
        task.reused, task.has_output, task.output = True, True, turn.state.reuse[node.name]
        complete(turn, task, SUCCEEDED)
        return
    blocker = _blocker(scope, task)
    if blocker is not None:
        skip(
            turn, task, "NoOutput" if blocker.phase == SKIPPED else "DependencyFailed", f"'{blocker.node.name}' gave no output"
        )
        return
    task.session = turn.state.session
    key = scope.path + node.name
    task.phase = RUNNING
    try:
        if node.when is not None and not turn.fact(f"when:{key}", lambda: _when(task)):
            task.allowed = True
            skip(turn, task, "WhenFalse", "its condition is false")
        elif node.items is not None:
            _fan_out(turn, task, turn.fact(f"items:{key}", lambda: _items(task)))
        else:
            unit = Unit(task, key)
            task.units.append(unit)
            units.launch(turn, unit)
    except TurnError as error:
        _fail_early(turn, task, key, error.error)


def _blocker(scope: Scope, task: TaskState) -> TaskState | None:
    for edge in task.node.deps:
        source = scope.tasks[edge.source]
        if source.phase == SUCCEEDED or edge.guarded:
            continue
        if (not source.has_output) if edge.reads else (not source.allowed):
            return source
    return None


def _when(task: TaskState) -> bool:
    template = task.node.when
    found = None if template is None else evaluate(template, values(task), f"{task.node.path}.when")
    if not isinstance(found, bool):
        raise TurnError(failure("InvalidInput", f"{task.node.path}.when: must give true or false, not {type(found).__name__}"))
    return found


def _items(task: TaskState) -> list[JSON]:
    template = task.node.items
    where = f"{task.node.path}.forEach.items"
    found = None if template is None else evaluate(template, values(task), where)
    if not isinstance(found, list):
        raise TurnError(failure("InvalidInput", f"{where}: must give a list, not {type(found).__name__}"))
    if len(found) > MAX_ITEMS:
        raise TurnError(failure("InvalidInput", f"{where}: gives {len(found)} items, more than {MAX_ITEMS}"))
    return found


def _fail_early(turn: Turn, task: TaskState, key: str, error: Error) -> None:
    """A condition or list that cannot be evaluated: the task fails before any attempt; its fallback may still save it."""
    task.started_at = turn.now
    if task.node.items is None and task.node.task.fallback:
        unit = Unit(task, key)
        task.units.append(unit)
        units.exhausted(turn, unit, error)
    else:
        fail(turn, task, error)


def _fan_out(turn: Turn, task: TaskState, items: list[JSON]) -> None:
    key = task.scope.path + task.node.name
    task.started_at = turn.now
    task.output = [None] * len(items)
    task.units = [Unit(task, f"{key}[{i}]", i, item) for i, item in enumerate(items)]
    if not items:
        succeed(turn, task, [])
    else:
        launch_items(turn, task)


def launch_items(turn: Turn, task: TaskState) -> None:
    """Launch items up to forEach.maxParallel, without one up to the graph's if they take no slot (sub-graphs, approvals)."""
    for_each = task.node.task.for_each
    limit = for_each.max_parallel if for_each else None
    if limit is None and task.node.kind in ("graph", "approval"):
        limit = task.scope.plan.spec.max_parallel
    while task.launched < len(task.units) and (limit is None or task.launched - task.done < limit) and task.phase == RUNNING:
        if task.cut is not None or task.scope.halted:
            return
        task.launched += 1
        units.launch(turn, task.units[task.launched - 1])


def unit_done(turn: Turn, unit: Unit, output: JSON, error: Error | None) -> None:
    """A unit ended for good."""
    task = unit.task
    if task.terminal or task.cut is not None:
        return
    if unit.index >= 0:
        _item_done(turn, unit, output, error)
    elif error is None:
        task.error = unit.error if unit.fallback else None
        succeed(turn, task, output)
    else:
        fail(turn, task, error)


def _item_done(turn: Turn, unit: Unit, output: JSON, error: Error | None) -> None:
    task = unit.task
    task.done += 1
    if error is None:
        task.output[unit.index] = output
    else:
        indexed = {**error, "details": {**(error.get("details") or {}), "index": unit.index}}
        if task.node.task.on_error != "continue":
            cut(turn, task, (FAILED, indexed, None))
            return
        task.errors.append({"index": unit.index, **error})
        task.error = task.error or indexed
    if task.done < len(task.units):
        launch_items(turn, task)
        return
    task.has_output = True
    if task.errors:
        task.errors.sort(key=lambda entry: int(entry["index"]))
        task.allowed = True
        complete(turn, task, FAILED)
    else:
        succeed(turn, task, task.output)


def succeed(turn: Turn, task: TaskState, output: JSON) -> None:
    """The task has its output; its saveState follows, in the same transaction."""
    task.output = output
    task.has_output = True
    task.phase = SUCCEEDED
    if task.node.save_state is not None:
        try:
            _save_state(turn, task)
        except TurnError as error:
            views: Views = task.scope.base["tasks"]
            views.pop(task.node.name, None)
            task.output, task.has_output = None, False
            fail(turn, task, error.error)
            return
    complete(turn, task, SUCCEEDED)


def _save_state(turn: Turn, task: TaskState) -> None:
    template, where = task.node.save_state, f"{task.node.path}.saveState"
    if template is None:
        return
    key = task.scope.path + task.node.name
    patch: dict[str, Any] = turn.fact(f"save:{key}", lambda: evaluate(template, values(task), where))
    bounded(patch, where, "InvalidInput")
    try:
        turn.state.session = merge(turn.state.session, patch)
    except SessionError as error:
        raise TurnError(failure("InvalidInput", f"{where}: {error}")) from None
    turn.commands.append(SaveSession(patch))


def fail(turn: Turn, task: TaskState, error: Error) -> None:
    """The task failed for good: allowed under ``onError: continue``, else the graph's ``onFailure`` decides.

    A fallback task's failure is that of the task that wanted it, and counts there.
    """
    scope, node = task.scope, task.node
    task.error = error
    if node.items is not None:
        task.output = None
    task.allowed = node.task.on_error == "continue"
    if not task.allowed and not node.fallback_for:
        scope.failures.append((node.name, error))
        if scope.plan.spec.on_failure == "stop" and not node.is_final and not scope.halted:
            scope.halted = True
            stopped = failure("Cancelled", f"the run stopped because task '{node.name}' failed")
            turn.work.appendleft(("halt", scope, stopped, "RunStopped"))
    complete(turn, task, FAILED)


def skip(turn: Turn, task: TaskState, reason: str, message: str) -> None:
    """The task does not run."""
    task.reason = f"{reason}: {message}"
    complete(turn, task, SKIPPED)


def complete(turn: Turn, task: TaskState, phase: str) -> None:
    """The task is terminal: count it off, wake who waited for it."""
    scope, node, work = task.scope, task.node, turn.work
    task.phase = phase
    task.finished_at = turn.now
    scope.open -= 1
    tasks = scope.tasks
    for index in node.dependents:
        dependent = tasks[index]
        dependent.waiting -= 1
        if not dependent.waiting:
            work.append(("activate", scope, index))
    if node.fallback_task is not None:
        work.append(("release", scope, node.fallback_task))
    for index in node.fallback_for:
        for unit in tasks[index].units:
            if unit.status is Status.FALLBACK:
                _resolve(turn, unit, task)
    if not scope.open:
        work.append(("settle", scope))


def want(turn: Turn, unit: Unit) -> None:
    """A unit's fallback is another task: run that task now, once."""
    index = unit.task.node.fallback_task
    if index is None or unit.status is not Status.FALLBACK:
        return
    target = unit.task.scope.tasks[index]
    target.wanted = True
    if target.terminal:
        _resolve(turn, unit, target)
    elif not target.waiting:
        turn.work.append(("activate", unit.task.scope, index))


def _resolve(turn: Turn, unit: Unit, target: TaskState) -> None:
    if target.phase == SUCCEEDED:
        units.succeeded(turn, unit, target.output)
    else:
        why = target.error or failure("Failed", f"the fallback task '{target.node.name}' was {target.phase.lower()}")
        units.exhausted(turn, unit, why)


def release_fallback(turn: Turn, scope: Scope, index: int) -> None:
    """One of those who may want the fallback task is terminal: skip it if it was the last and none did."""
    target = scope.tasks[index]
    target.users -= 1
    if target.phase == PENDING and not target.wanted and not target.users:
        skip(turn, target, "FallbackNotNeeded", "no task needed it as a fallback")


def cut(turn: Turn, task: TaskState, verdict: tuple[str, Error | None, str | None]) -> None:
    """End a running task as ``verdict`` (phase, error, reason) says, once its sub-graphs, if any, have ended."""
    task.cut = verdict
    for unit in task.units:
        if unit.status is not Status.DONE and not units.cut_off(turn, unit) and unit.child is not None:
            task.children += 1
            cause = verdict[1] or failure("Cancelled", "the run stopped")
            turn.work.append(
                ("cancel", unit.child, cause if verdict[0] == CANCELLED else failure("Cancelled", "a sibling failed"))
            )
    finish_cut(turn, task)


def finish_cut(turn: Turn, task: TaskState) -> None:
    """Give a cut task its phase if nothing of it runs any more."""
    if task.terminal or task.cut is None or task.children:
        return
    phase, error, reason = task.cut
    if phase == FAILED and error is not None:
        fail(turn, task, error)
        return
    task.error, task.reason = error, reason
    if task.node.items is not None:
        task.output = None
    complete(turn, task, phase)


def halt(turn: Turn, task: TaskState, error: Error, reason: str) -> None:
    """The graph stops: what runs is Cancelled with ``error``, what has not begun is Skipped with ``reason``."""
    if task.terminal or task.cut is not None:
        return
    began = any(unit.attempts or unit.status in (Status.APPROVAL, Status.FALLBACK, Status.CHILD) for unit in task.units)
    cut(turn, task, (CANCELLED, error, reason) if began else (SKIPPED, None, reason))
