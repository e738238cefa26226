"""The engine is a function of its events: no clock, no chance, no ids, no I/O (semantics.md; design.md, "Engine")."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import arklex_api
import arklex_runtime.engine
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
from arklex_runtime.engine.step import read_batch, replay, start, write_batch
from tests.engine_driver import T0, Driver, err, error, ok, program_of, run, snapshot

ENGINE = sorted(Path(str(arklex_runtime.engine.__file__)).parent.glob("*.py"))
API = sorted(Path(str(arklex_api.__file__)).parent.rglob("*.py"))
ALLOWED = {
    "__future__", "arklex_api", "arklex_runtime", "collections", "dataclasses", "datetime", "enum", "functools", "hashlib",
    "heapq", "math", "orjson", "typing",
}  # fmt: skip
IMPURE = {
    "asyncio", "locale", "os", "pathlib", "platform", "random", "secrets", "signal", "socket", "subprocess", "tempfile",
    "threading", "time", "uuid",
}  # fmt: skip
CALLS = {"id", "input", "open", "print", "now", "today", "utcnow", "hash", "urandom", "vars", "globals"}


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: path.name)
def test_the_engine_imports_and_calls_nothing_impure(path: Path) -> None:
    imports = _imports(path)
    assert {name.split(".")[0] for name in imports} <= ALLOWED
    assert all(name.startswith("arklex_runtime.engine") for name in imports if name.startswith("arklex_runtime"))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            assert called not in CALLS, f"{path.name}:{node.lineno} calls {called}"
        assert not isinstance(node, ast.Global), f"{path.name}:{node.lineno}"


def test_what_the_engine_needs_of_the_models_is_pure() -> None:
    needed, todo = set(), [name for path in ENGINE for name in _imports(path) if name.startswith("arklex_api")]
    files = {".".join(["arklex_api", *path.relative_to(API[0].parent).with_suffix("").parts]): path for path in API}
    while todo:
        name = todo.pop()
        path = files.get(name) or files.get(f"{name}.__init__")
        if name not in needed and path is not None:
            needed.add(name)
            todo += [found for found in _imports(path) if found.startswith("arklex_api")]
            assert not {found.split(".")[0] for found in _imports(path)} & IMPURE, path
    assert "arklex_api.plan" in needed and "arklex_api.expressions.native" in needed


def test_the_seed_of_hashes_changes_nothing() -> None:
    script = """
import json
from tests.engine_driver import run, err
graph = '''
onFailure: continue
tasks:
- {name: a, worker: w, forEach: {items: [3, 1, 2]}, onError: continue, cache: {ttl: 1m}}
- {name: b, worker: w, with: {z: "${tasks.a.output}", y: "${tasks.a.errors}"}, dependsOn: [d, c], fallback: {task: e}}
- {name: c, value: "${{'k': 1, 'j': 2}}"}
- {name: d, value: 1}
- {name: e, worker: w}
finally: [{name: f, value: "${run.failed}"}]
output: "${tasks.b.output}"
'''
driver = run(graph, {"a[1]": err(), "b": err()})
print([batch.decode() for batch in driver.journal], json.dumps(driver.document))
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            check=True, capture_output=True, text=True,
        ).stdout
        for seed in ("0", "1", "2")
    }  # fmt: skip
    assert len(found) == 1 and "Failed" in found.pop()


EVENTS: list[Event] = [
    Accepted(T0, "r", "q", {"x": 1}, {"c": 1}, {"s": 1}),
    Accepted(T0, "r", "q", None, {}, {}, {"a": 1}),
    Started(T0, "a", 1),
    Finished(T0, "a", 1, {"x": None}, None, 9),
    Finished(T0, "a", 1, None, error(), 0, 0.25),
    Finished(T0, "a", 1, 1, None, 3, 0.25),
    Lost(T0, "a", 1),
    Interrupted(T0, "a", 1),
    CacheHit(T0, "a", [1]),
    CacheMiss(T0, "a"),
    Decided(T0, "a", True, "me", {"x": 1}),
    Decided(T0, "a", False),
    CancelRequested(T0, "why"),
    Tick(T0, 0.75),
    SessionRead(T0, {"x": 1}),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.tag)
