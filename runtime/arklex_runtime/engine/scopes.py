"""Graphs being run: how one begins, stops, is judged, runs its ``finally`` tasks and ends (semantics.md, "Failure")."""

from __future__ import annotations

from arklex_api.durations import seconds
from arklex_api.schema import SchemaError
from arklex_runtime.engine import tasks, units
from arklex_runtime.engine.commands import EndRun
from arklex_runtime.engine.events import Error
from arklex_runtime.engine.state import CANCELLED, FAILED, SUCCEEDED, Scope, Status, Unit
from arklex_runtime.engine.turn import (
    MAX_OUTPUT,
    MAX_RUN,
    MAX_TASKS,
    Turn,
    TurnError,
    Views,
    base_values,
    bounded,
    charge,
    evaluate,
    failure,
)


def begin(turn: Turn, scope: Scope) -> None:
    """Start the clock and the tasks that wait for nothing."""
    scope.base["tasks"] = Views(scope)
    turn.state.at(turn.now + seconds(scope.plan.spec.timeout), "scope", scope)
    for task in scope.tasks[: scope.plan.finals]:
        if not task.waiting:
            turn.work.append(("activate", scope, task.node.index))


def open_child(turn: Turn, unit: Unit) -> None:
    """Run a sub-graph for ``unit``, afresh at every attempt."""
    if unit.status is not Status.READY:
        return
    node, outer = unit.task.node, unit.task.scope
    name = node.task.graph or ""
    count = unit.attempts + 1
    try:
        given = turn.fact(f"input:{unit.key}#{count}", lambda: _child_input(turn, unit, name))
    except TurnError as error:
        units.exhausted(turn, unit, error.error)
        return
    turn.state.tasks += len(turn.program.plans[name].nodes)
    if turn.state.tasks > MAX_TASKS:
        units.exhausted(turn, unit, failure("InvalidInput", f"the run has more than {MAX_TASKS} tasks, sub-graphs included"))
        return
    units.started(turn.state, unit)
    unit.status = Status.CHILD
    base = base_values(given, outer.base["query"], outer.base["context"], unit.task.session, turn.state.run_id, name, turn.now)
    path = unit.key + (f"@{count}/" if count > 1 else "/")
    unit.child = Scope(turn.program.plans[name], name, path, unit, base, turn.now)
    begin(turn, unit.child)


def _child_input(turn: Turn, unit: Unit, name: str) -> object:
    try:
        return turn.program.inputs[name].accept(units.inputs_of(unit), f"{unit.task.node.path}.with")
    except SchemaError as error:
        raise TurnError(failure("InvalidInput", str(error))) from None


def halt(turn: Turn, scope: Scope, error: Error, reason: str) -> None:
    """Start nothing new; cancel what runs, skip the rest."""
    scope.halted = True
    scope.ready.clear()
    first, last = (scope.plan.finals, len(scope.tasks)) if scope.finally_stage else (0, scope.plan.finals)
    for task in scope.tasks[first:last]:
        tasks.halt(turn, task, error, reason)


def cancel(turn: Turn, scope: Scope, error: Error, force: bool = False) -> None:
    """Cancel (or time out) a graph. Its finally tasks still run, unless ``force`` ends them and those of its sub-graphs."""
    if scope.ended:
        return
    first = scope.cut is None
    scope.cut = scope.cut or error
    scope.forced = scope.forced or force
    if scope.finally_stage and scope.phase == SUCCEEDED:
        scope.phase, scope.error, scope.output = _phase_of(scope.cut), scope.cut, None
    if force if scope.finally_stage else first:
        halt(turn, scope, error, _reason(error))
    if force:
        for task in scope.tasks:
            for unit in task.units:
                if unit.status is Status.CHILD and unit.child is not None:
                    turn.work.append(("cancel", unit.child, error, True))


def time_out(turn: Turn, scope: Scope) -> None:
    """The graph's time is over, waits included."""
    if scope.cut is None and not scope.finally_stage and not scope.ended:
        cancel(turn, scope, failure("Timeout", f"graph '{scope.graph}' took longer than {scope.plan.spec.timeout}"))


