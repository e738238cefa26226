"""A second opinion on what a run's document says, from semantics.md alone: no events, no order, no engine.

Graphs are given in a small model that knows its own expressions. Each task's end is found from its dependencies' ends, by
recursion; scripted replies stand for the workers. What the order of events decides (who failed first, what was cut off) is
left open: ``Loose`` prefixes, sets of possible errors, or Undetermined.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from arklex_api.base import JSON
from tests.engine_driver import Reply

NEVER_RETRIED = {"InvalidInput", "InvalidOutput", "Denied", "Cancelled"}


class Invalid(Exception):
    """An expression that cannot be evaluated."""


class Undetermined(Exception):
    """What happens next is up to the order of events."""


# Expressions: how they are written, what they need, what they give


@dataclass(frozen=True)
class Expr:
    """One expression: ``op`` over the task ``of``, or over ``value``."""

    op: str
    of: str = ""
    value: JSON = None

    @property
    def text(self) -> JSON:
        if self.op == "const":
            return self.value
        return "${" + _TEXTS[self.op].replace("T", f"tasks.{self.of}") + "}"

    @property
    def need(self) -> str:
        """How it depends on its task: read (its output, unguarded), guard, order, or not at all."""
        if not self.of:
            return ""
        return "read" if self.op in ("out", "n", "list", "positive") else "order" if self.op == "count" else "guard"


_TEXTS = {
    "out": "T.output", "n": "T.output.n", "list": "T.output.l", "positive": "T.output.n > 0",
    "has": "has(T.output)", "maybe": "has(T.output) ? T.output : 'none'", "phase": "T.phase", "failed": "T.phase == 'Failed'",
    "type": "has(T.error) ? T.error.type : 'none'", "count": "size(T.errors)",
    "item": "item", "index": "index", "input": "input", "runphase": "run.phase", "yes": "1 > 0", "no": "1 < 0",
    "bad": "input.nope.nope",
}  # fmt: skip


@dataclass
class TaskModel:
    name: str
    kind: str = "worker"
    inputs: list[Expr] = field(default_factory=list)
    depends: list[str] = field(default_factory=list)
    when: Expr | None = None
    each: Expr | None = None
    each_parallel: int | None = None
    limit: int = 0
    errors: list[str] | None = None
    lost_limit: int = 5
    timeout: bool = False
    cache: bool = False
    on_error: str = "fail"
    fallback: tuple[str, Any] | None = None
    graph: str = ""
    counts: bool = False

    def spec(self) -> dict[str, Any]:
        given: JSON = [expr.text for expr in self.inputs]
        task: dict[str, Any] = {"name": self.name, "dependsOn": self.depends, "onError": self.on_error}
        if self.kind == "value":
            task["value"] = given
        elif self.kind == "approval":
            task["approval"] = {}
            del task["onError"]
        else:
            task |= {"with": given} | ({"graph": self.graph} if self.kind == "graph" else {"worker": "w"})
            task["retry"] = {"limit": self.limit, "lostLimit": self.lost_limit} | (
                {"errors": self.errors} if self.errors else {}
            )
        if self.when:
            task["when"] = self.when.text
        if self.each:
            task["forEach"] = {"items": self.each.text} | ({"maxParallel": self.each_parallel} if self.each_parallel else {})
        if self.timeout:
            task["timeout"] = "5s"
        if self.cache:
            task["cache"] = {"ttl": "1h"}
        if self.counts:
            task["saveState"] = {self.name: {"$increment": 1}}
        if self.fallback:
            way, how = self.fallback
            given = how.text if isinstance(how, Expr) else how
            task["fallback"] = {"worker": "v", **({"with": [given]} if how else {})} if way == "worker" else {way: given}
        return task

    def exprs(self) -> list[Expr]:
        found = [*self.inputs, *(expr for expr in (self.when, self.each) if expr)]
        return [*found, self.fallback[1]] if self.fallback and isinstance(self.fallback[1], Expr) else found


@dataclass
class GraphModel:
    tasks: list[TaskModel]
    finals: list[TaskModel] = field(default_factory=list)
    output: list[Expr] = field(default_factory=list)
    on_failure: str = "continue"
    max_parallel: int = 64

    def spec(self) -> dict[str, Any]:
        return {
            "tasks": [task.spec() for task in self.tasks],
            "finally": [task.spec() for task in self.finals],
            "output": [expr.text for expr in self.output],
            "onFailure": self.on_failure,
            "maxParallel": self.max_parallel,
            "timeout": "1000h",
        }


def echo(key: str, inputs: JSON) -> JSON:
    """What a worker answers: small, and different for any other input."""
    mark = zlib.crc32(json.dumps([key.split("/")[-1], inputs], sort_keys=True).encode())
    return {"n": mark % 4, "l": list(range(mark % 3)), "h": mark}


def hit(key: str) -> bool:
    """Whether a task that asks for an earlier result finds one."""
    return zlib.crc32(f"hit {key}".encode()) % 2 == 0


# Results


@dataclass
class Result:
    """A task's end. ``errors`` are the types its error may have; ``attempts`` None if the order of events decides."""

    phase: str
    attempts: int | None = 0
    has_output: bool = False
    output: JSON = None
    errors: frozenset[str] = frozenset()
    entries: list[tuple[int, str]] = field(default_factory=list)
    own_when: bool = False
    fallback: bool = False
    cached: bool = False


