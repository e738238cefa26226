"""forEach and maxParallel (semantics.md, "Kinds of task")."""

from __future__ import annotations

from typing import Any

import pytest

from arklex_runtime.engine.commands import CancelAttempt
from tests.engine_driver import HANG, Driver, err, ok, program_of, run

EACH: dict[str, Any] = {"name": "a", "worker": "w", "with": "${item}", "forEach": {"items": "${input}"}}


def spec(**more: Any) -> dict[str, Any]:
    return {"tasks": [{**EACH, **more}]}


def test_results_keep_the_lists_order() -> None:
    driver = Driver(program_of(spec())).begin(input=[1, 2, 3])
    for key in ("a[2]", "a[0]", "a[1]"):
        driver.do(key)
    assert [result["in"] for result in driver.task("a")["output"]] == [1, 2, 3]
    assert driver.task("a")["attempts"] == 3 and driver.ended == "Succeeded"
    driver.check()


def test_item_and_index_have_their_names() -> None:
    each = {"name": "a", "value": "${[index, doc]}", "forEach": {"items": "${input}", "as": "doc"}}
    assert run({"tasks": [each]}, input=["x", "y"]).task("a")["output"] == [[0, "x"], [1, "y"]]


def test_items_may_be_a_list_of_templates() -> None:
    each = {"name": "a", "value": "${item}", "forEach": {"items": [1, "${input}", {"x": "${input}"}]}}
    assert run({"tasks": [each]}, input=2).task("a")["output"] == [1, 2, {"x": 2}]


def test_its_max_parallel() -> None:
    driver = run(spec(forEach={"items": "${input}", "maxParallel": 2}), input=list(range(9)))
    assert driver.peak == 2 and driver.ended == "Succeeded"


def test_the_graphs_max_parallel_counts_items_and_tasks() -> None:
    driver = run({"maxParallel": 3, "tasks": [EACH, {"name": "b", "worker": "w"}, {"name": "c", "worker": "w"}]}, input=[1] * 5)
    assert driver.peak == 3 and driver.ended == "Succeeded"


def test_max_parallel_holds_while_attempts_wait_for_a_slot() -> None:
    driver = Driver(program_of({"maxParallel": 2, **spec()})).begin(input=[1, 2, 3])
    assert list(driver.asked) == ["a[0]", "a[1]"]
    driver.start("a[0]")
    assert list(driver.asked) == ["a[1]"]
    driver.end("a[0]")
    assert list(driver.asked) == ["a[1]", "a[2]"]


def test_backoff_approvals_values_and_sub_graphs_hold_no_slot() -> None:
    tasks = """
maxParallel: 1
tasks:
- {name: ask, approval: {}}
- {name: ask2, approval: {}}
- {name: child, graph: sub}
- {name: again, worker: w, retry: {limit: 1}}
- {name: v, value: 1}
- {name: last, worker: w}
"""
    driver = Driver(program_of(tasks, sub="[{name: x, worker: w}]"), {"again": [err(), ok()]}).begin()
    assert {"child/x", "again"} == set(driver.asked) and set(driver.state.open) == {"ask", "ask2", "child/x", "again"}
    driver.do("again")
    assert driver.phases["again"] == "Retrying" and "last" in driver.asked
    driver.do("last")
    driver.do("child/x")
    driver.decide("ask")
    driver.decide("ask2")
    assert driver.finish().ended == "Succeeded"


def test_the_first_item_to_fail_cancels_the_rest() -> None:
    driver = Driver(program_of(spec(forEach={"items": "${input}", "maxParallel": 3})), {"a[1]": err("Bad", "no")})
    driver.begin(input=[1, 2, 3, 4, 5])
    driver.do("a[0]")
    driver.start("a[2]")
    commands = driver.do("a[1]")
    cancels = [(c.key, c.attempt) for c in commands if isinstance(c, CancelAttempt)]
    assert cancels == [("a[2]", 1), ("a[3]", 1)]
    task = driver.task("a")
    assert task["phase"] == "Failed" and task["output"] is None
    assert task["error"]["type"] == "Bad" and task["error"]["details"]["index"] == 1
    assert driver.ended == "Failed" and task["attempts"] == 3
    driver.check()


