"""A run's state as a status: what it shows, and that it stays small whatever the run holds."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from arklex_api.run import TaskGraphRunStatus
from arklex_api.taskgraph import LastRun
from arklex_runtime.engine.state import RunState
from arklex_runtime.kube.conditions import conditions_of
from arklex_runtime.kube.fold import differs, go_duration, progress_of, unit_at
from arklex_runtime.kube.texts import cut, reason_of
from tests.engine_driver import Driver, Script, err, ok, program_of, run

NOW = "2026-01-01T00:00:00.000Z"


def shown(driver: Driver) -> dict[str, Any]:
    """The progress, which the CRD's model accepts and which replay gives too."""
    progress = progress_of(driver.state)
    TaskGraphRunStatus.model_validate({**progress, "conditions": conditions_of(progress, None, 1, [], NOW)})
    LastRun.model_validate({**progress, "name": "r"})
    assert len(orjson.dumps(progress)) < 24 * 1024
    return progress


def test_a_run_that_succeeded() -> None:
    driver = run(
        {"tasks": [{"name": "a", "worker": "w"}, {"name": "b", "value": 1}], "output": "${tasks.a.output}"}, {"a": ok([1])}
    )
    assert shown(driver) == {
        "phase": "Succeeded",
        "progress": "2/2",
        "startTime": "2023-11-14T22:13:20.000Z",
        "completionTime": "2023-11-14T22:13:20.000Z",
        "duration": "0s",
        "output": "[1]",
        "tasks": {"total": 2, "succeeded": 2},
    }


def test_a_graph_without_output_shows_none_and_an_output_of_null_is_one() -> None:
    assert "output" not in shown(run({"tasks": [{"name": "a", "value": 1}]}))
    assert shown(run({"tasks": [{"name": "a", "value": None}], "output": "${tasks.a.output}"}))["output"] == "null"


def test_a_run_in_progress_says_what_it_is_at() -> None:
    tasks = [
        {"name": "ask", "worker": "w"},
        {"name": "page", "worker": "w", "forEach": {"items": "${[1, 2, 3]}"}},
        {"name": "later", "worker": "w", "dependsOn": ["ask"]},
    ]
    driver = Driver(program_of({"tasks": tasks, "maxParallel": 2})).begin()
    driver.start("ask")
    driver.do("page[0]")
    progress = shown(driver)
    assert progress["message"] == "ask running, page 1/3 items"
    assert progress["tasks"] == {"total": 3, "pending": 1, "running": 1, "waiting": 1}
    assert progress["phase"] == "Running" and progress["progress"] == "0/3" and "completionTime" not in progress


def test_a_task_that_no_pod_has_taken_says_whose_pods_it_waits_for() -> None:
    driver = Driver(program_of({"tasks": [{"name": "a", "worker": "w"}]})).begin()
    assert shown(driver)["message"] == "a waits for a free pod of Worker w"


def test_a_retry_and_an_approval_are_told() -> None:
    tasks = [{"name": "a", "worker": "w", "retry": {"limit": 1}}, {"name": "check", "approval": {"message": "go?"}}]
    driver = Driver(program_of({"tasks": tasks}), {"a": err("Timeout", "too slow", True)}).begin()
    driver.do("a")
    progress = shown(driver)
    assert progress["approvals"] == ["check"]
    assert progress["message"] == "waits for a decision: arklex approve r1 check"
    driver.decide("check")
    assert shown(driver)["message"] == "a retries after Timeout: too slow"


def test_a_failure_names_the_innermost_task_first_and_the_command_for_its_logs() -> None:
    child = {"tasks": [{"name": "fetch", "worker": "w"}]}
    driver = run({"tasks": [{"name": "sub", "graph": "child"}]}, {"sub/fetch": err("Boom", "no")}, child=child)
    progress = shown(driver)
    assert [failure["task"] for failure in progress["failures"]] == ["sub/fetch", "sub"]
    assert progress["failures"][0] == {"task": "sub/fetch", "type": "Boom", "message": "no", "logs": "arklex logs r1 sub/fetch"}
    assert progress["phase"] == "Failed" and "no" in progress["message"]


def test_an_item_that_failed_is_named_and_its_command_survives_a_shell() -> None:
    tasks = [{"name": "page", "worker": "w", "forEach": {"items": "${[1, 2]}"}}]
    progress = shown(run({"tasks": tasks}, {"page[1]": err()}))
    assert progress["failures"][0]["task"] == "page[1]"
    assert progress["failures"][0]["logs"] == "arklex logs r1 'page[1]'"