def test_events_come_back_from_the_journal(event: Event) -> None:
    [(record, facts)] = read_batch(write_batch([(event.encode(), {"f": [True, 1]})]))
    assert decode(record) == event and facts == {"f": [True, 1]}


def test_every_kind_of_event_is_known() -> None:
    assert {type(event) for event in EVENTS} == set(Event.__subclasses__())
    assert decode(["claimed", "owner", T0]) is None


def test_claims_between_events_change_nothing() -> None:
    driver = run("[{name: a, worker: w}, {name: b, worker: w, dependsOn: [a]}]")
    claim = b'[["claimed","me",1]]'
    batches = [part for batch in driver.journal for part in (claim, batch)]
    assert snapshot(replay(driver.program, batches)) == snapshot(driver.state)


def test_facts_stand_though_an_expression_would_answer_otherwise() -> None:
    first = program_of("[{name: a, value: '${input}'}, {name: b, worker: w, with: '${tasks.a.output}'}]")
    other = program_of("[{name: a, value: '${input + 1}'}, {name: b, worker: w, with: '${tasks.a.output}'}]")
    driver = Driver(first).begin(input=1).run()
    state = replay(other, driver.journal)
    assert state.root is not None and state.root.tasks[0].output == 1 and state.phase == "Succeeded"


def test_the_short_way_of_a_start_is_the_long_one() -> None:
    drivers = [Driver(program_of("[{name: a, worker: w, timeout: 3s}]")).begin() for _ in range(2)]
    event = Started(T0 + 1, "a", 1)
    drivers[0].feed(event)
    assert start(drivers[1].state, event) is True
    assert snapshot(drivers[0].state) == snapshot(drivers[1].state)
    before = snapshot(drivers[1].state)
    for late in (event, Started(T0, "nope", 1), Started(T0, "a", 2)):
        assert start(drivers[1].state, late) is False
    assert snapshot(drivers[1].state) == before


def _has_more(driver: Driver, than: int) -> bool:
    return len(driver.journal) > than


def test_a_success_may_lead_to_a_retry_and_its_delay_stands() -> None:
    sub = {"tasks": [{"name": "x", "worker": "w"}], "output": "${tasks.x.output.nope}"}
    retry = {"limit": 1, "errors": ["InvalidOutput"]}
    driver = Driver(program_of({"tasks": [{"name": "p", "graph": "sub", "retry": retry}]}, sub=sub)).begin()
    driver.start("p/x")
    driver.end("p/x", ok(1), jitter=0.0)
    assert driver.state.next_due == T0 + 0.9
    driver.check()


def test_a_journal_cut_anywhere_folds_to_what_was() -> None:
    graph: dict[str, Any] = {
        "onFailure": "continue",
        "tasks": [
            {"name": "a", "worker": "w", "retry": {"limit": 1}, "timeout": "3s"},
            {"name": "c", "approval": {}},
            {"name": "p", "graph": "sub", "forEach": {"items": [1, 2]}, "dependsOn": ["a"], "cache": {"ttl": "1m"}},
            {"name": "s", "value": 1, "saveState": {"n": {"$increment": 1}}, "when": "${tasks.a.output.key == 'a'}"},
        ],
        "finally": [{"name": "f", "worker": "w"}],
    }
    program = program_of(graph, sub="[{name: x, worker: w}]")
    driver = Driver(program, {"a": [err(), ok({"key": "a"})], "p[1]/x": err()})
    states = []
    driver.begin()
    states.append(snapshot(driver.state))
    while driver.open():
        count = len(driver.journal)
        driver.run(until=partial(_has_more, driver, count))
        if len(driver.journal) == count:
            driver.decide("c") if "c" in driver.state.open else driver.tick()
        states.append(snapshot(driver.state))
    assert len(states) == len(driver.journal) >= 15
    for count, state in enumerate(states, 1):
        assert snapshot(replay(program, driver.journal[:count])) == state