def time_out_finally(turn: Turn, scope: Scope) -> None:
    """The budget of the finally tasks is spent."""
    if scope.finally_stage and not scope.ended:
        error = failure("Timeout", f"the finally tasks of '{scope.graph}' took longer than {scope.plan.spec.finally_timeout}")
        scope.failures.append(("finally", error))
        halt(turn, scope, error, "RunTimedOut")


def _reason(error: Error) -> str:
    return "RunTimedOut" if error["type"] == "Timeout" else "RunCancelled"


def _phase_of(error: Error) -> str:
    return FAILED if error["type"] == "Timeout" else CANCELLED


def settle(turn: Turn, scope: Scope) -> None:
    """Every task of the stage is terminal: judge the graph and run its finally tasks, or end it."""
    if scope.open or scope.ended:
        return
    if scope.finally_stage:
        _end(turn, scope)
        return
    _judge(turn, scope)
    scope.finally_stage, scope.halted = True, False
    scope.failures.clear()
    finals = scope.tasks[scope.plan.finals :]
    if not finals:
        _end(turn, scope)
        return
    failed = [task.node.name for task in scope.tasks[: scope.plan.finals] if task.phase == FAILED]
    scope.base = {**scope.base, "run": {**scope.base["run"], "phase": scope.phase, "failed": failed, "error": scope.error}}
    scope.base["tasks"].fill()
    scope.open = len(finals)
    if scope.forced and scope.cut is not None:
        halt(turn, scope, scope.cut, _reason(scope.cut))
        return
    turn.state.at(turn.now + seconds(scope.plan.spec.finally_timeout), "finally", scope)
    for task in finals:
        if not task.waiting:
            turn.work.append(("activate", scope, task.node.index))


def _judge(turn: Turn, scope: Scope) -> None:
    """The phase to be: cancelled or timed out, failed by a task, or succeeded with an output."""
    if scope.cut is not None:
        scope.phase, scope.error = _phase_of(scope.cut), scope.cut
    elif scope.failures:
        scope.phase, scope.error = FAILED, _blame(*scope.failures[0])
    else:
        scope.phase = SUCCEEDED
        template = scope.plan.output
        if template is None:
            return
        values = scope.base if scope.base["session"] is turn.state.session else {**scope.base, "session": turn.state.session}
        scope.base["tasks"].fill()
        try:
            name = f"output:{scope.path}"
            output = turn.fact(name, lambda: evaluate(template, values, "spec.output", "InvalidOutput"))
            charge(turn.state, bounded(output, "spec.output", "InvalidOutput", MAX_OUTPUT if scope.parent else MAX_RUN))
        except TurnError as error:
            scope.phase, scope.error = FAILED, error.error
        else:
            scope.output = output


def _blame(name: str, error: Error) -> Error:
    return {
        **error,
        "message": f"task '{name}': {error['message']}"[:4096],
        "details": {**(error.get("details") or {}), "task": name},
    }


def _end(turn: Turn, scope: Scope) -> None:
    scope.ended = True
    if scope.phase == SUCCEEDED and scope.failures:
        scope.phase, scope.error, scope.output = FAILED, _blame(*scope.failures[0]), None
    if scope.parent is not None:
        turn.work.append(("child_done", scope.parent, scope))
        return
    state = turn.state
    state.finished_at = turn.now
    state.timers.clear()
    state.open.clear()
    turn.commands.append(EndRun(scope.phase))


def child_done(turn: Turn, unit: Unit, scope: Scope) -> None:
    """A sub-graph ended: its output is the task's, its failure an attempt's."""
    if unit.child is not scope or unit.status is not Status.CHILD:
        return
    unit.status = Status.IDLE
    if unit.task.cut is not None:
        unit.status = Status.DONE
        unit.task.children -= 1
        tasks.finish_cut(turn, unit.task)
    elif unit.cut is not None:
        error, unit.cut = unit.cut, None
        units.failed(turn, unit, error)
    elif scope.phase == SUCCEEDED:
        units.succeeded(turn, unit, scope.output)
    else:
        units.failed(turn, unit, scope.error or failure("Failed", f"graph '{scope.graph}' was {scope.phase.lower()}"))