@pytest.mark.parametrize("text", ["x", "é", "😀", "\x01", '"'])
def test_a_thousand_failures_with_long_messages_stay_small(text: str) -> None:
    tasks = [{"name": f"t{n}", "worker": "w"} for n in range(1000)]
    script: Script = {f"t{n}": err("Very" * 40, text * 4096) for n in range(1000)}
    driver = run({"tasks": tasks, "onFailure": "continue", "maxParallel": 1000}, script)
    progress = shown(driver)
    assert len(progress["failures"]) == 5 and progress["tasks"]["failed"] == 1000
    status = {**progress, "lastRun": progress, "conditions": conditions_of(progress, "x", 1, [], NOW)}
    assert len(orjson.dumps(status)) < 64 * 1024


def test_ten_thousand_items_that_wait_for_a_person_stay_small() -> None:
    tasks = [{"name": "ask", "approval": {"message": "?"}, "forEach": {"items": "${input.n}"}}]
    driver = Driver(program_of({"tasks": tasks, "maxParallel": 10_000})).begin(input={"n": list(range(10_000))})
    progress = shown(driver)
    assert progress["approvals"] == [f"ask[{n}]" for n in range(5)]


def test_a_run_that_is_not_accepted_yet_is_pending() -> None:
    assert progress_of(RunState()) == {"phase": "Pending"}


def test_only_a_condition_whose_status_moves_gets_a_new_time() -> None:
    first = conditions_of({"phase": "Running"}, None, 1, [], "t1")
    assert [(c["type"], c["status"], c["reason"]) for c in first] == [
        ("Completed", "False", "Running"),
        ("Succeeded", "Unknown", "Running"),
    ]
    second = conditions_of({"phase": "Running", "message": "a runs"}, None, 2, first, "t2")
    assert {c["lastTransitionTime"] for c in second} == {"t1"} and {c["observedGeneration"] for c in second} == {2}
    ended = conditions_of({"phase": "Failed", "message": "no"}, "Timeout", 2, second, "t3")
    assert [(c["status"], c["reason"], c["lastTransitionTime"]) for c in ended] == [
        ("True", "Failed", "t3"),
        ("False", "Timeout", "t3"),
    ]


def test_time_that_passes_is_no_difference_but_an_end_is() -> None:
    driver = Driver(program_of({"tasks": [{"name": "a", "worker": "w"}]})).begin()
    driver.start("a")
    before = progress_of(driver.state)
    driver.tick(5.0)
    after = progress_of(driver.state)
    assert before["duration"] != after["duration"]
    assert not differs(after, {**before, "failures": [], "message": before["message"]})
    driver.end("a")
    assert differs(progress_of(driver.state), after)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (-1, "0s"), (0.0125, "0.013s"), (1.25, "1.25s"), (59.9996, "1m0s"), (3600, "1h0m0s"), (90061, "25h1m1s")],
)
def test_durations_as_go_writes_them(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


def test_texts_and_reasons() -> None:
    assert cut("short", 100) == "short"
    assert cut("é" * 100, 20) == "é" * 8 + "…"
    assert len(orjson.dumps(cut("\x00" * 100, 20))) <= 22
    assert reason_of("Timeout") == "Timeout"
    assert reason_of("my own error") == "MyOwnError"
    assert reason_of("42") == "Failed"


def test_units_are_found_by_their_keys() -> None:
    child = {"tasks": [{"name": "x", "worker": "w", "forEach": {"items": "${[1, 2]}"}}]}
    tasks = [{"name": "sub", "graph": "child", "retry": {"limit": 1}}, {"name": "a", "worker": "w"}]
    driver = Driver(program_of({"tasks": tasks}, child=child), {"sub/x[1]": err("Timeout", "slow", True)}).begin()
    for key in ("a", "sub/x[0]", "sub/x[1]"):
        driver.start(key)
    for key in ("a", "sub", "sub/x[0]", "sub/x[1]"):
        unit = unit_at(driver.state, key)
        assert unit is not None and unit.key == key
    for key in ("b", "sub/x[2]", "sub/x", "a[0]", "a/b", "sub@2/x[0]"):
        assert unit_at(driver.state, key) is None
    driver.end("sub/x[1]")
    driver.tick()
    unit = unit_at(driver.state, "sub@2/x[1]")
    assert unit is not None and unit.key == "sub@2/x[1]"
