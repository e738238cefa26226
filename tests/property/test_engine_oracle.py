"""The engine against an independent oracle and its invariants, in any order of events, reloaded at any step (T1)."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from typing import Any, cast

import hypothesis
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from arklex_api.base import JSON
from arklex_api.problems import ManifestError
from arklex_runtime.engine.commands import AskApproval, Command, Lookup
from arklex_runtime.engine.events import CacheHit, CacheMiss, Event, Finished, Lost, Started, decode
from arklex_runtime.engine.state import TERMINAL, Scope, Status, TaskState, Unit
from arklex_runtime.engine.step import outstanding, read_batch, replay
from arklex_runtime.engine.units import inputs_of
from tests.engine_driver import HANG, INTERRUPTED, LOST, Driver, Reply, err, ok, program_of, snapshot
from tests.faults.checker import Tally
from tests.faults.report import keep
from tests.faults.sizes import NIGHTLY
from tests.oracle import Ending, Expr, GraphModel, Oracle, Result, TaskModel, Undetermined, echo, hit

RUNS = 20_000 if NIGHTLY else 1500
MACHINES, STEPS = (20_000, 50) if NIGHTLY else (500, 50)
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink)
QUIET = settings(deadline=None, suppress_health_check=list(hypothesis.HealthCheck), derandomize=not NIGHTLY, phases=PHASES)
CODES = {
    "k": ok(), "f": err("Failed"), "u": err("Unavailable"), "i": err("InvalidInput"), "c": err("Cancelled"),
    "l": LOST, "x": INTERRUPTED, "h": HANG,
}  # fmt: skip

Rows = dict[str, list[str]]
TALLY = Tally()
"""Machines that came to their end, and reloads."""


@pytest.fixture(scope="module", autouse=True)
def reported() -> Iterator[None]:
    """Keep the figures once the machines have run."""
    yield
    if TALLY.runs:
        keep("T1", TALLY)


class Case:
    """Graphs, and the script of their workers."""

    def __init__(self, graphs: dict[str, GraphModel], rows: Rows) -> None:
        self.graphs, self.rows = graphs, rows
        specs = {name: graph.spec() for name, graph in graphs.items()}
        self.program = program_of(specs.pop("main"), **specs)
        self.timed = any(task.timeout for graph in graphs.values() for task in (*graph.tasks, *graph.finals))

    def reply(self, key: str, attempt: int) -> Reply:
        """What the script says; good once it has nothing more to say."""
        rows = self.rows[key.split("/")[-1].split("[")[0]]
        row = rows[zlib.crc32(key.encode()) % len(rows)]
        return CODES[row[attempt - 1]] if attempt <= len(row) else ok()

    def __repr__(self) -> str:
        shown = {name: graph.spec() for name, graph in self.graphs.items()}
        return f"Case({shown!r}, {self.rows!r})"


class Maker:
    """Makes cases from a seed; ``size`` bounds the tasks of a graph, so that hypothesis shrinks to small ones."""

    def __init__(self, seed: int, size: int, on_failure: str | None) -> None:
        self.chance = random.Random(seed)
        self.size = size
        self.on_failure = on_failure
        self.rows: Rows = {}

    def case(self) -> Case | None:
        """A case, or None for tasks that would wait for each other for ever."""
        graphs = {
            "leaf": self.graph("u", min(self.size, 3), ()),
            "sub": self.graph("s", min(self.size, 4), ("leaf",)),
            "main": self.graph("t", self.size, ("sub", "leaf")),
        }
        try:
            return Case(graphs, self.rows)
        except ManifestError as error:
            if {problem.reason for problem in error.problems} != {"Cycle"}:
                raise
            return None

    def one_in(self, count: int) -> bool:
        return self.chance.randrange(count) == 0

    def some(self, found: list[Any], most: int) -> list[Any]:
        return [self.chance.choice(found) for _ in range(self.chance.randint(0, most))] if found else []

    def graph(self, prefix: str, size: int, below: tuple[str, ...]) -> GraphModel:
        tasks: list[TaskModel] = []
        for index in range(self.chance.randint(1, size)):
            task = self.task(f"{prefix}{index}", tasks, below, False)
            if task.fallback == ("task", None):
                spare = self.task(f"{prefix}{index}x", tasks, below, False)
                while spare.kind == "approval":
                    spare = self.task(spare.name, tasks, below, False)
                spare.fallback = spare.fallback if spare.fallback and spare.fallback[0] != "task" else None
                spares = [spare.name, *(t.fallback[1] for t in tasks if t.fallback and t.fallback[0] == "task")]
                task.fallback = ("task", self.chance.choice(spares) if self.one_in(3) else spare.name)
                tasks.append(spare)
            tasks.append(task)
        self.chance.shuffle(tasks)
        finals: list[TaskModel] = []
        for index in range(self.chance.randint(0, 2)):
            final = self.task(f"{prefix}f{index}", [*tasks, *finals], below, True)
            final.fallback = final.fallback if final.fallback and final.fallback[0] != "task" else None
            finals.append(final)
        output = [self.reference(tasks) for _ in range(self.chance.randint(0, 2))]
        on_failure = self.on_failure or self.chance.choice(["continue", "continue", "stop"])
        return GraphModel(tasks, finals, output, on_failure, self.chance.choice([1, 2, 64]))

    def reference(self, tasks: list[TaskModel], *ops: str) -> Expr:
        """Over one of ``tasks``; the output of an approval holds the time, so it is not read."""
        task = self.chance.choice(tasks)
        found = ops or ("out", "out", "n", "has", "maybe", "phase", "type", "count")
        possible = [op for op in found if task.kind != "approval" or op not in ("out", "maybe")]
        return Expr(self.chance.choice(possible), task.name)

    def task(self, name: str, before: list[TaskModel], below: tuple[str, ...], final: bool) -> TaskModel:
        kinds = ["worker", "worker", "worker", "value", "approval", *(["graph"] if below else [])]
        task = TaskModel(name, self.chance.choice(kinds))
        if task.kind == "graph":
            task.graph = self.chance.choice(below)
        if task.kind != "approval":
            simple = [Expr("const", value=1), Expr("input")]
            simple += [Expr("bad")] * self.one_in(8) + [Expr("runphase")] * final
            for _ in range(self.chance.randint(0, 2)):
                task.inputs.append(self.reference(before) if before and self.one_in(2) else self.chance.choice(simple))
            self.shape(task, before)
            self.mend(task)
        task.depends = sorted(set(self.some([other.name for other in before], 2)))
        if self.one_in(4):
            given = [Expr("yes"), Expr("no"), Expr("bad")]
            ops = ("has", "failed", "positive")
            task.when = self.reference(before, *ops) if before and self.one_in(2) else self.chance.choice(given)
        task.counts = self.one_in(2)
        self.rows[name] = ["".join(self.some(list(self.codes(task)), 3)) for _ in range(self.chance.randint(1, 2))]
        return task

    def codes(self, task: TaskModel) -> str:
        """What its attempts may come to; an approval is agreed to or not."""
        return "kkf" if task.kind == "approval" else "kkkfuicl" + "x" + ("hh" if task.timeout else "")

    def shape(self, task: TaskModel, before: list[TaskModel]) -> None:
        if self.one_in(4):
            lists = [Expr("const", value=[1, 2, 3]), Expr("const", value=[])]
            ops = ("list", "list", "n")
            task.each = self.reference(before, *ops) if before and self.one_in(2) else self.chance.choice(lists)
            task.each_parallel = self.chance.choice([None, 1, 2])
            if self.one_in(2):
                task.inputs.append(Expr(self.chance.choice(["item", "index"])))

    def mend(self, task: TaskModel) -> None:
        task.on_error = self.chance.choice(["fail", "continue"])
        if task.kind != "value":
            task.limit = self.chance.randint(0, 2)
            task.errors = self.chance.choice([None, None, ["InvalidInput", "Failed"], ["Timeout", "WorkerLost"]])
            task.lost_limit = self.chance.randint(0, 2)
            task.timeout = task.kind == "worker" and self.one_in(4)
            task.cache = task.kind == "worker" and self.one_in(5)
        ways: list[tuple[str, Any] | None] = [None, None, ("value", Expr("const")), ("worker", None), ("worker", Expr("input"))]
        task.fallback = self.chance.choice(ways if task.each else [*ways, ("task", None)])


def cases(on_failure: str | None = None) -> st.SearchStrategy[Case]:
    """Graphs with their scripts."""
    made = st.builds(lambda size, seed: Maker(seed, size, on_failure).case(), st.integers(1, 9), st.integers(0, 2**32))
    return made.filter(lambda case: case is not None).map(lambda case: cast(Case, case))


class Checked(Driver):
    """A driver that holds the invariants after every event."""

    def __init__(self, case: Case) -> None:
        super().__init__(case.program)
        self.case = case
        self.approvals: set[str] = set()
        self.final: dict[str, str] = {}

    def reply_of(self, command: Any) -> Reply:
        reply = self.case.reply(command.unit.key, command.attempt)
        return ok(echo(command.unit.key, command.inputs)) if reply.kind == "ok" else reply

    def feed(self, event: Event) -> list[Command]:
        commands = super().feed(event)
        self.approvals |= {command.unit.key for command in commands if isinstance(command, AskApproval)}
        return commands

    def moves(self) -> list[tuple[str, str]]:
        """What may happen next, time aside."""
        waiting = [key for key, unit in self.state.open.items() if unit.status is Status.APPROVAL]
        ends = [key for key, start in self.running.items() if self.reply_of(start).kind != "hang"]
        kinds = {"start": self.asked, "end": ends, "decide": waiting, "look": self.lookups}
        return [(kind, key) for kind, keys in kinds.items() for key in keys]

    def move(self, move: tuple[str, str]) -> None:
        kind, key = move
        if kind == "start":
            self.start(key)
        elif kind == "end":
            self.end(key)
        elif kind == "look":
            self.look(key)
        else:
            self.decide(key, self.case.reply(key, 1).kind == "ok")

    def look(self, key: str) -> list[Command]:
        del self.lookups[key]
        if not hit(key):
            return self.feed(CacheMiss(self.now, key))
        return self.feed(CacheHit(self.now, key, echo(key, inputs_of(self.state.open[key]))))

    def reload(self) -> None:
        """Forget the state, and fold it from the journal again."""
        state = replay(self.program, self.journal)
        assert snapshot(state) == snapshot(self.state)
        self.state = state
        asked, running = outstanding(state)
        assert {unit.key for unit in running} == set(self.running)
        assert {item.key for item in asked if isinstance(item, Unit)} == set(self.asked)
        assert {item.unit.key for item in asked if isinstance(item, Lookup)} == set(self.lookups)
        assert {item.unit.key for item in asked if isinstance(item, AskApproval)} <= self.approvals

    def check_invariants(self) -> None:
        if self.state.root is None:
            return
        live: set[str] = set()
        moving = self._check_scope(self.state.root, live)
        assert live == set(self.state.open)
        assert all(unit.key == key for key, unit in self.state.open.items())
        assert live <= {*self.asked, *self.running, *self.lookups, *self.approvals}
        assert (self.ended is not None) == (self.state.finished_at is not None)
        assert self.ended is not None or moving, "nothing is going on and nothing will"
        assert self.ended is None or not live

    def _check_scope(self, scope: Scope, live: set[str]) -> bool:
        first, last = (scope.plan.finals, len(scope.tasks)) if scope.finally_stage else (0, scope.plan.finals)
        assert scope.open == sum(not task.terminal for task in scope.tasks[first:last])
        assert all(task.phase == "Pending" for task in scope.tasks[scope.plan.finals :] if not scope.finally_stage)
        slots, moving = 0, False
        for task in scope.tasks:
            self._check_order(scope, task)
            self._check_final(scope, task)
            for unit in task.units:
                self._check_attempts(unit)
                slots += unit.status in (Status.ISSUED, Status.RUNNING)
                moving |= unit.status is Status.BACKOFF
                if unit.status in (Status.ISSUED, Status.RUNNING, Status.APPROVAL, Status.LOOKUP):
                    live.add(unit.key)
                    moving = True
                if unit.child is not None and not unit.child.ended:
                    moving |= self._check_scope(unit.child, live)
        assert slots == scope.running <= scope.plan.spec.max_parallel
        return moving

    def _check_order(self, scope: Scope, task: TaskState) -> None:
        if task.units:
            assert all(scope.tasks[edge.source].terminal for edge in task.node.deps)
            each = task.node.task.for_each
            if each and each.max_parallel:
                assert sum(u.status not in (Status.IDLE, Status.DONE) for u in task.units) <= each.max_parallel

    def _check_final(self, scope: Scope, task: TaskState) -> None:
        path = scope.path + task.node.name
        if path in self.final:
            assert self.final[path] == repr((task.phase, task.output, task.error, task.errors, task.reason, task.finished_at))
        elif task.phase in TERMINAL:
            self.final[path] = repr((task.phase, task.output, task.error, task.errors, task.reason, task.finished_at))

    def _check_attempts(self, unit: Unit) -> None:
        retry, task = unit.task.node.task.retry, unit.task.node.task
        assert unit.failures <= retry.limit + 2 and unit.lost <= retry.lost_limit + 1
        fallback = 1 + retry.lost_limit + 1 if task.fallback and task.fallback.worker else 0
        given_back = sum(1 for entry in self.order if entry == ("interrupted", unit.key))
        assert unit.attempts <= 1 + retry.limit + retry.lost_limit + fallback + given_back

    def end(self, key: str, reply: Reply | None = None, jitter: float = 0.5, size: int = 1) -> list[Command]:
        if (reply or self.reply_of(self.running[key])).kind == "interrupted":
            self.order.append(("interrupted", key))
        return super().end(key, reply, jitter, size)


def play(case: Case, seed: int) -> Checked:
    """A whole run in the order that ``seed`` says, reloaded now and then."""
    chance = random.Random(seed)
    driver = Checked(case)
    driver.begin()
    driver.check_invariants()
    for _ in range(5000):
        if driver.ended is not None:
            driver.reload()
            return driver
        moves = driver.moves()
        if moves and (case.timed or driver.state.timers[0][2] != "retry" or chance.random() < 0.8):
            driver.move(chance.choice(moves))
        else:
            driver.tick(jitter=chance.random())
        driver.check_invariants()
        if chance.random() < 0.2:
            driver.reload()
    raise AssertionError("the run does not come to an end")


def compare(oracle: Oracle, ending: Ending, driver: Checked) -> None:
    document = driver.document
    assert document["phase"] == ending.phase
    assert document["output"] == ending.output
    assert (document["error"]["type"] in ending.errors) if ending.errors else document["error"] is None
    loose = tuple(oracle.loose)
    found = {path: task for path, task in document["tasks"].items() if not (loose and path.startswith(loose))}
    wanted = {path: result for path, result in oracle.document.items() if not (loose and path.startswith(loose))}
    assert set(found) == set(wanted)
    for path, result in wanted.items():
        _compare_task(path, result, found[path])
    if oracle.session_known:
        assert driver.state.session == oracle.session


def _compare_task(path: str, wanted: Result, found: dict[str, Any]) -> None:
    assert found["phase"] == wanted.phase, path
    assert wanted.attempts is None or found["attempts"] == wanted.attempts, path
    if wanted.output == "approved":
        assert found["output"]["approved"] is True
    else:
        assert found["output"] == (wanted.output if wanted.has_output else None), path
    assert (found["error"]["type"] in wanted.errors) if wanted.errors else found["error"] is None, path
    assert [(entry["index"], entry["type"]) for entry in found.get("errors", [])] == wanted.entries, path
    assert wanted.attempts is None or found.get("fallback", False) == wanted.fallback, path
    assert found["cached"] is wanted.cached, path


@settings(QUIET, max_examples=RUNS)
@given(case=cases(), seed=st.integers(0, 2**32))
def test_the_document_is_the_oracles(case: Case, seed: int) -> None:
    driver = play(case, seed)
    oracle = Oracle(case.graphs, case.reply)
    try:
        ending = oracle.run(None)
    except Undetermined:
        hypothesis.event("undetermined")
        return
    hypothesis.event("loose" if "" in oracle.loose else "in part" if oracle.loose else "whole")
    compare(oracle, ending, driver)


@settings(QUIET, max_examples=RUNS // 4)
@given(case=cases(on_failure="continue"), seeds=st.tuples(st.integers(0, 2**32), st.integers(0, 2**32)))
def test_the_order_of_events_changes_no_phase(case: Case, seeds: tuple[int, int]) -> None:
    oracle = Oracle(case.graphs, case.reply)
    try:
        oracle.run(None)
    except Undetermined:
        return
    one, other = (play(case, seed) for seed in seeds)
    loose = tuple(oracle.loose)
    for path, phase in one.phases.items():
        assert (loose and path.startswith(loose)) or other.phases[path] == phase


class RunMachine(RuleBasedStateMachine):
    """Anything may happen at any time: starts, ends of any kind, losses, ticks, cancels, decisions, late events, reloads."""

    @initialize(case=cases())
    def begin(self, case: Case) -> None:
        self.driver = Checked(case)
        self.driver.begin()

    def _key(self, keys: Any, at: int) -> str | None:
        found = sorted(keys)
        return found[at % len(found)] if found else None

    @rule(at=st.integers(0, 63))
    def start(self, at: int) -> None:
        key = self._key(self.driver.asked, at)
        if key is not None:
            self.driver.start(key)

    @rule(at=st.integers(0, 63), code=st.sampled_from("kkkkfuicllx"), jitter=st.sampled_from([0.0, 0.5, 0.99]))
    def finish(self, at: int, code: str, jitter: float) -> None:
        key = self._key(self.driver.running, at)
        if key is not None:
            reply = ok(echo(key, self.driver.running[key].inputs)) if code == "k" else CODES[code]
            self.driver.end(key, reply, jitter)

    @rule(at=st.integers(0, 63), approved=st.booleans())
    def decide(self, at: int, approved: bool) -> None:
        waiting = [key for key, unit in self.driver.state.open.items() if unit.status is Status.APPROVAL]
        key = self._key(waiting, at)
        if key is not None:
            self.driver.decide(key, approved)

    @rule(at=st.integers(0, 63))
    def look(self, at: int) -> None:
        key = self._key(self.driver.lookups, at)
        if key is not None:
            self.driver.look(key)

    @rule(jitter=st.sampled_from([0.0, 0.5, 0.99]), any_kind=st.integers(0, 4))
    def tick(self, jitter: float, any_kind: int) -> None:
        """What is due next becomes due; the graphs' own timeouts now and then, as they end all."""
        timers = self.driver.state.timers
        if timers and (timers[0][2] not in ("scope", "finally") or any_kind == 0):
            self.driver.tick(jitter=jitter)

    @rule(seconds=st.sampled_from([0.0, 0.1, 3.0]))
    def wait(self, seconds: float) -> None:
        self.driver.now += seconds

    @rule(chance=st.integers(0, 9))
    def cancel(self, chance: int) -> None:
        if chance == 0:
            self.driver.cancel()

    @rule(at=st.integers(0, 10_000))
    def repeat(self, at: int) -> None:
        """An event of the past comes again: only what asks for something new may change anything."""
        before = len(self.driver.journal)
        late(self.driver, at)
        assert len(self.driver.journal) == before + 1

    @rule()
    def reload(self) -> None:
        TALLY.faults["reload"] += 1
        TALLY.in_flight += self.driver.ended is None
        self.driver.reload()

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "driver"):
            self.driver.check_invariants()

    def teardown(self) -> None:
        """An accepted run comes to an end, whatever happened to it."""
        if not hasattr(self, "driver"):
            return
        driver = self.driver
        for _ in range(5000):
            if driver.ended is not None:
                break
            moves = driver.moves()
            if moves:
                driver.move(moves[0])
            else:
                driver.tick()
            driver.check_invariants()
        assert driver.ended is not None
        driver.reload()
        TALLY.runs += 1
        TALLY.succeeded += 1