@dataclass
class Ending:
    """A graph's end."""

    phase: str
    output: JSON = None
    errors: frozenset[str] = frozenset()


@dataclass
class Unit:
    """One unit's end: ``output`` if ``good``."""

    good: bool
    attempts: int | None
    output: JSON = None
    errors: frozenset[str] = frozenset()
    fallback: bool = False
    cached: bool = False


class Oracle:
    """``reply(key, attempt)`` is the script; ``document`` collects results by path, ``loose`` what stays open."""

    def __init__(self, graphs: dict[str, GraphModel], reply: Callable[[str, int], Reply]) -> None:
        self.graphs = graphs
        self.reply = reply
        self.document: dict[str, Result] = {}
        self.loose: set[str] = set()
        self.session: dict[str, int] = {}
        self.session_known = True

    def run(self, given: JSON) -> Ending:
        return _GraphRun(self, "main", "", "", given).end()


class _GraphRun:
    """One graph: ``path`` as documents show it, ``key`` as units are called (a retried sub-graph has its number there)."""

    def __init__(self, oracle: Oracle, name: str, path: str, key: str, given: JSON) -> None:
        self.oracle, self.model, self.path, self.key, self.given = oracle, oracle.graphs[name], path, key, given
        self.by_name = {task.name: task for task in (*self.model.tasks, *self.model.finals)}
        self.users: dict[str, list[TaskModel]] = {}
        for task in self.by_name.values():
            if task.fallback and task.fallback[0] == "task":
                self.users.setdefault(task.fallback[1], []).append(task)
        self.first: dict[str, tuple[Result, list[Unit]]] = {}
        self.ends: dict[str, Result] = {}
        self.phase = ""

    def end(self) -> Ending:
        before, known = dict(self.oracle.session), self.oracle.session_known
        ending = self._judge([self.over(task.name) for task in self.model.tasks])
        self.phase = ending.phase
        finals = [self.over(task.name) for task in self.model.finals]
        failed = self._failed(self.model.finals, finals)
        if ending.phase == "Succeeded" and failed:
            ending = Ending("Failed", None, failed)
        for name, result in self.ends.items():
            self.oracle.document[self.path + name] = result
        if self.model.on_failure == "stop" and self._failed(self.model.tasks, [self.ends[t.name] for t in self.model.tasks]):
            self.oracle.loose.add(self.path)
            self.oracle.session, self.oracle.session_known = before, False
        else:
            self.oracle.session_known &= known
        return ending

    def _failed(self, tasks: list[TaskModel], results: list[Result]) -> frozenset[str]:
        """Types of the failures that fail the graph: neither allowed, nor those of fallback tasks, which count where wanted."""
        ends = [r for t, r in zip(tasks, results, strict=True) if t.on_error == "fail" and t.name not in self.users]
        return frozenset(kind for result in ends if result.phase == "Failed" for kind in result.errors)

    def _judge(self, results: list[Result]) -> Ending:
        failed = self._failed(self.model.tasks, results)
        if failed:
            return Ending("Failed", None, failed)
        try:
            return Ending("Succeeded", [self.value(expr) for expr in self.model.output])
        except Invalid:
            return Ending("Failed", None, frozenset({"InvalidOutput"}))

    # One task

    def over(self, name: str) -> Result:
        """The task's end."""
        if name not in self.ends:
            self.ends[name] = self._over(self.by_name[name])
        return self.ends[name]

    def _over(self, task: TaskModel) -> Result:
        if task.name in self.users and not any(self._wants(user) for user in self.users[task.name]):
            return Result("Skipped")
        return self.ran(task)

    def _wants(self, user: TaskModel) -> bool:
        result = self.tried(user)[0]
        return result.phase == "Failed" and not _cancelled(result.errors)

    def ran(self, task: TaskModel) -> Result:
        """The task's end if it is wanted, its fallback task's output included."""
        result = self.tried(task)[0]
        if result.phase == "Failed" and task.fallback and task.fallback[0] == "task" and self._wants(task):
            other = self.ran(self.by_name[task.fallback[1]])
            if other.phase == "Succeeded":
                result = Result("Succeeded", result.attempts, True, other.output, result.errors, fallback=True)
        if result.phase == "Succeeded" and task.counts and task.name not in self.ends:
            self._count(task)
        self.ends[task.name] = result
        return result

    def _count(self, task: TaskModel) -> None:
        self.oracle.session[task.name] = self.oracle.session.get(task.name, 0) + 1

    def tried(self, task: TaskModel) -> tuple[Result, list[Unit]]:
        """The task's end but for its fallback task."""
        if task.name not in self.first:
            self.first[task.name] = (self._try(task), [])
        return self.first[task.name]

    def _try(self, task: TaskModel) -> Result:
        if not self._may_run(task):
            return Result("Skipped")
        try:
            wanted = self.value(task.when) if task.when else True
            if not isinstance(wanted, bool):
                raise Invalid
        except Invalid:
            return self._early(task)
        if not wanted:
            return Result("Skipped", own_when=True)
        if task.each is None:
            return self._single(self._unit(task, self.path + task.name, self.key + task.name, {}))
        try:
            items = self.value(task.each)
            if not isinstance(items, list):
                raise Invalid
        except Invalid:
            return Result("Failed", errors=frozenset({"InvalidInput"}))
        return self._items(task, items)

    def _may_run(self, task: TaskModel) -> bool:
        needs: dict[str, set[str]] = {name: {"order"} for name in task.depends}
        for expr in task.exprs():
            if expr.of:
                needs.setdefault(expr.of, set()).add(expr.need)
        for name, kinds in needs.items():
            source = self.over(name)
            if "guard" in kinds:
                continue
            if "read" in kinds:
                if not source.has_output:
                    return False
            elif not (
                source.phase == "Succeeded"
                or source.own_when
                or (source.phase == "Failed" and self.by_name[name].on_error == "continue")
            ):
                return False
        return True

    def _early(self, task: TaskModel) -> Result:
        """Its condition cannot be evaluated: no attempt, but its fallback may stand in, for a task without items."""
        unit = Unit(False, 0, errors=frozenset({"InvalidInput"}))
        if task.each is None and task.fallback:
            unit = self._fall_back(task, unit, self.key + task.name, {})
        return self._single(unit)

    @staticmethod
    def _single(unit: Unit) -> Result:
        if unit.good:
            return Result(
                "Succeeded", unit.attempts, True, unit.output, unit.errors, fallback=unit.fallback, cached=unit.cached
            )
        return Result("Failed", unit.attempts, errors=unit.errors)

    def _items(self, task: TaskModel, items: list[JSON]) -> Result:
        place = self.path + task.name
        name = self.key + task.name
        session = dict(self.oracle.session)
        units = [self._unit(task, f"{place}[{i}]", f"{name}[{i}]", {"item": item, "index": i}) for i, item in enumerate(items)]
        attempts = sum(unit.attempts or 0 for unit in units) if all(unit.attempts is not None for unit in units) else None
        bad = [(i, unit) for i, unit in enumerate(units) if not unit.good]
        fallback = any(unit.fallback for unit in units)
        if not bad:
            cached = bool(units) and all(unit.cached for unit in units)
            return Result("Succeeded", attempts, True, [unit.output for unit in units], fallback=fallback, cached=cached)
        if task.on_error == "continue":
            entries = [(i, _only(unit.errors)) for i, unit in bad]
            kinds = frozenset(kind for _, unit in bad for kind in unit.errors)
            outputs = [unit.output if unit.good else None for unit in units]
            return Result("Failed", attempts, True, outputs, kinds, entries, fallback=fallback)
        if task.kind == "graph":
            self.oracle.session, self.oracle.session_known = session, False
            self.oracle.loose |= {f"{place}[{i}]/" for i in range(len(items))}
        return Result("Failed", None, errors=frozenset(kind for _, unit in bad for kind in unit.errors))

    # One unit

    def _unit(self, task: TaskModel, path: str, key: str, local: dict[str, JSON]) -> Unit:
        try:
            given = [self.value(expr, local) for expr in task.inputs]
        except Invalid:
            return self._fall_back(task, Unit(False, 0, errors=frozenset({"InvalidInput"})), key, local)
        if task.kind == "value":
            return Unit(True, 0, given)
        if task.kind == "approval":
            reply = self.oracle.reply(key, 1)
            return Unit(True, 0, "approved") if reply.kind == "ok" else Unit(False, 0, errors=frozenset({"Denied"}))
        if task.cache and hit(key):
            return Unit(True, 0, echo(key, given), cached=True)
        attempts = failures = lost = 0
        while True:
            attempts += 1
            good, output, kinds = (
                self._graph(task, path, key, attempts, given) if task.kind == "graph" else self._attempt(key, attempts, given)
            )
            if good:
                return Unit(True, attempts, output)
            if kinds == {"interrupted"}:
                continue
            if kinds == {"lost"}:
                lost += 1
                if lost <= task.lost_limit:
                    continue
                return self._fall_back(task, Unit(False, attempts, errors=frozenset({"WorkerLost"})), key, local, given)
            failures += 1
            again = {kind in task.errors if task.errors else kind not in NEVER_RETRIED for kind in kinds}
            if failures > task.limit or again == {False}:
                return self._fall_back(task, Unit(False, attempts, errors=kinds), key, local, given)
            if len(again) > 1:
                raise Undetermined

    def _attempt(self, key: str, attempt: int, given: JSON) -> tuple[bool, JSON, frozenset[str]]:
        reply = self.oracle.reply(key, attempt)
        if reply.kind == "ok":
            return True, echo(key, given), frozenset()
        kind = "Timeout" if reply.kind == "hang" else reply.error["type"] if reply.error else reply.kind
        return False, None, frozenset({kind})

    def _graph(self, task: TaskModel, path: str, key: str, attempt: int, given: JSON) -> tuple[bool, JSON, frozenset[str]]:
        name = f"{key}@{attempt}/" if attempt > 1 else f"{key}/"
        for known in [known for known in self.oracle.document if known.startswith(f"{path}/")]:
            del self.oracle.document[known]
        self.oracle.loose = {prefix for prefix in self.oracle.loose if not prefix.startswith(f"{path}/")}
        ending = _GraphRun(self.oracle, task.graph, f"{path}/", name, given).end()
        return ending.phase == "Succeeded", ending.output, ending.errors

    def _fall_back(self, task: TaskModel, unit: Unit, key: str, local: dict[str, JSON], given: JSON = None) -> Unit:
        if task.fallback is None or task.fallback[0] == "task" or _cancelled(unit.errors):
            return unit
        way, how = task.fallback
        try:
            if way == "value":
                return Unit(True, unit.attempts, self.value(how, local), unit.errors, True)
            exprs = [how] if how else task.inputs
            given = {} if task.kind == "value" and not how else [self.value(expr, local) for expr in exprs]
        except Invalid:
            return unit
        attempts, lost = unit.attempts or 0, 0
        while True:
            attempts += 1
            good, output, kinds = self._attempt(key, attempts, given)
            if good:
                return Unit(True, attempts, output, unit.errors, True)
            lost += kinds == {"lost"}
            if kinds == {"interrupted"} or (kinds == {"lost"} and lost <= task.lost_limit):
                continue
            return Unit(False, attempts, errors=unit.errors)

    # Expressions

    def value(self, expr: Expr, local: dict[str, JSON] | None = None) -> JSON:
        if expr.of:
            return self._of_task(expr.op, self.over(expr.of))
        if expr.op == "bad" or (expr.op in ("item", "index") and not local):
            raise Invalid
        simple = {"const": expr.value, "input": self.given, "runphase": self.phase, "yes": True, "no": False}
        return {**simple, **(local or {})}[expr.op]

    @staticmethod
    def _of_task(op: str, task: Result) -> JSON:
        if op == "phase":
            return task.phase
        if op == "failed":
            return task.phase == "Failed"
        if op == "type":
            return _only(task.errors) if task.errors else "none"
        if op == "count":
            return len(task.entries)
        if op == "has":
            return task.has_output
        if not task.has_output:
            if op == "maybe":
                return "none"
            raise Invalid
        if op in ("out", "maybe"):
            return task.output
        field = "l" if op == "list" else "n"
        if not isinstance(task.output, dict) or field not in task.output:
            raise Invalid
        found = task.output[field]
        return found > 0 if op == "positive" else found


def _cancelled(kinds: frozenset[str]) -> bool:
    """Whether no fallback may follow."""
    return "Cancelled" in kinds and _only(kinds) == "Cancelled"


def _only(kinds: frozenset[str]) -> str:
    if len(kinds) > 1:
        raise Undetermined
    return next(iter(kinds))
