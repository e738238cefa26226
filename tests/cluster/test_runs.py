"""Large graphs, schedules, history, and graphs that change while they run."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from functools import partial

import pytest

from tests.cluster.kube import ENDED, Kube, KubectlFailed, Object, graph, run_of, step, worker


def size(status: Object) -> int:
    return len(json.dumps(status, separators=(",", ":")))


def test_a_thousand_tasks_and_ten_thousand_items(space: Kube) -> None:
    wide = [step(f"t{n:03}", "echo", given={"n": n}) for n in range(999)]
    last = step("last", "echo", *(task["name"] for task in wide[-50:]), given={"done": True})
    space.apply(worker("probe", concurrency=64), graph("wide", [*wide, last]), server_side=True)
    items = {"items": "${input.numbers}", "as": "n", "maxParallel": 64}
    many = [step("each", "echo", forEach=items, given={"n": "${n}"})]
    space.apply(graph("items", many, maxParallel=200, output="${size(tasks.each.output)}"), server_side=True)
    for name in ("wide", "items"):
        space.until_condition("taskgraph", name, "Accepted")
        space.until_condition("taskgraph", name, "WorkersReady")
    space.create(run_of("wide-1", "wide"))
    space.create(run_of("items-1", "items", input={"numbers": list(range(10_000))}))
    wide_status = space.until_phase("taskgraphrun", "wide-1", ENDED, patience=300)
    assert (wide_status["phase"], wide_status["progress"]) == ("Succeeded", "1000/1000"), wide_status
    items_status = space.until_phase("taskgraphrun", "items-1", ENDED, patience=400)
    assert (items_status["phase"], items_status["output"]) == ("Succeeded", "10000"), items_status
    for kind, name in (("taskgraphrun", "wide-1"), ("taskgraphrun", "items-1"), ("taskgraph", "wide"), ("taskgraph", "items")):
        assert size(space.status(kind, name)) < 64 * 1024


def test_a_schedule_fires_and_suspend_holds_it(space: Kube) -> None:
    tick = graph("tick", [{"name": "v", "value": 1}], schedule={"cron": "* * * * *"}, history={"succeeded": 1})
    space.apply(tick)
    space.until(lambda: space.all("taskgraphruns"), "the first scheduled run", patience=120)
    space.until(lambda: space.status("taskgraph", "tick").get("lastScheduleTime"), "lastScheduleTime")
    status = space.status("taskgraph", "tick")
    assert status["nextScheduleTime"] > status["lastScheduleTime"]
    space.patch("taskgraph", "tick", {"spec": {"suspend": True}})
    space.until_condition("taskgraph", "tick", "Accepted")
    names = {run["metadata"]["name"] for run in space.all("taskgraphruns")}
    assert all(name.startswith("tick-") for name in names)
    last = max(names)
    space.until_phase("taskgraphrun", last, ["Succeeded"])
    planned = datetime.fromisoformat(space.status("taskgraph", "tick")["nextScheduleTime"])
    time.sleep(max(0.0, (planned - datetime.now(UTC)).total_seconds()) + 5)
    assert {run["metadata"]["name"] for run in space.all("taskgraphruns")} <= names
    assert space.status("taskgraph", "tick")["nextScheduleTime"]


def test_history_and_ttl_forget_runs(space: Kube) -> None:
    once = graph("once", [{"name": "v", "value": 1}], run={"query": "0"}, history={"succeeded": 2})
    space.apply(once)

    def reached(wanted: int) -> bool:
        return bool(space.status("taskgraph", "once").get("runs", {}).get("succeeded", 0) >= wanted)

    for version in range(4):
        space.patch("taskgraph", "once", {"spec": {"run": {"query": str(version)}}})
        space.until(partial(reached, version + 1), f"version {version}")
    space.until(lambda: len(space.all("taskgraphruns")) == 2, "two are kept")
    before = {run["metadata"]["name"] for run in space.all("taskgraphruns")}
    space.patch("taskgraph", "once", {"spec": {"history": {"succeeded": 2, "failed": 7}}})
    space.until_condition("taskgraph", "once", "Accepted")
    assert {run["metadata"]["name"] for run in space.all("taskgraphruns")} == before
    space.patch("taskgraph", "once", {"spec": {"history": {"ttl": "1s"}}})
    space.until(lambda: not space.all("taskgraphruns"), "none is older than a second")
    assert space.status("taskgraph", "once")["runs"]["succeeded"] == 4


def test_a_graph_edited_or_deleted_in_mid_run(space: Kube) -> None:
    slow = [step("one", "sleep", given={"ms": 4000, "v": 1}), step("two", "echo", "one", given={"v": "old"})]
    space.apply(worker("probe"), graph("slow", slow, output="${tasks.two.output.v}"))
    space.until_condition("taskgraph", "slow", "WorkersReady")
    space.create(run_of("before", "slow"))
    space.until_phase("taskgraphrun", "before", ["Running"])
    slow[1]["with"]["v"] = "new"
    space.apply(graph("slow", slow, output="${tasks.two.output.v}"))
    space.until_condition("taskgraph", "slow", "Accepted")
    space.create(run_of("after", "slow"))
    outputs = [space.until_phase("taskgraphrun", name, ENDED)["output"] for name in ("before", "after")]
    assert [str(output).strip('"') for output in outputs] == ["old", "new"]

    space.create(run_of("doomed", "slow"))
    space.until_phase("taskgraphrun", "doomed", ["Running"])
    space.delete("taskgraph", "slow")
    space.until(
        lambda: not (found := space.get("taskgraphrun", "doomed")) or found["status"]["phase"] == "Cancelled",
        "its run is cancelled, or gone with it",
    )


def asks(space: Kube, run: str) -> bool:
    return space.status("taskgraphrun", run).get("approvals") == ["check"]


def test_cancel_and_approve_on_the_object(space: Kube) -> None:
    tasks: list[Object] = [
        {"name": "check", "approval": {"message": "Go on?"}},
        {"name": "end", "dependsOn": ["check"], "value": "${tasks.check.output.by}"},
    ]
    space.apply(graph("gate", tasks, output="${tasks.end.output}"))
    space.until_condition("taskgraph", "gate", "Accepted")
    for name in ("yes", "no", "stop"):
        space.create(run_of(name, "gate"))
        space.until(partial(asks, space, name), "it asks")
    space.patch("taskgraphrun", "yes", {"spec": {"approvals": [{"task": "check", "approved": True, "by": "ada"}]}})
    space.patch("taskgraphrun", "no", {"spec": {"approvals": [{"task": "check", "approved": False}]}})
    space.patch("taskgraphrun", "stop", {"spec": {"cancel": True}})
    assert space.until_phase("taskgraphrun", "yes", ENDED)["output"].strip('"') == "ada"
    assert space.until_phase("taskgraphrun", "no", ENDED)["phase"] == "Failed"
    assert space.until_phase("taskgraphrun", "stop", ENDED)["phase"] == "Cancelled"
    with pytest.raises(KubectlFailed, match="cannot be changed"):
        space.patch("taskgraphrun", "stop", {"spec": {"graph": "other"}})
