"""Drives the pure engine in tests: graphs from dicts or YAML, a scripted worker, a journal that can be replayed at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from arklex_api.base import JSON
from arklex_api.taskgraph import TaskGraph
from arklex_api.worker import Worker
from arklex_runtime.engine.commands import CancelAttempt, Command, EndRun, Lookup, SaveSession, Start
from arklex_runtime.engine.document import run_document
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
)
from arklex_runtime.engine.program import Program
from arklex_runtime.engine.state import RunState, Scope, Status, TaskState, Unit
from arklex_runtime.engine.step import replay, step, write_batch

T0 = 1_700_000_000.0
MAX_STEPS = 100_000


@dataclass(frozen=True, slots=True)
class Reply:
    """How a scripted attempt ends: ok, error, lost, interrupted, hang (never by itself)."""

    kind: str
    output: JSON = None
    error: dict[str, Any] | None = None


LOST, INTERRUPTED, HANG = Reply("lost"), Reply("interrupted"), Reply("hang")
Script = dict[str, Reply | list[Reply]]


def ok(output: JSON = None) -> Reply:
    return Reply("ok", output)


def error(kind: str = "Failed", message: str = "boom", retryable: bool | None = None) -> dict[str, Any]:
    return {"type": kind, "message": message, "retryable": retryable, "details": None}


def err(kind: str = "Failed", message: str = "boom", retryable: bool | None = None) -> Reply:
    return Reply("error", error=error(kind, message, retryable))


Spec = str | dict[str, Any]


def spec_of(given: Spec) -> dict[str, Any]:
    """A graph's spec from YAML text or as it is; text may also be the list of tasks alone."""
    spec = yaml.safe_load(given) if isinstance(given, str) else given
    return {"tasks": spec} if isinstance(spec, list) else dict(spec)


def program_of(main: Spec, **others: Spec) -> Program:
    """The program of graph ``main`` with sub-graphs by name; every Worker that is named exists."""
    specs = {"main": spec_of(main)} | {name.replace("_", "-"): spec_of(other) for name, other in others.items()}
    graphs = {name: graph_of(name, spec) for name, spec in specs.items()}
    named = {"w"}
    for graph in graphs.values():
        for task in (*graph.spec.tasks, *graph.spec.finally_):
            named |= {task.worker or "w", (task.fallback and task.fallback.worker) or "w", graph.spec.llm or "w"}
    return Program.of("main", graphs, {name: worker_of(name) for name in named})


def graph_of(name: str, spec: dict[str, Any]) -> TaskGraph:
    head = {"apiVersion": "arklex.ai/v1alpha1", "kind": "TaskGraph", "metadata": {"name": name}}
    return TaskGraph.model_validate({**head, "spec": spec})


def worker_of(name: str, config: dict[str, Any] | None = None) -> Worker:
    head = {"apiVersion": "arklex.ai/v1alpha1", "kind": "Worker", "metadata": {"name": name}}
    return Worker.model_validate({**head, "spec": {"type": "custom", "config": config or {"handler": "m:f"}}})


