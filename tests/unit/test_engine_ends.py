"""How runs end: output, finally, cancel, timeouts, late events (semantics.md, "Failure")."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from arklex_runtime.engine.commands import EndRun
from arklex_runtime.engine.events import Accepted, CancelRequested, Decided, Event, Finished, Interrupted, Lost, Started, Tick
from tests.engine_driver import HANG, T0, Driver, Script, err, error, ok, program_of, run, snapshot

WITH_FINALLY = """
tasks:
- {name: a, worker: w}
finally:
- {name: f, worker: v, with: {phase: "${run.phase}", failed: "${run.failed}"}}
output: "${tasks.a.output}"
"""

# output


def test_output() -> None:
    driver = run(WITH_FINALLY, {"a": ok(1)})
    assert driver.document["output"] == 1 and driver.ended == "Succeeded"
    assert run("[{name: a, value: 1}]").document["output"] is None


def test_output_of_a_failed_run_is_null() -> None:
    driver = run({"onFailure": "continue", "tasks": [{"name": "a", "worker": "w"}], "output": "constant"}, {"a": err()})
    assert driver.document["output"] is None and driver.ended == "Failed"


def test_output_names_the_task_without_output() -> None:
    graph = {"tasks": [{"name": "a", "worker": "w", "onError": "continue"}], "output": {"x": "${tasks.a.output}"}}
    driver = run(graph, {"a": err()})
    failure = driver.document["error"]
    assert driver.ended == "Failed" and failure["type"] == "InvalidOutput" and "tasks.a.output" in failure["message"]
    assert driver.document["output"] is None


def test_output_may_guard() -> None:
    graph: dict[str, Any] = {"tasks": [{"name": "a", "worker": "w", "onError": "continue"}]}
    graph["output"] = "${has(tasks.a.output) ? tasks.a.output : 'none'}"
    assert run(graph, {"a": err()}).document["output"] == "none"


def test_output_is_evaluated_before_finally() -> None:
    driver = run({
        "tasks": [{"name": "a", "value": 1}],
        "output": "${tasks.a.output.nope}",
        "finally": [{"name": "f", "value": {"phase": "${run.phase}", "type": "${run.error.type}"}}],
    })  # fmt: skip
    assert driver.task("f")["output"] == {"phase": "Failed", "type": "InvalidOutput"}


# finally


def test_finally_waits_for_all_tasks() -> None:
    driver = Driver(
        program_of("{tasks: [{name: a, worker: w}, {name: b, worker: w}], finally: [{name: f, worker: v}]}")
    ).begin()
    driver.do("a")
    assert list(driver.asked) == ["b"]
    driver.do("b")
    assert list(driver.asked) == ["f"] and driver.open() and driver.document["phase"] == "Running"
    driver.do("f")
    assert driver.ended == "Succeeded"


@pytest.mark.parametrize("on_failure", ["stop", "continue"])
def test_finally_after_failure(on_failure: str) -> None:
    driver = run(f"onFailure: {on_failure}\n{WITH_FINALLY}", {"a": err()})
    assert driver.inputs("f") == {"phase": "Failed", "failed": ["a"]} and driver.ended == "Failed"


def test_finally_tasks_may_depend_on_each_other_and_read_everything() -> None:
    driver = run("""
tasks:
- {name: a, value: 1}
- {name: b, value: 2, when: "${1 > 2}"}
finally:
- {name: g, value: "${tasks.f.output + tasks.a.output}"}
- {name: f, value: "${tasks.a.output + 10}"}
- {name: h, value: "${tasks.b.phase}"}
- {name: i, value: "${tasks.b.output}"}
""")
    assert driver.task("g")["output"] == 12 and driver.task("h")["output"] == "Skipped"
    assert driver.phases["i"] == "Skipped" and driver.ended == "Succeeded"


def test_a_failing_finally_task_fails_a_succeeded_run() -> None:
    driver = run(WITH_FINALLY, {"f": err("Bad")})
    assert driver.ended == "Failed" and driver.document["error"]["type"] == "Bad" and driver.document["output"] is None
    assert driver.document["error"]["details"]["task"] == "f"


def test_a_failing_finally_task_may_be_allowed_and_never_hides_the_runs_error() -> None:
    assert run(WITH_FINALLY.replace("worker: v", "worker: v, onError: continue"), {"f": err()}).ended == "Succeeded"
    driver = run(WITH_FINALLY, {"a": err("First"), "f": err("Second")})
    assert driver.ended == "Failed" and driver.document["error"]["type"] == "First"


def test_a_failing_finally_task_does_not_stop_its_siblings() -> None:
    graph = """
