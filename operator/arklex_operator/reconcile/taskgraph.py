"""One TaskGraph, observed → what to create, cancel, write and delete. Pure and by level: it reads no event's diff.

A stop between any two writes loses and repeats nothing: runs are made first (by a name that is the same again), what says that
they were made comes after, and nothing is deleted before that is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from arklex_api.base import API_VERSION, JSON
from arklex_api.versions import DIGEST
from arklex_operator.manifests.kinds import TASK_GRAPH_RUN, Object
from arklex_operator.reconcile.plan import Delete, Plan, Say
from arklex_operator.reconcile.runs import active_scheduled, forgotten, next_expiry, run_of_schedule, run_of_version
from arklex_operator.reconcile.schedules import Turn, is_time, next_time, turn
from arklex_operator.reconcile.taskgraph_judge import Neighbours, Verdict, judge, rfc3339
from arklex_operator.reconcile.taskgraph_read import GraphFacts, RunFacts, condition, read_time


def reconcile(graph: GraphFacts, near: Neighbours, runs: Sequence[RunFacts], now: datetime, *, hold: bool = False) -> Plan:
    """What to do for ``graph`` among ``near`` with ``runs``, all that name it, at ``now``.

    ``hold`` starts nothing, as if the graph were suspended: for when the API server refuses a run that was to be made.
    """
    plan = Plan()
    if graph.deleting:
        return plan
    accepted, ready = judge(graph, near)
    open_ = accepted.status == "True" and not graph.text.suspend and not hold
    status: dict[str, JSON] = {"observedGeneration": graph.generation, "conditions": _conditions(graph, (accepted, ready), now)}
    _run_version(graph, runs, open_, status, plan)
    _run_schedule(graph, runs, open_, status, plan, now)
    _tell(graph, accepted, plan)
    if any(graph.status.get(key) != status.get(key) for key in _OWNED) or _differ(graph, status):
        plan.status = status
    _forget(graph, runs, plan, now)
    return plan


_OWNED = ("observedGeneration", "digest", "lastScheduleTime", "nextScheduleTime")
"""Fields of the status that are ours, besides two conditions."""


def _forget(graph: GraphFacts, runs: Sequence[RunFacts], plan: Plan, now: datetime) -> None:
    """Finished runs that are too many or too old; at the next look if what they are was not written down yet."""
    old = forgotten(graph, runs, now)
    if old and plan.writes:
        _again(plan, 0.0)
        return
    plan.deletes = [Delete(TASK_GRAPH_RUN, graph.namespace, run.name, run.uid) for run in old]
    if old:
        plan.events.append(Say("Normal", "Pruned", f"deleted {_counted(len(old), 'finished run')}", "Delete"))
    gone = {run.uid for run in old}
    expiry = next_expiry(graph, [run for run in runs if run.uid not in gone])
    if expiry is not None:
        _again(plan, (expiry - now).total_seconds())


def _again(plan: Plan, seconds: float) -> None:
    plan.requeue_after = seconds if plan.requeue_after is None else min(seconds, plan.requeue_after)


def _conditions(graph: GraphFacts, verdicts: Sequence[Verdict], now: datetime) -> list[JSON]:
    return [each.condition(condition(graph.status, each.type), graph.generation, now) for each in verdicts]


def _differ(graph: GraphFacts, status: Mapping[str, Any]) -> bool:
    """Whether one of our conditions is not as it should be; the order of all, others' included, means nothing."""
    return any(condition(graph.status, each["type"]) != each for each in status["conditions"])


def _run_version(graph: GraphFacts, runs: Sequence[RunFacts], open_: bool, status: dict[str, JSON], plan: Plan) -> None:
    """The run of ``spec.run``, if what it runs is not what was run last; a restored backup knows that by its annotation."""
    ran = {graph.status.get("digest"), graph.digest}
    last = graph.status.get("digest") or graph.digest
    if graph.text.run is not None and open_ and graph.wanted not in ran:
        run = run_of_version(graph)
        if run["metadata"]["name"] not in {each.name for each in runs}:
            plan.creates.append(run)
            note = f"created run {run['metadata']['name']} for spec.run"
            plan.events.append(Say("Normal", "RunCreated", note, "Create"))
        last = graph.wanted
    elif graph.wanted in ran:
        last = graph.wanted
    if last is not None:
        status["digest"] = last
        if graph.digest != last:
            plan.applies.append(_part(graph, "TaskGraph", graph.name, graph.uid, annotations={DIGEST: f"{graph.name}/{last}"}))


