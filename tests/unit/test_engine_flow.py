"""When a task runs: dependencies, skip check, when (semantics.md, "When a task runs")."""

from __future__ import annotations

from typing import Any

import pytest

from arklex_api.problems import ManifestError
from arklex_runtime.engine.commands import Start
from tests.engine_driver import Driver, Script, err, ok, program_of, run

BROKEN: Script = {"a": err()}


def test_a_dependency_is_a_reference_or_a_name() -> None:
    driver = run("""
- {name: c, worker: w, with: "${tasks.b.output}"}
- {name: b, worker: w, dependsOn: [a]}
- {name: a, worker: w}
""")
    assert [key for kind, key in driver.order if kind == "start"] == ["a", "b", "c"]
    assert driver.phases == {"a": "Succeeded", "b": "Succeeded", "c": "Succeeded"}
    assert driver.inputs("c") == driver.task("b")["output"]


def test_a_task_waits_for_all_its_dependencies() -> None:
    driver = Driver(
        program_of("""
- {name: a, worker: w}
- {name: b, worker: w}
- {name: c, worker: w, dependsOn: [a, b]}
""")
    ).begin()
    assert list(driver.asked) == ["a", "b"]
    driver.do("b")
    assert list(driver.asked) == ["a"]
    driver.do("a")
    assert list(driver.asked) == ["c"]


@pytest.mark.parametrize("where", ["when", "with", "value", "fallback", "cache", "saveState", "forEach", "message"])
def test_every_reference_of_a_task_is_a_dependency(where: str) -> None:
    read: Any = "${tasks.a.output.x}"
    ways: dict[str, dict[str, Any]] = {
        "when": {"worker": "w", "when": "${tasks.a.output.x == 1}"},
        "with": {"worker": "w", "with": {"deep": [read]}},
        "value": {"value": read},
        "fallback": {"worker": "w", "fallback": {"value": read}},
        "cache": {"worker": "w", "cache": {"ttl": "1m", "key": read}},
        "saveState": {"worker": "w", "saveState": {"x": read}},
        "forEach": {"worker": "w", "forEach": {"items": "${[tasks.a.output.x]}"}},
        "message": {"approval": {"message": f"Really {read}?"}},
    }
    driver = Driver(program_of({"tasks": [{"name": "b", **ways[where]}, {"name": "a", "worker": "w"}]})).begin()
    assert list(driver.asked) == ["a"]


@pytest.mark.parametrize(
    ("reader", "phase"),
    [
        ({"with": "${tasks.a.output}"}, "Skipped"),
        ({"with": "${tasks.a.output.deep.field}"}, "Skipped"),
        ({"with": "${has(tasks.a.output) ? tasks.a.output : null}"}, "Succeeded"),
        ({"with": "${has(tasks.a.output.x)}"}, "Succeeded"),
        ({"with": "${tasks.a.phase}"}, "Succeeded"),
        ({"with": "${tasks.a.error}"}, "Succeeded"),
        ({"with": "${tasks.a.error.type}"}, "Succeeded"),
        ({"with": "${has(tasks.a.error)}"}, "Succeeded"),
        ({"when": "${tasks.a.phase == 'Failed'}", "with": "ran"}, "Succeeded"),
        ({"when": "${tasks.a.phase == 'Failed'}", "with": "${tasks.a.output}"}, "Failed"),
        ({"dependsOn": ["a"]}, "Skipped"),
    ],
)
@pytest.mark.parametrize("on_error", ["fail", "continue"])
def test_readers_of_a_failed_task(reader: dict[str, Any], phase: str, on_error: str) -> None:
    tasks = [{"name": "a", "worker": "w", "onError": on_error}, {"name": "b", "worker": "w", **reader}]
    driver = run({"onFailure": "continue", "tasks": tasks}, BROKEN)
    if reader == {"dependsOn": ["a"]} and on_error == "continue":
        phase = "Succeeded"
    assert driver.phases["b"] == phase
    if phase == "Failed":
        failure = driver.task("b")["error"]
        assert failure["type"] == "InvalidInput" and "tasks.a.output" in failure["message"]


def test_skips_go_on_but_for_who_guards() -> None:
    driver = run(
        """
onFailure: continue
tasks:
- {name: a, worker: w}
- {name: b, worker: w, with: "${tasks.a.output}"}
- {name: c, worker: w, dependsOn: [b]}
- {name: d, worker: w, with: "${tasks.c.phase}"}
- {name: e, worker: w, dependsOn: [c]}
""",
        BROKEN,
    )
    assert driver.phases == {"a": "Failed", "b": "Skipped", "c": "Skipped", "d": "Succeeded", "e": "Skipped"}
    assert driver.task("d")["output"]["in"] == "Skipped"
    assert driver.task("b")["reason"].startswith("DependencyFailed")


def test_when() -> None:
    driver = run(
        """
- {name: a, worker: w, when: "${1 == 2}"}
- {name: order, worker: w, dependsOn: [a]}
- {name: reads, worker: w, with: "${tasks.a.output}"}
- {name: after, worker: w, dependsOn: [reads]}
- {name: guarded, value: "${has(tasks.a.output) ? 'there' : tasks.a.phase}"}
- {name: yes, worker: w, when: "${1 == 1}"}
""".replace("yes", "yea")
    )
    assert driver.phases == {
        "a": "Skipped",
        "order": "Succeeded",
        "reads": "Skipped",
        "after": "Skipped",
        "guarded": "Succeeded",
        "yea": "Succeeded",
    }
    assert driver.task("a")["attempts"] == 0 and driver.task("a")["reason"].startswith("WhenFalse")
    assert driver.task("guarded")["output"] == "Skipped"
    assert driver.document["phase"] == "Succeeded"


