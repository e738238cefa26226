"""One turn of the engine: what an event changes, the commands it leads to, and the facts that replay must not find anew.

Facts are the answers of expressions whose answer shapes the run (conditions, items, values, outputs): they are journaled with
the event and taken from there on replay, since CEL iterates maps in random order and a newer CEL may answer otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import orjson

from arklex_api.base import JSON
from arklex_api.expressions import ExpressionError, Template
from arklex_runtime.engine.commands import Command
from arklex_runtime.engine.events import Error
from arklex_runtime.engine.program import Program
from arklex_runtime.engine.state import TERMINAL, RunState, Scope, TaskState, Unit
from arklex_runtime.engine.times import rfc3339

MAX_OUTPUT = 1 << 20
"""Bytes of JSON in one task's input or output."""

MAX_RUN = 64 << 20
"""Bytes of JSON in all outputs of a run."""

MAX_TASKS = 1_000_000
"""Tasks of a run, those of all its sub-graphs included: graphs that run graphs multiply."""

NEVER_RETRIED = frozenset({"InvalidInput", "InvalidOutput", "Denied", "Cancelled"})


class TurnError(Exception):
    """Something about a task that is wrong for good; ``error`` is its error document."""

    def __init__(self, error: Error) -> None:
        super().__init__(error["message"])
        self.error = error


def failure(kind: str, message: str, details: dict[str, Any] | None = None) -> Error:
    """An error document: ``{type, message, retryable, details}``; the message is cut at 4 KiB."""
    return {"type": kind, "message": message[:4096], "retryable": kind not in NEVER_RETRIED, "details": details}


class Turn:
    """The work of one step. ``given`` holds the journaled facts on replay, else None."""

    __slots__ = ("commands", "facts", "given", "jitter", "now", "program", "state", "work")

    def __init__(self, program: Program, state: RunState, now: float, jitter: float, given: dict[str, JSON] | None) -> None:
        self.program = program
        self.state = state
        self.now = now
        self.jitter = jitter
        self.given = given
        self.facts: dict[str, JSON] = {}
        self.commands: list[Command] = []
        self.work: deque[tuple[Any, ...]] = deque()

    def fact(self, name: str, find: Callable[[], JSON]) -> JSON:
        """The answer journaled under ``name``, or a new one. Raises TurnError, also one that was journaled."""
        if self.given is not None and name in self.given:
            good, answer = self.given[name]
        else:
            try:
                good, answer = True, find()
            except TurnError as error:
                good, answer = False, error.error
        self.facts[name] = [good, answer]
        if not good:
            raise TurnError(answer)
        return answer


class Views(dict[str, JSON]):
    """``tasks`` as expressions see it: name -> {phase, output, error, errors}, built when asked for."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self.scope = scope

    def __missing__(self, name: str) -> JSON:
        task = self.scope.tasks[self.scope.plan.by_name[name]]
        view = view_of(task)
        if task.phase in TERMINAL:
            self[name] = view
        return view

    def fill(self) -> None:
        """Hold every task: for expressions over ``tasks`` as a whole."""
        for name in self.scope.plan.by_name:
            self[name]


def view_of(task: TaskState) -> dict[str, JSON]:
    """One task as expressions see it; no ``output`` where there is none."""
    view: dict[str, JSON] = {"phase": task.phase, "error": task.error, "errors": task.errors}
    if task.has_output:
        view["output"] = task.output
    return view


def base_values(
    scope_input: JSON, query: str, context: dict[str, JSON], session: dict[str, JSON], run_id: str, graph: str, at: float
) -> dict[str, JSON]:
    """The variables that all tasks of a scope share; ``tasks`` is added with the scope."""
    run = {"id": run_id, "graph": graph, "startedAt": rfc3339(at)}
    return {"input": scope_input, "query": query, "context": context, "session": session, "run": run}


def values(task: TaskState, unit: Unit | None = None) -> dict[str, JSON]:
    """The variables of an expression of ``task``, with the item's for an item."""
    found = task.scope.base
    if task.session is not found["session"]:
        found = {**found, "session": task.session}
    if unit is not None and unit.index >= 0 and task.node.task.for_each:
        found = {**found, task.node.task.for_each.as_: unit.item, "index": unit.index}
    return found


def evaluate(template: Template, scope: dict[str, JSON], where: str, kind: str = "InvalidInput") -> JSON:
    """The template's value. Raises TurnError of type ``kind`` naming the field ``where``."""
    try:
        return template.evaluate(scope)
    except ExpressionError as error:
        raise TurnError(failure(kind if error.type == "InvalidInput" else error.type, f"{where}: {error}")) from None


def charge(state: RunState, size: int) -> None:
    """Count an output of ``size`` bytes. Raises TurnError once the run's outputs have more than 64 MiB."""
    state.bytes += size
    if state.bytes > MAX_RUN:
        raise TurnError(failure("InvalidOutput", "the outputs of this run have more than 64 MiB: pass large data by URI"))


def copied(value: JSON, where: str) -> JSON:
    """A copy of a task's input, so that nobody can change what others read. Raises TurnError InvalidInput above 1 MiB."""
    data = orjson.dumps(value)
    if len(data) > MAX_OUTPUT:
        bounded(value, where, "InvalidInput")
    return orjson.loads(data)


def bounded(value: JSON, where: str, kind: str, limit: int = MAX_OUTPUT) -> int:
    """The size of ``value`` as JSON, in bytes. Raises TurnError of type ``kind`` above ``limit``."""
    size = len(orjson.dumps(value))
    if size > limit:
        message = f"{where} has {size} bytes of JSON, more than {limit >> 20} MiB: pass large data by URI"
        raise TurnError(failure(kind, message))
    return size
