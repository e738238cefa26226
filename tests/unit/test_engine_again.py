"""Runs that go on from another's outputs: ``arklex retry`` (semantics.md, "The command line's documents")."""

from __future__ import annotations

import pytest

from arklex_runtime.engine.again import kept
from arklex_runtime.engine.events import Accepted
from tests.engine_driver import Driver, Script, Spec, err, program_of

GRAPH = """
onFailure: continue
tasks:
- {name: a, worker: w, saveState: {n: {$increment: 1}}}
- {name: b, worker: w, with: "${tasks.a.output.key}"}
- {name: c, worker: w, dependsOn: [b]}
- {name: d, worker: w, when: "${1 > 2}"}
- {name: e, worker: w, dependsOn: [d]}
finally: [{name: z, worker: w}]
"""


def again(graph: Spec, script: Script, from_task: str | None = None) -> Driver:
    """The retry of a run that ended as ``script`` says; everything works now."""
    first = Driver(program_of(graph), script).begin().finish()
    driver = Driver(first.program)
    driver.feed(Accepted(driver.now, "r2", "", None, {}, {}, kept(first.state, from_task)))
    return driver.finish().check()


def test_what_succeeded_does_not_run_again() -> None:
    driver = again(GRAPH, {"b": err()})
    assert [key for kind, key in driver.order if kind == "start"] == ["b", "c", "z"]
    assert driver.inputs("b") == "a" and driver.ended == "Succeeded" and driver.patches() == []
    assert driver.phases == {
        "a": "Succeeded", "b": "Succeeded", "c": "Succeeded", "d": "Skipped", "e": "Succeeded", "z": "Succeeded",
    }  # fmt: skip


def test_from_a_task_on() -> None:
    driver = again(GRAPH, {}, "b")
    assert [key for kind, key in driver.order if kind == "start"] == ["b", "c", "z"]
    with pytest.raises(KeyError):
        again(GRAPH, {}, "nope")


def test_a_fallback_task_that_stood_in_still_does() -> None:
    graph = """
onFailure: continue
tasks:
- {name: a, worker: w, fallback: {task: f}}
- {name: f, worker: w}
- {name: g, worker: w, with: "${tasks.f.output.key}"}
"""
    driver = again(graph, {"a": err(), "g": err()})
    assert driver.phases == {"a": "Succeeded", "f": "Succeeded", "g": "Succeeded"} and driver.inputs("g") == "f"
    assert [key for kind, key in driver.order if kind == "start"] == ["g"]
