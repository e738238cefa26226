"""Attempts, retries, losses, timeouts, fallbacks, onError and onFailure (semantics.md, "Failure")."""

from __future__ import annotations

from typing import Any

import pytest

from arklex_runtime.engine.commands import CancelAttempt, Start
from arklex_runtime.engine.events import Finished
from tests.engine_driver import HANG, INTERRUPTED, LOST, T0, Driver, Script, err, error, ok, program_of, run


def one(**task: Any) -> dict[str, Any]:
    return {"tasks": [{"name": "a", "worker": "w", **task}]}


def starts(driver: Driver) -> list[Start]:
    return [command for command in driver.commands if isinstance(command, Start)]


# Retries


def test_no_retry_by_default() -> None:
    driver = run(one(), {"a": err("Unavailable", "down")})
    task = driver.task("a")
    assert task["phase"] == "Failed" and task["attempts"] == 1 and task["error"]["type"] == "Unavailable"
    assert driver.document["error"]["type"] == "Unavailable" and "'a'" in driver.document["error"]["message"]


@pytest.mark.parametrize(("failures", "phase", "attempts"), [(0, "Succeeded", 1), (2, "Succeeded", 3), (3, "Failed", 3)])
def test_limit_counts_retries_after_the_first_attempt(failures: int, phase: str, attempts: int) -> None:
    driver = run(one(retry={"limit": 2}), {"a": [*[err()] * failures, ok(1)]})
    assert driver.task("a")["phase"] == phase and driver.task("a")["attempts"] == attempts
    assert (driver.task("a")["error"] is None) is (phase == "Succeeded")


@pytest.mark.parametrize("kind", ["InvalidInput", "InvalidOutput", "Denied", "Cancelled"])
def test_types_that_are_not_retried_unless_named(kind: str) -> None:
    assert run(one(retry={"limit": 2}), {"a": err(kind)}).task("a")["attempts"] == 1
    assert run(one(retry={"limit": 2, "errors": [kind]}), {"a": err(kind)}).task("a")["attempts"] == 3


@pytest.mark.parametrize("kind", ["Timeout", "Unavailable", "RateLimited", "Failed", "MyOwn"])
def test_all_other_types_are_retried(kind: str) -> None:
    assert run(one(retry={"limit": 1}), {"a": err(kind)}).task("a")["attempts"] == 2


def test_only_named_types_are_retried() -> None:
    assert run(one(retry={"limit": 5, "errors": ["A"]}), {"a": [err("A"), err("B")]}).task("a")["attempts"] == 2


@pytest.mark.parametrize(("jitter", "share"), [(0.0, 0.9), (0.5, 1.0), (0.999, 1.0998)])
def test_delays(jitter: float, share: float) -> None:
    driver = Driver(program_of(one(retry={"limit": 4, "backoff": {"initial": "2s", "factor": 3, "max": "20s"}}))).begin()
    for delay in (2, 6, 18, 20):
        driver.do("a", err(), jitter)
        assert driver.phases["a"] == "Retrying" and not driver.asked
        due = driver.state.next_due
        assert due is not None and due - driver.now == pytest.approx(delay * share)
        driver.tick(due - 0.001 - T0)
        assert not driver.asked
        driver.tick(due - T0)
        assert list(driver.asked) == ["a"]
    driver.do("a", err())
    assert driver.ended == "Failed" and driver.task("a")["attempts"] == 5
    driver.check()


def test_delays_by_default() -> None:
    driver = Driver(program_of(one(retry={"limit": 9}))).begin()
    found = []
    for _ in range(9):
        driver.do("a", err())
        found.append((driver.state.next_due or 0) - driver.now)
        driver.tick()
    assert found == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60])


# Losses


def test_lost_attempts_have_a_limit_of_their_own() -> None:
    driver = run(one(retry={"limit": 1}), {"a": [*[LOST] * 5, err(), ok(1)]})
    assert driver.task("a")["phase"] == "Succeeded" and driver.task("a")["attempts"] == 7
    driver = run(one(retry={"limit": 3}), {"a": LOST})
    assert driver.task("a")["error"]["type"] == "WorkerLost" and driver.task("a")["attempts"] == 6
    driver = run(one(retry={"lostLimit": 0}, fallback={"value": 1}), {"a": LOST})
    assert driver.task("a")["output"] == 1 and driver.task("a")["attempts"] == 1


