"""Sub-graphs (semantics.md, "Kinds of task": graph)."""

from __future__ import annotations

from typing import Any

import pytest

from arklex_api.problems import ManifestError
from arklex_runtime.engine.program import MAX_DEPTH, Program
from tests.engine_driver import HANG, Driver, Script, err, ok, program_of, run

PARENT = "[{name: p, graph: sub, with: {n: 1}}, {name: b, worker: w, with: '${tasks.p.output}'}]"
CHILD = "{tasks: [{name: x, worker: w, with: '${input.n}'}], output: '${tasks.x.output}'}"
LEAVING = """
tasks: [{name: x, worker: w}]
finally: [{name: f, worker: v, with: "${run.phase}"}]
output: "${tasks.x.output}"
"""


def test_with_is_its_input_and_its_output_the_tasks() -> None:
    driver = run(PARENT, sub=CHILD)
    assert driver.phases == {"p": "Succeeded", "p/x": "Succeeded", "b": "Succeeded"}
    assert driver.inputs("p/x") == 1 and driver.inputs("b") == driver.task("p/x")["output"]
    assert driver.task("p")["attempts"] == 1


def test_paths_of_items() -> None:
    each = {"name": "p", "graph": "sub", "with": {"n": "${item}"}, "forEach": {"items": [5, 6, 7]}}
    driver = run({"tasks": [each]}, {"p[2]/x": ok("two")}, sub=CHILD)
    assert list(driver.phases) == ["p", "p[0]/x", "p[1]/x", "p[2]/x"]
    assert driver.inputs("p[1]/x") == 6 and driver.task("p")["output"][2] == "two"


def test_it_inherits_query_context_and_session() -> None:
    program = program_of(
        "[{name: s, value: 1, saveState: {k: 2}}, {name: p, graph: sub, dependsOn: [s]}]",
        sub="[{name: x, value: ['${query}', '${context.c}', '${session.k}', '${run.id}', '${run.graph}', '${input}']}]",
    )
    driver = Driver(program).begin(query="q", context={"c": 3}, input="outer")
    assert driver.task("p/x")["output"] == ["q", 3, 2, "r1", "sub", {}]
    assert driver.ended == "Succeeded" and driver.task("p")["output"] is None


def test_the_childs_input_schema() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "number"}, "s": {"type": "string"}}, "required": ["n"]}
    child = {"input": {"schema": schema}, "tasks": [{"name": "x", "value": "${input.n * 2.5}"}], "output": "${tasks.x.output}"}
    assert run(PARENT, sub=child).task("p")["output"] == 2.5
    driver = run("[{name: p, graph: sub, with: {s: 1}, retry: {limit: 3}}]", sub=child)
    assert driver.task("p")["error"]["type"] == "InvalidInput" and driver.task("p")["attempts"] == 0
    assert "p/x" not in driver.phases


def test_its_failure_is_an_attempts() -> None:
    script: Script = {"p/x": err("Bad"), "p@2/x": ok(2)}
    driver = run("[{name: p, graph: sub, with: {n: 1}, retry: {limit: 1}}]", script, sub=CHILD)
    assert driver.phases == {"p": "Succeeded", "p/x": "Succeeded"} and driver.task("p")["output"] == 2
    assert driver.task("p")["attempts"] == 2 and driver.task("p/x")["attempts"] == 1
    driver = run("[{name: p, graph: sub, with: {n: 1}, fallback: {value: 3}}]", {"p/x": err("Bad")}, sub=CHILD)
    assert driver.task("p")["output"] == 3 and driver.task("p")["error"]["type"] == "Bad"
    driver = run(PARENT, {"p/x": err("Bad")}, sub=CHILD)
    assert driver.document["error"]["type"] == "Bad" and driver.ended == "Failed"


@pytest.mark.parametrize("kind", ["InvalidInput", "Denied"])
def test_a_failure_that_is_not_retried_in_a_child_is_none_for_the_parent(kind: str) -> None:
    driver = run("[{name: p, graph: sub, with: {n: 1}, retry: {limit: 1}}]", {"p/x": err(kind)}, sub=CHILD)
    assert driver.task("p")["attempts"] == 1


def test_a_retry_starts_it_afresh() -> None:
    child = "[{name: x, worker: w}, {name: y, worker: w, dependsOn: [x]}]"
    script: Script = {"p[0]/y": err(), "p[0]@2/x": ok("again")}
    each = "[{name: p, graph: sub, retry: {limit: 1}, forEach: {items: [1]}}]"
    driver = Driver(program_of(each, sub=child), script).begin().run()
    assert driver.phases["p"] == "Retrying" and driver.task("p[0]/y")["phase"] == "Failed"
    driver.tick()
    assert driver.phases == {"p": "Running", "p[0]/x": "Waiting", "p[0]/y": "Pending"}
    driver.finish().check()
    assert driver.task("p[0]/x")["output"] == "again"