class Driver:
    """One run. ``asked``: starts that wait for a slot; ``running``: (key, attempt) by key; ``journal``: one batch an event."""

    def __init__(self, program: Program, script: Script | None = None) -> None:
        self.program = program
        self.script = script or {}
        self.state = RunState()
        self.now = T0
        self.journal: list[bytes] = []
        self.commands: list[Command] = []
        self.asked: dict[str, Start] = {}
        self.lookups: dict[str, str] = {}
        self.running: dict[str, Start] = {}
        self.order: list[tuple[str, str]] = []
        self.peak = 0
        self.cache: dict[str, JSON] = {}
        self.ended: str | None = None

    def begin(self, input: JSON = None, query: str = "", context: Any = None, session: Any = None) -> Driver:
        self.feed(Accepted(self.now, "r1", query, input, context or {}, session or {}))
        return self

    def feed(self, event: Event) -> list[Command]:
        """Let the event happen and take note of what it leads to."""
        turn = step(self.program, self.state, event)
        self.journal.append(write_batch([(event.encode(), turn.facts)]))
        for command in turn.commands:
            self._note(command)
        self.commands += turn.commands
        for key in [key for key in self.lookups if key not in self.state.open]:
            del self.lookups[key]
        return turn.commands

    def _note(self, command: Command) -> None:
        if isinstance(command, Start):
            assert command.unit.key not in self.asked and command.unit.key not in self.running, command.unit.key
            self.asked[command.unit.key] = command
            self.peak = max(self.peak, len(self.asked) + len(self.running))
        elif isinstance(command, CancelAttempt):
            held = self.asked.pop(command.key, None) or self.running.pop(command.key, None)
            assert held is not None and held.attempt == command.attempt, command
        elif isinstance(command, Lookup):
            self.lookups[command.unit.key] = command.cache_key
        elif isinstance(command, EndRun):
            assert self.ended is None and not self.asked and not self.running
            self.ended = command.phase

    def start(self, key: str) -> Start:
        """The attempt that was asked for gets its slot."""
        command = self.asked.pop(key)
        self.running[key] = command
        self.order.append(("start", key))
        self.feed(Started(self.now, key, command.attempt))
        return command

    def reply_of(self, command: Start) -> Reply:
        """What the script says to this attempt: an entry's n-th for the n-th, its last for all after it."""
        entry = self.script.get(command.unit.key, ok({"key": command.unit.key, "in": command.inputs}))
        return entry[min(command.attempt, len(entry)) - 1] if isinstance(entry, list) else entry

    def end(self, key: str, reply: Reply | None = None, jitter: float = 0.5, size: int = 1) -> list[Command]:
        """The running attempt ends as the script, or ``reply``, says."""
        command = self.running.pop(key)
        reply = reply or self.reply_of(command)
        self.order.append(("end", key))
        if reply.kind == "lost":
            return self.feed(Lost(self.now, key, command.attempt))
        if reply.kind == "interrupted":
            return self.feed(Interrupted(self.now, key, command.attempt))
        return self.feed(Finished(self.now, key, command.attempt, reply.output, reply.error, size, jitter))

    def do(self, key: str, reply: Reply | None = None, jitter: float = 0.5) -> list[Command]:
        """Start the attempt, and end it unless it hangs."""
        self.start(key)
        if (reply or self.reply_of(self.running[key])).kind == "hang":
            return []
        return self.end(key, reply, jitter)

    def look(self, key: str) -> list[Command]:
        """Answer a lookup from ``cache``."""
        found = self.lookups.pop(key)
        if found in self.cache:
            return self.feed(CacheHit(self.now, key, self.cache[found]))
        return self.feed(CacheMiss(self.now, key))

    def decide(self, key: str, approved: bool = True, by: str | None = None, data: JSON = None) -> list[Command]:
        return self.feed(Decided(self.now, key, approved, by, data))

    def cancel(self, reason: str = "cancelled") -> list[Command]:
        return self.feed(CancelRequested(self.now, reason))

    def share(self, data: dict[str, JSON]) -> None:
        self.feed(SessionRead(self.now, data))

    def tick(self, to: float | None = None, jitter: float = 0.5) -> list[Command]:
        """Time comes to ``to`` seconds after the beginning, or to what is due next."""
        due = T0 + to if to is not None else self.state.next_due
        assert due is not None
        self.now = max(self.now, due)
        return self.feed(Tick(self.now, jitter))

    def run(self, *, until: Callable[[], bool] | None = None) -> Driver:
        """Go on, first in first out, until the run ends or nothing more can happen without time."""
        for _ in range(MAX_STEPS):
            if until is not None and until():
                return self
            if self.lookups:
                self.look(next(iter(self.lookups)))
            elif self.asked:
                self.start(next(iter(self.asked)))
            elif key := next((key for key, start in self.running.items() if self.reply_of(start).kind != "hang"), None):
                self.end(key)
            else:
                return self
        raise AssertionError("the run does not come to an end")

    def finish(self) -> Driver:
        """``run``, and let time pass whenever nothing else can happen."""
        for _ in range(MAX_STEPS):
            self.run()
            if self.ended is not None:
                return self
            self.tick()
        raise AssertionError("the run does not come to an end")

    @property
    def document(self) -> dict[str, Any]:
        return run_document(self.state, self.program.root)

    def task(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self.document["tasks"][path]
        return found

    @property
    def phases(self) -> dict[str, str]:
        return {name: task["phase"] for name, task in self.document["tasks"].items()}

    def inputs(self, key: str) -> JSON:
        """Inputs of the last start of ``key``."""
        found = [command for command in self.commands if isinstance(command, Start) and command.unit.key == key]
        return found[-1].inputs

    def open(self) -> bool:
        """Whether the run goes on."""
        return self.ended is None

    def session(self) -> dict[str, JSON]:
        return self.state.session

    def patches(self) -> list[dict[str, JSON]]:
        return [command.patch for command in self.commands if isinstance(command, SaveSession)]

    def check(self) -> Driver:
        """The journal folds to the very state that was lived through."""
        assert snapshot(replay(self.program, self.journal)) == snapshot(self.state)
        return self


def run(main: Spec, script: Script | None = None, *, input: JSON = None, session: Any = None, **others: Spec) -> Driver:
    """A whole run, and a replay of its journal."""
    return Driver(program_of(main, **others), script).begin(input=input, session=session).finish().check()


def snapshot(state: RunState) -> dict[str, Any]:
    """All that can be seen of a state, as JSON-like data that two states can be compared by."""
    plain = {name: getattr(state, name) for name in RunState.__slots__ if name not in ("root", "open", "timers")}
    return {
        **plain,
        "open": {key: _name(unit) for key, unit in sorted(state.open.items())},
        "timers": [(due, order, kind, _name(target), mark) for due, order, kind, target, mark in sorted(_keys(state))],
        "root": None if state.root is None else _scope(state.root),
    }


def _keys(state: RunState) -> Iterable[Any]:
    return ((due, order, kind, target, mark) for due, order, kind, target, mark in state.timers)


def _name(target: Any) -> str:
    if isinstance(target, Unit):
        return f"unit {target.key}"
    return f"scope {target.path}" if isinstance(target, Scope) else f"task {target.scope.path}{target.node.name}"


def _scope(scope: Scope) -> dict[str, Any]:
    names = [name for name in Scope.__slots__ if name not in ("plan", "parent", "base", "tasks", "ready")]
    base = {name: value for name, value in scope.base.items() if name != "tasks"}
    return {
        **{name: getattr(scope, name) for name in names},
        "parent": scope.parent.key if scope.parent else None,
        "base": base,
        "ready": [unit.key for unit in scope.ready],
        "tasks": [_task(task) for task in scope.tasks],
    }


def _task(task: TaskState) -> dict[str, Any]:
    names = [name for name in TaskState.__slots__ if name not in ("node", "scope", "units")]
    return {"name": task.node.name, **{n: getattr(task, n) for n in names}, "units": [_unit(unit) for unit in task.units]}


def _unit(unit: Unit) -> dict[str, Any]:
    found = {name: getattr(unit, name) for name in Unit.__slots__ if name not in ("task", "child")}
    return {**found, "status": Status(unit.status).name, "child": _scope(unit.child) if unit.child else None}
