"""What the operator does for a TaskGraph: judging it, its runs by version and by schedule, what it forgets, what it writes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from arklex_api.versions import DIGEST, RERUN
from arklex_operator.reconcile.taskgraph_judge import LOOK
from arklex_operator.reconcile.taskgraph_read import read_graph, read_run, read_worker
from tests.reconciled import Namespace

RUN = {"query": "why", "input": {"n": 1.0}}


@pytest.fixture
def space() -> Namespace:
    return Namespace()


def reasons(plan: Any) -> list[str]:
    return [event.reason for event in plan.events]


def test_a_right_graph_is_accepted_and_nothing_more_is_written(space: Namespace) -> None:
    space.graph()
    plan = space.settle()
    assert (plan.creates, plan.deletes, plan.events, plan.requeue_after) == ([], [], [], None)
    assert plan.status is not None
    assert plan.status == {
        "observedGeneration": 1,
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "reason": reason,
                "message": message,
                "lastTransitionTime": "2026-01-01T10:30:15Z",
                "observedGeneration": 1,
            }
            for kind, reason, message in (
                ("Accepted", "Valid", "every name and expression is right"),
                ("WorkersReady", "NoWorkers", "no task needs a Worker"),
            )
        ],
    }
    space.later(hours=1)
    again = space.plan()
    assert again.writes == 0


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        ({"tasks": [{"name": "a", "worker": "v"}]}, "UnknownWorker", "spec.tasks[0].worker: there is no Worker 'v'"),
        ({"tasks": [{"name": "a", "value": "${tasks.b.output}"}]}, "UnknownTask", "spec.tasks[0].value: there is no task 'b'"),
        ({"tasks": [{"name": "a", "graph": "g"}]}, "GraphCycle", "spec.tasks[0].graph: the graphs run each other"),
        ({"tasks": [{"name": "a", "graph": "h"}]}, "UnknownGraph", "spec.tasks[0].graph: there is no TaskGraph 'h'"),
        ({"tasks": [{"name": "a", "dependsOn": ["a"], "value": 1}]}, "SelfReference", "spec.tasks[0].dependsOn[0]: task 'a'"),
        ({"tasks": [{"name": "a", "value": "${1 +}"}]}, "InvalidExpression", "spec.tasks[0].value: "),
        ({"schedule": {"cron": "61 * * * *"}}, "InvalidCron", "spec.schedule.cron: '61 * * * *' is not a schedule"),
        ({"schedule": {"cron": "0 0 30 2 *"}}, "InvalidCron", "spec.schedule.cron: "),
        ({"schedule": {"cron": "0 0 * * *", "timeZone": "Mars"}}, "UnknownTimeZone", "spec.schedule.timeZone: "),
        ({"tasks": []}, "Invalid", "spec.tasks: must not be empty"),
        ({"tasks": [{"name": "a", "newKind": {}}]}, "Invalid", "spec.tasks[0]: needs exactly one of"),
        ({"tasks": "x"}, "Invalid", "spec.tasks: must be a list"),
        ({"onFailure": "restart"}, "Invalid", "spec.onFailure: 'restart' is not one of"),
        ({"input": {"schema": {"required": ["n"]}}, "run": {}}, "InvalidInput", "spec.run.input: does not match"),
        ({"tasks": [{"name": "a", "worker": "llm"}]}, "Required", "spec.tasks[0].action: is required"),
    ],
)
def test_a_wrong_graph_is_refused_with_field_and_reason(
    space: Namespace, spec: dict[str, Any], reason: str, message: str
) -> None:
    space.worker("llm", "llm")
    space.graph(**{"run": RUN, **spec})
    plan = space.settle()
    status, why, text = space.condition("Accepted")
    assert (status, why, text.startswith(message)) == ("False", reason, True), text
    assert space.condition("WorkersReady")[:2] == ("Unknown", "NotAccepted")
    assert (plan.creates, reasons(plan)) == ([], ["InvalidGraph"])
    assert plan.events[0].type == "Warning" and message in plan.events[0].note
    assert space.plan().events == []


def test_a_refusal_is_told_once_although_a_neighbour_changes_its_words(space: Namespace) -> None:
    space.graph(tasks=[{"name": "a", "graph": "nobody"}], run=RUN)
    assert reasons(space.settle()) == ["InvalidGraph"]
    space.graph("good")
    plan = space.settle()
    assert (space.condition("Accepted")[2].endswith("did you mean 'good'?"), reasons(plan)) == (True, [])
    space.graph(tasks=[{"name": "b", "graph": "nobody2"}], run=RUN)
    assert reasons(space.settle()) == ["InvalidGraph"]


@pytest.mark.parametrize("spec", [None, [], "x", {"tasks": {}}, {"tasks": [None]}, {"tasks": [{"name": 5}]}, {"run": 7}])
@pytest.mark.parametrize("extra", [{}, {"status": 7}, {"status": {"conditions": 7, "nextScheduleTime": 5}}])
def test_nonsense_is_refused_and_raises_nothing(space: Namespace, spec: Any, extra: dict[str, Any]) -> None:
    graph = space.graph()
    graph.update({"spec": spec, **extra})
    assert space.plan().status is not None


def test_deep_nesting_is_refused(space: Namespace) -> None:
    value: Any = 1
    for _ in range(5000):
        value = [value]
    space.graph(tasks=[{"name": "a", "value": value}])
    space.settle()
    assert space.condition("Accepted")[:2] == ("False", "TooDeep")


def test_fields_of_a_newer_crd_are_passed_over_but_count_as_another_version(space: Namespace) -> None:
    space.graph(tasks=[{"name": "a", "value": 1, "priorityClass": "high"}], run=RUN)
    space.settle()
    assert space.condition("Accepted")[0] == "True"
    space.graph(tasks=[{"name": "a", "value": 1, "priorityClass": "low"}], run=RUN)
    space.settle()
    assert len(space.made) == 2


def test_messages_are_bounded(space: Namespace) -> None:
    space.graph(tasks=[{"name": f"t{n}", "value": "${tasks.x" + "y" * 3000 + ".output}"} for n in range(20)])
    space.settle()
    message = space.condition("Accepted")[2]
    assert len(message) <= 2048 and message.endswith("and 17 more")


def test_sub_graphs_are_judged_with_their_graph(space: Namespace) -> None:
    space.graph("g", tasks=[{"name": "a", "graph": "h"}], run=RUN)
    space.graph("h", tasks=[{"name": "b", "graph": "i"}])
    space.graph("i", tasks=[{"name": "c", "worker": "w"}])
    assert space.settle().creates == []
    status, reason, message = space.condition("Accepted")
    assert (status, reason) == ("False", "GraphNotAccepted")
    why = "spec.tasks[0].worker: there is no Worker 'w'"
    assert message == f"spec.tasks[0].graph: TaskGraph 'h' is not accepted (for its sub-graph 'i'): {why}"
    space.worker("w", ready=0)
    assert len(space.settle().creates) == 1
    assert space.condition("WorkersReady") == ("False", "NoReadyPod", f"Workers without a ready pod: w; {LOOK}")


def test_every_graph_of_a_circle_is_refused(space: Namespace) -> None:
    for name, below in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")):
        space.graph(name, tasks=[{"name": "x", "graph": below}])
    for name in "abcd":
        space.settle(name)
    assert [space.condition("Accepted", name)[:2] for name in "abcd"] == [
        ("False", "GraphCycle"), ("False", "GraphNotAccepted"), ("False", "GraphNotAccepted"), ("False", "GraphNotAccepted"),
    ]  # fmt: skip


def test_what_nests_too_deep_is_refused_from_there_up(space: Namespace) -> None:
    for level in range(10):
        space.graph(f"g{level}", tasks=[{"name": "x", "graph": f"g{level + 1}"} if level < 9 else {"name": "x", "value": 1}])
    for level in range(10):
        space.settle(f"g{level}")
    found = [space.condition("Accepted", f"g{level}")[1] for level in range(10)]
    assert found == ["GraphNotAccepted", "TooDeep"] + ["Valid"] * 8


TOOL = {"name": "t", "http": {"url": "https://x"}}


@pytest.mark.parametrize(
    ("workers", "reason"), [([], "NoToolWorker"), (["t1"], "Valid"), (["t1", "t2"], "AmbiguousWorker")], ids=str
)
def test_a_tool_needs_the_one_worker_of_type_tool(space: Namespace, workers: list[str], reason: str) -> None:
    space.worker("other")
    for name in workers:
        space.worker(name, "tool")
    space.graph(tools=[TOOL], tasks=[{"name": "a", "tool": "t"}])
    space.settle()
    assert space.condition("Accepted")[1] == reason
    space.graph("named", tools=[{**TOOL, "worker": "other"}], tasks=[{"name": "a", "tool": "t"}])
    space.settle("named")
    assert space.condition("Accepted", "named")[1] == "WrongType"


@pytest.mark.parametrize(
    ("given", "status", "reason"),
    [
        ({"ready": 1}, "True", "Ready"),
        ({"ready": 0}, "False", "NoReadyPod"),
        ({"ready": 0, "least": 0}, "True", "Ready"),
        ({"ready": 1, "accepted": "False"}, "False", "WorkerNotAccepted"),
    ],
)
def test_workers_are_ready_or_at_zero_by_choice(space: Namespace, given: dict[str, Any], status: str, reason: str) -> None:
    space.worker("w", **given)
    space.graph(tasks=[{"name": "a", "worker": "w"}])
    space.settle()
    assert space.condition("WorkersReady")[:2] == (status, reason)


def test_a_transition_time_moves_with_the_status_alone(space: Namespace) -> None:
    space.worker("w")
    space.graph(tasks=[{"name": "a", "worker": "w"}])
    space.settle()
    space.later(minutes=1)
    space.worker("w", ready=0)
    space.graph(tasks=[{"name": "b", "worker": "w"}])
    space.settle()
    times = {each["type"]: each["lastTransitionTime"] for each in space.graphs["g"]["status"]["conditions"]}
    assert times == {"Accepted": "2026-01-01T10:30:15Z", "WorkersReady": "2026-01-01T10:31:15Z"}


def test_spec_run_runs_once_for_each_version(space: Namespace) -> None:
    graph = space.graph(run=RUN)
    plan = space.settle()
    (run,) = plan.creates
    digest = graph["status"]["digest"]
    assert run["metadata"]["name"] == f"g-{graph['metadata']['uid'][:8]}-{digest[:8]}"
    assert run["metadata"]["annotations"] == {DIGEST: digest}
    owner = {"apiVersion": "arklex.ai/v1alpha1", "kind": "TaskGraph", "name": "g", "controller": True}
    assert run["metadata"]["ownerReferences"] == [{**owner, "uid": graph["metadata"]["uid"]}]
    assert run["spec"] == {"query": "why", "input": {"n": 1}, "graph": "g"}
    assert (graph["metadata"]["annotations"], reasons(plan)) == ({DIGEST: f"g/{digest}"}, ["RunCreated"])
    same: dict[str, Any]
    other: dict[str, Any]
    for same in ({"history": {"succeeded": 1}}, {"timeout": "1h"}, {"suspend": False}, {"schedule": {"cron": "0 0 1 1 *"}}):
        space.graph(run=RUN, **same)
        assert space.settle().creates == []
    for other in ({"output": 1}, {"run": {**RUN, "query": "how"}}, {"tasks": [{"name": "b", "value": 1}]}, {"llm": "w"}):
        space.worker("w")
        space.graph(run=other.pop("run", RUN), **other)
        assert len(space.settle().creates) == 1
    assert len(set(space.made)) == len(space.made) == 5


def test_a_forgotten_or_deleted_run_is_not_made_again(space: Namespace) -> None:
    space.graph(run=RUN, history={"succeeded": 0})
    space.settle()
    space.end(space.made[0])
    plan = space.settle()
    assert ([run.name for run in plan.deletes], reasons(plan)) == (space.made, ["Pruned"])
    assert (space.runs, space.settle().creates) == ({}, [])


def test_rerun_runs_the_same_once_more(space: Namespace) -> None:
    graph = space.graph(run=RUN)
    space.settle()
    graph["metadata"]["annotations"][RERUN] = "2026-01-01"
    assert len(space.settle().creates) == 1
    assert space.settle().creates == []
    graph["metadata"]["annotations"][RERUN] = "2026-01-02"
    assert len(space.settle().creates) == 1
    assert len(set(space.made)) == 3


def test_suspend_holds_back_and_lets_go(space: Namespace) -> None:
    space.graph(run=RUN, suspend=True)
    assert space.settle().creates == []
    space.graph(run=RUN)
    assert len(space.settle().creates) == 1


def test_hold_writes_the_conditions_and_starts_nothing(space: Namespace) -> None:
    space.graph(run=RUN, schedule={"cron": "* * * * *"})
    plan = space.plan(hold=True)
    assert (plan.creates, plan.applies) == ([], [])
    assert plan.status is not None and "digest" not in plan.status


def test_a_restored_backup_repeats_nothing_and_a_copy_runs(space: Namespace) -> None:
    graph = space.graph(run=RUN)
    space.settle()
    digest = graph["status"]["digest"]
    restored, copy = Namespace(), Namespace()
    restored.graph(run=RUN)["metadata"]["annotations"] = dict(graph["metadata"]["annotations"])
    assert restored.settle().creates == []
    assert restored.graphs["g"]["status"]["digest"] == digest
    copy.graph("h", run=RUN)["metadata"]["annotations"] = dict(graph["metadata"]["annotations"])
    assert len(copy.settle("h").creates) == 1


def test_a_graph_that_is_being_deleted_is_left_alone(space: Namespace) -> None:
    space.graph(run=RUN)["metadata"]["deletionTimestamp"] = "2026-01-01T10:30:15Z"
    plan = space.plan()
    assert (plan.creates, plan.status) == ([], None)


def test_a_schedule_runs_at_its_times_and_says_when_next(space: Namespace) -> None:
    space.graph(run=RUN, schedule={"cron": "0 * * * *", "run": {"query": "hourly"}})
    plan = space.settle()
    status = space.graphs["g"]["status"]
    assert (plan.requeue_after, status["nextScheduleTime"]) == (29 * 60 + 45, "2026-01-01T11:00:00Z")
    space.later(minutes=30)
    plan = space.settle()
    (run,) = plan.creates
    assert run["metadata"]["name"] == f"g-{space.graphs['g']['metadata']['uid'][:8]}-{1767265200 // 60}"
    assert run["metadata"]["annotations"] == {"arklex.ai/scheduled-at": "2026-01-01T11:00:00Z"}
    assert (run["spec"], reasons(plan)) == ({"query": "hourly", "graph": "g"}, ["Scheduled"])
    assert (status["lastScheduleTime"], status["nextScheduleTime"]) == ("2026-01-01T11:00:00Z", "2026-01-01T12:00:00Z")
    assert space.settle().creates == []


def test_missed_times_are_told_and_the_latest_run(space: Namespace) -> None:
    space.graph(schedule={"cron": "0 * * * *"})
    space.settle()
    space.later(hours=5)
    plan = space.settle()
    assert (len(plan.creates), reasons(plan)) == (1, ["MissedSchedule", "Scheduled"])
    assert space.graphs["g"]["status"]["lastScheduleTime"] == "2026-01-01T15:00:00Z"


def test_forbid_waits_for_the_run_that_is_active(space: Namespace) -> None:
    space.graph(schedule={"cron": "* * * * *", "concurrencyPolicy": "Forbid"})
    space.settle()
    space.later(minutes=1)
    space.settle()
    space.later(minutes=2, seconds=10)
    plan = space.settle()
    assert (plan.creates, reasons(plan)) == ([], ["RunActive"])
    assert plan.requeue_after == 35
    space.end(space.made[0])
    assert len(space.settle().creates) == 1
    assert space.graphs["g"]["status"]["lastScheduleTime"] == "2026-01-01T10:33:00Z"


def test_replace_cancels_the_run_that_is_active(space: Namespace) -> None:
    space.graph(run=RUN, schedule={"cron": "* * * * *", "concurrencyPolicy": "Replace"})
    space.settle()
    space.later(minutes=1)
    space.settle()
    space.later(minutes=1)
    plan = space.settle()
    assert ([each["spec"] for each in plan.applies], len(plan.creates)) == ([{"cancel": True}], 1)
    assert plan.applies[0]["metadata"]["name"] == space.made[1]
    assert space.settle().applies == []


def test_a_removed_schedule_leaves_no_next_time(space: Namespace) -> None:
    space.graph(schedule={"cron": "* * * * *"})
    space.settle()
    space.graph()
    space.settle()
    assert "nextScheduleTime" not in space.graphs["g"]["status"]


def test_a_schedule_added_to_an_old_graph_runs_nothing_at_once(space: Namespace) -> None:
    space.graph()
    space.settle()
    space.later(days=30)
    space.graph(schedule={"cron": "0 * * * *"})
    plan = space.settle()
    assert (plan.creates, plan.requeue_after) == ([], 29 * 60 + 45)


def test_history_counts_what_the_graph_owns_and_ttl_every_finished_run(space: Namespace) -> None:
    graph = space.graph(history={"succeeded": 1, "failed": 1, "ttl": "1h"})
    owner = [{"kind": "TaskGraph", "name": "g", "uid": graph["metadata"]["uid"], "controller": True}]
    for number, phase in enumerate(("Succeeded", "Succeeded", "Failed", "Cancelled", "Running")):
        space.run(f"owned-{number}", phase=phase, ownerReferences=owner)
        space.run(f"own-{number}", phase=phase)
        space.later(minutes=1)
    space.run("other", graph="h", phase="Succeeded")
    plan = space.settle()
    assert ([run.name for run in plan.deletes], plan.events[0].note) == (["owned-0", "owned-2"], "deleted 2 finished runs")
    assert plan.requeue_after is not None
    space.later(seconds=plan.requeue_after)
    assert [run.name for run in space.settle().deletes] == ["own-0"]
    space.later(hours=2)
    space.settle()
    assert sorted(space.runs) == ["other", "own-4", "owned-4"]


def test_runs_of_a_graph_that_cannot_be_read_are_kept(space: Namespace) -> None:
    graph = space.graph(history={"succeeded": 100})
    owner = [{"kind": "TaskGraph", "uid": graph["metadata"]["uid"], "controller": True}]
    for number in range(10):
        space.run(f"r{number}", phase="Succeeded", ownerReferences=owner)
    space.graph(history={"succeeded": 100}, tasks=[])
    assert space.settle().deletes == []


def test_names_are_those_the_api_server_takes(space: Namespace) -> None:
    name = "g" * 63
    space.graph(name, run=RUN, schedule={"cron": "* * * * *"})
    space.settle(name)
    space.later(minutes=1)
    space.settle(name)
    assert len(space.made) == 2
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", made) and len(made) <= 253 for made in space.made)


def test_a_graph_is_not_read_again_for_a_change_of_its_status(space: Namespace) -> None:
    body = space.graph()
    first = read_graph(body)
    body["status"] = {"phase": "Running"}
    assert read_graph(body, first).text is first.text
    body["metadata"]["generation"] += 1
    assert read_graph(body, first).text is not first.text


def test_a_thousand_tasks_of_one_worker_are_one_fact(space: Namespace) -> None:
    graph = read_graph(space.graph(tasks=[{"name": f"t{n}", "worker": "w"} for n in range(1000)]))
    assert [use.steps for use in graph.text.uses.workers] == [("spec", "tasks", 0, "worker")]


def test_what_is_missing_in_an_object_is_not_known() -> None:
    assert read_graph({}).text.problems
    assert read_worker({}).type is None
    assert read_run({}).phase is None
