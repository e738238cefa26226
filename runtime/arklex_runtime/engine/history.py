"""A run's journal as people read it: what happened, when, to which attempt, and why something waits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from arklex_runtime.engine.commands import CancelAttempt, Command
from arklex_runtime.engine.events import (
    Accepted,
    CacheHit,
    CancelRequested,
    Decided,
    Event,
    Finished,
    Interrupted,
    Lost,
    Started,
    decode,
)
from arklex_runtime.engine.program import Program
from arklex_runtime.engine.state import RunState, Scope, Status
from arklex_runtime.engine.step import read_batch, step
from arklex_runtime.engine.times import rfc3339


def history(program: Program, batches: Iterable[bytes]) -> list[dict[str, Any]]:
    """``{at, event, task, attempt, message, until}`` in order; all but the first two where they apply.

    ``until`` is when a retry is due or an approval expires.
    """
    state, found = RunState(), []
    started: set[tuple[str, int]] = set()
    for batch in batches:
        for record, facts in read_batch(batch):
            event = decode(record)
            if event is None:
                found.append({"at": rfc3339(record[2]), "event": "Claimed", "message": f"owner {record[1]} took the run over"})
                continue
            entry = _entry(event)
            turn = step(program, state, event, facts)
            if entry is not None:
                found.append(entry)
            if isinstance(event, Started):
                started.add((event.key, event.attempt))
            found += [_cut(event.at, one) for one in _cancelled(turn.commands) if (one.key, one.attempt) in started]
    if state.finished_at is not None:
        found.append({"at": rfc3339(state.finished_at), "event": state.phase, "message": _end(state)})
    else:
        found += waiting(state)
    return found


def _entry(event: Event) -> dict[str, Any] | None:
    at = rfc3339(event.at)
    if isinstance(event, Started):
        return {"at": at, "event": "Started", "task": event.key, "attempt": event.attempt}
    if isinstance(event, Finished):
        entry = {"at": at, "event": "Failed" if event.error else "Finished", "task": event.key, "attempt": event.attempt}
        return {**entry, "message": f"{event.error['type']}: {event.error['message']}"} if event.error else entry
    if isinstance(event, Lost):
        where = f", in pod {event.pod}," if event.pod else ""
        message = f"the process that ran it{where} died"
        return {"at": at, "event": "Lost", "task": event.key, "attempt": event.attempt, "message": message}
    if isinstance(event, Interrupted):
        message = f"given back at {f'the shutdown of pod {event.pod}' if event.pod else 'a shutdown'}, not charged"
        return {"at": at, "event": "Interrupted", "task": event.key, "attempt": event.attempt, "message": message}
    if isinstance(event, Decided):
        by = f" by {event.by}" if event.by else ""
        return {"at": at, "event": "Approved" if event.approved else "Rejected", "task": event.key, "message": by.strip()}
    if isinstance(event, CacheHit):
        return {"at": at, "event": "Cached", "task": event.key, "message": "an earlier result was used"}
    if isinstance(event, CancelRequested):
        return {"at": at, "event": "CancelRequested", "message": event.reason}
    return {"at": at, "event": "Accepted"} if isinstance(event, Accepted) else None


def _cancelled(commands: Iterable[Command]) -> list[CancelAttempt]:
    return [command for command in commands if isinstance(command, CancelAttempt)]


def _cut(at: float, command: CancelAttempt) -> dict[str, Any]:
    """An attempt that the engine ended: no event of its own tells of it."""
    late = command.reason == "Timeout"
    message = "the attempt took longer than its timeout" if late else "stopped with its run or siblings"
    event = "TimedOut" if late else "Cancelled"
    return {"at": rfc3339(at), "event": event, "task": command.key, "attempt": command.attempt, "message": message}


def _end(state: RunState) -> str:
    error = state.root.error if state.root else None
    return error["message"] if error else ""


_WHY = {
    Status.ISSUED: "waits for a slot of its worker, or for its tool's rate limit",
    Status.APPROVAL: "waits for a person: arklex approve {run} {task}",
    Status.LOOKUP: "looks for an earlier result",
    Status.BACKOFF: "waits to be tried again after: {error}",
    Status.FALLBACK: "waits for its fallback task",
    Status.READY: "waits for a free place under maxParallel",
}


def waiting(state: RunState) -> list[dict[str, Any]]:
    """Why each unit of an unfinished run that does not run waits."""
    found: list[dict[str, Any]] = []
    due = {target: rfc3339(at) for at, _, kind, target, _ in state.timers if kind in ("retry", "approval")}
    for scope in _scopes(state.root):
        for task in scope.tasks:
            for unit in task.units:
                if unit.status in _WHY:
                    error = (unit.error or {}).get("message", "")
                    why = _WHY[unit.status].format(run=state.run_id, task=unit.key, error=error)
                    entry = {"at": rfc3339(state.now), "event": "Waiting", "task": unit.key, "message": why}
                    found.append({**entry, "until": due[unit]} if unit in due else entry)
    return found


def _scopes(root: Scope | None) -> list[Scope]:
    found = [root] if root else []
    for scope in found:
        found += [unit.child for task in scope.tasks for unit in task.units if unit.child is not None and not unit.child.ended]
    return found