def test_its_own_max_parallel() -> None:
    parent = {
        "maxParallel": 1,
        "tasks": [{"name": "p", "graph": "sub"}, {"name": "q", "graph": "sub"}, {"name": "r", "worker": "w"}],
    }
    child = "{maxParallel: 2, tasks: [{name: x, worker: w}, {name: y, worker: w}, {name: z, worker: w}]}"
    driver = Driver(program_of(parent, sub=child)).begin()
    assert sorted(driver.asked) == ["p/x", "p/y", "q/x", "q/y", "r"]
    assert driver.finish().ended == "Succeeded"


def test_its_finally_runs_on_cancel_and_the_parents_after_it() -> None:
    parent = "{tasks: [{name: p, graph: sub}, {name: b, worker: w}], finally: [{name: g, worker: v}]}"
    driver = Driver(program_of(parent, sub=LEAVING)).begin()
    driver.start("p/x")
    driver.cancel("enough")
    assert driver.phases["p/x"] == "Cancelled" and driver.inputs("p/f") == "Cancelled" and "g" not in driver.asked
    driver.do("p/f")
    assert driver.phases["p"] == "Cancelled" and list(driver.asked) == ["g"]
    driver.do("g")
    assert driver.ended == "Cancelled" and driver.task("p")["error"]["message"] == "enough"
    driver.check()


def test_a_second_cancel_ends_every_finally() -> None:
    parent = "{tasks: [{name: p, graph: mid}], finally: [{name: g, worker: v}]}"
    mid = "{tasks: [{name: q, graph: sub}], finally: [{name: h, worker: v}]}"
    driver = Driver(program_of(parent, mid=mid, sub=LEAVING)).begin()
    driver.start("p/q/x")
    driver.cancel()
    driver.start("p/q/f")
    driver.cancel()
    assert driver.ended == "Cancelled" and driver.phases["p/q/f"] == "Cancelled"
    assert driver.phases["p/h"] == driver.phases["g"] == "Skipped"
    driver.check()


def test_one_cancel_lets_a_child_leave_that_timed_out_already() -> None:
    for parent, child in (
        ("[{name: p, graph: sub, timeout: 5s}]", LEAVING),
        ("[{name: p, graph: sub}]", f"timeout: 5s\n{LEAVING}"),
    ):
        driver = Driver(program_of(parent, sub=child), {"p/x": HANG}).begin().run()
        driver.tick(5)
        assert driver.inputs("p/f") == "Failed"
        driver.start("p/f")
        driver.cancel()
        assert driver.phases["p/f"] == "Running" and driver.open()
        driver.end("p/f")
        assert driver.ended == "Cancelled"
        driver.check()


def test_its_finally_runs_when_it_or_the_parent_runs_out_of_time() -> None:
    for where, parent, child in (
        ("run", "{timeout: 5s, tasks: [{name: p, graph: sub}]}", LEAVING),
        ("attempt", "[{name: p, graph: sub, timeout: 5s}]", LEAVING),
        ("child", "[{name: p, graph: sub}]", f"timeout: 5s\n{LEAVING}"),
    ):
        driver = Driver(program_of(parent, sub=child), {"p/x": HANG}).begin().run()
        driver.tick(5)
        assert driver.phases["p/x"] == "Cancelled" and driver.task("p/x")["error"]["type"] == "Timeout"
        assert driver.inputs("p/f") == "Failed" and driver.open()
        driver.run()
        assert driver.ended == "Failed" and driver.document["error"]["type"] == "Timeout"
        assert driver.phases["p"] == ("Cancelled" if where == "run" else "Failed")
        driver.check()


def test_a_timed_out_child_is_retried_after_its_finally() -> None:
    driver = Driver(program_of("[{name: p, graph: sub, timeout: 5s, retry: {limit: 1}}]", sub=LEAVING), {"p/x": HANG}).begin()
    driver.run().tick(5)
    driver.run()
    assert driver.phases["p"] == "Retrying"
    assert driver.finish().ended == "Succeeded" and driver.task("p")["attempts"] == 2
    driver.check()


def test_each_attempt_of_a_child_has_its_time() -> None:
    script: Script = {"p/x": HANG, "p@2/x": HANG}
    driver = Driver(program_of("[{name: p, graph: sub, timeout: 5s, retry: {limit: 1}}]", sub=LEAVING), script).begin().finish()
    assert driver.task("p")["attempts"] == 2 and driver.task("p")["error"]["type"] == "Timeout" and driver.ended == "Failed"
    assert driver.document["finishedAt"] == "2023-11-14T22:13:31.000Z"
    driver.check()