def test_a_lost_attempt_runs_again_at_once() -> None:
    driver = Driver(program_of(one())).begin()
    driver.do("a", LOST)
    assert list(driver.asked) == ["a"] and driver.asked["a"].attempt == 2


def test_interruptions_are_never_charged() -> None:
    driver = run(one(retry={"lostLimit": 0}), {"a": [*[INTERRUPTED] * 20, ok(1)]})
    assert driver.task("a")["phase"] == "Succeeded" and driver.task("a")["attempts"] == 21


def test_an_attempt_counts_once_it_has_started() -> None:
    driver = Driver(program_of(one())).begin()
    assert driver.task("a")["attempts"] == 0 and driver.phases["a"] == "Waiting"
    driver.start("a")
    assert driver.task("a")["attempts"] == 1 and driver.phases["a"] == "Running"


def test_a_limit_that_lets_no_attempt_start_fails_without_one() -> None:
    driver = Driver(program_of(one(retry={"limit": 1}))).begin()
    del driver.asked["a"]
    driver.feed(Finished(driver.now, "a", 1, error=error("RateLimited")))
    assert driver.phases["a"] == "Retrying" and driver.task("a")["attempts"] == 0
    driver.tick()
    driver.do("a", ok(1))
    assert driver.ended == "Succeeded" and driver.task("a")["attempts"] == 1
    driver.check()


def test_the_fallbacks_losses_are_counted_afresh() -> None:
    driver = run(one(retry={"lostLimit": 1}, fallback={"worker": "v"}), {"a": [LOST, LOST, LOST, ok("v")]})
    assert driver.task("a")["output"] == "v" and driver.task("a")["attempts"] == 4


# Timeouts of attempts


def test_an_attempts_timeout_begins_with_its_start() -> None:
    driver = Driver(program_of(one(timeout="10s"))).begin()
    driver.tick(100)
    assert driver.phases["a"] == "Waiting"
    driver.start("a")
    driver.tick(109)
    assert driver.phases["a"] == "Running"
    commands = driver.tick(110)
    assert [(c.key, c.attempt, c.reason) for c in commands if isinstance(c, CancelAttempt)] == [("a", 1, "Timeout")]
    assert driver.task("a")["error"]["type"] == "Timeout" and driver.ended == "Failed"


def test_a_timeout_is_retried_and_bounds_each_attempt() -> None:
    driver = run(one(timeout="10s", retry={"limit": 2}), {"a": [HANG, err(), ok(1)]})
    assert driver.task("a")["phase"] == "Succeeded" and driver.task("a")["attempts"] == 3
    driver = Driver(program_of(one(timeout="10s", retry={"limit": 1}))).begin()
    driver.do("a", err())
    driver.tick(1)
    driver.start("a")
    driver.tick(10.5)
    assert driver.phases["a"] == "Running"
    driver.tick(11)
    assert driver.ended == "Failed"


# Fallbacks


def test_fallback_value_follows_the_attempts() -> None:
    driver = run(one(retry={"limit": 1}, fallback={"value": {"n": "${input.n}"}}), {"a": err("Bad")}, input={"n": 1})
    task = driver.task("a")
    assert task["phase"] == "Succeeded" and task["fallback"] is True and task["output"] == {"n": 1}
    assert task["error"]["type"] == "Bad" and task["attempts"] == 2 and driver.ended == "Succeeded"


def test_fallback_null_is_a_value() -> None:
    task = run(one(fallback={"value": None}), {"a": err()}).task("a")
    assert task["phase"] == "Succeeded" and task["output"] is None and task["fallback"] is True


def test_a_success_has_no_fallback() -> None:
    assert "fallback" not in run(one(fallback={"value": 1}), {"a": ok(2)}).task("a")


def test_fallback_worker_takes_the_tasks_action_and_inputs() -> None:
    driver = run(one(action="do", fallback={"worker": "v"}, **{"with": {"x": 1}}), {"a": [err("Bad"), ok("v")]})
    assert [(s.worker, s.action, s.inputs, s.attempt) for s in starts(driver)] == [
        ("w", "do", {"x": 1}, 1),
        ("v", "do", {"x": 1}, 2),
    ]
    task = driver.task("a")
    assert task["output"] == "v" and task["fallback"] is True and task["error"]["type"] == "Bad"


