"""The engine's one entry: ``step(program, state, event)``.

Deterministic: the same program and the same events with their facts give the same state and commands. The state is changed
in place, which costs no copy of a graph of 10,000 tasks at each of its events.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from arklex_api.base import JSON
from arklex_runtime.engine import scopes, tasks, units
from arklex_runtime.engine.commands import AskApproval, CancelAttempt, Command, Lookup
from arklex_runtime.engine.events import (
    Accepted,
    CacheHit,
    CacheMiss,
    CancelRequested,
    Decided,
    Event,
    Finished,
    Interrupted,
    Lost,
    SessionRead,
    Started,
    Tick,
    decode,
)
from arklex_runtime.engine.program import Program
from arklex_runtime.engine.state import RunState, Scope, Status, Unit
from arklex_runtime.engine.turn import Turn, TurnError, base_values, charge, failure


def step(program: Program, state: RunState, event: Event, facts: dict[str, JSON] | None = None) -> Turn:
    """Let ``event`` happen to ``state``: what it asks for (``commands``) and the ``facts`` to journal with it.

    ``facts`` are given on replay only. Events that come too late change nothing.
    """
    if event.at > state.now:
        state.now = event.at
    state.events += 1
    turn = Turn(program, state, state.now, getattr(event, "jitter", 0.5), facts)
    if state.finished_at is None:
        _HANDLERS[type(event)](turn, event)
        work = turn.work
        while work:
            item = work.popleft()
            _WORK[item[0]](turn, *item[1:])
    else:
        state.refused += 1
    return turn


def start(state: RunState, event: Started) -> bool:
    """``step`` for Started, the most frequent event, which asks for nothing; False if the event came too late."""
    unit = state.open.get(event.key)
    if unit is None or unit.status is not Status.ISSUED or unit.attempts + 1 != event.attempt:
        return False
    if event.at > state.now:
        state.now = event.at
    state.events += 1
    units.started(state, unit)
    return True


def replay(program: Program, batches: Iterable[bytes]) -> RunState:
    """The state that a run's journal folds to."""
    state = RunState()
    for batch in batches:
        for record, facts in read_batch(batch):
            event = decode(record)
            if event is not None:
                step(program, state, event, facts)
    return state


def write_batch(records: list[tuple[list[JSON], dict[str, JSON]]]) -> bytes:
    """The journal's form of events with their facts: a JSON array of ``[event, facts]``."""
    return orjson.dumps(records)


def read_batch(batch: bytes) -> list[tuple[list[JSON], dict[str, JSON]]]:
    """The events and facts of one batch. An owner's claim, which has no facts, gets none."""
    body = orjson.loads(batch)
    return [(entry[0], entry[1]) if isinstance(entry[0], list) else (entry, {}) for entry in body]


def outstanding(state: RunState) -> tuple[list[Command | Unit], list[Unit]]:
    """After a replay: what was asked for and not answered (a unit stands for its next start), and the attempts that ran."""
    asked: list[Command | Unit] = []
    running: list[Unit] = []
    for unit in state.open.values():
        if unit.status is Status.RUNNING:
            running.append(unit)
        elif unit.status is Status.ISSUED:
            asked.append(unit)
        elif unit.status is Status.LOOKUP and unit.cache_key:
            asked.append(Lookup(unit, unit.cache_key))
        elif unit.status is Status.APPROVAL:
            asked.append(AskApproval(unit, unit.message))
    return asked, running


def _accepted(turn: Turn, event: Accepted) -> None:
    state, program = turn.state, turn.program
    if state.root is not None:
        state.refused += 1
        return
    state.run_id, state.session, state.started_at = event.run_id, event.session, turn.now
    state.reuse = event.reuse or {}
    base = base_values(event.input, event.query, event.context, event.session, event.run_id, program.root, turn.now)
    state.root = Scope(program.plan, program.root, "", None, base, turn.now)
    for name in state.reuse:
        state.root.tasks[program.plan.by_name[name]].wanted = True
    scopes.begin(turn, state.root)


def _unit(turn: Turn, event: Any, status: Status, attempt: int | None = None) -> Unit | None:
    unit = turn.state.open.get(event.key)
    if unit is None or unit.status is not status or (attempt is not None and unit.attempts != attempt):
        turn.state.refused += 1
        return None
    return unit


def _started(turn: Turn, event: Started) -> None:
    unit = _unit(turn, event, Status.ISSUED, event.attempt - 1)
    if unit is not None:
        units.started(turn.state, unit)


def _finished(turn: Turn, event: Finished) -> None:
    unit = turn.state.open.get(event.key)
    if unit is None or not _is_current(unit, event):
        turn.state.refused += 1
        return
    units.release(turn, unit)
    if event.error is not None:
        units.failed(turn, unit, event.error)
        return
    try:
        charge(turn.state, event.size)
    except TurnError as error:
        units.exhausted(turn, unit, error.error)
    else:
        units.succeeded(turn, unit, event.output)


