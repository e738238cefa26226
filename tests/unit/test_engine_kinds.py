"""Approvals, cache, saveState and limits (semantics.md, "Kinds of task", "Runs, durability, ownership")."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from arklex_runtime.engine.commands import AskApproval, Lookup, StoreResult
from arklex_runtime.engine.events import CacheHit, CacheMiss
from arklex_runtime.engine.program import Program
from arklex_runtime.engine.turn import MAX_OUTPUT, MAX_RUN
from tests.engine_driver import Driver, err, graph_of, ok, program_of, run, worker_of

# approval

CHECK = """
tasks:
- {name: check, approval: {message: "Send ${input}?", timeout: 1h}}
- {name: pay, worker: w, dependsOn: [check]}
"""


def test_an_approval_asks_and_gives_who_when_and_what() -> None:
    driver = Driver(program_of(CHECK)).begin(input={"n": 1})
    asked = [(c.unit.key, c.message) for c in driver.commands if isinstance(c, AskApproval)]
    assert asked == [("check", 'Send {"n":1}?')] and driver.phases["check"] == "Waiting"
    driver.tick(1)
    driver.decide("check", by="ada", data={"limit": 3})
    assert driver.task("check")["output"] == {
        "approved": True,
        "by": "ada",
        "at": "2023-11-14T22:13:21.000Z",
        "data": {"limit": 3},
    }
    assert list(driver.asked) == ["pay"] and driver.task("check")["attempts"] == 0
    driver.check()


def test_a_message_of_one_expression_is_json_and_bounded() -> None:
    driver = Driver(program_of("[{name: a, approval: {message: '${input}'}}]")).begin(input={"n": [None, True]})
    assert next(c.message for c in driver.commands if isinstance(c, AskApproval)) == '{"n":[null,true]}'
    driver = Driver(program_of("[{name: a, approval: {message: '${input}'}}]")).begin(input="x" * 9999)
    assert next(c.message for c in driver.commands if isinstance(c, AskApproval)) == "x" * 4096


def test_rejected_is_denied() -> None:
    driver = Driver(program_of(CHECK)).begin()
    driver.decide("check", approved=False, by="bob")
    failure = driver.task("check")["error"]
    assert (
        driver.phases == {"check": "Failed", "pay": "Skipped"} and failure["type"] == "Denied" and "bob" in failure["message"]
    )
    assert failure["details"]["by"] == "bob" and driver.ended == "Failed"
    driver.check()


def test_expired_is_a_timeout() -> None:
    driver = Driver(program_of(CHECK)).begin()
    driver.tick(3599)
    assert driver.open()
    driver.tick(3600)
    assert driver.task("check")["error"]["type"] == "Timeout" and driver.ended == "Failed"
    driver.decide("check")
    assert driver.state.refused == 1
    driver.check()


def test_the_first_decision_wins() -> None:
    driver = Driver(program_of(CHECK)).begin()
    driver.decide("check", by="ada")
    driver.decide("check", by="ada")
    driver.decide("check", approved=False, by="bob")
    assert driver.task("check")["output"]["by"] == "ada" and driver.state.refused == 2
    assert driver.phases["check"] == "Succeeded"


@pytest.mark.parametrize("field", [{"onError": "continue"}, {"fallback": {"value": 1}}, {"retry": {"limit": 1}}])
def test_what_is_refused_on_an_approval(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        graph_of("main", {"tasks": [{"name": "a", "approval": {}, **field}]})


def test_approvals_for_each_item() -> None:
    driver = Driver(program_of("[{name: a, approval: {message: '${item}'}, forEach: {items: [x, y]}}]")).begin()
    driver.decide("a[1]", data=1)
    driver.decide("a[0]", data=0)
    assert [output["data"] for output in driver.task("a")["output"]] == [0, 1]


# cache

CACHED: dict[str, Any] = {"name": "a", "worker": "w", "action": "do", "with": {"x": "${input}"}, "cache": {"ttl": "90s"}}


def key_of(task: dict[str, Any], input: Any = 1, program: Program | None = None, run_id: str = "r1") -> str:
    driver = Driver(program or program_of({"tasks": [task]})).begin(input=input)
    return next(command.cache_key for command in driver.commands if isinstance(command, Lookup))


def test_a_hit_makes_no_attempt() -> None:
    task = {**CACHED, "saveState": {"seen": "${tasks.a.output}"}}
    driver = Driver(program_of({"tasks": [task], "output": "${tasks.a.output}"}))
    driver.cache[key_of(task)] = 0
    driver.begin(input=1)
    assert driver.phases["a"] == "Waiting" and not driver.asked
    driver.finish().check()
    document = driver.task("a")
    assert document["cached"] is True and document["attempts"] == 0 and document["output"] == 0
    assert driver.session() == {"seen": 0} and driver.document["output"] == 0
    assert not [c for c in driver.commands if isinstance(c, StoreResult)]


def test_a_miss_runs_and_stores_with_the_result() -> None:
    driver = Driver(program_of({"tasks": [CACHED]}), {"a": ok("new")}).begin(input=1)
    driver.look("a")
    commands = driver.do("a")
    assert [(c.cache_key, c.output, c.ttl) for c in commands if isinstance(c, StoreResult)] == [(key_of(CACHED), "new", 90)]
    assert driver.task("a")["cached"] is False
    driver.check()


def test_failures_and_fallback_results_are_never_stored() -> None:
    for more in ({}, {"fallback": {"value": 1}}, {"fallback": {"worker": "v"}}):
        driver = run({"tasks": [{**CACHED, **more}]}, {"a": [err(), ok(2)]}, input=1)
        assert not [c for c in driver.commands if isinstance(c, StoreResult)]


def test_a_retry_looks_no_second_time() -> None:
    driver = run({"tasks": [{**CACHED, "retry": {"limit": 1}}]}, {"a": [err(), ok(2)]}, input=1)
    assert len([c for c in driver.commands if isinstance(c, Lookup)]) == 1
    assert len([c for c in driver.commands if isinstance(c, StoreResult)]) == 1


def test_the_key_is_of_what_makes_the_result() -> None:
    key = key_of(CACHED)
    assert len(key) == 64
    same = ({**CACHED, "name": "other"}, {**CACHED, "cache": {"ttl": "1s"}}, {**CACHED, "retry": {"limit": 3}},
            {**CACHED, "with": {"x": 1}})  # fmt: skip
    assert {key_of(task) for task in same} == {key}
    others = [{**CACHED, "action": "other"}, {**CACHED, "worker": "v"}, {**CACHED, "with": {"y": "${input}"}}]
    assert len({key, key_of(CACHED, 2), *(key_of(task) for task in others)}) == 5
    assert key_of({**CACHED, "with": {"b": 1, "a": 2}}) == key_of({**CACHED, "with": {"a": 2, "b": 1}})


def test_an_explicit_key_takes_the_inputs_place_alone() -> None:
    def keyed(**more: Any) -> dict[str, Any]:
        return {**CACHED, "cache": {"ttl": "1m", "key": "${input}"}, **more}

    assert key_of(keyed()) == key_of(keyed(**{"with": "other"}))
    assert len({key_of(keyed()), key_of(keyed(), 2), key_of(keyed(action="other")), key_of(keyed(worker="v"))}) == 4


def test_the_key_knows_the_workers_definition_and_the_namespace() -> None:
    graphs = {"main": graph_of("main", {"tasks": [CACHED]})}
    programs = [
        Program.of("main", graphs, {"w": worker_of("w", {"handler": handler})}, namespace)
        for handler, namespace in (("m:f", "default"), ("m:g", "default"), ("m:f", "other"))
    ]
    assert len({key_of(CACHED, program=program) for program in programs}) == 3


def test_the_cache_of_items_and_sub_graphs() -> None:
    each = {**CACHED, "with": "${item}", "forEach": {"items": [1, 1, 2]}}
    driver = Driver(program_of({"tasks": [each]})).begin()
    keys = [command.cache_key for command in driver.commands if isinstance(command, Lookup)]
    assert keys[0] == keys[1] != keys[2]
    driver.feed(CacheHit(driver.now, "a[1]", "hit"))
    driver.feed(CacheMiss(driver.now, "a[0]"))
    driver.feed(CacheHit(driver.now, "a[2]", "hit"))
    driver.lookups.clear()
    driver.do("a[0]", ok("ran"))
    assert driver.task("a")["output"] == ["ran", "hit", "hit"] and driver.task("a")["cached"] is False
    program = program_of("[{name: p, graph: sub, cache: {ttl: 1m}}]", sub="{tasks: [{name: x, worker: w}], output: 1}")
    driver = Driver(program).begin().finish()
    stored = {c.cache_key: c.output for c in driver.commands if isinstance(c, StoreResult)}
    again = Driver(program)
    again.cache = stored
    again.begin().finish().check()
    assert again.task("p")["cached"] is True and again.task("p")["output"] == 1 and "p/x" not in again.phases


# saveState


def test_save_state_merges_shallowly_and_null_deletes() -> None:
    save = {"a": {"new": 1}, "gone": None, "n": {"$increment": 2}, "fresh": {"$increment": 1}, "out": "${tasks.a.output.x}"}
    driver = run(
        {"tasks": [{"name": "a", "worker": "w", "saveState": save}]}, {"a": ok({"x": 7})},
        session={"a": {"old": 1}, "gone": 1, "n": 40, "kept": True},
    )  # fmt: skip
    assert driver.session() == {"a": {"new": 1}, "n": 42, "kept": True, "fresh": 1, "out": 7}
    assert driver.patches() == [{**save, "out": 7}]


def test_only_success_saves() -> None:
    task = {"name": "a", "worker": "w", "saveState": {"k": 1}}
    assert run({"tasks": [task]}, {"a": err()}).patches() == []
    assert run({"tasks": [{**task, "when": "${1 > 2}"}]}).patches() == []
    assert run({"tasks": [{**task, "fallback": {"value": 1}}]}, {"a": err()}).patches() == [{"k": 1}]


@pytest.mark.parametrize("save", [{"k": "${tasks.a.output.nope}"}, {"text": {"$increment": 1}}, {"k": {"$increment": "x"}}])
def test_a_save_that_cannot_be_fails_the_task(save: dict[str, Any]) -> None:
    driver = run(
        {"tasks": [{"name": "a", "worker": "w", "saveState": save}], "output": 1}, {"a": ok({})}, session={"text": "t"}
    )
    assert driver.phases["a"] == "Failed" and driver.task("a")["error"]["type"] == "InvalidInput"
    assert driver.task("a")["output"] is None and driver.session() == {"text": "t"} and driver.patches() == []


def test_each_task_sees_the_session_as_of_its_start() -> None:
    driver = Driver(
        program_of("""