def test_a_skipped_approval_opens_no_door() -> None:
    driver = run(
        """
onFailure: continue
tasks:
- {name: a, worker: w}
- {name: check, approval: {message: "${tasks.a.output}"}}
- {name: pay, worker: w, dependsOn: [check]}
""",
        BROKEN,
    )
    assert driver.phases == {"a": "Failed", "check": "Skipped", "pay": "Skipped"}


@pytest.mark.parametrize("when", ["${1}", "${null}", "${'true'}", "${input.nope == 1}"])
def test_a_condition_that_is_none_fails_the_task(when: str) -> None:
    driver = run({"tasks": [{"name": "a", "worker": "w", "when": when}]}, input={})
    assert driver.phases == {"a": "Failed"} and driver.task("a")["attempts"] == 0
    assert driver.task("a")["error"]["type"] == "InvalidInput"
    assert "when" in driver.task("a")["error"]["message"]
    assert driver.document["phase"] == "Failed"


def test_inputs_that_cannot_be_had_fail_the_task() -> None:
    driver = run({"tasks": [{"name": "a", "worker": "w", "with": "${input.nope}", "retry": {"limit": 3}}]}, input={})
    assert driver.task("a")["error"]["type"] == "InvalidInput" and "nope" in driver.task("a")["error"]["message"]
    assert driver.task("a")["attempts"] == 0 and not driver.order


def test_a_value_is_computed_without_a_worker() -> None:
    driver = run(
        """
- {name: a, value: {n: "${input.n + 1}", t: "n is ${input.n}"}}
- {name: b, value: null}
- {name: c, value: "${tasks.b.output}"}
""",
        input={"n": 1},
    )
    assert driver.task("a")["output"] == {"n": 2, "t": "n is 1"}
    assert driver.phases["c"] == "Succeeded" and driver.task("c")["output"] is None
    assert driver.task("a")["attempts"] == 0 and not driver.order


def test_variables() -> None:
    driver = run(
        """
- name: a
  value: {i: "${input.x}", s: "${session}", r: "${run.graph}", id: "${run.id}", at: "${run.startedAt}", q: "${query}",
          c: "${context}"}
""",
        input={"x": 1},
    )
    assert driver.task("a")["output"] == {
        "i": 1, "s": {}, "r": "main", "id": "r1", "at": "2023-11-14T22:13:20.000Z", "q": "", "c": {},
    }  # fmt: skip


def test_the_spec_worker_of_actions_and_the_tool() -> None:
    driver = run({
        "llm": "model",
        "tools": [{"name": "t", "description": "d", "http": {"method": "GET", "url": "http://x.test"}}],
        "tasks": [{"name": "a", "action": "generate"}, {"name": "b", "tool": "t"}],
    })  # fmt: skip
    assert [(c.worker, c.tool, c.action) for c in driver.commands if isinstance(c, Start)] == [
        ("model", None, "generate"),
        (None, "t", None),
    ]


@pytest.mark.parametrize(
    ("tasks", "reason"),
    [
        ("[{name: a, value: '${tasks.a.output}'}]", "SelfReference"),
        ("[{name: a, value: '${tasks.b.output}'}, {name: b, value: '${tasks.a.output}'}]", "Cycle"),
        ("[{name: a, value: '${tasks.nope.output}'}]", "UnknownTask"),
        ("[{name: a, value: '${tasks}'}]", "InvalidExpression"),
        ("{tasks: [{name: a, value: '${tasks.f.output}'}], finally: [{name: f, value: 1}]}", "DependsOnFinally"),
        ("[{name: a, worker: w, fallback: {task: b}}, {name: b, value: '${tasks.a.error}'}]", "Cycle"),
        ("[{name: a, worker: w, dependsOn: [b], fallback: {task: b}}, {name: b, value: 1}]", "Cycle"),
        (
            "[{name: a, worker: w, dependsOn: [m], fallback: {task: b}}, {name: m, value: 1, dependsOn: [b]}, "
            "{name: b, value: 1}]",
            "Cycle",
        ),
        (
            "[{name: a, worker: w, dependsOn: [d], fallback: {task: f}}, {name: d, worker: w, fallback: {task: g}}, "
            "{name: f, value: 1}, {name: g, value: 1, dependsOn: [f]}]",
            "Cycle",
        ),
    ],
)
def test_graphs_that_would_wait_for_ever_are_refused(tasks: str, reason: str) -> None:
    with pytest.raises(ManifestError) as caught:
        program_of(tasks)
    assert [problem.reason for problem in caught.value.problems] == [reason]


def test_one_fallback_task_may_stand_in_for_tasks_in_a_row() -> None:
    driver = run(
        """
- {name: a, worker: w, fallback: {task: f}}
- {name: b, worker: w, dependsOn: [a], fallback: {task: f}}
- {name: f, value: 7}
- {name: after, value: "${tasks.f.output}"}
""",
        {"a": err(), "b": err()},
    )
    assert [driver.task(name)["output"] for name in ("a", "b", "f", "after")] == [7, 7, 7, 7]
    assert run(
        """
- {name: a, worker: w, fallback: {task: f}}
- {name: b, worker: w, dependsOn: [a], fallback: {task: f}}
- {name: f, value: 7}
""",
        {"a": ok(1), "b": err()},
    ).phases == {"a": "Succeeded", "b": "Succeeded", "f": "Succeeded"}