def _is_current(unit: Unit, event: Finished) -> bool:
    """A running attempt may end either way; one that never got a slot (its limit did not let it) may only fail."""
    if unit.status is Status.RUNNING:
        return unit.attempts == event.attempt
    return unit.status is Status.ISSUED and event.error is not None and unit.attempts + 1 == event.attempt


def _lost(turn: Turn, event: Lost) -> None:
    unit = _unit(turn, event, Status.RUNNING, event.attempt)
    if unit is not None:
        units.release(turn, unit)
        units.lost(turn, unit)


def _interrupted(turn: Turn, event: Interrupted) -> None:
    unit = _unit(turn, event, Status.RUNNING, event.attempt)
    if unit is not None:
        units.release(turn, unit)
        units.ready(turn, unit)


def _cache_hit(turn: Turn, event: CacheHit) -> None:
    unit = _unit(turn, event, Status.LOOKUP)
    if unit is None:
        return
    units.release(turn, unit)
    try:
        charge(turn.state, len(orjson.dumps(event.output)))
    except TurnError as error:
        units.exhausted(turn, unit, error.error)
    else:
        units.succeeded(turn, unit, event.output, cached=True)


def _cache_miss(turn: Turn, event: CacheMiss) -> None:
    unit = _unit(turn, event, Status.LOOKUP)
    if unit is not None:
        units.release(turn, unit)
        units.ready(turn, unit)


def _decided(turn: Turn, event: Decided) -> None:
    unit = _unit(turn, event, Status.APPROVAL)
    if unit is None:
        return
    units.release(turn, unit)
    output = {"approved": event.approved, "by": event.by, "at": event.at, "data": event.data}
    if event.approved:
        units.succeeded(turn, unit, {**output, "at": _when(turn)})
    else:
        by = f" by {event.by}" if event.by else ""
        units.exhausted(turn, unit, failure("Denied", f"the approval was rejected{by}", {**output, "at": _when(turn)}))


def _when(turn: Turn) -> str:
    from arklex_runtime.engine.times import rfc3339

    return rfc3339(turn.now)


def _cancel(turn: Turn, event: CancelRequested) -> None:
    state = turn.state
    if state.root is None:
        state.refused += 1
        return
    state.cancels += 1
    scopes.cancel(turn, state.root, failure("Cancelled", event.reason), force=state.cancels > 1)


def _session(turn: Turn, event: SessionRead) -> None:
    turn.state.session = event.data


def _tick(turn: Turn, event: Tick) -> None:
    timers = turn.state.timers
    while timers and timers[0][0] <= turn.now:
        _, _, kind, target, mark = heapq.heappop(timers)
        _DUE[kind](turn, target, mark)


def _attempt_due(turn: Turn, unit: Unit, mark: int) -> None:
    if unit.attempts != mark or unit.task.terminal:
        return
    error = failure("Timeout", f"the attempt took longer than {unit.task.node.task.timeout}")
    if unit.status is Status.RUNNING:
        turn.commands.append(CancelAttempt(unit.key, mark, "Timeout"))
        units.release(turn, unit)
        units.failed(turn, unit, error)
    elif unit.status is Status.CHILD and unit.child is not None and unit.cut is None:
        unit.cut = error
        scopes.cancel(turn, unit.child, error)


def _retry_due(turn: Turn, unit: Unit, mark: int) -> None:
    if unit.status is Status.BACKOFF and unit.failures == mark and not unit.task.terminal:
        units.ready(turn, unit)


def _approval_due(turn: Turn, unit: Unit, _: int) -> None:
    if unit.status is Status.APPROVAL:
        units.release(turn, unit)
        units.exhausted(turn, unit, failure("Timeout", "nobody decided in time"))


_HANDLERS: dict[type[Event], Callable[[Turn, Any], None]] = {
    Accepted: _accepted,
    Started: _started,
    Finished: _finished,
    Lost: _lost,
    Interrupted: _interrupted,
    CacheHit: _cache_hit,
    CacheMiss: _cache_miss,
    Decided: _decided,
    CancelRequested: _cancel,
    Tick: _tick,
    SessionRead: _session,
}
_DUE: dict[str, Callable[[Turn, Any, int], None]] = {
    "attempt": _attempt_due,
    "retry": _retry_due,
    "approval": _approval_due,
    "scope": lambda turn, scope, _: scopes.time_out(turn, scope),
    "finally": lambda turn, scope, _: scopes.time_out_finally(turn, scope),
}
_WORK: dict[str, Callable[..., None]] = {
    "activate": tasks.activate,
    "done": tasks.unit_done,
    "settle": scopes.settle,
    "pump": units.pump,
    "child": scopes.open_child,
    "child_done": scopes.child_done,
    "want": tasks.want,
    "halt": scopes.halt,
    "cancel": scopes.cancel,
    "release": tasks.release_fallback,
}
