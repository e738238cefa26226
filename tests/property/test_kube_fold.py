"""A status of any run at any moment: valid by the CRD's model, small, and its counts add up."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from arklex_api.run import TaskGraphRunStatus
from arklex_api.taskgraph import LastRun
from arklex_runtime.engine.step import replay
from arklex_runtime.kube.conditions import conditions_of
from arklex_runtime.kube.fold import progress_of
from arklex_runtime.kube.status import failure_reason
from arklex_runtime.kube.texts import cut, reason_of
from tests.engine_driver import Driver, Reply, Script, err, ok, program_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3000)
REPLIES: st.SearchStrategy[Reply] = st.one_of(
    st.builds(ok, TEXTS), st.builds(err, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80), TEXTS)
)
CHILD = {"tasks": [{"name": "x", "worker": "w"}, {"name": "y", "worker": "w", "onError": "continue"}], "onFailure": "continue"}


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    tasks: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["worker", "items", "approval", "value", "graph"]))
        task: dict[str, Any] = {"name": f"t{number}"}
        if kind == "approval":
            task["approval"] = {"message": "?"}
        elif kind == "value":
            task["value"] = draw(TEXTS).replace("$", "")
        elif kind == "graph":
            task["graph"] = "child"
        else:
            task["worker"] = "w"
            task["retry"] = {"limit": draw(st.integers(0, 2))}
        if kind in ("items", "graph") and draw(st.booleans()):
            task["forEach"] = {"items": "${[1, 2, 3, 4, 5, 6]}"}
            task["onError"] = draw(st.sampled_from(["fail", "continue"]))
        if number and draw(st.booleans()):
            task["dependsOn"] = [f"t{draw(st.integers(0, number - 1))}"]
        tasks.append(task)
    return {
        "tasks": tasks,
        "onFailure": draw(st.sampled_from(["stop", "continue"])),
        "output": ["${tasks.t0.output}", {"phase": "${tasks.t0.phase}"}],
    }


@settings(max_examples=60, deadline=None)
@given(graphs(), st.lists(REPLIES, min_size=1, max_size=4), st.integers(0, 80), st.booleans())
def test_a_status_at_any_moment(spec: dict[str, Any], replies: list[Reply], steps: int, cancelled: bool) -> None:
    program = program_of(spec, child=CHILD)
    script: Script = {}
    driver = Driver(program, script).begin()

    def worked() -> bool:
        for number, key in enumerate(driver.asked):
            script.setdefault(key, replies[number % len(replies)])
        return len(driver.journal) > steps

    driver.run(until=worked)
    if cancelled:
        driver.cancel()
    for state in (driver.state, replay(program, driver.journal)):
        progress = progress_of(state)
        reason = failure_reason(progress, state.root.error if state.root else None)
        status = {**progress, "conditions": conditions_of(progress, reason, 3, [], "2026-01-01T00:00:00Z")}
        TaskGraphRunStatus.model_validate(status)
        LastRun.model_validate({**progress, "name": "r"})
        assert len(orjson.dumps({**status, "lastRun": progress})) < 64 * 1024
        counts = dict(progress["tasks"])
        assert counts.pop("total") == sum(counts.values()) == len(spec["tasks"])
        ended = sum(counts.get(phase, 0) for phase in ("succeeded", "failed", "skipped", "cancelled"))
        assert progress["progress"] == f"{ended}/{len(spec['tasks'])}"
        assert ("completionTime" in progress) == (progress["phase"] in ("Succeeded", "Failed", "Cancelled"))
    assert progress_of(driver.state) == progress_of(replay(program, driver.journal))


@given(TEXTS, st.integers(8, 4000))
def test_a_text_is_cut_to_its_bytes_and_only_if_it_must_be(text: str, limit: int) -> None:
    made = cut(text, limit)
    assert len(orjson.dumps(made)) - 2 <= limit
    if made != text:
        assert made.endswith("…") and text.startswith(made[:-1]) and len(orjson.dumps(text)) - 2 > limit


@given(st.text())
def test_anything_becomes_a_reason(text: str) -> None:
    made = reason_of(text)
    assert made and len(made) <= 127 and made.replace("_", "").replace(",", "").replace(":", "").isalnum() and made[0].isalpha()