def test_fallback_worker_with_its_own_action_and_inputs() -> None:
    fallback = {"worker": "v", "action": "other", "with": {"y": "${input}"}}
    driver = run(one(action="do", fallback=fallback, **{"with": {"x": 1}}), {"a": [err("Bad"), ok("v")]}, input=2)
    assert [(s.worker, s.action, s.inputs) for s in starts(driver)][1] == ("v", "other", {"y": 2})
    assert driver.document["phase"] == "Succeeded"


def test_a_fallback_worker_is_tried_once_and_the_first_error_kept() -> None:
    task = run(one(retry={"limit": 1}, fallback={"worker": "v"}), {"a": [err("A"), err("B"), err("C")]}).task("a")
    assert task["phase"] == "Failed" and task["attempts"] == 3 and "fallback" not in task
    assert task["error"]["type"] == "B" and task["error"]["details"]["fallback"]["type"] == "C"


def test_an_error_that_is_the_same_object_again_is_another_error() -> None:
    task = run(one(fallback={"worker": "v"}), {"a": err("Same")}).task("a")
    assert task["error"]["details"]["fallback"]["type"] == "Same"


def test_fallback_task_runs_only_then() -> None:
    graph = """
onFailure: continue
tasks:
- {name: a, worker: w, fallback: {task: f}}
- {name: f, worker: v}
- {name: after, worker: w, dependsOn: [f]}
"""
    driver = run(graph, {"a": ok(1)})
    assert driver.phases == {"a": "Succeeded", "f": "Skipped", "after": "Skipped"} and driver.ended == "Succeeded"
    driver = run(graph, {"a": err("Bad"), "f": ok(2)})
    assert driver.phases == {"a": "Succeeded", "f": "Succeeded", "after": "Succeeded"}
    assert driver.task("a")["output"] == 2 and driver.task("a")["fallback"] is True
    assert driver.task("a")["error"]["type"] == "Bad"
    driver = run(graph, {"a": err("Bad"), "f": err("Worse")})
    assert driver.phases == {"a": "Failed", "f": "Failed", "after": "Skipped"} and driver.ended == "Failed"
    assert driver.task("a")["error"]["type"] == "Bad"


def test_a_fallback_task_that_fails_leaves_it_to_who_wanted_it() -> None:
    driver = run(
        "[{name: a, worker: w, onError: continue, fallback: {task: f}}, {name: f, worker: v}]", {"a": err(), "f": err()}
    )
    assert driver.phases == {"a": "Failed", "f": "Failed"} and driver.ended == "Succeeded"


def test_a_fallback_task_waits_for_its_dependencies() -> None:
    graph = "[{name: a, worker: w, fallback: {task: f}}, {name: d, worker: w}, {name: f, worker: v, dependsOn: [d]}]"
    driver = Driver(program_of(graph)).begin()
    driver.do("a", err())
    assert list(driver.asked) == ["d"] and driver.phases["a"] == "Waiting"
    driver.do("d")
    assert list(driver.asked) == ["f"]
    assert driver.finish().ended == "Succeeded"


def test_a_skipped_fallback_task_leaves_the_task_failed() -> None:
    graph = "[{name: a, worker: w, fallback: {task: f}}, {name: f, worker: v, when: '${1 > 2}'}]"
    driver = run(graph, {"a": err("Bad")})
    assert driver.phases == {"a": "Failed", "f": "Skipped"} and driver.task("a")["error"]["type"] == "Bad"


def test_a_task_that_never_ran_wants_no_fallback() -> None:
    graph = "[{name: a, worker: w, when: '${1 > 2}', fallback: {task: f}}, {name: f, worker: v}]"
    assert run(graph).phases == {"a": "Skipped", "f": "Skipped"}


def test_fallback_after_inputs_that_cannot_be_had() -> None:
    for task in ({"with": "${input.x}"}, {"when": "${input.x}"}):
        driver = run(one(fallback={"value": 1}, **task), input={})
        assert driver.task("a")["output"] == 1 and driver.task("a")["error"]["type"] == "InvalidInput"
    saved = run(one(when="${input.x}", fallback={"worker": "v"}), {"a": ok(1)}, input={}).task("a")
    assert saved["attempts"] == 1 and saved["startedAt"] is not None