def test_a_cut_task_ends_with_the_last_of_many_sub_graphs() -> None:
    each = {"name": "p", "graph": "sub", "forEach": {"items": list(range(2000))}}
    driver = Driver(program_of({"maxParallel": 10_000, "tasks": [each]}, sub=LEAVING)).begin()
    driver.do("p[7]/x", err())
    driver.run()
    assert driver.ended == "Failed" and driver.state.root is not None and driver.state.root.tasks[0].children == 0


def test_a_failing_item_waits_for_its_siblings_finally() -> None:
    each = "[{name: p, graph: sub, forEach: {items: [0, 1]}}, {name: after, worker: w, dependsOn: [p]}]"
    driver = Driver(program_of(each, sub=LEAVING)).begin()
    driver.do("p[0]/x", err("Bad"))
    driver.do("p[0]/f")
    assert driver.inputs("p[1]/f") == "Cancelled" and driver.phases["p"] == "Running"
    driver.do("p[1]/f")
    assert driver.phases["p"] == "Failed" and driver.task("p")["error"]["details"]["index"] == 0
    assert driver.ended == "Failed" and driver.phases["after"] == "Skipped"
    driver.check()


def test_stop_inside_a_child_stops_the_child_alone() -> None:
    child = "[{name: x, worker: w}, {name: y, worker: w}]"
    parent = "[{name: p, graph: sub, onError: continue}, {name: b, worker: w}, {name: c, worker: w, dependsOn: [p]}]"
    driver = Driver(program_of(parent, sub=child)).begin()
    driver.start("p/y")
    driver.do("p/x", err())
    assert driver.phases["p/y"] == "Cancelled" and driver.phases["p"] == "Failed"
    assert list(driver.asked) == ["b", "c"]
    assert driver.finish().ended == "Succeeded"


def test_approvals_of_a_child() -> None:
    driver = Driver(program_of("[{name: p, graph: sub}]", sub="[{name: check, approval: {}}]")).begin()
    driver.decide("p/check")
    assert driver.ended == "Succeeded" and driver.task("p/check")["output"]["approved"] is True


def test_a_childs_finally_that_fails_fails_it() -> None:
    driver = run("[{name: p, graph: sub}]", {"p/f": err("Bad")}, sub=LEAVING)
    assert driver.task("p")["error"]["type"] == "Bad" and driver.ended == "Failed"


def nested(depth: int) -> dict[str, Any]:
    names = ["main", *(f"g{i}" for i in range(1, depth))]
    tasks: list[dict[str, Any]] = [{"name": "t", "graph": name} for name in names[1:]]
    return dict(zip(names, [{"tasks": [task]} for task in [*tasks, {"name": "t", "value": 1}]], strict=True))


def test_depth() -> None:
    assert run(**nested(MAX_DEPTH)).ended == "Succeeded"
    with pytest.raises(ManifestError) as caught:
        program_of(**nested(MAX_DEPTH + 1))
    assert caught.value.problems[0].reason == "TooDeep"


def test_cycles_and_strangers_are_refused() -> None:
    with pytest.raises(ManifestError) as caught:
        program_of("[{name: p, graph: sub}]", sub="[{name: q, graph: main}]")
    assert caught.value.problems[0].reason == "GraphCycle" and "main → sub → main" in caught.value.problems[0].message
    with pytest.raises(ManifestError) as caught:
        program_of("[{name: p, graph: nope}]")
    assert caught.value.problems[0].reason == "UnknownGraph"


def test_many_ways_to_the_same_graph_take_no_time() -> None:
    layers: dict[str, Any] = {"main": {"tasks": [{"name": f"t{i}", "graph": f"g0x{i}"} for i in range(12)]}}
    for layer in range(MAX_DEPTH - 2):
        for i in range(12):
            layers[f"g{layer}x{i}"] = {"tasks": [{"name": f"t{j}", "graph": f"g{layer + 1}x{j}"} for j in range(12)]}
    layers |= {f"g{MAX_DEPTH - 2}x{i}": {"tasks": [{"name": "t", "value": 1}]} for i in range(12)}
    assert len(program_of(**layers).graphs) == 1 + 12 * (MAX_DEPTH - 1)


def test_a_stored_program_is_the_same_program() -> None:
    program = program_of(PARENT, sub=CHILD)
    again = Program.load(program.document)
    assert again.document == program.document and again.digest == program.digest
    driver = Driver(again).begin().finish()
    assert driver.ended == "Succeeded"