def _run_schedule(
    graph: GraphFacts, runs: Sequence[RunFacts], open_: bool, status: dict[str, JSON], plan: Plan, now: datetime
) -> None:
    last, planned = (read_time(graph.status.get(key)) for key in ("lastScheduleTime", "nextScheduleTime"))
    _put(status, "lastScheduleTime", last)
    schedule = graph.text.schedule
    if schedule is None:
        return
    if not open_:
        kept = planned if planned is not None and is_time(schedule, planned) else next_time(schedule, now)
        _put(status, "nextScheduleTime", kept)
        return
    seen = graph.generation != 1 or graph.status.get("observedGeneration") is not None
    found = turn(schedule, now=now, since=now if seen else graph.created, planned=planned, last=last)
    active = active_scheduled(graph, runs)
    if found.due is not None and active and schedule.concurrency_policy == "Forbid":
        names = active[0].name
        _put(status, "nextScheduleTime", planned if planned is not None and is_time(schedule, planned) else found.due)
        note = f"the run of {rfc3339(found.due)} waits: {names} is still active"
        plan.events.append(Say("Warning", "RunActive", note, "Schedule"))
    else:
        replaced = active if schedule.concurrency_policy == "Replace" else []
        _start(graph, runs, found, replaced, status, plan)
    if found.next is not None:
        _again(plan, (found.next - now).total_seconds())


def _start(
    graph: GraphFacts, runs: Sequence[RunFacts], found: Turn, replaced: list[RunFacts], status: dict[str, JSON], plan: Plan
) -> None:
    if found.missed is not None:
        rule = "only the latest is made up, within schedule.startingDeadlineSeconds"
        note = f"the run of {rfc3339(found.missed)} was missed: {rule}"
        plan.events.append(Say("Warning", "MissedSchedule", note, "Schedule"))
    if found.due is not None:
        run = run_of_schedule(graph, found.due)
        name = run["metadata"]["name"]
        if name not in {each.name for each in runs}:
            plan.creates.append(run)
            plan.events.append(Say("Normal", "Scheduled", f"created run {name} for {rfc3339(found.due)}", "Schedule"))
        plan.applies += [_cancel(graph, each) for each in replaced if each.name != name and not each.cancelled]
        _put(status, "lastScheduleTime", found.due)
    _put(status, "nextScheduleTime", found.next)


def _cancel(graph: GraphFacts, run: RunFacts) -> Object:
    return {**_part(graph, "TaskGraphRun", run.name, run.uid), "spec": {"cancel": True}}


def _part(graph: GraphFacts, kind: str, name: str, uid: str, **metadata: JSON) -> Object:
    """What we say of an object that exists; with its UID, so that none is made if it is gone."""
    named = {"name": name, "namespace": graph.namespace, "uid": uid, **metadata}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": named}


def _tell(graph: GraphFacts, accepted: Verdict, plan: Plan) -> None:
    """An event when a graph is refused, or for another reason than before.

    Where neither graph nor reason is new, the message alone may be: it names neighbours, which come and go.
    """
    before = condition(graph.status, "Accepted")
    same = (before.get("reason"), before.get("observedGeneration")) == (accepted.reason, graph.generation)
    told = before.get("status") == "False" and (same or before.get("message") == accepted.message)
    if accepted.status == "False" and not told:
        plan.events.append(Say("Warning", "InvalidGraph", f"{accepted.reason}: {accepted.message}", "Validate"))


def _put(status: dict[str, JSON], key: str, time: datetime | None) -> None:
    if time is not None:
        status[key] = rfc3339(time)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