- {name: a, worker: w, with: "${session}", retry: {limit: 1}, saveState: {a: "${session.n}"}}
- {name: b, worker: w, with: "${session}", dependsOn: [a]}
""")
    ).begin(session={"n": 1})
    driver.share({"n": 2, "more": True})
    driver.do("a", err())
    driver.tick()
    assert driver.inputs("a") == {"n": 1}
    driver.do("a")
    assert driver.inputs("b") == {"n": 2, "more": True, "a": 1}
    driver.finish().check()


def test_the_last_commit_wins_and_increments_add_up() -> None:
    driver = Driver(
        program_of("""
- {name: a, worker: w, saveState: {last: a, n: {$increment: 1}}}
- {name: b, worker: w, saveState: {last: b, n: {$increment: 1}}}
""")
    ).begin()
    driver.do("b")
    driver.do("a")
    assert driver.session() == {"last": "a", "n": 2}
    driver.check()


# limits

BIG = "x" * (MAX_OUTPUT - 2)


def test_inputs_have_at_most_a_mebibyte() -> None:
    assert run("[{name: a, worker: w, with: '${input}'}]", {"a": ok()}, input=BIG).ended == "Succeeded"
    driver = run("[{name: a, worker: w, with: '${input}'}]", input=BIG + "x")
    assert driver.task("a")["error"]["type"] == "InvalidInput" and "1 MiB" in driver.task("a")["error"]["message"]
    assert driver.task("a")["attempts"] == 0


@pytest.mark.parametrize(
    "task",
    [
        {"value": "${input}"},
        {"worker": "w", "fallback": {"value": "${input}"}},
        {"graph": "sub", "with": "${input.substring(0, 100)}"},
    ],
)
def test_outputs_have_at_most_a_mebibyte(task: dict[str, Any]) -> None:
    sub = {"tasks": [{"name": "x", "value": "a" * 600_000}], "output": "${tasks.x.output + tasks.x.output}"}
    driver = run({"tasks": [{"name": "a", **task}]}, {"a": err()}, input=BIG + "x", sub=sub)
    failure = driver.task("a")["error"]
    assert driver.ended == "Failed" and "1 MiB" in str(failure)
    assert run(
        {"tasks": [{"name": "a", **task}]}, {"a": err()}, input=BIG, sub={**sub, "output": "${tasks.x.output}"}
    ).ended == ("Succeeded")


def test_a_session_patch_has_at_most_a_mebibyte() -> None:
    task = {"name": "a", "value": 1, "saveState": {"x": "${input}"}}
    driver = run({"tasks": [task]}, input=BIG)
    assert driver.task("a")["error"]["type"] == "InvalidInput" and driver.session() == {}


def test_a_runs_outputs_have_at_most_64_mebibytes() -> None:
    each = {"name": "a", "worker": "w", "forEach": {"items": list(range(65))}, "onError": "continue"}
    driver = Driver(program_of({"maxParallel": 65, "tasks": [each]})).begin()
    for key in list(driver.asked):
        driver.start(key)
        driver.end(key, ok(), size=MAX_RUN // 64)
    assert [entry["index"] for entry in driver.task("a")["errors"]] == [64]
    assert driver.task("a")["error"]["type"] == "InvalidOutput" and "64 MiB" in driver.task("a")["error"]["message"]


def test_values_hits_and_fallbacks_count_towards_the_runs_limit() -> None:
    driver = run("[{name: a, value: '${input}', forEach: {items: '${[0, 1, 2]}'}}]", input="x" * 98)
    assert driver.state.bytes == 300
    driver = run("[{name: a, worker: w, fallback: {value: 1234}}]", {"a": err()})
    assert driver.state.bytes == 4
    driver = Driver(program_of({"tasks": [CACHED]})).begin(input=1)
    driver.cache = dict.fromkeys(driver.lookups.values(), "1234")
    assert driver.finish().check().state.bytes == 6


def test_messages_are_cut() -> None:
    driver = run({"tasks": [{"name": "a", "worker": "w"}]}, {"a": err("Bad", "x" * 4096)})
    assert len(driver.document["error"]["message"]) == 4096