def late(driver: Checked, at: int) -> None:
    """Feed an attempt's end again, long after it: nothing may come of it."""
    record = read_batch(driver.journal[at % len(driver.journal)])[0][0]
    event = decode(record)
    if isinstance(event, Finished | Lost | Started) and not _is_open(driver, event):
        before = snapshot(driver.state)
        event.at = driver.now
        driver.feed(event)
        after: JSON = snapshot(driver.state)
        for name in ("refused", "events", "now"):
            before.pop(name)
            after.pop(name)
        assert before == after
    else:
        driver.feed(Lost(driver.now, "nobody", 1))


def _is_open(driver: Checked, event: Any) -> bool:
    """Whether the event is not late: a copy of an end may be the first to arrive."""
    held = driver.asked.get(event.key) or driver.running.get(event.key)
    return held is not None and held.attempt == event.attempt


TestRunMachine = RunMachine.TestCase
TestRunMachine.settings = settings(QUIET, max_examples=MACHINES, stateful_step_count=STEPS)


def test_the_generator_reaches_everything() -> None:
    """No vacuous pass: the cases hold what they are to hold, and most are determined."""
    seen: dict[str, int] = {}

    @settings(QUIET, max_examples=200, database=None)
    @given(case=cases())
    def look(case: Case) -> None:
        tasks = [task for graph in case.graphs.values() for task in (*graph.tasks, *graph.finals)]
        for task in tasks:
            for name in (task.kind, task.fallback and task.fallback[0], task.each and "each", task.when and "when"):
                seen[str(name)] = seen.get(str(name), 0) + 1
        oracle = Oracle(case.graphs, case.reply)
        try:
            ending = oracle.run(None)
            name = "loose" if "" in oracle.loose else ending.phase
        except Undetermined:
            name = "undetermined"
        seen[name] = seen.get(name, 0) + 1

    look()
    kinds = ("worker", "value", "graph", "approval", "each", "when", "task", "None", "Succeeded", "Failed", "loose")
    assert all(seen.get(kind, 0) >= 5 for kind in kinds), seen
    assert seen["Succeeded"] + seen["Failed"] > 100, seen