def test_no_fallback_after_cancelled() -> None:
    driver = Driver(program_of({**one(fallback={"value": 1}), "finally": [{"name": "f", "value": "${tasks.a.phase}"}]})).begin()
    driver.start("a")
    driver.cancel()
    assert driver.phases["a"] == "Cancelled" and driver.task("f")["output"] == "Cancelled" and driver.ended == "Cancelled"
    assert run(one(fallback={"value": 1}), {"a": err("Cancelled")}).phases["a"] == "Failed"


def test_a_long_line_of_fallback_tasks() -> None:
    count = 2000
    tasks: list[dict[str, Any]] = [{"name": f"t{i}", "worker": "w", "fallback": {"task": f"t{i + 1}"}} for i in range(count)]
    graph = {"tasks": [*tasks, {"name": f"t{count}", "value": 1}]}
    assert run(graph, {"t0": ok(1)}).phases["t1"] == "Skipped"
    assert run(graph, {f"t{i}": err() for i in range(count)}).task("t0")["output"] == 1


# onError, onFailure

BRANCHES = """
onFailure: %s
maxParallel: 3
tasks:
- {name: a, worker: w}
- {name: b, worker: w}
- {name: c, worker: w}
- {name: queued, worker: w}
- {name: later, worker: w, dependsOn: [b]}
- {name: after, worker: w, dependsOn: [a]}
finally:
- {name: f, value: {phase: "${run.phase}", failed: "${run.failed}", type: "${run.error.type}"}}
"""


def test_stop_cancels_what_runs_and_skips_the_rest() -> None:
    driver = Driver(program_of(BRANCHES % "stop"), {"a": err("Bad")}).begin()
    driver.start("b")
    driver.do("a")
    assert driver.phases == {
        "a": "Failed", "b": "Cancelled", "c": "Skipped", "queued": "Skipped", "later": "Skipped", "after": "Skipped",
        "f": "Succeeded",
    }  # fmt: skip
    assert all(driver.task(name)["reason"].startswith("RunStopped") for name in ("c", "queued", "later", "after"))
    assert driver.task("f")["output"] == {"phase": "Failed", "failed": ["a"], "type": "Bad"}
    assert driver.document["error"]["details"]["task"] == "a"
    driver.check()


def test_continue_lets_other_branches_go_on() -> None:
    driver = run(BRANCHES % "continue", {"a": err("Bad")})
    assert driver.phases == {
        "a": "Failed", "b": "Succeeded", "c": "Succeeded", "queued": "Succeeded", "later": "Succeeded", "after": "Skipped",
        "f": "Succeeded",
    }  # fmt: skip
    assert driver.ended == "Failed" and driver.document["output"] is None


def test_on_error_continue_does_not_fail_the_run() -> None:
    tasks = [{"name": "a", "worker": "w", "onError": "continue"}, {"name": "b", "worker": "w", "dependsOn": ["a"]}]
    driver = run({"tasks": tasks, "output": "${tasks.b.output}"}, {"a": err(), "b": ok(2)})
    assert driver.phases == {"a": "Failed", "b": "Succeeded"} and driver.ended == "Succeeded"
    assert driver.document["output"] == 2 and driver.document["error"] is None


def test_stop_lets_a_failure_be_in_the_midst_of_retries() -> None:
    script: Script = {"a": err("Bad"), "b": [err(), ok()]}
    driver = Driver(program_of("[{name: a, worker: w}, {name: b, worker: w, retry: {limit: 3}}]"), script).begin()
    driver.do("b")
    driver.do("a")
    assert driver.phases == {"a": "Failed", "b": "Cancelled"} and driver.ended == "Failed"
    driver.check()


def test_errors_of_strangers_may_lack_fields() -> None:
    driver = Driver(program_of({"tasks": [{"name": "a", "worker": "w", "forEach": {"items": [1, 2]}, "onError": "continue"}]}))
    driver.begin()
    driver.start("a[0]")
    driver.feed(Finished(driver.now, "a[0]", 1, error={"type": "Odd", "message": "m"}))
    driver.running.clear()
    driver.do("a[1]", err())
    assert driver.task("a")["errors"][0]["type"] == "Odd" and driver.ended == "Succeeded"