tasks: [{name: a, value: 1}]
finally: [{name: f, worker: v}, {name: g, worker: v}, {name: h, worker: v, dependsOn: [g]}]
"""
    driver = run(graph, {"f": err()})
    assert driver.phases == {"a": "Succeeded", "f": "Failed", "g": "Succeeded", "h": "Succeeded"}


def test_finally_has_its_own_budget() -> None:
    driver = Driver(program_of(f"timeout: 10s\nfinallyTimeout: 20s\n{WITH_FINALLY}"), {"f": HANG}).begin()
    driver.tick(9)
    driver.do("a")
    driver.do("f")
    driver.tick(28)
    assert driver.open()
    driver.tick(29)
    assert driver.task("f")["phase"] == "Cancelled" and driver.task("f")["error"]["type"] == "Timeout"
    assert driver.ended == "Failed" and driver.document["error"]["type"] == "Timeout"
    driver.check()


def test_finally_retries_and_falls_back() -> None:
    graph = """
tasks: [{name: a, value: 1}]
finally:
- {name: f, worker: v, retry: {limit: 1}, fallback: {task: g}}
- {name: g, worker: v}
"""
    driver = run(graph, {"f": err("Bad"), "g": ok(3)})
    assert driver.task("f")["output"] == 3 and driver.task("f")["attempts"] == 2 and driver.ended == "Succeeded"


# cancel


def test_cancel_at_every_point() -> None:
    driver = Driver(program_of(WITH_FINALLY)).begin()
    driver.cancel("enough")
    assert driver.phases["a"] == "Skipped" and driver.task("a")["reason"].startswith("RunCancelled")
    assert list(driver.asked) == ["f"] and driver.inputs("f") == {"phase": "Cancelled", "failed": []}
    driver.do("f")
    assert driver.ended == "Cancelled" and driver.document["error"]["message"] == "enough"
    driver = Driver(program_of(WITH_FINALLY)).begin()
    driver.start("a")
    driver.cancel()
    assert driver.task("a")["phase"] == "Cancelled" and driver.task("a")["error"]["type"] == "Cancelled"
    assert driver.finish().ended == "Cancelled"


@pytest.mark.parametrize(
    ("task", "script", "events", "phase"),
    [
        ({"approval": {}}, ok(), 0, "Cancelled"),
        ({"worker": "w", "retry": {"limit": 1}}, err(), 1, "Cancelled"),
        ({"worker": "w", "cache": {"ttl": "1m"}}, ok(), 0, "Skipped"),
        ({"worker": "w", "forEach": {"items": [1, 2]}}, HANG, 1, "Cancelled"),
        ({"graph": "sub"}, HANG, 0, "Cancelled"),
    ],
)
def test_cancel_whatever_it_waits_for(task: dict[str, Any], script: Any, events: int, phase: str) -> None:
    name = "a[0]" if "forEach" in task else "a"
    driver = Driver(program_of({"tasks": [{"name": "a", **task}]}, sub="[{name: x, worker: w}]"), {name: script}).begin()
    if events:
        driver.do(name)
    driver.cancel()
    assert driver.phases["a"] == phase and driver.ended == "Cancelled" and driver.task("a")["output"] is None
    driver.check()


def test_a_second_cancel_ends_finally() -> None:
    driver = Driver(program_of(WITH_FINALLY), {"f": HANG}).begin()
    driver.cancel()
    driver.do("f")
    driver.tick(1)
    assert driver.open()
    driver.cancel()
    assert driver.ended == "Cancelled" and driver.phases["f"] == "Cancelled"
    driver.check()


def test_one_cancel_while_finally_runs_lets_it_run() -> None:
    driver = Driver(program_of(WITH_FINALLY), {"f": HANG}).begin()
    driver.do("a")
    driver.do("f")
    driver.cancel()
    assert driver.open()
    driver.end("f", ok())
    assert driver.ended == "Cancelled" and driver.document["output"] is None
    driver.check()


# timeout of the run


def test_the_runs_timeout() -> None:
    graph = f"timeout: 10s\n{WITH_FINALLY}".replace("tasks:\n", "tasks:\n- {name: b, worker: w, dependsOn: [a]}\n")
    driver = Driver(program_of(graph), {"a": HANG}).begin()
    driver.do("a")
    driver.tick(10)
    assert driver.phases == {"a": "Cancelled", "b": "Skipped", "f": "Waiting"}
    assert driver.task("a")["error"]["type"] == "Timeout" and driver.inputs("f") == {"phase": "Failed", "failed": []}
    driver.tick(100)
    driver.do("f")
    assert driver.ended == "Failed" and driver.document["error"]["type"] == "Timeout"
    driver.check()


def test_a_run_lasts_a_day_by_default_waits_included() -> None:
    driver = Driver(program_of("[{name: a, approval: {}}]")).begin()
    driver.tick(86_399)
    assert driver.open()
    driver.tick(86_400)
    assert (
        driver.ended == "Failed" and driver.task("a")["phase"] == "Cancelled" and driver.task("a")["error"]["type"] == "Timeout"
    )


def test_time_does_not_go_back() -> None:
    driver = Driver(program_of("[{name: a, worker: w}]")).begin()
    driver.now += 5
    driver.start("a")
    driver.now -= 10
    driver.end("a", ok())
    assert driver.document["finishedAt"] == "2023-11-14T22:13:25.000Z"
    driver.check()


# late and repeated events

RACE = "[{name: a, worker: w, retry: {limit: 2}}, {name: b, worker: w}, {name: c, approval: {}}]"


def _late(driver: Driver) -> list[Event]:
    now = driver.now
    return [
        Started(now, "a", 1), Started(now, "a", 3), Started(now, "nope", 1), Started(now, "b", 1),
        Finished(now, "a", 1, "late"), Finished(now, "a", 1, None, error()), Finished(now, "a", 2, "early"),
        Finished(now, "a", 3, "never"), Finished(now, "b", 2), Finished(now, "nope", 1),
        Lost(now, "a", 1), Lost(now, "a", 2), Lost(now, "b", 2), Interrupted(now, "a", 1), Interrupted(now, "a", 2),
        Decided(now, "a", True), Decided(now, "b", True), Decided(now, "nope", True),
        Accepted(now, "r2", "", None, {}, {}),
    ]  # fmt: skip


def test_late_and_duplicate_events_are_refused_and_counted() -> None:
    driver = Driver(program_of(RACE)).begin()
    driver.do("a", err())
    driver.tick()
    driver.start("b")
    before = snapshot(driver.state)
    events = _late(driver)
    for event in events:
        assert driver.feed(event) == []
    after = snapshot(driver.state)
    assert after.pop("refused") == before.pop("refused") + len(events)
    assert after.pop("events") == before.pop("events") + len(events)
    assert after == before
    driver.check()


def test_the_first_result_wins() -> None:
    driver = Driver(program_of("[{name: a, worker: w}, {name: b, worker: w}]")).begin()
    driver.do("a", ok(1))
    document = copy.deepcopy(driver.task("a"))
    driver.feed(Finished(driver.now + 1, "a", 1, 2))
    driver.feed(Lost(driver.now + 1, "a", 1))
    assert driver.task("a") == document and driver.state.refused == 2


def test_nothing_follows_the_end() -> None:
    driver = run(RACE, {"b": err()})
    before = driver.document
    events = [*_late(driver), CancelRequested(driver.now), Tick(driver.now + 1e6), Decided(driver.now, "c", True)]
    for event in events:
        assert driver.feed(event) == []
    assert driver.document == before and driver.state.refused == len(events) and driver.state.next_due is None
    assert len([command for command in driver.commands if isinstance(command, EndRun)]) == 1
    driver.check()


def test_a_result_after_a_timeout_or_a_loss_is_refused() -> None:
    script: Script = {"a": HANG}
    driver = Driver(program_of("[{name: a, worker: w, timeout: 5s, retry: {limit: 1}}]"), script).begin()
    driver.do("a")
    driver.tick(5)
    driver.feed(Finished(T0 + 5, "a", 1, "late"))
    assert driver.phases["a"] == "Retrying" and driver.state.refused == 1
    driver.tick(7)
    driver.feed(Finished(T0 + 7, "a", 1, "late"))
    driver.start("a")
    driver.feed(Finished(T0 + 7, "a", 1, "late"))
    assert driver.phases["a"] == "Running" and driver.state.refused == 3
    driver.end("a", ok("right"))
    assert driver.task("a")["output"] == "right"
    driver.check()


def test_events_before_the_beginning_are_refused() -> None:
    driver = Driver(program_of(RACE))
    for event in (CancelRequested(T0), Tick(T0), Finished(T0, "a", 1)):
        assert driver.feed(event) == []
    assert driver.begin().document["phase"] == "Running"