def test_on_error_continue_runs_all() -> None:
    driver = run(
        {"tasks": [{**EACH, "onError": "continue"}, {"name": "b", "value": "${tasks.a.output}"},
                   {"name": "c", "value": "${tasks.a.errors[0].index}"}]},
        {"a[0]": ok(0), "a[1]": err("Bad"), "a[2]": err("Worse"), "a[3]": ok(3)}, input=[1, 2, 3, 4],
    )  # fmt: skip
    task = driver.task("a")
    assert task["output"] == [0, None, None, 3] == driver.task("b")["output"] and driver.task("c")["output"] == 1
    assert [(e["index"], e["type"]) for e in task["errors"]] == [(1, "Bad"), (2, "Worse")]
    assert task["phase"] == "Failed" and task["error"]["details"]["index"] == 1 and driver.ended == "Succeeded"


def test_fallback_and_retry_are_per_item() -> None:
    driver = run(
        spec(fallback={"value": "${index}"}, retry={"limit": 1}),
        {"a[0]": err(), "a[1]": [err(), ok("x")], "a[2]": ok("y")}, input=[1, 2, 3],
    )  # fmt: skip
    task = driver.task("a")
    assert task["output"] == [0, "x", "y"] and task["attempts"] == 5 and task["fallback"] is True
    assert task["phase"] == "Succeeded"


def test_no_items() -> None:
    driver = run({"tasks": [EACH, {"name": "b", "value": "${size(tasks.a.output)}"}]}, input=[])
    assert driver.task("a")["output"] == [] and driver.task("b")["output"] == 0 and driver.task("a")["attempts"] == 0


def test_ten_thousand_items_and_no_more() -> None:
    each = {"name": "a", "value": "${item}", "forEach": {"items": "${input}"}}
    assert run({"tasks": [each]}, input=[1] * 10_000).task("a")["output"] == [1] * 10_000
    failure = run({"tasks": [each]}, input=[1] * 10_001).task("a")["error"]
    assert failure["type"] == "InvalidInput" and "10001" in failure["message"]


@pytest.mark.parametrize("items", [1, "text", {"a": 1}, None])
def test_items_that_are_no_list(items: Any) -> None:
    failure = run(spec(), input=items).task("a")["error"]
    assert failure["type"] == "InvalidInput" and "forEach.items" in failure["message"]


def test_when_and_save_state_are_per_task() -> None:
    driver = run(
        spec(when="${size(input) > 1}", saveState={"n": {"$increment": "${size(tasks.a.output)}"}}),
        {"a[0]": ok(), "a[1]": ok()}, input=[1, 2], session={"n": 1},
    )  # fmt: skip
    assert driver.session() == {"n": 3} and len(driver.patches()) == 1
    assert run(spec(when="${size(input) > 1}"), input=[1]).phases == {"a": "Skipped"}


def test_items_are_evaluated_once() -> None:
    driver = Driver(program_of(spec(forEach={"items": "${session.list}", "maxParallel": 1}))).begin(session={"list": [1, 2]})
    driver.do("a[0]")
    driver.share({"list": []})
    driver.do("a[1]")
    assert [result["in"] for result in driver.task("a")["output"]] == [1, 2]
    driver.check()


def test_an_items_timeout_is_its_own() -> None:
    driver = run(spec(timeout="5s", onError="continue"), {"a[0]": HANG, "a[1]": ok(1)}, input=[1, 2])
    assert driver.task("a")["output"] == [None, 1] and driver.task("a")["errors"][0]["type"] == "Timeout"


def test_a_list_of_sub_graphs_and_of_approvals_is_bounded_by_the_graph() -> None:
    each = {"name": "a", "graph": "sub", "forEach": {"items": "${input}"}}
    driver = Driver(program_of({"maxParallel": 2, "tasks": [each]}, sub="[{name: x, worker: w}]")).begin(input=[1, 2, 3])
    assert list(driver.asked) == ["a[0]/x", "a[1]/x"]
    driver.do("a[1]/x")
    assert list(driver.asked) == ["a[0]/x", "a[2]/x"]
